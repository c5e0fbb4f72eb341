/**
 * What the host keeps, and the few operations on it. Each operation is one transaction and is answered after its
 * COMMIT. Nothing stored authorises a signature: the enclave opens, or refuses, every blob itself.
 *
 * Every operation throws QvError store_unavailable (locked, failing or not answering) or overloaded (queue full). Those
 * that write a MAC throw store_conflict with the path `row-key`, and write nothing, where it is not under the key that
 * new ones have to be under (row-keys.ts).
 */
import type { Address, BootId, Hash, Signature, TimeMs } from '@quantumvault/shared/brands.ts';
import { decodeLeaf, type Leaf, type LeafKind, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import type { SecondSealing } from '@quantumvault/shared/protocol/message-parts.ts';
import type { Resealed, RowKeyBlobs, SealedPage, SealedQuery } from './sealed.ts';

/** One wallet, as stored. `rowMac` covers every other field (see row-mac.ts). */
export interface WalletRow {
  readonly wallet: Address;
  readonly owner: Address;
  readonly salt: Uint8Array;
  readonly executionKey: Uint8Array;
  readonly sealedSeed: Uint8Array;
  /** The execution key once more, for a second KMS key; absent of wallets that were made without one. */
  readonly second?: SecondSealing | undefined;
  /** Absent together until the owner enables the first policy. */
  readonly policy?: Uint8Array;
  readonly policyMac?: Uint8Array;
  readonly sealedState: Uint8Array;
  readonly stateVersion: bigint;
  readonly frozen: boolean;
  /** Its owner has ended it; the sealed state says so, too. */
  readonly retired: boolean;
  /** When its execution key and salt last took the place of others; absent while they are those of its creation. */
  readonly rotatedAt?: TimeMs;
  /** Grows when anything but the sealed state changes; so two writers of a row notice each other. */
  readonly generation: number;
  readonly createdAt: TimeMs;
  readonly rowMac: Uint8Array;
}

export interface LeafRecord {
  readonly boot: BootId;
  readonly sequence: bigint;
  readonly leaf: Uint8Array;
  readonly signature: Signature;
  /** As in the leaf, for finding it: written, and not read back. */
  readonly request?: LeafRequest;
  /** Likewise, for the history. */
  readonly about?: LeafAbout;
}

/** What the history is searched by. */
export interface LeafAbout {
  readonly at: TimeMs;
  readonly kind: LeafKind;
  /** Also the one of a wallet's freeze. */
  readonly wallet: Address | undefined;
  readonly actor: Address | undefined;
}

/** A place in the history: later ones are older. */
export interface HistoryPosition {
  readonly at: TimeMs;
  readonly number: number;
}

export interface HistoryQuery {
  readonly wallet?: Address;
  readonly actor?: Address;
  readonly kind?: LeafKind;
  /** Inclusive. */
  readonly from?: TimeMs;
  /** Exclusive. */
  readonly to?: TimeMs;
  /** Only what lies behind it. */
  readonly before?: HistoryPosition;
  readonly count: number;
}

export interface HistoryPage {
  readonly leaves: readonly LeafRecord[];
  /** Absent when there is nothing more. */
  readonly next?: HistoryPosition;
}

/** The request that a leaf decided. */
export interface LeafRequest {
  readonly id: string;
  readonly wallet: Address | undefined;
  readonly requester: Address | undefined;
  readonly isSigned: boolean;
}

/** One boot's log as it is published: what its tiles hold, and the signed note that says so. */
export interface LogRecord {
  readonly boot: BootId;
  readonly size: bigint;
  /** With the witnesses' cosignatures. */
  readonly checkpoint: Uint8Array;
}

/** Hashes of one tile (C2SP tlog-tiles), as many as there are. */
export interface TileRecord {
  readonly level: number;
  readonly index: bigint;
  readonly hashes: Uint8Array;
}

/** The answer to one signing request, repeated until it expires. */
export interface ReplyRecord {
  readonly wallet: Address;
  readonly requester: Address;
  readonly id: string;
  readonly bodyHash: Hash;
  readonly status: number;
  /** The JSON body as it was sent. */
  readonly reply: string;
  readonly expiresAt: TimeMs;
}

/** The answer to one creation statement, kept for good: an owner's nonce makes one wallet. */
export interface CreationRecord {
  readonly owner: Address;
  readonly nonce: Uint8Array;
  readonly statementHash: Hash;
  readonly wallet: Address;
  readonly reply: string;
}

/** A freeze that holds. */
export interface FreezeRecord {
  readonly scope: string;
  /** Of the first order for this scope, as is the time. */
  readonly reason: string;
  readonly latchedAt: TimeMs;
  /** The boot that acknowledged the newest order and the id (16 bytes) it gave; absent together until one did. */
  readonly boot?: BootId;
  readonly freezeId?: Uint8Array;
}

/** What can freeze one wallet: the code itself is nowhere but with the owner. */
export interface PanicCodeRecord {
  readonly wallet: Address;
  readonly hash: Hash;
}

/** A webhook that was verified: what signing requests cite as `signal`. */
export interface SignalRecord {
  /** As configured. With the id, its name. */
  readonly source: string;
  readonly id: string;
  /** What its source says, in whole seconds; where a webhook has no time of its own, when it came in. */
  readonly at: TimeMs;
  readonly receivedAt: TimeMs;
  readonly expiresAt: TimeMs;
  /** Without the secret, where a body has one. */
  readonly body: Uint8Array;
  readonly bodyHash: Hash;
  /** Ed25519, over what its source signed. Absent: it was the host alone that verified it. */
  readonly signature?: Signature;
  /** See row-mac.ts. */
  readonly mac: Uint8Array;
}

export interface SignalInsert {
  readonly signal: SignalRecord;
  /** A signal of the same source and body that came in after this time is the same one, whatever its id. */
  readonly sameBodySince?: TimeMs;
  /** Unexpired signals of a source that are kept. */
  readonly limit: number;
}

/** `duplicate`: this signal was there, as `kept`. `conflict`: another body has its id. `full`: no room is left. */
export type SignalOutcome =
  | { readonly outcome: 'stored' | 'conflict' | 'full' }
  | { readonly outcome: 'duplicate'; readonly kept: SignalRecord };

/** A newer state of a wallet, and what was decided together with it. */
export interface SignedUpdate {
  readonly wallet: Address;
  /** The row as it was read: the MAC below is only right for its other fields. */
  readonly generation: number;
  readonly sealedState: Uint8Array;
  readonly stateVersion: bigint;
  readonly rowMac: Uint8Array;
  /** Absent where the leaf is written by itself; a batch has several. */
  readonly leaves?: readonly LeafRecord[];
  /** Only a signature has one. */
  readonly reply?: ReplyRecord;
}

export interface Store {
  getWallet(wallet: Address): Promise<WalletRow | undefined>;
  /** Of those that have a row. */
  getStateVersions(wallets: readonly Address[]): Promise<ReadonlyMap<Address, bigint>>;
  /** Of those that are not retired. */
  countWithoutSecond(): Promise<number>;
  /** In ascending order, from behind `after` on. */
  listWallets(after: Address | undefined, count: number): Promise<readonly Address[]>;
  /** `exists` when this wallet or this owner's nonce has a row; nothing but the leaf is written then. */
  insertWallet(insert: { row: WalletRow; creation: CreationRecord; leaf: LeafRecord }): Promise<'inserted' | 'exists'>;
  getCreation(owner: Address, nonce: Uint8Array): Promise<CreationRecord | undefined>;
  /**
   * Leaves and reply, and the state if it is newer. `older`: that state or a newer one was there, the rest is written.
   * `changed`: another generation is there, nothing is written.
   */
  applySigned(update: SignedUpdate): Promise<'applied' | 'older' | 'changed'>;
  /** Replaces policy and state if the row is still as it was read. `changed`: only the leaf is written. */
  enablePolicy(update: { from: WalletRow; to: WalletRow; leaf: LeafRecord }): Promise<'applied' | 'changed'>;
  /** Replaces key blobs, policy MAC and state if the row is still as it was read. `changed`: only the leaves are written. */
  replaceWalletKeys(update: {
    from: WalletRow;
    to: WalletRow;
    leaves: readonly LeafRecord[];
  }): Promise<'applied' | 'changed'>;
  /**
   * Marks the row, and replaces its state, if it is still as it was read. `changed`: only the leaf is written, which is
   * absent where it is written by itself.
   */
  retireWallet(update: { from: WalletRow; to: WalletRow; leaf?: LeafRecord }): Promise<'applied' | 'changed'>;
  /** Leaves of decisions without a row to change; denials bring their reply. */
  putLeaves(leaves: readonly LeafRecord[], reply?: ReplyRecord): Promise<void>;
  /** The first sequence of a boot, from `from` on, that is not stored. Looks at no leaf before it. */
  firstMissingLeaf(boot: BootId, from: bigint): Promise<bigint>;
  /** Leaves of one boot in sequence, from `first` on. */
  getLeaves(boot: BootId, first: bigint, count: number): Promise<readonly LeafRecord[]>;
  /**
   * The decision about the request of this id, one for each wallet and requester that used it: the first signature,
   * else the last refusal. At most two, because two are too many: a stranger may use the id as often as they like.
   */
  findDecisions(
    requestId: string,
    wallet: Address | undefined,
    requester: Address | undefined,
  ): Promise<readonly LeafRecord[]>;
  /** Newest first. Looks at no more than LIMITS.decisionsScanned leaves, so that a page may be short and not the last. */
  findHistory(query: HistoryQuery): Promise<HistoryPage>;
  /** The newest leaf that says who may follow the wallet's owner: of its beginning, of a change of that, or of a lease. */
  findSuccession(wallet: Address): Promise<LeafRecord | undefined>;
  /** What is published of each boot, in the order in which the boots were first seen. */
  getLogs(): Promise<readonly LogRecord[]>;
  /** Tiles only ever grow: a narrower one than the stored one changes nothing. */
  putTiles(boot: BootId, tiles: readonly TileRecord[]): Promise<void>;
  getTile(boot: BootId, level: number, index: bigint): Promise<Uint8Array | undefined>;
  /** Makes a checkpoint the published one; an older one changes nothing. */
  publishLog(log: LogRecord): Promise<void>;
  /** Keeps a policy by its hash, whether or not it is ever enabled. */
  putPolicy(policy: Uint8Array): Promise<void>;
  /** A policy that was to be enabled once, by the SHA-256 of its canonical bytes. */
  getPolicy(hash: Hash): Promise<Uint8Array | undefined>;
  /** Undefined also when it has expired. */
  getReply(wallet: Address, requester: Address, id: string, now: TimeMs): Promise<ReplyRecord | undefined>;
  deleteExpiredReplies(now: TimeMs): Promise<void>;
  getMeta(name: MetaName): Promise<Uint8Array | undefined>;
  /** False when it exists already; then it stays as it is. */
  createMeta(name: MetaName, value: Uint8Array): Promise<boolean>;
  /** Keeps the first reason and time of a scope, and takes boot and id as they are now, absent ones too. */
  latchFreeze(freeze: FreezeRecord): Promise<void>;
  /** Removes the row if this is the id it has (undefined: if it has none): another order's freeze stays. */
  clearFreeze(scope: string, freezeId: Uint8Array | undefined): Promise<void>;
  getFreezes(): Promise<readonly FreezeRecord[]>;
  /** Whether `step` is later than every one used under this login, in which case it is the last one now. */
  useTotpStep(login: string, step: number): Promise<boolean>;
  /** Takes the place of the wallet's earlier one. */
  putPanicCode(record: PanicCodeRecord): Promise<void>;
  findPanicCode(hash: Hash): Promise<PanicCodeRecord | undefined>;
  /** Keeps a signal unless there is one. What has expired at its `receivedAt` is not there. */
  putSignal(insert: SignalInsert): Promise<SignalOutcome>;
  /** Unexpired signals of this id, of these sources; at most two, because two are too many. */
  findSignals(id: string, sources: readonly string[], now: TimeMs): Promise<readonly SignalRecord[]>;
  /** A bounded number at a time. */
  deleteExpiredSignals(now: TimeMs): Promise<void>;
  getRowKeys(): Promise<RowKeyBlobs>;
  /** Puts the next row key beside `current`. False unless that is the row key, and no other one is to follow it. */
  beginRowKey(step: Required<RowKeyBlobs>): Promise<boolean>;
  /** Makes `next` the row key. False unless `current` is, and `next` is to follow it. */
  finishRowKey(current: Uint8Array, next: Uint8Array): Promise<boolean>;
  /** Takes away the next row key, and its step, if it is this one. */
  discardNextRowKey(next: Uint8Array): Promise<boolean>;
  /** Records of a table whose MAC is not under one key, a bounded number at a time. */
  findSealedOtherwise(query: SealedQuery): Promise<SealedPage>;
  /** Each if it is as it was read; how many were. */
  replaceMacs(changes: readonly Resealed[]): Promise<number>;
  /** Resolves when the database answers a read. */
  ping(): Promise<void>;
  /** Finishes what is queued. */
  close(): Promise<void>;
}

/** `row-key`: the KMS blob of the fleet's row key. `deployment`: whose database this is. */
export type MetaName = 'row-key' | 'deployment';

/** @throws QvError cbor_malformed, message_malformed */
export function leafRecord(receipt: Receipt): LeafRecord {
  const leaf = decodeLeaf(receipt.leaf);
  const { boot, sequence, kind, requestId: id, wallet, actor: requester } = leaf;
  const record = { boot, sequence, leaf: receipt.leaf, signature: receipt.signature, about: aboutOf(leaf) };
  return id === undefined ? record : { ...record, request: { id, wallet, requester, isSigned: kind === 'signed' } };
}

export function aboutOf({ time: at, kind, wallet, actor, scope }: Leaf): LeafAbout {
  const frozen = scope?.startsWith('wallet:') ? (scope.slice('wallet:'.length) as Address) : undefined;
  return { at, kind, wallet: wallet ?? frozen, actor };
}
