/** One instruction at a time: what each is denied for, and what it counts. */
import { address, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  MEMO_PROGRAM,
  SYSTEM_PROGRAM,
  TOKEN_2022_PROGRAM,
  TOKEN_PROGRAM,
  WRAPPED_SOL_MINT,
} from '@quantumvault/shared/solana/programs.ts';
import { describe, expect, it } from 'vitest';
import { DESTINATION, type Json, STRANGER, SWAP_PROGRAM, simplePolicy, USDC, WALLET } from './cases.ts';
import { bytes, messageOf, type Step, systemTransfer, u64 } from './messages.ts';

const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
const MINT_2022 = '2b1kV6DkPAnxd5ixfnxCpjxmKwqjjaYmCZfHsFu24GXo';
const ata = (owner: string, mint: string, program: string = TOKEN_PROGRAM): string =>
  associatedTokenAccount(address(owner), address(mint), address(program));

const token = (mint: string, tokenProgram: string, decimals: number): Json => ({
  mint,
  tokenProgram,
  decimals,
  maxPerTransaction: '1000',
  destinations: [DESTINATION],
});

const policyWith = (changes: Json = {}): Json => ({
  ...simplePolicy(),
  tokens: [
    token(USDC, TOKEN_PROGRAM, 6),
    token(MINT_2022, TOKEN_2022_PROGRAM, 6),
    token(WRAPPED_SOL_MINT, TOKEN_PROGRAM, 9),
  ],
  ...changes,
});

const judged = (steps: readonly Step[], changes: Json = {}): Verdict =>
  judge(parsePolicy(policyWith(changes)), messageOf(steps), NOW);

const step = (program: string, accounts: readonly string[], ...data: (number | string | Uint8Array)[]): Step => ({
  program,
  accounts,
  data: bytes(...data),
});

const transferChecked = (units: bigint, to = ata(DESTINATION, USDC), more: readonly string[] = []): Step =>
  step(TOKEN_PROGRAM, [ata(WALLET, USDC), USDC, to, WALLET, ...more], 12, u64(units), 6);
const createAta = (owner: string, mint = USDC, program: string = TOKEN_PROGRAM, tag: readonly number[] = [1]): Step =>
  step(ASSOCIATED_TOKEN_PROGRAM, [WALLET, ata(owner, mint, program), owner, mint, SYSTEM_PROGRAM, program], ...tag);
const batch = (accounts: readonly string[], ...data: (number | Uint8Array)[]): Step =>
  step(TOKEN_PROGRAM, accounts, 255, ...data);

