/** X.509 v3 certificates (RFC 5280) signed with ECDSA, with exactly the extensions asked for, in the order given. */
import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import {
  bitString,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  printableString,
  sequence,
  set,
  TRUE,
  time,
  tlv,
  utf8String,
} from './der.ts';

const ATTRIBUTES = { C: '2.5.4.6', ST: '2.5.4.8', L: '2.5.4.7', O: '2.5.4.10', OU: '2.5.4.11', CN: '2.5.4.3' } as const;
const SIGNATURES = { sha256: '1.2.840.10045.4.3.2', sha384: '1.2.840.10045.4.3.3' } as const;

/** Attributes in the order they are written. */
export type Name = readonly (readonly [keyof typeof ATTRIBUTES, string])[];

export interface CertificateRequest {
  /** At most 20 bytes, unsigned. */
  readonly serialNumber: Uint8Array;
  readonly subject: Name;
  readonly issuer: Name;
  /** Milliseconds since 1970, cut to whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly publicKey: KeyObject;
  readonly signingKey: KeyObject;
  readonly hash: keyof typeof SIGNATURES;
  readonly extensions: readonly Uint8Array[];
}

export function issueCertificate(request: CertificateRequest): Uint8Array {
  const algorithm = sequence(oid(SIGNATURES[request.hash]));
  const toBeSigned = sequence(
    explicit(0, integer(Uint8Array.of(2))),
    integer(request.serialNumber),
    algorithm,
    encodeName(request.issuer),
    sequence(time(request.notBefore), time(request.notAfter)),
    encodeName(request.subject),
    spkiOf(request.publicKey),
    explicit(3, sequence(...request.extensions)),
  );
  return sequence(toBeSigned, algorithm, bitString(sign(request.hash, toBeSigned, request.signingKey)));
}

function encodeName(name: Name): Uint8Array {
  return sequence(
    ...name.map(([attribute, value]) =>
      // countryName is a PrintableString by definition; AWS writes the others as UTF8String.
      set(sequence(oid(ATTRIBUTES[attribute]), attribute === 'C' ? printableString(value) : utf8String(value))),
    ),
  );
}

export function spkiOf(publicKey: KeyObject): Uint8Array {
  return new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
}

export function toPem(label: string, der: Uint8Array): string {
  const lines = toBase64(der).match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

function extension(id: string, critical: boolean, value: Uint8Array): Uint8Array {
  return critical ? sequence(oid(id), TRUE, octetString(value)) : sequence(oid(id), octetString(value));
}

export function authority(pathLength?: number): Uint8Array {
  const length = pathLength === undefined ? [] : [integer(Uint8Array.of(pathLength))];
  return extension('2.5.29.19', true, sequence(TRUE, ...length));
}

export function notAnAuthority(): Uint8Array {
  return extension('2.5.29.19', true, sequence());
}

/** The bits of RFC 5280 section 4.2.1.3, first bit first. */
const USAGES = { digitalSignature: 0x80, nonRepudiation: 0x40, keyCertSign: 0x04, cRLSign: 0x02 } as const;

export function keyUsage(usages: readonly (keyof typeof USAGES)[], critical = true): Uint8Array {
  const bits = usages.reduce((sum, usage) => sum | USAGES[usage], 0);
  const unusedBits = Math.log2(bits & -bits);
  return extension('2.5.29.15', critical, bitString(Uint8Array.of(bits), unusedBits));
}

/** SHA-1 of the public key's bits (RFC 5280 section 4.2.1.2, method 1). */
function keyIdentifier(key: KeyObject): Uint8Array {
  const { x = '', y = '' } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  const point = Buffer.concat([Buffer.of(0x04), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]);
  return createHash('sha1').update(point).digest();
}

export function subjectKeyIdentifier(key: KeyObject): Uint8Array {
  return extension('2.5.29.14', false, octetString(keyIdentifier(key)));
}

export function authorityKeyIdentifier(issuerKey: KeyObject): Uint8Array {
  return extension('2.5.29.35', false, sequence(implicit(0, keyIdentifier(issuerKey))));
}

export function crlDistributionPoint(url: string): Uint8Array {
  const fullName = tlv(0xa0, implicit(6, utf8(url)));
  return extension('2.5.29.31', false, sequence(sequence(tlv(0xa0, fullName))));
}

/** DNS names and IPv4 addresses. */
export function subjectAlternativeNames(names: readonly string[]): Uint8Array {
  const encoded = names.map((name) =>
    /^[0-9.]+$/.test(name) ? implicit(7, Uint8Array.from(name.split('.').map(Number))) : implicit(2, utf8(name)),
  );
  return extension('2.5.29.17', false, sequence(...encoded));
}

export function serverAuthentication(): Uint8Array {
  return extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1')));
}
