/** What the steps of the scenario share: the stack, a client of its host, and what they have made so far. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, ownerFromSigner, type Signed } from '@quantumvault/host/client/client.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { clientOf, firstPolicy, type Parties, transfer } from '../../stack/scenario.ts';
import type { Stack } from '../../stack/stack.ts';
import { type ThrowawayKey, throwawayKey } from '../../stack/throwaway.ts';

export interface SceneWallet extends Parties {
  readonly requesterKey: ThrowawayKey;
}

export interface Scene {
  readonly stack: Stack;
  wallet: SceneWallet | undefined;
}

/** Of the host where it listens now. */
export const clientNow = (scene: Scene): Client => clientOf(scene.stack);

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
export function sign(scene: Scene, lamports: bigint, to?: Address): Promise<Signed> {
  const { wallet, destination, requesterKey } = walletOf(scene);
  const { wire } = transfer(wallet, to ?? destination, lamports);
  return clientNow(scene).sign({ wallet, transaction: wire, requester: requesterKey.signer });
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
