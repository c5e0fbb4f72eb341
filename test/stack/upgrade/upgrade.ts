/**
 * An upgrade of the image as host/deploy/README.md has it, on the local stack: two images side by side, two hosts on one
 * database, a key policy that KMS enforces. Each step is a command of qv, in a process of its own, and may be given
 * again; nothing here knows more than an operator does.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { operatorSignedJson } from '@quantumvault/host/admin/succession-json.ts';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { operatorKey } from '@quantumvault/host/cli/succession/operator-key.ts';
import { type Client, createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { type Address, type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { leaseCodec, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { freePort } from '../../support/free-port.ts';
import type { StackHost } from '../host.ts';
import { BREAK_GLASS_ROLE, INSTANCE_ROLE } from '../kms-keys.ts';
import { firstPolicy, measurements, type Parties, pcrSetOf } from '../scenario.ts';
import { type Stack, type StackEnclave, type StackOptions, startStack, untilReady } from '../stack.ts';
import { type ThrowawayKey, throwawayKey } from '../throwaway.ts';
import { witnessArguments } from '../witness.ts';
import { type Front, startFront } from './front.ts';
import { measureNext, type NextImage } from './next-image.ts';
import { type QvAnswer, requireQv, runQv } from './qv.ts';

export interface OwnedWallet extends Parties {
  readonly requesterKey: ThrowawayKey;
  readonly ownerKey: ThrowawayKey;
}

export type Images = readonly ('old' | 'next')[];

/** With a machine that has other things to do. */
export const PATIENCE_MILLISECONDS = 60_000;

type FirstPolicy = ReturnType<typeof firstPolicy>;

/** One host, as operators know it. */
export type Site = Pick<StackHost, 'url' | 'adminSocket'>;

export class Upgrade {
  readonly stack: Stack;
  readonly next: NextImage;
  /** The one address that callers know. */
  readonly front: Front;
  #enclave: StackEnclave | undefined;
  #host: StackHost | undefined;
  #image: Images[number] = 'next';
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(stack: Stack, next: NextImage, front: Front) {
    this.stack = stack;
    this.next = next;
    this.front = front;
    this.#environment = stack.kmsKeys.rulerEnvironment(stack.dir);
    writeFileSync(this.file('old-pcrs.json'), JSON.stringify(measurements(stack.pcrs)));
    writeFileSync(this.file('next-pcrs.json'), JSON.stringify(measurements(next.pcrs)));
    writeFileSync(this.file('root.pem'), stack.nsmRootPem);
  }

