/** Who asks for what: a request that is authentic under the policy it came with. Whether that policy counts, memory says. */
import { type Address, addressBytes, type Hash, type TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Policy, policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { Signal } from '@quantumvault/shared/policy/state.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import {
  type BatchBody,
  parseTimestamp,
  requireFresh,
  type SignBody,
  signedContent,
} from '@quantumvault/shared/protocol/sign-request.ts';
import { decodeTransaction, messageHash, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import { readSignal } from './signal.ts';
import { verifyEd25519 } from './vault.ts';

/** What one transaction and a batch have in common. */
export type SigningRequest = Omit<RequestOf<'sign'>, 'blobs'>;

export interface Item {
  readonly transaction: Transaction;
  readonly messageHash: Hash;
}

export interface Claim {
  readonly request: SigningRequest;
  readonly policy: Policy;
  readonly policyHash: Hash;
  readonly requester: Address;
  readonly timestamp: TimeMs;
  /** Nobody waits for a decision after this. */
  readonly decideBefore: number;
  readonly dryRun: boolean;
  /** In the order in which they are judged. */
  readonly items: readonly Item[];
  readonly signal: Signal | undefined;
}

/**
 * @param read parses the body, and nothing of it is believed before its signature holds
 * @throws QvError policy_*, request_*, purpose_mismatch, audience_mismatch, wallet_mismatch, transaction_*, signal_*
 */
export function readClaim<B extends SignBody | BatchBody>(
  context: Context,
  request: SigningRequest,
  now: TimeMs,
  read: (body: Uint8Array) => B,
  transactionsOf: (body: B) => readonly Uint8Array[],
): Claim {
  const policy = policyFromBytes(request.policy.bytes);
  const timestamp = parseTimestamp(request.timestamp);
  requireFresh(timestamp, now);
  const content = signedContent(request.id, request.timestamp, request.body);
  const requester = policy.requesters.find((key) => verifyEd25519(request.signature, content, addressBytes(key)));
  if (requester === undefined) throw new QvError('request_signature_invalid');
  const body = read(request.body);
  if (body.audience !== context.config.deployment) throw new QvError('audience_mismatch', { path: 'audience' });
  if (body.wallet !== policy.wallet) throw new QvError('wallet_mismatch', { path: 'wallet' });
  const items = transactionsOf(body).map((bytes) => {
    const transaction = decodeTransaction(bytes);
    return { transaction, messageHash: messageHash(transaction.messageBytes) };
  });
  return {
    request,
    policy,
    policyHash: policyHash(request.policy.bytes),
    requester,
    timestamp,
    decideBefore: now + (request.timeoutMilliseconds ?? Number.POSITIVE_INFINITY),
    dryRun: body.dryRun,
    items,
    signal: readSignal(policy, body, request.signal),
  };
}

/** Memory knows which policy counts, if any does, before any key is unwrapped. @throws QvError wallet_*, policy_not_current */
export function requireCurrent({ state }: Held, claim: Claim): void {
  if (state.owner !== claim.policy.owner) throw new QvError('wallet_owner_mismatch');
  if (state.retiredAt !== undefined) throw new QvError('wallet_retired', { path: 'wallet' });
  if (state.policyHash === undefined || state.lapsed === true) throw new QvError('wallet_without_policy');
  // An old policy's MAC stays valid for ever; the state names the one that counts (design 4).
  if (!equalBytes(state.policyHash, claim.policyHash)) throw new QvError('policy_not_current');
}
