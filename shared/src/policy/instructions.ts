/**
 * Every instruction, one by one: understood in full, or denied by a rule that names it. An instruction is understood
 * only with exact data and exactly the accounts that the program's own client passes.
 */
import type { Address } from '../brands.ts';
import type { Message } from '../solana/message.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAM,
  MEMO_V1_PROGRAM,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
} from '../solana/programs.ts';
import type { Call } from './call.ts';
import { assertsBrackets, judgeAssertion, judgeBrackets } from './judge-bracket.ts';
import { judgeComputeBudget, judgeMemo, judgeSystem } from './judge-builtin.ts';
import { judgeProgram } from './judge-program.ts';
import { judgeAssociatedToken, judgeToken } from './judge-token.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';

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
  const bracketed = new Set<Call>();
  for (const [index, call] of calls.entries()) {
    const before = tally.denials;
    const summary = judgeCall(policy, call, requested, bracketed, tally);
    if (tally.denials === before) tally.check(`instructions[${index}]`, true, summary);
  }
  judgeBrackets(policy, calls, bracketed, tally);
}

/** The decoder has checked every index; a gap here is a defect, not a denial. */
function accountAt(accounts: readonly Address[], index: number): Address {
  const address = accounts[index];
  if (address === undefined) throw new RangeError('account index out of range');
  return address;
}

/**
 * Denies, or returns what the instruction does, for people.
 * @param requested the ComputeBudget requests so far, which it extends
 * @param bracketed the calls so far whose rule demands a bracket, which it extends
 */
function judgeCall(policy: Policy, call: Call, requested: Set<string>, bracketed: Set<Call>, tally: Tally): string {
  switch (call.program) {
    case COMPUTE_BUDGET_PROGRAM:
      return judgeComputeBudget(call, requested, tally);
    case SYSTEM_PROGRAM:
      return judgeSystem(policy, call, tally);
    case MEMO_PROGRAM:
    case MEMO_V1_PROGRAM:
      return judgeMemo(policy, call, tally);
    case TOKEN_PROGRAM:
    case TOKEN_2022_PROGRAM:
      return judgeToken(policy, call, tally);
    case ASSOCIATED_TOKEN_PROGRAM:
      return judgeAssociatedToken(policy, call, tally);
  }
  const listed = policy.programs.find((rule) => rule.program === call.program);
  if (listed !== undefined) return judgeProgram(policy, listed, call, bracketed, tally);
  if (assertsBrackets(policy, call.program)) return judgeAssertion(policy, call, tally);
  return tally.deny('program-not-allowed', `${call.label} ${call.program}`);
}
