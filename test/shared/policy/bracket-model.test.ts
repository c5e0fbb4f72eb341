/**
 * Balance brackets against an independent model of the chain, on which a bracketed program does what it likes with the
 * accounts it is passed: whatever is allowed loses no more than is counted.
 */
import { address, addressBytes } from '@quantumvault/shared/brands.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ata,
  COMPUTE,
  CRANK,
  call,
  HALF,
  judged,
  MEMO,
  numRuns,
  ROUTE,
  SYSTEM,
  USDC_ACCOUNT,
  WSOL,
  WSOL_ACCOUNT,
} from './bracket-fixtures.ts';
import { DESTINATION, SWAP_PROGRAM, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import {
  holds,
  LIGHTHOUSE,
  type OnChain,
  tokensAtLeast,
  tokensAtMost,
  walletAtLeast,
  walletAtMost,
} from './lighthouse.ts';
import { bytes, type Step, systemTransfer, u64 } from './messages.ts';

interface Chain {
  readonly accounts: Map<string, OnChain>;
  /** Lamports in the wrapped-SOL account that its amount does not tell of yet. */
  unsynced: bigint;
}
type Greed = 'all' | 'what passes' | 'give' | 'tamper';

/** Undefined where an instruction fails, and with it everything. */
function run(chain: Chain, steps: readonly Step[], greed: readonly Greed[]): Chain | undefined {
  const balance = (account: string): OnChain => chain.accounts.get(account) as OnChain;
  const take = (account: string, amount: bigint): boolean => {
    const found = chain.accounts.get(account);
    if (found === undefined || found.balance < amount) return false;
    found.balance -= amount;
    return true;
  };
  for (const [index, { program, accounts, data }] of steps.entries()) {
    const amount = data.length >= 12 ? new DataView(data.buffer, data.byteOffset + 4).getBigUint64(0, true) : 0n;
    if (program === LIGHTHOUSE) {
      if (holds(data, chain.accounts.get(accounts[0] ?? ''), WALLET) === false) return undefined;
    } else if (program === SYSTEM) {
      if (!take(WALLET, amount)) return undefined;
      if (accounts[1] === WSOL_ACCOUNT) chain.unsynced += amount;
    } else if (program === TOKEN_PROGRAM && data[0] === 17) {
      if (!chain.accounts.has(WSOL_ACCOUNT)) return undefined;
      balance(WSOL_ACCOUNT).balance += chain.unsynced;
      chain.unsynced = 0n;
    } else if (program === TOKEN_PROGRAM && data[0] === 9) {
      if (!chain.accounts.has(WSOL_ACCOUNT)) return undefined;
      balance(WALLET).balance += balance(WSOL_ACCOUNT).balance + chain.unsynced;
      chain.accounts.delete(WSOL_ACCOUNT);
      chain.unsynced = 0n;
    } else if (program === TOKEN_PROGRAM) {
      if (!take(USDC_ACCOUNT, new DataView(data.buffer, data.byteOffset + 1).getBigUint64(0, true))) return undefined;
    } else if (program === SWAP_PROGRAM && data[0] !== 11) plunder(chain, accounts, steps.slice(index), greed);
  }
  return chain;
}

/** To each account it is passed the program does the worst of one kind. It knows what will be asserted later. */
function plunder(chain: Chain, accounts: readonly string[], later: readonly Step[], greed: readonly Greed[]): void {
  for (const [position, account] of [WALLET, USDC_ACCOUNT, WSOL_ACCOUNT].entries()) {
    const found = chain.accounts.get(account);
    if (found === undefined || !accounts.includes(account)) continue;
    if (account === WSOL_ACCOUNT) {
      found.balance += chain.unsynced;
      chain.unsynced = 0n;
    }
    const how = greed[position];
    if (how === 'give') found.balance += 50n;
    if (how === 'all') found.balance = 0n;
    if (how === 'tamper') found.tampered = found.isToken ? 'Delegate' : 'KnownOwner';
    if (how === 'what passes' || how === 'tamper') {
      const passes = (balance: bigint): boolean =>
        later.every(
          ({ program, accounts: [target], data }) =>
            program !== LIGHTHOUSE || target !== account || holds(data, { ...found, balance }, WALLET) !== false,
        );
      for (const candidate of [0n, 1n, 50n, 100n, 200n, 300n, 400n, 500n, 600n])
        if (passes(candidate) && candidate < found.balance) {
          found.balance = candidate;
          break;
        }
    }
  }
}

const worth = ({ accounts, unsynced }: Chain): { sol: bigint; usdc: bigint } => ({
  sol: (accounts.get(WALLET)?.balance ?? 0n) + (accounts.get(WSOL_ACCOUNT)?.balance ?? 0n) + unsynced,
  usdc: accounts.get(USDC_ACCOUNT)?.balance ?? 0n,
});

const some = fc.constantFrom(0n, 1n, 50n, 100n, 200n, 300n, 400n, 500n);
const anyAccount = fc.constantFrom(WALLET, USDC_ACCOUNT, WSOL_ACCOUNT);
const opening = fc
  .tuple(anyAccount, some)
  .map(([account, amount]) => (account === WALLET ? walletAtMost(account, amount) : tokensAtMost(account, amount)));
const closing = fc
  .tuple(anyAccount, some)
  .map(([account, amount]) =>
    account === WALLET ? walletAtLeast(account, amount) : tokensAtLeast(account, amount, WALLET),
  );
const swap = fc.constantFrom(ROUTE, ROUTE, HALF, call(12, ROUTE.accounts, u64(40n)));
const neutral: fc.Arbitrary<Step> = fc.oneof(
  some.map((amount) => systemTransfer(amount, DESTINATION)),
  some.map((amount) => systemTransfer(amount, WSOL_ACCOUNT)),
  fc.constant<Step>({ program: TOKEN_PROGRAM, accounts: [WSOL_ACCOUNT], data: bytes(17) }),
  fc.constant<Step>({ program: TOKEN_PROGRAM, accounts: [WSOL_ACCOUNT, WALLET, WALLET], data: bytes(9) }),
  some.map((amount) => ({
    program: TOKEN_PROGRAM,
    accounts: [USDC_ACCOUNT, USDC, ata(USDC, DESTINATION), WALLET],
    data: bytes(12, u64(amount), 6),
  })),
  fc.constantFrom(MEMO, COMPUTE, CRANK),
);
const high = fc.constantFrom(100n, 300n, 500n, 600n);
const low = fc.constantFrom(0n, 1n, 50n, 200n);
const bounds = fc.tuple(high, high, high, low, low, low);
const whole = fc
  .record({
    before: fc.array(neutral, { maxLength: 2 }),
    bounds,
    swaps: fc.array(swap, { minLength: 1, maxLength: 2 }),
    /** Only the wallet and USDC are passed and bracketed. */
    isNarrow: fc.boolean(),
    inside: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      { weight: 1, arbitrary: neutral.map((step) => [step]) },
    ),
    after: fc.array(neutral, { maxLength: 2 }),
  })
  .map(({ before, bounds: [a, b, c, d, e, f], swaps, isNarrow, inside, after }) => [
    ...before,
    ...[walletAtMost(WALLET, a), tokensAtMost(USDC_ACCOUNT, b)],
    ...(isNarrow ? [] : [tokensAtMost(WSOL_ACCOUNT, c)]),
    ...inside,
    ...(isNarrow ? [HALF] : swaps),
    ...[walletAtLeast(WALLET, d), tokensAtLeast(USDC_ACCOUNT, e, WALLET)],
    ...(isNarrow ? [] : [tokensAtLeast(WSOL_ACCOUNT, f, WALLET)]),
    ...after,
  ]);
