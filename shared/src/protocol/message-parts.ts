/** What several messages between host and enclave are made of. */
import type { Hash, RequestId, Signature } from '../brands.ts';
import { FACT, REQUEST_ID, receiptCodec, signedBytesCodec, successorCodec } from '../evidence/leaf.ts';
import { LIMITS } from '../limits.ts';
import {
  bool,
  bootId,
  bytes,
  field,
  fixed,
  type Infer,
  maybe,
  oneOf,
  publicKey,
  struct,
  text,
  time,
  u32,
  u64,
} from './wire.ts';

export const sealedState = struct({
  blob: field(0, bytes(1, LIMITS.sealedStateBytes)),
  version: field(1, u64),
});

/**
 * An execution key once more, under a key of another account or Region: `ciphertext` is a data key of that one, under
 * which `sealed` is sealed.
 */
export const secondSealing = struct({
  ciphertext: field(0, bytes(1, LIMITS.kmsCiphertextBytes)),
  sealed: field(1, fixed(LIMITS.sealedExecutionKeyBytes)),
});
export type SecondSealing = Infer<typeof secondSealing>;

const keyBlobs = {
  salt: field(0, fixed(LIMITS.saltBytes)),
  executionKey: field(1, bytes(1, LIMITS.kmsCiphertextBytes)),
  sealedSeed: field(2, bytes(1, 256)),
  /** Absent of wallets that were made or re-wrapped where no second key was measured. */
  second: maybe(4, secondSealing),
};

/** A wallet's row as far as the enclave reads it. Wallet and owner are missing on purpose: they come from the policy. */
export const walletBlobs = struct({ ...keyBlobs, sealedState: field(3, bytes(1, LIMITS.sealedStateBytes)) });
export type WalletBlobs = Infer<typeof walletBlobs>;

/** Without the sealed state, for which a batch leaves no room in its frame: the holder's memory is what counts. */
export const walletKeyBlobs = struct(keyBlobs);
export type WalletKeyBlobs = Infer<typeof walletKeyBlobs>;

/** Key blobs that took the place of a wallet's earlier ones, and what else of its row is under them, beside the state. */
export const rewrapped = struct({
  keys: field(0, walletKeyBlobs),
  /** Of the policy that counts, where there is one. */
  mac: maybe(1, fixed(32)),
  /** Trusted time of the re-wrapping. */
  at: field(2, time),
  /** Whom the wallet belongs to from then on, where that has changed with it. */
  owner: maybe(3, publicKey),
});
export type Rewrapped = Infer<typeof rewrapped>;

export const enabledPolicy = struct({
  bytes: field(0, bytes(1, LIMITS.policyBytes)),
  mac: field(1, fixed(32)),
});
export type EnabledPolicy = Infer<typeof enabledPolicy>;

export const credentialsCodec = struct({
  accessKeyId: field(0, bytes(1, 128)),
  secretAccessKey: field(1, bytes(1, 256)),
  sessionToken: maybe(2, bytes(1, 8192)),
  expiresAt: maybe(3, time),
});
export type CredentialBytes = Infer<typeof credentialsCodec>;

/** A key of KMS that is measured into the image, and what became of the calls that named it. */
export const kmsKeyState = struct({
  keyArn: field(0, text(256, FACT)),
  use: field(1, oneOf('current', 'replica', 'previous', 'second')),
  calls: field(2, u64),
  /** Those without a usable answer. */
  failures: field(3, u64),
  /** It did not answer lately, and is asked last. */
  isAvoided: field(4, bool),
});
export type KmsKeyState = Infer<typeof kmsKeyState>;

/**
 * A signal as its source sent it (Standard Webhooks). With a signature the enclave verifies it under the key the
 * policy names; without one it is the host's word.
 */
export const signalCodec = struct({
  source: field(0, text(LIMITS.policyNameCharacters, FACT)),
  id: field(1, text<RequestId>(LIMITS.requestIdCharacters, REQUEST_ID)),
  timestamp: field(2, text(16, /^(?:0|[1-9][0-9]{0,14})$/)),
  body: field(3, bytes(0, LIMITS.signalBodyBytes)),
  signature: maybe(4, fixed<Signature>(64)),
});
export type SignalMessage = Infer<typeof signalCodec>;

export const ruleOutcome = struct({
  rule: field(0, text(64, FACT)),
  outcome: field(1, oneOf('allow', 'deny')),
  value: maybe(2, text(128, FACT)),
});

/** Who asks for signatures, in the bytes he signed. */
export const signing = (bodyBytes: number) => ({
  id: field(0, text<RequestId>(LIMITS.requestIdCharacters, REQUEST_ID)),
  /** Seconds since 1970, as the text that was signed. */
  timestamp: field(1, text(16, /^(?:0|[1-9][0-9]{0,14})$/)),
  /** The HTTP body, byte for byte. */
  body: field(2, bytes(1, bodyBytes)),
  signature: field(3, fixed<Signature>(64)),
  policy: field(4, enabledPolicy),
  /** The signal that the signed body names. */
  signal: maybe(6, signalCodec),
  /** How long somebody waits for the answer, as the host says: what is decided later would be decided for nobody. */
  timeoutMilliseconds: maybe(7, u32),
});

/** One transaction of a batch. */
export const batchVerdict = struct({
  messageHash: field(0, fixed<Hash>(32)),
  allow: field(1, bool),
  /** The rule that denied it, and what broke it. */
  rule: maybe(2, text(64, FACT)),
  value: maybe(3, text(128, FACT)),
  /** When the whole batch is signed. */
  signature: maybe(4, fixed<Signature>(64)),
  /** Of its signature or of its denial. A transaction that only others kept from being signed has none. */
  receipt: maybe(5, receiptCodec),
});

/** What owner and successor sign of each change of the succession; who the successor is stands beside it. */
export const successionStatement = {
  deployment: field(0, text(64, FACT)),
  wallet: field(1, publicKey),
  owner: field(2, publicKey),
  change: field(3, u32),
  boot: field(4, bootId),
  nonce: field(5, fixed(16)),
  before: field(6, time),
  signature: field(7, fixed<Signature>(64)),
  blobs: field(8, walletBlobs),
};
export const claimStatement = struct({ ...successionStatement, successor: field(9, publicKey) });
export const nameStatement = struct({ ...successionStatement, successor: maybe(9, successorCodec) });

export const successionChanged = struct({
  state: field(0, sealedState),
  ack: field(1, signedBytesCodec),
  receipt: field(2, receiptCodec),
});

/** With the blobs for the new owner, by whom everything sealed is bound. */
export const ownerChanged = struct({
  state: field(0, sealedState),
  ack: field(1, signedBytesCodec),
  receipt: field(2, receiptCodec),
  rewrapped: field(3, rewrapped),
});

/** A wallet that is here from now on, and everything a host stores of it. */
export const newWallet = struct({
  wallet: field(0, publicKey),
  blobs: field(1, walletBlobs),
  stateVersion: field(2, u64),
  certificate: field(3, signedBytesCodec),
  receipt: field(4, receiptCodec),
});
export type NewWallet = Infer<typeof newWallet>;

export const budget = struct({
  /** As a denial names it. */
  rule: field(0, text(64, FACT)),
  seconds: field(1, u32),
  limit: field(2, u64),
  spent: field(3, u64),
  /** When the first part of what is spent counts no more. */
  freesAt: maybe(4, time),
});
