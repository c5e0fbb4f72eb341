/**
 * Properties of the judge over generated transactions, against a model of the chain that shares no code with it: the
 * model reads tags as the programs do, ignores trailing bytes, and takes the worst of what it does not follow.
 */
import { address, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { PublicKey } from '@solana/web3.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DESTINATION, OWNER, STRANGER, simplePolicy, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import { bytes, messageOf, type Step, u64 } from './messages.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 500);
const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const SYSTEM = '11111111111111111111111111111111';
const ATA_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
const COMPUTE = 'ComputeBudget111111111111111111111111111111';
const MEMO = 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr';
const USDT = 'Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB';
const WSOL = 'So11111111111111111111111111111111111111112';
const MINTS = [USDC, USDT, WSOL];
const OWNERS = [WALLET, DESTINATION, STRANGER];

const ataOf = (owner: string, mint: string): string => {
  const seeds = [owner, TOKEN_PROGRAM, mint].map((key) => new PublicKey(key).toBytes());
  return PublicKey.findProgramAddressSync(seeds, new PublicKey(ATA_PROGRAM))[0].toBase58();
};
const ACCOUNTS = new Map(
  OWNERS.flatMap((owner) => MINTS.map((mint) => [ataOf(owner, mint), { owner, mint }] as const)),
);

const token = (mint: string, decimals: number, destinations: readonly string[]): unknown => ({
  mint,
  tokenProgram: TOKEN_PROGRAM,
  decimals,
  maxPerTransaction: '1000000',
  destinations,
});
const policy = parsePolicy({
  ...simplePolicy(),
  sol: { maxPerTransaction: '10000000', destinations: [DESTINATION, OWNER] },
  transaction: { versions: ['0'], lookupTables: {}, durableNonce: false, maxInstructions: 12 },
  tokens: [token(USDC, 6, [DESTINATION]), token(USDT, 6, []), token(WSOL, 9, [])],
});

// The model.

const EVERYTHING = 2n ** 70n;
interface Outflow {
  lamports: bigint;
  readonly units: Map<string, bigint>;
  /** Where anything went. */
  readonly receivers: Set<string>;
}

const readU64 = (data: Uint8Array, offset: number): bigint => {
  const padded = new Uint8Array(offset + 8);
  padded.set(data.subarray(0, offset + 8));
  return new DataView(padded.buffer).getBigUint64(offset, true);
};

function run(steps: readonly Step[]): Outflow {
  const out: Outflow = { lamports: 0n, units: new Map(), receivers: new Set() };
  for (const { program, accounts, data } of steps) execute(out, program, accounts, data);
  return out;
}

function execute(out: Outflow, program: string, accounts: readonly string[], data: Uint8Array): void {
  const moveLamports = (to: string | undefined, lamports: bigint): void => {
    if (to === undefined || to === WALLET) return;
    out.lamports += lamports;
    out.receivers.add(to);
  };
  if (program === SYSTEM) {
    const tag = readU64(data, 0) & 0xffff_ffffn;
    if (accounts[0] !== WALLET) return;
    if (tag === 2n) moveLamports(accounts[1], readU64(data, 4));
    else moveLamports(STRANGER, EVERYTHING);
  } else if (program === ATA_PROGRAM) {
    if (accounts[0] === WALLET) moveLamports(accounts[1], 2_039_280n);
  } else if (program === TOKEN_PROGRAM) executeToken(out, accounts, data);
  else if (program !== COMPUTE && program !== MEMO) moveLamports(STRANGER, EVERYTHING);
}