const anyStep = fc.oneof(opening, closing, swap, neutral);
/** Swaps two instructions, drops one, puts one in, or changes a byte of one. */
const change = fc.tuple(fc.constantFrom('swap', 'drop', 'add', 'byte'), fc.nat(), fc.nat(), anyStep);
const changed = (steps: readonly Step[], [how, first, second, added]: [string, number, number, Step]): Step[] => {
  const [at, other] = [first % Math.max(steps.length, 1), second % Math.max(steps.length, 1)];
  const [step, partner] = [steps[at], steps[other]];
  if (step === undefined || partner === undefined) return [added];
  if (how === 'swap') return steps.with(at, partner).with(other, step);
  if (how === 'drop') return steps.toSpliced(at, 1);
  if (how === 'add') return steps.toSpliced(at, 0, added);
  if (step.program !== LIGHTHOUSE) return [...steps];
  const data = step.data.slice();
  data[second % data.length] = (data[second % data.length] ?? 0) ^ (1 << (second % 3));
  return steps.with(at, { ...step, data });
};
const anySteps = fc
  .tuple(whole, fc.array(change, { maxLength: 2 }))
  .map(([steps, changes]) => changes.reduce<Step[]>((result, next) => changed(result, next), steps));
const anyGreed = fc.constantFrom<Greed>('all', 'what passes', 'what passes', 'what passes', 'give', 'tamper');

