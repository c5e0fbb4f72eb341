/**
 * A wallet of the appliance in the shape that wallet adapters and Anchor use: `publicKey`, `signTransaction`,
 * `signAllTransactions`, for both kinds of transactions of @solana/web3.js 1.x.
 *
 * Only types come from web3.js, so that this works with whichever copy of it the application has.
 */
import { address } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { PublicKey, Transaction, VersionedTransaction } from '@solana/web3.js';
import { type AdapterOptions, signMessages } from './wallet-transactions.ts';

export interface Web3WalletOptions extends AdapterOptions {
  /** The wallet's address. */
  readonly publicKey: PublicKey;
}

export interface SigningOptions {
  /** Gives up waiting; the request may be decided anyway. */
  readonly signal?: AbortSignal;
}

export interface Web3Wallet {
  readonly publicKey: PublicKey;
  /**
   * The same object, with the wallet's verified signature in it.
   * @throws QvError as `sign` does; transaction_signer_mismatch when the wallet is not its fee payer and only signer
   */
  signTransaction<T extends Transaction | VersionedTransaction>(transaction: T, options?: SigningOptions): Promise<T>;
  /** The same objects, all of them signed; when it throws, none. @throws QvError as `signBatch` does */
  signAllTransactions<T extends Transaction | VersionedTransaction>(
    transactions: readonly T[],
    options?: SigningOptions,
  ): Promise<T[]>;
}

/** @throws QvError base58_malformed when `publicKey` is none */
export function createWeb3Wallet(options: Web3WalletOptions): Web3Wallet {
  const { publicKey } = options;
  const wallet = address(publicKey.toBase58(), 'publicKey');
  const signAll = async <T extends Transaction | VersionedTransaction>(
    transactions: readonly T[],
    { signal }: SigningOptions = {},
  ): Promise<T[]> => {
    signal?.throwIfAborted();
    const messages = transactions.map((transaction) => messageOf(transaction));
    const signatures = await signMessages(options, wallet, messages, signal);
    for (const [index, transaction] of transactions.entries()) {
      // web3.js types this as Node's Buffer, and copies whatever bytes it gets.
      transaction.addSignature(publicKey, signatures[index] as Uint8Array as Buffer);
    }
    return [...transactions];
  };
  return Object.freeze({
    publicKey,
    signTransaction: async <T extends Transaction | VersionedTransaction>(transaction: T, how?: SigningOptions) => {
      const [signed] = await signAll([transaction], how);
      return signed as T;
    },
    signAllTransactions: signAll,
  });
}

/**
 * The bytes that are signed. A legacy transaction without fee payer or blockhash does not compile: that is web3.js's to
 * say, in its own words.
 */
function messageOf(transaction: Transaction | VersionedTransaction): Uint8Array {
  if ('version' in transaction) return transaction.message.serialize();
  // Legacy transactions are compiled anew each time: a missing fee payer would be taken from signatures.
  if (transaction.feePayer === undefined) throw new QvError('transaction_signer_mismatch', { path: 'feePayer' });
  return Uint8Array.from(transaction.serializeMessage());
}