const DENIED: readonly [string, Step, string][] = [
  ['System data of three bytes', step(SYSTEM_PROGRAM, [WALLET, DESTINATION], 2, 0, 0), 'unknown-instruction'],
  ['System Transfer cut short', step(SYSTEM_PROGRAM, [WALLET, DESTINATION], 2, 0, 0, 0, 1), 'non-canonical-data'],
  [
    'System Transfer with three accounts',
    step(SYSTEM_PROGRAM, [WALLET, DESTINATION, WALLET], 2, 0, 0, 0, u64(1n)),
    'unexpected-accounts',
  ],
  [
    'System CreateAccountAllowPrefund',
    step(SYSTEM_PROGRAM, [WALLET, STRANGER], 13, 0, 0, 0, u64(5n)),
    'create-account',
  ],
  ['System Allocate', step(SYSTEM_PROGRAM, [WALLET], 8, 0, 0, 0, u64(5n)), 'allocate'],
  ['System AuthorizeNonce', step(SYSTEM_PROGRAM, [STRANGER, WALLET], 7, 0, 0, 0), 'nonce-authorize'],
  ['System UpgradeNonce', step(SYSTEM_PROGRAM, [STRANGER], 12, 0, 0, 0), 'nonce-upgrade'],
  ['ComputeBudget with an account', step(COMPUTE_BUDGET_PROGRAM, [WALLET], 2, 1, 0, 0, 0), 'unexpected-accounts'],
  ['ComputeBudget with a heap out of range', step(COMPUTE_BUDGET_PROGRAM, [], 1, 0, 4, 0, 0), 'non-canonical-data'],
  ['ComputeBudget loading nothing', step(COMPUTE_BUDGET_PROGRAM, [], 4, 0, 0, 0, 0), 'non-canonical-data'],
  ['Memo that is no text', step(MEMO_PROGRAM, [], 0xff), 'non-canonical-data'],
  ['Memo naming a stranger', step(MEMO_PROGRAM, [STRANGER], 0x61), 'memo-other-account'],
  ['Token without data', step(TOKEN_PROGRAM, [WALLET]), 'unknown-instruction'],
  ['Token TransferChecked with a fifth account', transferChecked(1n, undefined, [STRANGER]), 'unexpected-accounts'],
  ['Token TransferChecked to the owner itself', transferChecked(1n, DESTINATION), 'token-destination-not-allowed'],
  ['Token Revoke', step(TOKEN_PROGRAM, [ata(WALLET, USDC), WALLET], 5), 'revoke'],
  ['Token CloseAccount without its owner', step(TOKEN_PROGRAM, [ata(WALLET, USDC), WALLET], 9), 'missing-accounts'],
  [
    'Token CloseAccount of another owner',
    step(TOKEN_PROGRAM, [ata(WALLET, USDC), WALLET, STRANGER], 9),
    'authority-not-wallet',
  ],
  [
    'Token CloseAccount with multisig signers',
    step(TOKEN_PROGRAM, [ata(WALLET, USDC), WALLET, WALLET, STRANGER], 9),
    'unexpected-accounts',
  ],
  [
    'Token CloseAccount with trailing data',
    step(TOKEN_PROGRAM, [ata(WALLET, USDC), WALLET, WALLET], 9, 0),
    'non-canonical-data',
  ],
  ['Token SyncNative of a stranger', step(TOKEN_PROGRAM, [STRANGER], 17), 'sync-native-not-own'],
  [
    'Token SyncNative with two accounts',
    step(TOKEN_PROGRAM, [ata(WALLET, WRAPPED_SOL_MINT), STRANGER], 17),
    'unexpected-accounts',
  ],
  ['Token-2022 SyncNative', step(TOKEN_2022_PROGRAM, [ata(WALLET, WRAPPED_SOL_MINT)], 17), 'sync-native-not-own'],
  [
    'Token-2022 TransferCheckedWithFee',
    step(TOKEN_2022_PROGRAM, [ata(WALLET, MINT_2022), MINT_2022], 26, 1),
    'token-2022-extension',
  ],
  ['SPL Token with a tag of Token-2022', step(TOKEN_PROGRAM, [WALLET], 26, 1), 'unknown-instruction'],
  ['Batch that names more accounts than it has', batch([STRANGER], 4, 10, bytes(12, u64(1n), 6)), 'malformed-batch'],
  ['Batch with accounts left over', batch([ata(WALLET, WRAPPED_SOL_MINT), STRANGER], 1, 1, 17), 'malformed-batch'],
  ['Batch with half a head', batch([], 0), 'malformed-batch'],
  ['Batch with data beyond its end', batch([], 0, 2, 17), 'malformed-batch'],
  ['Associated Token RecoverNested', createAta(WALLET, USDC, TOKEN_PROGRAM, [2]), 'recover-nested'],
  ['Associated Token with trailing data', createAta(WALLET, USDC, TOKEN_PROGRAM, [1, 0]), 'non-canonical-data'],
  ['Associated Token for a stranger', createAta(STRANGER), 'token-destination-not-allowed'],
  ['Associated Token under Token-2022', createAta(WALLET, MINT_2022, TOKEN_2022_PROGRAM), 'token-2022-rent-unknown'],
  ['Associated Token under the wrong program', createAta(WALLET, USDC, TOKEN_2022_PROGRAM), 'wrong-token-program'],
  [
    'Associated Token paid by a stranger',
    { ...createAta(WALLET), accounts: [STRANGER, ...createAta(WALLET).accounts.slice(1)] },
    'authority-not-wallet',
  ],
  [
    'Associated Token without its programs',
    { ...createAta(WALLET), accounts: createAta(WALLET).accounts.slice(0, 4) },
    'missing-accounts',
  ],
  [
    'Associated Token with the rent sysvar',
    { ...createAta(WALLET), accounts: [...createAta(WALLET).accounts, STRANGER] },
    'unexpected-accounts',
  ],
  [
    'Associated Token with another System program',
    {
      ...createAta(WALLET),
      accounts: createAta(WALLET).accounts.map((key) => (key === SYSTEM_PROGRAM ? STRANGER : key)),
    },
    'unexpected-accounts',
  ],
  ['a program without a rule', step(SWAP_PROGRAM, [WALLET], 9), 'program-not-allowed'],
];

describe('denied instructions', () => {
  it.each(DENIED)('%s', (_, one, rule) => {
    expect(judged([systemTransfer(1n, DESTINATION), one]).denied?.rule).toBe(rule);
  });

  it('show what they would move', () => {
    const unwrap = step(TOKEN_PROGRAM, [ata(WALLET, WRAPPED_SOL_MINT), STRANGER, WALLET], 45, 1, u64(77n));
    expect(judged([unwrap])).toMatchObject({
      denied: { rule: 'unwrap-lamports', value: '#0 Token 77' },
      lamportsOut: 77n,
    });
    const burn = step(TOKEN_PROGRAM, [ata(WALLET, USDC), USDC, WALLET], 8, u64(5n));
    expect(judged([burn]).tokens.get(address(USDC))).toBe(5n);
    const seeded = step(
      SYSTEM_PROGRAM,
      [WALLET, STRANGER],
      3,
      0,
      0,
      0,
      new Uint8Array(32),
      u64(2n),
      0x61,
      0x62,
      u64(9n),
    );
    expect(judged([seeded]).lamportsOut).toBe(9n);
    const lying = step(SYSTEM_PROGRAM, [WALLET, STRANGER], 3, 0, 0, 0, new Uint8Array(32), u64(2n ** 64n - 1n));
    expect(judged([lying]).lamportsOut).toBe(0n);
  });
});

