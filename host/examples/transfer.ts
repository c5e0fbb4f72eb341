/** The transaction that the examples have signed: a System transfer, by web3.js. */
import { PublicKey, SystemProgram, Transaction } from '@solana/web3.js';

/** No cluster takes it, because its blockhash is made up; an application asks its RPC node for a recent one. */
export function transferTransaction(from: string, to: string, lamports: bigint): Transaction {
  const recentBlockhash = new PublicKey(crypto.getRandomValues(new Uint8Array(32))).toBase58();
  const fromPubkey = new PublicKey(from);
  return new Transaction({ feePayer: fromPubkey, recentBlockhash }).add(
    SystemProgram.transfer({ fromPubkey, toPubkey: new PublicKey(to), lamports }),
  );
}
