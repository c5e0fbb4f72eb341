/**
 * The whole appliance on one machine: simulated security module, local KMS, enclave with its kms-agent, host; real
 * processes and sockets. What differs from production is named by the folder this file is in.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BundleFiles } from '@quantumvault/enclave/bundle.ts';
import { initRowKey } from '@quantumvault/host/cli/row-key.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { imageNodeFlags } from '../support/image-command.ts';
import { type StackHost, startHost } from './host.ts';
import {
  INSTANCE_ROLE,
  measuredKey,
  REGION,
  REPLICA_REGION,
  SECOND_ACCOUNT,
  SECOND_REGION,
  StackKeys,
  type StackKmsKey,
  type StackKmsOptions,
} from './kms-keys.ts';
import { persistentSimulatedRoot } from './nsm/root.ts';
import { type StackProcess, startProcess } from './process.ts';
import { makeWitness, witnessArguments, writeMeasurements } from './witness.ts';

export const DEPLOYMENT = 'local-stack';
export const INSTANCE_ID = 'i-0a1b2c3d4e5f60718';
const STACK = import.meta.dirname;

export interface StackOptions {
  /** Told as each part starts. */
  readonly onStep?: (what: string) => void;
  /** Zero PCR0-2: KMS refuses it. */
  readonly debugEnclave?: boolean;
  /** Log level of the host. */
  readonly logLevel?: string;
  /** Further members of the host's configuration. */
  readonly hostConfig?: Record<string, unknown>;
  readonly port?: number;
  /** False leaves the deployment without its row key, and the host not ready. */
  readonly rowKey?: boolean;
  /**
   * `processes`, the stack's default: three witnesses, of which two have to cosign. `none`, the backend's. Or keys that
   * are measured into the image and whose holder is the test.
   */
  readonly witnesses?: 'processes' | 'none' | { readonly threshold: number; readonly keys: readonly string[] };
  /** Of enclave entries that take the same arguments as the stack's, bundled where there is a bundler. */
  readonly bundle?: BundleFiles;
  /** By the enclave's name; the first one's is `enclave`. Default: Unix sockets in the stack's folder. */
  readonly addressesOf?: (name: string) => EnclaveAddresses;
  /** Has KMS write down every secret that leaves it, in `Backend.sealedFile`. */
  readonly recordSealed?: boolean;
  /** Measured; means something to enclaves on vsock alone. */
  readonly parentCid?: number;
  /** Measured: operators may bring wallets of v2 in. */
  readonly migration?: boolean;
  /** Measured: execution keys stay unwrapped for a while. */
  readonly unwrappedKeys?: { readonly timeToLiveSeconds: number; readonly count: number };
  /** Measured: further keys of KMS. Default: the current key alone. */
  readonly kms?: StackKmsOptions;
  /** File of the C addon, which then opens KMS's envelopes as in an image; else Node does. */
  readonly addon?: string;
}

const WITNESSES = 3;
const WITNESS_THRESHOLD = 2;

export interface EnclaveAddresses {
  readonly data: string;
  readonly control: string;
  readonly tunnel: string;
}

/** An image beside the first: another configuration, perhaps other bundles, and a security module that measured it. */
export interface StackImage {
  readonly bundle: BundleFiles;
  /** Lower-case hex by register number. */
  readonly pcrs: Readonly<Record<string, string>>;
  readonly configFile: string;
  readonly nsmSocket: string;
}

/** One process of an image; several of them share security module, KMS and configuration, and nothing else. */
export interface StackEnclave {
  readonly addresses: EnclaveAddresses;
  process: StackProcess;
}

