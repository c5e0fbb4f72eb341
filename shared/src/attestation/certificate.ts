/**
 * One X.509 version 3 certificate (RFC 5280 section 4.1), parsed by @peculiar/x509 between two guards of ours: strict
 * DER before, and afterwards a comparison of what the library understood with the bytes that were signed.
 */
import './reflect.ts';
import { BasicConstraintsExtension, KeyUsagesExtension, X509Certificate } from '@peculiar/x509';
import { equalBytes, toHex } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { type Element, readElement, readElements, requireStrict, TAG } from './der.ts';

export interface Certificate {
  /** `cabundle.0`, …, `certificate`: how findings name it. */
  readonly path: string;
  readonly der: Uint8Array;
  /** The signed part, as received. */
  readonly tbs: Uint8Array;
  /** DER of the algorithm inside the signed part and of the one outside of it. */
  readonly signedAlgorithm: Uint8Array;
  readonly signatureAlgorithm: Uint8Array;
  /** DER of Ecdsa-Sig-Value. */
  readonly signature: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  /** DER of the names: chains compare bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly subjectText: string;
  readonly issuerText: string;
  /** The INTEGER's bytes. */
  readonly serial: Uint8Array;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly criticalExtensions: readonly string[];
  /** Undefined when the extension is absent. */
  readonly basicConstraints?: BasicConstraints;
  /** Bits of KeyUsageFlags; undefined when the extension is absent. */
  readonly keyUsage?: number;
}

export interface BasicConstraints {
  readonly critical: boolean;
  readonly ca: boolean;
  readonly pathLength?: number;
}

const VERSION = 0xa0;
const EXTENSIONS = 0xa3;
/** [0] INTEGER 2: version 3. */
const VERSION_3 = 'a003020102';

function refuse(path: string, why: string, cause?: unknown): never {
  throw new QvError('attestation_certificate_malformed', { path, value: why }, { cause });
}

/** @throws QvError attestation_certificate_malformed */
export function parseCertificate(der: Uint8Array, path: string): Certificate {
  requireStrict(der, path);
  const parts = splitCertificate(der, path);
  let parsed: X509Certificate;
  try {
    parsed = new X509Certificate(new Uint8Array(der));
    return { path, der, ...parts.slices, ...understand(parsed, parts.validity, path) };
  } catch (error) {
    if (error instanceof QvError) throw error;
    return refuse(path, 'not a certificate', error);
  }
}

/** Certificate and TBSCertificate, RFC 5280 section 4.1: which bytes are which. */
function splitCertificate(der: Uint8Array, path: string) {
  const certificate = readElement(der, path);
  // check certificate-no-trailing: one SEQUENCE and nothing behind it
  if (certificate.tag !== TAG.sequence || certificate.rest.length > 0) refuse(path, 'trailing bytes');
  const [tbs, outer, bits, ...beyond] = readElements(certificate.body, path);
  // check certificate-three-parts: RFC 5280 section 4.1
  if (!tbs || !outer || !bits || beyond.length > 0) return refuse(path, 'shape');
  const [version, serial, inner, issuer, validity, subject, key, extensions, ...unknown] = readElements(tbs.body, path);
  // check certificate-shape: version 3, no unique identifiers, extensions, nothing else
  if (!extensions || extensions.tag !== EXTENSIONS || unknown.length > 0) return refuse(path, 'shape');
  if (!version || !serial || !inner || !issuer || !validity || !subject || !key) return refuse(path, 'shape');
  // check certificate-version: older ones have no extensions
  if (version.tag !== VERSION || toHex(version.raw) !== VERSION_3) refuse(path, 'version');
  // check certificate-bit-string: a signature is whole bytes
  if (bits.tag !== TAG.bitString || bits.body[0] !== 0) refuse(path, 'signature');
  const slices = {
    tbs: tbs.raw,
    serial: serial.body,
    signedAlgorithm: inner.raw,
    signatureAlgorithm: outer.raw,
    signature: bits.body.subarray(1),
    subjectPublicKeyInfo: key.raw,
    issuer: issuer.raw,
    subject: subject.raw,
  };
  return { slices, validity: readElements(validity.body, path) };
}

