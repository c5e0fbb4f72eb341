/** The appliance whose processes are searched, and everything a test has to know of it to know its secrets. */
import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { blake2b } from '@noble/hashes/blake2.js';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { Log } from '@quantumvault/host/log.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, addressOf, signature as toSignature } from '@quantumvault/shared/brands.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import type { SecondSealing, WalletBlobs } from '@quantumvault/shared/protocol/message-parts.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import nacl from 'tweetnacl';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { readRecords, type SealedRecord } from '../stack/kms/record.ts';
import { type Stack, type StackOptions, startStack } from '../stack/stack.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import {
  type ImportInto,
  importInto,
  importing,
  importJson,
  type OutsideKey,
  outsideKey,
} from '../support/import-kit.ts';
import { creation, type Party, party, signing, transfer } from '../support/wallet-kit.ts';
import { readMemory } from './process-memory.ts';
import type { Row } from './secrets.ts';

export type ProcessName = 'enclave' | 'kms-agent' | 'host';

/** What came out of a request that was signed. */
export interface Signed {
  readonly wallet: Address;
  readonly message: Uint8Array;
  readonly signature: Uint8Array;
}

export interface FullRow extends Row {
  readonly executionKey: Uint8Array;
  readonly second?: SecondSealing | undefined;
}

/** Times a tenth of a second. */
const PATIENCE = 300;

const silent = (): void => undefined;
const noLog = { info: silent, warn: silent, error: silent, debug: silent, trace: silent, fatal: silent } as unknown;

export class Appliance {
  readonly stack: Stack;
  readonly kit: HttpKit;
  readonly kms: KmsAdmin;
  readonly wallets: HttpWallet[] = [];
  readonly signed: Signed[] = [];
  /** That sealed imported keys on their way. */
  readonly importBoxKeys: Uint8Array[] = [];
  /** Beside the host, for what an honest host never sends. */
  readonly enclave: EnclaveClient;
  readonly #database: DatabaseSync;
  readonly #records: SealedRecord[] = [];

  private constructor(stack: Stack) {
    this.stack = stack;
    this.kit = httpKit(stack);
    this.kms = new KmsAdmin(stack.kmsAdmin);
    this.#database = new DatabaseSync(stack.databaseFile, { readOnly: true });
    const address = parseTransportAddress(stack.enclaveAddresses.data);
    this.enclave = new EnclaveClient({ address, transport: unixTransport, log: noLog as Log });
    this.enclave.connect();
  }

  static async start(options: StackOptions): Promise<Appliance> {
    return new Appliance(await startStack({ witnesses: 'none', recordSealed: true, ...options }));
  }

  async stop(): Promise<void> {
    this.enclave.close();
    this.kms.close();
    this.#database.close();
    await this.stack.stop();
  }

  pidOf(name: ProcessName): number {
    const { processes, host } = this.stack;
    if (name === 'host') return host.pid;
    const { pid } = processes.enclave;
    if (name === 'enclave') return pid;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(' ');
    if (children.length !== 1) throw new Error(`the enclave has ${children.length} children`);
    return Number(children[0]);
  }

  /** Of the instance role, which both kms-agent and host have to hold. */
  credentials(): { readonly accessKeyId: string; readonly secretAccessKey: string } {
    return JSON.parse(readFileSync(this.stack.credentialsFile, 'utf8'));
  }

  /** Whether a process has these bytes anywhere. */
  async holds(name: ProcessName, bytes: Buffer): Promise<boolean> {
    return (await readMemory(this.pidOf(name))).bytes.includes(bytes);
  }

  /** Every envelope that KMS has made so far. */
  records(): readonly SealedRecord[] {
    this.#records.push(...readRecords(this.stack.sealedFile, this.#records.length));
    return this.#records;
  }

  /** When KMS last sealed a wallet's key, in milliseconds since 1970. */
  lastSealed(wallet: string): number | undefined {
    return this.records().findLast(({ context }) => context['qv:wallet'] === wallet)?.at;
  }

  rows(): readonly FullRow[] {
    const rows = this.#database.prepare('SELECT * FROM wallets').all();
    return rows.map((row) => {
      const blob = (name: string): Uint8Array => new Uint8Array(row[name] as Uint8Array);
      const optional = (name: string): Uint8Array | undefined => (row[name] === null ? undefined : blob(name));
      return {
        wallet: row['wallet'] as Address,
        owner: row['owner'] as Address,
        salt: blob('salt'),
        executionKey: blob('execution_key'),
        second:
          row['second_key'] === null ? undefined : { ciphertext: blob('second_key'), sealed: blob('second_sealed') },
        sealedSeed: blob('sealed_seed'),
        sealedState: blob('sealed_state'),
        policy: optional('policy'),
        policyMac: optional('policy_mac'),
      };
    });
  }

  rowOf(wallet: Address): FullRow {
    const row = this.rows().find((candidate) => candidate.wallet === wallet);
    if (row === undefined) throw new Error(`no row of ${wallet}`);
    return row;
  }

  async createWallet(): Promise<HttpWallet> {
    const [owner, requester] = [party(), quickParty()];
    const { deployment } = this.stack;
    const created = await patiently(() => this.kit.create(creation(deployment, owner, [requester])));
    const { wallet } = (await answer(created, 201)) as { wallet: Address };
    const own = { address: wallet, owner, requester, destination: party().address };
    this.wallets.push(own);
    return own;
  }

