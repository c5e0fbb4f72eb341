/**
 * What a message must be, beyond being readable. `refuseInvalid` is the runtime's sanitization (solana-message
 * `sanitize`, SIMD-0385 'Transaction Constraints', account locks): such a transaction can never be included.
 * `doubts` lists what the runtime may take although no honest client builds it; a signer refuses it.
 */
import { type ErrorCode, QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import type { Lookup, Message } from './message.ts';

const loadedCount = (lookups: readonly Lookup[]): number =>
  lookups.reduce((sum, lookup) => sum + lookup.writableIndexes.length + lookup.readonlyIndexes.length, 0);

/** @throws QvError transaction_* */
export function refuseInvalid(message: Message): void {
  const { header, accountKeys, instructions, lookups, version } = message;

  // A writable fee payer is the first key, and the signers and readonlys are disjoint ranges of the static keys.
  if (
    header.readonlySigned >= header.requiredSignatures ||
    header.requiredSignatures + header.readonlyUnsigned > accountKeys.length ||
    (version === '1' && header.requiredSignatures > LIMITS.transactionV1Signatures)
  )
    throw new QvError('transaction_header_invalid');

  const keyCount = accountKeys.length + loadedCount(lookups);
  if (keyCount > LIMITS.transactionAccounts)
    throw new QvError('transaction_keys_too_many', { value: String(keyCount) });
  if (new Set(accountKeys).size !== accountKeys.length) throw new QvError('transaction_key_duplicate');

  if (version === '1' && instructions.length > LIMITS.transactionInstructions)
    throw new QvError('transaction_instructions_too_many', { value: String(instructions.length) });
  for (const { programIndex, accountIndexes } of instructions) {
    // A program id from a lookup table is refused by the runtime; the fee payer is never a program.
    if (programIndex === 0 || programIndex >= accountKeys.length)
      throw new QvError('transaction_program_index', { value: String(programIndex) });
    for (const index of accountIndexes)
      if (index >= keyCount) throw new QvError('transaction_account_index', { value: String(index) });
  }

  for (const lookup of lookups)
    if (lookup.writableIndexes.length + lookup.readonlyIndexes.length === 0)
      throw new QvError('transaction_lookup_empty', { value: lookup.table });

  const heap = message.config.heapBytes;
  if (heap !== undefined && !isHeapSize(heap)) throw new QvError('transaction_config_heap', { value: String(heap) });
}

/** A legal heap request, in ComputeBudget instructions and in the version 1 config alike. */
export function isHeapSize(bytes: number): boolean {
  return bytes % 1024 === 0 && bytes >= LIMITS.heapMinBytes && bytes <= LIMITS.heapMaxBytes;
}

/** Codes of everything a strict signer refuses although the runtime may take it; empty for an ordinary message. */
export function doubts(message: Message): readonly ErrorCode[] {
  const { accountKeys, instructions, lookups } = message;
  const used = new Set(instructions.flatMap(({ programIndex, accountIndexes }) => [programIndex, ...accountIndexes]));
  const tables = lookups.map((lookup) => lookup.table);
  const found: [boolean, ErrorCode][] = [
    [message.lifetime.every((byte) => byte === 0), 'transaction_blockhash_zero'],
    [instructions.length === 0, 'transaction_instructions_none'],
    [instructions.length > LIMITS.transactionInstructions, 'transaction_instructions_too_many'],
    // The fee payer is always used. A message without instructions has its own code.
    [
      instructions.length > 0 && accountKeys.some((_, index) => index > 0 && !used.has(index)),
      'transaction_key_unused',
    ],
    [new Set(tables).size !== tables.length, 'transaction_lookup_table_repeated'],
    [tables.some((table) => accountKeys.includes(table)), 'transaction_lookup_table_is_key'],
    [lookups.some(repeatsIndex), 'transaction_lookup_index_repeated'],
  ];
  return found.filter(([applies]) => applies).map(([, code]) => code);
}

function repeatsIndex({ writableIndexes, readonlyIndexes }: Lookup): boolean {
  return new Set([...writableIndexes, ...readonlyIndexes]).size !== writableIndexes.length + readonlyIndexes.length;
}
