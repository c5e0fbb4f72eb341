/**
 * Wire transactions: signatures and message. Legacy and version 0 put a counted list of signatures first, version 1
 * puts exactly the required ones last (SIMD-0385). Whatever decodes is encoded again to the same bytes.
 */

import type { Hash } from '../brands.ts';
import { concatBytes } from '../bytes.ts';
import { type ErrorCode, QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { sha256 } from '../sha256.ts';
import { type Message, readMessage, V1_PREFIX } from './message.ts';
import { compactU16Bytes, Reader } from './reader.ts';
import { doubts } from './sanitize.ts';

export interface Transaction {
  /** 64 bytes each, all zero where not signed yet; as many as the header requires. */
  readonly signatures: readonly Uint8Array[];
  /** The exact bytes that are signed. */
  readonly messageBytes: Uint8Array;
  readonly message: Message;
}

export interface Inspection {
  readonly transaction: Transaction;
  /** Why a signer refuses a transaction that the runtime may take; empty for an ordinary one. */
  readonly doubts: readonly ErrorCode[];
}

/**
 * One wire transaction that may be signed, and nothing else.
 * @throws QvError transaction_* for everything the runtime refuses, and for everything a strict signer refuses
 */
export function decodeTransaction(wire: Uint8Array): Transaction {
  const inspection = inspectTransaction(wire);
  const [doubt] = inspection.doubts;
  if (doubt !== undefined) throw new QvError(doubt);
  return inspection.transaction;
}

/**
 * For looking at a transaction, never for signing it: what the runtime may take is returned with its doubts.
 * @throws QvError transaction_* for everything the runtime refuses
 */
export function inspectTransaction(wire: Uint8Array): Inspection {
  const first = wire[0];
  if (first === undefined) throw new QvError('transaction_truncated');
  // A count of 128 signatures would not fit, so a high bit there is a version prefix.
  if (first >= 0x80 && first !== V1_PREFIX)
    throw new QvError('transaction_version_unknown', { value: `0x${first.toString(16)}` });
  const limit = first === V1_PREFIX ? LIMITS.transactionV1Bytes : LIMITS.transactionBytes;
  if (wire.length > limit) throw new QvError('transaction_too_large', { value: String(wire.length) });

  const reader = new Reader(wire);
  const transaction = first === V1_PREFIX ? readMessageFirst(reader) : readSignaturesFirst(reader);
  if (reader.remaining > 0) throw new QvError('transaction_trailing_bytes', { value: String(reader.remaining) });
  return { transaction, doubts: doubts(transaction.message) };
}

function readSignaturesFirst(reader: Reader): Transaction {
  const signatures: Uint8Array[] = [];
  const count = reader.compactU16();
  for (let index = 0; index < count; index++) signatures.push(reader.take(64));
  const start = reader.offset;
  if (reader.bytes[start] === V1_PREFIX) throw new QvError('transaction_envelope_mismatch');
  const message = readMessage(reader);
  if (message.header.requiredSignatures !== count)
    throw new QvError('transaction_signature_count', { value: String(count) });
  return { signatures, messageBytes: reader.bytes.slice(start, reader.offset), message };
}

function readMessageFirst(reader: Reader): Transaction {
  const message = readMessage(reader);
  const messageBytes = reader.bytes.slice(0, reader.offset);
  const signatures: Uint8Array[] = [];
  for (let index = 0; index < message.header.requiredSignatures; index++) signatures.push(reader.take(64));
  return { signatures, messageBytes, message };
}

/** The wire form of signatures and the message bytes they sign. The inverse of decodeTransaction. */
export function encodeTransaction({ signatures, messageBytes }: Omit<Transaction, 'message'>): Uint8Array {
  return messageBytes[0] === V1_PREFIX
    ? concatBytes(messageBytes, ...signatures)
    : concatBytes(compactU16Bytes(signatures.length), ...signatures, messageBytes);
}

/** SHA-256 of the bytes that are signed: what receipts name. */
export function messageHash(messageBytes: Uint8Array): Hash {
  return sha256(messageBytes);
}
