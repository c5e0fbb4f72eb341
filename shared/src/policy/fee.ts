/**
 * The fee: base × signatures, plus the priority fee. Legacy and version 0 ask for the latter by ComputeBudget
 * instructions (price in micro-lamports × unit limit, rounded up); version 1 by its config alone, where ComputeBudget
 * instructions are ignored (SIMD-0385).
 */
import { LIMITS } from '../limits.ts';
import { type ComputeBudgetInstruction, decodeComputeBudget } from '../solana/compute-budget.ts';
import type { Message } from '../solana/message.ts';
import { COMPUTE_BUDGET_PROGRAM, SYSTEM_PROGRAM } from '../solana/programs.ts';
import type { Policy } from './policy.ts';
import type { Tally } from './tally.ts';

const MICRO_LAMPORTS = 1_000_000n;

/** Lamports; instructions that do not parse are denied elsewhere and count nothing here. */
export function feeOf(message: Message): bigint {
  const base = BigInt(LIMITS.lamportsPerSignature * message.header.requiredSignatures);
  if (message.version === '1') return base + (message.config.priorityFeeLamports ?? 0n);
  const requests = message.instructions
    .filter((instruction) => message.accountKeys[instruction.programIndex] === COMPUTE_BUDGET_PROGRAM)
    .map((instruction) => decodeComputeBudget(instruction.data))
    .filter((decoded): decoded is ComputeBudgetInstruction => typeof decoded !== 'string');
  const price = requests.find((request) => request.kind === 'price')?.microLamports ?? 0n;
  const asked = requests.find((request) => request.kind === 'units')?.units ?? defaultUnits(message);
  const units = BigInt(Math.min(asked, LIMITS.computeUnits));
  return base + (price * units + MICRO_LAMPORTS - 1n) / MICRO_LAMPORTS;
}

/** Of the programs that the judge understands, System and ComputeBudget are builtins (SIMD-0170). */
function defaultUnits(message: Message): number {
  return message.instructions
    .map(({ programIndex }) => message.accountKeys[programIndex])
    .map((program) =>
      program === SYSTEM_PROGRAM || program === COMPUTE_BUDGET_PROGRAM
        ? LIMITS.computeUnitsPerBuiltin
        : LIMITS.computeUnitsPerInstruction,
    )
    .reduce((sum, units) => sum + units, 0);
}

export function judgeFee(policy: Policy, message: Message, tally: Tally): bigint {
  const fee = feeOf(message);
  tally.check('fees.maxLamports', fee <= policy.fees.maxLamports, fee.toString());
  return fee;
}
