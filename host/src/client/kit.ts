/**
 * A wallet of the appliance as a signer of @solana/kit: it takes part wherever kit takes a `TransactionPartialSigner`,
 * as the fee payer of a transaction message or in `signTransactionMessageWithSigners`.
 *
 * Only types come from kit, so that this works with whichever copy of it the application has.
 */
import { address } from '@quantumvault/shared/brands.ts';
import type { Address, SignatureBytes, SignatureDictionary, TransactionPartialSigner } from '@solana/kit';
import { type AdapterOptions, signMessages } from './wallet-transactions.ts';

export interface KitSignerOptions<A extends string = string> extends AdapterOptions {
  readonly wallet: Address<A>;
}

/**
 * `signTransactions` gives one dictionary per transaction, in order, each with the wallet's verified signature. All are
 * signed, or it throws. `abortSignal` gives up waiting; the request may be decided anyway.
 * @throws QvError base58_malformed when `wallet` is no address; on signing as `sign` and `signBatch` do, and
 * transaction_signer_mismatch when the wallet is not a transaction's fee payer and only signer
 */
export function createKitSigner<A extends string>(options: KitSignerOptions<A>): TransactionPartialSigner<A> {
  const { wallet } = options;
  const own = address(wallet, 'wallet');
  return Object.freeze({
    address: wallet,
    signTransactions: async (
      transactions: Parameters<TransactionPartialSigner<A>['signTransactions']>[0],
      config?: Parameters<TransactionPartialSigner<A>['signTransactions']>[1],
    ): Promise<readonly SignatureDictionary[]> => {
      config?.abortSignal?.throwIfAborted();
      const messages = transactions.map(({ messageBytes }) => Uint8Array.from(messageBytes));
      const signatures = await signMessages(options, own, messages, config?.abortSignal);
      return signatures.map((signature) =>
        Object.freeze({ [wallet as string]: signature as Uint8Array as SignatureBytes } as SignatureDictionary),
      );
    },
  });
}
