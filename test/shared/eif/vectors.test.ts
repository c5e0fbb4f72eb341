/** The images under test/vectors/eif: each measures to what its sidecar says, by either set of primitives. */
import { readdirSync, readFileSync } from 'node:fs';
import { NODE_PRIMITIVES } from '@quantumvault/host/cli/image-file.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { crcText, type ImageReport, measureImage } from '@quantumvault/shared/eif/measure.ts';
import { PORTABLE } from '@quantumvault/shared/eif/primitives.ts';
import { memorySource } from '@quantumvault/shared/eif/source.ts';
import { describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';

const FOLDER = new URL('../../vectors/eif/', import.meta.url);

interface Sidecar {
  readonly size: number;
  readonly crc32: string;
  readonly sections: readonly { readonly type: string; readonly size: number }[];
  readonly expected: Readonly<Record<string, string>> | string;
}

const vectors = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.eif'))
  .map((file) => ({
    name: file.slice(0, -4),
    bytes: new Uint8Array(readFileSync(new URL(file, FOLDER))),
    sidecar: JSON.parse(readFileSync(new URL(file.replace(/eif$/, 'json'), FOLDER), 'utf8')) as Sidecar,
  }));

const pcrsOf = (report: ImageReport): Record<string, string> =>
  Object.fromEntries([...report.pcrs].map(([index, value]) => [`PCR${index}`, toHex(value)]));

describe.each([
  ['portable', PORTABLE],
  ['Node’s', NODE_PRIMITIVES],
])('%s primitives', (_name, primitives) => {
  for (const { name, bytes, sidecar } of vectors.filter((vector) => !vector.name.startsWith('negative-')))
    test(name, async () => {
      const report = await measureImage(memorySource(bytes), { nowMs: 0, primitives });
      expect(report.ok).toBe(true);
      expect(report.size).toBe(sidecar.size);
      expect(crcText(report.crc32.stated)).toBe(sidecar.crc32);
      expect(report.sections.map(({ type, size }) => ({ type, size }))).toEqual(sidecar.sections);
      expect(pcrsOf(report)).toEqual(sidecar.expected);
    });

  test('negative-bad-crc', async () => {
    const { bytes } = vectors.find(({ name }) => name === 'negative-bad-crc') ?? expect.unreachable();
    const report = await measureImage(memorySource(bytes), { nowMs: 0, primitives });
    expect(report.ok).toBe(false);
    expect(report.failure?.code).toBe('eif_crc_mismatch');
    noteCode('eif_crc_mismatch');
    expect(report.unmeasuredMetadata).toBeUndefined();
  });
});

test('other metadata, the same PCRs', async () => {
  const [a, b] = await Promise.all(
    ['v4-unsigned-2ramdisks', 'v4-other-metadata-same-pcrs'].map((wanted) => {
      const { bytes } = vectors.find(({ name }) => name === wanted) ?? expect.unreachable();
      return measureImage(memorySource(bytes), { nowMs: 0 });
    }),
  );
  if (a === undefined || b === undefined) return expect.unreachable();
  expect(pcrsOf(a)).toEqual(pcrsOf(b));
  expect(a.unmeasuredMetadata).not.toEqual(b.unmeasuredMetadata);
  expect(a.notCovered.join()).toContain('metadata');
});

test('one bit of every byte flipped in turn: refused, or the CRC says so', async () => {
  const { bytes } = vectors.find(({ name }) => name === 'v4-unsigned-1ramdisk') ?? expect.unreachable();
  for (let at = 0; at < bytes.length; at++) {
    const flipped = Uint8Array.from(bytes);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    const report = await measureImage(memorySource(flipped), { nowMs: 0 }).catch(() => undefined);
    if (report === undefined) continue;
    expect(report.failure?.code, `byte ${at}`).toBe('eif_crc_mismatch');
  }
});

test('every beginning of an image is refused', async () => {
  const { bytes } = vectors.find(({ name }) => name === 'v4-unsigned-1ramdisk') ?? expect.unreachable();
  for (let length = 0; length < bytes.length; length++)
    await expect(measureImage(memorySource(bytes.subarray(0, length)), { nowMs: 0 })).rejects.toThrow(/^eif_/);
});
