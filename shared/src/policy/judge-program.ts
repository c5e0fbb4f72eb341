/**
 * Instructions of programs that the policy lists. One rule must hold in full: its data, its accounts, their number.
 * Beyond what the rule says, an account of the wallet may stand in a position the rule does not mention only if the
 * rule lists that same account elsewhere: a program can take what it is passed.
 */
import type { Address } from '../brands.ts';
import { toHex } from '../bytes.ts';
import { littleEndian } from '../solana/reader.ts';
import type { Call } from './call.ts';
import type { Policy } from './policy.ts';
import {
  type AccountRule,
  type DataInteger,
  type DataRule,
  INTEGER_BYTES,
  type InstructionRule,
  type ProgramRule,
} from './program-rules.ts';
import type { Tally } from './tally.ts';
import { tokenRule, walletAccounts, walletTokenAccount } from './wallet-accounts.ts';

/** Why a rule does not match, and how much of it did: the closest rule explains the denial. */
interface Mismatch {
  readonly reason: string;
  readonly value: string;
  readonly matched: number;
}

/**
 * Denies, or returns what the instruction does, for people.
 * @param bracketed gets the call where its rule demands a bracket; `judge-bracket.ts` judges those together
 */
export function judgeProgram(
  policy: Policy,
  program: ProgramRule,
  call: Call,
  bracketed: Set<Call>,
  tally: Tally,
): string {
  let closest: Mismatch = { reason: 'program-instruction-not-allowed', value: call.program, matched: 0 };
  const own = walletAccounts(policy);
  const ownInCall = [...new Set(call.accounts)].filter((account) => own.has(account));
  for (const rule of program.instructions) {
    const mismatch = mismatchOf(policy, rule, call, ownInCall);
    if (mismatch === undefined) {
      if (rule.bracketedBy !== undefined) bracketed.add(call);
      return count(rule, call, tally);
    }
    if (mismatch.matched > closest.matched) closest = mismatch;
  }
  return tally.deny(closest.reason, `${call.label} ${closest.value}`);
}

/** @param ownInCall the accounts of the wallet among the call's, each once */
function mismatchOf(
  policy: Policy,
  rule: InstructionRule,
  call: Call,
  ownInCall: readonly Address[],
): Mismatch | undefined {
  const found = (reason: string, value: string, matched: number): Mismatch => ({
    reason,
    value: `${rule.name} ${value}`,
    matched,
  });
  for (const [index, data] of rule.data.entries()) {
    const reason = dataMismatch(data, call.data);
    if (reason !== undefined) return found(reason, `data[${index}]`, index);
  }
  const price = priceMismatch(rule.data, call.data);
  const matched = rule.data.length;
  if (price !== undefined) return found('program-price-too-low', price, matched);
  const count = call.accounts.length;
  if (count < rule.minAccounts) return found('program-too-few-accounts', String(count), matched + 1);
  if (count > rule.maxAccounts) return found('program-too-many-accounts', String(count), matched + 1);
  for (const account of rule.accounts)
    if (!accountMatches(policy, account, call.accounts[account.index]))
      return found('program-account-not-allowed', `accounts[${account.index}]`, matched + 1);
  // Positions with a rule have matched it by now, so this asks about the others.
  const exposed = ownInCall.find((account) => !rule.accounts.some((listed) => accountMatches(policy, listed, account)));
  if (exposed === undefined) return undefined;
  return found('program-wallet-account-exposed', `accounts[${call.accounts.indexOf(exposed)}]`, matched + 1);
}

/** Undefined where the field lies inside the data and holds. */
function dataMismatch(rule: DataRule, data: Uint8Array): string | undefined {
  const length = rule.kind === 'equals' ? rule.equals.length / 2 : INTEGER_BYTES[rule.type];
  if (rule.offset + length > data.length) return 'program-data-too-short';
  if (rule.kind === 'equals')
    return toHex(data.subarray(rule.offset, rule.offset + length)) === rule.equals
      ? undefined
      : 'program-data-mismatch';
  const value = integerAt(rule, data);
  if (rule.min !== undefined && value < rule.min) return 'program-amount-too-low';
  if (rule.max !== undefined && value > rule.max) return 'program-amount-too-high';
  return undefined;
}

function integerAt({ offset, type }: DataInteger, data: Uint8Array): bigint {
  return littleEndian(data.subarray(offset, offset + INTEGER_BYTES[type]));
}

/** received / spent ≥ minPerSpent, in base units and exactly: both sides are scaled by the ratio's decimals. */
function priceMismatch(rules: readonly DataRule[], data: Uint8Array): string | undefined {
  const integers = rules.filter((rule): rule is DataInteger => rule.kind === 'integer');
  const spending = integers.find((rule) => rule.spends !== undefined);
  for (const rule of integers) {
    if (rule.minPerSpent === undefined || spending === undefined) continue;
    const [whole = '', fraction = ''] = rule.minPerSpent.split('.');
    const received = integerAt(rule, data) * 10n ** BigInt(fraction.length);
    const least = integerAt(spending, data) * BigInt(whole + fraction);
    if (received < least) return `${integerAt(rule, data)} for ${integerAt(spending, data)}`;
  }
  return undefined;
}

function accountMatches(policy: Policy, rule: AccountRule, account: Address | undefined): boolean {
  if (account === undefined) return false;
  if (rule.kind === 'oneOf') return rule.oneOf.includes(account);
  if (rule.kind === 'wallet') return account === policy.wallet;
  const token = tokenRule(policy, rule.mint);
  return token !== undefined && account === walletTokenAccount(policy, token);
}

function count(rule: InstructionRule, call: Call, tally: Tally): string {
  for (const data of rule.data)
    if (data.kind === 'integer' && data.spends !== undefined)
      tally.spendTokens(data.spends, integerAt(data, call.data));
  return `${call.program} ${rule.name}`;
}
