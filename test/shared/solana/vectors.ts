/** The wire corpus, and what the official decoders read, brought to one shape. */
import { readFileSync } from 'node:fs';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { Message } from '@quantumvault/shared/solana/message.ts';
import { getCompiledTransactionMessageDecoder } from '@solana/kit';
import { VersionedMessage } from '@solana/web3.js';

export interface WireRecord {
  readonly id: string;
  readonly version: 'legacy' | '0' | '1';
  readonly base64: string;
}

export interface MalformedRecord {
  readonly id: string;
  readonly why: string;
  readonly class: 'invalid' | 'suspicious';
  readonly base64: string;
}

interface Corpus {
  readonly transactions: readonly WireRecord[];
  readonly malformed: readonly MalformedRecord[];
}

export const corpus: Corpus = JSON.parse(
  readFileSync(new URL('../../vectors/solana/wire.dev.json', import.meta.url), 'utf8'),
) as Corpus;

export const wireOf = (record: { readonly base64: string }): Uint8Array => fromBase64(record.base64);

/** A message as plain JSON values, so that three decoders can be compared with one toEqual. */
export interface View {
  readonly version: string;
  readonly header: readonly number[];
  readonly keys: readonly string[];
  readonly lifetime: string;
  readonly instructions: readonly { program: number; accounts: readonly number[]; data: string }[];
  readonly lookups: readonly { table: string; writable: readonly number[]; readonly: readonly number[] }[];
  readonly config: readonly string[];
}

export function ourView(message: Message): View {
  const { header, config } = message;
  return {
    version: message.version,
    header: [header.requiredSignatures, header.readonlySigned, header.readonlyUnsigned],
    keys: message.accountKeys,
    lifetime: toBase58(message.lifetime),
    instructions: message.instructions.map(({ programIndex, accountIndexes, data }) => ({
      program: programIndex,
      accounts: accountIndexes,
      data: toHex(data),
    })),
    lookups: message.lookups.map(({ table, writableIndexes, readonlyIndexes }) => ({
      table,
      writable: writableIndexes,
      readonly: readonlyIndexes,
    })),
    config: [config.priorityFeeLamports, config.computeUnitLimit, config.loadedAccountsBytes, config.heapBytes]
      .filter((value) => value !== undefined)
      .map(String),
  };
}

export function kitView(messageBytes: Uint8Array): View {
  const kit = getCompiledTransactionMessageDecoder().decode(messageBytes);
  const { header } = kit;
  const common = {
    version: String(kit.version),
    header: [header.numSignerAccounts, header.numReadonlySignerAccounts, header.numReadonlyNonSignerAccounts],
    keys: kit.staticAccounts,
    lifetime: kit.lifetimeToken ?? '',
  };
  if (kit.version === 1)
    return {
      ...common,
      instructions: kit.instructionHeaders.map((head, index) => ({
        program: head.programAccountIndex,
        accounts: kit.instructionPayloads[index]?.instructionAccountIndices ?? [],
        data: toHex(Uint8Array.from(kit.instructionPayloads[index]?.instructionData ?? [])),
      })),
      lookups: [],
      config: kit.configValues.map(({ value }) => String(value)),
    };
  return {
    ...common,
    instructions: kit.instructions.map((instruction) => ({
      program: instruction.programAddressIndex,
      accounts: instruction.accountIndices ?? [],
      data: toHex(Uint8Array.from(instruction.data ?? [])),
    })),
    lookups: (('addressTableLookups' in kit ? kit.addressTableLookups : undefined) ?? []).map((lookup) => ({
      table: lookup.lookupTableAddress,
      writable: lookup.writableIndexes,
      readonly: lookup.readonlyIndexes,
    })),
    config: [],
  };
}

/** web3.js 1.x knows no version 1. */
export function web3View(messageBytes: Uint8Array): View {
  const message = VersionedMessage.deserialize(messageBytes);
  return {
    version: String(message.version),
    header: [
      message.header.numRequiredSignatures,
      message.header.numReadonlySignedAccounts,
      message.header.numReadonlyUnsignedAccounts,
    ],
    keys: message.staticAccountKeys.map((key) => key.toBase58()),
    lifetime: message.recentBlockhash,
    instructions: message.compiledInstructions.map((instruction) => ({
      program: instruction.programIdIndex,
      accounts: instruction.accountKeyIndexes,
      data: toHex(instruction.data),
    })),
    lookups: message.addressTableLookups.map((lookup) => ({
      table: lookup.accountKey.toBase58(),
      writable: lookup.writableIndexes,
      readonly: lookup.readonlyIndexes,
    })),
    config: [],
  };
}
