/** Creating wallets and enabling policies: the owner reads and signs statements, the answers are verified. */
import {
  type Address,
  address,
  type Hash,
  type TimeMs,
  timeMs,
  signature as toSignature,
} from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type {
  EnableReceipt,
  Receipt,
  SignedBytes,
  Successor,
  WalletCertificate,
} from '@quantumvault/shared/evidence/leaf.ts';
import {
  type CertificateExpectations,
  verifyCertificate,
  verifyEnableReceipt,
} from '@quantumvault/shared/evidence/verify.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { isSignedByOwner } from '@quantumvault/shared/policy/owner-signature.ts';
import { type Policy, parsePolicy, policyBytes, policyHash, policyJson } from '@quantumvault/shared/policy/policy.ts';
import {
  CREATE_PURPOSE,
  renderCreationStatement,
  renderPolicyStatement,
} from '@quantumvault/shared/policy/statement.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { formatPanicCode, parsePanicCode } from '../remote-freeze/panic-code.ts';
import type { AttestedBoot } from './attestation.ts';
import { exchange, readResponse } from './http.ts';
import type { Owner } from './keys.ts';
import type { SigningContext } from './signing.ts';
import { hashField, jsonBody, receiptField, requireLength, signedBytesField } from './wire.ts';

export interface CreateWalletOptions {
  readonly owner: Owner;
  /** 1 to 16 request keys, which the certificate names. */
  readonly requesters: readonly Address[];
  /** 16 bytes, drawn at random unless given. The same statement again gives the same wallet. */
  readonly nonce?: Uint8Array;
  /** The statement counts until then. Default: LIMITS.clientStatementSeconds from now; at most a day ahead. */
  readonly createBefore?: TimeMs;
  /** Who may follow the owner; the certificate says so. */
  readonly successor?: Successor;
  readonly signal?: AbortSignal;
}

export interface CreatedWallet {
  readonly wallet: Address;
  /** The attested boot that made it and holds it. */
  readonly boot: AttestedBoot;
  readonly certificate: WalletCertificate;
  /** To keep: what proves the above to somebody else. */
  readonly evidence: { readonly certificate: SignedBytes; readonly receipt: Receipt };
}

/**
 * Returns only after the certificate and a live attestation of the boot that signed it have been verified (design 4).
 * @throws QvError statement_signature_invalid when the callback signed something else; attestation_*, evidence_*;
 * HostProblem; host_unreachable, response_malformed
 */
export async function createWallet(context: SigningContext, options: CreateWalletOptions): Promise<CreatedWallet> {
  const { deployment, connection } = context;
  const { owner, requesters, successor } = options;
  const nonce = requireLength(options.nonce ?? crypto.getRandomValues(new Uint8Array(16)), 16, 'nonce');
  const createBefore = options.createBefore ?? soon(context);
  // Before the owner is asked for anything.
  const connected = await context.boots.fresh(options.signal);
  const statement = { deployment, owner: owner.address, nonce, requesters, createBeforeMs: createBefore, successor };
  const signature = await signStatement(context, owner, renderCreationStatement(statement));
  const fields = await exchange(connection, {
    method: 'POST',
    path: 'v1/wallets',
    signal: options.signal,
    body: jsonBody({
      purpose: CREATE_PURPOSE,
      deployment,
      owner: owner.address,
      nonce: toHex(nonce),
      requesters,
      createBefore: formatTime(createBefore),
      signature: toBase64(signature),
      ...(successor && { successor }),
    }),
  });
  const about = { owner: owner.address, requesters, nonce, ...(successor && { successor }) };
  return await certifiedWallet(context, fields, connected, about, options.signal);
}

/** What the answer has to certify, besides what this client was made for. */
type Certified = Pick<CertificateExpectations, 'owner' | 'requesters' | 'nonce' | 'imported' | 'successor'> & {
  /** Where it is known before. */
  readonly wallet?: Address;
};

/** @param connected the boot that was attested before the question. @throws QvError attestation_*, evidence_* */
export async function certifiedWallet(
  context: SigningContext,
  fields: JsonFields,
  connected: AttestedBoot,
  about: Certified,
  signal: AbortSignal | undefined,
): Promise<CreatedWallet> {
  const { deployment, trust, verifyEd25519 } = context;
  const claim = readResponse(() => ({
    wallet: address(fields.text('wallet'), 'wallet'),
    certificate: signedBytesField(fields, 'certificate'),
    receipt: receiptField(fields, 'receipt'),
  }));
  if (about.wallet !== undefined && claim.wallet !== about.wallet)
    throw new QvError('evidence_mismatch', { path: 'wallet', value: claim.wallet });
  // An enclave that was replaced meanwhile has to prove itself, too.
  const maker = await context.boots.of(claim.receipt, signal);
  const boot = maker === connected.boot ? connected : await context.boots.fresh(signal);
  const expected = {
    ...about,
    wallet: claim.wallet,
    deployment,
    boot: boot.boot,
    ...(trust.kmsKeyArn !== undefined && { kmsKeyArn: trust.kmsKeyArn }),
  };
  const certificate = verifyCertificate(claim.certificate, claim.receipt, expected, verifyEd25519);
  return {
    wallet: certificate.wallet,
    boot,
    certificate,
    evidence: { certificate: claim.certificate, receipt: claim.receipt },
  };
}

