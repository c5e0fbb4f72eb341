/**
 * Checks of what an enclave boot signed, for whoever holds a reply: the SDK, `qv`, an auditor. Everything hangs from
 * the boot key: `verifyBootAttestation` shows that it lives in an expected image, the others that it signed exactly
 * what was asked for. An expectation left out is a check left out, so what a caller always knows is required.
 */
import type { AttestationDocument } from '../attestation/document.ts';
import type { Expectations } from '../attestation/expectations.ts';
import type { PcrSet } from '../attestation/pcrs.ts';
import { type AttestationReport, verifyAttestation } from '../attestation/verify.ts';
import { type Address, addressBytes, type BootId, type Hash, type TimeMs } from '../brands.ts';
import { equalBytes } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { type Codec, decodeAs } from '../protocol/wire.ts';
import {
  decodeLeaf,
  type EnableReceipt,
  enableReceiptCodec,
  type FreezeAck,
  freezeAckCodec,
  type Leaf,
  type LeafKind,
  leafHash,
  type Receipt,
  type RetireAck,
  retireAckCodec,
  type SignedBytes,
  type SuccessionAck,
  type SuccessionKind,
  type Successor,
  successionAckCodec,
  type VerifyEd25519,
  type WalletCertificate,
  walletCertificateCodec,
} from './leaf.ts';
import { type ResumeAck, resumeAckCodec } from './succession.ts';
import { type UserData, userDataCodec } from './user-data.ts';

/** `user_data` is read here, so exact bytes are not expected but its parts. */
export interface BootExpectations extends Omit<Expectations, 'userData'> {
  /** The boot key somebody named; without it the document says which one it is. */
  readonly boot?: BootId;
  /** SHA-256 of the measured configuration. The PCRs cover the same file; this names the field at fault. */
  readonly configHash?: Hash;
  readonly logOrigin?: string;
}

export interface VerifiedBoot {
  readonly boot: BootId;
  readonly userData: UserData;
  readonly document: AttestationDocument;
  readonly pcrSet: PcrSet;
  readonly report: AttestationReport;
}

/**
 * The document is genuine, of an expected image, and names the boot key in its `user_data`.
 * @throws QvError attestation_*: the first failed step's code; attestation_user_data_mismatch with the field
 */
export async function verifyBootAttestation(document: Uint8Array, expected: BootExpectations): Promise<VerifiedBoot> {
  return bootOf(await verifyAttestation(document, expected), expected);
}

/**
 * The boot that a verified document names.
 * @throws QvError as verifyBootAttestation does
 */
export function bootOf(
  report: AttestationReport,
  { boot, configHash, logOrigin }: Pick<BootExpectations, 'boot' | 'configHash' | 'logOrigin'>,
): VerifiedBoot {
  if (!report.ok) throw new QvError(report.failure.code, report.failure.facts);
  const userData = readUserData(report.document.userData);
  const agree = (path: string, holds: boolean): void => {
    if (!holds) throw new QvError('attestation_user_data_mismatch', { path });
  };
  agree('userData.bootKey', boot === undefined || userData.bootKey === boot);
  agree('userData.configHash', configHash === undefined || equalBytes(userData.configHash, configHash));
  agree('userData.logOrigin', logOrigin === undefined || userData.logOrigin === logOrigin);
  return { boot: userData.bootKey, userData, document: report.document, pcrSet: report.pcrSet, report };
}

/** @throws QvError attestation_user_data_mismatch when it is not that of an enclave of ours */
export function readUserData(bytes: Uint8Array | undefined): UserData {
  if (bytes === undefined) throw new QvError('attestation_user_data_mismatch', { path: 'userData', value: 'none' });
  try {
    return decodeAs(userDataCodec, bytes, 'userData');
  } catch (error) {
    throw new QvError('attestation_user_data_mismatch', { path: 'userData', value: 'malformed' }, { cause: error });
  }
}

/** What the caller knows the leaf must say. `boot` must have been attested for the answer to mean anything. */
export interface LeafExpectations {
  readonly boot: BootId;
  readonly kind: LeafKind;
  readonly wallet?: Address;
  readonly actor?: Address;
  readonly requestId?: string;
  readonly messageHash?: Hash;
  readonly policyHash?: Hash;
}

