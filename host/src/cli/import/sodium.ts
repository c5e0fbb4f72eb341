/**
 * libsodium on the owner's machine. sodium-native is loaded here and nowhere else in the host, when a key is about to
 * be read: the process that serves never has it.
 */

/** The part of sodium-native 5 that reading and sealing a key uses. The package ships no types of its own. */
export interface Sodium {
  sodium_malloc(bytes: number): Buffer;
  sodium_mprotect_noaccess(buffer: Buffer): void;
  sodium_mprotect_readwrite(buffer: Buffer): void;
  sodium_memzero(buffer: Uint8Array): void;
  /** In constant time; of equal lengths. */
  sodium_memcmp(first: Uint8Array, second: Uint8Array): boolean;
  crypto_hash_sha256(output: Uint8Array, input: Uint8Array): void;
  crypto_hash_sha512(output: Uint8Array, input: Uint8Array): void;
  crypto_hash_sha512_init(state: Uint8Array): void;
  crypto_hash_sha512_update(state: Uint8Array, input: Uint8Array): void;
  /** Wipes `state`. */
  crypto_hash_sha512_final(state: Uint8Array, output: Uint8Array): void;
  crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
  crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
  /** `ciphertext` is longer than `message` by 48 bytes. */
  crypto_box_seal(ciphertext: Uint8Array, message: Uint8Array, publicKey: Uint8Array): void;
}

export async function loadSodium(): Promise<Sodium> {
  const { default: sodium } = (await import('sodium-native')) as { default: unknown };
  return sodium as Sodium;
}
