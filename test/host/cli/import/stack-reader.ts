/**
 * Reads 32 bytes of descriptor 3 into guarded memory, makes a key pair of them, wipes both, says so, and stands still.
 * With `bare` it does without GuardedMemory, which overwrites the stack.
 */
import { readSync, writeSync } from 'node:fs';
import { GuardedMemory } from '@quantumvault/host/cli/import/guarded-memory.ts';
import { loadSodium } from '@quantumvault/host/cli/import/sodium.ts';

const sodium = await loadSodium();
const publicKey = new Uint8Array(32);
const answer = new Uint8Array(1);

function work(memory: Buffer): void {
  readSync(3, memory, 0, 32, null);
  sodium.crypto_sign_seed_keypair(publicKey, memory.subarray(32), memory.subarray(0, 32));
  sodium.sodium_memzero(memory);
}

if (process.argv[2] === 'bare') work(sodium.sodium_malloc(96));
else new GuardedMemory(sodium, 96).open(work);
writeSync(1, '{"step":"done"}\n');
readSync(0, answer);
