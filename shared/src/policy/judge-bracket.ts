/**
 * Balance brackets (`bracketedBy`): what no data rule can count, the chain itself bounds. Before the instructions of a
 * bracketed rule the transaction asserts that each of the wallet's accounts passed to them holds at most P; after them,
 * that it holds at least Q and that nobody else has gained power over it. Whatever runs in between, the account loses
 * at most P - Q, or the transaction fails; so P - Q counts as outflow.
 *
 * That holds only if nothing else in between brings the wallet something for the program to take: from the first to
 * the last of them there are assertions, bracketed instructions, ComputeBudget and memos, and nothing else.
 */
import type { Address } from '../brands.ts';
import { type BalanceAssertion, decodeAssertion } from '../solana/lighthouse.ts';
import { COMPUTE_BUDGET_PROGRAM, MEMO_PROGRAM, MEMO_V1_PROGRAM } from '../solana/programs.ts';
import type { Call } from './call.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';
import { walletAccounts, walletTokenAccount } from './wallet-accounts.ts';

/** Neither moves a balance, nor does either need a place. */
const STILL: readonly Address[] = [COMPUTE_BUDGET_PROGRAM, MEMO_PROGRAM, MEMO_V1_PROGRAM];

/** Whether a rule of the policy has its brackets asserted by this program, whose instructions are denied otherwise. */
export function assertsBrackets(policy: Policy, program: Address): boolean {
  return policy.programs.some(({ instructions }) => instructions.some((rule) => rule.bracketedBy === program));
}

/** One assertion by itself. Denies, or returns what it says, for people. */
export function judgeAssertion(policy: Policy, call: Call, tally: Tally): string {
  const assertion = decodeAssertion(call.data);
  if (assertion === undefined) return tally.deny('bracket-assertion-unknown', call.label);
  const [account] = call.accounts;
  if (account === undefined || call.accounts.length !== 1)
    return tally.deny('unexpected-accounts', `${call.label} assertion`);
  const { bound, of, amount } = assertion;
  if (!isOwn(policy, assertion, account)) return tally.deny('bracket-not-own-account', `${call.label} ${account}`);
  return `${account} holds at ${bound} ${amount} ${of}`;
}

/** Lamports of the wallet itself, or units of one of its token accounts, and then the wallet's own. */
function isOwn(policy: Policy, { of, owner }: BalanceAssertion, account: Address): boolean {
  if (of === 'lamports') return account === policy.wallet;
  if (owner !== undefined && owner !== policy.wallet) return false;
  return account !== policy.wallet && walletAccounts(policy).has(account);
}

/**
 * What the assertions of a transaction amount to together. Those that judgeAssertion denies count for nothing.
 * @param bracketed the calls whose rule demands a bracket
 */
export function judgeBrackets(
  policy: Policy,
  calls: readonly Call[],
  bracketed: ReadonlySet<Call>,
  tally: Tally,
): void {
  const bounds = { most: new Map<Address, bigint>(), least: new Map<Address, bigint>() };
  const assertions = new Map<Call, BalanceAssertion>();
  for (const call of calls) {
    const assertion = assertsBrackets(policy, call.program) ? decodeAssertion(call.data) : undefined;
    const [account] = call.accounts;
    if (assertion === undefined || account === undefined || !isOwn(policy, assertion, account)) continue;
    assertions.set(call, assertion);
    const known = bounds[assertion.bound].get(account);
    if (known !== undefined) tally.deny('bracket-repeated', `${call.label} ${account}`);
    bounds[assertion.bound].set(account, weaker(assertion, known));
  }
  judgeOrder(calls, bracketed, assertions, tally);

  const own = walletAccounts(policy);
  const passed = [...bracketed].flatMap(({ accounts }) => accounts.filter((account) => own.has(account)));
  for (const account of new Set([...passed, ...bounds.most.keys(), ...bounds.least.keys()])) {
    const most = bounds.most.get(account);
    const least = bounds.least.get(account);
    if (most === undefined || least === undefined)
      tally.deny('bracket-missing', `${account} at ${most === undefined ? 'most' : 'least'}`);
    else countDifference(policy, account, most > least ? most - least : 0n, tally);
  }
}

/** Of two bounds on one account, which is denied, the weaker counts: adding an instruction must not lower an amount. */
function weaker({ bound, amount }: BalanceAssertion, known: bigint | undefined): bigint {
  if (known === undefined) return amount;
  if (bound === 'most') return amount > known ? amount : known;
  return amount < known ? amount : known;
}

/** First what the accounts hold at most, then the bracketed instructions, then what the accounts hold at least. */
function judgeOrder(
  calls: readonly Call[],
  bracketed: ReadonlySet<Call>,
  assertions: ReadonlyMap<Call, BalanceAssertion>,
  tally: Tally,
): void {
  const phaseOf = (call: Call): number | undefined => {
    const bound = assertions.get(call)?.bound;
    if (bound !== undefined) return bound === 'most' ? 0 : 2;
    return bracketed.has(call) ? 1 : undefined;
  };
  const isPart = (call: Call): boolean => phaseOf(call) !== undefined;
  let phase = 0;
  for (const call of calls.slice(Math.max(calls.findIndex(isPart), 0), calls.findLastIndex(isPart) + 1)) {
    const next = phaseOf(call);
    if (next === undefined) {
      if (!STILL.includes(call.program)) tally.deny('bracket-interrupted', call.label);
    } else if (next < phase) tally.deny('bracket-order', call.label);
    else phase = next;
  }
}

function countDifference(policy: Policy, account: Address, difference: bigint, tally: Tally): void {
  tally.check('bracket', true, `${account} ${difference}`);
  if (account === policy.wallet) tally.spendLamports(difference);
  for (const rule of policy.tokens)
    if (walletTokenAccount(policy, rule) === account) tally.spendTokens(rule.mint, difference);
}
