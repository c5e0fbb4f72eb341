/**
 * HMAC-SHA-512 (RFC 2104) and PBKDF2 over it (RFC 8018), of libsodium's SHA-512, inside of guarded memory.
 * sodium-native has a PBKDF2 of its own, which leaves its result on the stack.
 */
import type { Sodium } from './sodium.ts';
import type { WorkMemory } from './work-memory.ts';

export type HashMemory = Pick<WorkMemory, 'block' | 'inner' | 'outer' | 'state' | 'digest'>;

const BLOCK_BYTES = 128;
const INNER = 0x36;
const OUTER = 0x5c;

/** One key, used until the next one is made in the same memory. */
export class HmacSha512 {
  readonly #sodium: Sodium;
  readonly #part: HashMemory;

  /** @param key must not lie in the memory's `block` */
  constructor(sodium: Sodium, key: Uint8Array, part: HashMemory) {
    this.#sodium = sodium;
    this.#part = part;
    const { block, digest, inner, outer } = part;
    block.fill(0);
    if (key.length > BLOCK_BYTES) {
      sodium.crypto_hash_sha512(digest, key);
      block.set(digest);
    } else {
      block.set(key);
    }
    this.#absorb(inner, INNER);
    // The block is under the inner pad now.
    this.#absorb(outer, INNER ^ OUTER);
  }

  #absorb(state: Buffer, pad: number): void {
    const { block } = this.#part;
    for (let at = 0; at < BLOCK_BYTES; at++) block[at] = (block[at] ?? 0) ^ pad;
    this.#sodium.crypto_hash_sha512_init(state);
    this.#sodium.crypto_hash_sha512_update(state, block);
  }

  /** @param mac 64 bytes, written; may be the message itself */
  mac(message: Uint8Array, mac: Uint8Array): void {
    const { inner, outer, state, digest } = this.#part;
    state.set(inner);
    this.#sodium.crypto_hash_sha512_update(state, message);
    this.#sodium.crypto_hash_sha512_final(state, digest);
    state.set(outer);
    this.#sodium.crypto_hash_sha512_update(state, digest);
    this.#sodium.crypto_hash_sha512_final(state, mac);
  }
}

/**
 * The first 64 bytes: one block of PBKDF2.
 * @param salt ends with four bytes for the block's number, which are written
 * @param block 64 bytes to work in
 * @param key 64 bytes, written
 */
export function pbkdf2Sha512(
  sodium: Sodium,
  password: Uint8Array,
  salt: Uint8Array,
  iterations: number,
  block: Uint8Array,
  key: Uint8Array,
  part: HashMemory,
): void {
  const hmac = new HmacSha512(sodium, password, part);
  salt.fill(0, salt.length - 4);
  salt[salt.length - 1] = 1;
  hmac.mac(salt, block);
  key.set(block);
  for (let iteration = 1; iteration < iterations; iteration++) {
    hmac.mac(block, block);
    for (let at = 0; at < key.length; at++) key[at] = (key[at] ?? 0) ^ (block[at] ?? 0);
  }
}
