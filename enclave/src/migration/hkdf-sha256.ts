/** HKDF-SHA-256 (RFC 5869) of 32 bytes, by libsodium's SHA-256, inside of guarded memory. */

export interface Sha256 {
  crypto_hash_sha256(output: Uint8Array, input: Uint8Array): void;
  crypto_hash_sha256_init(state: Buffer): void;
  crypto_hash_sha256_update(state: Buffer, input: Uint8Array): void;
  crypto_hash_sha256_final(state: Buffer, output: Uint8Array): void;
}

/** What it works in, all of it guarded; whoever lends it wipes it. */
export interface HashMemory {
  /** 64 bytes */
  readonly block: Buffer;
  /** SHA256_STATE_BYTES */
  readonly state: Buffer;
  /** 32 bytes */
  readonly digest: Buffer;
  /** 32 bytes */
  readonly extracted: Buffer;
}

/** libsodium's crypto_hash_sha256_STATEBYTES. */
export const SHA256_STATE_BYTES = 104;
const BLOCK_BYTES = 64;
const INNER = 0x36;
const OUTER = 0x5c;

/**
 * @param info public, as is the salt
 * @param output 32 bytes, written; may be the key itself
 */
export function hkdfSha256(
  sodium: Sha256,
  key: Uint8Array,
  salt: Uint8Array,
  info: Uint8Array,
  output: Uint8Array,
  part: HashMemory,
): void {
  hmac(sodium, salt, [key], part.extracted, part);
  hmac(sodium, part.extracted, [info, Uint8Array.of(1)], output, part);
}

/** @param output written at the end: may be the key or a part of the message */
function hmac(
  sodium: Sha256,
  key: Uint8Array,
  message: readonly Uint8Array[],
  output: Uint8Array,
  { block, state, digest }: HashMemory,
): void {
  block.fill(0);
  if (key.length > BLOCK_BYTES) sodium.crypto_hash_sha256(block.subarray(0, 32), key);
  else block.set(key);
  pad(block, INNER);
  sodium.crypto_hash_sha256_init(state);
  sodium.crypto_hash_sha256_update(state, block);
  for (const piece of message) sodium.crypto_hash_sha256_update(state, piece);
  sodium.crypto_hash_sha256_final(state, digest);
  // Under the inner pad now.
  pad(block, INNER ^ OUTER);
  sodium.crypto_hash_sha256_init(state);
  sodium.crypto_hash_sha256_update(state, block);
  sodium.crypto_hash_sha256_update(state, digest);
  sodium.crypto_hash_sha256_final(state, output);
}

function pad(block: Buffer, value: number): void {
  for (let at = 0; at < block.length; at++) block[at] = (block[at] ?? 0) ^ value;
}