  /** The old image serves; the next one is built and measured. */
  static async start(options: StackOptions = {}): Promise<Upgrade> {
    // The old host's address has to outlive it: the other host knows it.
    const stack = await startStack({ port: await freePort(), ...options });
    try {
      return new Upgrade(stack, await measureNext(stack), await startFront(stack.url));
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    await this.front.close();
    await this.stack.stop();
  }

  file(name: string): string {
    return join(this.stack.dir, name);
  }

  /** The host in front of the next enclave. */
  get second(): StackHost {
    if (this.#host === undefined) throw new Error('the second host has not started');
    return this.#host;
  }

  get secondEnclave(): StackEnclave {
    if (this.#enclave === undefined) throw new Error('the second enclave has not started');
    return this.#enclave;
  }

  /** `--pcrs` of these images, and the simulated module's root. */
  images(...names: Images): readonly string[] {
    return [...names.flatMap((name) => ['--pcrs', this.file(`${name}-pcrs.json`)]), ...this.root];
  }

  get root(): readonly string[] {
    return ['--unsafe-trusted-root', this.file('root.pem')];
  }

  clientOf(url: string, ...names: Images): Client {
    const { deployment, kmsKeyArn, nsmRootDer, pcrs } = this.stack;
    const pcrSets = names.map((name) => pcrSetOf(name === 'old' ? pcrs : this.next.pcrs));
    return createClient({ url, deployment, trust: { pcrSets, kmsKeyArn, unsafeTrustedRootDer: nsmRootDer } });
  }

  /** A wallet with a policy. @param change of the policy, before its owner signs it */
  async openWallet(client: Client, change = (policy: FirstPolicy): unknown => policy): Promise<OwnedWallet> {
    const [ownerKey, requesterKey, destination] = [throwawayKey(), throwawayKey(), throwawayKey()];
    const owner = ownerFromSigner(ownerKey.signer);
    const { wallet } = await client.createWallet({ owner, requesters: [requesterKey.signer.address] });
    const parties = {
      ...{ wallet, owner: ownerKey.signer.address, requester: requesterKey.signer.address },
      destination: destination.signer.address,
    };
    await client.enablePolicy({ owner, policy: change(firstPolicy(parties, Date.now())) });
    return { ...parties, ownerKey, requesterKey };
  }

  /** The boot behind a host. @throws Error when there is none yet */
  async bootOf({ adminSocket }: Pick<Site, 'adminSocket'>): Promise<BootId> {
    const { enclave } = await adminCall(adminSocket, 'status', {});
    if (enclave?.boot == null) throw new Error('no boot yet');
    return enclave.boot as BootId;
  }

  /** Until the enclave behind a host holds so many wallets. The host asks it now and then. @throws Error when it does not */
  async untilHeld(count: number, { adminSocket }: Pick<Site, 'adminSocket'>): Promise<void> {
    const deadline = performance.now() + PATIENCE_MILLISECONDS;
    for (;;) {
      const held = (await adminCall(adminSocket, 'status', {})).enclave?.wallets;
      if (held === count) return;
      if (performance.now() > deadline) throw new Error(`it holds ${held} wallets, not ${count}`);
      await sleep(100);
    }
  }

  /** The key policy, as the break-glass role sets it: these images and no others. */
  async allow(...names: Images): Promise<QvAnswer> {
    const pcrs = names.flatMap((name) => ['--pcrs', this.file(`${name}-pcrs.json`)]);
    return await requireQv(['init', 'kms-policy', ...this.#key, ...pcrs], this.#environment);
  }

  /** What `qv key-policy check` says of the policy that KMS has, if these images are to open keys. */
  async checkPolicy(allowed: Images, retired: Images = []): Promise<QvAnswer> {
    const pcrs = allowed.flatMap((name) => ['--pcrs', this.file(`${name}-pcrs.json`)]);
    const gone = retired.flatMap((name) => ['--retired-pcrs', this.file(`${name}-pcrs.json`)]);
    return await runQv(['key-policy', 'check', ...this.#key, ...pcrs, ...gone], this.#environment);
  }

  get #key(): readonly string[] {
    const { keyArn, endpoint } = this.stack.measuredKeys.current;
    const roles = ['--instance-role', INSTANCE_ROLE, '--break-glass', BREAK_GLASS_ROLE];
    return [...roles, '--key', keyArn, '--endpoint', endpoint];
  }

  /** One after the other, so that enough of them cosign all the time. */
  async tellWitnesses(): Promise<void> {
    const { stack } = this;
    const both = [stack.pcrs, this.next.pcrs].map(measurements);
    writeFileSync(this.file('witness-pcrs-both.json'), JSON.stringify(both));
    for (const [index, { url, process }] of stack.witnesses.entries()) {
      await process.stop();
      const witness = {
        dir: join(stack.dir, `witness-${index + 1}`),
        logOrigin: stack.logOrigin,
        pcrsFile: this.file('witness-pcrs-both.json'),
        rootPem: this.file('root.pem'),
        port: Number(new URL(url).port),
      };
      await stack.start(`witness-${index + 1}`, witnessArguments(witness));
    }
  }

  /**
   * Another enclave beside the old one, a host in front of it that knows the other host.
   * @param image `old`: the same image once more, for a boot with fresh keys
   */
  async startBeside(image: Images[number] = 'next'): Promise<void> {
    const { stack } = this;
    this.#image = image;
    await this.restartSecondEnclave();
    this.#host = await stack.startHost('host-second', this.secondEnclave, { peers: [stack.url] });
    await untilReady(this.#host.url, PATIENCE_MILLISECONDS);
  }

  /** At the same addresses: after a crash, another boot. */
  async restartSecondEnclave(): Promise<void> {
    this.#enclave = await this.stack.startEnclave('enclave-second', this.#image === 'next' ? this.next : undefined);
  }

  pointFront(site: Site): void {
    this.front.pointAt(site.url);
  }

  /** By an operator of the old image: it is that one's enclave which gives wallets away. */
  async order(out: string, ...more: readonly string[]): Promise<QvAnswer> {
    const [from, to] = [await this.bootOf(this.stack), await this.bootOf(this.second)];
    return await requireQv([
      ...['release', 'order', '--from', from, '--to', to, '--url', this.second.url, ...this.images(this.#image)],
      ...['--deployment', this.stack.deployment, '--operator-key', this.file('operators/1.pem')],
      ...['--out', this.file(out), ...more],
    ]);
  }

  /** Releases, and has the next enclave take, wallet by wallet. */
  move(order: string): Promise<QvAnswer> {
    const [from, to] = [this.stack.adminSocket, this.second.adminSocket];
    const out = this.file(`${order}.releases`);
    return runQv(['release', 'apply', this.file(order), '--admin', from, '--out', out, '--take', to]);
  }

  /** Releases alone: nobody holds these wallets until the same order is given to `move`. */
  release(order: string): Promise<QvAnswer> {
    const out = this.file(`${order}.releases`);
    return runQv(['release', 'apply', this.file(order), '--admin', this.stack.adminSocket, '--out', out]);
  }

  /** Everything that the logs of both boots show, from the one address, under both images and the witnesses' keys. */
  audit(...more: readonly string[]): Promise<QvAnswer> {
    const { witnesses } = this.stack;
    const keys = witnesses.flatMap(({ key }) => ['--witness', key]);
    const threshold = witnesses.length === 0 ? [] : ['--witness-threshold', '2'];
    return runQv(['verify', 'log', this.front.url, ...this.images('old', 'next'), ...keys, ...threshold, ...more]);
  }

  verifyLive(url: string, names: Images): Promise<QvAnswer> {
    return runQv(['verify', 'attestation', url, ...this.images(...names)]);
  }

  async freezeWallet(wallet: Address, adminSocket: string): Promise<void> {
    await requireQv(['kill', '--wallet', wallet, '--reason', 'upgrade', '--admin', adminSocket]);
  }

  /** A freeze of somebody's requests, and the id under which the second enclave holds it. */
  async freezeRequester(requester: Address): Promise<string> {
    const { adminSocket } = this.second;
    await requireQv(['kill', '--requester', requester, '--reason', 'upgrade', '--admin', adminSocket]);
    const { enclave } = await adminCall(adminSocket, 'status', {});
    const held = enclave?.freezes?.held.find(({ scope }) => scope === `requester:${requester}`);
    if (held === undefined) throw new Error('the freeze is not held');
    return held.freezeId;
  }

  resume(requester: Address, freezeId: string, pems: readonly string[]): Promise<QvAnswer> {
    const keys = pems.flatMap((pem) => ['--operator-key', pem]);
    const { adminSocket } = this.second;
    return runQv(['resume', '--requester', requester, '--freeze', freezeId, ...keys, '--admin', adminSocket]);
  }

  /** What the second enclave says to a lease of this wallet that two operators of the old image signed. */
  async leaseByOld(wallet: Address): Promise<ErrorCode> {
    const boot = await this.bootOf(this.second);
    const lease = {
      ...{ deployment: this.stack.deployment, predecessor: await this.bootOf(this.stack), successor: boot },
      ...{ wallets: [{ wallet, version: 0n }], freezes: [], checkpoint: utf8('none'), sumsProven: false },
      notAfter: timeMs(Date.now() + 60_000),
    };
    const signed = this.#signedByOld(encodeAs(leaseCodec, lease), 2);
    return await adminCall(this.second.adminSocket, 'take', { wallet, lease: signed }).then(notRefused, codeOf);
  }

  /** The same for an order to give it away again. */
  async orderByOld(wallet: Address): Promise<ErrorCode> {
    const predecessor = await this.bootOf(this.second);
    const order = {
      ...{ deployment: this.stack.deployment, predecessor, successor: await this.bootOf(this.stack) },
      notAfter: timeMs(Date.now() + 60_000),
    };
    const signed = this.#signedByOld(encodeAs(releaseOrderCodec, order), 1);
    return await adminCall(this.second.adminSocket, 'release', { wallet, order: signed }).then(notRefused, codeOf);
  }

  #signedByOld(bytes: Uint8Array, operators: number) {
    const pems = Array.from({ length: operators }, (_, index) => this.oldOperatorPem(index + 1));
    return operatorSignedJson({ bytes, signatures: pems.map((pem) => operatorKey(pem).sign(bytes)) });
  }

  oldOperatorPem(operator: number): string {
    return this.file(`operators/${operator}.pem`);
  }

  /** The old host and enclave end; callers have not come to them for a while. */
  async stopOld(): Promise<void> {
    await this.stack.host.stop();
    await this.stack.processes.enclave.stop();
  }
}

function notRefused(): never {
  throw new Error('operators of the old image were obeyed');
}
