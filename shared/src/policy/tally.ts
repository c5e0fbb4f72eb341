/** What the judge has found so far: the outcome of each rule, and the sums that will count against the limits. */
import type { Address } from '../brands.ts';

export interface RuleOutcome {
  /**
   * A path into the policy (`sol.maxPerTransaction`), an instruction (`instructions[2]`, allowed), or what a built-in
   * rule found (`transfer-with-seed`, denied).
   */
  readonly rule: string;
  readonly outcome: 'allow' | 'deny';
  readonly value?: string;
}

export class Tally {
  readonly rules: RuleOutcome[] = [];
  readonly tokens = new Map<Address, bigint>();
  lamportsOut = 0n;

  /** A rule that is shown whether it holds or not. */
  check(rule: string, holds: boolean, value: string): void {
    this.rules.push({ rule, outcome: holds ? 'allow' : 'deny', value });
  }

  /** Something found that no policy allows, or that this one does not. The answer is the summary of nothing done. */
  deny(rule: string, value: string): string {
    this.check(rule, false, value);
    return '';
  }

  get denials(): number {
    return this.rules.filter((rule) => rule.outcome === 'deny').length;
  }

  /** Counts lamports that leave, also where a rule denies them: a dry run shows them. */
  spendLamports(lamports: bigint): void {
    this.lamportsOut += lamports;
  }

  spendTokens(mint: Address, units: bigint): void {
    if (units > 0n) this.tokens.set(mint, (this.tokens.get(mint) ?? 0n) + units);
  }
}
