/** Ed25519 keys for demonstrations: made on the spot, worth nothing, kept as bytes like any other private key. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { Signer } from '@quantumvault/host/client/client.ts';
import { signerFromSecretKey } from '@quantumvault/host/client/node.ts';

export interface ThrowawayKey {
  readonly signer: Signer;
  /** Seed and public key. */
  readonly secretKey: Uint8Array;
  /** PKCS #8 DER, which openssl reads. */
  readonly pkcs8: Uint8Array;
}

export function throwawayKey(): ThrowawayKey {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const pkcs8 = Uint8Array.from(privateKey.export({ format: 'der', type: 'pkcs8' }));
  const secretKey = new Uint8Array(64);
  // RFC 8410: both forms end in the 32 bytes of the key.
  secretKey.set(pkcs8.subarray(-32));
  secretKey.set(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32), 32);
  return { signer: signerFromSecretKey(secretKey), secretKey, pkcs8 };
}

export function writePrivate(path: string, bytes: Uint8Array): string {
  writeFileSync(path, bytes, { mode: 0o600, flag: 'wx' });
  return path;
}
