/** What the steps of the scenario share: the stack, a client of its host, and what they have made so far. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, ownerFromSigner, type Signed } from '@quantumvault/host/client/client.ts';
import { signature } from '@quantumvault/shared/brands.ts';
import { codeOf, ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { clientOf, firstPolicy, type Parties, transfer } from '../../stack/scenario.ts';
import type { Stack } from '../../stack/stack.ts';
import { type ThrowawayKey, throwawayKey } from '../../stack/throwaway.ts';
import { signingRequest } from '../../support/http-requests.ts';

export interface SceneWallet extends Parties {
  readonly requesterKey: ThrowawayKey;
}

export interface Scene {
  readonly stack: Stack;
  /** By the host's URL. */
  readonly clients: Map<string, Client>;
  wallet: SceneWallet | undefined;
}

/** Of the host where it listens now; it keeps the boots whose attestation it has verified. */
export function clientNow({ stack, clients }: Scene): Client {
  const client = clients.get(stack.url) ?? clientOf(stack);
  clients.set(stack.url, client);
  return client;
}

/** A wallet with an enabled policy; the client verifies certificate, live attestation and receipts on the way. */
export async function openWallet(scene: Scene): Promise<SceneWallet> {
  const client = clientNow(scene);
  const [owner, requesterKey, destination] = [throwawayKey(), throwawayKey(), throwawayKey()];
  const signer = ownerFromSigner(owner.signer, () => undefined);
  const { wallet } = await client.createWallet({ owner: signer, requesters: [requesterKey.signer.address] });
  const parties: Parties = {
    wallet,
    owner: owner.signer.address,
    requester: requesterKey.signer.address,
    destination: destination.signer.address,
  };
  await client.enablePolicy({ owner: signer, policy: firstPolicy(parties, Date.now()) });
  return { ...parties, requesterKey };
}

export function walletOf({ wallet }: Scene): SceneWallet {
  if (wallet === undefined) throw new Error('no wallet was made');
  return wallet;
}

/** The client verifies the signature, the leaf and the boot's attestation. */
export function sign(scene: Scene, lamports: bigint): Promise<Signed> {
  const { wallet, destination, requesterKey } = walletOf(scene);
  const { wire } = transfer(wallet, destination, lamports);
  return clientNow(scene).sign({ wallet, transaction: wire, requester: requesterKey.signer });
}

/** As a backend does it that is told to come back later. @throws QvError what it is told in the end */
export async function signAtLast(scene: Scene, lamports: bigint): Promise<Signed> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await sign(scene, lamports);
    } catch (error) {
      if (!ERRORS[codeOf(error)].retryable || attempt === 20) throw error;
      await sleep(1000);
    }
  }
}

/** One request, without the client's checks and repeats. @returns `signed`, or the code of the problem */
export async function signOnce(scene: Scene, id: string): Promise<string> {
  const { wallet, destination, requesterKey } = walletOf(scene);
  const { address, sign } = requesterKey.signer;
  const signer = { address, sign: (bytes: Uint8Array) => signature(sign(bytes) as Uint8Array) };
  const { transaction } = transfer(wallet, destination, 1n);
  const request = signingRequest({ deployment: scene.stack.deployment, wallet, transaction, signer, id });
  const response = await fetch(`${scene.stack.url}/v1/sign`, { method: 'POST', ...request }).catch(refusedByClosing);
  if (response === undefined) return 'host_unreachable';
  const reply = (await response.json()) as { signature?: string; code?: string };
  if (response.ok && reply.signature !== undefined) return 'signed';
  return reply.code ?? `status ${response.status}`;
}

/**
 * A host closes a connection whose request has not arrived within its time, which on an emulated processor happens in a
 * flood: as much a refusal to repeat as an answer. Nothing else is: where nobody listens, the host is gone.
 */
function refusedByClosing(error: Error): undefined {
  const { code } = (error.cause ?? {}) as { code?: string };
  if (code !== 'UND_ERR_SOCKET' && code !== 'ECONNRESET' && code !== 'EPIPE') throw error;
}

/** @throws Error when it is signed */
export async function refusalOf(signing: Promise<Signed>): Promise<ErrorCode> {
  try {
    await signing;
  } catch (error) {
    return codeOf(error);
  }
  throw new Error('it was signed');
}

export function logOf({ stack }: Scene, process: string): string {
  return readFileSync(join(stack.dir, `${process}.log`), 'utf8');
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}
