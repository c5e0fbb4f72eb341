/**
 * The wallet in the shape of a wallet adapter, for code around @solana/web3.js: a versioned and two legacy transactions.
 * `node host/examples/web3.ts <client.json> [lamports]`
 */
import { PublicKey, SystemProgram, TransactionMessage, VersionedTransaction } from '@solana/web3.js';
import { createWeb3Wallet } from '../src/client/web3.ts';
import { readSettings, run } from './settings.ts';
import { transferTransaction } from './transfer.ts';

const { client, requester, wallet: address, destination } = readSettings();
const wallet = createWeb3Wallet({ client, requester, publicKey: new PublicKey(address) });
const lamports = BigInt(process.argv[3] ?? '1000000');

await run(async () => {
  const versioned = new VersionedTransaction(
    new TransactionMessage({
      payerKey: wallet.publicKey,
      recentBlockhash: new PublicKey(crypto.getRandomValues(new Uint8Array(32))).toBase58(),
      instructions: [
        SystemProgram.transfer({ fromPubkey: wallet.publicKey, toPubkey: new PublicKey(destination), lamports }),
      ],
    }).compileToV0Message(),
  );
  const one = await wallet.signTransaction(versioned);
  const legacy = [1n, 2n].map((more) => transferTransaction(address, destination, lamports + more));
  // One request: both are signed, or neither.
  const two = await wallet.signAllTransactions(legacy);
  return {
    versioned: Buffer.from(one.serialize()).toString('base64'),
    // web3.js serializes what is signed correctly, and nothing else.
    legacy: two.map((transaction) => transaction.serialize().toString('base64')),
  };
});
