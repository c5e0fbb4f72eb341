/**
 * Reads 32 bytes of descriptor 3 into guarded memory, makes a key pair of them, wipes both, overwrites the stack unless
 * told `bare`, says so, and stands still.
 */
import { readSync, writeSync } from 'node:fs';
import { loadSodium } from '@quantumvault/host/cli/import/sodium.ts';
import { overwriteStack } from '@quantumvault/host/cli/import/stack.ts';

const sodium = await loadSodium();
const memory = sodium.sodium_malloc(96);
const publicKey = new Uint8Array(32);
const answer = new Uint8Array(1);

readSync(3, memory, 0, 32, null);
sodium.crypto_sign_seed_keypair(publicKey, memory.subarray(32), memory.subarray(0, 32));
sodium.sodium_memzero(memory);
if (process.argv[2] !== 'bare') overwriteStack();
writeSync(1, '{"step":"done"}\n');
readSync(0, answer);
