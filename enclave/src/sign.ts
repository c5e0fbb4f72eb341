/**
 * Signing one transaction or a batch of them: the order of design 6, step 4. What needs no key comes first; everything
 * that decides happens in one synchronous call (decide.ts); what is signed leaves when its leaves are covered.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { printableFact, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Verdict } from '@quantumvault/shared/policy/judge.ts';
import type { WalletKeyBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { parseBatchBody, parseSignBody } from '@quantumvault/shared/protocol/sign-request.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { type Claim, readClaim, requireCurrent } from './claim.ts';
import type { Context } from './context.ts';
import { amountsOf, type Decision, decide, type Judged } from './decide.ts';
import type { Held } from './holdings.ts';
import { Guarded } from './outbox.ts';
import { seedAssociated } from './state.ts';
import type { WalletKeys } from './vault.ts';

/** A denial under the policy that counts. Its leaf is its receipt. */
export class Denial extends QvError {
  readonly receipt: Receipt;

  constructor(denied: { rule: string; value: string }, receipt: Receipt) {
    super('policy_denied', { path: denied.rule, value: denied.value });
    this.receipt = receipt;
  }
}

/**
 * @throws QvError frozen, wallet_retired, time_untrusted, policy_*, request_*, purpose_mismatch, audience_mismatch, wallet_mismatch,
 * transaction_*, wallet_keys_replaced, kms_*, key_blob_invalid, state_*, policy_mac_invalid, policy_not_current,
 * sealed_seed_invalid; Denial
 */
export async function sign(
  context: Context,
  request: RequestOf<'sign'>,
): Promise<ReplyOf<'sign'> | Guarded<ReplyOf<'sign'>>> {
  context.freeze.requireOpen();
  const claim = readClaim(context, request, context.time.now(), parseSignBody, ({ transaction }) => [transaction]);
  const { wallet, owner } = claim.policy;
  const { judged, signed } = await decideOnce(context, claim, request.blobs, (keys) =>
    context.holdings.compare(keys, request.blobs, wallet, owner),
  );
  const [one] = judged as [Judged];
  const facts = { messageHash: one.item.messageHash, amounts: amountsOf(one.verdict) };
  if (claim.dryRun) return { ...facts, allow: one.verdict.allow, rules: printableRules(one.verdict) };
  const { signature, receipt, denied } = one;
  if (denied !== undefined && receipt !== undefined) throw new Denial(denied, receipt);
  if (signature === undefined || receipt === undefined || signed === undefined) throw new QvError('internal');
  return guarded(claim, { ...facts, signature, receipt, state: signed.state });
}

/** All of it or nothing, with a verdict each. @throws as above, but no Denial; body_too_large */
export async function signBatch(
  context: Context,
  request: RequestOf<'signBatch'>,
): Promise<ReplyOf<'signBatch'> | Guarded<ReplyOf<'signBatch'>>> {
  context.freeze.requireOpen();
  const claim = readClaim(context, request, context.time.now(), parseBatchBody, ({ transactions }) => transactions);
  requireRoom(claim);
  const { wallet, owner } = claim.policy;
  const { judged, signed } = await decideOnce(context, claim, request.blobs, (keys) => {
    // There is no row's state to compare: whoever holds the wallet has its own.
    const held = context.holdings.get(wallet);
    if (held === undefined) throw new QvError('wallet_held_elsewhere');
    context.holdings.requireKeys(wallet, request.blobs);
    const keysFit = keys.seedOpens(request.blobs.sealedSeed, seedAssociated(wallet, owner));
    if (!keysFit) throw new QvError('wallet_keys_mismatch');
    return held;
  });
  const verdicts = judged.map(({ item, denied, signature, receipt }) => ({
    messageHash: item.messageHash,
    allow: denied === undefined,
    ...(denied && { rule: printableFact(denied.rule, 64), value: printableFact(denied.value, 128) }),
    ...(signature && { signature }),
    ...(receipt && { receipt }),
  }));
  return signed === undefined ? { verdicts } : guarded(claim, { verdicts, state: signed.state });
}

/** A verdict with the largest receipt that names no mint, and what each mint adds to it. */
const VERDICT_BYTES = 584;
const MINT_BYTES = 47;

/** The most transactions of one batch whose receipts, each with so many mints, fit one reply. */
export function batchRoom(mints: number): number {
  return Math.floor(LIMITS.batchReceiptBytes / (VERDICT_BYTES + mints * MINT_BYTES));
}

/** Receipts that do not fit the reply would be lost with the signatures they are for. @throws QvError body_too_large */
function requireRoom({ items, policy }: Claim): void {
  // SOL that is wrapped counts under its mint, which `tokens` lists like any other.
  const mints = Math.min(policy.tokens.length, LIMITS.leafMints);
  if (items.length > batchRoom(mints)) {
    throw new QvError('body_too_large', { path: 'transactions', value: `${items.length} with ${mints} tokens` });
  }
}

/** Each request id once; a repeat of what was signed gives the same again and counts no more. */
async function decideOnce(
  context: Context,
  claim: Claim,
  blobs: WalletKeyBlobs,
  heldFor: (keys: WalletKeys) => Held,
): Promise<Decision> {
  const { policy, requester, request } = claim;
  const subject = { wallet: policy.wallet, requester };
  const known = context.holdings.get(policy.wallet);
  context.freeze.requireOpen(subject);
  if (known !== undefined) requireCurrent(known, claim);
  context.holdings.requireKeys(policy.wallet, blobs);
  const hash = sha256(request.body);
  const ticket = claim.dryRun ? undefined : known?.requests.begin(requester, request.id, hash, context.time.now());
  let decision: Decision | undefined;
  try {
    decision = await context.unwrapper.withKeys(policy.wallet, policy.owner, blobs, (keys) =>
      decide(context, claim, heldFor(keys), keys, blobs.sealedSeed, ticket),
    );
  } finally {
    // Only a refusal before signing gives the id back (design 6).
    if (decision?.signed === undefined) ticket?.refused();
    else ticket?.signed(ticket.repeats ?? decision.signed.first);
  }
  if (decision.signed !== undefined) {
    await context.witnesses.cover(decision.signed.last, subject);
    // Witnesses take their time: a freeze or the wallet’s end that came meanwhile holds the signatures back for good.
    context.freeze.requireOpen(subject);
    context.holdings.requireLive(policy.wallet);
  }
  return decision;
}

function guarded<R>({ policy, requester }: Claim, reply: R): Guarded<R> {
  return new Guarded(reply, { wallet: policy.wallet, requester });
}

/** Every rule's outcome, as far as one reply holds them; the first denial is among them. */
function printableRules({ rules, denied }: Verdict): NonNullable<ReplyOf<'sign'>['rules']> {
  const shown = rules.slice(0, LIMITS.ruleOutcomes);
  const first = rules.find(({ outcome }) => outcome === 'deny');
  if (denied !== undefined && first !== undefined && !shown.includes(first)) shown[shown.length - 1] = first;
  return shown.map(({ rule, outcome, value }) => ({
    rule: printableFact(rule, 64),
    outcome,
    ...(value !== undefined && { value: printableFact(value, 128) }),
  }));
}
