/** The auditor's windows beside those of the judge, which they have to agree with to the millisecond. */
import { addressOf, hash, timeMs } from '@quantumvault/shared/brands.ts';
import { limitsOf } from '@quantumvault/shared/evidence/audit/limits-of-policy.ts';
import { Series } from '@quantumvault/shared/evidence/audit/series.ts';
import { Spends } from '@quantumvault/shared/evidence/audit/spends.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { judgeWindows, NOTHING_SPENT, reserve } from '@quantumvault/shared/policy/state.ts';
import { Tally } from '@quantumvault/shared/policy/tally.ts';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { simplePolicy, TOKEN_PROGRAM, USDC } from '../../policy/cases.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 300);
const START = Date.parse('2026-11-22T12:00:00Z');
const OTHER_MINT = addressOf(new Uint8Array(32).fill(7));

const seconds = fc.oneof(
  fc.integer({ min: 1, max: 90 }),
  fc.constantFrom(60, 86_400, LIMITS.policyWindowSeconds - 1, LIMITS.policyWindowSeconds),
);
const window = fc.option(fc.record({ seconds, max: fc.integer({ min: 0, max: 40 }).map(String) }), {
  nil: undefined,
});
const policies = fc
  .tuple(window, window, window, fc.option(fc.tuple(fc.nat(6), fc.nat(12)), { nil: undefined }))
  .map(([fee, sol, token, rate]) => {
    const base = { tokenProgram: TOKEN_PROGRAM, decimals: 6, maxPerTransaction: '100', destinations: [] };
    return parsePolicy({
      ...simplePolicy(),
      fees: { maxLamports: '100', ...(fee && { window: fee }) },
      sol: { maxPerTransaction: '100', destinations: [], ...(sol && { window: sol }) },
      tokens: [
        { ...base, mint: USDC, ...(token && { window: token }) },
        { ...base, mint: OTHER_MINT },
      ],
      ...(rate && { rate: { perMinute: rate[0], perDay: rate[1] } }),
    });
  });
const gap = fc.oneof(
  fc.integer({ min: 0, max: 5_000 }),
  // On the edges of windows, and one step back, which another boot's clock may make.
  fc.constantFrom(-1, 1, 59_999, 60_000, 60_001, 86_400_000, LIMITS.policyWindowSeconds * 1000),
);
const signatures = fc.array(
  fc.record({ gap, lamports: fc.bigInt(0n, 9n), fee: fc.bigInt(0n, 9n), units: fc.bigInt(0n, 9n) }),
  { minLength: 1, maxLength: 60 },
);

describe('windows', () => {
  test('are those of the judge, also when the policy changes', () => {
    fc.assert(
      fc.property(policies, policies, signatures, fc.nat(60), (first, second, made, changeAt) => {
        let state = NOTHING_SPENT;
        const spends = new Spends();
        let now = START;
        for (const [index, { gap, lamports, fee, units }] of made.entries()) {
          now += gap;
          const policy = index < changeAt ? first : second;
          if (index === changeAt) spends.forgetWindows();
          const tally = new Tally();
          tally.lamportsOut = lamports;
          const mint = policy.tokens[0]?.mint ?? OTHER_MINT;
          tally.spendTokens(mint, units);
          judgeWindows(policy, state, timeMs(now), fee, tally);
          const denied = tally.rules.filter(({ outcome }) => outcome === 'deny');
          const amounts = {
            lamportsOut: lamports,
            feeLamports: fee,
            ...(units > 0n && { tokens: [{ mint, amount: units }] }),
          };
          const found = spends.judge(limitsOf(policy, hash(new Uint8Array(32))), amounts, now, false);
          expect(found.map(({ detail }) => detail.split(': ')[0])).toEqual(denied.map(({ rule }) => rule));
          expect(found.map(({ detail }) => / (\d+) of/.exec(detail)?.[1])).toEqual(denied.map(({ value }) => value));
          // Also what should not have been signed was spent.
          state = reserve(state, { lamportsOut: lamports, feeLamports: fee, tokens: tally.tokens }, timeMs(now));
          spends.add(now, amounts);
        }
      }),
      { numRuns },
    );
  });

  test('repeats are judged by themselves', () => {
    const policy = parsePolicy({ ...simplePolicy(), rate: { perMinute: 1, perDay: 1 } });
    const limits = limitsOf(policy, hash(new Uint8Array(32)));
    const spends = new Spends();
    const amounts = { lamportsOut: 1n, feeLamports: 1n };
    spends.add(START, amounts);
    expect(spends.judge(limits, amounts, START, false)).toHaveLength(2);
    expect(spends.judge(limits, amounts, START, true)).toEqual([]);
  });
});

describe('a series', () => {
  test('keeps what a window of 31 days can reach, and forgets the rest', () => {
    const series = new Series(1);
    for (let day = 0; day < 100; day++) series.push(START + day * 86_400_000, [1n]);
    expect(series.length).toBe(32);
    expect(series.sum(0, LIMITS.policyWindowSeconds, START + 99 * 86_400_000)).toBe(32n);
    const again = new Series(1, series.entries());
    again.push(START + 100 * 86_400_000, [5n]);
    expect(again.length).toBe(32);
    expect(again.sum(0, 86_400, START + 100 * 86_400_000)).toBe(6n);
  });

  test('sums beyond 64 bits', () => {
    const series = new Series(1);
    const most = 2n ** 64n - 1n;
    for (let index = 0; index < 20; index++) series.push(START, [most]);
    expect(series.sum(0, 1, START)).toBe(20n * most);
    expect(series.count(1, START)).toBe(20);
  });
});
