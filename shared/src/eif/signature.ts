/**
 * Whether an image is signed, and by whom: ES256, ES384 or ES512 (RFC 9053 section 2.1) by the key of the certificate
 * in the section, over PCR0. The algorithm must be the one of the key's curve, as nitro-cli's COSE library demands.
 * High s is accepted, as everywhere with ECDSA.
 */
import { concatBytes, equalBytes, toHex, utf8 } from '../bytes.ts';
import type { ErrorCode } from '../errors.ts';
import { register } from './measurements.ts';
import type { Primitives } from './primitives.ts';
import { readSignatureSection, type Sign1 } from './signature-section.ts';
import { readSigningCertificate, type SigningCertificate } from './signing-certificate.ts';

export interface SignatureFindings {
  /** Undefined when the protected header names none of ours. */
  readonly algorithm?: string;
  readonly certificate: SigningCertificate;
  /** Whether it was valid at the time asked about. Not part of the verdict; nitro-cli starts no expired image. */
  readonly validAt: { readonly timeMs: number; readonly valid: boolean };
  /** SHA384(48 zero bytes || SHA384(DER of the certificate)). */
  readonly pcr8: Uint8Array;
  /** Absent when the signature verifies. */
  readonly failure?: Failure;
}

export interface Failure {
  readonly code: ErrorCode;
  readonly value: string;
}

interface Algorithm {
  readonly name: string;
  /** Bytes of the protected header {1: alg}. */
  readonly header: string;
  /** SubjectPublicKeyInfo up to the uncompressed point's coordinates (RFC 5480): named curves only. */
  readonly key: string;
  readonly curve: string;
  readonly hash: string;
  readonly coordinateBytes: number;
}

const EC_PUBLIC_KEY = '06072a8648ce3d0201';
const ALGORITHMS: readonly Algorithm[] = [
  {
    name: 'ES256',
    header: 'a10126',
    key: `30593013${EC_PUBLIC_KEY}06082a8648ce3d03010703420004`,
    curve: 'P-256',
    hash: 'SHA-256',
    coordinateBytes: 32,
  },
  {
    name: 'ES384',
    header: 'a1013822',
    key: `30763010${EC_PUBLIC_KEY}06052b8104002203620004`,
    curve: 'P-384',
    hash: 'SHA-384',
    coordinateBytes: 48,
  },
  {
    name: 'ES512',
    header: 'a1013823',
    key: `30819b3010${EC_PUBLIC_KEY}06052b810400230381860004`,
    curve: 'P-521',
    hash: 'SHA-512',
    coordinateBytes: 66,
  },
];

/**
 * @param pcr0 as measured, not as claimed
 * @throws QvError eif_signature_malformed, eif_signature_entries_unsupported, eif_certificate_malformed
 */
export async function examineSignature(
  bytes: Uint8Array,
  pcr0: Uint8Array,
  primitives: Primitives,
  nowMs: number,
): Promise<SignatureFindings> {
  const { certificatePem, sign1, registerIndex, registerValue } = readSignatureSection(bytes);
  const certificate = readSigningCertificate(certificatePem);
  const measured = primitives.sha384();
  measured.update(certificate.der);
  const header = toHex(sign1.protectedHeader);
  const algorithm = ALGORITHMS.find((candidate) => candidate.header === header);
  const failure = await verdict();
  return {
    ...(algorithm && { algorithm: algorithm.name }),
    certificate,
    validAt: { timeMs: nowMs, valid: certificate.notBeforeMs <= nowMs && nowMs <= certificate.notAfterMs },
    pcr8: register(primitives, measured),
    ...(failure && { failure }),
  };

  async function verdict(): Promise<Failure | undefined> {
    if (algorithm === undefined) return { code: 'eif_signature_algorithm_mismatch', value: `header ${header}` };
    if (!hasCurve(certificate, algorithm))
      return { code: 'eif_signature_algorithm_mismatch', value: `the key is not of ${algorithm.curve}` };
    if (!(await verify(algorithm, certificate, sign1))) return { code: 'eif_signature_invalid', value: algorithm.name };
    if (registerIndex !== 0) return { code: 'eif_signature_register_mismatch', value: `PCR${registerIndex}` };
    if (!equalBytes(registerValue, pcr0))
      return { code: 'eif_signature_register_mismatch', value: `signed was ${toHex(registerValue).slice(0, 96)}` };
    return undefined;
  }
}

function hasCurve({ subjectPublicKeyInfo }: SigningCertificate, { key, coordinateBytes }: Algorithm): boolean {
  const length = key.length / 2 + 2 * coordinateBytes;
  return subjectPublicKeyInfo.length === length && toHex(subjectPublicKeyInfo).startsWith(key);
}

async function verify(algorithm: Algorithm, certificate: SigningCertificate, sign1: Sign1): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  const { curve, hash } = algorithm;
  try {
    const scheme = { name: 'ECDSA', namedCurve: curve };
    const key = await subtle.importKey('spki', new Uint8Array(certificate.subjectPublicKeyInfo), scheme, false, [
      'verify',
    ]);
    const signed = new Uint8Array(sigStructure(sign1));
    // False also for a signature of another length than the curve's.
    return await subtle.verify({ name: 'ECDSA', hash }, key, new Uint8Array(sign1.signature), signed);
  } catch {
    // The key is no point of its curve.
    return false;
  }
}

/** RFC 9052 section 4.4: ["Signature1", protected, external_aad, payload]. */
function sigStructure({ protectedHeader, payload }: Sign1): Uint8Array {
  const context = utf8('Signature1');
  return concatBytes(
    Uint8Array.of(0x84, 0x60 | context.length),
    context,
    byteString(protectedHeader),
    byteString(new Uint8Array()),
    byteString(payload),
  );
}

/** In shortest form (RFC 8949 section 4.2.1), up to 65,535 bytes: the section has half of that. */
function byteString(bytes: Uint8Array): Uint8Array {
  const { length } = bytes;
  const head = length < 24 ? [0x40 | length] : length < 0x100 ? [0x58, length] : [0x59, length >> 8, length & 0xff];
  return concatBytes(Uint8Array.from(head), bytes);
}