export interface VerifiedReceipt {
  readonly leaf: Leaf;
  readonly leafHash: Hash;
}

/** @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed */
export function verifyReceipt(
  receipt: Receipt,
  expected: LeafExpectations,
  verifyEd25519: VerifyEd25519,
): VerifiedReceipt {
  requireSigned(receipt.leaf, receipt.signature, expected.boot, verifyEd25519, 'receipt');
  const leaf = decodeLeaf(receipt.leaf);
  for (const key of ['boot', 'kind', 'wallet', 'actor', 'requestId'] as const) {
    if (expected[key] !== undefined) requireEqual(`leaf.${key}`, leaf[key], expected[key]);
  }
  for (const key of ['messageHash', 'policyHash'] as const) {
    if (expected[key] !== undefined) requireEqual(`leaf.${key}`, leaf[key], expected[key]);
  }
  return { leaf, leafHash: leafHash(receipt.leaf) };
}

export interface CertificateExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  /** As the reply names it: certificate, leaf and reply must agree. */
  readonly wallet: Address;
  readonly owner: Address;
  /** In the order of the creation statement. */
  readonly requesters: readonly Address[];
  /** The nonce of the caller's own statement: an older certificate does not answer it. */
  readonly nonce: Uint8Array;
  /** The PCRs cover the measured key as well; absent means whichever key is measured. */
  readonly kmsKeyArn?: string;
  /** Its key was imported, as certificate and leaf have to say; absent: it was born in the enclave. */
  readonly imported?: true;
  /** It was a key of v2: then `imported` as well. */
  readonly migrated?: true;
  /** Whom the statement named as successor; absent: nobody. */
  readonly successor?: Successor;
}

/**
 * Checks that a wallet was made for this statement by this boot (design 4). Before it holds, and before the boot is
 * attested, the address is a claim and nothing to send money to.
 * @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed
 */
export function verifyCertificate(
  certificate: SignedBytes,
  receipt: Receipt,
  expected: CertificateExpectations,
  verifyEd25519: VerifyEd25519,
): WalletCertificate {
  const { boot, wallet, owner, nonce, requesters } = expected;
  const content = open(walletCertificateCodec, certificate, boot, verifyEd25519, 'certificate');
  requireEqual('certificate.deployment', content.deployment, expected.deployment);
  requireEqual('certificate.boot', content.boot, boot);
  requireEqual('certificate.wallet', content.wallet, wallet);
  requireEqual('certificate.owner', content.owner, owner);
  requireEqual('certificate.nonce', content.nonce, nonce);
  requireEqual('certificate.requesters', content.requesters.join(), requesters.join());
  if (expected.kmsKeyArn !== undefined) requireEqual('certificate.kmsKeyArn', content.kmsKeyArn, expected.kmsKeyArn);
  requireEqual('certificate.imported', content.imported, expected.imported);
  requireEqual('certificate.migrated', content.migrated, expected.migrated);
  requireSuccessor('certificate', content.successor, expected.successor);
  const kind = expected.migrated ? 'wallet-migrated' : expected.imported ? 'wallet-imported' : 'wallet-created';
  const made = verifyReceipt(receipt, { boot, kind, wallet, actor: owner }, verifyEd25519);
  requireEqual('certificate.leafHash', content.leafHash, made.leafHash);
  return content;
}

export interface EnableExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  readonly wallet: Address;
  readonly owner: Address;
  readonly epoch: number;
  readonly policyHash: Hash;
  /** Undefined for a wallet's first policy. */
  readonly previousHash: Hash | undefined;
}

/** @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed */
export function verifyEnableReceipt(
  enableReceipt: SignedBytes,
  receipt: Receipt,
  expected: EnableExpectations,
  verifyEd25519: VerifyEd25519,
): EnableReceipt {
  const { boot, wallet, owner, policyHash } = expected;
  const content = open(enableReceiptCodec, enableReceipt, boot, verifyEd25519, 'enableReceipt');
  requireEqual('enableReceipt.deployment', content.deployment, expected.deployment);
  requireEqual('enableReceipt.boot', content.boot, boot);
  requireEqual('enableReceipt.wallet', content.wallet, wallet);
  requireEqual('enableReceipt.owner', content.owner, owner);
  requireEqual('enableReceipt.epoch', content.epoch, expected.epoch);
  requireEqual('enableReceipt.policyHash', content.policyHash, policyHash);
  requireEqual('enableReceipt.previousHash', content.previousHash, expected.previousHash);
  const leaf = { boot, kind: 'policy-enabled', wallet, actor: owner, policyHash } as const;
  requireEqual('enableReceipt.leafHash', content.leafHash, verifyReceipt(receipt, leaf, verifyEd25519).leafHash);
  return content;
}

