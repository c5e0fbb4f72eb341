/**
 * Every message between host and enclave. A request frame is the map {0: kind, 1: id, 2: body}; its reply is
 * {0: id, 1: body} or {0: id, 2: {0: code, 1?: path, 2?: value, 3?: receipt}}. Ids are the host's, below 2^32,
 * and unique among what is in flight on one connection; replies come in any order.
 */
import type { Hash, Signature } from '../brands.ts';
import { type CborMap, decodeCbor, encodeCbor } from '../cbor.ts';
import { ERRORS, type ErrorCode, isErrorCode, QvError } from '../errors.ts';
import { FREEZE_SCOPE } from '../evidence/freeze-scope.ts';
import { amounts, FACT, receiptCodec, signedBytesCodec, successorCodec } from '../evidence/leaf.ts';
import { heldFreeze, operatorSigned, signedBy } from '../evidence/succession.ts';
import { LIMITS } from '../limits.ts';
import {
  batchVerdict,
  budget,
  claimStatement,
  credentialsCodec,
  kmsKeyState,
  nameStatement,
  newWallet,
  ownerChanged,
  rewrapped,
  ruleOutcome,
  sealedState,
  signing,
  successionChanged,
  walletBlobs,
  walletKeyBlobs,
} from './message-parts.ts';
import {
  bool,
  bootId,
  bytes,
  type Codec,
  field,
  fixed,
  type Infer,
  list,
  maybe,
  oneOf,
  publicKey,
  struct,
  text,
  time,
  u32,
  u64,
} from './wire.ts';

export const PHASES = ['booting', 'ready', 'serving', 'frozen'] as const;
export type Phase = (typeof PHASES)[number];

