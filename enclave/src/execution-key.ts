/**
 * A wallet's key material made afresh: a data key of KMS with wallet and owner in its context, a salt, and the pending
 * seed sealed under what derives from both. Creating, importing and re-wrapping a wallet all go through here.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { Context } from './context.ts';
import { seedAssociated } from './state.ts';
import { executionKeyContext } from './unwrap.ts';
import { randomBytes, type WalletKeys } from './vault.ts';

/**
 * From KMS's answer on nothing waits: the new keys exist for the length of `use`, which is synchronous.
 * @param slot the pending slot that holds the wallet's seed
 * @throws QvError kms_*, nsm_failed, overloaded, and whatever `use` throws
 */
export function newExecutionKey<T>(
  { kms, vault }: Pick<Context, 'kms' | 'vault'>,
  wallet: Address,
  owner: Address,
  slot: number,
  use: (keys: WalletKeys, blobs: WalletKeyBlobs) => T,
): Promise<T> {
  return kms.generateDataKey(executionKeyContext(wallet, owner), (recipient, envelope, executionKey) => {
    // Never an old one again: a salt belongs to one execution key.
    const salt = randomBytes(LIMITS.saltBytes);
    return vault.withWalletKeys(recipient, envelope, salt, (keys) => {
      const sealedSeed = keys.sealPendingSeed(slot, seedAssociated(wallet, owner));
      return use(keys, { executionKey, salt, sealedSeed });
    });
  });
}
