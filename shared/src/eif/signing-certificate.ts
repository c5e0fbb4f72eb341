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
import { readElement, readElements, requireStrict, TAG } from '../attestation/der.ts';
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
/** [0] EXPLICIT version: absent in version 1 (RFC 5280 section 4.1). */
const VERSION = 0xa0;

const refuse = (value: string, cause?: unknown): never => {
  throw new QvError('eif_certificate_malformed', { path: 'signing_certificate', value }, { cause });
};

/** @throws QvError eif_certificate_malformed */
export function readSigningCertificate(pem: Uint8Array): SigningCertificate {
  try {
    const der = unwrap(pem);
    const subjectPublicKeyInfo = publicKeyOf(der);
    const parsed = new X509Certificate(new Uint8Array(der));
    const notBeforeMs = parsed.notBefore.getTime();
    const notAfterMs = parsed.notAfter.getTime();
    if (!Number.isFinite(notBeforeMs) || !Number.isFinite(notAfterMs)) refuse('validity');
    return { der, subjectPublicKeyInfo, subject: parsed.subject, issuer: parsed.issuer, notBeforeMs, notAfterMs };
  } catch (error) {
    if (error instanceof QvError && error.code === 'eif_certificate_malformed') throw error;
    // The DER and base64 readers have codes of their own; the library has none.
    return refuse(error instanceof QvError ? (error.facts.value ?? 'base64') : 'not a certificate', error);
  }
}

function unwrap(pem: Uint8Array): Uint8Array {
  const body = PEM.exec(String.fromCharCode(...pem))?.[1];
  if (body === undefined) return refuse('not one PEM block');
  return fromBase64(body.replace(/[\r\n]/g, ''));
}

/** RFC 5280 section 4.1: the key is the element before the optional ones, counted from the version. */
function publicKeyOf(der: Uint8Array): Uint8Array {
  requireStrict(der, 'signing_certificate');
  const certificate = readElement(der, 'signing_certificate');
  if (certificate.tag !== TAG.sequence || certificate.rest.length > 0) return refuse('trailing bytes');
  const [tbs, , , ...beyond] = readElements(certificate.body, 'signing_certificate');
  if (tbs === undefined || beyond.length > 0) return refuse('shape');
  const fields = readElements(tbs.body, 'signing_certificate');
  // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
  const key = fields[fields[0]?.tag === VERSION ? 6 : 5];
  return key?.tag === TAG.sequence ? key.raw : refuse('shape');
}