export interface RetireExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  readonly wallet: Address;
  readonly owner: Address;
  /** Undefined for a wallet that never had a policy. */
  readonly policyHash: Hash | undefined;
  /** The nonce of the owner's own statement. */
  readonly nonce: Uint8Array;
}

/**
 * The boot's word that it signs nothing for this wallet any more, by this very statement.
 * @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed
 */
export function verifyRetireAck(
  ack: SignedBytes,
  receipt: Receipt,
  expected: RetireExpectations,
  verifyEd25519: VerifyEd25519,
): RetireAck {
  const { boot, wallet, owner } = expected;
  const content = open(retireAckCodec, ack, boot, verifyEd25519, 'retireAck');
  requireEqual('retireAck.deployment', content.deployment, expected.deployment);
  requireEqual('retireAck.boot', content.boot, boot);
  requireEqual('retireAck.wallet', content.wallet, wallet);
  requireEqual('retireAck.owner', content.owner, owner);
  requireEqual('retireAck.nonce', content.nonce, expected.nonce);
  requireEqual('retireAck.policyHash', content.policyHash, expected.policyHash);
  const { leaf, leafHash: hash } = verifyReceipt(
    receipt,
    { boot, kind: 'retired', wallet, actor: owner },
    verifyEd25519,
  );
  requireEqual('leaf.policyHash', leaf.policyHash, expected.policyHash);
  requireEqual('leaf.time', leaf.time, content.time);
  requireEqual('retireAck.leafHash', content.leafHash, hash);
  return content;
}

export interface SuccessionExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  readonly kind: SuccessionKind;
  readonly wallet: Address;
  /** At the time of the statement. */
  readonly owner: Address;
  /** Who signed it. */
  readonly actor: Address;
  /** The number and the nonce of that statement. */
  readonly change: number;
  readonly nonce: Uint8Array;
  /** The successor's key; undefined where the owner named nobody. */
  readonly successor: Address | undefined;
  /** Where the statement says it. */
  readonly delayDays?: number;
}

/**
 * The boot's word on who may follow a wallet's owner, by this very statement.
 * @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed
 */
export function verifySuccessionAck(
  ack: SignedBytes,
  receipt: Receipt,
  expected: SuccessionExpectations,
  verifyEd25519: VerifyEd25519,
): SuccessionAck {
  const { boot, kind, wallet, actor } = expected;
  const content = open(successionAckCodec, ack, boot, verifyEd25519, 'successionAck');
  for (const key of ['deployment', 'boot', 'kind', 'wallet', 'nonce'] as const)
    requireEqual(`successionAck.${key}`, content[key], expected[key]);
  const { succession } = content;
  for (const key of ['owner', 'change'] as const)
    requireEqual(`successionAck.succession.${key}`, succession[key], expected[key]);
  requireEqual('successionAck.succession.successor', succession.successor?.key, expected.successor);
  if (expected.delayDays !== undefined)
    requireEqual('successionAck.succession.delayDays', succession.successor?.delayDays, expected.delayDays);
  requireEqual(
    'successionAck.succession.claimedAt',
    succession.claimedAt,
    kind === 'takeover-claimed' ? content.time : kind === 'owner-changed' ? succession.claimedAt : undefined,
  );
  const { leaf, leafHash: hash } = verifyReceipt(receipt, { boot, kind, wallet, actor }, verifyEd25519);
  requireEqual('leaf.time', leaf.time, content.time);
  requireEqual('successionAck.leafHash', content.leafHash, hash);
  return content;
}

export interface FreezeExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  readonly scope: string;
  readonly reason: string;
  /** The acknowledgement is of the order just given: its trusted time is no older than this. */
  readonly notBefore?: TimeMs;
}

