/**
 * A transaction as `qv tx decode --json` prints it. Its structure has the names of Solana's own JSON RPC; what every
 * instruction means stands beside it. u64 values are decimal strings.
 */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, addressBytes, signature } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { feeOf } from '@quantumvault/shared/policy/fee.ts';
import { type Argument, type Description, describeInstruction } from '@quantumvault/shared/solana/describe.ts';
import type { Instruction, Message } from '@quantumvault/shared/solana/message.ts';
import { PROGRAM_NAMES } from '@quantumvault/shared/solana/programs.ts';
import { type Inspection, messageHash, type Transaction } from '@quantumvault/shared/solana/transaction.ts';
import { verifyEd25519 } from '../ed25519.ts';

export interface SignatureJson {
  readonly signer: Address;
  /** Base58; null where the slot is all zero: not signed yet. */
  readonly signature: string | null;
  readonly status: 'absent' | 'valid' | 'invalid';
}

export interface AccountJson {
  readonly index: number;
  /** Null for a loaded account: what a lookup table holds is not in the transaction. */
  readonly address: Address | null;
  readonly signer: boolean;
  readonly writable: boolean;
  readonly payer: boolean;
  /** Some instruction calls it. */
  readonly program: boolean;
  readonly name: string | null;
  /** Where a loaded account comes from. */
  readonly lookup: { readonly table: Address; readonly index: number } | null;
}

interface Meaning {
  /** Null where the engine knows no name for it. */
  readonly instruction: string | null;
  readonly arguments: Readonly<Record<string, Argument>>;
  readonly trailingHex?: string;
  readonly truncatedAt?: string;
}

export interface InnerJson extends Meaning {
  readonly accountIndexes: readonly number[];
}

export interface InstructionJson extends Meaning {
  readonly program: Address;
  readonly programName: string | null;
  readonly programIdIndex: number;
  readonly accountIndexes: readonly number[];
  readonly dataHex: string;
  readonly inner?: readonly InnerJson[];
}

export type TransactionJson = ReturnType<typeof transactionJson>;

export function transactionJson({ transaction, doubts }: Inspection) {
  const { message, messageBytes } = transaction;
  const { header, config } = message;
  return {
    version: message.version,
    /** Why a signer refuses what the runtime may take: error codes. */
    doubts,
    messageHash: toHex(messageHash(messageBytes)),
    /** What the policy engine counts against `fees`. */
    fee: feeOf(message).toString(),
    signatures: signaturesJson(transaction),
    header: {
      numRequiredSignatures: header.requiredSignatures,
      numReadonlySigned: header.readonlySigned,
      numReadonlyUnsigned: header.readonlyUnsigned,
    },
    accountKeys: message.accountKeys,
    accounts: accountsJson(message),
    /** Also called lifetime: it may be the value of a durable nonce. */
    recentBlockhash: toBase58(message.lifetime),
    instructions: message.instructions.map((instruction) => instructionJson(message, instruction)),
    addressTableLookups: message.lookups,
    /** Of version 1 only; a field that the transaction leaves unset is null. */
    config:
      message.version === '1'
        ? {
            priorityFeeLamports: config.priorityFeeLamports?.toString() ?? null,
            computeUnitLimit: config.computeUnitLimit ?? null,
            loadedAccountsBytes: config.loadedAccountsBytes ?? null,
            heapBytes: config.heapBytes ?? null,
          }
        : null,
  };
}

function signaturesJson({ signatures, message, messageBytes }: Transaction): readonly SignatureJson[] {
  return message.accountKeys.slice(0, signatures.length).map((signer, index) => {
    const bytes = signatures[index] ?? new Uint8Array(64);
    if (bytes.every((byte) => byte === 0)) return { signer, signature: null, status: 'absent' };
    const isValid = verifyEd25519(signature(bytes), messageBytes, addressBytes(signer));
    return { signer, signature: toBase58(bytes), status: isValid ? 'valid' : 'invalid' };
  });
}

function accountsJson(message: Message): readonly AccountJson[] {
  const { header, accountKeys, lookups } = message;
  const programs = new Set(message.instructions.map(({ programIndex }) => programIndex));
  const { requiredSignatures, readonlySigned, readonlyUnsigned } = header;
  const named = accountKeys.map((address, index) => ({
    index,
    address,
    signer: index < requiredSignatures,
    writable:
      index < requiredSignatures
        ? index < requiredSignatures - readonlySigned
        : index < accountKeys.length - readonlyUnsigned,
    payer: index === 0,
    program: programs.has(index),
    name: PROGRAM_NAMES.get(address) ?? null,
    lookup: null,
  }));
  const loaded = (writable: boolean): Omit<AccountJson, 'index'>[] =>
    lookups.flatMap(({ table, writableIndexes, readonlyIndexes }) =>
      (writable ? writableIndexes : readonlyIndexes).map((index) => ({
        address: null,
        signer: false,
        writable,
        payer: false,
        program: false,
        name: null,
        lookup: { table, index },
      })),
    );
  // All writables of all lookups come before all readonlys.
  const rest = [...loaded(true), ...loaded(false)];
  return [...named, ...rest.map((account, index) => ({ index: accountKeys.length + index, ...account }))];
}

function instructionJson({ accountKeys }: Message, instruction: Instruction): InstructionJson {
  const { programIndex, accountIndexes, data } = instruction;
  const program = accountKeys[programIndex];
  // The decoder has checked every index.
  if (program === undefined) throw new RangeError('program index out of range');
  const description = describeInstruction(program, data);
  const inner = innerJson(description, accountIndexes);
  return {
    program,
    programName: PROGRAM_NAMES.get(program) ?? null,
    ...meaning(description),
    programIdIndex: programIndex,
    accountIndexes,
    dataHex: toHex(data),
    ...(inner && { inner }),
  };
}

/** Inner instructions of a Batch take its accounts in order. */
function innerJson(
  description: Description | undefined,
  accounts: readonly number[],
): readonly InnerJson[] | undefined {
  let used = 0;
  return description?.inner?.map(({ accountCount, description: nested }) => {
    const accountIndexes = accounts.slice(used, used + accountCount);
    used += accountCount;
    return { ...meaning(nested), accountIndexes };
  });
}

function meaning(description: Description | undefined): Meaning {
  if (description === undefined) return { instruction: null, arguments: {} };
  const { name, arguments: values, trailing, truncatedAt } = description;
  return {
    instruction: name,
    arguments: values,
    ...(trailing !== undefined && { trailingHex: trailing }),
    ...(truncatedAt !== undefined && { truncatedAt }),
  };
}
