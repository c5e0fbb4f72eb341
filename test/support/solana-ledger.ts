/** What accounts on Solana hold, and what the System, Token and Associated Token programs do with them; for tests. */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, address, addressBytes } from '@quantumvault/shared/brands.ts';
import {
  type AccountMeta,
  ComputeBudgetInstruction,
  PublicKey,
  SystemInstruction,
  type Transaction,
  type TransactionInstruction,
} from '@solana/web3.js';

export const SYSTEM = '11111111111111111111111111111111';
const BUDGET = 'ComputeBudget111111111111111111111111111111';
const ASSOCIATED = 'ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL';
export const TOKEN = address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA');
export const TOKEN_2022 = address('TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb');
export const WRAPPED = address('So11111111111111111111111111111111111111112');
export const TOKEN_RENT = 2_039_280n;
export const WALLET_RENT = 890_880n;

export interface Account {
  readonly lamports: bigint;
  readonly owner: string;
  readonly data: Uint8Array;
  readonly executable?: boolean;
}

export interface TokenFacts {
  readonly mint: Address;
  readonly owner: Address;
  readonly units: bigint;
  readonly program?: Address;
  readonly isFrozen?: boolean;
  readonly isNative?: boolean;
  readonly closeAuthority?: Address;
  readonly extensions?: readonly number[];
}

const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};
const some = (key: Address | undefined): Buffer =>
  key === undefined ? Buffer.alloc(36) : Buffer.concat([Buffer.from([1, 0, 0, 0]), addressBytes(key)]);
const extended = (base: Buffer, kind: number, extensions: readonly number[] | undefined): Uint8Array =>
  extensions === undefined
    ? Uint8Array.from(base)
    : Uint8Array.from(
        Buffer.concat([
          base,
          Buffer.alloc(165 - base.length),
          Buffer.from([kind]),
          ...extensions.map((type) => Buffer.from([type & 0xff, type >> 8, 2, 0, 7, 7])),
        ]),
      );

/** As SPL Token and Token-2022 lay it out. */
export function tokenBytes(facts: TokenFacts): Uint8Array {
  const base = Buffer.concat([
    addressBytes(facts.mint),
    addressBytes(facts.owner),
    u64(facts.units),
    some(undefined),
    Buffer.from([facts.isFrozen === true ? 2 : 1]),
    Buffer.from([facts.isNative === true ? 1 : 0, 0, 0, 0]),
    u64(facts.isNative === true ? TOKEN_RENT : 0n),
    u64(0n),
    some(facts.closeAuthority),
  ]);
  return extended(base, 2, facts.extensions);
}

export function mintBytes(decimals: number, extensions?: readonly number[]): Uint8Array {
  const base = Buffer.concat([some(undefined), u64(10n ** 15n), Buffer.from([decimals, 1]), some(undefined)]);
  return extended(base, 1, extensions);
}

export function ataOf(owner: Address, mint: Address, program: Address = TOKEN): Address {
  const seeds = [owner, program, mint].map((seed) => addressBytes(seed));
  return address(PublicKey.findProgramAddressSync(seeds, new PublicKey(ASSOCIATED))[0].toBase58());
}

/** Why the programs would refuse. */
export class Refused extends Error {}
export const need: (condition: boolean, why: string) => asserts condition = (condition, why) => {
  if (!condition) throw new Refused(why);
};

export function priorityOf({ instructions }: Transaction): bigint {
  let [price, units] = [0n, 0n];
  for (const instruction of instructions.filter(({ programId }) => programId.toBase58() === BUDGET)) {
    const kind = ComputeBudgetInstruction.decodeInstructionType(instruction);
    if (kind === 'SetComputeUnitLimit')
      units = BigInt(ComputeBudgetInstruction.decodeSetComputeUnitLimit(instruction).units);
    if (kind === 'SetComputeUnitPrice')
      price = BigInt(ComputeBudgetInstruction.decodeSetComputeUnitPrice(instruction).microLamports);
  }
  return (price * units + 999_999n) / 1_000_000n;
}

