/**
 * The decision on one request, in one synchronous call with the wallet's keys, so that nothing can slip in between
 * judging and signing. A batch is judged in order against one reservation: all of it is signed, or none.
 */
import type { Signature, TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type Amounts, printableFact, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { NOTHING_SPENT, reserve, type SpendState } from '@quantumvault/shared/policy/state.ts';
import { requireFresh } from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { type Claim, type Item, requireCurrent } from './claim.ts';
import type { Context } from './context.ts';
import type { Held } from './holdings.ts';
import type { Ticket } from './requests.ts';
import { fits } from './spends.ts';
import { encodeState, policyMacInput, seedAssociated, stateAssociated, type WalletState } from './state.ts';
import type { WalletKeys } from './vault.ts';

/** What became of one transaction. */
export interface Judged {
  readonly item: Item;
  readonly verdict: Verdict;
  /** The rule that denied it, and what broke it. */
  readonly denied: { readonly rule: string; readonly value: string } | undefined;
  readonly signature?: Signature;
  /** Of its signature or of its denial. */
  readonly receipt?: Receipt;
}

export interface Decision {
  readonly judged: readonly Judged[];
  /** When it was signed: the newest sealed state, and the first and the last leaf of it. */
  readonly signed?: { readonly state: Held['sealed']; readonly first: bigint; readonly last: bigint };
}

/**
 * @throws QvError policy_mac_invalid, policy_not_current, request_stale, deadline_exceeded, frozen, time_untrusted,
 * sealed_seed_invalid
 */
export function decide(
  context: Context,
  claim: Claim,
  held: Held,
  keys: WalletKeys,
  sealedSeed: Uint8Array,
  ticket: Ticket | undefined,
): Decision {
  const { request, policy } = claim;
  if (!keys.policyMacHolds(request.policy.mac, policyMacInput(request.policy.bytes))) {
    throw new QvError('policy_mac_invalid');
  }
  // Again: a policy may have been enabled, or a freeze latched, while KMS was asked.
  requireCurrent(held, claim);
  const now = context.time.now();
  requireFresh(claim.timestamp, now);
  if (now > claim.decideBefore) throw new QvError('deadline_exceeded');
  context.freeze.requireOpen({ wallet: policy.wallet, requester: claim.requester });
  const repeats = ticket?.repeats;
  const { judged, spent } = judgeAll(claim, held, now, repeats !== undefined);
  if (claim.dryRun) return { judged };
  if (judged.some(({ denied }) => denied !== undefined)) return { judged: recordDenials(context, claim, judged, now) };
  return reserveAndSign(context, claim, held, keys, sealedSeed, { judged, spent, repeats, now });
}

/** Each against what those before it leave. What is denied spends nothing. */
function judgeAll(claim: Claim, { state }: Held, now: TimeMs, isRepeat: boolean) {
  const { policy, signal } = claim;
  const brought = signal && { signal };
  let spent = state.spent;
  const judged = claim.items.map((item): Judged => {
    // A repeat was counted when it was first signed; judging it against its own spend would deny it at the limit.
    const against = isRepeat ? NOTHING_SPENT : spent;
    const verdict = judge(policy, item.transaction.message, now, { state: against, ...brought });
    if (isRepeat || verdict.denied !== undefined) return { item, verdict, denied: verdict.denied };
    const next = reserve(spent, { ...verdict, ...brought }, now, fits);
    // What could not be written down could be rolled back.
    const room = fits(next.spends);
    if (room) spent = next;
    return { item, verdict, denied: room ? undefined : { rule: 'state.room', value: String(next.spends.length) } };
  });
  return { judged, spent };
}

interface Allowed {
  readonly judged: readonly Judged[];
  readonly spent: SpendState;
  /** The first leaf of the first time. */
  readonly repeats: bigint | undefined;
  readonly now: TimeMs;
}

/** Seals and reserves in memory, then signs, then records. A fault before the last signature takes all of it back. */
function reserveAndSign(
  context: Context,
  claim: Claim,
  held: Held,
  keys: WalletKeys,
  sealedSeed: Uint8Array,
  { judged, spent, repeats, now }: Allowed,
): Decision {
  const { wallet, owner } = claim.policy;
  const before = held.state;
  const first = context.log.size;
  const last = first + BigInt(judged.length) - 1n;
  // One change of the state for each transaction, so that each leaf names its own; the last is what is kept.
  const version = repeats === undefined ? before.version + BigInt(judged.length) : before.version;
  let sealed = held.sealed;
  if (repeats === undefined) {
    // The leaves to come are known by their numbers: so the state is sealed before anything is signed or recorded.
    const state: WalletState = { ...before, version, spent, logPosition: last };
    sealed = { blob: keys.sealState(encodeState(state), stateAssociated(wallet, owner)), version };
    held.state = state;
  }
  let signatures: Signature[];
  try {
    const associated = seedAssociated(wallet, owner);
    signatures = judged.map(({ item }) => keys.sign(sealedSeed, associated, wallet, item.transaction.messageBytes));
  } catch (error) {
    held.state = before;
    throw error;
  }
  held.sealed = sealed;
  const recorded = judged.map((one, index): Judged => {
    const signature = signatures[index] as Signature;
    const { receipt } = context.log.append(
      {
        ...leafFacts(claim, one.item),
        kind: 'signed',
        amounts: amountsOf(one.verdict),
        stateVersion: repeats === undefined ? before.version + BigInt(index) + 1n : version,
        signatureHash: sha256(signature),
        ...(repeats !== undefined && { repeats: repeats + BigInt(index) }),
      },
      now,
    );
    return { ...one, signature, receipt };
  });
  return { judged: recorded, signed: { state: sealed, first, last } };
}

function recordDenials(context: Context, claim: Claim, judged: readonly Judged[], now: TimeMs): readonly Judged[] {
  return judged.map((one) => {
    if (one.denied === undefined) return one;
    const rule = printableFact(one.denied.rule, 64);
    const value = printableFact(one.denied.value, 128);
    const facts = { ...leafFacts(claim, one.item), amounts: amountsOf(one.verdict) };
    const { receipt } = context.log.append({ ...facts, kind: 'denied', rule, value }, now);
    return { ...one, denied: { rule, value }, receipt };
  });
}

function leafFacts(claim: Claim, { messageHash }: Item) {
  return {
    wallet: claim.policy.wallet,
    actor: claim.requester,
    requestId: claim.request.id,
    messageHash,
    policyHash: claim.policyHash,
  };
}

/** A denied transaction may claim sums beyond u64; the record then says the largest there is. */
export function amountsOf({ lamportsOut, feeLamports, tokens }: Verdict): Amounts {
  const u64 = (value: bigint): bigint => (value < 1n << 64n ? value : (1n << 64n) - 1n);
  const out = [...tokens].slice(0, LIMITS.leafMints).map(([mint, amount]) => ({ mint, amount: u64(amount) }));
  return {
    lamportsOut: u64(lamportsOut),
    feeLamports: u64(feeLamports),
    ...(out.length > 0 && { tokens: out }),
  };
}
