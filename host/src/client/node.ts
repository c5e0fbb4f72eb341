/** What of the SDK needs Node: keys from bytes, moved at once into a key object of the runtime. */
import { createPrivateKey, createPublicKey, sign, timingSafeEqual } from 'node:crypto';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import type { Signer } from './keys.ts';

/** RFC 8410: PKCS #8 of an Ed25519 key up to its 32 bytes. */
const PKCS8_PREFIX = Uint8Array.from(Buffer.from('302e020100300506032b657004220420', 'hex'));

/**
 * @param secretKey seed and public key, as `solana-keygen` keeps them. Copied; the caller's buffer stays the caller's
 * to wipe.
 * @throws RangeError when it has not 64 bytes or its halves do not belong together
 */
export function signerFromSecretKey(secretKey: Uint8Array): Signer {
  if (secretKey.length !== 64) throw new RangeError('a secret key has 64 bytes');
  const der = new Secret(new ArrayBuffer(PKCS8_PREFIX.length + 32));
  try {
    const key = der.use((bytes) => {
      bytes.set(PKCS8_PREFIX);
      bytes.set(secretKey.subarray(0, 32), PKCS8_PREFIX.length);
      return createPrivateKey({ key: Buffer.from(bytes.buffer), format: 'der', type: 'pkcs8' });
    });
    const publicKey = Uint8Array.from(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
    // Signing with a public key that is not the seed's gives the seed away.
    if (!timingSafeEqual(publicKey, secretKey.subarray(32))) throw new RangeError('seed and public key do not match');
    return { address: addressOf(publicKey), sign: (bytes) => Uint8Array.from(sign(null, bytes, key)) };
  } finally {
    der.wipe();
  }
}
