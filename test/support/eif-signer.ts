/** Signature sections as nitro-cli's signer writes them, with every part replaceable. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { issueCertificate, spkiOf, subjectKeyIdentifier, toPem } from '../stack/certificate.ts';
import { bitString, integer, oid, printableString, sequence, set, time } from '../stack/der.ts';
import { WireMap, type WireValue, writeCbor } from '../stack/nsm/cbor-writer.ts';
import { expectedPcrs, type SectionSpec, section } from './eif.ts';

export const CURVES = {
  'P-256': { header: 'a10126', hash: 'sha256' },
  'P-384': { header: 'a1013822', hash: 'sha384' },
  'P-521': { header: 'a1013823', hash: 'sha512' },
} as const;
export type Curve = keyof typeof CURVES;

export interface Signer {
  readonly curve: Curve;
  readonly key: KeyObject;
  readonly der: Uint8Array;
}

export const NOT_BEFORE = Date.UTC(2026, 0, 1);
export const NOT_AFTER = Date.UTC(2027, 0, 1);
export const NOW = Date.UTC(2026, 5, 1);

const NAME = [['CN', 'signer']] as const;

export function newSigner(curve: Curve = 'P-384'): Signer {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
  const der = issueCertificate({
    serialNumber: Uint8Array.of(1),
    subject: NAME,
    issuer: NAME,
    notBefore: NOT_BEFORE,
    notAfter: NOT_AFTER,
    publicKey,
    signingKey: privateKey,
    hash: 'sha384',
    extensions: [subjectKeyIdentifier(publicKey)],
  });
  return { curve, key: privateKey, der };
}

export interface Version1Parts {
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  /** Whole elements in place of right ones. */
  readonly serialNumber?: Uint8Array;
  readonly notAfter?: Uint8Array;
  readonly beyond?: readonly Uint8Array[];
}

/** X.509 version 1: no version and no extensions, as `openssl x509 -req` makes them for AWS's guide. */
export function version1Certificate({ publicKey, signingKey, ...parts }: Version1Parts): Uint8Array {
  const { serialNumber = integer(Uint8Array.of(1)), notAfter = time(NOT_AFTER), beyond = [] } = parts;
  const algorithm = sequence(oid('1.2.840.10045.4.3.3'));
  const name = sequence(set(sequence(oid('2.5.4.3'), printableString('signer'))));
  const tbs = sequence(serialNumber, algorithm, name, sequence(time(NOT_BEFORE), notAfter), name, spkiOf(publicKey));
  return sequence(tbs, algorithm, bitString(sign('sha384', tbs, signingKey)), ...beyond);
}

/** serde's Vec<u8>. */
export const integers = (bytes: Uint8Array): readonly number[] => [...bytes];

export interface SignatureParts {
  readonly signer: Signer;
  readonly registerIndex?: number;
  readonly registerValue: Uint8Array;
  /** Overrules the two above. */
  readonly payload?: Uint8Array;
  readonly header?: string;
  readonly pem?: string;
}

export function sign1(parts: SignatureParts): Uint8Array {
  const { signer, registerIndex = 0, registerValue } = parts;
  const { hash, header } = CURVES[signer.curve];
  const protectedHeader = fromHex(parts.header ?? header);
  const payload = parts.payload ?? registerPayload(registerIndex, registerValue);
  const signed = writeCbor(['Signature1', protectedHeader, new Uint8Array(), payload]);
  const signature = Uint8Array.from(sign(hash, signed, { key: signer.key, dsaEncoding: 'ieee-p1363' }));
  return writeCbor([protectedHeader, new WireMap([]), payload, signature]);
}

export function registerPayload(index: number, value: Uint8Array): Uint8Array {
  return writeCbor(
    new WireMap([
      ['register_index', index],
      ['register_value', integers(value)],
    ]),
  );
}

export function entry(certificate: WireValue, signature: WireValue): WireMap {
  return new WireMap([
    ['signing_certificate', certificate],
    ['signature', signature],
  ]);
}

export const pemOf = (der: Uint8Array): string => toPem('CERTIFICATE', der);

export function signatureBytes(parts: SignatureParts): Uint8Array {
  const pem = utf8(parts.pem ?? pemOf(parts.signer.der));
  return writeCbor([entry(integers(pem), integers(sign1(parts)))]);
}

/** The sections and, behind them, their signature. */
export function signed(sections: readonly SectionSpec[], signer: Signer, more: Partial<SignatureParts> = {}) {
  const registerValue = fromHex(expectedPcrs(sections)[0]);
  return [...sections, section('signature', signatureBytes({ signer, registerValue, ...more }))];
}

export const withSignature = (sections: readonly SectionSpec[], bytes: Uint8Array): readonly SectionSpec[] => [
  ...sections,
  section('signature', bytes),
];
