/** Sealing a seed to the import key of an attested boot, in guarded memory from beginning to end. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ImportTarget } from '../../client/imports.ts';
import { GuardedMemory } from './guarded-memory.ts';
import type { OwnedSeed } from './owned-seed.ts';
import { loadSodium } from './sodium.ts';

/**
 * libsodium's sealed box of `statementHash` and the seed: 112 bytes that only that boot opens, and only for that
 * statement. libsodium draws the sender's key and wipes it.
 */
export async function sealForImport(seed: OwnedSeed, { statementHash, importKey }: ImportTarget): Promise<Uint8Array> {
  const sodium = await loadSodium();
  const memory = new GuardedMemory(sodium, LIMITS.importPlaintextBytes);
  const sealed = new Uint8Array(LIMITS.sealedImportBytes);
  try {
    memory.open((plaintext) => {
      plaintext.set(statementHash);
      seed.use((bytes) => plaintext.set(bytes, statementHash.length));
      sodium.crypto_box_seal(sealed, plaintext, importKey);
    });
    return sealed;
  } finally {
    memory.wipe();
  }
}
