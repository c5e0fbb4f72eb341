/** Balance brackets: what a policy says of them, what the judge counts and refuses. */
import { readFileSync } from 'node:fs';
import { address, addressOf } from '@quantumvault/shared/brands.ts';
import { judge } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy, policyBytes, policyFromBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT, reserve } from '@quantumvault/shared/policy/state.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { policyWarnings } from '@quantumvault/shared/policy/warnings.ts';
import type { Message } from '@quantumvault/shared/solana/message.ts';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import {
  ATA_PROGRAM,
  assertion,
  ata,
  CLOSING,
  COMPUTE,
  CRANK,
  call,
  crank,
  document,
  HALF,
  judged,
  MEMO,
  NOW,
  OPENING,
  policy,
  ROUTE,
  replaced,
  route,
  SWAP,
  SYSTEM,
  USDC_ACCOUNT,
  WSOL,
  WSOL_ACCOUNT,
} from './bracket-fixtures.ts';
import { DESTINATION, type Json, STRANGER, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import { validates } from './json-schema.ts';
import { LIGHTHOUSE, type Named, tokensAtLeast, tokensAtMost, walletAtLeast, walletAtMost } from './lighthouse.ts';
import { bytes, messageOf, type Step, systemTransfer, u64 } from './messages.ts';

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
