/** Program rules: data fields, amounts that count, prices, accounts, and what of the wallet may be passed. */
import { address, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { policyWarnings } from '@quantumvault/shared/policy/warnings.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import { describe, expect, it } from 'vitest';
import {
  DESTINATION,
  fullPolicy,
  type Json,
  STRANGER,
  SWAP_PROGRAM,
  simplePolicy,
  TOKEN_PROGRAM,
  USDC,
  WALLET,
} from './cases.ts';
import { bytes, messageOf, type Step, u64 } from './messages.ts';

const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const MINT = 'Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB';
const ata = (mint: string): string => associatedTokenAccount(address(WALLET), address(mint), address(TOKEN_PROGRAM));
const POOL = STRANGER;

const swap: Json = {
  name: 'swap',
  data: [
    { offset: 0, equals: '09' },
    { offset: 1, type: 'u64', max: '900', spends: USDC },
    { offset: 9, type: 'u64', min: '1', receives: MINT, minPerSpent: '0.98' },
    { offset: 17, type: 'u16', max: '50' },
  ],
  accounts: [
    { index: 0, is: 'wallet' },
    { index: 1, oneOf: [POOL] },
    { index: 2, is: 'walletTokenAccount', mint: USDC },
  ],
  minAccounts: 3,
  maxAccounts: 5,
};
const cancel: Json = {
  name: 'cancel',
  data: [{ offset: 0, equals: '0a' }],
  accounts: [],
  minAccounts: 0,
  maxAccounts: 2,
};

function policy(instructions: readonly Json[] = [swap, cancel]): Json {
  const token = (mint: string): Json => ({
    mint,
    tokenProgram: TOKEN_PROGRAM,
    decimals: 6,
    maxPerTransaction: '1000',
    destinations: [],
  });
  return { ...simplePolicy(), tokens: [token(USDC), token(MINT)], programs: [{ program: SWAP_PROGRAM, instructions }] };
}

const swapStep = (spent: bigint, received: bigint, accounts: readonly string[] = [WALLET, POOL, ata(USDC)]): Step => ({
  program: SWAP_PROGRAM,
  accounts,
  data: bytes(9, u64(spent), u64(received), 10, 0),
});

const judged = (steps: readonly Step[], document: Json = policy()): Verdict =>
  judge(parsePolicy(document), messageOf(steps), NOW);

describe('amounts', () => {
  it('count what is spent, in sum with everything else of that mint', () => {
    const once = judged([swapStep(500n, 490n)]);
    expect(once.denied).toBeUndefined();
    expect(once.tokens).toEqual(new Map([[USDC, 500n]]));
    expect(judged([swapStep(500n, 490n), swapStep(501n, 500n)]).denied).toEqual({
      rule: 'tokens[0].maxPerTransaction',
      value: '1001',
    });
  });

  it.each([
    [swapStep(901n, 901n), 'program-amount-too-high', '#0 swap data[1]'],
    [swapStep(0n, 0n), 'program-amount-too-low', '#0 swap data[2]'],
    [swapStep(100n, 97n), 'program-price-too-low', '#0 swap 97 for 100'],
    [{ ...swapStep(1n, 1n), data: bytes(9, u64(1n), u64(1n), 51, 0) }, 'program-amount-too-high', '#0 swap data[3]'],
    [{ ...swapStep(1n, 1n), data: bytes(9, u64(1n), u64(1n), 51) }, 'program-data-too-short', '#0 swap data[3]'],
    [{ ...swapStep(1n, 1n), data: bytes(11) }, 'program-instruction-not-allowed', `#0 ${SWAP_PROGRAM}`],
    [{ ...swapStep(1n, 1n), data: bytes() }, 'program-instruction-not-allowed', `#0 ${SWAP_PROGRAM}`],
  ])('out of bounds: %#', (step, rule, value) => {
    expect(judged([step]).denied).toEqual({ rule, value });
  });

  it.each([
    [100n, 98n, true],
    [101n, 98n, false],
    [0n, 1n, true],
  ])('a price of %i for %i holds exactly', (spent, received, allow) => {
    expect(judged([swapStep(spent, received)]).allow).toBe(allow);
  });
});

describe('accounts', () => {
  it.each<[string, readonly string[], string | undefined]>([
    ['as listed', [WALLET, POOL, ata(USDC)], undefined],
    ['and others', [WALLET, POOL, ata(USDC), DESTINATION, SWAP_PROGRAM], undefined],
    ['too few', [WALLET, POOL], 'program-too-few-accounts'],
    ['too many', [WALLET, POOL, ata(USDC), POOL, POOL, POOL], 'program-too-many-accounts'],
    ['another pool', [WALLET, DESTINATION, ata(USDC)], 'program-account-not-allowed'],
    ['another wallet', [DESTINATION, POOL, ata(USDC)], 'program-account-not-allowed'],
    ['a token account of another mint', [WALLET, POOL, ata(MINT)], 'program-account-not-allowed'],
    ['the wallet again, which the rule lists', [WALLET, POOL, ata(USDC), WALLET, ata(USDC)], undefined],
    [
      'a wallet account that the rule does not list',
      [WALLET, POOL, ata(USDC), ata(MINT)],
      'program-wallet-account-exposed',
    ],
  ])('%s', (_, accounts, rule) => {
    expect(judged([swapStep(100n, 100n, accounts)]).denied?.rule).toBe(rule);
  });

  it('of the wallet stay out of rules that do not mention them', () => {
    const step = (accounts: readonly string[]): Step => ({ program: SWAP_PROGRAM, accounts, data: bytes(10) });
    expect(judged([step([POOL])]).allow).toBe(true);
    expect(judged([step([POOL, WALLET])]).denied?.rule).toBe('program-wallet-account-exposed');
    expect(judged([step([ata(MINT)])]).denied?.rule).toBe('program-wallet-account-exposed');
  });
});

describe('several rules', () => {
  it('the first that holds counts', () => {
    const loose: Json = { ...swap, name: 'loose', data: [{ offset: 0, equals: '09' }] };
    expect(judged([swapStep(100n, 100n)], policy([swap, loose])).tokens.get(address(USDC))).toBe(100n);
    expect(judged([swapStep(100n, 100n)], policy([loose, swap])).tokens.size).toBe(0);
  });

  it('the closest explains a denial', () => {
    expect(judged([swapStep(100n, 10n)], policy([cancel, swap])).denied?.rule).toBe('program-price-too-low');
  });
});

describe('warnings', () => {
  it('name what a policy leaves open', () => {
    const noPrice: Json = { ...swap, data: [(swap['data'] as Json[])[1]] };
    const found = policyWarnings(parsePolicy(policy([swap, cancel, { ...noPrice, name: 'no-price' }])));
    expect(found).toEqual([
      { path: 'fees', weakness: 'no-window' },
      { path: 'sol', weakness: 'no-window' },
      { path: 'tokens[0]', weakness: 'no-window' },
      { path: 'tokens[1]', weakness: 'no-window' },
      { path: 'programs[0].program', weakness: 'program-upgradeable' },
      { path: 'programs[0].instructions[1]', weakness: 'rule-counts-nothing' },
      { path: 'programs[0].instructions[2]', weakness: 'rule-bounds-no-price' },
    ]);
  });

  it.each([{ rate: { perMinute: 1, perDay: 1 } }, { fees: { maxLamports: '1', window: { seconds: 1, max: '1' } } }])(
    'do not name fees that %j bounds',
    (bound) => {
      const found = policyWarnings(parsePolicy({ ...simplePolicy(), ...bound }));
      expect(found).toEqual([{ path: 'sol', weakness: 'no-window' }]);
    },
  );

  it('name signals that only the host verifies', () => {
    const { signals } = fullPolicy();
    const found = policyWarnings(parsePolicy({ ...simplePolicy(), signals }, { support: ['signals'] }));
    expect(found).toContainEqual({ path: 'signals.sources[0]', weakness: 'host-verified' });
  });
});
