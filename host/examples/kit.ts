/**
 * The wallet as a signer of @solana/kit: fee payer and authority of a transaction message, which kit has signed.
 * `node host/examples/kit.ts <client.json> [lamports]`
 */
import {
  AccountRole,
  type Address,
  address,
  appendTransactionMessageInstruction,
  assertIsFullySignedTransaction,
  type Blockhash,
  blockhash,
  createTransactionMessage,
  getBase58Decoder,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  type Instruction,
  pipe,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
} from '@solana/kit';
import { createKitSigner } from '../src/client/kit.ts';
import { readSettings, run } from './settings.ts';

const SYSTEM_PROGRAM = address('11111111111111111111111111111111');

const { client, requester, ...settings } = readSettings();
const signer = createKitSigner({ client, requester, wallet: address(settings.wallet) });
const lamports = BigInt(process.argv[3] ?? '1000000');

/** As @solana-program/system's getTransferSolInstruction makes it. */
function transferInstruction(to: Address): Instruction {
  const data = new Uint8Array(12);
  new DataView(data.buffer).setUint32(0, 2, true);
  new DataView(data.buffer).setBigUint64(4, lamports, true);
  const accounts = [
    { address: signer.address, role: AccountRole.WRITABLE_SIGNER, signer },
    { address: to, role: AccountRole.WRITABLE },
  ];
  return { programAddress: SYSTEM_PROGRAM, accounts, data };
}

/** Made up; an application asks its RPC node. */
const lifetime = (): { blockhash: Blockhash; lastValidBlockHeight: bigint } => ({
  blockhash: blockhash(getBase58Decoder().decode(crypto.getRandomValues(new Uint8Array(32)))),
  lastValidBlockHeight: 1_000n,
});

await run(async () => {
  const message = pipe(
    createTransactionMessage({ version: 0 }),
    (empty) => setTransactionMessageFeePayerSigner(signer, empty),
    (paid) => setTransactionMessageLifetimeUsingBlockhash(lifetime(), paid),
    (living) => appendTransactionMessageInstruction(transferInstruction(address(settings.destination)), living),
  );
  const transaction = await signTransactionMessageWithSigners(message, { abortSignal: AbortSignal.timeout(30_000) });
  assertIsFullySignedTransaction(transaction);
  return {
    signature: getSignatureFromTransaction(transaction),
    transaction: getBase64EncodedWireTransaction(transaction),
  };
});
