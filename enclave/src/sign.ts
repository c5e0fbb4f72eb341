/**
 * Signing one transaction: the order of design 6, step 4. What needs no key comes first; then everything that decides
 * happens in one synchronous call with the wallet's keys, so nothing can slip in between judging and signing.
 */
import { type Address, addressBytes, type Hash, type Signature, type TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Amounts, printableFact, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { type Policy, policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve, type Signal, type SpendState } from '@quantumvault/shared/policy/state.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import {
  parseSignBody,
  parseTimestamp,
  requireFresh,
  type SignBody,
  signedContent,
} from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { decodeTransaction, messageHash, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import { Guarded } from './outbox.ts';
import type { Ticket } from './requests.ts';
import { readSignal } from './signal.ts';
import { fits } from './spends.ts';
import { encodeState, policyMacInput, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import { verifyEd25519, type WalletKeys } from './vault.ts';

type Request = RequestOf<'sign'>;
type Reply = ReplyOf<'sign'>;

/** A denial under the policy that counts. Its leaf is its receipt. */
export class Denial extends QvError {
  readonly receipt: Receipt;

  constructor(denied: { rule: string; value: string }, receipt: Receipt) {
    super('policy_denied', { path: denied.rule, value: denied.value });
    this.receipt = receipt;
  }
}

/** A request that is authentic under the policy it came with. Whether that policy counts is not known yet. */
interface Claim {
  readonly request: Request;
  readonly policy: Policy;
  readonly policyHash: Hash;
  readonly requester: Address;
  readonly timestamp: TimeMs;
  readonly body: SignBody;
  readonly transaction: Transaction;
  readonly messageHash: Hash;
  readonly signal: Signal | undefined;
}

/**
 * @throws QvError frozen, time_untrusted, policy_*, request_*, purpose_mismatch, audience_mismatch, wallet_mismatch,
 * transaction_*, kms_*, key_blob_invalid, state_*, policy_mac_invalid, policy_not_current, sealed_seed_invalid;
 * Denial
 */
export async function sign(context: Context, request: Request): Promise<Reply | Guarded<Reply>> {
  context.freeze.requireOpen();
  const now = context.time.now();
  const claim = readClaim(context, request, now);
  const { policy, requester } = claim;
  const held = context.holdings.get(policy.wallet);
  const subject = { wallet: policy.wallet, requester };
  context.freeze.requireOpen(subject);
  if (held !== undefined) requireCurrent(held, claim);
  const ticket = claim.body.dryRun ? undefined : held?.requests.begin(requester, request.id, sha256(request.body), now);
  let decided: Decided | undefined;
  try {
    decided = await context.unwrapper.withKeys(policy.wallet, policy.owner, request.blobs, (keys) =>
      decide(context, claim, keys, ticket),
    );
  } finally {
    // Only a refusal before signing gives the id back (design 6).
    if (decided?.leaf === undefined) ticket?.refused();
    else ticket?.signed(ticket.repeats ?? decided.leaf);
  }
  if (decided.leaf === undefined) return decided.reply;
  await context.witnesses.cover(decided.leaf, subject);
  // Witnesses take their time: a freeze that came meanwhile holds the signature back for good.
  context.freeze.requireOpen(subject);
  return new Guarded(decided.reply, subject);
}

function readClaim(context: Context, request: Request, now: TimeMs): Claim {
  const policy = policyFromBytes(request.policy.bytes);
  const timestamp = parseTimestamp(request.timestamp);
  requireFresh(timestamp, now);
  const content = signedContent(request.id, request.timestamp, request.body);
  const requester = policy.requesters.find((key) => verifyEd25519(request.signature, content, addressBytes(key)));
  if (requester === undefined) throw new QvError('request_signature_invalid');
  const body = parseSignBody(request.body);
  if (body.audience !== context.config.deployment) throw new QvError('audience_mismatch', { path: 'audience' });
  if (body.wallet !== policy.wallet) throw new QvError('wallet_mismatch', { path: 'wallet' });
  const transaction = decodeTransaction(body.transaction);
  return {
    request,
    policy,
    policyHash: policyHash(request.policy.bytes),
    requester,
    timestamp,
    body,
    transaction,
    messageHash: messageHash(transaction.messageBytes),
    signal: readSignal(policy, body, request.signal),
  };
}

/** Memory knows which policy counts before any key is unwrapped. */
function requireCurrent(held: Held, claim: Claim): void {
  const { state } = held;
  if (state.owner !== claim.policy.owner) throw new QvError('wallet_owner_mismatch');
  if (state.policyHash === undefined) throw new QvError('wallet_without_policy');
  // An old policy's MAC stays valid for ever; the state names the one that counts (design 4).
  if (!equalBytes(state.policyHash, claim.policyHash)) throw new QvError('policy_not_current');
}

interface Decided {
  readonly reply: Reply;
  /** The leaf of the signature; undefined for a dry run. */
  readonly leaf?: bigint;
}

/** Everything that decides. Synchronous. */
function decide(context: Context, claim: Claim, keys: WalletKeys, ticket: Ticket | undefined): Decided {
  const { request, policy } = claim;
  const held = context.holdings.compare(keys, request.blobs, policy.wallet, policy.owner);
  if (!keys.policyMacHolds(request.policy.mac, policyMacInput(request.policy.bytes))) {
    throw new QvError('policy_mac_invalid');
  }
  // Again: a policy may have been enabled, or a freeze latched, while KMS was asked.
  requireCurrent(held, claim);
  const now = context.time.now();
  requireFresh(claim.timestamp, now);
  context.freeze.requireOpen({ wallet: policy.wallet, requester: claim.requester });
  // A repeat was counted when it was first signed; judging it against its own spend would deny it at the limit.
  const repeat = ticket?.repeats !== undefined;
  const { signal } = claim;
  const judged = { state: repeat ? NOTHING_SPENT : held.state.spent, ...(signal && { signal }) };
  const verdict = judge(policy, claim.transaction.message, now, judged);
  const facts = { messageHash: claim.messageHash, amounts: amountsOf(verdict) };
  if (claim.body.dryRun) return { reply: { ...facts, allow: verdict.allow, rules: printableRules(verdict) } };
  if (verdict.denied !== undefined) throw deny(context, claim, verdict.denied, facts.amounts, now);
  const reservation = { ...verdict, ...(signal && { signal }) };
  const spent = repeat ? held.state.spent : reserve(held.state.spent, reservation, now, fits);
  // What could not be written down could be rolled back.
  if (!fits(spent.spends)) {
    throw deny(context, claim, { rule: 'state.room', value: String(spent.spends.length) }, facts.amounts, now);
  }
  const { leaf, ...signed } = reserveAndSign(context, claim, held, keys, verdict, spent, ticket, now);
  return { reply: { ...facts, ...signed }, leaf };
}

/** Seals and reserves in memory, then signs, then records. A fault before the signature takes the reservation back. */
function reserveAndSign(
  context: Context,
  claim: Claim,
  held: Held,
  keys: WalletKeys,
  verdict: Verdict,
  spent: SpendState,
  ticket: Ticket | undefined,
  now: TimeMs,
): Pick<Reply, 'signature' | 'state' | 'receipt'> & { leaf: bigint } {
  const { policy, request, transaction } = claim;
  const before = held.state;
  const repeats = ticket?.repeats;
  const version = repeats === undefined ? before.version + 1n : before.version;
  let sealed = held.sealed;
  if (repeats === undefined) {
    // The leaf to come is known by its number: so the state is sealed before anything is signed or recorded.
    const state: WalletState = { ...before, version, spent, logPosition: context.log.size };
    sealed = { blob: keys.sealState(encodeState(state), stateAssociated(policy.wallet, policy.owner)), version };
    held.state = state;
  }
  let signature: Signature;
  try {
    const associated = seedAssociated(policy.wallet, policy.owner);
    signature = keys.sign(request.blobs.sealedSeed, associated, policy.wallet, transaction.messageBytes);
  } catch (error) {
    held.state = before;
    throw error;
  }
  held.sealed = sealed;
  const { receipt, sequence } = context.log.append(
    {
      ...leafFacts(claim),
      kind: 'signed',
      amounts: amountsOf(verdict),
      stateVersion: version,
      signatureHash: sha256(signature),
      ...(repeats !== undefined && { repeats }),
    },
    now,
  );
  return { signature, state: sealed, receipt, leaf: sequence };
}

function deny(
  context: Context,
  claim: Claim,
  denied: { rule: string; value: string },
  amounts: Amounts,
  now: TimeMs,
): Denial {
  const rule = printableFact(denied.rule, 64);
  const value = printableFact(denied.value, 128);
  const { receipt } = context.log.append({ ...leafFacts(claim), kind: 'denied', rule, value, amounts }, now);
  return new Denial({ rule, value }, receipt);
}

function leafFacts(claim: Claim) {
  return {
    wallet: claim.policy.wallet,
    actor: claim.requester,
    requestId: claim.request.id,
    messageHash: claim.messageHash,
    policyHash: claim.policyHash,
  };
}

/** Every rule's outcome, as far as one reply holds them; the first denial is among them. */
function printableRules({ rules, denied }: Verdict): NonNullable<Reply['rules']> {
  const shown = rules.slice(0, LIMITS.ruleOutcomes);
  const first = rules.find(({ outcome }) => outcome === 'deny');
  if (denied !== undefined && first !== undefined && !shown.includes(first)) shown[shown.length - 1] = first;
  return shown.map(({ rule, outcome, value }) => ({
    rule: printableFact(rule, 64),
    outcome,
    ...(value !== undefined && { value: printableFact(value, 128) }),
  }));
}

/** A denied transaction may claim sums beyond u64; the record then says the largest there is. */
function amountsOf({ lamportsOut, feeLamports, tokens }: Verdict): Amounts {
  const u64 = (value: bigint): bigint => (value < 1n << 64n ? value : (1n << 64n) - 1n);
  const out = [...tokens].slice(0, LIMITS.leafMints).map(([mint, amount]) => ({ mint, amount: u64(amount) }));
  return {
    lamportsOut: u64(lamportsOut),
    feeLamports: u64(feeLamports),
    ...(out.length > 0 && { tokens: out }),
  };
}