  /** A wallet whose key existed outside. */
  async importWallet(): Promise<HttpWallet> {
    const { wallet, answered, owner, requester } = await this.#import((statementHash, seed) =>
      concatBytes(statementHash, seed),
    );
    await answer(answered, 201);
    const own = { address: wallet.address, owner, requester, destination: party().address };
    this.wallets.push(own);
    return own;
  }

  /** One that opens and is not for its statement. @returns the key, which the enclave has seen and refused */
  async importForAnotherStatement(): Promise<OutsideKey> {
    const { wallet, answered } = await this.#import((_, seed) => concatBytes(new Uint8Array(32), seed));
    await answer(answered, ERRORS.import_refused.status);
    return wallet;
  }

  /** The public keys of the boot, from its attestation. */
  async attested(): Promise<ImportInto> {
    const { document } = await this.enclave.request('attest', { nonce: randomBytes(32) });
    return importInto(document);
  }

  async #import(contentOf: (statementHash: Uint8Array, seed: Uint8Array) => Uint8Array) {
    const [owner, requester, key] = [party(), quickParty(), outsideKey()];
    const into = await this.attested();
    const { deployment } = this.stack;
    const honest = importing({ deployment, owner, requesters: [requester.address], key, ...into });
    const statement = renderImportStatement({ ...honest, importBeforeMs: honest.importBefore });
    const content = contentOf(sha256(utf8(statement)), key.seed);
    const ephemeral = nacl.box.keyPair();
    const shared = nacl.box.before(into.importKey, ephemeral.secretKey);
    const nonce = blake2b(concatBytes(ephemeral.publicKey, into.importKey), { dkLen: 24 });
    const sealed = concatBytes(ephemeral.publicKey, nacl.box.after(content, nonce, shared));
    this.importBoxKeys.push(shared);
    const body = importJson({ ...honest, sealed });
    const answered = await patiently(() => this.kit.http('/v1/wallets/import', 'POST', body));
    return { wallet: key, answered, owner, requester };
  }

  async enable(own: HttpWallet): Promise<void> {
    const { documentFor, enablingBody, http } = this.kit;
    const body = enablingBody(documentFor(own), own.owner, undefined);
    await answer(await patiently(() => http(`/v1/wallets/${own.address}/policy`, 'PUT', body)), 200);
  }

  async sign(own: HttpWallet): Promise<void> {
    const transaction = transfer(own.address, own.destination, 1_000n);
    const response = await patiently(() => this.kit.sign(own, { transaction }));
    const reply = (await answer(response, 200)) as { signature: string };
    const message = new Uint8Array(transaction.serializeMessage());
    const signature = fromBase58(reply.signature, 64);
    this.signed.push({ wallet: own.address, message, signature });
  }

  /** Puts it under a fresh key. @throws QvError what the enclave or the host refuses with */
  async rotate({ address: wallet }: HttpWallet): Promise<void> {
    await adminCall(this.stack.adminSocket, 'wallet-rotate', { wallet }, LIMITS.walletRewrapMilliseconds);
  }

  /** Any amount, to the wallet's destination. */
  ask(own: HttpWallet, lamports: bigint): Promise<Response> {
    return patiently(() => this.kit.sign(own, { lamports }));
  }

  /** So many requests, each wallet's one after the other, all wallets at once. */
  async signMany(count: number, wallets: readonly HttpWallet[]): Promise<void> {
    let left = count;
    const lane = async (own: HttpWallet): Promise<void> => {
      while (left-- > 0) await this.sign(own);
    };
    await Promise.all(wallets.map(lane));
  }

  /** To the enclave itself, with a row that the host would refuse. */
  async signDirectly(own: HttpWallet, change: Partial<FullRow> = {}): Promise<unknown> {
    const { policy, policyMac, salt, executionKey, second, sealedSeed, sealedState } = {
      ...this.rowOf(own.address),
      ...change,
    };
    if (policy === undefined || policyMac === undefined) throw new Error('no policy');
    const blobs = { salt, executionKey, sealedSeed, ...(second && { second }), sealedState } as WalletBlobs;
    const transaction = transfer(own.address, own.destination, 1_000n);
    const { deployment } = this.stack;
    const facts = { deployment, wallet: own.address, transaction, policy: { bytes: policy, mac: policyMac }, blobs };
    const request = signing(own.requester, facts as Parameters<typeof signing>[1]);
    return this.enclave.request('sign', request);
  }
}

/** Signs by Node's crypto: a thousand signatures of tweetnacl take longer than everything else. */
function quickParty(): Party {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  return {
    address: addressOf(new Uint8Array(raw)),
    sign: (message) => toSignature(new Uint8Array(sign(null, message, privateKey))),
  };
}

/** Repeats what a busy host did not take: stopping it for a look makes it late. */
async function patiently(ask: () => Promise<Response>): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    // A connection that the host closes at that moment is no answer either.
    const response = await ask().catch((error: unknown) => {
      if (attempt === PATIENCE) throw error;
      return undefined;
    });
    if (response !== undefined && (response.status !== 503 || attempt === PATIENCE)) return response;
    await response?.body?.cancel();
    await sleep(100);
  }
}

async function answer(response: Response, status: number): Promise<unknown> {
  const body = await response.text();
  if (response.status !== status) throw new Error(`${response.status} in place of ${status}: ${body}`);
  return JSON.parse(body);
}