function executeToken(out: Outflow, accounts: readonly string[], data: Uint8Array): void {
  const moveUnits = (mint: string, to: string | undefined, units: bigint): void => {
    if (to === undefined || ACCOUNTS.get(to)?.owner === WALLET) return;
    out.units.set(mint, (out.units.get(mint) ?? 0n) + units);
    out.receivers.add(to);
  };
  const source = ACCOUNTS.get(accounts[0] ?? '');
  switch (data[0]) {
    case 3:
      if (accounts[2] === WALLET && source !== undefined) moveUnits(source.mint, accounts[1], readU64(data, 1));
      break;
    case 12:
      if (accounts[3] === WALLET && source !== undefined) moveUnits(source.mint, accounts[2], readU64(data, 1));
      break;
    case 9:
      if (accounts[2] === WALLET && accounts[1] !== WALLET) {
        out.lamports += EVERYTHING;
        out.receivers.add(accounts[1] ?? STRANGER);
      }
      break;
    case 17:
      break;
    case 255: {
      let used = 0;
      for (let at = 1; at + 1 < data.length; ) {
        const [count = 0, length = 0] = [data[at], data[at + 1]];
        executeToken(out, accounts.slice(used, used + count), data.subarray(at + 2, at + 2 + length));
        used += count;
        at += 2 + length;
      }
      break;
    }
    default:
      // Approvals, hand-overs, burns, withdrawals: everything is gone.
      for (const mint of MINTS) out.units.set(mint, EVERYTHING);
      out.receivers.add(STRANGER);
  }
}

// The transactions: mostly well-formed, over a small cast.

const anyUnits = fc.oneof(fc.bigInt(0n, 600_000n), fc.bigInt(0n, 2n ** 64n - 1n));
const anyOwner = fc.constantFrom(...OWNERS);
const likely = fc.constantFrom(WALLET, WALLET, WALLET, DESTINATION, STRANGER);
const anyMint = fc.constantFrom(...MINTS);
const destinationOwner = fc.constantFrom(DESTINATION, DESTINATION, DESTINATION, STRANGER, WALLET);
const make = (program: string, accounts: readonly string[], ...data: (number | Uint8Array)[]): Step => ({
  program,
  accounts,
  data: bytes(...data),
});

const anyTransfer = fc
  .tuple(
    likely,
    fc.constantFrom(DESTINATION, DESTINATION, OWNER, STRANGER, ataOf(WALLET, WSOL), ataOf(STRANGER, WSOL)),
    anyUnits,
  )
  .map(([from, to, units]) => make(SYSTEM, [from, to], 2, 0, 0, 0, u64(units)));
const anyChecked = fc
  .tuple(anyMint, anyMint, destinationOwner, likely, anyUnits, fc.constantFrom(6, 6, 6, 9))
  .map(([mint, other, owner, authority, units, decimals]) =>
    make(
      TOKEN_PROGRAM,
      [ataOf(WALLET, mint), mint, ataOf(owner, owner === STRANGER ? other : mint), authority],
      12,
      u64(units),
      decimals,
    ),
  );
const anyClose = fc
  .tuple(anyMint, likely, likely)
  .map(([mint, to, owner]) => make(TOKEN_PROGRAM, [ataOf(WALLET, mint), to, owner], 9));
const anySync = anyMint.map((mint) => make(TOKEN_PROGRAM, [ataOf(WALLET, mint)], 17));
const anyCreate = fc
  .tuple(anyOwner, anyMint, fc.constantFrom(0, 1, 1, 2))
  .map(([owner, mint, tag]) =>
    make(ATA_PROGRAM, [WALLET, ataOf(owner, mint), owner, mint, SYSTEM, TOKEN_PROGRAM], tag),
  );
const anyOther = fc
  .tuple(
    fc.constantFrom(SYSTEM, TOKEN_PROGRAM, TOKEN_PROGRAM, STRANGER),
    fc.integer({ min: 0, max: 255 }),
    anyMint,
    anyUnits,
  )
  .map(([program, tag, mint, units]) =>
    make(
      program,
      [ataOf(WALLET, mint), ataOf(STRANGER, mint), WALLET, WALLET],
      tag,
      ...(program === SYSTEM ? [0, 0, 0] : []),
      u64(units),
    ),
  );
const anyExtra = fc.constantFrom(
  make(MEMO, [WALLET], 0x61),
  make(COMPUTE, [], 2, 1, 0, 0, 0),
  make(COMPUTE, [], 3, u64(5n)),
);
const plain: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: anyTransfer },
  { weight: 5, arbitrary: anyChecked },
  { weight: 1, arbitrary: anyClose },
  { weight: 1, arbitrary: anySync },
  { weight: 2, arbitrary: anyCreate },
  { weight: 1, arbitrary: anyOther },
  { weight: 1, arbitrary: anyExtra },
);
const anyBatch = fc
  .array(fc.oneof(anyChecked, anyClose, anySync, anyOther), { minLength: 1, maxLength: 3 })
  .map((steps) =>
    make(
      TOKEN_PROGRAM,
      steps.flatMap(({ accounts }) => accounts),
      255,
      ...steps.flatMap(({ accounts, data }) => [accounts.length, data.length, data]),
    ),
  );