describe('allowed instructions', () => {
  it.each<[string, readonly Step[], bigint, bigint]>([
    ['a transfer of SOL', [systemTransfer(7n, DESTINATION)], 7n, 0n],
    ['a transfer of tokens', [transferChecked(1000n)], 0n, 1000n],
    ['several, in sum', [transferChecked(400n), systemTransfer(1n, DESTINATION), transferChecked(600n)], 1n, 1000n],
    [
      'a Batch',
      [batch([...transferChecked(1n).accounts, ata(WALLET, WRAPPED_SOL_MINT)], 4, 10, bytes(12, u64(3n), 6), 1, 1, 17)],
      0n,
      3n,
    ],
    ['creating an account for a destination', [createAta(DESTINATION)], 2_039_280n, 0n],
    ['wrapping', [systemTransfer(5n, ata(WALLET, WRAPPED_SOL_MINT))], 5n, 0n],
  ])('%s', (_, steps, lamportsOut, units) => {
    const verdict = judged(steps);
    expect(verdict.denied).toBeUndefined();
    expect(verdict.lamportsOut).toBe(lamportsOut);
    expect(verdict.tokens.get(address(USDC)) ?? 0n).toBe(units);
  });

  it('wrapping only where the policy lists wrapped SOL', () => {
    const wrap = systemTransfer(5n, ata(WALLET, WRAPPED_SOL_MINT));
    expect(judged([wrap], { tokens: [token(USDC, TOKEN_PROGRAM, 6)] }).denied?.rule).toBe('sol.destinations');
    // No account of that mint exists under Token-2022, so none is the wallet's.
    const other = systemTransfer(5n, ata(WALLET, WRAPPED_SOL_MINT, TOKEN_2022_PROGRAM));
    const tokens = [token(WRAPPED_SOL_MINT, TOKEN_2022_PROGRAM, 9)];
    expect(judged([other], { tokens }).denied?.rule).toBe('sol.destinations');
  });
});

describe('the fee', () => {
  const price = step(COMPUTE_BUDGET_PROGRAM, [], 3, u64(1_000_000n));
  const units = (count: number): Step =>
    step(COMPUTE_BUDGET_PROGRAM, [], 2, count & 0xff, (count >> 8) & 0xff, (count >> 16) & 0xff, count >> 24);
  it.each<[string, readonly Step[], bigint]>([
    ['without a price', [units(1_000_000)], 5000n],
    ['of requested units', [price, units(7)], 5007n],
    ['of no units', [price, units(0)], 5000n],
    ['of more units than there are', [price, units(2_000_000)], 1_405_000n],
    // ComputeBudget and System take 3,000 each, anything else 200,000, all of it 1,400,000 at most.
    ['of default units', [price], 11_000n],
    ['of default units with a memo', [price, step(MEMO_PROGRAM, [], 0x61)], 211_000n],
    ['of many default units', [price, ...Array(8).fill(step(MEMO_PROGRAM, [], 0x61))], 1_405_000n],
  ])('%s', (_, steps, fee) => {
    expect(judged([systemTransfer(1n, DESTINATION), ...steps]).feeLamports).toBe(fee);
  });
});

describe('validity', () => {
  const judgedAt = (now: string): string | undefined =>
    judge(parsePolicy(policyWith()), messageOf([systemTransfer(1n, DESTINATION)]), timeMs(Date.parse(now))).denied
      ?.rule;
  it.each([
    ['2026-10-31T23:59:59.999Z', 'validFrom'],
    ['2026-11-01T00:00:00Z', undefined],
    ['2026-12-30T23:59:59.999Z', undefined],
    ['2026-12-31T00:00:00Z', 'validUntil'],
  ])('at %s', (now, rule) => {
    expect(judgedAt(now)).toBe(rule);
  });
});

describe('the message', () => {
  it('cannot resolve a key to nothing', () => {
    const message = messageOf([systemTransfer(1n, DESTINATION)]);
    const broken = { ...message, instructions: [{ programIndex: 9, accountIndexes: [], data: new Uint8Array() }] };
    expect(() => judge(parsePolicy(policyWith()), broken, NOW)).toThrow(RangeError);
  });
});
