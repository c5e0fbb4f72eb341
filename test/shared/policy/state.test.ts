/** Windows, rates and signals as pure functions of a wallet's spends. */
import { type Address, address, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve, type Signal, type SpendState } from '@quantumvault/shared/policy/state.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DESTINATION, type Json, STRANGER, simplePolicy, USDC } from './cases.ts';
import { messageOf, systemTransfer } from './messages.ts';

const NOON = Date.parse('2026-11-22T12:00:00Z');
const spend = (
  state: SpendState,
  at: number,
  lamports: bigint,
  more: { signal?: Signal; units?: bigint } = {},
): SpendState =>
  reserve(
    state,
    {
      lamportsOut: lamports,
      feeLamports: 5000n,
      tokens: new Map<Address, bigint>([[address(USDC), more.units ?? 0n]]),
      ...(more.signal !== undefined && { signal: more.signal }),
    },
    timeMs(at),
  );

function judged(changes: Json, state: SpendState, signal?: Signal, at = NOON): Verdict {
  const policy = parsePolicy({ ...simplePolicy(), ...changes }, { support: POLICY_FEATURES });
  const message = messageOf([systemTransfer(100n, DESTINATION)]);
  return judge(policy, message, timeMs(at), { state, ...(signal !== undefined && { signal }) });
}

const sol = (max: string): Json => ({
  sol: { maxPerTransaction: '1000', window: { seconds: 60, max }, destinations: [DESTINATION] },
});

describe('windows', () => {
  it.each([
    [60_000, '199', 'sol.window'],
    [60_000, '200', undefined],
    [60_001, '100', undefined],
    [60_001, '99', 'sol.window'],
    [0, '199', 'sol.window'],
  ])('a spend %i ms ago under a limit of %s', (ago, max, denied) => {
    const state = spend(NOTHING_SPENT, NOON - ago, 100n);
    expect(judged(sol(max), state).denied?.rule).toBe(denied);
  });

  it('hold for fees', () => {
    const state = spend(NOTHING_SPENT, NOON - 1, 0n);
    const fees = (max: string): Json => ({ fees: { maxLamports: '5000', window: { seconds: 60, max } } });
    expect(judged(fees('10000'), state).allow).toBe(true);
    expect(judged(fees('9999'), state).denied).toEqual({ rule: 'fees.window', value: '10000' });
  });

  it('count a time that lies ahead: the clock stepped back', () => {
    const state = spend(NOTHING_SPENT, NOON + 5000, 100n);
    expect(judged(sol('199'), state).allow).toBe(false);
    expect(spend(state, NOON, 1n).spends.at(-1)?.at).toBe(NOON + 5000);
  });

  it('forget what no window can reach', () => {
    const old = spend(NOTHING_SPENT, NOON - LIMITS.policyWindowSeconds * 1000 - 1, 1n);
    expect(spend(old, NOON, 1n).spends).toHaveLength(1);
  });

  it('merge at the later time', () => {
    const most = LIMITS.spendEntries + 1;
    let state = NOTHING_SPENT;
    for (let index = 0; index < most; index++) state = spend(state, NOON + index * 1000, 1n);
    expect(state.spends).toHaveLength(LIMITS.spendEntries);
    expect(state.spends[0]).toMatchObject({ at: NOON + 1000, count: 2, lamportsOut: 2n, feeLamports: 10000n });
  });

  it('never show less than an exact ledger, and nothing less in total, whatever is merged', () => {
    const anySpends = fc.array(fc.record({ gap: fc.integer({ min: 0, max: 5000 }), lamports: fc.bigInt(1n, 1000n) }), {
      minLength: LIMITS.spendEntries + 1,
      maxLength: LIMITS.spendEntries + 60,
    });
    fc.assert(
      fc.property(anySpends, fc.integer({ min: 1, max: 3600 }), (gaps, seconds) => {
        const exact: { at: number; lamports: bigint }[] = [];
        let at = NOON;
        let state = NOTHING_SPENT;
        for (const { gap, lamports } of gaps) {
          at += gap;
          exact.push({ at, lamports });
          state = spend(state, at, lamports, { units: lamports });
        }
        const since = at - seconds * 1000;
        const sum = (entries: readonly { at: number; lamports: bigint }[]): bigint =>
          entries.filter((entry) => entry.at >= since).reduce((total, entry) => total + entry.lamports, 0n);
        const kept = state.spends.map((entry) => ({ at: entry.at, lamports: entry.lamportsOut }));
        expect(state.spends.length).toBeLessThanOrEqual(LIMITS.spendEntries);
        expect(sum(kept)).toBeGreaterThanOrEqual(sum(exact));
        const total = (entries: readonly { lamports: bigint }[]): bigint =>
          entries.reduce((all, { lamports }) => all + lamports, 0n);
        expect(total(kept)).toBe(total(exact));
        expect(state.spends.reduce((all, entry) => all + (entry.tokens.get(address(USDC)) ?? 0n), 0n)).toBe(
          total(exact),
        );
        expect(state.spends.reduce((all, entry) => all + entry.count, 0)).toBe(gaps.length);
      }),
      { numRuns: 5 },
    );
  });
});

