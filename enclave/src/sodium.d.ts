/** The part of sodium-native 5 that the vault uses. The package ships no types of its own. */
declare module 'sodium-native' {
  interface Sodium {
    sodium_malloc(bytes: number): Buffer;
    sodium_mprotect_noaccess(buffer: Buffer): void;
    sodium_mprotect_readwrite(buffer: Buffer): void;
    sodium_memzero(buffer: Uint8Array): void;
    /** Constant time; lengths have to be equal. */
    sodium_memcmp(a: Uint8Array, b: Uint8Array): boolean;
    randombytes_buf(buffer: Uint8Array): void;
    crypto_box_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void;
    crypto_box_seal_open(
      message: Uint8Array,
      ciphertext: Uint8Array,
      publicKey: Uint8Array,
      secretKey: Uint8Array,
    ): boolean;
    crypto_hash_sha256(output: Uint8Array, input: Uint8Array): void;
    crypto_hash_sha256_init(state: Buffer): void;
    crypto_hash_sha256_update(state: Buffer, input: Uint8Array): void;
    /** Wipes `state`. */
    crypto_hash_sha256_final(state: Buffer, output: Uint8Array): void;
    crypto_auth(output: Uint8Array, input: Uint8Array, key: Uint8Array): void;
    crypto_auth_verify(mac: Uint8Array, input: Uint8Array, key: Uint8Array): boolean;
    crypto_sign_keypair(publicKey: Uint8Array, secretKey: Uint8Array): void;
    crypto_sign_seed_keypair(publicKey: Uint8Array, secretKey: Uint8Array, seed: Uint8Array): void;
    crypto_sign_detached(signature: Uint8Array, message: Uint8Array, secretKey: Uint8Array): void;
    crypto_sign_verify_detached(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
    crypto_aead_xchacha20poly1305_ietf_encrypt(
      ciphertext: Uint8Array,
      message: Uint8Array,
      additional: Uint8Array,
      secretNonce: null,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number;
    crypto_aead_xchacha20poly1305_ietf_decrypt(
      message: Uint8Array,
      secretNonce: null,
      ciphertext: Uint8Array,
      additional: Uint8Array,
      nonce: Uint8Array,
      key: Uint8Array,
    ): number;
  }
  const sodium: Sodium;
  export default sodium;
}
