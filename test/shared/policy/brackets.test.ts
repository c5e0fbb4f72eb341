/**
 * Balance brackets: what a policy says of them, what the judge counts and refuses, and properties against a chain on which a bracketed program does whatever the assertions let pass.
 */
import { readFileSync } from 'node:fs';
import { address, addressBytes, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy, policyBytes, policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve } from '@quantumvault/shared/policy/state.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { policyWarnings } from '@quantumvault/shared/policy/warnings.ts';
import type { Message } from '@quantumvault/shared/solana/message.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { DESTINATION, type Json, STRANGER, SWAP_PROGRAM, simplePolicy, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import { validates } from './json-schema.ts';
import {
  assertionData,
  holds,
  LIGHTHOUSE,
  type Named,
  type OnChain,
  tokensAtLeast,
  tokensAtMost,
  walletAtLeast,
  walletAtMost,
} from './lighthouse.ts';
import { bytes, messageOf, type Step, systemTransfer, u64 } from './messages.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 500);
const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const WSOL = 'So11111111111111111111111111111111111111112';
const ATA_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
const SYSTEM = '11111111111111111111111111111111';
const MEMO: Step = { program: 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr', accounts: [], data: bytes(0x61) };
const COMPUTE: Step = {
  program: 'ComputeBudget111111111111111111111111111111',
  accounts: [],
  data: bytes(3, u64(5n)),
};
const ata = (mint: string, owner = WALLET): string =>
  associatedTokenAccount(address(owner), address(mint), address(TOKEN_PROGRAM));
const [USDC_ACCOUNT, WSOL_ACCOUNT] = [ata(USDC), ata(WSOL)];

/** Takes the wallet and both token accounts. */
const route: Json = {
  name: 'route',
  data: [{ offset: 0, equals: '09' }],
  accounts: [
    { index: 0, is: 'wallet' },
    { index: 1, is: 'walletTokenAccount', mint: USDC },
    { index: 2, is: 'walletTokenAccount', mint: WSOL },
  ],
  minAccounts: 3,
  maxAccounts: 8,
  bracketedBy: LIGHTHOUSE,
};
const half: Json = { ...route, name: 'half', data: [{ offset: 0, equals: '0a' }], minAccounts: 2, maxAccounts: 2 };
half['accounts'] = (route['accounts'] as Json[]).slice(0, 2);
/** Takes nothing of the wallet, and no bracket. */
const crank: Json = {
  name: 'crank',
  data: [{ offset: 0, equals: '0b' }],
  accounts: [],
  minAccounts: 0,
  maxAccounts: 2,
};
const spending: Json = {
  ...route,
  name: 'spending',
  data: [
    { offset: 0, equals: '0c' },
    { offset: 1, type: 'u64', spends: USDC },
  ],
};

function document(instructions: readonly Json[] = [route, half, crank, spending], most = '1000000'): Json {
  const token = (mint: string, decimals: number): Json => ({
    mint,
    tokenProgram: TOKEN_PROGRAM,
    decimals,
    maxPerTransaction: most,
    window: { seconds: 60, max: most },
    destinations: [DESTINATION],
  });
  return {
    ...simplePolicy(),
    transaction: { versions: ['0'], lookupTables: {}, durableNonce: false, maxInstructions: 16 },
    sol: { maxPerTransaction: most, window: { seconds: 60, max: most }, destinations: [DESTINATION] },
    fees: { maxLamports: '1000000' },
    tokens: [token(USDC, 6), token(WSOL, 9)],
    programs: [{ program: SWAP_PROGRAM, instructions }],
  };
}
const policy = parsePolicy(document());
const judged = (steps: readonly Step[], by = policy): Verdict =>
  judge(by, messageOf(steps), NOW, { state: NOTHING_SPENT });

const call = (tag: number, accounts: readonly string[], ...data: Uint8Array[]): Step => ({
  program: SWAP_PROGRAM,
  accounts,
  data: bytes(tag, ...data),
});
const ROUTE = call(9, [WALLET, USDC_ACCOUNT, WSOL_ACCOUNT, STRANGER]);
const HALF = call(10, [WALLET, USDC_ACCOUNT]);
const CRANK = call(11, [STRANGER]);
const OPENING = [walletAtMost(WALLET, 900n), tokensAtMost(USDC_ACCOUNT, 800n), tokensAtMost(WSOL_ACCOUNT, 70n)];
const CLOSING = [
  walletAtLeast(WALLET, 850n),
  tokensAtLeast(USDC_ACCOUNT, 500n, WALLET),
  tokensAtLeast(WSOL_ACCOUNT, 100n, WALLET),
];
const SWAP: readonly Step[] = [...OPENING, ROUTE, ...CLOSING];
const assertion = (account: string, instruction: string, named: readonly Named[], logLevel?: number): Step => ({
  program: LIGHTHOUSE,
  accounts: [account],
  data: assertionData(instruction, named, logLevel),
});
const replaced = (steps: readonly Step[], old: Step, by: readonly Step[]): Step[] =>
  steps.flatMap((step) => (step === old ? by : [step]));

describe('a policy', () => {
  const refusal = (value: Json): unknown => refusalOf(() => parsePolicy(value))?.facts;
  const ruleOf = (rule: Json): Json => document([rule]);

  it('names the assertion program, also in its canonical bytes', () => {
    expect(policy.programs[0]?.instructions[0]?.bracketedBy).toBe(LIGHTHOUSE);
    expect(policy.programs[0]?.instructions[2]).not.toHaveProperty('bracketedBy');
    expect(policyFromBytes(policyBytes(policy))).toEqual(policy);
    const { bracketedBy: _, ...bare } = route;
    expect(policyBytes(parsePolicy(ruleOf(bare)))).not.toEqual(policyBytes(parsePolicy(ruleOf(route))));
    const text = new TextDecoder().decode(policyBytes(parsePolicy(ruleOf(route))));
    expect(text).toContain(`bracketedBy`);
    expect(text).toContain(LIGHTHOUSE);
  });

  it.each([true, STRANGER, null, { program: LIGHTHOUSE }, ''])('names no other: %j', (bracketedBy) => {
    expect(refusal(ruleOf({ ...route, bracketedBy }))).toEqual({
      path: 'programs[0].instructions[0].bracketedBy',
      value: `must be one of ${LIGHTHOUSE}`,
    });
  });

  it('does not allow the assertion program anything else beside brackets', () => {
    const lighthouse = { program: LIGHTHOUSE, instructions: [crank] };
    const value = document();
    const programs = [...(value['programs'] as Json[]), lighthouse];
    expect(refusal({ ...value, programs })).toEqual({
      path: 'programs[1].program',
      value: 'asserts the brackets of other rules',
    });
    expect(refusal({ ...value, programs: [lighthouse] })).toBeUndefined();
  });

  it('has a schema that knows it', () => {
    const schema = JSON.parse(
      readFileSync(new URL('../../../shared/src/policy/policy.schema.json', import.meta.url), 'utf8'),
    ) as Json;
    expect(validates(schema, document())).toBe(true);
    expect(validates(schema, ruleOf({ ...route, bracketedBy: STRANGER }))).toBe(false);
  });

  it('says so in the statement, and what the bracket rests on', () => {
    const text = renderPolicyStatement({
      policy,
      policyHash: policyHash(policyBytes(policy)),
      deployment: 'prod-eu-1',
      previousHash: undefined,
      enableBeforeMs: NOW,
    });
    expect(text.split('\n').filter((line) => /bracket|count/i.test(line))).toEqual([
      `Balances bracketed on chain: 3 of 4 program rules, while ${LIGHTHOUSE} is unchanged`,
      'WARNING: 1 program rules count nothing',
    ]);
    expect(text.length).toBeLessThanOrEqual(1000);
  });

  it('is weak where the bracket is: in who may upgrade the assertion program, and in the price', () => {
    const found = policyWarnings(parsePolicy(ruleOf(route))).filter(({ path }) => path.includes('instructions'));
    expect(found).toEqual([
      { path: 'programs[0].instructions[0].bracketedBy', weakness: 'bracket-upgradeable' },
      { path: 'programs[0].instructions[0]', weakness: 'rule-bounds-no-price' },
    ]);
  });
});

describe('a bracket counts', () => {
  it('the difference of each account', () => {
    const verdict = judged(SWAP);
    expect(verdict.denied).toBeUndefined();
    expect(verdict.lamportsOut).toBe(50n);
    expect(verdict.tokens).toEqual(new Map([[USDC, 300n]]));
    expect(verdict.rules.filter(({ rule }) => rule === 'bracket').map(({ value }) => value)).toEqual([
      `${WALLET} 50`,
      `${USDC_ACCOUNT} 300`,
      `${WSOL_ACCOUNT} 0`,
    ]);
    expect(verdict.rules.find(({ rule }) => rule === 'instructions[0]')?.value).toBe(
      `${WALLET} holds at most 900 lamports`,
    );
  });

  it('beside what other rules count', () => {
    const spend = call(12, ROUTE.accounts, u64(40n));
    const verdict = judged([systemTransfer(7n, DESTINATION), ...replaced(SWAP, ROUTE, [ROUTE, spend])]);
    expect(verdict.denied).toBeUndefined();
    expect(verdict.lamportsOut).toBe(57n);
    expect(verdict.tokens.get(address(USDC))).toBe(340n);
  });

  it('against limits and windows', () => {
    const small = parsePolicy(document([route], '599'));
    expect(judged(SWAP, small).allow).toBe(true);
    const state = reserve(NOTHING_SPENT, judged(SWAP, small), NOW);
    expect(judge(small, messageOf(SWAP), NOW, { state }).denied).toEqual({ rule: 'tokens[0].window', value: '600' });
    expect(judged(SWAP, parsePolicy(document([route], '299'))).denied?.rule).toBe('tokens[0].maxPerTransaction');
    expect(judged(SWAP, parsePolicy(document([route], '49'))).denied?.rule).toBe('sol.maxPerTransaction');
  });

  it.each([
    ['a weaker upper bound', tokensAtMost(USDC_ACCOUNT, 801n), 1],
    ['a weaker lower bound', tokensAtLeast(USDC_ACCOUNT, 499n, WALLET), 5],
  ])('%s', (_, weak, index) => {
    const steps = SWAP.with(index, weak);
    expect(judged(steps).tokens.get(address(USDC))).toBe(301n);
    expect(judged(steps).allow).toBe(true);
  });

  it('everything where nothing is bounded', () => {
    const steps = SWAP.with(0, walletAtMost(WALLET, 2n ** 64n - 1n)).with(4, walletAtLeast(WALLET, 0n));
    expect(judged(steps).lamportsOut).toBe(2n ** 64n - 1n);
    expect(judged(steps).denied?.rule).toBe('sol.maxPerTransaction');
  });

  it('accounts that are asserted without need', () => {
    expect(judged(replaced(SWAP, ROUTE, [HALF])).allow).toBe(true);
    const needed = SWAP.filter(({ accounts }) => accounts[0] !== WSOL_ACCOUNT);
    expect(judged(replaced(needed, ROUTE, [HALF])).allow).toBe(true);
    expect(judged(replaced(SWAP.with(2, tokensAtMost(WSOL_ACCOUNT, 170n)), ROUTE, [HALF])).tokens).toEqual(
      new Map([
        [USDC, 300n],
        [WSOL, 70n],
      ]),
    );
  });

  it('what goes on outside as ever, and leaves memos and ComputeBudget alone', () => {
    const create: Step = {
      program: ATA_PROGRAM,
      accounts: [WALLET, WSOL_ACCOUNT, WALLET, WSOL, SYSTEM, TOKEN_PROGRAM],
      data: bytes(1),
    };
    const wrap = [
      systemTransfer(30n, WSOL_ACCOUNT),
      { program: TOKEN_PROGRAM, accounts: [WSOL_ACCOUNT], data: bytes(17) },
    ];
    const unwrap: Step = { program: TOKEN_PROGRAM, accounts: [WSOL_ACCOUNT, WALLET, WALLET], data: bytes(9) };
    const inside = [MEMO, ...OPENING, COMPUTE, ROUTE, MEMO, ...CLOSING];
    const verdict = judged(
      [CRANK, create, ...wrap, ...inside, unwrap, CRANK],
      parsePolicy(document(undefined, '9000000')),
    );
    expect(verdict.denied).toBeUndefined();
    expect(verdict.lamportsOut).toBe(50n + 30n + 2_039_280n);
  });

  it('accounts from a pinned lookup table', () => {
    const table = addressOf(new Uint8Array(32).fill(77));
    const value = document();
    const pinned = parsePolicy({
      ...value,
      transaction: { ...(value['transaction'] as Json), lookupTables: { [table]: [STRANGER, USDC_ACCOUNT] } },
    });
    const plain = messageOf(SWAP);
    // USDC_ACCOUNT leaves the static keys and becomes the only loaded one.
    const gone = plain.accountKeys.indexOf(address(USDC_ACCOUNT));
    const moved = (index: number): number =>
      index === gone ? plain.accountKeys.length - 1 : index > gone ? index - 1 : index;
    const message = (loaded: number): Message => ({
      ...plain,
      accountKeys: plain.accountKeys.filter((_, index) => index !== gone),
      instructions: plain.instructions.map((instruction) => ({
        ...instruction,
        programIndex: moved(instruction.programIndex),
        accountIndexes: instruction.accountIndexes.map(moved),
      })),
      lookups: [{ table, writableIndexes: [loaded], readonlyIndexes: [] }],
    });
    const verdict = judge(pinned, message(1), NOW, { state: NOTHING_SPENT });
    expect(verdict.denied).toBeUndefined();
    expect(verdict.tokens).toEqual(new Map([[USDC, 300n]]));
    expect(judge(pinned, message(0), NOW, { state: NOTHING_SPENT }).allow).toBe(false);
  });
});

describe('a bracket is refused', () => {
  it.each(SWAP.map((step, index) => ({ step, index })))('without instruction $index', ({ step, index }) => {
    const without = SWAP.filter((_, at) => at !== index);
    if (step === ROUTE) expect(judged(without).allow).toBe(true);
    else expect(judged(without).denied?.rule).toBe('bracket-missing');
  });

  const most = (named: readonly Named[], level?: number): Step => assertion(WALLET, 'AssertAccountInfo', named, level);
  const least = (named: readonly Named[]): Step => assertion(WALLET, 'AssertAccountInfoMulti', named);
  const tokens = (named: readonly Named[]): Step => assertion(USDC_ACCOUNT, 'AssertTokenAccountMulti', named);
  const Q: Named = ['Amount', '500', '>='];
  const OWN: Named = ['Owner', WALLET, '=='];
  const DELEGATE: Named = ['Delegate', null, '=='];
  const CLOSE: Named = ['CloseAuthority', null, '=='];

  it.each<[string, number, Step]>([
    ['that is exact', 0, most([['Lamports', '900', '==']])],
    ['that is strict', 0, most([['Lamports', '900', '<']])],
    ['that asserts the opposite', 0, most([['Lamports', '900', '>=']])],
    ['of bits', 0, most([['Lamports', '900', '|']])],
    ['of another field', 0, most([['RentEpoch', '900', '<=']])],
    ['that logs', 0, most([['Lamports', '900', '<=']], 1)],
    ['that logs failures', 0, most([['Lamports', '900', '<=']], 4)],
    ['of an unknown log level', 0, most([['Lamports', '900', '<=']], 9)],
    ['in a list', 0, assertion(WALLET, 'AssertAccountInfoMulti', [['Lamports', '900', '<=']])],
    ['with trailing bytes', 0, { ...SWAP[0], data: bytes(SWAP[0]?.data ?? '', 0) } as Step],
    ['that is an empty list', 4, least([])],
    ['of the balance alone', 4, least([['Lamports', '850', '>=']])],
    [
      'without the data length',
      4,
      least([
        ['Lamports', '850', '>='],
        ['KnownOwner', 0, '=='],
      ]),
    ],
    [
      'of another owner',
      4,
      least([
        ['Lamports', '850', '>='],
        ['DataLength', '0', '=='],
        ['KnownOwner', 1, '=='],
      ]),
    ],
    [
      'of some data',
      4,
      least([
        ['Lamports', '850', '>='],
        ['DataLength', '1', '=='],
        ['KnownOwner', 0, '=='],
      ]),
    ],
    [
      'in another order',
      4,
      least([
        ['DataLength', '0', '=='],
        ['Lamports', '850', '>='],
        ['KnownOwner', 0, '=='],
      ]),
    ],
    ['without the delegate', 5, tokens([Q, OWN, CLOSE])],
    ['without the close authority', 5, tokens([Q, OWN, DELEGATE])],
    ['without the owner', 5, tokens([Q, DELEGATE, CLOSE])],
    ['of some delegate', 5, tokens([Q, OWN, ['Delegate', STRANGER, '=='], CLOSE])],
    ['of any delegate but one', 5, tokens([Q, OWN, ['Delegate', null, '!='], CLOSE])],
    ['of more', 5, tokens([Q, OWN, DELEGATE, CLOSE, ['State', 1, '==']])],
    ['that writes memory', 0, { program: LIGHTHOUSE, accounts: [WALLET], data: bytes(0, 0, 254, 0, 1, 1) }],
  ])('with an assertion %s', (_, index, step) => {
    expect(judged(SWAP.with(index, step)).denied).toEqual({ rule: 'bracket-assertion-unknown', value: `#${index}` });
  });

  const wsolOpening = OPENING[2] as Step;
  it.each<[string, string, readonly Step[]]>([
    ['on another account', 'bracket-not-own-account', SWAP.with(1, tokensAtMost(ata(USDC, STRANGER), 800n))],
    ['of lamports on a token account', 'bracket-not-own-account', SWAP.with(1, walletAtMost(USDC_ACCOUNT, 800n))],
    ['of units on the wallet', 'bracket-not-own-account', SWAP.with(0, tokensAtMost(WALLET, 900n))],
    ['of another owner', 'bracket-not-own-account', SWAP.with(5, tokensAtLeast(USDC_ACCOUNT, 500n, STRANGER))],
    ['with two accounts', 'unexpected-accounts', SWAP.with(0, { ...OPENING[0], accounts: [WALLET, WALLET] } as Step)],
    ['without an account', 'unexpected-accounts', SWAP.with(0, { ...OPENING[0], accounts: [] } as Step)],
    ['twice before', 'bracket-repeated', [tokensAtMost(USDC_ACCOUNT, 900n), ...SWAP]],
    ['twice after', 'bracket-repeated', [...SWAP, tokensAtLeast(USDC_ACCOUNT, 0n, WALLET)]],
    ['too late', 'bracket-order', [...OPENING.slice(0, 2), ROUTE, wsolOpening, ...CLOSING]],
    ['too early', 'bracket-order', [...OPENING, CLOSING[0], ROUTE, ...CLOSING.slice(1)] as Step[]],
    ['before the second swap alone', 'bracket-order', [ROUTE, ...SWAP]],
    ['after the first swap alone', 'bracket-order', [...SWAP, ROUTE]],
    ['each swap its own', 'bracket-order', [...SWAP, ...SWAP]],
    ['around a transfer out', 'bracket-interrupted', replaced(SWAP, ROUTE, [systemTransfer(1n, DESTINATION), ROUTE])],
    [
      'around money that comes in',
      'bracket-interrupted',
      replaced(SWAP, ROUTE, [
        ROUTE,
        { program: TOKEN_PROGRAM, accounts: [WSOL_ACCOUNT, WALLET, WALLET], data: bytes(9) },
      ]),
    ],
    ['around an instruction without one', 'bracket-interrupted', replaced(SWAP, ROUTE, [CRANK, ROUTE])],
    ['between assertions', 'bracket-interrupted', replaced(SWAP, wsolOpening, [CRANK, wsolOpening])],
  ])('%s', (_, rule, steps) => {
    const verdict = judged(steps);
    expect(verdict.allow).toBe(false);
    expect(verdict.rules.filter(({ outcome }) => outcome === 'deny').map((found) => found.rule)).toContain(rule);
  });

  it('where no rule has one, as any program that is not listed', () => {
    const { bracketedBy: _, ...bare } = route;
    expect(judged(SWAP, parsePolicy(document([bare, crank]))).denied?.rule).toBe('program-not-allowed');
    expect(judged([ROUTE], parsePolicy(document([bare, crank]))).allow).toBe(true);
  });
});

// The chain, where the program does what it likes with the accounts it is passed.

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
