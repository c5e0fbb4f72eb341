/**
 * Solana messages of all three versions, byte for byte.
 *
 *   legacy: header[3] keys[compact × 32] blockhash[32] instructions[compact]
 *   0:      0x80, as legacy, then lookups[compact]
 *   1:      0x81 header[3] mask[u32] lifetime[32] instructions[u8] keys[u8], keys, config values, instruction headers
 *           {program u8, accounts u8, data u16}, then per instruction its account indexes and data (SIMD-0385)
 *
 * A message says what will be signed, so the structure here is exactly what the bytes say; `sanitize.ts` then refuses
 * what the runtime would refuse, and what no honest client builds.
 */
import { type Address, addressBytes, addressOf } from '../brands.ts';
import { concatBytes, equalBytes } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { compactU16Bytes, littleEndianBytes, Reader } from './reader.ts';
import { refuseInvalid } from './sanitize.ts';

export type MessageVersion = 'legacy' | '0' | '1';

export interface MessageHeader {
  readonly requiredSignatures: number;
  readonly readonlySigned: number;
  readonly readonlyUnsigned: number;
}

export interface Instruction {
  /** Index into accountKeys: never a loaded key. */
  readonly programIndex: number;
  /** Indexes into accountKeys, then all loaded writables, then all loaded readonlys. */
  readonly accountIndexes: readonly number[];
  readonly data: Uint8Array;
}

export interface Lookup {
  readonly table: Address;
  readonly writableIndexes: readonly number[];
  readonly readonlyIndexes: readonly number[];
}

/** The fee and resource fields of a version 1 message; an absent one has its bit unset in the mask. */
export interface MessageConfig {
  readonly priorityFeeLamports?: bigint;
  readonly computeUnitLimit?: number;
  readonly loadedAccountsBytes?: number;
  readonly heapBytes?: number;
}

export interface Message {
  readonly version: MessageVersion;
  readonly header: MessageHeader;
  readonly accountKeys: readonly Address[];
  /** The recent blockhash: 32 bytes. */
  readonly lifetime: Uint8Array;
  readonly instructions: readonly Instruction[];
  /** Empty unless version 0. */
  readonly lookups: readonly Lookup[];
  /** Empty unless version 1. */
  readonly config: MessageConfig;
}

/** The first byte of a versioned message; a legacy one has a signature count below 128 there. */
const V0_PREFIX = 0x80;
export const V1_PREFIX = 0x81;

const FEE_BITS = 0b11;
const UNITS_BIT = 0b100;
const LOADED_BIT = 0b1000;
const HEAP_BIT = 0b1_0000;
const KNOWN_BITS = 0b1_1111;

/**
 * One message and nothing else.
 * @throws QvError transaction_* for everything the runtime refuses. What it would take and a signer should not
 * (`doubts` in sanitize.ts) is the transaction decoder's to refuse.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes);
  const message = readMessage(reader);
  if (reader.remaining > 0) throw new QvError('transaction_trailing_bytes');
  return message;
}

/** Reads one message, leaving the reader behind it. */
export function readMessage(reader: Reader): Message {
  const start = reader.offset;
  const message = readVersion(reader);
  refuseInvalid(message);
  // Nothing above may read two spellings as one message: what it read must be what it would write.
  if (!equalBytes(encodeMessage(message), reader.bytes.subarray(start, reader.offset)))
    throw new Error('a decoded message does not encode to its own bytes');
  return message;
}

function readVersion(reader: Reader): Message {
  const first = reader.bytes[reader.offset];
  if (first === undefined) throw new QvError('transaction_truncated');
  if (first < 0x80) return readLegacyOr0(reader, 'legacy');
  reader.u8();
  if (first === V0_PREFIX) return readLegacyOr0(reader, '0');
  if (first === V1_PREFIX) return read1(reader);
  throw new QvError('transaction_version_unknown', { value: `0x${first.toString(16)}` });
}

function readLegacyOr0(reader: Reader, version: 'legacy' | '0'): Message {
  const header = readHeader(reader);
  const accountKeys = readMany(reader.compactU16(), () => addressOf(reader.take(32)));
  const lifetime = reader.take(32);
  const instructions = readMany(reader.compactU16(), () => ({
    programIndex: reader.u8(),
    accountIndexes: [...reader.take(reader.compactU16())],
    data: reader.take(reader.compactU16()),
  }));
  const lookups =
    version === 'legacy'
      ? []
      : readMany(reader.compactU16(), () => ({
          table: addressOf(reader.take(32)),
          writableIndexes: [...reader.take(reader.compactU16())],
          readonlyIndexes: [...reader.take(reader.compactU16())],
        }));
  return { version, header, accountKeys, lifetime, instructions, lookups, config: {} };
}

