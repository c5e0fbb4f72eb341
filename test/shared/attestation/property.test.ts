/** Properties of the decoder. QV_RUNS deepens them. */

import { parseCertificate } from '@quantumvault/shared/attestation/certificate.ts';
import { decodeAttestationDocument, decodePayload } from '@quantumvault/shared/attestation/document.ts';
import { concatBytes, equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import * as s from './synthetic.ts';
import { real } from './vectors.ts';

const numRuns = Number(process.env['QV_RUNS'] ?? 500);

/** True when it decodes; an error that is not ours fails the property. */
function accepts(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    if (error instanceof QvError && error.code.startsWith('attestation_')) return false;
    throw error;
  }
}

const blob = (minLength: number, maxLength: number) => fc.uint8Array({ minLength, maxLength });
const optional = fc.option(blob(0, 1024), { nil: null });
const documents = fc.record({
  moduleId: fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
    minLength: 1,
    maxLength: 128,
  }),
  timestamp: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  pcrs: fc
    .uniqueArray(fc.tuple(fc.integer({ min: 0, max: 31 }), blob(48, 48)), {
      minLength: 1,
      selector: ([index]) => index,
    })
    .map((pairs) => new Map(pairs.toSorted(([a], [b]) => a - b))),
  certificate: blob(1, 1024),
  cabundle: fc.array(blob(1, 1024), { minLength: 1, maxLength: 8 }),
  publicKey: optional,
  userData: optional,
  nonce: optional,
  signature: blob(96, 96),
  encoding: fc.constantFrom('definite' as const, 'indefinite' as const),
});

test('what is encoded is what is decoded', () => {
  fc.assert(
    fc.property(documents, (d) => {
      const value = (bytes: Uint8Array | null): Uint8Array => (bytes === null ? s.NULL : s.bytes(bytes));
      const payload = s.encodePayload(
        new Map([
          ['module_id', s.text(d.moduleId)],
          ['digest', s.text('SHA384')],
          ['timestamp', s.uint(d.timestamp)],
          ['pcrs', s.encodePcrs(d.pcrs)],
          ['certificate', s.bytes(d.certificate)],
          ['cabundle', s.array(d.cabundle.map(s.bytes))],
          ['public_key', value(d.publicKey)],
          ['user_data', value(d.userData)],
          ['nonce', value(d.nonce)],
        ]),
        d.encoding,
      );
      const read = decodeAttestationDocument(s.envelope(payload, d.signature));
      expect(read).toMatchObject({ moduleId: d.moduleId, timestampMs: d.timestamp, payloadEncoding: d.encoding });
      expect([...read.pcrs]).toEqual([...d.pcrs]);
      expect([read.certificate, read.cabundle, read.signature]).toEqual([d.certificate, d.cabundle, d.signature]);
      expect([read.publicKey, read.userData, read.nonce]).toEqual(
        [d.publicKey, d.userData, d.nonce].map((v) => v ?? undefined),
      );
      expect(read.payload).toEqual(payload);
    }),
    { numRuns },
  );
});

test('any bytes: read or refused with a code of ours', () => {
  const starts = [new Uint8Array(0), Uint8Array.of(0x84), Uint8Array.of(0x84, 0x44, 0xa1, 1, 0x38, 0x22, 0xa0, 0x59)];
  fc.assert(
    fc.property(fc.constantFrom(...starts), blob(0, 300), (start, bytes) => {
      accepts(() => decodeAttestationDocument(concatBytes(start, bytes)));
    }),
    { numRuns: numRuns * 4 },
  );
});

test('any payload: read or refused with a code of ours', () => {
  const keys = [
    'module_id',
    'digest',
    'timestamp',
    'pcrs',
    'certificate',
    'cabundle',
    'public_key',
    'user_data',
    'nonce',
  ];
  const item = fc.oneof(
    blob(0, 40),
    fc.constantFrom(...keys).map(s.text),
    blob(0, 60).map(s.bytes),
    fc.nat().map(s.uint),
    fc.constantFrom(s.NULL, Uint8Array.of(0xff), Uint8Array.of(0xbf), Uint8Array.of(0x9f)),
  );
  fc.assert(
    fc.property(fc.constantFrom(0xbf, 0xa1, 0xa2, 0xa9), fc.array(item, { maxLength: 20 }), (head, items) => {
      const payload = concatBytes(Uint8Array.of(head), ...items);
      const part = new Uint8Array(0);
      accepts(() => decodePayload({ protectedHeader: part, payload, signature: part }));
    }),
    { numRuns: numRuns * 4 },
  );
});

test('one spelling: no change of bytes outside of the strings gives the same document', () => {
  const [{ bytes } = { bytes: new Uint8Array(0) }] = real;
  fc.assert(
    fc.property(fc.nat({ max: bytes.length }), blob(0, 3), fc.nat({ max: 3 }), (at, inserted, removed) => {
      const changed = concatBytes(bytes.subarray(0, at), inserted, bytes.subarray(at + removed));
      if (equalBytes(changed, bytes)) return;
      if (!accepts(() => decodeAttestationDocument(changed))) return;
      const [before, after] = [decodeAttestationDocument(bytes), decodeAttestationDocument(changed)];
      expect(equalBytes(before.payload, after.payload) && equalBytes(before.signature, after.signature)).toBe(false);
    }),
    { numRuns },
  );
});

test('certificates with bytes changed: read or refused with a code of ours', () => {
  const certificates = real.slice(0, 3).flatMap(({ bytes }) => {
    const { cabundle, certificate } = decodeAttestationDocument(bytes);
    return [...cabundle, certificate];
  });
  fc.assert(
    fc.property(
      fc.constantFrom(...certificates),
      fc.nat(),
      blob(0, 4),
      fc.nat({ max: 4 }),
      (der, where, inserted, removed) => {
        const at = where % der.length;
        const changed = concatBytes(der.subarray(0, at), inserted, der.subarray(at + removed));
        accepts(() => parseCertificate(changed, 'certificate'));
      },
    ),
    { numRuns: numRuns * 4 },
  );
});
