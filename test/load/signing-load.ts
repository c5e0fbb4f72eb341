/** A steady load of signing requests over HTTP: so many loops, each with one request under way. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { type Address, addressOf } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { SIGN_PURPOSE, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { clientOf, firstPolicy, transfer } from '../stack/scenario.ts';
import type { Stack } from '../stack/stack.ts';
import { throwawayKey } from '../stack/throwaway.ts';

/** What came back for one request. */
export interface Answered {
  readonly id: string;
  /** 0 when the connection was lost. */
  readonly status: number;
  readonly sentAtMs: number;
  readonly receivedAtMs: number;
  /** Of a signature. */
  readonly signature?: string;
  readonly boot?: string;
  readonly sequence?: bigint;
}

export interface LoadWallet {
  readonly address: Address;
  readonly destination: Address;
  readonly key: KeyObject;
}

let ids = 0;

type FirstPolicy = ReturnType<typeof firstPolicy>;

/** A wallet whose requester signs with node:crypto: tweetnacl would be the load itself. */
export async function loadWallet(
  stack: Stack,
  change: (policy: FirstPolicy) => Record<string, unknown> = (policy) => policy,
): Promise<LoadWallet> {
  const [owner, destination] = [throwawayKey(), throwawayKey().signer.address];
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const requester = addressOf(Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
  const client = clientOf(stack);
  const { wallet } = await client.createWallet({ owner: ownerFromSigner(owner.signer), requesters: [requester] });
  const parties = { wallet, owner: owner.signer.address, requester, destination };
  const policy = change(firstPolicy(parties, Date.now()));
  await client.enablePolicy({ owner: ownerFromSigner(owner.signer), policy });
  return { address: wallet, destination, key: privateKey };
}

export async function signOnce(stack: Stack, { address, destination, key }: LoadWallet): Promise<Answered> {
  const id = `load-${process.pid}-${ids++}`;
  const timestamp = String(Math.floor(Date.now() / 1000));
  const transaction = toBase64(transfer(address, destination, 1_000n).wire);
  const body = utf8(
    JSON.stringify({ purpose: SIGN_PURPOSE, audience: stack.deployment, wallet: address, transaction }),
  );
  const signature = sign(null, signedContent(id, timestamp, body), key).toString('base64');
  const sentAtMs = performance.now();
  try {
    const response = await fetch(`${stack.url}/v1/sign`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1a,${signature}`,
      },
      body: Uint8Array.from(body),
    });
    const answer = (await response.json()) as { signature?: string; receipt?: { leaf: string } };
    const base = { id, status: response.status, sentAtMs, receivedAtMs: performance.now() };
    if (response.status !== 200 || answer.receipt === undefined || answer.signature === undefined) return base;
    const { boot, sequence } = decodeLeaf(fromBase64(answer.receipt.leaf));
    return { ...base, signature: answer.signature, boot, sequence };
  } catch {
    return { id, status: 0, sentAtMs, receivedAtMs: performance.now() };
  }
}

export interface Load {
  readonly answered: readonly Answered[];
  stop(): Promise<void>;
}

/** `loops` requests under way at any time, spread over the wallets, until it is stopped. */
export function startLoad(stack: Stack, wallets: readonly LoadWallet[], loops: number): Load {
  const answered: Answered[] = [];
  let running = true;
  const loop = async (index: number): Promise<void> => {
    const wallet = wallets[index % wallets.length];
    while (running && wallet !== undefined) {
      const answer = await signOnce(stack, wallet);
      answered.push(answer);
      // Who is refused does not hammer.
      if (answer.status !== 200) await sleep(10);
    }
  };
  const loopsDone = Promise.all(Array.from({ length: loops }, (_, index) => loop(index)));
  return {
    answered,
    stop: async () => {
      running = false;
      await loopsDone;
    },
  };
}
