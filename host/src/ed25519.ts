/**
 * Ed25519 verification on the path of every request. It only saves the enclave work; the enclave verifies again with
 * libsodium. By Node's OpenSSL rather than tweetnacl because this blocks the event loop: 0.1 ms against 10 ms for one
 * signature (measured on Node 24.21). For the up to 16 requesters of a policy: requester-keys.ts.
 */
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import type { VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';

/** SubjectPublicKeyInfo of an Ed25519 key up to its 32 bytes (RFC 8410 section 4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** @throws Error when OpenSSL does not take the bytes */
export function ed25519Key(publicKey: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_PREFIX, publicKey]), format: 'der', type: 'spki' });
}

export const verifyEd25519: VerifyEd25519 = (signature, message, publicKey) => {
  try {
    return verify(null, message, ed25519Key(publicKey), signature);
  } catch {
    // Not a point of the curve: nothing is signed by it.
    return false;
  }
};