/** What the library read, compared with the bytes it read it from (parse, print, compare). */
function understand(parsed: X509Certificate, [notBefore, notAfter, ...beyond]: readonly Element[], path: string) {
  // check certificate-two-times: notBefore and notAfter
  if (!notBefore || !notAfter || beyond.length > 0) return refuse(path, 'validity');
  const oids = parsed.extensions.map((extension) => extension.type);
  // check certificate-extension-once: RFC 5280 section 4.2; of two, parsers disagree which counts
  if (new Set(oids).size !== oids.length) refuse(path, 'extension twice');
  const basicConstraints = readBasicConstraints(parsed.getExtension(BasicConstraintsExtension), path);
  const keyUsage = readKeyUsage(parsed.getExtension(KeyUsagesExtension), path);
  return {
    subjectText: parsed.subject,
    issuerText: parsed.issuer,
    notBeforeMs: readTime(notBefore, parsed.notBefore, path),
    notAfterMs: readTime(notAfter, parsed.notAfter, path),
    criticalExtensions: parsed.extensions.filter((extension) => extension.critical).map((extension) => extension.type),
    ...(basicConstraints === undefined ? {} : { basicConstraints }),
    ...(keyUsage === undefined ? {} : { keyUsage }),
  };
}

/** UTCTime and GeneralizedTime in the one form RFC 5280 section 4.1.2.5 allows: seconds, and Z. */
function readTime(element: Element, time: Date, path: string): number {
  const digits = time.toISOString().slice(0, 19).replace(/\D/g, '');
  const printed = element.tag === TAG.utcTime ? digits.slice(2) : digits;
  // check certificate-time: a 13th month or a time zone would be read differently elsewhere
  if (String.fromCharCode(...element.body) !== `${printed}Z`) refuse(path, 'time');
  return time.getTime();
}

/** RFC 5280 section 4.2.1.9. */
function readBasicConstraints(found: BasicConstraintsExtension | null, path: string): BasicConstraints | undefined {
  if (found === null) return undefined;
  const { ca, pathLength, critical } = found;
  const printed = printBasicConstraints(ca, pathLength);
  // check certificate-basic-constraints: the extension holds what was understood and nothing else
  if (!equalBytes(printed, new Uint8Array(found.value))) refuse(path, 'basic constraints');
  return { critical, ca, ...(pathLength === undefined ? {} : { pathLength }) };
}

/** RFC 5280 section 4.2.1.3. */
function readKeyUsage(found: KeyUsagesExtension | null, path: string): number | undefined {
  if (found === null) return undefined;
  const printed = printKeyUsage(found.usages);
  // check certificate-key-usage: the extension holds what was understood and nothing else
  if (!equalBytes(printed, new Uint8Array(found.value))) refuse(path, 'key usage');
  return found.usages;
}

// Printed here and not by the library: what it misreads it could misprint the same way, and its encoder is slow.

/** SEQUENCE { cA BOOLEAN DEFAULT FALSE, pathLenConstraint INTEGER OPTIONAL }; path lengths of one byte. */
function printBasicConstraints(ca: boolean, pathLength: number | undefined): Uint8Array {
  const body = [
    ...(ca ? [TAG.boolean, 1, 0xff] : []),
    ...(pathLength === undefined ? [] : [TAG.integer, 1, pathLength]),
  ];
  return Uint8Array.of(TAG.sequence, body.length, ...body);
}

/** A named bit list (X.690 section 11.2.2): bit 0 first, no zeros behind the last bit that is set. */
function printKeyUsage(usages: number): Uint8Array {
  const count = 32 - Math.clz32(usages);
  const bytes = new Uint8Array(Math.ceil(count / 8));
  for (let bit = 0; bit < count; bit++)
    if ((usages & (1 << bit)) !== 0) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | (0x80 >> (bit & 7));
  return Uint8Array.of(TAG.bitString, bytes.length + 1, 8 * bytes.length - count, ...bytes);
}
