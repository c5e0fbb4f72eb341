/** One policy with bracketed rules, and the steps that its transactions are made of. */
import { address, timeMs } from '@quantumvault/shared/brands.ts';
import { judge, type Verdict } from '@quantumvault/shared/policy/judge.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import { DESTINATION, type Json, STRANGER, SWAP_PROGRAM, simplePolicy, TOKEN_PROGRAM, USDC, WALLET } from './cases.ts';
import {
  assertionData,
  LIGHTHOUSE,
  type Named,
  tokensAtLeast,
  tokensAtMost,
  walletAtLeast,
  walletAtMost,
} from './lighthouse.ts';
import { bytes, messageOf, type Step, u64 } from './messages.ts';
export const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 500);
export const NOW = timeMs(Date.parse('2026-11-22T12:00:00Z'));
export const WSOL = 'So11111111111111111111111111111111111111112';
export const ATA_PROGRAM = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
export const SYSTEM = '11111111111111111111111111111111';
export const MEMO: Step = { program: 'MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr', accounts: [], data: bytes(0x61) };
export const COMPUTE: Step = {
  program: 'ComputeBudget111111111111111111111111111111',
  accounts: [],
  data: bytes(3, u64(5n)),
};
export const ata = (mint: string, owner = WALLET): string =>
  associatedTokenAccount(address(owner), address(mint), address(TOKEN_PROGRAM));
export const [USDC_ACCOUNT, WSOL_ACCOUNT] = [ata(USDC), ata(WSOL)];

/** Takes the wallet and both token accounts. */
export const route: Json = {
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
export const half: Json = {
  ...route,
  name: 'half',
  data: [{ offset: 0, equals: '0a' }],
  minAccounts: 2,
  maxAccounts: 2,
};
half['accounts'] = (route['accounts'] as Json[]).slice(0, 2);
/** Takes nothing of the wallet, and no bracket. */
export const crank: Json = {
  name: 'crank',
  data: [{ offset: 0, equals: '0b' }],
  accounts: [],
  minAccounts: 0,
  maxAccounts: 2,
};
export const spending: Json = {
  ...route,
  name: 'spending',
  data: [
    { offset: 0, equals: '0c' },
    { offset: 1, type: 'u64', spends: USDC },
  ],
};

export function document(instructions: readonly Json[] = [route, half, crank, spending], most = '1000000'): Json {
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
export const policy = parsePolicy(document());
export const judged = (steps: readonly Step[], by = policy): Verdict =>
  judge(by, messageOf(steps), NOW, { state: NOTHING_SPENT });

export const call = (tag: number, accounts: readonly string[], ...data: Uint8Array[]): Step => ({
  program: SWAP_PROGRAM,
  accounts,
  data: bytes(tag, ...data),
});
export const ROUTE = call(9, [WALLET, USDC_ACCOUNT, WSOL_ACCOUNT, STRANGER]);
export const HALF = call(10, [WALLET, USDC_ACCOUNT]);
export const CRANK = call(11, [STRANGER]);
export const OPENING = [walletAtMost(WALLET, 900n), tokensAtMost(USDC_ACCOUNT, 800n), tokensAtMost(WSOL_ACCOUNT, 70n)];
export const CLOSING = [
  walletAtLeast(WALLET, 850n),
  tokensAtLeast(USDC_ACCOUNT, 500n, WALLET),
  tokensAtLeast(WSOL_ACCOUNT, 100n, WALLET),
];
export const SWAP: readonly Step[] = [...OPENING, ROUTE, ...CLOSING];
export const assertion = (account: string, instruction: string, named: readonly Named[], logLevel?: number): Step => ({
  program: LIGHTHOUSE,
  accounts: [account],
  data: assertionData(instruction, named, logLevel),
});
export const replaced = (steps: readonly Step[], old: Step, by: readonly Step[]): Step[] =>
  steps.flatMap((step) => (step === old ? by : [step]));