/** Now and then, one byte or account more or less. */
const damaged = (step: Step, how: string): Step => {
  if (how === 'data') return { ...step, data: bytes(step.data, 0) };
  if (how === 'account') return { ...step, accounts: [...step.accounts, STRANGER] };
  if (how === 'missing') return { ...step, accounts: step.accounts.slice(1) };
  return step;
};
const anyStep = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: plain }, { weight: 1, arbitrary: anyBatch }),
    fc.constantFrom('', '', '', '', '', '', '', '', 'data', 'account', 'missing'),
  )
  .map(([step, how]) => damaged(step, how));
const anySteps = fc.array(anyStep, { minLength: 1, maxLength: 4 });

const judged = (steps: readonly Step[]): Verdict => judge(policy, messageOf(steps), NOW);
const allowedReceivers = new Set([
  DESTINATION,
  OWNER,
  ...MINTS.flatMap((mint) => [ataOf(DESTINATION, mint), ataOf(WALLET, mint)]),
]);

describe('the judge', () => {
  it('never allows more than it states, by a model of its own', () => {
    let allowed = 0;
    fc.assert(
      fc.property(anySteps, (steps) => {
        const verdict = judged(steps);
        if (!verdict.allow) return;
        allowed++;
        const out = run(steps);
        expect(out.lamports).toBeLessThanOrEqual(verdict.lamportsOut);
        expect(verdict.lamportsOut).toBeLessThanOrEqual(policy.sol.maxPerTransaction);
        for (const [mint, units] of out.units) {
          expect(units).toBeLessThanOrEqual(verdict.tokens.get(address(mint)) ?? 0n);
          expect(units).toBeLessThanOrEqual(1_000_000n);
        }
        for (const receiver of out.receivers) expect(allowedReceivers).toContain(receiver);
      }),
      { numRuns: numRuns * 4 },
    );
    // The property says something only if enough is allowed.
    expect(allowed).toBeGreaterThan(numRuns / 10);
  });

  it('counts no less when an instruction is added', () => {
    fc.assert(
      fc.property(anySteps, anyStep, fc.nat(), (steps, added, position) => {
        const before = judged(steps);
        const at = position % (steps.length + 1);
        const after = judged([...steps.slice(0, at), added, ...steps.slice(at)]);
        expect(after.lamportsOut).toBeGreaterThanOrEqual(before.lamportsOut);
        for (const [mint, units] of before.tokens) expect(after.tokens.get(mint) ?? 0n).toBeGreaterThanOrEqual(units);
        if (!before.allow && steps.some(({ program }) => program !== COMPUTE)) expect(after.allow).toBe(false);
      }),
      { numRuns },
    );
  });

  it('does not care about order', () => {
    fc.assert(
      fc.property(anySteps, fc.array(fc.nat(), { minLength: 4, maxLength: 4 }), (steps, keys) => {
        const order = steps.map((step, index) => ({ step, key: keys[index] ?? 0 })).sort((a, b) => a.key - b.key);
        const shuffled = judged(order.map(({ step }) => step));
        const verdict = judged(steps);
        expect(shuffled.allow).toBe(verdict.allow);
        expect(shuffled.lamportsOut).toBe(verdict.lamportsOut);
        expect(new Map(shuffled.tokens)).toEqual(new Map(verdict.tokens));
      }),
      { numRuns },
    );
  });

  it('decides arbitrary data and accounts', () => {
    const programs = fc.constantFrom(
      SYSTEM,
      TOKEN_PROGRAM,
      ATA_PROGRAM,
      COMPUTE,
      MEMO,
      'TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb',
    );
    const anything = fc.record({
      program: programs,
      accounts: fc.array(fc.constantFrom(...OWNERS, ...MINTS, ...ACCOUNTS.keys()), { maxLength: 8 }),
      data: fc.uint8Array({ maxLength: 60 }),
    });
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 4 }), (steps) => {
        const verdict = judged(steps);
        expect(verdict.allow).toBe(verdict.denied === undefined);
      }),
      { numRuns },
    );
  });
});
