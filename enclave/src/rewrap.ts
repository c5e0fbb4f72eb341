/**
 * Putting a wallet under a fresh execution key and a fresh salt, while it goes on signing. The seed never changes, and
 * never leaves guarded memory on its way. Before the new blobs count, KMS has to open what it gave, and the seed in it
 * has to be the wallet's; then state, policy MAC, leaf and memory change in one synchronous call. From there on the old
 * blobs are refused: a newer state sealed under old keys would leave a row that opens with neither.
 *
 * One message and not two: until the call at the end nothing has changed anywhere, and afterwards memory holds what a
 * host that lost the answer needs (`stateGet`). So there is nothing half-done for a host to store, mix up or change.
 *
 * What it does not do: whoever has a copy of the old row and the right to have its key opened can still open it, in an
 * enclave alone. It ends that for good only together with the KMS key of before.
 */
import type { Address, Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { WalletBlobs, WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Context } from './context.ts';
import { newExecutionKey } from './execution-key.ts';
import type { Held } from './holdings.ts';
import { encodeState, policyMacInput, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import type { WalletKeys } from './vault.ts';

type Request = RequestOf<'walletRewrap'>;

/** Contexts and associated data name the owner: a wallet that gets another one is re-wrapped for him. */
export interface Rewrapping {
  readonly wallet: Address;
  readonly owner: Address;
  readonly newOwner: Address;
  /** As the host has them. */
  readonly blobs: WalletBlobs;
}

/**
 * Legal while a freeze holds: it signs nothing and clears nothing.
 * @throws QvError wallet_owner_mismatch, wallet_keys_replaced, wallet_retired, wallet_held_elsewhere, policy_not_current,
 * overloaded, kms_*, key_blob_invalid, wallet_keys_mismatch, sealed_seed_invalid, state_invalid, state_ahead,
 * time_untrusted
 */
export async function rewrapWallet(context: Context, request: Request): Promise<ReplyOf<'walletRewrap'>> {
  const { wallet, owner, blobs, policy } = request;
  const named = policy && policyHash(policy);
  const known = context.holdings.get(wallet);
  if (known !== undefined) requirePolicy(known, named);
  return underFreshKeys(context, { wallet, owner, newOwner: owner, blobs }, (held, keys, fresh) => {
    requirePolicy(held, named);
    const now = context.time.now();
    const version = held.state.version + 1n;
    const state: WalletState = { ...held.state, version, logPosition: context.log.size };
    const sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version };
    const rewrapped = { keys: fresh, at: now, ...(policy && { mac: keys.policyMac(policyMacInput(policy)) }) };
    const facts = { wallet, stateVersion: version, ...(named && { policyHash: named }) };
    const { receipt } = context.log.append({ kind: 'rewrapped', ...facts }, now);
    context.holdings.rewrap(held, state, sealed, rewrapped);
    return { rewrapped, state: sealed, receipt };
  });
}

/**
 * Runs `complete` with the keys of fresh blobs that hold the wallet's seed, for the new owner. It has to seal a state
 * under them and hand both to `Holdings.rewrap`, or to throw, in which case nothing has changed.
 * @throws QvError as above without policy_not_current and time_untrusted; what `complete` throws
 */
export async function underFreshKeys<T>(
  context: Context,
  rewrapping: Rewrapping,
  complete: (held: Held, keys: WalletKeys, fresh: WalletKeyBlobs) => T,
): Promise<T> {
  const { wallet, newOwner } = rewrapping;
  const { holdings, kept, unwrapper } = context;
  if (holdings.get(wallet) !== undefined) requireUnchanged(context, rewrapping);
  const fresh = await freshBlobs(context, rewrapping);
  try {
    // By the one that is asked first: were it not to open, a second sealing would hide that.
    const { second: _, ...first } = fresh;
    return await unwrapper.withKeys(wallet, newOwner, first, (keys) => {
      // It opened, so that KMS's answer is believed now, and not when the money is needed.
      keys.requireSeed(fresh.sealedSeed, seedAssociated(wallet, newOwner), wallet);
      // Again: another re-wrapping, or the wallet's end, may have come while KMS was asked.
      const held = requireUnchanged(context, rewrapping);
      return complete(held, keys, fresh);
    });
  } finally {
    // Of the key of before, or of one that does not count after all.
    kept.forget(wallet);
  }
}

/** Changes nothing, and remembers nothing. */
async function freshBlobs(context: Context, { wallet, owner, newOwner, blobs }: Rewrapping): Promise<WalletKeyBlobs> {
  const { slot } = await context.unwrapper.withKeys(wallet, owner, blobs, (keys) => {
    context.holdings.compare(keys, blobs, wallet, owner);
    context.holdings.requireLive(wallet);
    return keys.unsealSeed(blobs.sealedSeed, seedAssociated(wallet, owner), wallet);
  });
  try {
    return await newExecutionKey(context, wallet, newOwner, slot, (_, fresh) => fresh);
  } finally {
    context.vault.endWallet(slot);
  }
}

/** @throws QvError wallet_held_elsewhere, wallet_owner_mismatch, wallet_keys_replaced, wallet_retired */
function requireUnchanged({ holdings }: Context, { wallet, owner, blobs }: Rewrapping): Held {
  const held = holdings.get(wallet);
  if (held === undefined) throw new QvError('wallet_held_elsewhere', { path: 'wallet' });
  // First: with other blobs the owner may be another one, too, and the host is told both.
  holdings.requireKeys(wallet, blobs);
  if (held.state.owner !== owner) throw new QvError('wallet_owner_mismatch', { path: 'owner' });
  holdings.requireLive(wallet);
  return held;
}

/** A MAC for another policy than the one that counts would be none for this one. @throws QvError policy_not_current */
function requirePolicy({ state: { policyHash: current } }: Held, named: Hash | undefined): void {
  const agrees = current && named ? equalBytes(current, named) : current === named;
  if (!agrees) throw new QvError('policy_not_current', { path: 'policy' });
}
