/** What witnesses cost: signatures over HTTP of which two of three witnesses cosign the leaf, beside a stack without. */
import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { SIGN_PURPOSE, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { clientOf, firstPolicy, transfer } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';
import type { Row } from './measure.ts';

/** Asked for at a time: what waits together is served by one round of the witnesses. */
const AT_A_TIME = 16;

/** Runs `use` with a row over two running stacks, and stops them. */
export async function withWitnessRow<T>(use: (row: Row) => Promise<T>): Promise<T> {
  const stacks: Stack[] = [];
  const start = async (witnesses: 'processes' | 'none') => {
    const stack = await startStack({ witnesses, logLevel: 'error' });
    stacks.push(stack);
    return signaturesOf(stack);
  };
  try {
    return await use({
      name: `${AT_A_TIME} signatures over HTTP, 2 of 3 witnesses`,
      ours: await start('processes'),
      baseline: 'without witnesses',
      theirs: await start('none'),
    });
  } finally {
    for (const stack of stacks) await stack.stop();
  }
}

/** Makes a wallet; then each call asks for signatures and waits for all of them. */
async function signaturesOf(stack: Stack): Promise<() => Promise<void>> {
  const [owner, requester, destination] = [throwawayKey(), throwawayKey(), throwawayKey()];
  const client = clientOf(stack);
  const requesters = [requester.signer.address];
  const { wallet } = await client.createWallet({ owner: ownerFromSigner(owner.signer), requesters });
  const parties = {
    wallet,
    owner: owner.signer.address,
    requester: requester.signer.address,
    destination: destination.signer.address,
  };
  await client.enablePolicy({ owner: ownerFromSigner(owner.signer), policy: firstPolicy(parties, Date.now()) });
  const transaction = toBase64(transfer(wallet, parties.destination, 1_000n).wire);
  const body = utf8(JSON.stringify({ purpose: SIGN_PURPOSE, audience: stack.deployment, wallet, transaction }));
  const key = createPrivateKey({ key: Buffer.from(requester.pkcs8), format: 'der', type: 'pkcs8' });
  let count = 0;
  return async () => {
    await Promise.all(Array.from({ length: AT_A_TIME }, () => signOnce(stack.url, `bench-${count++}`, body, key)));
  };
}

async function signOnce(url: string, id: string, body: Uint8Array, key: KeyObject): Promise<void> {
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = sign(null, signedContent(id, timestamp, body), key).toString('base64');
  const response = await fetch(`${url}/v1/sign`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1a,${signature}`,
    },
    body: Uint8Array.from(body),
  });
  if (!response.ok) throw new Error(`the signature was refused: ${await response.text()}`);
  await response.arrayBuffer();
}