/** Body and reply of each kind. The order of kinds is their number on the wire: append, never reorder. */
export const MESSAGES = {
  /** What the enclave says of itself. Always legal. */
  status: {
    kind: 1,
    request: struct({}),
    reply: struct({
      phase: field(0, oneOf(...PHASES)),
      boot: maybe(1, bootId),
      deployment: field(2, text(64, FACT)),
      configHash: field(3, fixed<Hash>(32)),
      time: maybe(4, time),
      leaves: field(5, u64),
      version: field(6, text(32, FACT)),
      kmsKeyArn: field(7, text(256, FACT)),
      freezeId: maybe(8, fixed(16)),
      wallets: field(9, u32),
      /** So many witnesses have to cosign a leaf before its signature leaves; 0 without witnesses. */
      witnessThreshold: field(10, u32),
      /** What operators watch. Calls of KMS since the boot, and those of them that failed. */
      kmsCalls: maybe(11, u64),
      kmsFailures: maybe(12, u64),
      /** Of the document that the next call of KMS shows, and of the last sample of the module's time. */
      attestationAgeSeconds: maybe(13, u32),
      timeAgeSeconds: maybe(14, u32),
      /** The measured keys of KMS, in the order in which they are asked; calls and failures of this boot. */
      kmsKeys: maybe(15, list(kmsKeyState, 1, 2 * LIMITS.kmsFurtherKeys + 2)),
    }),
  },
  /** A fresh attestation document over the caller's nonce, for auditors. It names no recipient key. */
  attest: {
    kind: 2,
    request: struct({ nonce: field(0, bytes(LIMITS.callerNonceMinBytes, LIMITS.callerNonceMaxBytes)) }),
    reply: struct({ document: field(0, bytes(1, LIMITS.attestationDocumentBytes)) }),
  },
  /** The instance role's credentials for the kms-agent; they open nothing without an attestation. */
  credentials: {
    kind: 3,
    request: credentialsCodec,
    reply: struct({}),
  },
  /** Makes the fleet's row key. The host stores the blob once, by compare-and-set. */
  rowKeyCreate: {
    kind: 4,
    request: struct({}),
    reply: struct({ blob: field(0, bytes(1, LIMITS.kmsCiphertextBytes)) }),
  },
  /** The row key itself: the one key the enclave hands out, worth nothing to any check inside (design 4). */
  rowKeyUnwrap: {
    kind: 5,
    request: struct({ blob: field(0, bytes(1, LIMITS.kmsCiphertextBytes)) }),
    reply: struct({ rowKey: field(0, fixed(32)) }),
  },
  walletCreate: {
    kind: 6,
    request: struct({
      deployment: field(0, text(64, FACT)),
      owner: field(1, publicKey),
      nonce: field(2, fixed(16)),
      requesters: field(3, list(publicKey, 1, LIMITS.requesters)),
      createBefore: field(4, time),
      signature: field(5, fixed<Signature>(64)),
      successor: maybe(6, successorCodec),
    }),
    reply: newWallet,
  },
  /** Takes a key in that exists outside, sealed to this boot's import key for a statement that its owner signed. */
  walletImport: {
    kind: 23,
    request: struct({
      deployment: field(0, text(64, FACT)),
      owner: field(1, publicKey),
      nonce: field(2, fixed(16)),
      requesters: field(3, list(publicKey, 1, LIMITS.requesters)),
      importBefore: field(4, time),
      signature: field(5, fixed<Signature>(64)),
      wallet: field(6, publicKey),
      boot: field(7, bootId),
      importKey: field(8, fixed(32)),
      /** libsodium's sealed box of SHA-256 of the statement and the 32-byte seed. */
      sealed: field(9, fixed(LIMITS.sealedImportBytes)),
      successor: maybe(10, successorCodec),
    }),
    reply: newWallet,
  },
  policyEnable: {
    kind: 7,
    request: struct({
      policy: field(0, bytes(1, LIMITS.policyBytes)),
      previousHash: maybe(1, fixed<Hash>(32)),
      enableBefore: field(2, time),
      signature: field(3, fixed<Signature>(64)),
      blobs: field(4, walletBlobs),
    }),
    reply: struct({
      mac: field(0, fixed(32)),
      state: field(1, sealedState),
      enableReceipt: field(2, signedBytesCodec),
      receipt: field(3, receiptCodec),
    }),
  },
  /**
   * Puts a wallet under a fresh execution key and a fresh salt. From then on only these key blobs count; who lost the
   * answer is told again by `stateGet`.
   */
  walletRewrap: {
    kind: 25,
    request: struct({
      wallet: field(0, publicKey),
      owner: field(1, publicKey),
      blobs: field(2, walletBlobs),
      /** The one that counts; absent when there is none. */
      policy: maybe(3, bytes(1, LIMITS.policyBytes)),
    }),
    reply: struct({ rewrapped: field(0, rewrapped), state: field(1, sealedState), receipt: field(2, receiptCodec) }),
  },
  /** Ends a wallet for good, by its owner's statement. The same statement answers the same again. */
  walletRetire: {
    kind: 24,
    request: struct({
      deployment: field(0, text(64, FACT)),
      wallet: field(1, publicKey),
      owner: field(2, publicKey),
      policyHash: maybe(3, fixed<Hash>(32)),
      boot: field(4, bootId),
      nonce: field(5, fixed(16)),
      retireBefore: field(6, time),
      signature: field(7, fixed<Signature>(64)),
      blobs: field(8, walletBlobs),
    }),
    reply: struct({
      state: field(0, sealedState),
      ack: field(1, signedBytesCodec),
      receipt: field(2, receiptCodec),
    }),
  },
  /** Begins the migration that operators signed, with the v2 server's secret sealed to this boot's import key. */
  migrationBegin: {
    kind: 31,
    request: struct({
      statement: field(0, operatorSigned),
      /** libsodium's sealed box of SHA-256 of the statement and the secret. */
      sealed: field(1, bytes(LIMITS.sealedMigrationMinBytes, LIMITS.sealedMigrationBytes)),
    }),
    reply: struct({}),
  },
  /** One row of the list becomes a wallet, or is only opened and compared. The same row again gives the same wallet. */
  walletMigrate: {
    kind: 32,
    request: struct({
      statementHash: field(0, fixed<Hash>(32)),
      row: field(1, bytes(1, LIMITS.migrationRowBytes)),
      index: field(2, u32),
      proof: field(3, list(fixed<Hash>(32), 0, LIMITS.migrationProofHashes)),
      dryRun: field(4, bool),
    }),
    /** Of a dry run nothing. */
    reply: struct({ created: maybe(0, newWallet) }),
  },
  /** Wipes what the secret yielded. */
  migrationEnd: {
    kind: 33,
    request: struct({ statementHash: field(0, fixed<Hash>(32)) }),
    reply: struct({}),
  },
  /**
   * The owner names who may follow him, or nobody any more; that ends a claim that runs. The same statement answers the
   * same again, as with the next two.
   */
  successorName: { kind: 27, request: nameStatement, reply: successionChanged },
  /** The successor claims the wallet: from here on the delay runs. */
  takeoverClaim: { kind: 28, request: claimStatement, reply: successionChanged },
  /** The owner ends a claim whose delay has not passed. */
  takeoverCancel: { kind: 29, request: claimStatement, reply: successionChanged },
  /** The successor whose delay has passed becomes the owner; the wallet is re-wrapped for him. */
  takeoverComplete: { kind: 30, request: claimStatement, reply: ownerChanged },
  sign: {
    kind: 8,
    request: struct({ ...signing(LIMITS.requestBodyBytes), blobs: field(5, walletBlobs) }),
    /** A dry run answers `rules` and `allow`; a signed request `signature`, `state` and `receipt`. */
    reply: struct({
      messageHash: field(0, fixed<Hash>(32)),
      amounts: field(1, amounts),
      signature: maybe(2, fixed<Signature>(64)),
      state: maybe(3, sealedState),
      receipt: maybe(4, receiptCodec),
      allow: maybe(5, bool),
      rules: maybe(6, list(ruleOutcome, 0, LIMITS.ruleOutcomes)),
    }),
  },
  /** Several transactions of one wallet, judged in order against one reservation: all are signed, or none. */
  signBatch: {
    kind: 21,
    request: struct({ ...signing(LIMITS.batchBodyBytes), blobs: field(5, walletKeyBlobs) }),
    reply: struct({
      verdicts: field(0, list(batchVerdict, 1, LIMITS.batchTransactions)),
      state: maybe(1, sealedState),
    }),
  },
  /** Sets the latch. Travels on the control connection (design 9). */
  freeze: {
    kind: 9,
    request: struct({
      scope: field(0, text(128, FREEZE_SCOPE)),
      reason: field(1, text(200, FACT)),
      /** For the record: whose order it is, and when it was given. */
      by: maybe(2, text(64, FACT)),
      orderedAt: maybe(3, time),
    }),
    reply: struct({ ack: field(0, signedBytesCodec), receipt: field(1, receiptCodec) }),
  },
  /** Ends one freeze: a wallet's by its owner, others by M of N operators (design 9). */
  resume: {
    kind: 16,
    request: struct({
      scope: field(0, text(128, FREEZE_SCOPE)),
      freezeId: field(1, fixed(16)),
      signatures: field(2, list(signedBy, 1, LIMITS.operators)),
    }),
    reply: struct({ ack: field(0, signedBytesCodec), receipt: field(1, receiptCodec) }),
  },
  /** Freezes that hold, fleet first, as many as one reply takes. */
  freezesGet: {
    kind: 17,
    request: struct({}),
    reply: struct({ freezes: field(0, list(heldFreeze, 0, LIMITS.carriedFreezes)), count: field(1, u32) }),
  },
  /** Hands one wallet over to the successor that an operator's order names. The same order answers the same again. */
  release: {
    kind: 18,
    request: struct({ order: field(0, operatorSigned), wallet: field(1, publicKey) }),
    reply: struct({
      release: field(0, signedBytesCodec),
      /** The state it hands over. */
      state: field(1, sealedState),
      receipt: field(2, receiptCodec),
      rewrapped: maybe(3, rewrapped),
    }),
  },
  /** Takes a wallet over, by its holder's release or by a lease. */
  take: {
    kind: 19,
    request: struct({
      wallet: field(0, publicKey),
      owner: field(1, publicKey),
      blobs: field(2, walletBlobs),
      release: maybe(3, signedBytesCodec),
      lease: maybe(4, operatorSigned),
    }),
    reply: struct({ state: field(0, sealedState), receipt: field(1, receiptCodec) }),
  },
  /** Shown to the predecessor that a lease names, should it still live: it signs for those wallets no more. */
  leaseShow: {
    kind: 20,
    request: struct({ lease: field(0, operatorSigned) }),
    reply: struct({ given: field(0, u32) }),
  },
  /** The newest sealed state again, so that a lost write never bricks a wallet. */
  stateGet: {
    kind: 10,
    request: struct({ wallet: field(0, publicKey) }),
    reply: struct({
      state: field(0, sealedState),
      /** What it is sealed under, where this boot has re-wrapped the wallet. */
      rewrapped: maybe(1, rewrapped),
    }),
  },
  /**
   * Leaves of this boot from `from` on, in sequence, as many as one reply holds: what a host that died before it
   * wrote them asks for. Those older than the enclave keeps are left out.
   */
  leavesGet: {
    kind: 12,
    request: struct({ from: field(0, u64) }),
    reply: struct({ receipts: field(0, list(receiptCodec, 0, LIMITS.leavesPerReply)) }),
  },
  /**
   * This boot's log as it stands: a C2SP tlog-checkpoint, signed by the boot key. With `after` the answer waits until
   * the log is longer than that, at most LIMITS.checkpointWaitMilliseconds.
   */
  checkpoint: {
    kind: 13,
    request: struct({ after: maybe(0, u64) }),
    reply: struct({ note: field(0, bytes(1, LIMITS.checkpointBytes)) }),
  },
  /** A checkpoint of this boot with witnesses' cosignatures: what it covers is held back no longer. */
  cosign: {
    kind: 14,
    request: struct({ note: field(0, bytes(1, LIMITS.checkpointBytes)) }),
    reply: struct({
      /** Leaves before this one are covered. */
      covered: field(0, u64),
    }),
  },
  /** Names the boot whose log this one continues, once per boot, by the last checkpoint the host has of it. */
  follow: {
    kind: 15,
    request: struct({ checkpoint: field(0, bytes(1, LIMITS.predecessorNoteBytes)) }),
    reply: struct({ receipt: field(0, receiptCodec) }),
  },
  /** What is left of each window and rate of the enabled policy, which the host brings along. Changes nothing. */
  budgets: {
    kind: 22,
    request: struct({ wallet: field(0, publicKey), policy: field(1, bytes(1, LIMITS.policyBytes)) }),
    reply: struct({
      time: field(0, time),
      budgets: field(1, list(budget, 0, LIMITS.policyBudgets)),
    }),
  },
  /** Leaf 0 of this boot, signed: it holds the attestation document that names the boot key. */
  bootRecord: {
    kind: 11,
    request: struct({}),
    reply: struct({ receipt: field(0, receiptCodec) }),
  },
} as const;

