/** A requester's key for one occasion: drawn, used and wiped in guarded memory, and never anywhere else. */
import { randomFillSync } from 'node:crypto';
import type { Signer } from '../../client/keys.ts';
import { GuardedMemory } from '../import/guarded-memory.ts';
import { OwnedSeed } from '../import/owned-seed.ts';
import { signWith } from '../import/owner.ts';
import { loadSodium } from '../import/sodium.ts';

const SEED_BYTES = 32;
const SECRET_KEY_BYTES = 64;

/** Signing after this is through throws secret_exposed. */
export async function withRequester<T>(use: (requester: Signer) => Promise<T>): Promise<T> {
  const seed = await drawn();
  try {
    return await use({ address: seed.address, sign: (bytes) => signWith(seed, bytes) });
  } finally {
    seed.wipe();
  }
}

async function drawn(): Promise<OwnedSeed> {
  const sodium = await loadSodium();
  const memory = new GuardedMemory(sodium, SEED_BYTES + SECRET_KEY_BYTES);
  try {
    return memory.open((work) => {
      const seed = work.subarray(0, SEED_BYTES);
      randomFillSync(seed);
      return new OwnedSeed(sodium, seed, work.subarray(SEED_BYTES));
    });
  } finally {
    memory.wipe();
  }
}
