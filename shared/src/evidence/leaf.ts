/**
 * Leaves: one per decision of an enclave boot, in sequence, each naming the hash of the one before (design 10).
 * A leaf signed by the boot key is the receipt. It says what an auditor needs and never a secret.
 */
import { fromBase58 } from '../base58.ts';
import { type BootId, bootIdOf, type Hash, type Signature } from '../brands.ts';
import { concatBytes } from '../bytes.ts';
import { LIMITS } from '../limits.ts';
import {
  bootId,
  bytes,
  decodeAs,
  encodeAs,
  field,
  fixed,
  type Infer,
  list,
  maybe,
  oneOf,
  publicKey,
  purposeStruct,
  struct,
  text,
  time,
  u32,
  u64,
  yes,
} from '../protocol/wire.ts';
import { sha256 } from '../sha256.ts';

export const REQUEST_ID = /^[A-Za-z0-9_-]{1,64}$/;
export const FACT = /^[\x20-\x7e]*$/;

/** Text as a leaf or a refusal may carry it: printable ASCII, cut to length. */
export function printableFact(text: string, maxLength: number): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, maxLength);
}

export const LEAF_KINDS = [
  'boot',
  'follows',
  'wallet-created',
  'policy-enabled',
  'signed',
  'denied',
  'key-failed',
  'frozen',
  'resumed',
  'release',
  'lease',
  'wallet-imported',
  'rewrapped',
  'retired',
  'wallet-migrated',
  'successor-named',
  'takeover-claimed',
  'takeover-cancelled',
  'owner-changed',
] as const;
export type LeafKind = (typeof LEAF_KINDS)[number];

/** What one transaction moves, as the judge counted it. */
export const amounts = struct({
  lamportsOut: field(0, u64),
  feeLamports: field(1, u64),
  /** Base units that may leave, by mint; absent when only lamports do. */
  tokens: maybe(2, list(struct({ mint: field(0, publicKey), amount: field(1, u64) }), 1, LIMITS.leafMints)),
});
export type Amounts = Infer<typeof amounts>;

/** Another boot's log as it stood: a signed note (C2SP tlog-checkpoint) by that boot's key. */
const predecessor = struct({
  boot: field(0, bootId),
  checkpoint: field(1, bytes(1, LIMITS.predecessorNoteBytes)),
});
export type Predecessor = Infer<typeof predecessor>;

/** Whom an owner lets take a wallet over, and how long after his claim at the earliest. */
export const successorCodec = struct({
  key: field(0, publicKey),
  /** 1 to LIMITS.successorDelayDays, of 86,400 seconds each. */
  delayDays: field(1, u32),
});
export type Successor = Infer<typeof successorCodec>;

/** Who may follow a wallet's owner, as a decision left it; of a change of owner, the claim that it went by. */
export const ownerSuccession = struct({
  /** Counts what owner and successor have changed of it, so that each statement is about one state. */
  change: field(0, u32),
  /** The owner before the decision. */
  owner: field(1, publicKey),
  successor: maybe(2, successorCodec),
  /** Since when the successor's claim runs, by trusted time. */
  claimedAt: maybe(3, time),
});
export type OwnerSuccession = Infer<typeof ownerSuccession>;

export const leafCodec = purposeStruct('qv/leaf/v1', {
  boot: field(1, bootId),
  /** From 0, without gap. */
  sequence: field(2, u64),
  /** SHA-256 of the previous leaf's bytes; absent in leaf 0. */
  previous: maybe(3, fixed<Hash>(32)),
  /** Trusted time of the decision. */
  time: field(4, time),
  kind: field(5, oneOf(...LEAF_KINDS)),
  wallet: maybe(6, publicKey),
  /** The owner, the successor (claims, changes of owner) or the requester (signing) whose signature caused this. */
  actor: maybe(7, publicKey),
  requestId: maybe(8, text(LIMITS.requestIdCharacters, REQUEST_ID)),
  /** SHA-256 of the Solana message that was judged. */
  messageHash: maybe(9, fixed<Hash>(32)),
  policyHash: maybe(10, fixed<Hash>(32)),
  /** The rule that denied, and what broke it. */
  rule: maybe(11, text(64, FACT)),
  value: maybe(12, text(128, FACT)),
  amounts: maybe(13, amounts),
  /** The wallet's state version after this decision. */
  stateVersion: maybe(14, u64),
  /** Boot: the attestation document that names the boot key, and the measured configuration's hash. */
  attestation: maybe(15, bytes(1, LIMITS.attestationDocumentBytes)),
  configHash: maybe(16, fixed<Hash>(32)),
  /** Freeze: its random id, scope and the reason given. */
  freezeId: maybe(17, fixed(16)),
  scope: maybe(18, text(128, FACT)),
  reason: maybe(19, text(200, FACT)),
  /** Signed: SHA-256 of the Ed25519 signature, by which a transaction on chain finds its leaf. */
  signatureHash: maybe(20, fixed<Hash>(32)),
  /** Signed: the leaf that first recorded this very request. The same bytes were signed again and nothing was spent. */
  repeats: maybe(21, u64),
  /** Follows, lease, and a release as its receiver records it: the log that this one continues. */
  predecessor: maybe(22, predecessor),
  /** Release, as its giver records it: the boot that holds the wallet from then on. */
  successor: maybe(23, bootId),
  /** Freeze: whose order it was and when it was given, as the host says; the leaf's own time is when it held. */
  by: maybe(24, text(64, FACT)),
  orderedAt: maybe(25, time),
  /** Resume, migration: the operators who signed it; of a wallet's, `actor` is its owner. */
  signers: maybe(26, list(publicKey, 1, LIMITS.operators)),
  /** Creation and import that name a successor, every change of that, and a lease of a wallet that has one. */
  succession: maybe(30, ownerSuccession),
});
export type Leaf = Infer<typeof leafCodec>;

