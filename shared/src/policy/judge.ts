/**
 * The judge: may this message be signed under this policy now? Pure, and default deny: every instruction is
 * understood in full or the answer is no (design 7). All rules are evaluated even after a denial, so that a dry run
 * shows each of them and the amounts counted.
 */
import type { Address, TimeMs } from '../brands.ts';
import { formatTime } from '../rfc3339.ts';
import type { Message } from '../solana/message.ts';
import { doubts } from '../solana/sanitize.ts';
import { judgeFee } from './fee.ts';
import { judgeInstructions } from './instructions.ts';
import type { Policy } from './policy.ts';
import { resolveAccounts } from './resolve.ts';
import { judgeSignal, judgeWindows, type Signal, type SpendState } from './state.ts';
import { type RuleOutcome, Tally } from './tally.ts';

export type { RuleOutcome } from './tally.ts';

export interface Verdict {
  readonly allow: boolean;
  /** Every rule that was evaluated, in order. */
  readonly rules: readonly RuleOutcome[];
  /** The first rule that denied, and the value that broke it. Absent exactly if allowed. */
  readonly denied?: { readonly rule: string; readonly value: string };
  /** Lamports that may leave the wallet, without the fee. */
  readonly lamportsOut: bigint;
  readonly feeLamports: bigint;
  /** Base units that may leave, by mint; mints of which nothing leaves are absent. */
  readonly tokens: ReadonlyMap<Address, bigint>;
}

/** What windows, rates and signals need. Without a state, a policy that has any of them allows nothing. */
export interface JudgeContext {
  readonly state?: SpendState;
  readonly signal?: Signal;
}

/** @param message as decodeTransaction returned it: this function trusts its indexes. */
export function judge(policy: Policy, message: Message, nowMs: TimeMs, context: JudgeContext = {}): Verdict {
  const tally = new Tally();

  tally.check('validFrom', nowMs >= policy.validFrom, formatTime(nowMs));
  tally.check('validUntil', nowMs < policy.validUntil, formatTime(nowMs));
  tally.check('transaction.versions', policy.transaction.versions.includes(message.version), message.version);
  const count = message.instructions.length;
  tally.check('transaction.maxInstructions', count <= policy.transaction.maxInstructions, String(count));
  const [doubt] = doubts(message);
  if (doubt !== undefined) tally.deny(doubt, message.version);

  // A wallet that pays no fee, or signs beside others, is a surprise signer of somebody else's transaction.
  const feePayer = message.accountKeys[0];
  tally.check('feePayer', feePayer === policy.wallet, feePayer ?? 'none');
  const signers = message.header.requiredSignatures;
  tally.check('signers', signers === 1, String(signers));

  const accounts = resolveAccounts(message, policy.transaction.lookupTables, tally);
  if (accounts !== undefined) judgeInstructions(policy, message, accounts, tally);
  const feeLamports = judgeFee(policy, message, tally);
  judgeTotals(policy, tally);
  judgeWindows(policy, context.state, nowMs, feeLamports, tally);
  judgeSignal(policy, context.state, context.signal, nowMs, tally);

  const denied = tally.rules.find((rule) => rule.outcome === 'deny');
  return {
    allow: denied === undefined,
    rules: tally.rules,
    ...(denied !== undefined && { denied: { rule: denied.rule, value: denied.value ?? '' } }),
    lamportsOut: tally.lamportsOut,
    feeLamports,
    tokens: tally.tokens,
  };
}

/** The limits per transaction hold for the sums, which are bigints and cannot wrap. */
function judgeTotals(policy: Policy, tally: Tally): void {
  const { lamportsOut } = tally;
  tally.check('sol.maxPerTransaction', lamportsOut <= policy.sol.maxPerTransaction, lamportsOut.toString());
  for (const [index, rule] of policy.tokens.entries()) {
    const units = tally.tokens.get(rule.mint) ?? 0n;
    tally.check(`tokens[${index}].maxPerTransaction`, units <= rule.maxPerTransaction, units.toString());
  }
}
