/** A local stack with one wallet whose policy allows transfers, and what clients of it are told. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type Client,
  type ClientOptions,
  createClient,
  ownerFromSigner,
  type Trust,
} from '@quantumvault/host/client/client.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { firstPolicy, measurements, pcrSetOf } from '../../stack/scenario.ts';
import { type Stack, startStack } from '../../stack/stack.ts';
import { type ThrowawayKey, throwawayKey, writePrivate } from '../../stack/throwaway.ts';

export interface Appliance {
  readonly stack: Stack;
  readonly trust: Trust;
  readonly owner: ThrowawayKey;
  readonly requester: ThrowawayKey;
  readonly wallet: Address;
  readonly destination: Address;
  /** A new client, which knows no boot yet. */
  readonly connect: (options?: Partial<ClientOptions>) => Client;
  /** Of another wallet with the same owner, requester and destination. */
  readonly newWallet: (client: Client) => Promise<Address>;
  /** The file that `npm start` leaves for the examples. */
  readonly writeSettings: () => string;
}

export async function startAppliance(): Promise<Appliance> {
  const stack = await startStack({ logLevel: 'warn' });
  try {
    const { kmsKeyArn, nsmRootDer, pcrs, deployment } = stack;
    const trust = { pcrSets: [pcrSetOf(pcrs)], kmsKeyArn, unsafeTrustedRootDer: nsmRootDer };
    const [owner, requester] = [throwawayKey(), throwawayKey()];
    const destination = throwawayKey().signer.address;
    const connect = (options: Partial<ClientOptions> = {}): Client =>
      createClient({ url: stack.url, deployment, trust, ...options });
    const newWallet = async (client: Client): Promise<Address> => {
      const agreed = ownerFromSigner(owner.signer);
      const { wallet } = await client.createWallet({ owner: agreed, requesters: [requester.signer.address] });
      const parties = { wallet, owner: owner.signer.address, requester: requester.signer.address, destination };
      const policy = firstPolicy(parties, Date.now());
      const transaction = { ...policy.transaction, versions: ['legacy', '0', '1'] };
      await client.enablePolicy({ owner: agreed, policy: { ...policy, transaction } });
      return wallet;
    };
    const wallet = await newWallet(connect());
    const writeSettings = (): string => {
      const file = (name: string, text: string): string => {
        const path = join(stack.dir, name);
        writeFileSync(path, text);
        return path;
      };
      const settings = {
        url: stack.url,
        deployment,
        kmsKeyArn,
        wallet,
        destination,
        requesterKey: writePrivate(join(stack.dir, 'requester.key'), requester.secretKey),
        pcrs: file('pcrs.json', JSON.stringify(measurements(pcrs))),
        root: file('nsm-root.pem', stack.nsmRootPem),
      };
      return file('client.json', JSON.stringify(settings));
    };
    return { stack, trust, owner, requester, wallet, destination, connect, newWallet, writeSettings };
  } catch (error) {
    await stack.stop();
    throw error;
  }
}
