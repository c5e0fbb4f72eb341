/** What is left of windows and rates says the same as the judge, at every moment. */
import { type Address, address, timeMs } from '@quantumvault/shared/brands.ts';
import { budgetsOf } from '@quantumvault/shared/policy/budgets.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, type Policy, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve, type SpendState } from '@quantumvault/shared/policy/state.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DESTINATION, type Json, simplePolicy, USDC } from './cases.ts';
import { messageOf, systemTransfer } from './messages.ts';

const NOON = Date.parse('2026-11-22T12:00:00Z');

const policyWith = (changes: Json): Policy =>
  parsePolicy({ ...simplePolicy(), ...changes }, { support: POLICY_FEATURES });

const spend = (state: SpendState, at: number, lamportsOut: bigint, units = 0n): SpendState =>
  reserve(
    state,
    { lamportsOut, feeLamports: 5_000n, tokens: new Map<Address, bigint>([[address(USDC), units]]) },
    timeMs(at),
  );

const everything = policyWith({
  fees: { maxLamports: '5000', window: { seconds: 60, max: '20000' } },
  sol: { maxPerTransaction: '1000', window: { seconds: 3600, max: '1000' }, destinations: [DESTINATION] },
  rate: { perMinute: 4, perDay: 5 },
});

describe('budgets', () => {
  it('of a policy without windows are none, and of a wallet that spent nothing whole', () => {
    expect(
      budgetsOf(policyWith({}), NOTHING_SPENT, timeMs(NOON)).filter(({ rule }) => /^(sol|fees)/.test(rule)),
    ).toEqual([]);
    for (const budget of budgetsOf(everything, NOTHING_SPENT, timeMs(NOON))) {
      expect(budget.spent).toBe(0n);
      expect(budget).not.toHaveProperty('freesAt');
    }
  });

  it('name each rule, what it counts and when the first of it is free again', () => {
    const state = spend(spend(NOTHING_SPENT, NOON - 90_000, 300n), NOON - 10_000, 200n);
    const budgets = budgetsOf(everything, state, timeMs(NOON)).filter(({ rule }) => !rule.startsWith('tokens'));
    expect(budgets).toEqual([
      { rule: 'fees.window', seconds: 60, limit: 20_000n, spent: 5_000n, freesAt: NOON + 50_001 },
      { rule: 'sol.window', seconds: 3600, limit: 1_000n, spent: 500n, freesAt: NOON - 90_000 + 3_600_001 },
      { rule: 'rate.perMinute', seconds: 60, limit: 4n, spent: 1n, freesAt: NOON + 50_001 },
      { rule: 'rate.perDay', seconds: 86_400, limit: 5n, spent: 2n, freesAt: NOON - 90_000 + 86_400_001 },
    ]);
  });

  it('are full after a lease for the length of each window', () => {
    const state = { ...NOTHING_SPENT, fullAt: timeMs(NOON - 60_001) };
    const of = (rule: string) => budgetsOf(everything, state, timeMs(NOON)).find((budget) => budget.rule === rule);
    expect(of('rate.perMinute')).toMatchObject({ spent: 0n });
    expect(of('sol.window')).toMatchObject({ spent: 1_000n, freesAt: NOON - 60_001 + 3_600_001 });
  });

  it('have room for an amount exactly when the judge allows it', () => {
    const past = fc.record({
      ago: fc.integer({ min: 0, max: 4_000_000 }),
      lamports: fc.bigInt({ min: 0n, max: 400n }),
    });
    const lease = fc.option(fc.integer({ min: 0, max: 90_000_000 }), { nil: undefined });
    const property = fc.property(
      fc.array(past, { maxLength: 8 }),
      lease,
      fc.bigInt(1n, 1_000n),
      (spends, ago, asked) => {
        let state: SpendState = ago === undefined ? NOTHING_SPENT : { ...NOTHING_SPENT, fullAt: timeMs(NOON - ago) };
        for (const one of spends.toSorted((a, b) => b.ago - a.ago)) state = spend(state, NOON - one.ago, one.lamports);
        const { rules } = judge(everything, messageOf([systemTransfer(asked, DESTINATION)]), timeMs(NOON), { state });
        const adds: Record<string, bigint> = { 'fees.window': 5_000n, 'sol.window': asked };
        for (const { rule, limit, spent, freesAt } of budgetsOf(everything, state, timeMs(NOON))) {
          if (rule.startsWith('tokens')) continue;
          const allows = rules.find((outcome) => outcome.rule === rule)?.outcome === 'allow';
          expect([rule, spent + (adds[rule] ?? 1n) <= limit]).toEqual([rule, allows]);
          if (freesAt === undefined || ago !== undefined) continue;
          const sumAt = (at: number) =>
            budgetsOf(everything, state, timeMs(at)).find((budget) => budget.rule === rule)?.spent ?? 0n;
          expect(sumAt(freesAt - 1)).toBe(spent);
          expect(sumAt(freesAt)).toBeLessThan(spent);
        }
      },
    );
    fc.assert(property);
  });
});
