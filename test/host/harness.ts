/** A whole host in this process, over real sockets and a real database, with a fake enclave behind it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { type LogLevel, parseHostConfig } from '@quantumvault/host/config.ts';
import { CONNECTION_LIMITS } from '@quantumvault/host/connections.ts';
import type { MetadataEndpoint } from '@quantumvault/host/instance-role/metadata.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { DEFAULT_RATE_LIMITS, type RateLimitsConfig } from '@quantumvault/host/rate-limits/config.ts';
import { type RunningHost, startHost } from '@quantumvault/host/start.ts';
import { type Address, addressOf, type Hash, type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { fromHex, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Policy, parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import {
  renderCreationStatement,
  renderImportStatement,
  renderPolicyStatement,
} from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import nacl from 'tweetnacl';
import { FakeEnclave } from '../support/fake-enclave.ts';
import { temporaryFolder, until } from '../support/temporary.ts';

export const DEPLOYMENT = 'test';
export const JSON_TYPE = { 'content-type': 'application/json' };

export interface Person {
  readonly address: Address;
  sign(bytes: Uint8Array): Uint8Array;
}

export function person(): Person {
  const keys = nacl.sign.keyPair();
  return { address: addressOf(keys.publicKey), sign: (bytes) => nacl.sign.detached(bytes, keys.secretKey) };
}

export interface SignReply {
  readonly signature: string;
  readonly messageHash: string;
  readonly lamportsOut: string;
  readonly feeLamports: string;
  readonly receipt: { readonly leaf: string; readonly signature: string };
}

export interface SignOptions {
  readonly id?: string;
  readonly body?: Record<string, unknown> | string;
  readonly timestamp?: number | string;
  readonly signer?: Person;
  readonly headers?: Record<string, string>;
}

export class Harness {
  readonly enclave = new FakeEnclave(DEPLOYMENT);
  readonly owner = person();
  readonly requester = person();
  readonly logLines: string[] = [];
  /** Added to the host's clock. */
  clockSkew = 0;
  enclaveTimeoutMilliseconds = 2_000;
  connectionLimits = CONNECTION_LIMITS;
  /** Written to the operators file at each start of the host; undefined: there is none. */
  logins: readonly { name: string; secret: string }[] | undefined;
  trustedProxies: readonly string[] = [];
  /** Everybody is one address here. */
  rateLimits: Partial<RateLimitsConfig> = Object.fromEntries(
    Object.keys(DEFAULT_RATE_LIMITS).map((name) => [name, 10_000_000]),
  );
  /** Further members of the configuration; the folder is there when it is asked. */
  moreConfig: () => Record<string, unknown> = () => ({});
  webhookRefusalsPerSecond: number | undefined;
  logLevel: LogLevel = 'debug';
  /** Where credentials come from instead of a file. */
  metadata: MetadataEndpoint | undefined;
  folder!: Awaited<ReturnType<typeof temporaryFolder>>;
  host!: RunningHost;
  wallet!: Address;
  policy!: Policy;
  #ids = 0;
  #nonces = 0;

  get database(): string {
    return join(this.folder.path, 'host.db');
  }

  path(name: string): string {
    return join(this.folder.path, name);
  }

  /** Host and enclave up, and a wallet whose policy is enabled. */
  static async withWallet(): Promise<Harness> {
    const host = await new Harness().start();
    await host.createWallet();
    await host.enablePolicy();
    return host;
  }

  /** Host and enclave up and a row key made. */
  async start(options: { initialise?: boolean; enclave?: boolean } = {}): Promise<this> {
    this.folder = await temporaryFolder();
    if (options.enclave !== false) await this.startEnclave();
    await this.startHost();
    if (options.initialise === false || options.enclave === false) return this;
    await until('the enclave serves', async () => (await this.admin('status', {})).enclave?.phase === 'serving');
    await this.admin('row-key-create', {});
    await this.ready();
    return this;
  }

  async startEnclave(): Promise<void> {
    await this.enclave.listen(this.path('enclave.sock'));
    await this.enclave.listen(this.path('control.sock'));
  }

  async startHost(): Promise<void> {
    writeFileSync(
      this.path('credentials.json'),
      JSON.stringify({ accessKeyId: 'AKIA', secretAccessKey: 'hidden-key' }),
      {
        mode: 0o600,
      },
    );
    if (this.logins !== undefined)
      writeFileSync(this.path('operators.json'), JSON.stringify({ logins: this.logins }), { mode: 0o600 });
    this.host = await startHost(this.config(), {
      transport: unixTransport,
      log: createLog(this.logLevel, { write: (line) => void this.logLines.push(line) }),
      now: () => timeMs(Date.now() + this.clockSkew),
      ...(this.metadata !== undefined && { instanceRole: { endpoint: this.metadata } }),
      ...(this.webhookRefusalsPerSecond !== undefined && { webhookRefusalsPerSecond: this.webhookRefusalsPerSecond }),
      enclaveTimeoutMilliseconds: this.enclaveTimeoutMilliseconds,
      connectionLimits: this.connectionLimits,
      filePollMilliseconds: 250,
      // Clients sign in this process, too, and tweetnacl holds its event loop for long.
      loopDelayMilliseconds: Number.POSITIVE_INFINITY,
    });
  }

  configJson() {
    return {
      deployment: DEPLOYMENT,
      listen: { host: '127.0.0.1', port: 0 },
      adminSocket: { path: this.path('admin.sock') },
      enclave: { data: `unix:${this.path('enclave.sock')}`, control: `unix:${this.path('control.sock')}` },
      store: { sqlite: this.database },
      kmsTunnel: { listen: `unix:${this.path('tunnel.sock')}`, endpoint: '127.0.0.1:1' },
      ...(this.metadata === undefined
        ? { credentialsFile: this.path('credentials.json') }
        : { credentials: { imds: true } }),
      ...(this.logins !== undefined && { operatorsFile: this.path('operators.json') }),
      rateLimits: this.rateLimits,
      trustedProxies: this.trustedProxies,
      ...this.moreConfig(),
    };
  }

  config() {
    return parseHostConfig(utf8(JSON.stringify(this.configJson())));
  }

  /** Somebody else on the database. */
  sql<T>(work: (database: DatabaseSync) => T): T {
    const database = new DatabaseSync(this.database, { timeout: 2_000 });
    try {
      return work(database);
    } finally {
      database.close();
    }
  }

  /** Keeps every writer out until the answer is called. */
  lockDatabase(): () => void {
    const database = new DatabaseSync(this.database, { timeout: 2_000 });
    database.exec('BEGIN IMMEDIATE');
    return () => {
      database.exec('ROLLBACK');
      database.close();
    };
  }

  rows(
    table: 'leaves' | 'replies' | 'wallets' | 'freezes' | 'totp_steps' | 'panic_codes' | 'signals',
  ): Record<string, unknown>[] {
    return this.sql((database) => database.prepare(`SELECT * FROM ${table}`).all());
  }

  ready(): Promise<void> {
    return until('the host is ready', async () => (await this.get('/readyz')).status === 200);
  }

  readonly admin: <C extends Parameters<typeof adminCall>[1]>(
    command: C,
    parameters: Parameters<typeof adminCall<C>>[2],
  ) => ReturnType<typeof adminCall<C>> = (command, parameters) =>
    adminCall(this.path('admin.sock'), command, parameters);

  async restartHost(): Promise<void> {
    await this.host.close();
    await this.startHost();
  }

  async stop(): Promise<void> {
    await this.host.close();
    await this.enclave.close();
    await this.folder.remove();
  }

  get(path: string): Promise<Response> {
    return fetch(this.host.url + path);
  }

  send(method: string, path: string, body: unknown, headers: Record<string, string> = JSON_TYPE): Promise<Response> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    return fetch(this.host.url + path, { method, body: text, headers });
  }

  /** A body for POST /v1/wallets; `changes` are made after signing. */
  creation(
    changes: Record<string, unknown> = {},
    signer: Person = this.owner,
    statement: { nonce?: string; seconds?: number } = {},
  ) {
    const nonce = statement.nonce === undefined ? nonceOf(++this.#nonces) : fromHex(statement.nonce);
    const createBefore = inSeconds(statement.seconds ?? 3600);
    const text = renderCreationStatement({
      deployment: DEPLOYMENT,
      owner: this.owner.address,
      nonce,
      requesters: [this.requester.address],
      createBeforeMs: createBefore,
    });
    return {
      purpose: 'qv/create-wallet/v1',
      deployment: DEPLOYMENT,
      owner: this.owner.address,
      nonce: toHex(nonce),
      requesters: [this.requester.address],
      createBefore: formatTime(createBefore),
      signature: toBase64(signer.sign(utf8(text))),
      ...changes,
    };
  }

  /** A body for POST /v1/wallets/import, of a box that only an enclave could tell from a real one. */
  importing(
    changes: Record<string, unknown> = {},
    signer: Person = this.owner,
    { nonce: given, wallet = person().address }: { nonce?: string; wallet?: Address } = {},
  ) {
    const nonce = given === undefined ? nonceOf(++this.#nonces) : fromHex(given);
    const importBefore = inSeconds(3600);
    const importKey = new Uint8Array(32).fill(9);
    const facts = {
      deployment: DEPLOYMENT,
      owner: this.owner.address,
      wallet,
      requesters: [this.requester.address],
      boot: this.enclave.boot,
    };
    const text = renderImportStatement({ ...facts, nonce, importKey, importBeforeMs: importBefore });
    return {
      purpose: 'qv/import-wallet/v1',
      ...facts,
      nonce: toHex(nonce),
      importKey: toHex(importKey),
      importBefore: formatTime(importBefore),
      signature: toBase64(signer.sign(utf8(text))),
      sealed: toBase64(new Uint8Array(LIMITS.sealedImportBytes).fill(1)),
      ...changes,
    };
  }

  async createWallet(): Promise<Address> {
    const response = await this.send('POST', '/v1/wallets', this.creation());
    if (response.status !== 201) throw new Error(await response.text());
    this.wallet = ((await response.json()) as { wallet: Address }).wallet;
    return this.wallet;
  }

  policyJson(changes: Record<string, unknown> = {}) {
    return {
      version: 1,
      wallet: this.wallet,
      owner: this.owner.address,
      epoch: 1,
      validFrom: '2020-01-01T00:00:00Z',
      validUntil: '2100-01-01T00:00:00Z',
      requesters: [this.requester.address],
      transaction: { versions: ['legacy', '0'], lookupTables: {}, durableNonce: false, maxInstructions: 16 },
      fees: { maxLamports: '2000000' },
      sol: { maxPerTransaction: '1000000000', destinations: [this.owner.address] },
      tokens: [],
      programs: [],
      ...changes,
    };
  }

  /** A body for PUT …/policy, signed by the owner. */
  enabling(policyJson = this.policyJson(), previousHash?: Hash, signer: Person = this.owner) {
    const policy = parsePolicy(policyJson);
    const enableBefore = inSeconds(3600);
    const statement = renderPolicyStatement({
      policy,
      policyHash: policyHash(policyBytes(policy)),
      deployment: DEPLOYMENT,
      previousHash,
      enableBeforeMs: enableBefore,
    });
    return {
      policy: policyJson,
      previousHash: previousHash === undefined ? null : toHex(previousHash),
      enableBefore: formatTime(enableBefore),
      signature: toBase64(signer.sign(utf8(statement))),
    };
  }

  async enablePolicy(): Promise<void> {
    const response = await this.send('PUT', `/v1/wallets/${this.wallet}/policy`, this.enabling());
    if (response.status !== 200) throw new Error(await response.text());
    this.policy = parsePolicy(this.policyJson());
  }

  signBody(changes: Record<string, unknown> = {}) {
    return {
      purpose: 'qv/sign/v1',
      audience: DEPLOYMENT,
      wallet: this.wallet,
      transaction: toBase64(new Uint8Array(200).fill(1)),
      ...changes,
    };
  }

  nextId(): string {
    return `request-${++this.#ids}`;
  }

  /** What a requester would send. */
  signRequest(options: SignOptions = {}): { body: string; headers: Record<string, string> } {
    const id = options.id ?? this.nextId();
    const timestamp = String(options.timestamp ?? Math.floor((Date.now() + this.clockSkew) / 1000));
    const given = options.body ?? this.signBody();
    const body = typeof given === 'string' ? given : JSON.stringify(given);
    const signature = (options.signer ?? this.requester).sign(utf8(`${id}.${timestamp}.${body}`));
    return {
      body,
      headers: {
        ...JSON_TYPE,
        'webhook-id': id,
        'webhook-timestamp': timestamp,
        'webhook-signature': `v1a,${toBase64(signature)}`,
        ...options.headers,
      },
    };
  }

  /** A file beside the database, as private as secrets have to be. */
  writePrivate(name: string, text: string): string {
    writeFileSync(this.path(name), text, { mode: 0o600 });
    return this.path(name);
  }

  sign(options: SignOptions = {}): Promise<Response> {
    const { body, headers } = this.signRequest(options);
    return this.send('POST', '/v1/sign', body, headers);
  }
}

function nonceOf(count: number): Uint8Array {
  const nonce = new Uint8Array(16);
  new DataView(nonce.buffer).setUint32(0, count);
  return nonce;
}

function inSeconds(seconds: number): TimeMs {
  return timeMs((Math.floor(Date.now() / 1000) + seconds) * 1000);
}
