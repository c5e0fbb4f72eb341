/**
 * Every instruction, one by one: understood in full, or denied by a rule that names it. An instruction is understood
 * only with exact data and exactly the accounts that the program's own client passes.
 */
import type { Address } from '../brands.ts';
import { decodeComputeBudget } from '../solana/compute-budget.ts';
import type { Message } from '../solana/message.ts';
import { COMPUTE_BUDGET_PROGRAM, MEMO_PROGRAM, MEMO_V1_PROGRAM, SYSTEM_PROGRAM } from '../solana/programs.ts';
import { decodeSystem } from '../solana/system.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';

/** One instruction with its accounts resolved. */
export interface Call {
  /** For people: `#2`. */
  readonly label: string;
  readonly program: Address;
  readonly accounts: readonly Address[];
  readonly data: Uint8Array;
}

export function judgeInstructions(policy: Policy, message: Message, accounts: readonly Address[], tally: Tally): void {
  const calls = message.instructions.map(
    (instruction, index): Call => ({
      label: `#${index}`,
      program: accountAt(accounts, instruction.programIndex),
      accounts: instruction.accountIndexes.map((at) => accountAt(accounts, at)),
      data: instruction.data,
    }),
  );
  if (calls.length === 0) tally.deny('no-instructions', '0');
  else if (calls.every((call) => call.program === COMPUTE_BUDGET_PROGRAM))
    tally.deny('compute-only', String(calls.length));

  const requested = new Set<string>();
  for (const [index, call] of calls.entries()) {
    const before = tally.denials;
    const summary = judgeCall(policy, call, requested, tally);
    if (tally.denials === before) tally.check(`instructions[${index}]`, true, summary);
  }
}

/** The decoder has checked every index; a gap here is a defect, not a denial. */
function accountAt(accounts: readonly Address[], index: number): Address {
  const address = accounts[index];
  if (address === undefined) throw new RangeError('account index out of range');
  return address;
}

/** Denies, or returns what the instruction does, for people. */
function judgeCall(policy: Policy, call: Call, requested: Set<string>, tally: Tally): string {
  switch (call.program) {
    case COMPUTE_BUDGET_PROGRAM:
      return judgeComputeBudget(call, requested, tally);
    case SYSTEM_PROGRAM:
      return judgeSystem(policy, call, tally);
    case MEMO_PROGRAM:
    case MEMO_V1_PROGRAM:
      return judgeMemo(policy, call, tally);
    default:
      tally.deny('program-not-allowed', `${call.label} ${call.program}`);
      return '';
  }
}

/** The runtime refuses a repeated request; so do we, also in version 1, where all of them are ignored. */
function judgeComputeBudget(call: Call, requested: Set<string>, tally: Tally): string {
  const decoded = decodeComputeBudget(call.data);
  if (typeof decoded === 'string') {
    tally.deny(decoded, `${call.label} ComputeBudget`);
    return '';
  }
  if (call.accounts.length > 0) tally.deny('unexpected-accounts', `${call.label} ComputeBudget`);
  if (requested.has(decoded.kind)) tally.deny('duplicate-compute-budget', `${call.label} ${decoded.kind}`);
  requested.add(decoded.kind);
  return `ComputeBudget ${decoded.kind}`;
}

function judgeSystem(policy: Policy, call: Call, tally: Tally): string {
  const decoded = decodeSystem(call.data);
  if (typeof decoded === 'string') {
    tally.deny(decoded, `${call.label} System`);
    return '';
  }
  tally.spendLamports(decoded.lamports);
  if (decoded.kind === 'denied') {
    tally.deny(decoded.rule, `${call.label} System ${decoded.lamports}`);
    return '';
  }
  const [from, to] = call.accounts;
  if (from === undefined || to === undefined || call.accounts.length !== 2) {
    tally.deny('unexpected-accounts', `${call.label} System Transfer`);
    return '';
  }
  const summary = `System Transfer ${decoded.lamports} to ${to}`;
  if (from !== policy.wallet) tally.deny('authority-not-wallet', `${call.label} ${from}`);
  if (!policy.sol.destinations.includes(to)) tally.deny('sol.destinations', `${call.label} ${summary}`);
  return summary;
}

/** A memo is text; it may name the wallet as its signer and nobody else. */
function judgeMemo(policy: Policy, call: Call, tally: Tally): string {
  if (call.accounts.some((account) => account !== policy.wallet))
    tally.deny('memo-other-account', `${call.label} Memo`);
  if (!isUtf8(call.data)) tally.deny('non-canonical-data', `${call.label} Memo`);
  return 'Memo';
}

/** The program fails on anything else. */
function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