export type MessageName = keyof typeof MESSAGES;
export type RequestOf<N extends MessageName> = Infer<(typeof MESSAGES)[N]['request']>;
export type ReplyOf<N extends MessageName> = Infer<(typeof MESSAGES)[N]['reply']>;

const BY_KIND = new Map(Object.entries(MESSAGES).map(([name, { kind }]) => [kind, name as MessageName]));

export type AnyRequestBody = RequestOf<MessageName>;

const refusalCodec = struct({
  code: field(0, oneOf(...(Object.keys(ERRORS) as ErrorCode[]))),
  path: maybe(1, text(128, FACT)),
  value: maybe(2, text(256, FACT)),
  receipt: maybe(3, receiptCodec),
});
/** A refusal as it travels. A denial carries its receipt. */
export type Refusal = Infer<typeof refusalCodec>;

export function encodeRequest<N extends MessageName>(id: number, name: N, body: RequestOf<N>): Uint8Array {
  const message = MESSAGES[name];
  return encodeCbor(
    new Map([
      [0, message.kind],
      [1, id],
      [2, (message.request as Codec<RequestOf<N>>).toCbor(body)],
    ]),
  );
}

/** The id of a request whose body does not parse is still answered, so parsing is in two steps. */
export function decodeRequestHead(payload: Uint8Array): {
  id: number;
  name: MessageName;
  body: () => AnyRequestBody;
} {
  const map = asMap(decodeCbor(payload));
  const id = u32.fromCbor(map.get(1) ?? null, 'id');
  const name = BY_KIND.get(u32.fromCbor(map.get(0) ?? null, 'kind') as never);
  const body = map.get(2);
  if (name === undefined || body === undefined || map.size !== 3) {
    throw new QvError('message_malformed', { path: 'kind', value: 'unknown kind or fields' });
  }
  return { id, name, body: () => (MESSAGES[name].request as Codec<AnyRequestBody>).fromCbor(body, name) };
}

