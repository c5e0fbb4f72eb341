/** A wallet's seed on the machine of its owner, in guarded memory of its own. */
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { GuardedMemory } from './guarded-memory.ts';
import type { Sodium } from './sodium.ts';

const SEED_BYTES = 32;

export class OwnedSeed {
  /** The wallet: the seed's Ed25519 public key. */
  readonly address: Address;
  readonly #memory: GuardedMemory;
  readonly #seed: Secret;

  /**
   * @param seed 32 bytes, copied
   * @param secretKey 64 bytes to work in, which the caller wipes
   */
  constructor(sodium: Sodium, seed: Uint8Array, secretKey: Uint8Array) {
    if (seed.length !== SEED_BYTES) throw new RangeError('a seed has 32 bytes');
    const publicKey = new Uint8Array(32);
    sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
    this.address = addressOf(publicKey);
    this.#memory = new GuardedMemory(sodium, SEED_BYTES);
    this.#seed = this.#memory.open((memory) => {
      memory.set(seed);
      return new Secret(memory.buffer as ArrayBuffer, memory.byteOffset, SEED_BYTES);
    });
  }

  /**
   * Lends the 32 bytes to `f`, which returns before they may be wiped; nothing of them may be kept or returned.
   * @throws QvError secret_exposed after wipe(), or when the bytes or a promise come back; whatever `f` throws
   */
  use<T>(f: (seed: Uint8Array) => T): T {
    return this.#memory.open(() => this.#seed.use(f));
  }

  /** For good; to be called in `finally`. Repeating it does nothing. */
  wipe(): void {
    this.#memory.open(() => this.#seed.wipe());
  }
}
