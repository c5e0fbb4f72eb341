import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { silentLog } from '@quantumvault/host/log.ts';
import { OperatorsFile } from '@quantumvault/host/remote-freeze/operators-file.ts';
import { matchingStep, otpauthUri, secretOf } from '@quantumvault/host/remote-freeze/totp.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary.ts';
import { base32, codeAt } from './kit.ts';

/** RFC 6238 Appendix B, the rows of SHA-1: seconds, the step in hex, eight digits. */
const VECTORS: readonly [number, string, string][] = [
  [59, '0000000000000001', '94287082'],
  [1111111109, '00000000023523EC', '07081804'],
  [1111111111, '00000000023523ED', '14050471'],
  [1234567890, '000000000273EF07', '89005924'],
  [2000000000, '0000000003F940AA', '69279037'],
  [20000000000, '0000000027BC86AA', '65353130'],
];
const SECRET = new TextEncoder().encode('12345678901234567890');
const secret = secretOf(base32(SECRET));
if (secret === undefined) throw new Error('not a secret');
const at = (seconds: number) => timeMs(seconds * 1000);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

describe('TOTP', () => {
  // Six digits are the last six of eight: both are the same number modulo a power of ten (RFC 4226 section 5.3).
  it.each(VECTORS)('RFC 6238 Appendix B: at %d s it is step %s, %s', (seconds, step, digits) => {
    const path = join(folder.path, 'operators.json');
    writeFileSync(path, JSON.stringify({ logins: [{ name: 'ann', secret: base32(SECRET) }] }), { mode: 0o600 });
    const operators = new OperatorsFile(path, silentLog);
    const number = Number.parseInt(step, 16);
    expect(operators.stepOf('ann', digits.slice(2), at(seconds))).toBe(number);
    expect(operators.stepOf('bob', digits.slice(2), at(seconds))).toBeUndefined();
    expect(operators.stepOf('ann', digits.slice(0, 6), at(seconds))).toBeUndefined();
    operators.close();
  });

  it('takes the step before, this one and the next, to the millisecond', () => {
    const step = 0x023523ec;
    const code = codeAt(SECRET, step * 30_000);
    const counts = (milliseconds: number) => matchingStep(secret, code, timeMs(milliseconds));
    expect(counts((step - 1) * 30_000 - 1)).toBeUndefined();
    expect(counts((step - 1) * 30_000)).toBe(step);
    expect(counts(step * 30_000)).toBe(step);
    expect(counts((step + 2) * 30_000 - 1)).toBe(step);
    expect(counts((step + 2) * 30_000)).toBeUndefined();
  });

  it('begins with time itself', () => {
    expect(matchingStep(secret, codeAt(SECRET, 0), timeMs(0))).toBe(0);
    expect(matchingStep(secret, codeAt(SECRET, 0), timeMs(59_999))).toBe(0);
  });

  it('has the codes that the RFC describes, for any secret and time', () => {
    const secrets = fc.uint8Array({ minLength: 16, maxLength: 64 });
    fc.assert(
      fc.property(secrets, fc.integer({ min: 30_000, max: 4e12 }), (bytes, milliseconds) => {
        const own = secretOf(base32(bytes));
        if (own === undefined) return false;
        expect(own.use((kept) => [...kept])).toEqual([...bytes]);
        // An older or later step may by chance have the same code.
        const step = matchingStep(own, codeAt(bytes, milliseconds), timeMs(milliseconds));
        return step !== undefined && Math.abs(step - Math.floor(milliseconds / 30_000)) <= 1;
      }),
    );
  });

  it.each(['', 'A', base32(SECRET.subarray(0, 15)), base32(new Uint8Array(65)), `${base32(SECRET)}1`, 'ä'.repeat(32)])(
    'takes %j for no secret',
    (text) => expect(secretOf(text)).toBeUndefined(),
  );

  it('writes the URI that applications read', () => {
    const uri = new URL(otpauthUri(secret, 'ann@example'));
    expect(uri.protocol + uri.host).toBe('otpauth:totp');
    expect(decodeURIComponent(uri.pathname)).toBe('/QuantumVault:ann@example');
    expect(Object.fromEntries(uri.searchParams)).toEqual({
      issuer: 'QuantumVault',
      secret: base32(SECRET),
      algorithm: 'SHA1',
      digits: '6',
      period: '30',
    });
  });
});