/** Everything behind the host. Tests that stand where a malicious host would stand use this alone. */
export interface Backend {
  readonly dir: string;
  readonly deployment: string;
  /** Side door of the local KMS: faults, counts. */
  readonly kmsAdmin: string;
  /** See kms/record.ts; there if `recordSealed` asked for it. */
  readonly sealedFile: string;
  /** Of the current key. */
  readonly kmsEndpoint: { readonly host: string; readonly port: number };
  readonly kmsKeyArn: string;
  readonly kmsKeys: StackKeys;
  /** The measured ones, as `StackOptions.kms` asked for them. */
  readonly measuredKeys: {
    readonly current: StackKmsKey;
    readonly replica?: StackKmsKey;
    readonly previous?: StackKmsKey;
    readonly second?: StackKmsKey;
  };
  readonly nsmRootDer: Uint8Array;
  readonly nsmRootPem: string;
  /** Lower-case hex by register number. */
  readonly pcrs: Readonly<Record<string, string>>;
  /** JSON file with the instance role's credentials, as the host reads it. */
  readonly credentialsFile: string;
  readonly enclaveAddresses: EnclaveAddresses;
  readonly bundle: BundleFiles;
  readonly logOrigin: string;
  /** Of `processes`, in the order of their keys; `url` is where each of them listens. */
  readonly witnesses: readonly { readonly url: string; readonly key: string; readonly process: StackProcess }[];
  readonly processes: { nsm: StackProcess; kms: StackProcess; enclave: StackProcess };
  /** Starts a further process with the others; it ends with them. */
  start(name: string, args: readonly string[]): Promise<StackProcess>;
  /** One more enclave of the same image, with sockets of its own. Its tunnel needs a host. */
  startEnclave(name: string, image?: StackImage): Promise<StackEnclave>;
  /**
   * Measures the configuration as `change` left it, and the first image's bundle unless given; all keys allow that image
   * from now on, too, unless somebody else sees to that.
   */
  measureImage(
    name: string,
    change: (config: MeasuredConfig) => unknown,
    options?: { readonly bundle?: BundleFiles; readonly isAllowed?: boolean },
  ): Promise<StackImage>;
  restartEnclave(): Promise<void>;
  stop(): Promise<void>;
}

/** What the first image was measured with; `kms` as the configuration has it. */
export type MeasuredConfig = Record<string, unknown> & { kms: Record<string, unknown> };

export interface Stack extends Backend {
  url: string;
  readonly adminSocket: string;
  readonly hostConfigFile: string;
  readonly databaseFile: string;
  host: StackProcess;
  restartHost(): Promise<void>;
  /** One more host on the same database, in front of that enclave. */
  startHost(name: string, enclave: StackEnclave, hostConfig?: Record<string, unknown>): Promise<StackHost>;
}

