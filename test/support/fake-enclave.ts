/**
 * An enclave for the host's tests: real frames over a Unix socket, a real boot key, no secrets and no judgement.
 * Each kind of message has a handler that a test may replace.
 */

import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import {
  type Address,
  addressOf,
  bootIdOf,
  type Hash,
  hash,
  type Signature,
  timeMs,
} from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import {
  bootLogOrigin,
  decodeLeaf,
  enableReceiptCodec,
  encodeLeaf,
  freezeAckCodec,
  type Leaf,
  leafHash,
  type Receipt,
  retireAckCodec,
  type SuccessionKind,
  type Successor,
  successionAckCodec,
  walletCertificateCodec,
} from '@quantumvault/shared/evidence/leaf.ts';
import { migrationRowCodec } from '@quantumvault/shared/evidence/migration.ts';
import { resumeAckCodec } from '@quantumvault/shared/evidence/succession.ts';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import {
  decodeRequestHead,
  encodeRefusal,
  encodeReply,
  type MessageName,
  type Phase,
  type Refusal,
  type ReplyOf,
  type RequestOf,
} from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, noteMessage, noteSignature } from '@quantumvault/shared/tlog/note.ts';
import { append, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { type Listener, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import nacl from 'tweetnacl';

/** Thrown by a handler: a refusal with a receipt. */
export class Refused extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.code);
    this.refusal = refusal;
  }
}

/** Answered by a handler: these raw bytes are written instead of a reply, `hang` nothing, `drop` hangs up. */
export type Misbehaviour = { readonly raw: Uint8Array } | { readonly frame: Uint8Array } | 'hang' | 'drop';

type Handler<N extends MessageName> = (
  body: RequestOf<N>,
) => ReplyOf<N> | Misbehaviour | Promise<ReplyOf<N> | Misbehaviour>;
export type Handlers = { [N in MessageName]?: Handler<N> };

const sha256 = (bytes: Uint8Array): Hash => hash(new Uint8Array(createHash('sha256').update(bytes).digest()));

export class FakeEnclave {
  readonly handlers: Handlers;
  /** Every request in order of arrival, with the socket it came by. */
  readonly requests: { readonly name: MessageName; readonly body: RequestOf<MessageName>; readonly path: string }[] =
    [];
  readonly deployment: string;
  phase: Phase = 'serving';
  stateVersion = 0n;
  /** Of the successor who claims or is cancelled. */
  delayDays = 30;
  /** The first one; each further one is the SHA-256 of its blob. */
  rowKey = new Uint8Array(32).fill(7);
  #rowKeys = 0;
  #keys = nacl.sign.keyPair();
  #receipts: Receipt[] = [];
  #frontier = EMPTY_FRONTIER;
  #previous: Hash | undefined;
  #bootRecord: Receipt | undefined;
  /** By scope, the ids under which it is frozen, the last order's first. */
  readonly freezes = new Map<string, Uint8Array[]>();
  #freezeCount = 0;
  readonly #listeners = new Map<string, Listener>();
  readonly #streams = new Set<Duplex>();

  constructor(deployment = 'test', handlers: Handlers = {}) {
    this.deployment = deployment;
    this.handlers = handlers;
  }