describe('rates', () => {
  const rate: Json = { rate: { perMinute: 2, perDay: 3 } };
  it.each([
    [[30_000], undefined],
    [[30_000, 20_000], 'rate.perMinute'],
    [[90_000, 80_000], undefined],
    [[90_000, 80_000, 70_000], 'rate.perDay'],
    [[86_400_001, 80_000, 70_000], undefined],
  ])('after signatures %j ms ago', (ages, denied) => {
    const state = ages.reduce((before, age) => spend(before, NOON - age, 0n), NOTHING_SPENT);
    expect(judged(rate, state).denied?.rule).toBe(denied);
  });
});

describe('signals', () => {
  const rules: Json = {
    signals: {
      required: true,
      sources: [
        { name: 'tv-main', hostVerified: true },
        { name: 'alpha', key: STRANGER },
      ],
      maxAgeSeconds: 60,
      signaturesPerSignal: 2,
    },
  };
  const signal = (changes: Partial<Signal> = {}): Signal => ({
    source: 'alpha',
    id: 'one',
    at: timeMs(NOON - 1000),
    verifiedBy: 'enclave',
    ...changes,
  });

  it.each<[string, Signal | undefined, string | undefined]>([
    ['one of the enclave', signal(), undefined],
    ['one that the host may verify', signal({ source: 'tv-main', verifiedBy: 'host' }), undefined],
    ['none', undefined, 'signals.required'],
    ['one that only the host verified', signal({ verifiedBy: 'host' }), 'signals.sources'],
    ['one of another source', signal({ source: 'beta' }), 'signals.sources'],
    ['an old one', signal({ at: timeMs(NOON - 60_001) }), 'signals.maxAgeSeconds'],
    ['one from the future', signal({ at: timeMs(NOON + 30_001) }), 'signals.maxAgeSeconds'],
  ])('%s', (_, given, denied) => {
    expect(judged(rules, NOTHING_SPENT, given).denied?.rule).toBe(denied);
  });

  it('are used as often as allowed, each by itself', () => {
    const once = spend(NOTHING_SPENT, NOON, 0n, { signal: signal() });
    const twice = spend(once, NOON, 0n, { signal: signal() });
    expect(judged(rules, once, signal()).allow).toBe(true);
    expect(judged(rules, twice, signal()).denied).toEqual({ rule: 'signals.signaturesPerSignal', value: '3' });
    expect(judged(rules, twice, signal({ id: 'two' })).allow).toBe(true);
  });

  it('may be optional, and are refused where the policy knows none', () => {
    const optional = { signals: { ...(rules['signals'] as Json), required: false } };
    expect(judged(optional, NOTHING_SPENT).allow).toBe(true);
    expect(judged({}, NOTHING_SPENT, signal()).denied?.rule).toBe('signals');
  });

  it('are remembered up to a limit, never evicted', () => {
    let full: SpendState = NOTHING_SPENT;
    for (let index = 0; index <= LIMITS.signalUses; index++) {
      full = spend(full, NOON, 0n, { signal: signal({ id: `full-${index}`, at: timeMs(NOON - 40_000 + index) }) });
    }
    // While the oldest could still be fresh nothing is forgotten for a new one.
    expect(judged(rules, full, signal()).denied).toEqual({ rule: 'signals.room', value: String(LIMITS.signalUses) });
    expect(full.signals).toHaveLength(LIMITS.signalUses);
    // The oldest is forgotten, and nothing as old counts any more; what is remembered still does.
    expect(full.signalFloor).toBe(NOON - 40_000);
    const old = signal({ id: 'full-0', at: timeMs(NOON - 40_000) });
    expect(judged(rules, full, old).denied?.rule).toBe('signals.remembered');
    expect(judged(rules, full, signal({ id: 'older', at: timeMs(NOON - 50_000) })).denied?.rule).toBe(
      'signals.remembered',
    );
    expect(judged(rules, full, signal({ id: 'full-7', at: timeMs(NOON - 39_993) })).allow).toBe(true);
    const later = NOON + 30_000;
    expect(judged(rules, full, signal({ at: timeMs(later) }), later).allow).toBe(true);
  });

  it('need a state', () => {
    const policy = parsePolicy({ ...simplePolicy(), ...rules }, { support: POLICY_FEATURES });
    const verdict = judge(policy, messageOf([systemTransfer(1n, DESTINATION)]), timeMs(NOON), { signal: signal() });
    expect(verdict.denied).toEqual({ rule: 'signals.signaturesPerSignal', value: 'no state' });
  });
});
