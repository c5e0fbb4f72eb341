/**
 * The certificate inside a signature section: PEM (RFC 7468), one block and nothing around it but white space, of
 * strict DER. OpenSSL takes the first block among any text, so a second one, or text, could make two readers see two
 * signers; PCR8 measures the DER of the one.
 *
 * Often it is of X.509 version 1: the commands in AWS's guide make one without extensions. Nobody checks a chain here,
 * neither nitro-cli nor the hypervisor: who is named in it proves nothing, PCR8 is what to compare.
 */
import '../attestation/reflect.ts';
import { X509Certificate } from '@peculiar/x509';
import { type Element, readElement, readElements, requireStrict, TAG } from '../attestation/der.ts';
import { fromBase64 } from '../bytes.ts';
import { QvError } from '../errors.ts';

export interface SigningCertificate {
  readonly der: Uint8Array;
  readonly subjectPublicKeyInfo: Uint8Array;
  /** As the certificate says; not authenticated. */
  readonly subject: string;
  readonly issuer: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const PEM = /^\s*-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE-----\s*$/;
const TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const PATH = 'signing_certificate';
/** [0] EXPLICIT version: absent in version 1 (RFC 5280 section 4.1). */
const VERSION = 0xa0;

const refuse = (value: string, cause?: unknown): never => {
  throw new QvError('eif_certificate_malformed', { path: PATH, value }, { cause });
};

/** @throws QvError eif_certificate_malformed */
export function readSigningCertificate(pem: Uint8Array): SigningCertificate {
  try {
    const der = unwrap(pem);
    const parts = split(der);
    const { subject, issuer } = new X509Certificate(new Uint8Array(der));
    return { der, ...parts, subject, issuer };
  } catch (error) {
    // The DER and base64 readers have codes of their own; the library has none.
    return refuse(error instanceof QvError ? (error.facts.value ?? 'base64') : 'not a certificate', error);
  }
}

function unwrap(pem: Uint8Array): Uint8Array {
  const body = PEM.exec(String.fromCharCode(...pem))?.[1];
  if (body === undefined) return refuse('not one PEM block');
  return fromBase64(body.replace(/[\r\n]/g, ''));
}

/** RFC 5280 section 4.1: Certificate and TBSCertificate as far as they are used. */
function split(der: Uint8Array): Pick<SigningCertificate, 'subjectPublicKeyInfo' | 'notBeforeMs' | 'notAfterMs'> {
  requireStrict(der, PATH);
  const certificate = readElement(der, PATH);
  if (certificate.tag !== TAG.sequence || certificate.rest.length > 0) return refuse('trailing bytes');
  const [tbs, , signature, ...beyond] = readElements(certificate.body, PATH);
  if (tbs === undefined || signature === undefined || beyond.length > 0) return refuse('shape');
  const fields = readElements(tbs.body, PATH);
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
  const [, , , validity, , key] = fields.slice(fields[0]?.tag === VERSION ? 1 : 0);
  if (validity === undefined || key === undefined) return refuse('shape');
  const [notBefore, notAfter, ...times] = readElements(validity.body, PATH);
  if (notBefore === undefined || notAfter === undefined || times.length > 0) return refuse('validity');
  return { subjectPublicKeyInfo: key.raw, notBeforeMs: timeOf(notBefore), notAfterMs: timeOf(notAfter) };
}

/** RFC 5280 section 4.1.2.5: UTCTime of 1950 to 2049 or GeneralizedTime, with seconds and Z. Parsed, printed, compared. */
function timeOf({ tag, body }: Element): number {
  const text = String.fromCharCode(...body);
  const century = tag === TAG.utcTime ? (text < '5' ? '20' : '19') : '';
  const [, year, month, day, hour, minute, second] = TIME.exec(century + text) ?? [];
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(timeMs)) return refuse('time');
  const printed = new Date(timeMs).toISOString().slice(0, 19).replace(/\D/g, '');
  return century + text === `${printed}Z` ? timeMs : refuse('time');
}