  get boot() {
    return bootIdOf(this.#keys.publicKey);
  }

  get bootKey(): Uint8Array {
    return this.#keys.publicKey;
  }

  async listen(path: string): Promise<void> {
    const listener = await unixTransport.listen(parseTransportAddress(`unix:${path}`), (stream) => {
      this.#streams.add(stream);
      stream.on('error', () => {});
      stream.on('end', () => stream.end());
      stream.on('close', () => this.#streams.delete(stream));
      readFrames(stream, (payload) => void this.#answer(stream, payload, path));
    });
    this.#listeners.set(path, listener);
  }

  async close(path?: string): Promise<void> {
    for (const [key, listener] of this.#listeners) {
      if (path !== undefined && key !== path) continue;
      this.#listeners.delete(key);
      await listener.close();
    }
  }

  hangUp(): void {
    for (const stream of this.#streams) stream.destroy();
  }

  /** A new start of the enclave: new key, new log, no freeze. */
  reboot(): void {
    this.#keys = nacl.sign.keyPair();
    this.#receipts = [];
    this.#frontier = EMPTY_FRONTIER;
    this.#previous = undefined;
    this.#bootRecord = undefined;
    this.freezes.clear();
    this.phase = 'serving';
    this.hangUp();
  }

  /** For handlers that wrap the usual behaviour. */
  defaultHandler<N extends MessageName>(name: N): Handler<N> {
    return this.#defaults[name] as Handler<N>;
  }

  count(name: MessageName): number {
    return this.requests.filter((request) => request.name === name).length;
  }

  leaf(facts: Omit<Leaf, 'boot' | 'sequence' | 'previous' | 'time'>): Receipt {
    const bytes = encodeLeaf({
      boot: this.boot,
      sequence: BigInt(this.#receipts.length),
      ...(this.#previous === undefined ? {} : { previous: this.#previous }),
      time: timeMs(Date.now()),
      ...facts,
    });
    this.#previous = leafHash(bytes);
    this.#frontier = append(this.#frontier, this.#previous);
    const receipt = { leaf: bytes, signature: this.sign(bytes) };
    this.#receipts.push(receipt);
    return receipt;
  }

  checkpoint(): Uint8Array {
    const origin = bootLogOrigin('fake.example/qv', this.boot);
    const key = verifierKey(origin, 'ed25519', this.#keys.publicKey);
    const { size } = this.#frontier;
    const text = formatCheckpoint({ origin, size, root: frontierRoot(this.#frontier), extensions: [] });
    return formatNote({ text, signatures: [noteSignature(key, this.sign(noteMessage(text)))] });
  }

  sign(bytes: Uint8Array): Signature {
    return nacl.sign.detached(bytes, this.#keys.secretKey) as Signature;
  }

  async #answer(stream: Duplex, payload: Uint8Array, path: string): Promise<void> {
    const { id, name, body } = decodeRequestHead(payload);
    const request = body();
    this.requests.push({ name, body: request, path });
    let answer: Uint8Array;
    try {
      const handler = (this.handlers[name] ?? this.#defaults[name]) as Handler<MessageName>;
      const reply = await handler(request);
      if (reply === 'hang') return;
      if (reply === 'drop') return void stream.destroy();
      if ('raw' in reply) return void stream.write(reply.raw);
      answer = 'frame' in reply ? reply.frame : encodeReply(id, name, reply as never);
    } catch (error) {
      if (error instanceof Refused) answer = encodeRefusal(id, error.refusal);
      else answer = encodeRefusal(id, { code: error instanceof QvError ? error.code : 'internal' });
    }
    if (!stream.destroyed) writeFrame(stream, answer);
  }

  readonly #defaults: { [N in MessageName]: Handler<N> } = {
    status: () => ({
      phase: this.phase,
      boot: this.boot,
      deployment: this.deployment,
      configHash: sha256(new Uint8Array(1)),
      time: timeMs(Date.now()),
      leaves: BigInt(this.#receipts.length),
      version: 'fake',
      kmsKeyArn: 'arn:aws:kms:us-east-1:000000000000:key/fake',
      kmsKeys: [
        {
          keyArn: 'arn:aws:kms:us-east-1:000000000000:key/fake',
          use: 'current' as const,
          calls: 0n,
          failures: 0n,
          isAvoided: false,
        },
      ],
      ...(this.phase === 'frozen' && { freezeId: this.#fleetId() }),
      wallets: 0,
      witnessThreshold: 0,
    }),
    attest: ({ nonce }) => ({ document: nonce }),
    credentials: () => ({}),
    rowKeyCreate: () => ({ blob: new Uint8Array(100).fill(3 + this.#rowKeys++) }),
    rowKeyUnwrap: ({ blob }) => ({ rowKey: blob[0] === 3 ? Uint8Array.from(this.rowKey) : sha256(blob) }),
    leavesGet: ({ from }) => ({ receipts: this.#receipts.slice(Number(from), Number(from) + LIMITS.leavesPerReply) }),
    checkpoint: async ({ after }) => {
      for (let waited = 0; after !== undefined && BigInt(this.#receipts.length) <= after && waited < 100; waited++)
        await new Promise((resolve) => setTimeout(resolve, 10));
      return { note: this.checkpoint() };
    },
    cosign: () => ({ covered: this.#frontier.size }),
    follow: ({ checkpoint }) => ({
      receipt: this.leaf({ kind: 'follows', predecessor: { boot: this.boot, checkpoint } }),
    }),
    bootRecord: () => {
      this.#bootRecord ??= this.leaf({
        kind: 'boot',
        attestation: new Uint8Array(64),
        configHash: sha256(new Uint8Array(1)),
      });
      return { receipt: this.#bootRecord };
    },
    walletCreate: (request) => this.#newWallet(request, this.#walletOf(request.owner, request.nonce), 'wallet-created'),
    walletImport: (request) => this.#newWallet(request, request.wallet, 'wallet-imported'),
    migrationBegin: () => ({}),
    walletMigrate: ({ row, dryRun }) => {
      if (dryRun) return {};
      const { owner, requesters, wallet } = decodeAs(migrationRowCodec, row, 'row');
      const nonce = sha256(row).subarray(0, 16);
      const facts = { deployment: this.deployment, owner, nonce, requesters };
      return { created: this.#newWallet(facts, wallet, 'wallet-migrated') };
    },
    migrationEnd: () => ({}),
    policyEnable: ({ policy, previousHash }) => {
      const receipt = this.leaf({ kind: 'policy-enabled', policyHash: sha256(policy) });
      const bytes = encodeAs(enableReceiptCodec, {
        deployment: this.deployment,
        boot: this.boot,
        wallet: addressOf(new Uint8Array(32).fill(1)),
        owner: addressOf(new Uint8Array(32).fill(2)),
        epoch: 1,
        policyHash: sha256(policy),
        ...(previousHash === undefined ? {} : { previousHash }),
        leafHash: leafHash(receipt.leaf),
      });
      return {
        mac: new Uint8Array(32).fill(5),
        state: { blob: new Uint8Array(90).fill(6), version: ++this.stateVersion },
        enableReceipt: { bytes, signature: this.sign(bytes) },
        receipt,
      };
    },
    walletRewrap: ({ wallet, policy }) => {
      const version = ++this.stateVersion;
      const [filler, named] = [Number(version % 251n), policy && sha256(policy)];
      const receipt = this.leaf({
        kind: 'rewrapped',
        wallet,
        stateVersion: version,
        ...(named && { policyHash: named }),
      });
      const keys = {
        salt: new Uint8Array(32).fill(filler),
        executionKey: new Uint8Array(180).fill(filler),
        sealedSeed: new Uint8Array(72).fill(filler),
      };
      const mac = policy && new Uint8Array(32).fill(filler);
      const state = { blob: new Uint8Array(90).fill(filler), version };
      return { rewrapped: { keys, at: timeMs(Date.now()), ...(mac && { mac }) }, state, receipt };
    },
    walletRetire: ({ deployment, wallet, owner, nonce, policyHash }) => {
      const version = ++this.stateVersion;
      const policy = policyHash === undefined ? {} : { policyHash };
      const receipt = this.leaf({ kind: 'retired', wallet, actor: owner, stateVersion: version, ...policy });
      const { time } = decodeLeaf(receipt.leaf);
      const facts = { deployment, boot: this.boot, wallet, owner, nonce, time, ...policy };
      const bytes = encodeAs(retireAckCodec, { ...facts, leafHash: leafHash(receipt.leaf) });
      const state = { blob: new Uint8Array(90).fill(8), version };
      return { state, ack: { bytes, signature: this.sign(bytes) }, receipt };
    },
    successorName: (request) => this.#succession('successor-named', request, request.successor),
    takeoverClaim: (request) =>
      this.#succession('takeover-claimed', request, { key: request.successor, delayDays: this.delayDays }),
    takeoverCancel: (request) =>
      this.#succession('takeover-cancelled', request, { key: request.successor, delayDays: this.delayDays }),
    takeoverComplete: (request) => {
      const { successor: key } = request;
      const reply = this.#succession('owner-changed', request, { key, delayDays: this.delayDays });
      const fill = (length: number) => new Uint8Array(length).fill(9);
      const keys = { salt: fill(32), executionKey: fill(180), sealedSeed: fill(72) };
      return { ...reply, rewrapped: { keys, at: timeMs(Date.now()), owner: key } };
    },
    sign: ({ id, body }) => {
      const amounts = { lamportsOut: 1_000_000n, feeLamports: 5_000n };
      const messageHash = sha256(body);
      if (new TextDecoder().decode(body).includes('"dryRun":true')) {
        return { messageHash, amounts, allow: true, rules: [{ rule: 'sol.maxPerTransaction', outcome: 'allow' }] };
      }
      if (this.phase === 'frozen') throw new QvError('frozen');
      const wallet = /"wallet":"([^"]+)"/.exec(new TextDecoder().decode(body))?.[1];
      if (this.freezes.has(`wallet:${wallet}`)) throw new QvError('frozen', { path: `wallet:${wallet}` });
      const receipt = this.leaf({ kind: 'signed', requestId: id, messageHash, amounts });
      const version = ++this.stateVersion;
      return {
        messageHash,
        amounts,
        signature: new Uint8Array(64).fill(Number(version % 251n)) as Signature,
        state: { blob: new Uint8Array(90).fill(Number(version % 251n)), version },
        receipt,
      };
    },
    signBatch: ({ id, body }) => {
      if (this.phase === 'frozen') throw new QvError('frozen');
      const { transactions, dryRun } = JSON.parse(new TextDecoder().decode(body)) as {
        transactions: readonly string[];
        dryRun?: boolean;
      };
      const amounts = { lamportsOut: 1_000_000n, feeLamports: 5_000n };
      const verdicts = transactions.map((transaction) => {
        const messageHash = sha256(new TextEncoder().encode(transaction));
        if (dryRun === true) return { messageHash, allow: true };
        const receipt = this.leaf({ kind: 'signed', requestId: id, messageHash, amounts });
        const version = ++this.stateVersion;
        return {
          ...{ messageHash, allow: true, receipt },
          signature: new Uint8Array(64).fill(Number(version % 251n)) as Signature,
        };
      });
      const version = this.stateVersion;
      const state = { blob: new Uint8Array(90).fill(Number(version % 251n)), version };
      return dryRun === true ? { verdicts } : { verdicts, state };
    },
    freeze: ({ scope, reason }) => {
      const freezeId = this.holdFreeze(scope);
      const receipt = this.leaf({ kind: 'frozen', freezeId, scope, reason });
      const bytes = encodeAs(freezeAckCodec, {
        deployment: this.deployment,
        boot: this.boot,
        freezeId,
        scope,
        time: decodeLeaf(receipt.leaf).time,
        leafHash: leafHash(receipt.leaf),
      });
      return { ack: { bytes, signature: this.sign(bytes) }, receipt };
    },
    resume: ({ scope, freezeId }) => {
      const held = this.freezes.get(scope) ?? [];
      const left = held.filter((id) => !equalBytes(id, freezeId));
      if (left.length === held.length) throw new QvError('freeze_unknown', { path: scope });
      if (left.length === 0) this.freezes.delete(scope);
      else this.freezes.set(scope, left);
      if (scope === 'fleet' && left.length === 0) this.phase = 'serving';
      const receipt = this.leaf({ kind: 'resumed', freezeId, scope });
      const bytes = encodeAs(resumeAckCodec, {
        deployment: this.deployment,
        boot: this.boot,
        freezeId,
        scope,
        time: decodeLeaf(receipt.leaf).time,
        leafHash: leafHash(receipt.leaf),
      });
      return { ack: { bytes, signature: this.sign(bytes) }, receipt };
    },
    freezesGet: () => {
      if (this.phase === 'frozen') this.#fleetId();
      const all = [...this.freezes].flatMap(([scope, ids]) => ids.map((freezeId) => ({ scope, freezeId })));
      return { freezes: all.slice(0, LIMITS.carriedFreezes), count: all.length };
    },
    release: () => {
      throw new QvError('wallet_unknown');
    },
    take: () => {
      throw new QvError('wallet_held_elsewhere');
    },
    leaseShow: () => ({ given: 0 }),
    budgets: () => ({ time: timeMs(Date.now()), budgets: [] }),
    stateGet: () => ({ state: { blob: new Uint8Array(90), version: this.stateVersion } }),
  };

  /** Frozen, by whomever; a new id in place of earlier ones. */
  holdFreeze(scope: string): Uint8Array {
    const freezeId = new Uint8Array(16).fill(9);
    freezeId[0] = ++this.#freezeCount;
    this.freezes.set(scope, [freezeId]);
    if (scope === 'fleet') this.phase = 'frozen';
    return freezeId;
  }

  #fleetId(): Uint8Array {
    return this.freezes.get('fleet')?.[0] ?? this.holdFreeze('fleet');
  }

  #newWallet(
    { deployment, owner, nonce, requesters }: Omit<RequestOf<'walletCreate'>, 'createBefore' | 'signature'>,
    wallet: Address,
    kind: 'wallet-created' | 'wallet-imported' | 'wallet-migrated',
  ): NewWallet {
    const signers = kind === 'wallet-migrated' && { signers: [owner] };
    const receipt = this.leaf({ kind, wallet, actor: owner, stateVersion: 1n, ...signers });
    const bytes = encodeAs(walletCertificateCodec, {
      deployment,
      boot: this.boot,
      wallet,
      owner,
      requesters,
      kmsKeyArn: 'arn:aws:kms:us-east-1:000000000000:key/fake',
      nonce,
      leafHash: leafHash(receipt.leaf),
      ...(kind !== 'wallet-created' && { imported: true }),
      ...(kind === 'wallet-migrated' && { migrated: true }),
    });
    this.stateVersion = 1n;
    const blobs = {
      salt: new Uint8Array(32).fill(1),
      executionKey: new Uint8Array(180).fill(2),
      sealedSeed: new Uint8Array(72).fill(3),
      sealedState: new Uint8Array(90).fill(4),
    };
    return { wallet, blobs, stateVersion: 1n, certificate: { bytes, signature: this.sign(bytes) }, receipt };
  }

  /** Whatever it is asked: what would be refused is the real enclave's business. */
  #succession(
    kind: SuccessionKind,
    request: Omit<RequestOf<'takeoverClaim'>, 'successor'>,
    successor: Successor | undefined,
  ): ReplyOf<'takeoverClaim'> {
    const { deployment, wallet, owner, nonce, change } = request;
    const version = ++this.stateVersion;
    const isClaim = kind === 'takeover-claimed' || kind === 'owner-changed';
    const time = timeMs(Date.now());
    const claimed = isClaim && { claimedAt: time };
    const succession = { change, owner, ...(successor && { successor }), ...claimed };
    const actor = isClaim && successor ? successor.key : owner;
    const receipt = this.leaf({ kind, wallet, actor, stateVersion: version, succession });
    const facts = { deployment, boot: this.boot, wallet, kind, nonce, time, succession };
    const bytes = encodeAs(successionAckCodec, { ...facts, leafHash: leafHash(receipt.leaf) });
    const state = { blob: new Uint8Array(90).fill(8), version };
    return { state, ack: { bytes, signature: this.sign(bytes) }, receipt };
  }

  #walletOf(owner: Address, nonce: Uint8Array): Address {
    return addressOf(sha256(new TextEncoder().encode(`${owner}${Buffer.from(nonce).toString('hex')}`)));
  }
}
