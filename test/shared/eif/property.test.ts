/** Properties and fuzzing: whatever the bytes, an answer or a refusal of ours, soon. QV_RUNS deepens them. */
import { crc32 } from 'node:zlib';
import { NODE_PRIMITIVES } from '@quantumvault/host/cli/image-file.ts';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { type ImageReport, measureImage } from '@quantumvault/shared/eif/measure.ts';
import { PORTABLE } from '@quantumvault/shared/eif/primitives.ts';
import { memorySource } from '@quantumvault/shared/eif/source.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as eif from '../../support/eif.ts';
import { newSigner, signatureBytes, signed } from '../../support/eif-signer.ts';

const numRuns = Number(process.env['QV_RUNS'] ?? 300);
const measure = (bytes: Uint8Array): Promise<ImageReport> => measureImage(memorySource(bytes), { nowMs: 0 });

/** The report, or undefined when it is refused with a code of images; anything else fails the property. */
async function outcome(bytes: Uint8Array): Promise<ImageReport | undefined> {
  try {
    return await measure(bytes);
  } catch (error) {
    if (error instanceof QvError && error.code.startsWith('eif_')) return undefined;
    throw error;
  }
}

/** So that mutations reach what stands behind the CRC. */
function withRightCrc(bytes: Uint8Array): Uint8Array {
  if (bytes.length < 548) return bytes;
  const crc = crc32(bytes.subarray(548), crc32(bytes.subarray(0, 544)));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(544, crc);
  return bytes;
}

const data = fc.uint8Array({ maxLength: 300 });
/** The kernel somewhere before the ramdisks, the others anywhere. */
const images = fc
  .record({
    kernel: data,
    ramdisks: fc.array(data, { minLength: 1, maxLength: 6 }),
    cmdline: fc.tuple(data, fc.nat(7)),
    metadataAt: fc.nat(8),
  })
  .map(({ kernel, ramdisks, cmdline: [text, at], metadataAt }) => {
    const disks = ramdisks.map((disk) => ({ type: eif.TYPE.ramdisk, data: disk }));
    const sections: readonly eif.SectionSpec[] = [{ type: eif.TYPE.kernel, data: kernel }, ...disks];
    return sections.toSpliced(at, 0, { type: eif.TYPE.cmdline, data: text }).toSpliced(metadataAt, 0, eif.metadata);
  });

test('every legal order and content measures as the formula says, by either set of primitives', async () => {
  await fc.assert(
    fc.asyncProperty(images, async (sections) => {
      const source = memorySource(eif.writeImage({ sections }));
      const report = await measureImage(source, { nowMs: 0 });
      expect(report.ok).toBe(true);
      expect([...report.pcrs.values()].map(toHex)).toEqual(eif.expectedPcrs(sections));
      expect(await measureImage(source, { nowMs: 0, primitives: NODE_PRIMITIVES })).toEqual(report);
    }),
    { numRuns },
  );
});

test('the portable CRC is zlib’s, in however many pieces', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 5 }), (pieces) => {
      let portable = 0;
      let native = 0;
      for (const piece of pieces) {
        // At an odd address too.
        const shifted = new Uint8Array(piece.length + 1).subarray(1);
        shifted.set(piece);
        portable = PORTABLE.crc32(shifted, portable);
        native = crc32(piece, native);
      }
      expect(portable).toBe(native);
    }),
    { numRuns },
  );
});

test('arbitrary bytes are refused', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
      expect(await outcome(bytes)).toBeUndefined();
    }),
    { numRuns },
  );
});

const signer = newSigner();
const wholeImages = [
  eif.writeImage({ sections: eif.plainSections }),
  eif.writeImage({ sections: signed(eif.plainSections, signer) }),
];
const edits = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });

function edited(bytes: Uint8Array, changes: readonly (readonly [number, number])[]): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (const [at, value] of changes) copy[at % copy.length] = value;
  return copy;
}

test('edited images under a right CRC: refused, or measured as what they now are', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...wholeImages), edits, fc.nat(3), async (whole, changes, where) => {
      // Half of the runs in the header, where the structure is.
      const near = where < 2 ? changes.map(([at, value]) => [at % 600, value] as const) : changes;
      const bytes = withRightCrc(edited(whole, near));
      const report = await outcome(bytes);
      if (report === undefined) return;
      const sections = report.sections.map(({ type, offset, size }) => ({
        type: eif.TYPE[type],
        data: bytes.subarray(offset + 12, offset + 12 + size),
      }));
      expect([0, 1, 2].map((index) => toHex(report.pcrs.get(index) ?? new Uint8Array()))).toEqual(
        eif.expectedPcrs(sections),
      );
    }),
    { numRuns: 2 * numRuns },
  );
});

test('edited and arbitrary signature sections never pass as another’s, crash or hang', async () => {
  const registerValue = fromHex(eif.expectedPcrs(eif.plainSections)[0]);
  const right = signatureBytes({ signer, registerValue });
  const sections = fc.oneof(
    edits.map((changes) => edited(right, changes)),
    fc.uint8Array({ maxLength: 1000 }),
    fc.nat(right.length - 1).map((length) => right.subarray(0, length)),
  );
  await fc.assert(
    fc.asyncProperty(sections, async (bytes) => {
      const report = await outcome(
        eif.writeImage({ sections: [...eif.plainSections, { type: eif.TYPE.signature, data: bytes }] }),
      );
      if (report?.ok !== true) return;
      // What may change without breaking the signature is the certificate outside of its key: then PCR8 tells.
      const { subjectPublicKeyInfo } = report.signature?.certificate ?? expect.unreachable();
      expect(toHex(signer.der)).toContain(toHex(subjectPublicKeyInfo));
    }),
    { numRuns: 2 * numRuns },
  );
});
