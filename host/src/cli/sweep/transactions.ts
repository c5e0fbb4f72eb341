/** The transactions of a sweep: legacy messages of instructions that the judge understands in full. */
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeMessage, type Message } from '@quantumvault/shared/solana/message.ts';
import { associatedTokenAccount } from '@quantumvault/shared/solana/pda.ts';
import {
  ASSOCIATED_TOKEN_PROGRAM,
  COMPUTE_BUDGET_PROGRAM,
  SYSTEM_PROGRAM,
} from '@quantumvault/shared/solana/programs.ts';
import { littleEndianBytes } from '@quantumvault/shared/solana/reader.ts';
import { decodeTransaction, encodeTransaction, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import type { TokenHolding } from './found.ts';

interface Meta {
  readonly address: Address;
  readonly isWritable: boolean;
}

export interface Call {
  readonly program: Address;
  readonly accounts: readonly Meta[];
  readonly data: Uint8Array;
}

const written = (address: Address): Meta => ({ address, isWritable: true });
const read = (address: Address): Meta => ({ address, isWritable: false });
const u64 = (value: bigint): Uint8Array => littleEndianBytes(value, 8);

export const transferSol = (wallet: Address, destination: Address, lamports: bigint): Call => ({
  program: SYSTEM_PROGRAM,
  accounts: [written(wallet), written(destination)],
  data: concatBytes(littleEndianBytes(2n, 4), u64(lamports)),
});

export const transferTokens = (wallet: Address, destination: Address, held: TokenHolding): Call => ({
  program: held.program,
  accounts: [
    written(held.account),
    read(held.mint),
    written(associatedTokenAccount(destination, held.mint, held.program)),
    read(wallet),
  ],
  data: concatBytes(Uint8Array.of(12), u64(held.units), Uint8Array.of(held.decimals)),
});

/** CreateIdempotent: does nothing where it is there already. */
export const createReceiver = (wallet: Address, destination: Address, { mint, program }: TokenHolding): Call => ({
  program: ASSOCIATED_TOKEN_PROGRAM,
  accounts: [
    written(wallet),
    written(associatedTokenAccount(destination, mint, program)),
    read(destination),
    read(mint),
    read(SYSTEM_PROGRAM),
    read(program),
  ],
  data: Uint8Array.of(1),
});

/** What is in it, rent or wrapped SOL, goes to the wallet. */
export const closeAccount = (wallet: Address, { account, program }: TokenHolding): Call => ({
  program,
  accounts: [written(account), written(wallet), read(wallet)],
  data: Uint8Array.of(9),
});

/** More than any instruction of these takes; a transfer of SOL takes 150. */
const UNITS_PER_INSTRUCTION = 60_000;
const MICRO_LAMPORTS = 1_000_000n;

/** So that the priority fee is at most so many lamports. */
export function priority(lamports: bigint, instructions: number): readonly Call[] {
  if (lamports === 0n) return [];
  const units = BigInt(UNITS_PER_INSTRUCTION * instructions);
  const budget = (data: Uint8Array): Call => ({ program: COMPUTE_BUDGET_PROGRAM, accounts: [], data });
  return [
    budget(concatBytes(Uint8Array.of(2), littleEndianBytes(units, 4))),
    budget(concatBytes(Uint8Array.of(3), u64((lamports * MICRO_LAMPORTS) / units))),
  ];
}

/** Base units of the fee: one signature, and what is asked for on top. */
export const feeLamportsOf = (priorityLamports: bigint): bigint =>
  BigInt(LIMITS.lamportsPerSignature) + priorityLamports;

/** With one empty signature slot, read again as the enclave reads it. @throws QvError transaction_* */
export function transactionOf(wallet: Address, calls: readonly Call[], blockhash: Address): Transaction {
  const message = messageOf(wallet, calls, blockhash);
  const messageBytes = encodeMessage(message);
  return decodeTransaction(encodeTransaction({ signatures: [new Uint8Array(64)], messageBytes }));
}

export const wireOf = ({ signatures, messageBytes }: Transaction): Uint8Array =>
  encodeTransaction({ signatures, messageBytes });

/** Keys in the order that the header counts: the wallet, what is written, what is read. */
function messageOf(wallet: Address, calls: readonly Call[], blockhash: Address): Message {
  const metas = calls.flatMap(({ program, accounts }) => [...accounts, read(program)]);
  const others = [...new Set(metas.map(({ address }) => address))].filter((address) => address !== wallet);
  const isWritten = (address: Address): boolean => metas.some((meta) => meta.address === address && meta.isWritable);
  const readonly = others.filter((address) => !isWritten(address));
  const accountKeys = [wallet, ...others.filter(isWritten), ...readonly];
  return {
    version: 'legacy',
    header: { requiredSignatures: 1, readonlySigned: 0, readonlyUnsigned: readonly.length },
    accountKeys,
    lifetime: addressBytes(blockhash),
    instructions: calls.map(({ program, accounts, data }) => ({
      programIndex: accountKeys.indexOf(program),
      accountIndexes: accounts.map(({ address }) => accountKeys.indexOf(address)),
      data,
    })),
    lookups: [],
    config: {},
  };
}
