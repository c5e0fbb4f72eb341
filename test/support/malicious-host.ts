/**
 * A backend whose host is the test: it speaks the enclave's protocol directly, so it can send what an honest host
 * never would.
 */
import { readFileSync } from 'node:fs';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { startKmsTunnel } from '@quantumvault/host/kms-tunnel.ts';
import type { Log } from '@quantumvault/host/log.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { tunnelAddress } from '@quantumvault/shared/ports.ts';
import type { EnabledPolicy, WalletBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { type Listener, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import type { Transaction } from '@solana/web3.js';
import { KmsAdmin } from '../stack/kms/admin.ts';
import type { StackTunnel } from '../stack/kms-keys.ts';
import { type Backend, type StackOptions, startBackend } from '../stack/stack.ts';
import {
  type BatchFacts,
  batchSigning,
  creation,
  enabling,
  type Party,
  party,
  policyDocument,
  type RequestFacts,
  signing,
  transfer,
} from './wallet-kit.ts';

const silent = (): void => undefined;
const log = {
  info: silent,
  warn: silent,
  error: silent,
  debug: silent,
  trace: silent,
  fatal: silent,
} as unknown as Log;

/** A wallet with everything a host would know of it, and the keys of its people. */
export interface KitWallet {
  readonly address: Address;
  readonly owner: Party;
  readonly requester: Party;
  readonly destination: Address;
  readonly created: ReplyOf<'walletCreate'>;
  /** The newest blobs and policy the host stored. */
  blobs: WalletBlobs;
  policy: EnabledPolicy;
}

export class MaliciousHost {
  readonly backend: Backend;
  readonly data: EnclaveClient;
  readonly control: EnclaveClient;
  readonly kms: KmsAdmin;
  readonly #tunnels: Listener[] = [];

  private constructor(backend: Backend) {
    this.backend = backend;
    this.data = this.connect(backend.enclaveAddresses.data);
    this.control = this.connect(backend.enclaveAddresses.control);
    this.kms = new KmsAdmin(backend.kmsAdmin);
  }

  static async start(options: StackOptions = {}): Promise<MaliciousHost> {
    const backend = await startBackend(options);
    const host = new MaliciousHost(backend);
    await host.tunnel(backend.enclaveAddresses.tunnel);
    return host;
  }

  /** An enclave's ways to KMS. */
  async tunnel(first: string, tunnels: readonly StackTunnel[] = this.backend.kmsKeys.tunnels): Promise<void> {
    for (const { tunnel, endpoint } of tunnels) {
      const listen = tunnelAddress(parseTransportAddress(first), tunnel);
      this.#tunnels.push(await startKmsTunnel({ transport: unixTransport, listen, endpoint, log }));
    }
  }

  connect(address: string): EnclaveClient {
    const client = new EnclaveClient({ address: parseTransportAddress(address), transport: unixTransport, log });
    client.connect();
    return client;
  }

  async giveCredentials(data: EnclaveClient = this.data): Promise<void> {
    const file = JSON.parse(readFileSync(this.backend.credentialsFile, 'utf8')) as Record<string, string>;
    await data.request('credentials', {
      accessKeyId: utf8(file['accessKeyId'] ?? ''),
      secretAccessKey: utf8(file['secretAccessKey'] ?? ''),
    });
  }

  async createWallet(owner = party(), requester = party()): Promise<Omit<KitWallet, 'policy'>> {
    const created = await this.data.request('walletCreate', creation(this.backend.deployment, owner, [requester]));
    const destination = party().address;
    return { address: created.wallet, owner, requester, destination, created, blobs: created.blobs };
  }

  /** A wallet with a policy: transfers of at most a million lamports to one destination, and what `more` adds. */
  async openWallet(more: Record<string, unknown> = {}): Promise<KitWallet> {
    const wallet = await this.createWallet();
    return this.enable(wallet, { ...this.documentFor(wallet), ...more });
  }

  /** A wallet's first policy. */
  async enable(wallet: Omit<KitWallet, 'policy'>, document: Record<string, unknown>): Promise<KitWallet> {
    const { deployment } = this.backend;
    const request = enabling(wallet.owner, wallet.blobs, { deployment, document });
    const enabled = await this.data.request('policyEnable', request);
    return {
      ...wallet,
      blobs: { ...wallet.blobs, sealedState: enabled.state.blob },
      policy: { bytes: request.policy, mac: enabled.mac },
    };
  }

  documentFor(wallet: Omit<KitWallet, 'policy'>, change: { epoch?: number; maxLamports?: string } = {}) {
    return policyDocument({
      wallet: wallet.address,
      owner: wallet.owner.address,
      requesters: [wallet.requester.address],
      destinations: [wallet.destination],
      ...change,
    });
  }

  /** A request that the enclave would sign, unless changed. */
  request(
    wallet: KitWallet,
    change: Partial<RequestFacts> & { lamports?: bigint; transaction?: Transaction; signer?: Party } = {},
  ) {
    return signing(change.signer ?? wallet.requester, {
      deployment: this.backend.deployment,
      wallet: wallet.address,
      transaction: change.transaction ?? transfer(wallet.address, wallet.destination, change.lamports ?? 1_000n),
      policy: wallet.policy,
      blobs: wallet.blobs,
      ...change,
    });
  }

  /** A batch of transfers of so many lamports each, or of these transactions. */
  batch(
    wallet: KitWallet,
    what: readonly (bigint | Transaction)[],
    change: Partial<BatchFacts> & { signer?: Party } = {},
  ) {
    return batchSigning(change.signer ?? wallet.requester, {
      deployment: this.backend.deployment,
      wallet: wallet.address,
      transactions: what.map((each) =>
        typeof each === 'bigint' ? transfer(wallet.address, wallet.destination, each) : each,
      ),
      policy: wallet.policy,
      blobs: wallet.blobs,
      ...change,
    });
  }

  async stop(): Promise<void> {
    this.data.close();
    this.control.close();
    this.kms.close();
    for (const tunnel of this.#tunnels) await tunnel.close();
    await this.backend.stop();
  }
}
