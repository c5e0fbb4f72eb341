/**
 * Three transfers in one request, all signed or none. `node host/examples/batch.ts <client.json> [lamports each]`
 */
import { BatchDenied } from '../src/client/index.ts';
import { readSettings, run } from './settings.ts';
import { transferTransaction } from './transfer.ts';

const { client, wallet, destination, requester } = readSettings();
const lamports = BigInt(process.argv[3] ?? '1000000');

await run(async () => {
  const transactions = [1n, 2n, 3n].map((factor) =>
    transferTransaction(wallet, destination, lamports * factor).serialize({ requireAllSignatures: false }),
  );
  try {
    const signed = await client.signBatch({ wallet, requester, transactions });
    return { signatures: signed.map(({ signatureBase58 }) => signatureBase58) };
  } catch (error) {
    // Which of them, besides the rule: the others would have been allowed, or not.
    if (error instanceof BatchDenied) console.error(error.index, error.verdicts);
    throw error;
  }
});