describe('whatever is allowed', () => {
  it('loses no more than is counted, whatever the program does', () => {
    let [allowed, lost] = [0, 0];
    fc.assert(
      fc.property(
        anySteps,
        fc.tuple(high, high, high),
        fc.array(anyGreed, { minLength: 3, maxLength: 3 }),
        (steps, [lamports, usdc, wsol], greed) => {
          const verdict = judged(steps);
          if (!verdict.allow) return;
          allowed++;
          const account = (balance: bigint, isToken: boolean): OnChain => ({ balance, isToken });
          const chain = (): Chain => ({
            accounts: new Map([
              [WALLET, account(lamports, false)],
              [USDC_ACCOUNT, account(usdc, true)],
              [WSOL_ACCOUNT, account(wsol, true)],
            ]),
            unsynced: 0n,
          });
          const before = worth(chain());
          const end = run(chain(), steps, greed);
          if (end === undefined) return;
          const after = worth(end);
          if (before.usdc > after.usdc && steps.some(({ program }) => program === SWAP_PROGRAM)) lost++;
          const units = (mint: string): bigint => verdict.tokens.get(address(mint)) ?? 0n;
          expect(before.usdc - after.usdc).toBeLessThanOrEqual(units(USDC));
          expect(before.sol - after.sol).toBeLessThanOrEqual(verdict.lamportsOut + units(WSOL));
          for (const found of end.accounts.values()) expect(found.tampered).toBeUndefined();
        },
      ),
      { numRuns: numRuns * 10 },
    );
    // The property says something only if enough is allowed, and if the program gets away with some of it.
    expect(allowed).toBeGreaterThan(numRuns);
    expect(lost).toBeGreaterThan(numRuns / 50);
  });

  it('counts no less when an instruction is added, and adding makes nothing allowed but a missing assertion', () => {
    fc.assert(
      fc.property(anySteps, anyStep, fc.nat(), (steps, added, position) => {
        const before = judged(steps);
        const after = judged(steps.toSpliced(position % (steps.length + 1), 0, added));
        expect(after.lamportsOut).toBeGreaterThanOrEqual(before.lamportsOut);
        for (const [mint, units] of before.tokens) expect(after.tokens.get(mint) ?? 0n).toBeGreaterThanOrEqual(units);
        if (after.allow && !before.allow)
          expect(before.rules.filter(({ outcome }) => outcome === 'deny').map(({ rule }) => rule)).toEqual([
            'bracket-missing',
          ]);
      }),
      { numRuns },
    );
  });

  it('survives any bytes as an assertion', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), anyAccount, (data, account) => {
        const verdict = judged([{ program: LIGHTHOUSE, accounts: [account], data }]);
        expect(verdict.allow).toBe(false);
        expect(addressBytes(address(account))).toHaveLength(32);
      }),
      { numRuns },
    );
  });
});
