/** What the adapters for kit and web3.js share: one call is one request, and all of it is signed or none. */
import type { Address, Signature } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeMessage } from '@quantumvault/shared/solana/message.ts';
import { encodeTransaction } from '@quantumvault/shared/solana/transaction.ts';
import type { Client } from './client.ts';
import type { Signer } from './keys.ts';

export interface AdapterOptions {
  readonly client: Client;
  readonly requester: Signer;
  /**
   * The request's id for the messages that are to be signed, in order; drawn at random unless given. One that follows
   * from what the caller keeps lets it ask again after a crash: the same id and transactions never count twice.
   */
  readonly requestId?: (messages: readonly Uint8Array[]) => string;
}

/**
 * One signature per message, in order: by /v1/sign for one, by /v1/sign/batch for several.
 * @param messages the bytes that are signed, of any version
 * @throws QvError transaction_* before anything is sent: transaction_signer_mismatch for what this wallet cannot sign
 * alone; field_malformed for more than one batch takes; and as `sign` and `signBatch` do
 */
export async function signMessages(
  { client, requester, requestId }: AdapterOptions,
  wallet: Address,
  messages: readonly Uint8Array[],
  signal: AbortSignal | undefined,
): Promise<readonly Signature[]> {
  if (messages.length === 0) return [];
  const transactions = messages.map((message) => unsigned(message, wallet));
  const bytes = transactions.reduce((sum, { length }) => sum + length, 0);
  if (messages.length > LIMITS.batchTransactions) throw tooMany(`${messages.length} of them`);
  if (messages.length > 1 && bytes > LIMITS.batchTransactionBytes) throw tooMany(`${bytes} bytes`);
  const id = requestId?.(messages);
  const request = { wallet, requester, ...(id !== undefined && { id }), ...(signal && { signal }) };
  const [transaction, ...more] = transactions as [Uint8Array, ...Uint8Array[]];
  const signed =
    more.length === 0
      ? [await client.sign({ ...request, transaction })]
      : await client.signBatch({ ...request, transactions });
  return signed.map(({ signature }) => signature);
}

const tooMany = (value: string): QvError => new QvError('field_malformed', { path: 'transactions', value });

/**
 * A wire transaction with one empty slot.
 * @throws QvError transaction_*
 */
function unsigned(message: Uint8Array, wallet: Address): Uint8Array {
  const { header, accountKeys } = decodeMessage(message);
  // The enclave would deny both, and write that down.
  if (accountKeys[0] !== wallet) throw new QvError('transaction_signer_mismatch', { path: 'feePayer' });
  if (header.requiredSignatures !== 1) throw new QvError('transaction_signer_mismatch', { path: 'signers' });
  return encodeTransaction({ signatures: [new Uint8Array(64)], messageBytes: message });
}
