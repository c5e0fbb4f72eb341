/**
 * How a wallet moves from one boot to another (design 8), and what operators sign for it. All of them are canonical
 * CBOR with a purpose; each names both boots, so that none of them fits anywhere else or a second time.
 *
 * | who signs           | what           | says                                                                      |
 * | ------------------- | -------------- | ------------------------------------------------------------------------- |
 * | one operator        | release order  | the successor is attested; the predecessor is to hand these wallets over  |
 * | the predecessor     | release        | it holds this wallet no more; from this version on the successor does     |
 * | M of N operators    | lease          | the predecessor is terminated; these versions and freezes are known of it |
 */
import type { BootId, Signature } from '../brands.ts';
import { LIMITS } from '../limits.ts';
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
  publicKey,
  purposeStruct,
  struct,
  text,
  time,
  u64,
} from '../protocol/wire.ts';
import { FREEZE_SCOPE } from './freeze-scope.ts';
import { FACT } from './leaf.ts';

/** A freeze that holds: its scope, and the id of the last order for that scope. */
export const heldFreeze = struct({
  scope: field(0, text(128, FREEZE_SCOPE)),
  freezeId: field(1, fixed(16)),
});
export type HeldFreeze = Infer<typeof heldFreeze>;

/** One operator's or owner's Ed25519 signature. */
export const signedBy = struct({
  key: field(0, publicKey),
  signature: field(1, fixed<Signature>(64)),
});
export type SignedBy = Infer<typeof signedBy>;

export const releaseOrderCodec = purposeStruct('qv/release-order/v1', {
  deployment: field(1, text(64, FACT)),
  predecessor: field(2, bootId),
  successor: field(3, bootId),
  /** Absent: every wallet that the predecessor holds. */
  wallets: maybe(4, list(publicKey, 1, LIMITS.leaseWallets)),
  notAfter: field(5, time),
});
export type ReleaseOrder = Infer<typeof releaseOrderCodec>;

export const releaseCodec = purposeStruct('qv/release/v1', {
  deployment: field(1, text(64, FACT)),
  predecessor: field(2, bootId),
  successor: field(3, bootId),
  wallet: field(4, publicKey),
  /** Of the state handed over: the last one the predecessor signed under. */
  version: field(5, u64),
  /** Those that touch the wallet. */
  freezes: field(6, list(heldFreeze, 0, LIMITS.carriedFreezes)),
  /** The predecessor's log, the release's own leaf included. */
  checkpoint: field(7, bytes(1, LIMITS.predecessorNoteBytes)),
});
export type Release = Infer<typeof releaseCodec>;

const leasedWallet = struct({
  wallet: field(0, publicKey),
  /** Of its last leaf in the predecessor's log: no older state is taken over. */
  version: field(1, u64),
});

export const leaseCodec = purposeStruct('qv/lease/v1', {
  deployment: field(1, text(64, FACT)),
  predecessor: field(2, bootId),
  successor: field(3, bootId),
  wallets: field(4, list(leasedWallet, 1, LIMITS.leaseWallets)),
  freezes: field(5, list(heldFreeze, 0, LIMITS.carriedFreezes)),
  /** The predecessor's log as the operators hold it, with what witnesses have cosigned. */
  checkpoint: field(6, bytes(1, LIMITS.predecessorNoteBytes)),
  notAfter: field(7, time),
  /** Enough witnesses have told the operators that they have seen no later checkpoint: the sums of windows are all. */
  sumsProven: field(8, bool),
});
export type Lease = Infer<typeof leaseCodec>;

/** Bytes of one of the above with the signatures of operators. */
export const operatorSigned: Codec<{ readonly bytes: Uint8Array; readonly signatures: readonly SignedBy[] }> = struct({
  bytes: field(0, bytes(1, LIMITS.frameBytes)),
  signatures: field(1, list(signedBy, 1, LIMITS.operators)),
});
export type OperatorSigned = Infer<typeof operatorSigned>;

/** The enclave's word that a freeze is over. */
export const resumeAckCodec = purposeStruct('qv/resume-ack/v1', {
  deployment: field(1, text(64, FACT)),
  boot: field(2, bootId),
  freezeId: field(3, fixed(16)),
  scope: field(4, text(128, FREEZE_SCOPE)),
  time: field(5, time),
  leafHash: field(6, fixed(32)),
});
export type ResumeAck = Infer<typeof resumeAckCodec>;

/** What an owner or an operator signs to end one freeze: a plain message that ordinary wallets can show. */
export function renderResumeStatement(facts: {
  readonly deployment: string;
  readonly boot: BootId;
  readonly scope: string;
  /** Lower-case hex. */
  readonly freezeId: string;
}): string {
  return [
    'qv/resume/v1',
    'I end this freeze: what it stopped may be signed again.',
    `Deployment: ${facts.deployment}`,
    `Scope: ${facts.scope}`,
    `Freeze: ${facts.freezeId}`,
    `Enclave boot: ${facts.boot}`,
    '',
  ].join('\n');
}
