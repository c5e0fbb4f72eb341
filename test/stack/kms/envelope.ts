/**
 * `CiphertextForRecipient` as AWS encodes it: CMS EnvelopedData (RFC 5652) in a mixture of indefinite and definite
 * lengths, one key-transport recipient named by SHA-256 of its SPKI, RSAES-OAEP with SHA-256, AES-256-CBC, no MAC.
 * A 32-byte secret makes 493 bytes. The layout was read off public samples; see test/vectors/cms.
 *
 * The options beyond `form` write the faults that an enclave has to refuse.
 */
import { constants, createCipheriv, createHash, createPublicKey, publicEncrypt, randomBytes } from 'node:crypto';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { explicit, implicit, integer, NULL, octetString, oid, sequence, set, tlv } from '../der.ts';

const ENVELOPED_DATA = oid('1.2.840.113549.1.7.3');
const DATA = oid('1.2.840.113549.1.7.1');
const RSAES_OAEP = oid('1.2.840.113549.1.1.7');
const MGF1 = oid('1.2.840.113549.1.1.8');
const SHA256 = oid('2.16.840.1.101.3.4.2.1');
const AES256_CBC = oid('2.16.840.1.101.3.4.1.42');
const END_OF_CONTENTS = Uint8Array.of(0, 0);
const VERSION_2 = integer(Uint8Array.of(2));

export interface EnvelopeOptions {
  /** AWS mostly writes chunks in a constructed string; one of its own fixtures has the primitive form. */
  readonly form?: 'constructed' | 'primitive';
  /** Length of each chunk of the constructed form. One chunk by default. */
  readonly chunkBytes?: number;
  /** Names a recipient that is not the one attested. */
  readonly wrongRecipient?: boolean;
  /** Flips one bit of the last block: the padding or the content comes out wrong. */
  readonly flippedCiphertext?: boolean;
  /** Flips one bit of the wrapped content key. */
  readonly flippedWrappedKey?: boolean;
  /** Wraps with SHA-1, which empty OAEP parameters stand for. */
  readonly sha1Oaep?: boolean;
}

export function sealForRecipient(
  plaintext: Uint8Array,
  recipientSpki: Uint8Array,
  options: EnvelopeOptions = {},
  contentKey: Uint8Array = randomBytes(32),
): Uint8Array {
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', contentKey, iv);
  const encrypted = new Uint8Array(Buffer.concat([cipher.update(plaintext), cipher.final()]));
  if (options.flippedCiphertext === true) flipLastBit(encrypted);

  const recipientInfos = set(recipientInfo(contentKey, recipientSpki, options));
  const encryptedContentInfo = indefinite(
    0x30,
    DATA,
    sequence(AES256_CBC, octetString(iv)),
    encryptedContent(encrypted, options),
  );
  const envelopedData = indefinite(0x30, VERSION_2, recipientInfos, encryptedContentInfo);
  return indefinite(0x30, ENVELOPED_DATA, indefinite(0xa0, envelopedData));
}

function indefinite(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return concatBytes(Uint8Array.of(tag, 0x80), ...parts, END_OF_CONTENTS);
}

function recipientInfo(contentKey: Uint8Array, spki: Uint8Array, options: EnvelopeOptions): Uint8Array {
  const identifier = new Uint8Array(createHash('sha256').update(spki).digest());
  if (options.wrongRecipient === true) flipLastBit(identifier);
  const oaepHash = options.sha1Oaep === true ? 'sha1' : 'sha256';
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const wrapped = new Uint8Array(publicEncrypt({ key, oaepHash, padding }, contentKey));
  if (options.flippedWrappedKey === true) flipLastBit(wrapped);
  return sequence(
    VERSION_2,
    implicit(0, identifier),
    sequence(RSAES_OAEP, options.sha1Oaep === true ? sequence() : oaepParameters()),
    octetString(wrapped),
  );
}

/** RFC 4055 section 4.1: hash and mask generation are explicit, the label is left at its default. */
function oaepParameters(): Uint8Array {
  const sha256 = sequence(SHA256, NULL);
  return sequence(explicit(0, sha256), explicit(1, sequence(MGF1, sha256)));
}

function encryptedContent(encrypted: Uint8Array, options: EnvelopeOptions): Uint8Array {
  if (options.form === 'primitive') return tlv(0x80, encrypted);
  const size = options.chunkBytes ?? encrypted.length;
  const chunks: Uint8Array[] = [];
  for (let at = 0; at < encrypted.length; at += size) chunks.push(octetString(encrypted.subarray(at, at + size)));
  return indefinite(0xa0, ...chunks);
}

function flipLastBit(bytes: Uint8Array): void {
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 1;
}