export function encodeReply<N extends MessageName>(id: number, name: N, body: ReplyOf<N>): Uint8Array {
  return encodeCbor(
    new Map([
      [0, id],
      [1, (MESSAGES[name].reply as Codec<ReplyOf<N>>).toCbor(body)],
    ] as never),
  );
}

export function encodeRefusal(id: number, refusal: Refusal): Uint8Array {
  return encodeCbor(
    new Map([
      [0, id],
      [2, refusalCodec.toCbor(refusal)],
    ] as never),
  );
}

/** Id of a reply, and what to do with the rest once the kind that was asked is known. */
export function decodeReplyHead(payload: Uint8Array): {
  id: number;
  read: <N extends MessageName>(name: N) => ReplyOf<N> | Refusal;
} {
  const map = asMap(decodeCbor(payload));
  const id = u32.fromCbor(map.get(0) ?? null, 'id');
  const body = map.get(1);
  const refusal = map.get(2);
  if (map.size !== 2 || (body === undefined) === (refusal === undefined)) {
    throw new QvError('message_malformed', { path: 'reply', value: 'neither body nor refusal' });
  }
  return {
    id,
    read: (name) =>
      body === undefined
        ? refusalCodec.fromCbor(refusal ?? null, 'refusal')
        : ((MESSAGES[name].reply as Codec<never>).fromCbor(body, name) as never),
  };
}

export function isRefusal(value: object): value is Refusal {
  return 'code' in value && isErrorCode(value.code);
}

function asMap(value: unknown): CborMap {
  if (!(value instanceof Map)) throw new QvError('message_malformed', { path: 'frame', value: 'not a map' });
  return value as CborMap;
}