function read1(reader: Reader): Message {
  const header = readHeader(reader);
  const mask = reader.u32();
  const feeBits = mask & FEE_BITS;
  if ((mask & ~KNOWN_BITS) !== 0 || (feeBits !== 0 && feeBits !== FEE_BITS))
    throw new QvError('transaction_config_mask', { value: `0x${mask.toString(16)}` });
  const lifetime = reader.take(32);
  const instructionCount = reader.u8();
  const keyCount = reader.u8();
  const accountKeys = readMany(keyCount, () => addressOf(reader.take(32)));
  const config: MessageConfig = {
    ...(feeBits !== 0 && { priorityFeeLamports: reader.u64() }),
    ...((mask & UNITS_BIT) !== 0 && { computeUnitLimit: reader.u32() }),
    ...((mask & LOADED_BIT) !== 0 && { loadedAccountsBytes: reader.u32() }),
    ...((mask & HEAP_BIT) !== 0 && { heapBytes: reader.u32() }),
  };
  const heads = readMany(instructionCount, () => ({ program: reader.u8(), accounts: reader.u8(), data: reader.u16() }));
  const instructions = heads.map((head) => ({
    programIndex: head.program,
    accountIndexes: [...reader.take(head.accounts)],
    data: reader.take(head.data),
  }));
  return { version: '1', header, accountKeys, lifetime, instructions, lookups: [], config };
}

function readHeader(reader: Reader): MessageHeader {
  return { requiredSignatures: reader.u8(), readonlySigned: reader.u8(), readonlyUnsigned: reader.u8() };
}

/** Counts come from the wire, but every element takes bytes, so a false count ends with the input. */
function readMany<T>(count: number, read: () => T): T[] {
  const items: T[] = [];
  for (let index = 0; index < count; index++) items.push(read());
  return items;
}

/** The exact bytes that are signed. The inverse of decodeMessage for every message it returns. */
export function encodeMessage(message: Message): Uint8Array {
  const { header } = message;
  const head = Uint8Array.of(header.requiredSignatures, header.readonlySigned, header.readonlyUnsigned);
  const keys = message.accountKeys.map(addressBytes);
  if (message.version === '1') return encode1(message, head, keys);
  return concatBytes(
    ...(message.version === '0' ? [Uint8Array.of(V0_PREFIX)] : []),
    head,
    compactU16Bytes(keys.length),
    ...keys,
    message.lifetime,
    compactU16Bytes(message.instructions.length),
    ...message.instructions.flatMap(({ programIndex, accountIndexes, data }) => [
      Uint8Array.of(programIndex),
      withLength(Uint8Array.from(accountIndexes)),
      withLength(data),
    ]),
    ...(message.version === '0' ? [compactU16Bytes(message.lookups.length)] : []),
    ...message.lookups.flatMap(({ table, writableIndexes, readonlyIndexes }) => [
      addressBytes(table),
      withLength(Uint8Array.from(writableIndexes)),
      withLength(Uint8Array.from(readonlyIndexes)),
    ]),
  );
}

function encode1(message: Message, head: Uint8Array, keys: readonly Uint8Array[]): Uint8Array {
  const { config, instructions } = message;
  const values: Uint8Array[] = [];
  let mask = 0;
  const add = (bits: number, value: bigint | number | undefined, width: number): void => {
    if (value === undefined) return;
    mask |= bits;
    values.push(littleEndianBytes(BigInt(value), width));
  };
  add(FEE_BITS, config.priorityFeeLamports, 8);
  add(UNITS_BIT, config.computeUnitLimit, 4);
  add(LOADED_BIT, config.loadedAccountsBytes, 4);
  add(HEAP_BIT, config.heapBytes, 4);
  return concatBytes(
    Uint8Array.of(V1_PREFIX),
    head,
    littleEndianBytes(BigInt(mask), 4),
    message.lifetime,
    Uint8Array.of(instructions.length, keys.length),
    ...keys,
    ...values,
    ...instructions.map(({ programIndex, accountIndexes, data }) =>
      Uint8Array.of(programIndex, accountIndexes.length, data.length & 0xff, data.length >> 8),
    ),
    ...instructions.flatMap(({ accountIndexes, data }) => [Uint8Array.from(accountIndexes), data]),
  );
}

function withLength(bytes: Uint8Array): Uint8Array {
  return concatBytes(compactU16Bytes(bytes.length), bytes);
}
