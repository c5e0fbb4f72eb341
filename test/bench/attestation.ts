/** Verifying one real document, beside node:crypto doing only its five ES384 checks: the floor of any verifier. */
import { createPublicKey, type KeyObject, verify, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { type AttestationDocument, decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import type { Row } from './measure.ts';

const VECTOR = '../vectors/attestation/real/2025-12-25-us-east-1-prod-dstack-tee-54ae0f97.bin';

export function attestationRow(): Row {
  const bytes = new Uint8Array(readFileSync(new URL(VECTOR, import.meta.url)));
  const document = decodeAttestationDocument(bytes);
  const expected = {
    mode: { kind: 'replay' },
    pcrSets: [{ name: 'own', pcrs: new Map([[0, document.pcrs.get(0) ?? new Uint8Array(0)]]) }],
  } as const;
  const checks = fiveChecks(document);
  return {
    name: 'attestation verifications',
    ours: async () => {
      const { ok } = await verifyAttestation(bytes, expected);
      if (!ok) throw new Error('the document does not verify');
    },
    baseline: 'five ES384 checks by node:crypto',
    theirs: async () => {
      for (const check of checks) if (!check()) throw new Error('a signature does not verify');
    },
  };
}

/** Four certificates and the document. Keys are imported each time, as a verifier has to; DER is split beforehand. */
function fiveChecks(document: AttestationDocument): readonly (() => boolean)[] {
  const chain = [...document.cabundle, document.certificate].map((der) => new X509Certificate(der));
  const { protectedHeader, payload, signature } = document;
  const signed = concatBytes(
    Uint8Array.of(0x84, 0x6a),
    utf8('Signature1'),
    Uint8Array.of(0x40 + protectedHeader.length),
    protectedHeader,
    Uint8Array.of(0x40, 0x59, payload.length >> 8, payload.length & 0xff),
    payload,
  );
  const keyOf = (index: number): (() => KeyObject) => {
    const key = chain[index]?.publicKey.export({ format: 'der', type: 'spki' }) ?? Buffer.alloc(0);
    return () => createPublicKey({ key, format: 'der', type: 'spki' });
  };
  const keys = chain.map((_, index) => keyOf(index));
  const signatures = chain.slice(1).map((certificate, index) => {
    const { tbs, signature: der } = split(certificate.raw);
    return () => verify('sha384', tbs, keys[index]?.() ?? '', der);
  });
  const leaf = keys.at(-1);
  const last = () => {
    const key = leaf?.();
    return key !== undefined && verify('sha384', signed, { key, dsaEncoding: 'ieee-p1363' }, signature);
  };
  return [...signatures, last];
}

/** Certificate ::= SEQUENCE { tbs, algorithm, BIT STRING }: lengths of two bytes for the first two levels. */
function split(der: Uint8Array): { tbs: Uint8Array; signature: Uint8Array } {
  const tbsLength = 4 + (((der[6] ?? 0) << 8) | (der[7] ?? 0));
  const tbs = der.subarray(4, 4 + tbsLength);
  const algorithm = der.subarray(4 + tbsLength);
  const bits = algorithm.subarray(2 + (algorithm[1] ?? 0));
  return { tbs, signature: bits.subarray(3) };
}