/** A leaf and the boot key's Ed25519 signature over its bytes. */
export const receiptCodec = struct({
  leaf: field(0, bytes(1, LIMITS.frameBytes)),
  signature: field(1, fixed<Signature>(64)),
});
export type Receipt = Infer<typeof receiptCodec>;

export function encodeLeaf(leaf: Leaf): Uint8Array {
  return encodeAs(leafCodec, leaf);
}

/** @throws QvError cbor_malformed, message_malformed */
export function decodeLeaf(encoded: Uint8Array): Leaf {
  return decodeAs(leafCodec, encoded, 'leaf');
}

/** The name of one boot's log: a boot is a tree of its own, under a key of its own (C2SP tlog-checkpoint, origin). */
export function bootLogOrigin(logOrigin: string, boot: BootId): string {
  return `${logOrigin}/${boot}`;
}

/** Whose log has this origin; undefined when it is none of that deployment. */
export function bootOfOrigin(logOrigin: string, origin: string): BootId | undefined {
  if (!origin.startsWith(`${logOrigin}/`)) return undefined;
  try {
    return bootIdOf(fromBase58(origin.slice(logOrigin.length + 1), 32));
  } catch {
    return undefined;
  }
}

/** RFC 6962 section 2.1: the leaf hash has the prefix 0x00, so the tree to come needs no other hash. */
export function leafHash(encoded: Uint8Array): Hash {
  return sha256(concatBytes(Uint8Array.of(0), encoded));
}

/** Given to a wallet's owner at creation or import; no address is to be shown before it verifies (design 4). */
export const walletCertificateCodec = purposeStruct('qv/wallet-certificate/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  wallet: field(3, publicKey),
  owner: field(4, publicKey),
  requesters: field(5, list(publicKey, 1, LIMITS.requesters)),
  kmsKeyArn: field(6, text(256, FACT)),
  /** Absent where the wallet's execution key is under that one alone. */
  secondKmsKeyArn: maybe(12, text(256, FACT)),
  nonce: field(7, fixed(16)),
  leafHash: field(8, fixed<Hash>(32)),
  /** Always true where it is: the key existed outside, and whoever has a copy of it needs no enclave to sign. */
  imported: maybe(9, yes),
  /** Always true where it is: it was a key of v2, which operators brought in. `imported` is there, too. */
  migrated: maybe(11, yes),
  /** Whom the owner's statement named. */
  successor: maybe(10, successorCodec),
});
export type WalletCertificate = Infer<typeof walletCertificateCodec>;

/** The enclave's word that a policy counts from now on. */
export const enableReceiptCodec = purposeStruct('qv/policy-enabled/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  wallet: field(3, publicKey),
  owner: field(4, publicKey),
  epoch: field(5, u32),
  policyHash: field(6, fixed<Hash>(32)),
  previousHash: maybe(7, fixed<Hash>(32)),
  leafHash: field(8, fixed<Hash>(32)),
});
export type EnableReceipt = Infer<typeof enableReceiptCodec>;

/** The enclave's word to its owner that a wallet signs nothing any more, for good. */
export const retireAckCodec = purposeStruct('qv/wallet-retired/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  wallet: field(3, publicKey),
  owner: field(4, publicKey),
  nonce: field(5, fixed(16)),
  time: field(6, time),
  /** Of the last policy; absent when the wallet never had one. */
  policyHash: maybe(7, fixed<Hash>(32)),
  leafHash: field(8, fixed<Hash>(32)),
});
export type RetireAck = Infer<typeof retireAckCodec>;

export const SUCCESSION_KINDS = ['successor-named', 'takeover-claimed', 'takeover-cancelled', 'owner-changed'] as const;
export type SuccessionKind = (typeof SUCCESSION_KINDS)[number];

/** The enclave's word on a change of who may follow a wallet's owner, to whoever signed for it. */
export const successionAckCodec = purposeStruct('qv/owner-succession/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  wallet: field(3, publicKey),
  kind: field(4, oneOf(...SUCCESSION_KINDS)),
  nonce: field(5, fixed(16)),
  time: field(6, time),
  succession: field(7, ownerSuccession),
  leafHash: field(8, fixed<Hash>(32)),
});
export type SuccessionAck = Infer<typeof successionAckCodec>;

/** The enclave's word that a freeze holds. */
export const freezeAckCodec = purposeStruct('qv/freeze-ack/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  freezeId: field(3, fixed(16)),
  scope: field(4, text(128, FACT)),
  time: field(5, time),
  leafHash: field(6, fixed<Hash>(32)),
});
export type FreezeAck = Infer<typeof freezeAckCodec>;

/** Checks an Ed25519 signature: (signature, message, public key). */
export type VerifyEd25519 = (signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array) => boolean;

export interface SignedBytes {
  readonly bytes: Uint8Array;
  readonly signature: Signature;
}

/** Bytes of one of the structs above with the boot key's signature. */
export const signedBytesCodec = struct({
  bytes: field(0, bytes(1, LIMITS.frameBytes)),
  signature: field(1, fixed<Signature>(64)),
});
