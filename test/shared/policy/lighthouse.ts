/**
 * Lighthouse for the tests, sharing nothing with the decoder it tests: an encoder of its assertions by name, and what
 * they do on chain. The chain's reading is as generous as the program's own: any assertion, operator, log level and
 * number of them, and trailing bytes.
 */
import { PublicKey } from '@solana/web3.js';
import type { Step } from './messages.ts';

export const LIGHTHOUSE = 'L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95';

/** `[field, value, operator]`; null is an absent option. */
export type Named = readonly [string, (string | number | null)?, string?];

const OPERATORS = ['==', '!=', '>', '<', '>=', '<=', '&', '|'];
/** By the field's number: its name and how its value is written. */
const ACCOUNT_INFO = ['Lamports u64', 'DataLength u64', 'Owner key', 'KnownOwner u8', 'RentEpoch u64'];
const TOKEN_ACCOUNT = [
  'Mint key',
  'Owner key',
  'Amount u64',
  'Delegate option',
  'State u8',
  'IsNative optionU64',
  'DelegatedAmount u64',
  'CloseAuthority option',
  'TokenAccountOwnerIsDerived none',
];
const INSTRUCTIONS: readonly (readonly [number, string, readonly string[]])[] = [
  [5, 'AssertAccountInfo', ACCOUNT_INFO],
  [6, 'AssertAccountInfoMulti', ACCOUNT_INFO],
  [9, 'AssertTokenAccount', TOKEN_ACCOUNT],
  [10, 'AssertTokenAccountMulti', TOKEN_ACCOUNT],
];

function valueBytes(type: string | undefined, value: string | number | null | undefined): number[] {
  const u64 = (): number[] => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(value ?? 0), true);
    return [...new Uint8Array(view.buffer)];
  };
  const key = (): number[] => [...new PublicKey(String(value)).toBytes()];
  if (type === 'u64') return u64();
  if (type === 'u8') return [Number(value)];
  if (type === 'key') return key();
  if (type === 'option') return value === null ? [0] : [1, ...key()];
  if (type === 'optionU64') return value === null ? [0] : [1, ...u64()];
  return [];
}

export function assertionData(instruction: string, assertions: readonly Named[], logLevel = 0): Uint8Array {
  const [tag, , fields] = INSTRUCTIONS.find(([, name]) => name === instruction) ?? [255, '', []];
  const body = assertions.flatMap(([name, value, operator]) => {
    const number = fields.findIndex((field) => field.startsWith(`${name} `));
    const type = fields[number]?.split(' ')[1];
    return [number, ...valueBytes(type, value), ...(type === 'none' ? [] : [OPERATORS.indexOf(operator ?? '')])];
  });
  return Uint8Array.from([tag, logLevel, ...(instruction.endsWith('Multi') ? [assertions.length] : []), ...body]);
}

const step = (account: string, data: Uint8Array): Step => ({ program: LIGHTHOUSE, accounts: [account], data });

export const walletAtMost = (wallet: string, lamports: bigint | string): Step =>
  step(wallet, assertionData('AssertAccountInfo', [['Lamports', String(lamports), '<=']]));
export const walletAtLeast = (wallet: string, lamports: bigint | string): Step =>
  step(
    wallet,
    assertionData('AssertAccountInfoMulti', [
      ['Lamports', String(lamports), '>='],
      ['DataLength', '0', '=='],
      ['KnownOwner', 0, '=='],
    ]),
  );
export const tokensAtMost = (account: string, units: bigint | string): Step =>
  step(account, assertionData('AssertTokenAccount', [['Amount', String(units), '<=']]));
export const tokensAtLeast = (account: string, units: bigint | string, owner: string): Step =>
  step(
    account,
    assertionData('AssertTokenAccountMulti', [
      ['Amount', String(units), '>='],
      ['Owner', owner, '=='],
      ['Delegate', null, '=='],
      ['CloseAuthority', null, '=='],
    ]),
  );

/** An account as Lighthouse sees it: a plain one has lamports, a token account an amount. */
export interface OnChain {
  balance: bigint;
  readonly isToken: boolean;
  /** The field that somebody changed to gain power over it. */
  tampered?: 'KnownOwner' | 'DataLength' | 'Owner' | 'Delegate' | 'CloseAuthority';
}

/**
 * Whether the instruction succeeds on `account`; undefined where it does something else than assert. What it says of
 * other fields than these may hold: the program in between may arrange it.
 */
export function holds(data: Uint8Array, account: OnChain | undefined, wallet: string): boolean | undefined {
  const [tag] = data;
  const [, name, fields] = INSTRUCTIONS.find(([number]) => number === tag) ?? [];
  if (name === undefined || fields === undefined || data.length < 3) return undefined;
  if (account === undefined || (fields === TOKEN_ACCOUNT) !== account.isToken) return false;
  const isMulti = name.endsWith('Multi');
  let at = isMulti ? 3 : 2;
  for (let left = isMulti ? (data[2] ?? 0) : 1; left > 0; left--) {
    const [field, type] = fields[data[at++] ?? 255]?.split(' ') ?? [];
    if (field === undefined) return false;
    if (type === 'none') continue;
    const isOption = type === 'option' || type === 'optionU64';
    const isSome = isOption && data[at] === 1;
    if (isOption) at++;
    const width = { u64: 8, u8: 1, key: 32, option: isSome ? 32 : 0, optionU64: isSome ? 8 : 0 }[type ?? ''] ?? 0;
    const value = data.subarray(at, at + width);
    at += width;
    if (at >= data.length) return false;
    const operator = OPERATORS[data[at++] ?? 255];
    if (operator === undefined) return false;
    if (field === 'Lamports' || field === 'Amount') {
      if (!compares(account.balance, operator, new DataView(Uint8Array.from(value).buffer).getBigUint64(0, true)))
        return false;
    } else if (field === account.tampered && operator === '==') {
      const isUntampered =
        type === 'key' ? new PublicKey(value).toBase58() === wallet : !isSome && value.every((byte) => byte === 0);
      if (isUntampered) return false;
    }
  }
  return true;
}

function compares(actual: bigint, operator: string, value: bigint): boolean {
  if (operator === '==') return actual === value;
  if (operator === '!=') return actual !== value;
  if (operator === '>') return actual > value;
  if (operator === '<') return actual < value;
  if (operator === '>=') return actual >= value;
  if (operator === '<=') return actual <= value;
  return operator === '&' ? (actual & value) === value : (actual & value) === 0n;
}
