/**
 * Who signs. The SDK never needs a private key: it takes callbacks, so that keys may live in a wallet, an HSM or a
 * signing service. For keys of the Web Crypto API there is a helper here; for the 64 bytes of `solana-keygen`, under
 * Node, in `node.ts`.
 */
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
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

type Key = Parameters<typeof crypto.subtle.sign>[1];

/** An Ed25519 key pair of the Web Crypto API, as kit's `generateKeyPair` and `createKeyPairFromBytes` make them. */
export interface KeyPair {
  /** May be non-extractable: it is used, never read. */
  readonly privateKey: Key;
  readonly publicKey: Key;
}

/** @throws RangeError when the keys do not belong together; DOMException when they are no Ed25519 keys */
export async function signerFromKeyPair({ privateKey, publicKey }: KeyPair): Promise<Signer> {
  const publicBytes = new Uint8Array(await crypto.subtle.exportKey('raw', publicKey));
  const sign = async (bytes: Uint8Array): Promise<Uint8Array> =>
    new Uint8Array(await crypto.subtle.sign('Ed25519', privateKey, Uint8Array.from(bytes)));
  // Found here rather than as a refusal of the first request.
  const probe = crypto.getRandomValues(new Uint8Array(32));
  if (!verifyEd25519(await sign(probe), probe, publicBytes)) throw new RangeError('the keys do not belong together');
  return { address: addressOf(publicBytes), sign };
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
