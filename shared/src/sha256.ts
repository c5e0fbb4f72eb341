/** SHA-256 of public bytes. */
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { type Hash, hash } from './brands.ts';

export function sha256(bytes: Uint8Array): Hash {
  return hash(nobleSha256(bytes));
}