/** @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed */
export function verifyFreezeAck(
  ack: SignedBytes,
  receipt: Receipt,
  expected: FreezeExpectations,
  verifyEd25519: VerifyEd25519,
): FreezeAck {
  const { boot, scope, reason, notBefore } = expected;
  const content = open(freezeAckCodec, ack, boot, verifyEd25519, 'freezeAck');
  requireEqual('freezeAck.deployment', content.deployment, expected.deployment);
  requireEqual('freezeAck.boot', content.boot, boot);
  requireEqual('freezeAck.scope', content.scope, scope);
  if (notBefore !== undefined && content.time < notBefore) mismatch('freezeAck.time', content.time);
  const { leaf, leafHash: hash } = verifyReceipt(receipt, { boot, kind: 'frozen' }, verifyEd25519);
  requireEqual('leaf.scope', leaf.scope, scope);
  requireEqual('leaf.reason', leaf.reason, reason);
  requireEqual('leaf.freezeId', leaf.freezeId, content.freezeId);
  requireEqual('leaf.time', leaf.time, content.time);
  requireEqual('freezeAck.leafHash', content.leafHash, hash);
  return content;
}

export interface ResumeExpectations {
  readonly deployment: string;
  readonly boot: BootId;
  readonly scope: string;
  /** 16 bytes: of the freeze that was to end, and of no other. */
  readonly freezeId: Uint8Array;
}

/**
 * The boot's word that it ended this very freeze.
 * @throws QvError evidence_signature_invalid, evidence_mismatch, cbor_malformed, message_malformed
 */
export function verifyResumeAck(
  ack: SignedBytes,
  receipt: Receipt,
  expected: ResumeExpectations,
  verifyEd25519: VerifyEd25519,
): ResumeAck {
  const { boot, scope, freezeId } = expected;
  const content = open(resumeAckCodec, ack, boot, verifyEd25519, 'resumeAck');
  requireEqual('resumeAck.deployment', content.deployment, expected.deployment);
  requireEqual('resumeAck.boot', content.boot, boot);
  requireEqual('resumeAck.scope', content.scope, scope);
  requireEqual('resumeAck.freezeId', content.freezeId, freezeId);
  const { leaf, leafHash: hash } = verifyReceipt(receipt, { boot, kind: 'resumed' }, verifyEd25519);
  requireEqual('leaf.scope', leaf.scope, scope);
  requireEqual('leaf.freezeId', leaf.freezeId, freezeId);
  requireEqual('leaf.time', leaf.time, content.time);
  requireEqual('resumeAck.leafHash', content.leafHash, hash);
  return content;
}

/** Signature first: nothing is read from bytes that the boot key did not sign. */
function open<T>(
  codec: Codec<T>,
  { bytes, signature }: SignedBytes,
  boot: BootId,
  verifyEd25519: VerifyEd25519,
  path: string,
): T {
  requireSigned(bytes, signature, boot, verifyEd25519, path);
  return decodeAs(codec, bytes, path);
}

function requireSigned(
  bytes: Uint8Array,
  signature: Uint8Array,
  boot: BootId,
  verifyEd25519: VerifyEd25519,
  path: string,
): void {
  if (signature.length !== 64 || !verifyEd25519(signature, bytes, addressBytes(boot)))
    throw new QvError('evidence_signature_invalid', { path });
}

function requireSuccessor(path: string, found: Successor | undefined, expected: Successor | undefined): void {
  requireEqual(`${path}.successor`, found?.key, expected?.key);
  requireEqual(`${path}.successor.delayDays`, found?.delayDays, expected?.delayDays);
}

type Fact = string | number | boolean | Uint8Array | undefined;

function requireEqual(path: string, found: Fact, expected: Fact): void {
  const equal =
    found instanceof Uint8Array && expected instanceof Uint8Array ? equalBytes(found, expected) : found === expected;
  if (!equal) mismatch(path, found);
}

function mismatch(path: string, found: Fact): never {
  const value = found === undefined ? 'absent' : found instanceof Uint8Array ? 'other bytes' : String(found);
  throw new QvError('evidence_mismatch', { path, value: value.slice(0, 128) });
}