export interface EnablePolicyOptions {
  readonly owner: Owner;
  /** The policy document as JSON has it; amounts as decimal strings. */
  readonly policy: unknown;
  /** The hash of the policy it replaces; absent for a wallet's first. */
  readonly previousHash?: Hash;
  /** The statement counts until then. Default: LIMITS.clientStatementSeconds from now; at most a day ahead. */
  readonly enableBefore?: TimeMs;
  readonly signal?: AbortSignal;
}

export interface EnabledPolicy {
  readonly policy: Policy;
  /** Names it as the predecessor of the next one. */
  readonly policyHash: Hash;
  readonly epoch: number;
  readonly enableReceipt: EnableReceipt;
  /**
   * Freezes this wallet without any key (`panic`, `qv panic`): to be shown to the owner once, written down, and kept by
   * nobody else. It replaces the one before. The host made it, and only using it would prove that it works.
   */
  readonly panicCode: string;
  readonly evidence: { readonly enableReceipt: SignedBytes; readonly receipt: Receipt };
}

/**
 * @throws QvError policy_* before anybody is asked; statement_signature_invalid; attestation_*, evidence_*;
 * HostProblem; host_unreachable, response_malformed
 */
export async function enablePolicy(context: SigningContext, options: EnablePolicyOptions): Promise<EnabledPolicy> {
  const { deployment, connection, verifyEd25519 } = context;
  const { owner, previousHash } = options;
  const policy = parsePolicy(options.policy);
  const hash = policyHash(policyBytes(policy));
  const enableBefore = options.enableBefore ?? soon(context);
  if (policy.owner !== owner.address) throw new QvError('wallet_owner_mismatch', { path: 'policy.owner' });
  const statement = { policy, policyHash: hash, deployment, previousHash, enableBeforeMs: enableBefore };
  await context.boots.connected(options.signal);
  const signature = await signStatement(context, owner, renderPolicyStatement(statement));
  const fields = await exchange(connection, {
    method: 'PUT',
    path: `v1/wallets/${policy.wallet}/policy`,
    signal: options.signal,
    body: jsonBody({
      policy: policyJson(policy),
      previousHash: previousHash === undefined ? null : toHex(previousHash),
      enableBefore: formatTime(enableBefore),
      signature: toBase64(signature),
    }),
  });
  const evidence = readResponse(() => ({
    enableReceipt: signedBytesField(fields, 'enableReceipt'),
    receipt: receiptField(fields, 'receipt'),
  }));
  // In our own spelling, whatever the host's is: this reaches people and terminals.
  const panicCode = readResponse(() => formatPanicCode(parsePanicCode(fields.text('panicCode'), 'panicCode')));
  const { wallet, epoch } = policy;
  const boot = await context.boots.of(evidence.receipt, options.signal);
  const expected = { deployment, boot, wallet, owner: owner.address, epoch, policyHash: hash, previousHash };
  const enableReceipt = verifyEnableReceipt(evidence.enableReceipt, evidence.receipt, expected, verifyEd25519);
  const agrees = readResponse(() => toHex(hashField(fields, 'policyHash')) === toHex(hash));
  if (!agrees) throw new QvError('evidence_mismatch', { path: 'policyHash' });
  return { policy, policyHash: hash, epoch, enableReceipt, panicCode, evidence };
}

/** A wrong signature is found here, where it was made. */
export async function signStatement(
  { verifyEd25519 }: SigningContext,
  owner: Owner,
  text: string,
): Promise<Uint8Array> {
  const signature = await owner.signStatement(text);
  if (signature.length !== 64 || !isSignedByOwner(toSignature(signature), text, owner.address, verifyEd25519))
    throw new QvError('statement_signature_invalid', { path: 'owner' });
  return signature;
}

/** Whole seconds, as the statement spells them. */
export function soon({ nowMs }: SigningContext): TimeMs {
  return timeMs((Math.floor(nowMs() / 1000) + LIMITS.clientStatementSeconds) * 1000);
}