export function move(accounts: Map<string, Account>, from: string, to: string | undefined, lamports: bigint): void {
  const source = accounts.get(from);
  need(source !== undefined && source.lamports >= lamports, 'insufficient lamports');
  accounts.set(from, { ...source, lamports: source.lamports - lamports });
  // An account without lamports is gone.
  if (source.lamports === lamports) accounts.delete(from);
  if (to === undefined) return;
  const target = accounts.get(to) ?? { lamports: 0n, owner: SYSTEM, data: new Uint8Array() };
  accounts.set(to, { ...target, lamports: target.lamports + lamports });
}

export function run(accounts: Map<string, Account>, instruction: TransactionInstruction): void {
  const keys = instruction.keys.map(({ pubkey }) => pubkey.toBase58());
  switch (instruction.programId.toBase58()) {
    case BUDGET:
      return;
    case SYSTEM: {
      const { fromPubkey, toPubkey, lamports } = SystemInstruction.decodeTransfer(instruction);
      need(instruction.keys[0]?.isSigner === true, 'missing signature');
      move(accounts, fromPubkey.toBase58(), toPubkey.toBase58(), BigInt(lamports));
      return;
    }
    case ASSOCIATED:
      create(accounts, instruction, keys);
      return;
    case TOKEN:
    case TOKEN_2022:
      runToken(accounts, instruction.programId.toBase58(), instruction, keys);
      return;
    default:
      throw new Refused('unknown program');
  }
}

function create(accounts: Map<string, Account>, { data }: TransactionInstruction, keys: readonly string[]): void {
  const [payer = '', account = '', owner = '', mint = '', , program = ''] = keys;
  need(data[0] === 1, 'not CreateIdempotent');
  need(account === ataOf(address(owner), address(mint), address(program)), 'InvalidSeeds');
  if ((accounts.get(account)?.data.length ?? 0) > 0) return;
  move(accounts, payer, account, TOKEN_RENT);
  const facts = { mint: address(mint), owner: address(owner), units: 0n };
  accounts.set(account, { lamports: TOKEN_RENT, owner: program, data: tokenBytes(facts) });
}

function runToken(
  accounts: Map<string, Account>,
  program: string,
  { data, keys: metas }: TransactionInstruction,
  keys: readonly string[],
): void {
  const isSigner = (index: number): boolean => (metas[index] as AccountMeta | undefined)?.isSigner === true;
  const bytesOf = (key: string | undefined): Buffer => {
    const account = accounts.get(key ?? '');
    need(account?.owner === program, 'IncorrectProgramId');
    return Buffer.from(account.data);
  };
  const keep = (key: string, bytes: Buffer): void => {
    const account = accounts.get(key) as Account;
    accounts.set(key, { ...account, data: Uint8Array.from(bytes) });
  };
  if (data[0] === 12) {
    const [source = '', mint = '', target = '', authority = ''] = keys;
    const [from, kind, to] = [bytesOf(source), bytesOf(mint), bytesOf(target)];
    const units = data.readBigUInt64LE(1);
    need(kind[44] === data[9], 'MintDecimalsMismatch');
    need(toBase58(from.subarray(0, 32)) === mint && toBase58(to.subarray(0, 32)) === mint, 'MintMismatch');
    need(from[108] === 1 && to[108] === 1, 'AccountFrozen');
    need(toBase58(from.subarray(32, 64)) === authority && isSigner(3), 'OwnerMismatch');
    need(from.readBigUInt64LE(64) >= units, 'InsufficientFunds');
    from.writeBigUInt64LE(from.readBigUInt64LE(64) - units, 64);
    to.writeBigUInt64LE(to.readBigUInt64LE(64) + units, 64);
    keep(source, from);
    keep(target, to);
    return;
  }
  need(data[0] === 9, 'unknown token instruction');
  const [account = '', target = '', authority = ''] = keys;
  const bytes = bytesOf(account);
  const isNative = bytes[109] === 1;
  need(isNative || bytes.readBigUInt64LE(64) === 0n, 'NonNativeHasBalance');
  const closer = bytes[129] === 1 ? bytes.subarray(133, 165) : bytes.subarray(32, 64);
  need(toBase58(closer) === authority && isSigner(2), 'OwnerMismatch');
  move(accounts, account, target, accounts.get(account)?.lamports ?? 0n);
}
