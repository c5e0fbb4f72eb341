/**
 * A wallet's key material made afresh: a data key of KMS with wallet and owner in its context, a salt, and the pending
 * seed sealed under what derives from both. Creating, importing and re-wrapping a wallet all go through here.
 *
 * Where a second key is measured, the execution key is sealed once more, under a data key of that one. KMS would do it by
 * Encrypt, but for that the kms-agent would have to see the execution key: so it is sealed in here. Without the second
 * key no wallet is made: better than one that lacks what its owner counts on.
 */
import type { Address } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SecondSealing, WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { Context } from './context.ts';
import type { DataKey } from './kms.ts';
import { executionKeyAssociated, seedAssociated } from './state.ts';
import { executionKeyContext, secondKeyContext } from './unwrap.ts';
import { type RecipientKey, randomBytes, type WalletKeys } from './vault.ts';

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
  const complete = (recipient: RecipientKey, made: DataKey, second?: SecondSealing): T => {
    // Never an old one again: a salt belongs to one execution key.
    const salt = randomBytes(LIMITS.saltBytes);
    return vault.withWalletKeys(recipient, made.envelope, salt, (keys) => {
      const sealedSeed = keys.sealPendingSeed(slot, seedAssociated(wallet, owner));
      return use(keys, { executionKey: made.ciphertext, salt, sealedSeed, ...(second && { second }) });
    });
  };
  const first = executionKeyContext(wallet, owner);
  if (!kms.hasSecond) return kms.generateDataKey(first, complete);
  return kms.generateTwo(first, secondKeyContext(wallet, owner), (recipient, made, under) => {
    const associated = executionKeyAssociated(wallet, owner);
    const sealed = vault.sealUnder(recipient, made.envelope, under.envelope, associated);
    return complete(recipient, made, { ciphertext: under.ciphertext, sealed });
  });
}
