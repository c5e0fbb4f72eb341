// read as enclave/src/vault.ts
import { toHex } from '@quantumvault/shared/bytes.ts';
import sodium from 'sodium-native';

class Region {
  readonly #memory: Buffer;

  constructor(bytes: number) {
    this.#memory = sodium.sodium_malloc(bytes);
    sodium.sodium_memzero(this.#memory);
  }

  open<T>(use: (memory: Buffer) => T): T {
    return use(this.#memory);
  }
}

function layout(memory: Buffer) {
  const part = (start: number, length: number): Buffer => memory.subarray(start, start + length);
  return { seed: part(0, 32), secretKey: part(32, 64) };
}

export class Keys {
  readonly #work = new Region(96);

  sign(message: Uint8Array): string {
    const [publicKey, signature] = [new Uint8Array(32), new Uint8Array(64)];
    this.#work.open((memory) => {
      try {
        const { seed, secretKey } = layout(memory);
        sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
        sodium.crypto_sign_detached(signature, message, secretKey);
      } finally {
        sodium.sodium_memzero(memory);
      }
    });
    return toHex(publicKey) + toHex(signature);
  }
}
