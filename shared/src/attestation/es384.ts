/** ECDSA over P-384 with SHA-384 by WebCrypto. High s is accepted: about half of Nitro's signatures have it. */
import { readElements, requireStrict, TAG } from './der.ts';

const CURVE = { name: 'ECDSA', namedCurve: 'P-384' } as const;
const SCHEME = { name: 'ECDSA', hash: 'SHA-384' } as const;
const COORDINATE_BYTES = 48;

/** WebCrypto's types want bytes outside of shared memory; ours are copies or slices of copies. */
function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/**
 * @param subjectPublicKeyInfo DER, of a P-384 key
 * @param signature r and s, 48 bytes each
 * @returns false also when the key is no point of the curve
 */
export async function verifyEs384(
  subjectPublicKeyInfo: Uint8Array,
  signature: Uint8Array,
  signed: Uint8Array,
): Promise<boolean> {
  const { subtle } = globalThis.crypto;
  try {
    const key = await subtle.importKey('spki', plain(subjectPublicKeyInfo), CURVE, false, ['verify']);
    return await subtle.verify(SCHEME, key, plain(signature), plain(signed));
  } catch {
    return false;
  }
}

/** Ecdsa-Sig-Value (RFC 3279 section 2.2.3) as r and s of 48 bytes each; undefined when it is not strict DER of two. */
export function rawSignature(der: Uint8Array, path: string): Uint8Array | undefined {
  try {
    requireStrict(der, path);
  } catch {
    return undefined;
  }
  const [sequence, ...beyond] = readElements(der, path);
  // check signature-no-trailing: one SEQUENCE and nothing behind it
  if (sequence?.tag !== TAG.sequence || beyond.length > 0) return undefined;
  const numbers = readElements(sequence.body, path);
  // check signature-two-numbers: r and s
  if (numbers.length !== 2) return undefined;
  const raw = new Uint8Array(2 * COORDINATE_BYTES);
  for (const [index, { tag, body }] of numbers.entries()) {
    const unsigned = body[0] === 0 ? body.subarray(1) : body;
    // check signature-numbers: positive, and no longer than the field
    if (tag !== TAG.integer || (body[0] ?? 0) >= 0x80 || unsigned.length > COORDINATE_BYTES) return undefined;
    raw.set(unsigned, (index + 1) * COORDINATE_BYTES - unsigned.length);
  }
  return raw;
}

export async function sha256(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await globalThis.crypto.subtle.digest('SHA-256', plain(bytes)));
}

export async function sha384(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await globalThis.crypto.subtle.digest('SHA-384', plain(bytes)));
}
