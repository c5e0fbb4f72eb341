/** A requester's key for one occasion: drawn, used and wiped in guarded memory, and never anywhere else. */
import { randomFillSync } from 'node:crypto';
import { addressOf } from '@quantumvault/shared/brands.ts';
import type { Signer } from '../../client/keys.ts';
import { GuardedMemory } from '../import/guarded-memory.ts';
import { loadSodium } from '../import/sodium.ts';

const SEED_BYTES = 32;
const SECRET_KEY_BYTES = 64;

export async function withRequester<T>(use: (requester: Signer) => Promise<T>): Promise<T> {
  const sodium = await loadSodium();
  const memory = new GuardedMemory(sodium, SECRET_KEY_BYTES + SEED_BYTES);
  try {
    const publicKey = new Uint8Array(32);
    memory.open((opened) => {
      const secretKey = opened.subarray(0, SECRET_KEY_BYTES);
      const seed = opened.subarray(SECRET_KEY_BYTES);
      randomFillSync(seed);
      sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
      sodium.sodium_memzero(seed);
    });
    const sign = (bytes: Uint8Array): Uint8Array => {
      const signature = new Uint8Array(64);
      memory.open((opened) => {
        const secretKey = opened.subarray(0, SECRET_KEY_BYTES);
        sodium.crypto_sign_detached(signature, bytes, secretKey);
      });
      return signature;
    };
    return await use({ address: addressOf(publicKey), sign });
  } finally {
    memory.wipe();
  }
}
