/** Each byte of a document changed in turn, in several ways: never accepted, never another error than one of ours. */
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { describe, expect, test } from 'vitest';
import { ownSet, REPLAY } from './expect.ts';
import { pcrsOf, realVector } from './vectors.ts';

/** One bit of each byte, walking through all eight; every bit and the whole byte when QV_RUNS asks for depth. */
const deep = process.env['QV_RUNS'] !== undefined;
const flipsOf = (at: number): readonly number[] => (deep ? [1, 2, 4, 8, 16, 32, 64, 128, 255] : [1 << (at % 8)]);
const AT_ONCE = 64;

// Today's encoding byte by byte; the older one at every seventh, unless depth is asked for.
describe.each([
  ['2025-12-25', 1],
  ['2025-01-06', deep ? 1 : 7],
] as const)('%s', (part, step) => {
  const { bytes, sidecar } = realVector(part);
  const expected = { mode: REPLAY, pcrSets: ownSet(pcrsOf(sidecar)) };

  const codeWith = async (changed: Uint8Array): Promise<string> => {
    const report = await verifyAttestation(changed, expected);
    return report.ok ? 'ok' : report.failure.code;
  };

  test('each byte flipped', async () => {
    const codes = new Set<string>();
    for (let start = 0; start < bytes.length; start += AT_ONCE * step) {
      const pending: Promise<string>[] = [];
      for (let at = start; at < Math.min(start + AT_ONCE * step, bytes.length); at += step) {
        for (const flip of flipsOf(at)) {
          const changed = new Uint8Array(bytes);
          changed[at] = (changed[at] ?? 0) ^ flip;
          pending.push(codeWith(changed));
        }
      }
      for (const code of await Promise.all(pending)) codes.add(code);
    }
    expect([...codes].every((code) => code.startsWith('attestation_'))).toBe(true);
  }, 1_200_000);

  test('cut off after each byte, and with a byte more', async () => {
    for (let length = 0; length < bytes.length; length += length < 64 ? 1 : 29)
      expect(await codeWith(bytes.subarray(0, length))).toMatch(/_malformed$|_unsupported$/);
    for (const extra of [0x00, 0xf6, 0xff])
      expect(await codeWith(new Uint8Array([...bytes, extra]))).toBe('attestation_envelope_malformed');
  });
});
