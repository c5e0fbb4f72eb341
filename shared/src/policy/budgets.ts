/** What each window and rate of a policy has left: the sums that judgeWindows (state.ts) compares, told instead. */
import { type TimeMs, timeMs } from '../brands.ts';
import type { Policy, Window } from './policy.ts';
import { DAY_SECONDS, isFull, isWithin, MINUTE_SECONDS, type Spend, type SpendState } from './state.ts';

export interface Budget {
  /** As a denial names it: `sol.window`, `rate.perMinute`. */
  readonly rule: string;
  readonly seconds: number;
  /** Lamports, base units or signatures, as the rule has it. */
  readonly limit: bigint;
  /** What counts now; `limit` at least while the window is full since a lease. */
  readonly spent: bigint;
  /** When the first part of `spent` counts no more; absent when nothing counts. */
  readonly freesAt?: TimeMs;
}

export function budgetsOf(policy: Policy, state: SpendState, now: TimeMs): readonly Budget[] {
  const { fees, sol, tokens, rate } = policy;
  const of = (rule: string, window: Window | undefined, amount: (spend: Spend) => bigint): readonly Budget[] =>
    window === undefined ? [] : [budgetOf(rule, window, amount, state, now)];
  const count = (spend: Spend): bigint => BigInt(spend.count);
  return [
    ...of('fees.window', fees.window, (spend) => spend.feeLamports),
    ...of('sol.window', sol.window, (spend) => spend.lamportsOut),
    ...tokens.flatMap(({ mint, window }, index) =>
      of(`tokens[${index}].window`, window, (spend) => spend.tokens.get(mint) ?? 0n),
    ),
    ...(rate === undefined
      ? []
      : [
          ...of('rate.perMinute', { seconds: MINUTE_SECONDS, max: BigInt(rate.perMinute) }, count),
          ...of('rate.perDay', { seconds: DAY_SECONDS, max: BigInt(rate.perDay) }, count),
        ]),
  ];
}

function budgetOf(
  rule: string,
  { seconds, max: limit }: Window,
  amount: (spend: Spend) => bigint,
  state: SpendState,
  now: TimeMs,
): Budget {
  const counted = state.spends.filter((spend) => isWithin(spend.at, seconds, now) && amount(spend) > 0n);
  const sum = counted.reduce((total, spend) => total + amount(spend), 0n);
  const { fullAt } = state;
  // Windows are closed at both ends: a spend counts for one millisecond more than their length.
  const end = (at: TimeMs): TimeMs => timeMs(at + seconds * 1000 + 1);
  if (fullAt !== undefined && isFull(state, seconds, now))
    return { rule, seconds, limit, spent: sum > limit ? sum : limit, freesAt: end(fullAt) };
  const first = counted[0];
  return { rule, seconds, limit, spent: sum, ...(first && { freesAt: end(first.at) }) };
}
