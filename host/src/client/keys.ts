/**
 * Who signs. The SDK never needs a private key: it takes callbacks, so that keys may live in a wallet, an HSM or a
 * signing service. The helper for a 64-byte Solana secret key moves it into a key object of the runtime at once.
 */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import type { VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
import nacl from 'tweetnacl';

/** A requester: signs the bytes of requests with Ed25519. */
export interface Signer {
  readonly address: Address;
  /** The 64-byte signature. */
  sign(bytes: Uint8Array): Promise<Uint8Array> | Uint8Array;
}

/**
 * An owner: reads a statement and signs its UTF-8 bytes, as wallets' `signMessage` does, or one of the off-chain message
 * envelopes around them (`shared/src/policy/owner-signature.ts`), as hardware wallets do.
 */
export interface Owner {
  readonly address: Address;
  /** The 64-byte signature. Rejecting means that the owner does not agree. */
  signStatement(text: string): Promise<Uint8Array> | Uint8Array;
}

/** RFC 8410: PKCS #8 of an Ed25519 key up to its 32 bytes. */
const PKCS8_PREFIX = Uint8Array.from(Buffer.from('302e020100300506032b657004220420', 'hex'));

/**
 * @param secretKey seed and public key, as `solana-keygen` keeps them. Copied; the caller's buffer stays the caller's
 * to wipe.
 * @throws RangeError when it has not 64 bytes or its halves do not belong together
 */
export function signerFromSecretKey(secretKey: Uint8Array): Signer {
  if (secretKey.length !== 64) throw new RangeError('a secret key has 64 bytes');
  const der = Buffer.alloc(PKCS8_PREFIX.length + 32);
  try {
    der.set(PKCS8_PREFIX);
    der.set(secretKey.subarray(0, 32), PKCS8_PREFIX.length);
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const publicKey = Uint8Array.from(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32));
    // Signing with a public key that is not the seed's gives the seed away.
    if (!equalBytes(publicKey, secretKey.subarray(32))) throw new RangeError('seed and public key do not match');
    return { address: addressOf(publicKey), sign: (bytes) => Uint8Array.from(sign(null, bytes, key)) };
  } finally {
    der.fill(0);
  }
}

/** @param read shown the statement first; throwing means that the owner does not agree */
export function ownerFromSigner(signer: Signer, read?: (text: string) => Promise<void> | void): Owner {
  return {
    address: signer.address,
    signStatement: async (text) => {
      await read?.(text);
      return signer.sign(utf8(text));
    },
  };
}

/** By tweetnacl, which shares no code with the enclave's libsodium: the two would have to be wrong alike. */
export const verifyEd25519: VerifyEd25519 = (signature, message, publicKey) =>
  nacl.sign.detached.verify(message, signature, publicKey);
