/** The policy templates: what each allows, and the denials that its README promises. */
import { address, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve, type SpendState } from '@quantumvault/shared/policy/state.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { policyWarnings } from '@quantumvault/shared/policy/warnings.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import { littleEndianBytes } from '@quantumvault/shared/solana/reader.ts';
import { describe, expect, it } from 'vitest';
import { DESTINATION, STRANGER, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import { bytes, messageOf, type Step, systemTransfer, u64 } from './messages.ts';
import * as t from './templates.ts';

const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const WSOL = 'So11111111111111111111111111111111111111112';
const ATA_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
const SYSTEM = '11111111111111111111111111111111';
const u16 = (value: number): Uint8Array => littleEndianBytes(BigInt(value), 2);
const ataOf = (owner: string, mint: string): string =>
  associatedTokenAccount(address(owner), address(mint), address(TOKEN_PROGRAM));

const tokens = (units: bigint, to: string, mint = USDC): Step => ({
  program: TOKEN_PROGRAM,
  accounts: [ataOf(WALLET, mint), mint, ataOf(to, mint), WALLET],
  data: bytes(12, u64(units), mint === WSOL ? 9 : 6),
});
const createAccount = (owner: string, mint: string): Step => ({
  program: ATA_PROGRAM,
  accounts: [WALLET, ataOf(owner, mint), owner, mint, SYSTEM, TOKEN_PROGRAM],
  data: bytes(1),
});

const judged = (template: string, steps: readonly Step[], state: SpendState = NOTHING_SPENT): Verdict =>
  judge(parsePolicy(t.filled(template)), messageOf(steps), NOW, { state });
const ruleOf = (template: string, ...steps: readonly Step[]): string | undefined =>
  judged(template, steps).denied?.rule;
const spent = (lamportsOut: bigint, units: ReadonlyMap<string, bigint> = new Map()): SpendState =>
  reserve(
    NOTHING_SPENT,
    { lamportsOut, feeLamports: 5_000n, tokens: new Map([...units].map(([mint, value]) => [address(mint), value])) },
    timeMs(NOW - 3_600_000),
  );

describe.each(t.TEMPLATES)('%s', (template) => {
  it('is a policy that the enclave takes, whose statement fits', () => {
    const policy = parsePolicy(t.filled(template));
    const hash = policyHash(policyBytes(policy));
    const facts = { deployment: 'a'.repeat(64), previousHash: hash, enableBeforeMs: NOW };
    expect(renderPolicyStatement({ policy, policyHash: hash, ...facts })).toContain(`Wallet: ${WALLET}`);
  });

  it('has a window wherever something may leave', () => {
    const found = policyWarnings(parsePolicy(t.filled(template)));
    expect(found.filter(({ weakness }) => weakness === 'no-window')).toEqual([]);
  });

  it('explains its placeholders', () => {
    expect(t.README).toContain(`${template}.json`);
    for (const [, name] of t.textOf(template).matchAll(t.PLACEHOLDER)) expect(t.README).toContain(`<${name}>`);
    expect(t.textOf(template).replace(t.PLACEHOLDER, '')).not.toContain('<');
  });

  it('lets nothing go to a stranger', () => {
    expect(ruleOf(template, systemTransfer(1n, STRANGER))).toBe('sol.destinations');
    expect(ruleOf(template, tokens(1n, STRANGER))).toBe('token-destination-not-allowed');
    const close: Step = { program: TOKEN_PROGRAM, accounts: [ataOf(WALLET, USDC), STRANGER, WALLET], data: bytes(9) };
    expect(ruleOf(template, close)).toBe('close-account-to-stranger');
    const approve: Step = {
      program: TOKEN_PROGRAM,
      accounts: [ataOf(WALLET, USDC), STRANGER, WALLET],
      data: bytes(4, u64(1n)),
    };
    expect(ruleOf(template, approve)).toBe('approve');
  });
});

const JUPITER = 'JUP6LkbZbjS1jKKwapdHNy74zcZ3tLUZoi5QNyVTaV4';
const EVENTS = 'D8cy77BBepLMngZx6ZukaTff5hCt1HrWyKk3Hnd9oitf';
const POOL = t.SECOND;

/** route_v2 with one step through a pool, as the aggregator's own API builds it. */
function swap(from: string, to: string, spends: bigint, quoted: bigint, change: Partial<Swap> = {}): Step {
  const { slippage = 50, fee = 0, positive = 0, discriminator = 'bb64facc31c4af14', accounts = {} } = change;
  const usual = [
    WALLET,
    ataOf(WALLET, from),
    ataOf(WALLET, to),
    from,
    to,
    TOKEN_PROGRAM,
    TOKEN_PROGRAM,
    JUPITER,
    EVENTS,
    JUPITER,
  ];
  return {
    program: JUPITER,
    accounts: [...usual.map((account, index) => accounts[index] ?? account), POOL, WALLET, ataOf(WALLET, from)],
    data: bytes(
      discriminator,
      u64(spends),
      u64(quoted),
      u16(slippage),
      u16(fee),
      u16(positive),
      '01000000',
      '11',
      1,
      u16(10_000),
      0,
      1,
    ),
  };
}
interface Swap {
  readonly slippage: number;
  readonly fee: number;
  readonly positive: number;
  readonly discriminator: string;
  readonly accounts: Readonly<Record<number, string>>;
}

describe('the Jupiter swap bot', () => {
  const buy = (change: Partial<Swap> = {}): Step => swap(USDC, WSOL, 200_000_000n, 1_000_000_000n, change);
  const template = 'jupiter-swap-bot';

  it('buys and sells at exactly the worst price', () => {
    expect(judged(template, [swap(USDC, WSOL, 200_000_000n, 980_000_000n, { slippage: 100 })]).allow).toBe(true);
    expect(judged(template, [swap(WSOL, USDC, 1_000_000_000n, 196_000_000n)]).allow).toBe(true);
  });

  it('buys and sells, wrapping and unwrapping SOL around it', () => {
    const bought = judged(template, [
      createAccount(WALLET, WSOL),
      buy(),
      { program: TOKEN_PROGRAM, accounts: [ataOf(WALLET, WSOL), WALLET, WALLET], data: bytes(9) },
    ]);
    expect(bought.denied).toBeUndefined();
    expect(bought.tokens).toEqual(new Map([[USDC, 200_000_000n]]));
    expect(bought.lamportsOut).toBe(2_039_280n);
    const sold = judged(template, [
      createAccount(WALLET, WSOL),
      systemTransfer(1_000_000_000n, ataOf(WALLET, WSOL)),
      { program: TOKEN_PROGRAM, accounts: [ataOf(WALLET, WSOL)], data: bytes(17) },
      swap(WSOL, USDC, 1_000_000_000n, 200_000_000n),
    ]);
    expect(sold.denied).toBeUndefined();
    expect(sold.tokens).toEqual(new Map([[WSOL, 1_000_000_000n]]));
    expect(sold.lamportsOut).toBe(1_002_039_280n);
  });

  it.each<[string, Step]>([
    ['a quote below the price', swap(USDC, WSOL, 200_000_000n, 979_999_999n)],
    ['a quote of nothing', swap(USDC, WSOL, 200_000_000n, 0n)],
    ['a sale below the price', swap(WSOL, USDC, 1_000_000_000n, 195_999_999n)],
    ['more slippage than a percent', buy({ slippage: 101 })],
    ['a platform fee', buy({ fee: 1 })],
    ['surplus that stays behind', buy({ positive: 1 })],
    ['too much at once', swap(USDC, WSOL, 400_000_001n, 10_000_000_000n)],
    ['the output to somebody else', buy({ accounts: { 2: ataOf(STRANGER, WSOL) } })],
    ['the output to a third account', buy({ accounts: { 7: ataOf(STRANGER, WSOL) } })],
    ['another mint bought', buy({ accounts: { 4: STRANGER } })],
    ['another instruction', buy({ discriminator: 'd19853937cfed8e9' })],
    ['another program', { ...buy(), program: STRANGER }],
  ])('is denied %s', (_, step) => {
    // Each differs in one thing from what is allowed above; which of the two rules explains it does not matter.
    expect(judged(template, [step]).denied?.rule).toMatch(/^program-/);
  });

  it('is denied more than the day’s window, and two swaps beyond one transaction’s', () => {
    const state = spent(0n, new Map([[USDC, 3_800_000_001n]]));
    expect(judged(template, [buy()], state).denied?.rule).toBe('tokens[0].window');
    expect(ruleOf(template, buy(), buy(), buy())).toBe('tokens[0].maxPerTransaction');
  });
});

const DRIFT = 'dRiftyHA39MWEi3m9aunc5MzRF1JYuBsbn6VPcn33UH';
const STATE = '5zpq7DvB6UdFFvpmBPspGPNfUGoBRRCE2HHg5u3gxcsN';

interface Order {
  readonly type: number;
  readonly market: number;
  readonly size: bigint;
  readonly price: bigint;
  readonly index: number;
  readonly postOnly: number;
  readonly user: string;
}

/** place_perp_order with the oracle and the market behind its three accounts. */
function order(change: Partial<Order> = {}): Step {
  const usual = {
    type: 1,
    market: 1,
    size: 1_000_000_000n,
    price: 200_000_000n,
    index: 0,
    postOnly: 1,
    user: t.DRIFT_USER,
  };
  const { type, market, size, price, index, postOnly, user } = { ...usual, ...change };
  return {
    program: DRIFT,
    accounts: [STATE, user, WALLET, POOL, DESTINATION],
    // Long, order id 7; no reduce-only; then flags and six absent options.
    data: bytes(
      '45a15dca787e4cb9',
      type,
      market,
      0,
      7,
      u64(size),
      u64(price),
      u16(index),
      0,
      postOnly,
      0,
      '000000000000',
    ),
  };
}
const deposit = (units: bigint, change: Readonly<Record<number, string>> = {}): Step => ({
  program: DRIFT,
  accounts: [
    STATE,
    t.DRIFT_USER,
    t.DRIFT_USER_STATS,
    WALLET,
    t.DRIFT_USDC_VAULT,
    ataOf(WALLET, USDC),
    TOKEN_PROGRAM,
    POOL,
  ].map((account, index) => change[index] ?? account),
  data: bytes('f223c68952e1f2b6', u16(0), u64(units), 0),
});
const withdraw = (units: bigint): Step => ({
  ...deposit(units),
  data: bytes('b712469c946da122', u16(0), u64(units), 0),
});

describe('the Drift perp bot', () => {
  const template = 'drift-perp-bot';

  it('deposits, places limit orders in its market, and cancels', () => {
    const verdict = judged(template, [deposit(500_000_000n), order(), order({ price: 150_000_000n })]);
    expect(verdict.denied).toBeUndefined();
    expect(verdict.tokens).toEqual(new Map([[USDC, 500_000_000n]]));
    expect(verdict.lamportsOut).toBe(0n);
    const cancel: Step = { ...order(), data: bytes('eee15f9ee36708c2', 0, 0, 0) };
    expect(judged(template, [cancel]).allow).toBe(true);
  });

  it.each<[string, Step]>([
    ['a market order', order({ type: 0 })],
    ['a spot order', order({ market: 0 })],
    ['another market', order({ index: 1 })],
    ['a size above its maximum', order({ size: 5_000_000_001n })],
    ['a price below its range', order({ price: 149_999_999n })],
    ['a price above its range', order({ price: 250_000_001n })],
    ['an order that may take', order({ postOnly: 0 })],
    ['somebody else’s account', order({ user: STRANGER })],
    ['a withdrawal', withdraw(1n)],
    ['a deposit into somebody else’s account', deposit(1n, { 1: STRANGER })],
    ['a deposit into another vault', deposit(1n, { 4: STRANGER })],
    ['a deposit of nothing', deposit(0n)],
  ])('is denied %s', (_, step) => {
    expect(judged(template, [step]).denied?.rule).toMatch(/^program-/);
  });

  it('is denied deposits beyond its limits', () => {
    expect(ruleOf(template, deposit(1_000_000_001n))).toBe('tokens[0].maxPerTransaction');
    const state = spent(0n, new Map([[USDC, 1_999_999_999n]]));
    expect(judged(template, [deposit(2n)], state).denied?.rule).toBe('tokens[0].window');
  });

  it('tells the owner that orders count nothing', () => {
    const found = policyWarnings(parsePolicy(t.filled(template))).filter(
      ({ weakness }) => weakness === 'rule-counts-nothing',
    );
    expect(found).toHaveLength(2);
    expect(t.README).toContain('rule-counts-nothing');
  });
});

describe('the payout bot', () => {
  const template = 'payout-bot';

  it('pays its destinations, opening their accounts', () => {
    const verdict = judged(template, [
      systemTransfer(500_000_000n, DESTINATION),
      createAccount(t.SECOND, USDC),
      tokens(400_000_000n, t.SECOND),
    ]);
    expect(verdict.denied).toBeUndefined();
    expect(verdict.lamportsOut).toBe(502_039_280n);
    expect(verdict.tokens).toEqual(new Map([[USDC, 400_000_000n]]));
  });

  it('is denied what exceeds a limit, one unit is enough', () => {
    expect(ruleOf(template, systemTransfer(1_000_000_001n, DESTINATION))).toBe('sol.maxPerTransaction');
    expect(ruleOf(template, tokens(500_000_001n, DESTINATION))).toBe('tokens[0].maxPerTransaction');
    expect(judged(template, [systemTransfer(1n, DESTINATION)], spent(5_000_000_000n)).denied?.rule).toBe('sol.window');
  });

  it('is denied another mint, and more than ten in a minute', () => {
    expect(ruleOf(template, tokens(1n, DESTINATION, WSOL))).toBe('mint-not-allowed');
    let state = NOTHING_SPENT;
    for (let index = 0; index < 10; index++)
      state = reserve(state, { lamportsOut: 0n, feeLamports: 5_000n, tokens: new Map() }, NOW);
    expect(judged(template, [systemTransfer(1n, DESTINATION)], state).denied?.rule).toBe('rate.perMinute');
  });
});

describe('the treasury sweep', () => {
  const template = 'treasury-sweep';
  const USDT = 'Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB';

  it('sends everything to the treasury', () => {
    const steps = [
      systemTransfer(99_000_000_000n, t.TREASURY),
      tokens(100_000_000_000n, t.TREASURY),
      createAccount(t.TREASURY, USDT),
      tokens(1n, t.TREASURY, USDT),
    ];
    expect(judged(template, steps).denied).toBeUndefined();
  });

  it('is denied everybody else, the owner and its other deployments included', () => {
    for (const other of [t.SECOND, t.VALUES['OWNER'] ?? '', t.VALUES['REQUESTER'] ?? '']) {
      expect(ruleOf(template, systemTransfer(1n, other))).toBe('sol.destinations');
      expect(ruleOf(template, tokens(1n, other, USDT))).toBe('token-destination-not-allowed');
    }
    expect(ruleOf(template, systemTransfer(1n, t.TREASURY), systemTransfer(1n, STRANGER))).toBe('sol.destinations');
  });
});
