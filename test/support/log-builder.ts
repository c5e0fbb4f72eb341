/**
 * Logs of attested boots in memory, as a host would serve them: a simulated security module under a root of its own,
 * leaves chained and numbered, checkpoints signed by the boot key and cosigned by witnesses.
 *
 * Honest by default. `serve` gives a copy that a test may change in any way before it becomes a LogSource.
 */
import { createHash } from 'node:crypto';
import {
  type Address,
  addressOf,
  type BootId,
  bootIdOf,
  type Hash,
  hash,
  signature,
  type TimeMs,
  timeMs,
} from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { AuditDeps, AuditExpectations, LogSource } from '@quantumvault/shared/evidence/audit/types.ts';
import {
  bootLogOrigin,
  encodeLeaf,
  type Leaf,
  leafHash,
  type Predecessor,
  type Receipt,
  type VerifyEd25519,
} from '@quantumvault/shared/evidence/leaf.ts';
import { userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote } from '@quantumvault/shared/tlog/note.ts';
import { encodeEntries } from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_WIDTH } from '@quantumvault/shared/tlog/tiles.ts';
import { append, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import nacl from 'tweetnacl';
import { logSigner, type NoteSigner, witnessSigner } from '../shared/tlog/keys.ts';
import { createSimulatedRoot, type SimulatedRoot } from '../stack/nsm/root.ts';
import { documentOf, testNsm, testPcr } from '../stack/support.ts';

export const LOG_ORIGIN = 'log.example.com/qv';
export const START = timeMs(Date.parse('2026-11-20T12:00:00Z'));
const CONFIG_HASH = hash(new Uint8Array(32).fill(0xc0));

export const verifyEd25519: VerifyEd25519 = (bytes, message, key) => nacl.sign.detached.verify(message, bytes, key);
export const nodeSha256 = (bytes: Uint8Array): Hash =>
  hash(Uint8Array.from(createHash('sha256').update(bytes).digest()));
export const auditDeps: AuditDeps = { verifyEd25519, sha256: nodeSha256 };

export type LeafFacts = Omit<Leaf, 'boot' | 'sequence' | 'previous' | 'time'>;

/** What a host serves of one boot. Tests change it. */
export interface ServedLog {
  entries: Uint8Array[];
  /** Signed note. */
  note: Uint8Array;
}

/** All of what a host serves. */
export interface Served {
  readonly logs: Map<BootId, ServedLog>;
  /** By the hash in hex. */
  readonly policies: Map<string, Uint8Array>;
}

/** A LogSource over a served copy, which it reads at each call. A bundle of which entries are gone is served short. */
export function sourceOf({ logs, policies }: Served): LogSource {
  const log = (boot: BootId): ServedLog => {
    const found = logs.get(boot);
    if (found === undefined) throw new QvError('log_unknown');
    return found;
  };
  return {
    boots: async () => [...logs.keys()],
    checkpoint: async (boot) => log(boot).note,
    async entries(boot, index, width) {
      const start = Number(index) * TILE_WIDTH;
      const entries = log(boot).entries.slice(start, start + width);
      if (entries.length === 0) throw new QvError('log_unknown');
      return encodeEntries(entries);
    },
    policy: async (found) => policies.get(toHex(found)),
  };
}

export interface DeploymentOptions {
  readonly logOrigin?: string;
  /** How many there are, each of which cosigns. */
  readonly witnesses?: number;
  readonly start?: TimeMs;
}

export interface StartOptions {
  /** Recorded as the second leaf. */
  readonly follows?: Predecessor;
  /** Fills PCR0: another image. */
  readonly pcr0?: number;
  readonly debug?: boolean;
  /** What the document says, when that is not what is right. */
  readonly attested?: { readonly logOrigin?: string; readonly configHash?: Hash; readonly bootKey?: BootId };
}

export class Deployment {
  readonly logOrigin: string;
  readonly root: SimulatedRoot;
  readonly witnesses: readonly NoteSigner[];
  readonly logs: BuiltLog[] = [];
  readonly policies = new Map<string, Uint8Array>();
  /** Trusted time of the next leaf. */
  now: number;

  constructor({ logOrigin = LOG_ORIGIN, witnesses = 0, start = START }: DeploymentOptions = {}) {
    this.logOrigin = logOrigin;
    this.root = createSimulatedRoot(start);
    this.now = start;
    this.witnesses = Array.from({ length: witnesses }, (_, index) =>
      witnessSigner(`witness-${index}.example.com`, BigInt(Math.floor(start / 1000))),
    );
  }

  /** A new boot with its leaf 0, and the leaf that names its predecessor. */
  async start({ follows, pcr0 = 0xa0, debug = false, attested = {} }: StartOptions = {}): Promise<BuiltLog> {
    const seed = nacl.randomBytes(32);
    const boot = bootIdOf(nacl.sign.keyPair.fromSeed(seed).publicKey);
    const now = this.now;
    const nsm = await testNsm({ root: this.root, now: () => now, pcr0: testPcr(pcr0), debug });
    const userData = encodeAs(userDataCodec, {
      bootKey: attested.bootKey ?? boot,
      configHash: attested.configHash ?? CONFIG_HASH,
      logOrigin: attested.logOrigin ?? this.logOrigin,
      version: '1.0.0',
    });
    const log = new BuiltLog(this, boot, seed);
    const attestation = await documentOf(nsm, { userData });
    log.record({ kind: 'boot', attestation, configHash: attested.configHash ?? CONFIG_HASH });
    if (follows !== undefined) log.record({ kind: 'follows', predecessor: follows });
    this.logs.push(log);
    return log;
  }

  /** Adds a policy document to what the host serves. */
  addPolicy(document: Record<string, unknown>): Hash {
    const bytes = policyBytes(parsePolicy(document));
    const hashed = policyHash(bytes);
    this.policies.set(toHex(hashed), bytes);
    return hashed;
  }

  /** A copy of what an honest host serves now. */
  serve(): Served {
    const logs = new Map<BootId, ServedLog>();
    for (const log of this.logs) logs.set(log.boot, { entries: [...log.entries], note: log.checkpoint() });
    return { logs, policies: new Map(this.policies) };
  }

  source(): LogSource {
    return sourceOf(this.serve());
  }

  /** What an auditor expects of it. */
  expectations(change: Partial<AuditExpectations> = {}): AuditExpectations {
    return {
      pcrSets: [{ name: 'image', pcrs: new Map([0, 1, 2].map((index) => [index, testPcr(0xa0 + index)])) }],
      configHash: CONFIG_HASH,
      logOrigin: this.logOrigin,
      unsafeTrustedRootDer: this.root.certificateDer,
      witnesses: this.witnesses.map(({ key }) => key),
      witnessThreshold: this.witnesses.length,
      ...change,
    };
  }
}

export interface CheckpointChanges {
  /** Of the first so many entries. */
  readonly size?: number;
  readonly entries?: readonly Uint8Array[];
  readonly origin?: string;
  readonly root?: Hash;
  readonly claimedSize?: bigint;
  /** How many of the deployment's witnesses cosign; all, when absent. */
  readonly witnesses?: number;
}

/** One boot's log. */
export class BuiltLog {
  readonly deployment: Deployment;
  readonly boot: BootId;
  readonly origin: string;
  readonly entries: Uint8Array[] = [];
  readonly leaves: Leaf[] = [];
  readonly #secretKey: Uint8Array;
  readonly #signer: NoteSigner;

  constructor(deployment: Deployment, boot: BootId, seed: Uint8Array) {
    this.deployment = deployment;
    this.boot = boot;
    this.origin = bootLogOrigin(deployment.logOrigin, boot);
    this.#secretKey = nacl.sign.keyPair.fromSeed(seed).secretKey;
    this.#signer = logSigner(this.origin, seed);
  }

  get size(): number {
    return this.entries.length;
  }

  /** Appends at the deployment's time, which then goes on by `advanceMs`. */
  record(facts: LeafFacts, advanceMs = 1000): Leaf {
    const last = this.entries.at(-1);
    const leaf: Leaf = {
      ...facts,
      boot: this.boot,
      sequence: BigInt(this.entries.length),
      time: timeMs(this.deployment.now),
      ...(last && { previous: leafHash(last) }),
    };
    this.deployment.now += advanceMs;
    this.leaves.push(leaf);
    this.entries.push(encodeLeaf(leaf));
    return leaf;
  }

  /** Puts changed leaves in the place of the last ones, chained and numbered anew: a boot that lies consistently. */
  rewrite(from: number, change: (leaf: Leaf) => Leaf): void {
    for (let at = from; at < this.leaves.length; at++) {
      const leaf = this.leaves[at];
      const before = this.entries[at - 1];
      if (leaf === undefined) throw new RangeError('no such leaf');
      const { previous: _, ...rest } = leaf;
      const changed = change({ ...rest, ...(before && { previous: leafHash(before) }) });
      this.leaves[at] = changed;
      this.entries[at] = encodeLeaf(changed);
    }
  }

  /** The leaf with the boot key's signature. */
  receipt(sequence: number | bigint): Receipt {
    const leaf = this.entries[Number(sequence)];
    if (leaf === undefined) throw new RangeError('no such leaf');
    return { leaf, signature: this.signAsBoot(leaf) };
  }

  signAsBoot(bytes: Uint8Array): ReturnType<typeof signature> {
    return signature(nacl.sign.detached(bytes, this.#secretKey));
  }

  /** A note by the boot key and the deployment's witnesses, of these entries or others. */
  checkpoint(changes: CheckpointChanges = {}): Uint8Array {
    const { origin = this.origin, witnesses = Number.POSITIVE_INFINITY } = changes;
    const entries = (changes.entries ?? this.entries).slice(0, changes.size);
    let frontier = EMPTY_FRONTIER;
    for (const entry of entries) frontier = append(frontier, leafHash(entry));
    const { root = frontierRoot(frontier), claimedSize: size = frontier.size } = changes;
    const text = formatCheckpoint({ origin, size, root, extensions: [] });
    const signers = [this.#signer, ...this.deployment.witnesses.slice(0, witnesses)];
    return formatNote({ text, signatures: signers.map(({ sign }) => sign(text)) });
  }

  /** As a later boot names this one. */
  predecessor(size?: number): Predecessor {
    return { boot: this.boot, checkpoint: this.checkpoint({ ...(size !== undefined && { size }), witnesses: 0 }) };
  }

  freeze(scope = 'fleet', reason = 'a test'): Uint8Array {
    const freezeId = nacl.randomBytes(16);
    this.record({ kind: 'frozen', freezeId, scope, reason });
    return freezeId;
  }

  resume(freezeId: Uint8Array, scope = 'fleet'): void {
    this.record({ kind: 'resumed', freezeId, scope });
  }

  /** A wallet created here; its policy is enabled at once unless `policy` is false. */
  wallet(policy: PolicyChange | false = {}): BuiltWallet {
    const wallet = new BuiltWallet(this);
    this.record({ kind: 'wallet-created', wallet: wallet.address, actor: wallet.owner, stateVersion: 1n });
    if (policy !== false) wallet.enable(policy);
    return wallet;
  }
}

/** The leaf of an import into that boot, once more if it is there already. */
export function recordImport(log: BuiltLog, wallet: BuiltWallet, change: Partial<LeafFacts> = {}): Leaf {
  wallet.log = log;
  const facts = { kind: 'wallet-imported', wallet: wallet.address, actor: wallet.owner, stateVersion: 1n } as const;
  return log.record({ ...facts, ...change });
}

/** The leaf with which a wallet is put under a fresh key. */
export function recordRewrapped(wallet: BuiltWallet, change: Partial<LeafFacts> = {}): Leaf {
  wallet.version++;
  return wallet.log.record({
    kind: 'rewrapped',
    wallet: wallet.address,
    stateVersion: wallet.version,
    ...(wallet.policyHash && { policyHash: wallet.policyHash }),
    ...change,
  });
}

/** The leaf with which its owner ends a wallet. */
export function recordRetired(wallet: BuiltWallet, change: Partial<LeafFacts> = {}): Leaf {
  wallet.version++;
  return wallet.log.record({
    kind: 'retired',
    wallet: wallet.address,
    actor: wallet.owner,
    stateVersion: wallet.version,
    ...(wallet.policyHash && { policyHash: wallet.policyHash }),
    ...change,
  });
}

export type PolicyChange = Readonly<Record<string, unknown>>;

export interface SignFacts {
  readonly lamports?: bigint;
  readonly fee?: bigint;
  readonly tokens?: readonly { readonly mint: Address; readonly amount: bigint }[];
  readonly requestId?: string;
  /** Of the time until the next leaf. */
  readonly advanceMs?: number;
  /** Anything else that the leaf shall say. */
  readonly change?: Partial<LeafFacts>;
}

const newAddress = (): Address => addressOf(nacl.randomBytes(32));

/** A wallet and what its leaves say; it counts its own versions. */
export class BuiltWallet {
  readonly address = newAddress();
  readonly owner = newAddress();
  readonly requester = newAddress();
  log: BuiltLog;
  version = 1n;
  epoch = 0;
  policyHash: Hash | undefined;
  /** Signatures given out, by the sequence of their leaves. */
  readonly signatures = new Map<bigint, Uint8Array>();

  constructor(log: BuiltLog) {
    this.log = log;
  }

  document(change: PolicyChange = {}): Record<string, unknown> {
    return {
      version: 1,
      wallet: this.address,
      owner: this.owner,
      epoch: this.epoch + 1,
      validFrom: '2026-01-01T00:00:00Z',
      validUntil: '2036-01-01T00:00:00Z',
      requesters: [this.requester],
      transaction: { versions: ['0'], lookupTables: {}, durableNonce: false, maxInstructions: 8 },
      fees: { maxLamports: '100000' },
      sol: { maxPerTransaction: '1000000', destinations: [this.owner] },
      tokens: [],
      programs: [],
      ...change,
    };
  }

  enable(change: PolicyChange = {}): Leaf {
    this.policyHash = this.log.deployment.addPolicy(this.document(change));
    this.epoch++;
    this.version++;
    return this.log.record({
      kind: 'policy-enabled',
      wallet: this.address,
      actor: this.owner,
      policyHash: this.policyHash,
      stateVersion: this.version,
    });
  }

  sign({ lamports = 1000n, fee = 5000n, tokens = [], requestId, advanceMs, change }: SignFacts = {}): Leaf {
    this.version++;
    const made = nacl.randomBytes(64);
    this.signatures.set(BigInt(this.log.size), made);
    const facts: LeafFacts = {
      kind: 'signed',
      wallet: this.address,
      actor: this.requester,
      requestId: requestId ?? `request-${this.version}`,
      messageHash: leafHash(utf8(`message ${this.address} ${this.version}`)),
      amounts: { lamportsOut: lamports, feeLamports: fee, ...(tokens.length > 0 && { tokens }) },
      stateVersion: this.version,
      signatureHash: nodeSha256(made),
      ...(this.policyHash && { policyHash: this.policyHash }),
      ...change,
    };
    return this.log.record(facts, advanceMs);
  }

  /** The request of an earlier leaf, signed again. */
  repeat({ boot: _, sequence, previous: __, time: ___, ...facts }: Leaf, change: Partial<LeafFacts> = {}): Leaf {
    return this.log.record({ ...facts, stateVersion: this.version, repeats: sequence, ...change });
  }

  deny(rule = 'sol.window', requestId = 'denied'): Leaf {
    return this.log.record({
      kind: 'denied',
      wallet: this.address,
      actor: this.requester,
      requestId,
      messageHash: leafHash(utf8('denied')),
      rule,
      value: '1',
      amounts: { lamportsOut: 1n, feeLamports: 5000n },
      ...(this.policyHash && { policyHash: this.policyHash }),
    });
  }

  /** Released by its holder to another boot, which records it. */
  moveTo(log: BuiltLog): void {
    const facts = { kind: 'release', wallet: this.address } as const;
    this.log.record({ ...facts, stateVersion: this.version, successor: log.boot });
    this.version++;
    log.record({ ...facts, stateVersion: this.version, predecessor: this.log.predecessor() });
    this.log = log;
  }

  /** Leased to another boot, which takes the state of this version: its old one is gone and says nothing. */
  leaseTo(log: BuiltLog, version = this.version): void {
    const predecessor = this.log.predecessor();
    this.version = version + 1n;
    log.record({ kind: 'lease', wallet: this.address, stateVersion: this.version, predecessor });
    this.log = log;
  }
}
