/**
 * One transfer signed, as a trading backend would that must not pay twice: the id is chosen and kept before anything is
 * sent, so that after a crash the same id and transaction can be asked for again.
 * `node host/examples/sign.ts <client.json> [lamports]`
 */
import { readSettings, run } from './settings.ts';
import { transferTransaction } from './transfer.ts';

const { client, wallet, destination, requester } = readSettings();
const lamports = BigInt(process.argv[3] ?? '1000000');

await run(async () => {
  await client.connect();
  const transaction = transferTransaction(wallet, destination, lamports).serialize({ requireAllSignatures: false });
  const request = { wallet, requester, transaction, id: crypto.randomUUID() };
  const verdict = await client.dryRun(request);
  // Retries and waits are inside; the deadline is for all of it.
  const signed = await client.sign({ ...request, signal: AbortSignal.timeout(30_000) });
  const again = await client.sign(request);
  return {
    dryRun: verdict.verdict,
    id: signed.id,
    signature: signed.signatureBase58,
    lamportsOut: signed.lamportsOut,
    // Ready to send.
    transaction: Buffer.from(signed.transaction).toString('base64'),
    repeated: again.signatureBase58 === signed.signatureBase58,
  };
});
