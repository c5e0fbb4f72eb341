/**
 * The secret of the v2 server, read on an operator's machine and sealed to the import key of an attested boot: in
 * guarded memory from beginning to end, as bytes, of which no string is made.
 */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { readBase64Bytes, readHexBytes } from '@quantumvault/shared/key-text.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { GuardedMemory } from '../../import/guarded-memory.ts';
import { readSecretBytes, type SecretSource } from '../../import/key-source.ts';
import { loadSodium } from '../../import/sodium.ts';
import type { SecretEncoding } from '../parameters.ts';

const HASH_BYTES = 32;
const BOX_BYTES = 48;
/** The longest secret in hex, a line break, and one more so that more is noticed. */
const TEXT_BYTES = 2 * LIMITS.migrationSecretBytes + 3;
const CHUNK_BYTES = 256;
const PLAIN_BYTES = HASH_BYTES + LIMITS.migrationSecretBytes;

export interface SealFor {
  /** SHA-256 of the statement. */
  readonly statementHash: Hash;
  /** X25519, 32 bytes, attested. */
  readonly importKey: Uint8Array;
}

const wrong = (value: string): QvError => new QvError('key_malformed', { path: 'secret', value });

/**
 * libsodium's sealed box of the statement's hash and the secret.
 * @throws QvError key_malformed, input_unreadable, body_too_large, key_file_unsafe, usage_invalid; none with a byte of it
 */
export async function sealV2Secret(
  source: SecretSource,
  encoding: SecretEncoding,
  { statementHash, importKey }: SealFor,
): Promise<Uint8Array> {
  const sodium = await loadSodium();
  const memory = new GuardedMemory(sodium, TEXT_BYTES + CHUNK_BYTES + PLAIN_BYTES);
  try {
    return await memory.openWhile(async (bytes) => {
      const area = bytes.subarray(0, TEXT_BYTES);
      const chunk = bytes.subarray(TEXT_BYTES, TEXT_BYTES + CHUNK_BYTES);
      const plain = bytes.subarray(TEXT_BYTES + CHUNK_BYTES);
      const secret = withoutLineBreak(await readSecretBytes(source, area, chunk, 'v2 secret (not shown): '));
      const length = decodeInto(secret, encoding, plain.subarray(HASH_BYTES));
      if (length < LIMITS.migrationSecretMinBytes)
        throw wrong(`${length} bytes; fewer than ${LIMITS.migrationSecretMinBytes} can be guessed`);
      plain.set(statementHash);
      const sealed = new Uint8Array(BOX_BYTES + HASH_BYTES + length);
      sodium.crypto_box_seal(sealed, plain.subarray(0, HASH_BYTES + length), importKey);
      return sealed;
    });
  } finally {
    memory.wipe();
  }
}

function decodeInto(secret: Buffer, encoding: SecretEncoding, into: Buffer): number {
  if (encoding === 'text') {
    if (secret.length > into.length) throw wrong(`more than ${into.length} bytes`);
    into.set(secret);
    return secret.length;
  }
  const length = encoding === 'hex' ? readHexBytes(secret, into) : readBase64Bytes(secret, into);
  if (length === undefined) throw wrong(`no ${encoding} of at most ${into.length} bytes`);
  return length;
}

function withoutLineBreak(text: Buffer): Buffer {
  let end = text.length;
  if (text[end - 1] === 0x0a) end--;
  if (text[end - 1] === 0x0d) end--;
  return text.subarray(0, end);
}
