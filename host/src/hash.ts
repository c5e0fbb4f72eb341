/** SHA-256 of public bytes. */
import { createHash } from 'node:crypto';
import { type Hash, hash } from '@quantumvault/shared/brands.ts';

export function sha256(bytes: Uint8Array): Hash {
  return hash(new Uint8Array(createHash('sha256').update(bytes).digest()));
}
