/**
 * Everything an attestation document says, readable, and no verdict: nothing here has been verified, and a document
 * made by anybody reads just as well. Text from the document is reduced to printable ASCII.
 */
import { type BasicConstraints, type Certificate, parseCertificate } from '../attestation/certificate.ts';
import { isoTime } from '../attestation/chain.ts';
import { type AttestationDocument, decodeAttestationDocument, type Presence } from '../attestation/document.ts';
import { AWS_NITRO_ROOT_G1_SHA256, fingerprintOf } from '../attestation/root.ts';
import { toHex } from '../bytes.ts';
import { decodeAs } from '../protocol/wire.ts';
import { userDataCodec } from './user-data.ts';

export interface Inspection {
  readonly documentBytes: number;
  readonly moduleId: string;
  readonly digest: string;
  readonly time: string;
  readonly timestampMs: number;
  readonly payloadBytes: number;
  readonly payloadEncoding: AttestationDocument['payloadEncoding'];
  readonly algorithm: 'ES384';
  /** r and s. */
  readonly signature: string;
  readonly pcrs: readonly InspectedPcr[];
  readonly publicKey: InspectedField;
  readonly userData: InspectedField;
  readonly nonce: InspectedField;
  /** `user_data`, when it is that of an enclave of ours. */
  readonly attested?: InspectedUserData;
  /** Root first, the one that signed the document last. */
  readonly certificates: readonly InspectedCertificate[];
}

export interface InspectedPcr {
  readonly index: number;
  readonly name: string;
  readonly hex: string;
  readonly zero: boolean;
}

export interface InspectedField {
  readonly presence: Presence;
  /** These three when present. */
  readonly bytes?: number;
  readonly hex?: string;
  /** When all of it is printable ASCII. */
  readonly text?: string;
}

export interface InspectedUserData {
  readonly format: 'qv/user-data/v1';
  readonly bootKey: string;
  readonly importKey?: string;
  readonly configHash: string;
  readonly logOrigin: string;
  readonly version: string;
}

export interface InspectedCertificate {
  /** `cabundle.0`, …, `certificate`. */
  readonly path: string;
  readonly subject: string;
  readonly issuer: string;
  readonly serial: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly lifetime: string;
  /** Absent when the certificate does not say. */
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly keyUsage: readonly string[];
  readonly criticalExtensions: readonly string[];
  /** SHA-256 of the DER. */
  readonly fingerprint: string;
  readonly isAwsRoot: boolean;
}

/** "Nitro Enclaves user guide", "Cryptographic attestation". */
const PCR_NAMES: Readonly<Record<number, string>> = {
  0: 'enclave image',
  1: 'kernel and boot ramdisk',
  2: 'application',
  3: 'IAM role of the parent instance',
  4: 'id of the parent instance',
  8: 'image signing certificate',
};

/** RFC 5280 section 4.2.1.3, from bit 0. */
const KEY_USAGES = [
  'digitalSignature',
  'nonRepudiation',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
];

const EXTENSION_NAMES: Readonly<Record<string, string>> = {
  '2.5.29.15': 'keyUsage',
  '2.5.29.19': 'basicConstraints',
};

/**
 * @param bytes the raw COSE_Sign1
 * @throws QvError attestation_*: what does not decode cannot be shown
 */
export async function inspectAttestation(bytes: Uint8Array): Promise<Inspection> {
  const document = decodeAttestationDocument(bytes);
  const { cabundle, certificate, presence } = document;
  const certificates = [
    ...cabundle.map((der, index) => parseCertificate(der, `cabundle.${index}`)),
    parseCertificate(certificate, 'certificate'),
  ];
  const attested = readUserData(document.userData);
  return {
    documentBytes: bytes.length,
    moduleId: document.moduleId,
    digest: document.digest,
    time: isoTime(document.timestampMs),
    timestampMs: document.timestampMs,
    payloadBytes: document.payload.length,
    payloadEncoding: document.payloadEncoding,
    algorithm: 'ES384',
    signature: toHex(document.signature),
    pcrs: [...document.pcrs].map(([index, value]) => inspectPcr(index, value)),
    publicKey: inspectField(presence.public_key, document.publicKey),
    userData: inspectField(presence.user_data, document.userData),
    nonce: inspectField(presence.nonce, document.nonce),
    ...(attested !== undefined && { attested }),
    certificates: await Promise.all(certificates.map(inspectCertificate)),
  };
}

function inspectPcr(index: number, value: Uint8Array): InspectedPcr {
  const zero = value.every((byte) => byte === 0);
  return { index, name: PCR_NAMES[index] ?? '', hex: toHex(value), zero };
}

function inspectField(presence: Presence, value: Uint8Array | undefined): InspectedField {
  if (value === undefined) return { presence };
  const isText = value.length > 0 && value.every((byte) => byte >= 0x20 && byte <= 0x7e);
  const text = isText ? { text: new TextDecoder().decode(value) } : {};
  return { presence, bytes: value.length, hex: toHex(value), ...text };
}

function readUserData(bytes: Uint8Array | undefined): InspectedUserData | undefined {
  if (bytes === undefined) return undefined;
  try {
    const { bootKey, importKey, configHash, logOrigin, version } = decodeAs(userDataCodec, bytes, 'user_data');
    const imports = importKey === undefined ? {} : { importKey: toHex(importKey) };
    return { format: 'qv/user-data/v1', bootKey, ...imports, configHash: toHex(configHash), logOrigin, version };
  } catch {
    // Somebody else's: any bytes are allowed there.
    return undefined;
  }
}

async function inspectCertificate(certificate: Certificate): Promise<InspectedCertificate> {
  const { path, der, notBeforeMs, notAfterMs, criticalExtensions, keyUsage = 0 } = certificate;
  const fingerprint = await fingerprintOf(der);
  return {
    path,
    subject: ascii(certificate.subjectText),
    issuer: ascii(certificate.issuerText),
    serial: toHex(certificate.serial),
    notBefore: isoTime(notBeforeMs),
    notAfter: isoTime(notAfterMs),
    lifetime: duration(notAfterMs - notBeforeMs),
    ...constraints(certificate.basicConstraints),
    keyUsage: KEY_USAGES.filter((_, bit) => (keyUsage & (1 << bit)) !== 0),
    criticalExtensions: criticalExtensions.map((oid) => EXTENSION_NAMES[oid] ?? oid),
    fingerprint,
    isAwsRoot: fingerprint === AWS_NITRO_ROOT_G1_SHA256,
  };
}

function constraints(found: BasicConstraints | undefined): Pick<InspectedCertificate, 'ca' | 'pathLength'> {
  if (found === undefined) return {};
  return { ca: found.ca, ...(found.pathLength !== undefined && { pathLength: found.pathLength }) };
}

/** `3 h 0 min`, `20 d 1 h`, `30 y`: the two largest units. */
function duration(milliseconds: number): string {
  const minutes = Math.round(milliseconds / 60_000);
  const units = [
    ['y', 365 * 24 * 60],
    ['d', 24 * 60],
    ['h', 60],
    ['min', 1],
  ] as const;
  let rest = minutes;
  const parts = units.map(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return { unit, count };
  });
  const first = parts.findIndex(({ count }) => count > 0);
  if (first < 0) return '0 min';
  return parts
    .slice(first, first + 2)
    .filter(({ count }) => count > 0)
    .map(({ unit, count }) => `${count} ${unit}`)
    .join(' ');
}

function ascii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?');
}
