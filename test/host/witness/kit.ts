/** A log of one boot, attested by a simulated security module, and a witness to show it to. */
import { join } from 'node:path';
import { createLog } from '@quantumvault/host/log.ts';
import type { Admission } from '@quantumvault/host/witness/admission.ts';
import { initDirectory } from '@quantumvault/host/witness/directory.ts';
import { SERVER_LIMITS } from '@quantumvault/host/witness/server.ts';
import { type RunningWitness, startWitness } from '@quantumvault/host/witness/start.ts';
import { type BootId, bootIdOf, type Hash, hash, timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { bootLogOrigin, encodeLeaf, type Leaf, leafHash, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { type UserData, userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { type AddCheckpoint, formatAddCheckpoint } from '@quantumvault/shared/tlog/witness-request.ts';
import nacl from 'tweetnacl';
import { logSigner, type NoteSigner } from '../../shared/tlog/keys.ts';
import { naiveConsistency, naiveRoot } from '../../shared/tlog/naive.ts';
import type { SimulatedNsm } from '../../stack/nsm/simulated-nsm.ts';
import { documentOf, testNsm } from '../../stack/support.ts';
import { temporaryFolder } from '../../support/temporary.ts';

export const LOG_ORIGIN = 'example.com/qv';
export const CONFIG_HASH = hash(new Uint8Array(32).fill(7));
export const WITNESS_NAME = 'witness.example/w1';
export const PCR_SET = {
  name: 'image',
  pcrs: new Map([0, 1, 2].map((index) => [index, new Uint8Array(48).fill(0xa0 + index)])),
};

export interface BootOptions {
  readonly nsm?: SimulatedNsm;
  readonly userData?: Partial<UserData>;
  readonly leaf?: Partial<Leaf>;
}

/** One boot's log. Its leaves are numbers, except for leaf 0. */
export class TestLog {
  readonly boot: BootId;
  readonly origin: string;
  readonly bootRecord: Receipt;
  readonly leaves: Hash[];
  readonly signer: NoteSigner;

  private constructor(boot: BootId, bootRecord: Receipt, signer: NoteSigner) {
    this.boot = boot;
    this.origin = signer.key.name;
    this.bootRecord = bootRecord;
    this.signer = signer;
    this.leaves = [leafHash(bootRecord.leaf)];
  }

  static async boot(options: BootOptions = {}): Promise<TestLog> {
    const seed = nacl.randomBytes(32);
    const keys = nacl.sign.keyPair.fromSeed(seed);
    const boot = bootIdOf(keys.publicKey);
    const about = { bootKey: boot, configHash: CONFIG_HASH, logOrigin: LOG_ORIGIN, version: '1.2.3' };
    const userData = encodeAs(userDataCodec, { ...about, ...options.userData });
    const attestation = await documentOf(options.nsm ?? (await sharedNsm()), { userData });
    const first = { boot, sequence: 0n, kind: 'boot', attestation, configHash: CONFIG_HASH, time: timeMs(Date.now()) };
    const leaf = encodeLeaf({ ...first, ...options.leaf } as Leaf);
    const record = { leaf, signature: nacl.sign.detached(leaf, keys.secretKey) as Receipt['signature'] };
    return new TestLog(boot, record, logSigner(bootLogOrigin(LOG_ORIGIN, boot), seed));
  }

  /** The same log up to `size`, and another one from there. */
  forkAt(size: number): TestLog {
    const fork = new TestLog(this.boot, this.bootRecord, this.signer);
    fork.leaves.splice(0, 1, ...this.leaves.slice(0, size));
    return fork.grow(1, 'fork');
  }

  grow(count: number, word = 'leaf'): this {
    for (let left = count; left > 0; left--) this.leaves.push(leafHash(utf8(`${word} ${this.leaves.length}`)));
    return this;
  }

  get size(): number {
    return this.leaves.length;
  }

  root(size = this.size): Hash {
    return naiveRoot(this.leaves.slice(0, size));
  }

  text(size = this.size, extensions: readonly string[] = []): string {
    return formatCheckpoint({ origin: this.origin, size: BigInt(size), root: this.root(size), extensions });
  }

  note(size = this.size): Uint8Array {
    const text = this.text(size);
    return formatNote({ text, signatures: [this.signer.sign(text)] });
  }

  proof(oldSize: number, size = this.size): readonly Hash[] {
    return oldSize === 0 || oldSize > size ? [] : naiveConsistency(oldSize, this.leaves.slice(0, size));
  }

  /** The body of add-checkpoint, with what a test replaces. */
  request(oldSize: number, size = this.size, change: Partial<AddCheckpoint> = {}): Uint8Array {
    const honest = { oldSize: BigInt(oldSize), proof: this.proof(oldSize, size), note: this.note(size) };
    return formatAddCheckpoint({ ...honest, ...change });
  }

  /** What the host's publisher asks of its client. */
  cosignRequest(size = this.size) {
    const { origin, bootRecord } = this;
    const prove = async (oldSize: bigint) => this.proof(Number(oldSize), size);
    return { note: this.note(size), origin, size: BigInt(size), prove, bootRecord };
  }
}

let nsm: Promise<SimulatedNsm> | undefined;

export function sharedNsm(): Promise<SimulatedNsm> {
  nsm ??= testNsm();
  return nsm;
}

export async function testAdmission(change: Partial<Admission> = {}): Promise<Admission> {
  const { rootCertificateDer: unsafeTrustedRootDer } = await sharedNsm();
  return { pcrSets: [PCR_SET], logOrigin: LOG_ORIGIN, unsafeTrustedRootDer, ...change };
}

export const bodyOf = (bytes: Uint8Array): Uint8Array<ArrayBuffer> => Uint8Array.from(bytes);

export interface TestWitness extends RunningWitness {
  readonly dir: string;
  readonly logLines: string[];
  readonly key: VerifierKey;
  addCheckpoint(body: Uint8Array): Promise<Response>;
  addLog(record: Receipt | string): Promise<Response>;
  /** Ends it and keeps the directory. */
  stop(): Promise<void>;
  remove(): Promise<void>;
}

export interface TestWitnessOptions {
  readonly dir?: string;
  readonly admission?: Partial<Admission>;
  readonly now?: () => number;
  readonly limits?: Partial<typeof SERVER_LIMITS>;
}

/** In this process, over real sockets. */
export async function testWitness(options: TestWitnessOptions = {}): Promise<TestWitness> {
  const folder = await temporaryFolder();
  const dir = options.dir ?? join(folder.path, 'witness');
  if (options.dir === undefined) initDirectory(dir, WITNESS_NAME);
  const logLines: string[] = [];
  const running = await startWitness({
    dir,
    listen: { host: '127.0.0.1', port: 0 },
    admission: await testAdmission(options.admission),
    log: createLog('debug', { write: (line) => void logLines.push(line) }),
    limits: { ...SERVER_LIMITS, ...options.limits },
    ...(options.now && { now: options.now }),
  });
  return {
    ...running,
    ...requestsTo(running.url),
    dir,
    logLines,
    stop: running.close,
    remove: async () => {
      await running.close();
      await folder.remove();
    },
  };
}

export function requestsTo(url: string) {
  const post = (path: string, body: Uint8Array | string): Promise<Response> =>
    fetch(`${url}/${path}`, { method: 'POST', body: typeof body === 'string' ? body : bodyOf(body) });
  return {
    addCheckpoint: (body: Uint8Array) => post('add-checkpoint', body),
    addLog: (record: Receipt | string) => {
      if (typeof record === 'string') return post('add-log', record);
      const [leaf, signature] = [record.leaf, record.signature].map((bytes) => Buffer.from(bytes).toString('base64'));
      return post('add-log', JSON.stringify({ leaf, signature }));
    },
  };
}