/** Creates everything behind the host anew in a temporary folder, which `stop` removes. */
export async function startBackend(options: StackOptions = {}): Promise<Backend> {
  const step = options.onStep ?? (() => undefined);
  const dir = mkdtempSync(join(tmpdir(), 'qv-'));
  const started: StackProcess[] = [];
  const start = async (name: string, args: readonly string[]): Promise<StackProcess> => {
    const process = await startProcess(name, args, join(dir, `${name}.log`));
    started.push(process);
    return process;
  };
  let closeKeys = (): void => undefined;
  const stop = async (): Promise<void> => {
    closeKeys();
    for (const process of [...started].reverse()) await process.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    const file = (name: string, value: unknown): string => {
      const path = join(dir, name);
      writeFileSync(path, JSON.stringify(value, undefined, 2), { mode: 0o600 });
      return path;
    };
    if (options.bundle === undefined) step('building the enclave bundle');
    const bundle = options.bundle ?? (await bundleStack(join(dir, 'image')));
    step('starting the local KMS');
    const rootDir = join(dir, 'nsm-root');
    const root = await persistentSimulatedRoot(rootDir);
    const rulers = {
      first: { accessKeyId: 'AKIALOCALBREAKGLASS1', secretAccessKey: randomSecret() },
      second: { accessKeyId: 'AKIALOCALBREAKGLASS2', secretAccessKey: randomSecret() },
    };
    const instance = { accessKeyId: 'AKIALOCALINSTANCE001', secretAccessKey: randomSecret() };
    const { kms: keyOptions = {} } = options;
    const kmsAdmin = `unix:${join(dir, 'kms-admin.sock')}`;
    const sealedFile = join(dir, 'kms-sealed.jsonl');
    const kms = await start('kms', [
      join(STACK, 'kms', 'main.ts'),
      file('kms.json', {
        dir: join(dir, 'kms'),
        nsmRootPem: join(rootDir, 'root.pem'),
        adminSocket: kmsAdmin,
        ...(options.recordSealed === true && { recordFile: sealedFile }),
        region: REGION,
        furtherRegions: [
          ...(keyOptions.replica === true ? [REPLICA_REGION] : []),
          ...(keyOptions.second === true ? [SECOND_REGION] : []),
        ],
        principals: StackKeys.principals(rulers, instance),
      }),
    ]);
    const ca = readFileSync(String(kms.ready['caPem']), 'utf8');
    const endpoints = kms.ready['endpoints'] as Record<string, string>;
    const kmsKeys = new StackKeys({ endpoints, caPem: ca, adminSocket: kmsAdmin, rulers, instance });
    closeKeys = () => kmsKeys.close();
    const current = await kmsKeys.create({}, { isMultiRegion: keyOptions.replica === true });
    const replica = keyOptions.replica === true ? await kmsKeys.replicate(current, REPLICA_REGION) : undefined;
    const previous = keyOptions.previous === true ? await kmsKeys.create() : undefined;
    const second =
      keyOptions.second === true ? await kmsKeys.create({ region: SECOND_REGION, account: SECOND_ACCOUNT }) : undefined;

    step('measuring the image, starting the security module');
    const socket = (name: string): string => `unix:${join(dir, `${name}.sock`)}`;
    const logOrigin = `${DEPLOYMENT}.example/qv`;
    const { witnesses = 'none' } = options;
    const made =
      witnesses === 'processes' ? [1, 2, 3].slice(0, WITNESSES).map((index) => localWitness(dir, index)) : [];
    const measuredWitnesses =
      typeof witnesses === 'object' ? witnesses : { threshold: WITNESS_THRESHOLD, keys: made.map(({ vkey }) => vkey) };
    const measured: MeasuredConfig = {
      version: 1,
      deployment: DEPLOYMENT,
      logOrigin,
      kms: {
        ...measuredKey(current),
        rootCertificates: [ca],
        ...(replica && { replicas: [measuredKey(replica)] }),
        ...(previous && { previous: [measuredKey(previous)] }),
        ...(second && { second: measuredKey(second) }),
      },
      ...(options.migration === true && { migration: true }),
      ...(options.unwrappedKeys && { unwrappedKeys: options.unwrappedKeys }),
      parentCid: options.parentCid ?? 3,
      operators: { threshold: 2, keys: [1, 2, 3].map((index) => testOperator(dir, index)) },
      ...(measuredWitnesses.keys.length > 0 && { witnesses: measuredWitnesses }),
    };
    const measure = async (
      name: string,
      config: MeasuredConfig,
      files: BundleFiles,
    ): Promise<StackImage & { nsm: StackProcess }> => {
      const configFile = file(`${name}.json`, config);
      // The first image's module has no name of its own.
      const nsmName = name === 'enclave' ? 'nsm' : `nsm-${name}`;
      const nsmSocket = socket(nsmName);
      const nsmConfig = file(`${nsmName}.json`, {
        socket: nsmSocket,
        rootDir,
        instanceId: INSTANCE_ID,
        roleArn: INSTANCE_ROLE,
        region: REGION,
        debug: options.debugEnclave ?? false,
        measure: {
          cmdline: 'node enclave.cjs',
          addon: files.addon,
          files: [files.vault, files.agent, configFile],
        },
      });
      const nsm = await start(nsmName, [join(STACK, 'nsm', 'main.ts'), nsmConfig]);
      return { bundle: files, configFile, nsmSocket, nsm, pcrs: nsm.ready['pcrs'] as Record<string, string> };
    };
    const image = await measure('enclave', measured, bundle);
    const { nsm, pcrs } = image;
    const startEnclave = async (name: string, of: StackImage = image): Promise<StackEnclave> => {
      const addresses = options.addressesOf?.(name) ?? unixAddresses(dir, name);
      const { data, control, tunnel } = addresses;
      for (const address of [data, control]) {
        if (address.startsWith('unix:')) rmSync(address.slice('unix:'.length), { force: true });
      }
      const args = [...imageNodeFlags(), of.bundle.vault, of.configFile, of.nsmSocket, data, control, tunnel];
      if (options.addon !== undefined) args.push(options.addon);
      return { addresses, process: await start(name, args) };
    };
    // A debug enclave's zeros are refused by the policy's author; the policy then names an image that nobody runs.
    const allowed = [options.debugEnclave === true ? 'f'.repeat(96) : (pcrs['0'] ?? '')];
    await kmsKeys.allow(allowed);

    step(made.length === 0 ? 'booting the enclave' : 'booting the enclave, starting three witnesses');
    const pcrsFile = writeMeasurements(join(dir, 'witness-pcrs.json'), pcrs);
    const rootPem = join(rootDir, 'root.pem');
    const [enclave, ...witnessProcesses] = await Promise.all([
      startEnclave('enclave'),
      ...made.map((witness, index) =>
        start(`witness-${index + 1}`, witnessArguments({ dir: witness.dir, logOrigin, pcrsFile, rootPem })),
      ),
    ]);
    const processes = { nsm, kms, enclave: enclave.process };
    return {
      dir,
      deployment: DEPLOYMENT,
      logOrigin,
      witnesses: witnessProcesses.map((process) => ({
        url: String(process.ready['url']),
        key: String(process.ready['key']),
        process,
      })),
      kmsAdmin,
      sealedFile,
      kmsEndpoint: kmsKeys.tunnels[0].endpoint,
      kmsKeyArn: current.keyArn,
      kmsKeys,
      measuredKeys: { current, ...(replica && { replica }), ...(previous && { previous }), ...(second && { second }) },
      nsmRootDer: root.certificateDer,
      nsmRootPem: root.certificatePem,
      pcrs,
      credentialsFile: file('credentials.json', instance),
      enclaveAddresses: enclave.addresses,
      bundle,
      processes,
      start,
      startEnclave,
      measureImage: async (name, change, { bundle: files = bundle, isAllowed = true } = {}) => {
        const config = structuredClone(measured);
        change(config);
        const { nsm: _, ...further } = await measure(name, config, files);
        if (!isAllowed) return further;
        allowed.push(further.pcrs['0'] ?? '');
        await kmsKeys.allow(allowed);
        return further;
      },
      restartEnclave: async () => {
        await processes.enclave.stop();
        processes.enclave = (await startEnclave('enclave')).process;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The whole appliance. */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const backend = await startBackend({ witnesses: 'processes', ...options });
  try {
    options.onStep?.('starting the host');
    const databaseFile = join(backend.dir, 'qv.db');
    const addresses = backend.enclaveAddresses;
    const first = await startHost(backend, { name: 'host', addresses, databaseFile, ...options });
    // A debug enclave gets nothing from KMS, so there is no key to make and nothing to wait for.
    if (options.rowKey !== false && options.debugEnclave !== true) {
      options.onStep?.('making the row key');
      await initRowKey(first.adminSocket);
      await untilReady(first.url);
    }
    const stack: Stack = {
      ...backend,
      url: first.url,
      adminSocket: first.adminSocket,
      hostConfigFile: first.configFile,
      databaseFile,
      host: first.process,
      restartHost: async () => {
        await first.restart();
        stack.host = first.process;
        stack.url = first.url;
      },
      startHost: (name, { addresses }, hostConfig = {}) =>
        startHost(backend, { name, addresses, databaseFile, hostConfig }),
    };
    return stack;
  } catch (error) {
    await backend.stop();
    throw error;
  }
}

/** @throws Error naming what is missing when the host is not ready in time */
export async function untilReady(url: string, milliseconds = 20_000): Promise<void> {
  const deadline = performance.now() + milliseconds;
  for (;;) {
    const response = await fetch(`${url}/readyz`);
    const body = await response.text();
    if (response.ok) return;
    if (performance.now() > deadline) throw new Error(`the host is not ready: ${body}`);
    await sleep(50);
  }
}

/** Where there is nothing to build, no bundler is loaded. */
async function bundleStack(outDir: string): Promise<BundleFiles> {
  const { bundleEnclave } = await import('@quantumvault/enclave/bundle.ts');
  const entry = (name: string): string => join(STACK, 'enclave', name);
  return bundleEnclave({ vaultEntry: entry('main.ts'), agentEntry: entry('kms-agent.ts'), outDir });
}

function unixAddresses(dir: string, name: string): EnclaveAddresses {
  const address = (end: string): string => `unix:${join(dir, `${name}${end}.sock`)}`;
  return { data: address(''), control: address('-control'), tunnel: address('-tunnel') };
}

const localWitness = (dir: string, index: number) =>
  makeWitness(join(dir, `witness-${index}`), `witness-${index}.${DEPLOYMENT}.example`);

/** A throwaway operator key; the local stack has its own operators and uses the same commands as production. */
function testOperator(dir: string, index: number): string {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  mkdirSync(join(dir, 'operators'), { recursive: true, mode: 0o700 });
  const pem = privateKey.export({ format: 'pem', type: 'pkcs8' });
  writeFileSync(join(dir, 'operators', `${index}.pem`), pem, { mode: 0o600 });
  return addressOf(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)));
}

function randomSecret(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(30))).toString('base64');
}
