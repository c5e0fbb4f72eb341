/** The wire corpus: what is accepted is what kit and web3.js read, byte for byte; what is malformed has its code. */

import { createHash } from 'node:crypto';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeMessage, encodeMessage } from '@quantumvault/shared/solana/message.ts';
import {
  decodeTransaction,
  encodeTransaction,
  inspectTransaction,
  messageHash,
} from '@quantumvault/shared/solana/transaction.ts';
import { getTransactionDecoder } from '@solana/kit';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { corpus, kitView, ourView, web3View, wireOf } from './vectors.ts';

const codeFrom = (action: () => unknown): string | undefined => refusalOf(action)?.code;

describe('accepted transactions', () => {
  it.each(corpus.transactions)('$id', (record) => {
    const wire = wireOf(record);
    const { transaction } = inspectTransaction(wire);
    expect(transaction.message.version).toBe(record.version);
    expect(encodeTransaction(transaction)).toEqual(wire);
    expect(encodeMessage(transaction.message)).toEqual(transaction.messageBytes);
    expect(decodeMessage(transaction.messageBytes)).toEqual(transaction.message);

    const kit = getTransactionDecoder().decode(wire);
    expect(transaction.messageBytes).toEqual(Uint8Array.from(kit.messageBytes));
    const kitSignatures = Object.values(kit.signatures).map((signature) =>
      Uint8Array.from(signature ?? new Uint8Array(64)),
    );
    expect(transaction.signatures).toEqual(kitSignatures);
    expect(ourView(transaction.message)).toEqual(kitView(transaction.messageBytes));
    if (record.version !== '1') expect(ourView(transaction.message)).toEqual(web3View(transaction.messageBytes));
  });

  it('keeps its signer away from placeholders among them', () => {
    const refused = corpus.transactions.flatMap((record) => inspectTransaction(wireOf(record)).doubts);
    expect(new Set(refused)).toEqual(new Set(['transaction_blockhash_zero', 'transaction_instructions_none']));
  });

  it('hashes the signed bytes', () => {
    const [record] = corpus.transactions;
    const { messageBytes } = decodeTransaction(wireOf(record ?? { base64: '' }));
    expect(messageHash(messageBytes)).toEqual(Uint8Array.from(createHash('sha256').update(messageBytes).digest()));
  });
});

/** By the start of the record's id; the longest one counts. */
const EXPECTED_CODES: Readonly<Record<string, string>> = {
  'mal-truncated': 'transaction_truncated',
  'mal-trailing': 'transaction_trailing_bytes',
  'mal-compact': 'transaction_length_not_minimal',
  // The second byte of what is then a version 1 header requires no signature.
  'mal-compact-02': 'transaction_header_invalid',
  'mal-compact-14': 'transaction_length_overflow',
  'mal-compact-16': 'transaction_length_overflow',
  'mal-compact-18': 'transaction_truncated',
  'mal-compact-20': 'transaction_truncated',
  'mal-compact-22': 'transaction_truncated',
  'mal-compact-24': 'transaction_truncated',
  'mal-dup-key': 'transaction_key_duplicate',
  'mal-program-index': 'transaction_program_index',
  'mal-account-index': 'transaction_account_index',
  'mal-header': 'transaction_header_invalid',
  'mal-signature-count': 'transaction_signature_count',
  'mal-signature-count-05': 'transaction_truncated',
  'mal-version': 'transaction_version_unknown',
  'mal-version-12': 'transaction_header_invalid',
  'mal-v1-mask': 'transaction_config_mask',
  // The config value is read as an instruction header.
  'mal-v1-mask-11': 'transaction_program_index',
  'mal-v1-heap': 'transaction_config_heap',
  'mal-v1-limits-01': 'transaction_instructions_too_many',
  'mal-v1-limits-03': 'transaction_account_index',
  'mal-v1-limits-05': 'transaction_program_index',
  'mal-v1-limits-07': 'transaction_truncated',
  'mal-oversize': 'transaction_too_large',
  'mal-lookup-01': 'transaction_lookup_empty',
  'mal-lookup-03': 'transaction_lookup_table_repeated',
  'mal-lookup-05': 'transaction_lookup_index_repeated',
  'mal-lookup-07': 'transaction_lookup_table_is_key',
  'mal-lookup-09': 'transaction_keys_too_many',
  'mal-empty': 'transaction_instructions_none',
  'mal-unused-key': 'transaction_key_unused',
  'mal-zero-blockhash': 'transaction_blockhash_zero',
  'mal-many-instructions': 'transaction_instructions_too_many',
  'mal-garbage': 'transaction_version_unknown',
};

describe('malformed transactions', () => {
  it.each(corpus.malformed)('$id: $why', (record) => {
    const [key] = Object.keys(EXPECTED_CODES)
      .filter((prefix) => record.id.startsWith(prefix))
      .sort((a, b) => b.length - a.length);
    expect(codeFrom(() => decodeTransaction(wireOf(record)))).toBe(EXPECTED_CODES[key ?? '']);
    // Looking is allowed exactly where the runtime may take it.
    const looked = codeFrom(() => inspectTransaction(wireOf(record)));
    expect(looked === undefined).toBe(record.class === 'suspicious');
  });

  it('refuses a version 1 message in the old envelope', () => {
    const v1 = corpus.transactions.find((record) => record.version === '1');
    const { messageBytes } = decodeTransaction(wireOf(v1 ?? { base64: '' }));
    const wire = Uint8Array.of(1, ...new Uint8Array(64), ...messageBytes);
    expect(codeFrom(() => decodeTransaction(wire))).toBe('transaction_envelope_mismatch');
  });

  it.each([
    ['legacy', LIMITS.transactionBytes],
    ['1', LIMITS.transactionV1Bytes],
  ])('takes version %s up to %i bytes', (version, most) => {
    const record = corpus.transactions.find((candidate) => candidate.version === version);
    const { signatures, message } = decodeTransaction(wireOf(record ?? { base64: '' }));
    const [first, ...rest] = message.instructions;
    if (first === undefined) throw new Error('no instruction');
    const withData = (length: number): Uint8Array => {
      const instructions = [{ ...first, data: new Uint8Array(length) }, ...rest];
      return encodeTransaction({ signatures, messageBytes: encodeMessage({ ...message, instructions }) });
    };
    // From 128 bytes on, a compact length takes two bytes whatever it says.
    const length = most - withData(300).length + 300;
    expect(withData(length)).toHaveLength(most);
    expect(codeFrom(() => decodeTransaction(withData(length)))).toBeUndefined();
    expect(codeFrom(() => decodeTransaction(withData(length + 1)))).toBe('transaction_too_large');
  });

  it('refuses an empty input, and a message with bytes behind it', () => {
    expect(codeFrom(() => decodeTransaction(new Uint8Array(0)))).toBe('transaction_truncated');
    expect(codeFrom(() => decodeMessage(new Uint8Array(0)))).toBe('transaction_truncated');
    const [record] = corpus.transactions;
    const { messageBytes } = decodeTransaction(wireOf(record ?? { base64: '' }));
    expect(codeFrom(() => decodeMessage(Uint8Array.of(...messageBytes, 0)))).toBe('transaction_trailing_bytes');
  });
});
