/** What a wallet has spent by its leaves, and whether one more signature stays within the policy. */
import type { Address } from '../../brands.ts';
import type { ErrorCode } from '../../errors.ts';
import type { Amounts } from '../leaf.ts';
import type { Limit, PolicyLimits } from './limits-of-policy.ts';
import { Series } from './series.ts';

export interface Excess {
  readonly code: Extract<ErrorCode, 'log_limit_exceeded' | 'log_window_exceeded' | 'log_rate_exceeded'>;
  /** The rule and what was counted against it. */
  readonly detail: string;
}

const LAMPORTS = 0;
const FEE = 1;
const MINUTE_SECONDS = 60;
const DAY_SECONDS = 86_400;

export class Spends {
  /** One entry per signature: lamports and fee. */
  readonly main: Series;
  /** One entry per signature that moves the mint. */
  readonly tokens = new Map<Address, Series>();

  constructor(main = new Series(2)) {
    this.main = main;
  }

  /** Counts a signature. It is final: also one that should not have been made. */
  add(time: number, amounts: Amounts): void {
    const at = Math.max(time, this.main.last);
    this.main.push(at, [amounts.lamportsOut, amounts.feeLamports]);
    for (const [mint, amount] of sums(amounts)) {
      const series = this.tokens.get(mint) ?? new Series(1);
      this.tokens.set(mint, series);
      if (amount > 0n) series.push(at, [amount]);
    }
  }

  forgetWindows(): void {
    this.main.forgetWindows();
    for (const series of this.tokens.values()) series.forgetWindows();
  }

  /**
   * Every limit that one more signature at `time` breaks.
   * @param isRepeat counted when it was first signed: judged against itself alone, as the enclave does
   */
  judge(limits: PolicyLimits, amounts: Amounts, time: number, isRepeat: boolean): readonly Excess[] {
    const found: Excess[] = [];
    const check = (limit: Limit, amount: bigint, earlier: (seconds: number) => bigint): void => {
      const { rule, perTransaction, window } = limit;
      if (amount > perTransaction)
        found.push({ code: 'log_limit_exceeded', detail: `${rule}: ${amount} of ${perTransaction}` });
      if (window === undefined) return;
      const sum = amount + (isRepeat ? 0n : earlier(window.seconds));
      if (sum > window.max)
        found.push({ code: 'log_window_exceeded', detail: `${rule}.window: ${sum} of ${window.max}` });
    };
    const rate = (rule: string, most: number | undefined, seconds: number): void => {
      if (most === undefined) return;
      const count = 1 + (isRepeat ? 0 : this.main.count(seconds, time));
      if (count > most) found.push({ code: 'log_rate_exceeded', detail: `${rule}: ${count} of ${most}` });
    };
    check(limits.fee, amounts.feeLamports, (seconds) => this.main.sum(FEE, seconds, time));
    check(limits.lamports, amounts.lamportsOut, (seconds) => this.main.sum(LAMPORTS, seconds, time));
    const moved = sums(amounts);
    // Every token of the policy, as the judge does: after a policy was tightened, a window may be full already.
    for (const [mint, limit] of limits.tokens)
      check(limit, moved.get(mint) ?? 0n, (seconds) => this.tokens.get(mint)?.sum(0, seconds, time) ?? 0n);
    for (const [mint, amount] of moved)
      if (!limits.tokens.has(mint)) check({ rule: `tokens ${mint}`, perTransaction: 0n }, amount, () => 0n);
    rate('rate.perMinute', limits.perMinute, MINUTE_SECONDS);
    rate('rate.perDay', limits.perDay, DAY_SECONDS);
    return found;
  }
}

const NO_SUMS: ReadonlyMap<Address, bigint> = new Map();

/** By mint, should a leaf name one twice. */
function sums({ tokens }: Amounts): ReadonlyMap<Address, bigint> {
  if (tokens === undefined) return NO_SUMS;
  const all = new Map<Address, bigint>();
  for (const { mint, amount } of tokens) all.set(mint, (all.get(mint) ?? 0n) + amount);
  return all;
}
