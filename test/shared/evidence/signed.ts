/** Evidence as an enclave boot would sign it, with every field replaceable. Keys are made from fixed test seeds. */
import { type Address, addressOf, type BootId, bootIdOf, hash, timeMs } from '@quantumvault/shared/brands.ts';
import {
  type enableReceiptCodec,
  encodeLeaf,
  type freezeAckCodec,
  type Leaf,
  leafHash,
  type Receipt,
  type retireAckCodec,
  type SignedBytes,
  type VerifyEd25519,
  type walletCertificateCodec,
} from '@quantumvault/shared/evidence/leaf.ts';
import type { resumeAckCodec } from '@quantumvault/shared/evidence/succession.ts';
import { type Codec, encodeAs, type Infer } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';

const keyOf = (seed: number): nacl.SignKeyPair => nacl.sign.keyPair.fromSeed(new Uint8Array(32).fill(seed));
const BOOT_KEY = keyOf(1);
const OTHER_BOOT_KEY = keyOf(2);

export const BOOT: BootId = bootIdOf(BOOT_KEY.publicKey);
export const OTHER_BOOT: BootId = bootIdOf(OTHER_BOOT_KEY.publicKey);
export const WALLET: Address = addressOf(keyOf(3).publicKey);
export const OWNER: Address = addressOf(keyOf(4).publicKey);
export const REQUESTER: Address = addressOf(keyOf(5).publicKey);
export const STRANGER: Address = addressOf(keyOf(6).publicKey);
export const HASH = hash(new Uint8Array(32).fill(7));
export const OTHER_HASH = hash(new Uint8Array(32).fill(8));
export const NONCE = new Uint8Array(16).fill(9);
export const TIME = timeMs(1_800_000_000_000);

export const verifyEd25519: VerifyEd25519 = (signature, message, publicKey) =>
  nacl.sign.detached.verify(message, signature, publicKey);

export function signAs(boot: BootId, bytes: Uint8Array): SignedBytes {
  const key = boot === BOOT ? BOOT_KEY : OTHER_BOOT_KEY;
  return { bytes, signature: nacl.sign.detached(bytes, key.secretKey) as SignedBytes['signature'] };
}

export function signed<T>(codec: Codec<T>, value: T, by: BootId = BOOT): SignedBytes {
  return signAs(by, encodeAs(codec, value));
}

export function receiptOf(leaf: Leaf, by: BootId = BOOT): Receipt {
  const { bytes, signature } = signAs(by, encodeLeaf(leaf));
  return { leaf: bytes, signature };
}

export const leafBase = { boot: BOOT, sequence: 5n, previous: HASH, time: TIME } as const;
export const createdLeaf: Leaf = {
  ...leafBase,
  kind: 'wallet-created',
  wallet: WALLET,
  actor: OWNER,
  stateVersion: 1n,
};
export const enabledLeaf: Leaf = {
  ...leafBase,
  kind: 'policy-enabled',
  wallet: WALLET,
  actor: OWNER,
  policyHash: HASH,
  stateVersion: 2n,
};
export const signedLeaf: Leaf = {
  ...leafBase,
  kind: 'signed',
  wallet: WALLET,
  actor: REQUESTER,
  requestId: 'request-1',
  messageHash: HASH,
  policyHash: OTHER_HASH,
};
export const frozenLeaf: Leaf = { ...leafBase, kind: 'frozen', freezeId: NONCE, scope: 'fleet', reason: 'a test' };

export const certificate: Infer<typeof walletCertificateCodec> = {
  deployment: 'test',
  boot: BOOT,
  wallet: WALLET,
  owner: OWNER,
  requesters: [REQUESTER],
  kmsKeyArn: 'arn:aws:kms:eu-central-1:000000000000:key/1',
  nonce: NONCE,
  leafHash: leafHash(encodeLeaf(createdLeaf)),
};
export const enableReceipt: Infer<typeof enableReceiptCodec> = {
  deployment: 'test',
  boot: BOOT,
  wallet: WALLET,
  owner: OWNER,
  epoch: 3,
  policyHash: HASH,
  previousHash: OTHER_HASH,
  leafHash: leafHash(encodeLeaf(enabledLeaf)),
};
export const retiredLeaf: Leaf = {
  ...leafBase,
  kind: 'retired',
  wallet: WALLET,
  actor: OWNER,
  policyHash: HASH,
  stateVersion: 3n,
};
export const retireAck: Infer<typeof retireAckCodec> = {
  deployment: 'test',
  boot: BOOT,
  wallet: WALLET,
  owner: OWNER,
  nonce: NONCE,
  time: TIME,
  policyHash: HASH,
  leafHash: leafHash(encodeLeaf(retiredLeaf)),
};
export const freezeAck: Infer<typeof freezeAckCodec> = {
  deployment: 'test',
  boot: BOOT,
  freezeId: NONCE,
  scope: 'fleet',
  time: TIME,
  leafHash: leafHash(encodeLeaf(frozenLeaf)),
};
export const resumedLeaf: Leaf = { ...frozenLeaf, kind: 'resumed', sequence: frozenLeaf.sequence + 1n };
export const resumeAck: Infer<typeof resumeAckCodec> = {
  deployment: 'test',
  boot: BOOT,
  freezeId: NONCE,
  scope: 'fleet',
  time: TIME,
  leafHash: leafHash(encodeLeaf(resumedLeaf)),
};
