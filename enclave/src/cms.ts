/**
 * The envelope of KMS's CiphertextForRecipient: CMS EnvelopedData (RFC 5652) in AWS's BER, read to its public parts.
 *
 * Supported subset: ContentInfo, EnvelopedData v2, exactly one KeyTransRecipientInfo v2 with a 32-byte
 * subjectKeyIdentifier, RSAES-OAEP with explicit SHA-256 and MGF1-SHA-256 and no label, AES-256-CBC, content in one
 * primitive string or in chunks; lengths definite or indefinite where AWS has used either; nothing behind the end.
 *
 * Every failure is one error without detail: the envelope has no MAC, so a fault that says where it lies would be an
 * oracle (design 4).
 */
import { concatBytes, equalBytes, fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface Envelope {
  /** SHA-256 of the SubjectPublicKeyInfo the content key is wrapped for. */
  readonly recipient: Uint8Array;
  /** 256 bytes: the content key under RSA-2048 OAEP. */
  readonly encryptedKey: Uint8Array;
  readonly iv: Uint8Array;
  readonly ciphertext: Uint8Array;
}

const OID_ENVELOPED_DATA = fromHex('06092a864886f70d010703');
const OID_DATA = fromHex('06092a864886f70d010701');
const OID_AES_256_CBC = fromHex('060960864801650304012a');
const VERSION_2 = fromHex('020102');
/** AlgorithmIdentifier rsaesOaep { hash SHA-256, mgf1 SHA-256 }, each with NULL parameters (RFC 4055 section 4.1). */
const RSAES_OAEP_SHA256 = fromHex(
  '303c06092a864886f70d010107302fa00f300d06096086480165030402010500a11c301a06092a864886f70d010108300d06096086480165030402010500',
);

const fault = (): QvError => new QvError('kms_response_invalid', { path: 'CiphertextForRecipient' });

interface Element {
  readonly tag: number;
  readonly content: Uint8Array;
  readonly rest: Uint8Array;
}

/** One BER element with a single-byte tag: its content and what follows. An indefinite length ends at its EOC. */
function element(input: Uint8Array, depth = 0): Element {
  const tag = input[0];
  const first = input[1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f || depth > 12) throw fault();
  if (first === 0x80) {
    if ((tag & 0x20) === 0) throw fault();
    let rest = input.subarray(2);
    while (!(rest[0] === 0 && rest[1] === 0)) rest = element(rest, depth + 1).rest;
    return { tag, content: input.subarray(2, input.length - rest.length), rest: rest.subarray(2) };
  }
  const { length, header } = definiteLength(input, first);
  if (header + length > input.length) throw fault();
  return { tag, content: input.subarray(header, header + length), rest: input.subarray(header + length) };
}

function definiteLength(input: Uint8Array, first: number): { length: number; header: number } {
  if (first < 0x80) return { length: first, header: 2 };
  const size = first & 0x7f;
  if (size > 2 || input.length < 2 + size) throw fault();
  const length = size === 1 ? (input[2] ?? 0) : (input[2] ?? 0) * 256 + (input[3] ?? 0);
  return { length, header: 2 + size };
}

function expect(input: Uint8Array, tag: number): Element {
  const found = element(input);
  if (found.tag !== tag) throw fault();
  return found;
}

/** Consumes exactly these bytes. */
function literal(input: Uint8Array, expected: Uint8Array): Uint8Array {
  if (!equalBytes(input.subarray(0, expected.length), expected)) throw fault();
  return input.subarray(expected.length);
}

function nothing(input: Uint8Array): void {
  if (input.length !== 0) throw fault();
}

/** @throws QvError kms_response_invalid, the same for every fault */
export function parseEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > LIMITS.kmsEnvelopeBytes) throw fault();
  const contentInfo = expect(bytes, 0x30);
  nothing(contentInfo.rest);
  const wrapped = expect(literal(contentInfo.content, OID_ENVELOPED_DATA), 0xa0);
  nothing(wrapped.rest);
  const enveloped = expect(wrapped.content, 0x30);
  nothing(enveloped.rest);
  const recipients = expect(literal(enveloped.content, VERSION_2), 0x31);
  const content = expect(recipients.rest, 0x30);
  // Unprotected attributes would follow here; AWS sends none.
  nothing(content.rest);
  return { ...recipientInfo(recipients.content), ...encryptedContent(content.content) };
}

function recipientInfo(input: Uint8Array): { recipient: Uint8Array; encryptedKey: Uint8Array } {
  const info = expect(input, 0x30);
  nothing(info.rest);
  const identifier = expect(literal(info.content, VERSION_2), 0x80);
  const key = expect(literal(identifier.rest, RSAES_OAEP_SHA256), 0x04);
  nothing(key.rest);
  if (identifier.content.length !== 32 || key.content.length !== 256) throw fault();
  return { recipient: identifier.content, encryptedKey: key.content };
}

function encryptedContent(input: Uint8Array): { iv: Uint8Array; ciphertext: Uint8Array } {
  const algorithm = expect(literal(input, OID_DATA), 0x30);
  const iv = expect(literal(algorithm.content, OID_AES_256_CBC), 0x04);
  nothing(iv.rest);
  const body = element(algorithm.rest);
  nothing(body.rest);
  const ciphertext = body.tag === 0x80 ? body.content : body.tag === 0xa0 ? chunks(body.content) : undefined;
  if (ciphertext === undefined || iv.content.length !== 16) throw fault();
  if (ciphertext.length === 0 || ciphertext.length % 16 !== 0) throw fault();
  return { iv: iv.content, ciphertext };
}

/** The constructed form: primitive OCTET STRINGs one after the other. */
function chunks(input: Uint8Array): Uint8Array {
  const parts: Uint8Array[] = [];
  let rest = input;
  while (rest.length > 0) {
    const part = expect(rest, 0x04);
    parts.push(part.content);
    rest = part.rest;
  }
  return concatBytes(...parts);
}
