/**
 * The client SDK: what a trading backend or an owner's tool needs to use an appliance without trusting its host.
 *
 * ```ts
 * const client = createClient({ url: 'https://signer.example', deployment: 'prod-eu-1', trust: { pcrSets } });
 * await client.connect();
 * const { signature } = await client.sign({ wallet, transaction, requester });
 * ```
 *
 * Nothing is sent before an enclave of the images in `trust` has proved itself live, by an attestation over a nonce of
 * this client's; `connect` asks for that now, else the first request does. Every answer is verified before it is
 * returned: receipts and certificates against a boot key attested like that, signatures against the wallet; a receipt
 * of a boot that is not known yet has the running one prove itself again. Errors are QvError with the appliance's
 * stable codes.
 */
import { requireExpectations } from '@quantumvault/shared/attestation/expectations.ts';
import type { VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
import { type AttestedBoot, AttestedBoots, type Trust } from './attestation.ts';
import { type BatchVerdict, dryRunBatch, type SignBatchOptions, signBatch } from './batch.ts';
import { type ConnectionOptions, connectionTo } from './http.ts';
import { type ImportWalletOptions, importWallet } from './imports.ts';
import { verifyEd25519 } from './keys.ts';
import { type RetiredWallet, type RetireWalletOptions, retireWallet } from './retire.ts';
import { type DryRun, dryRun, type Signed, type SigningContext, type SignOptions, sign } from './signing.ts';
import {
  type CancelClaimOptions,
  type ClaimWalletOptions,
  cancelClaim,
  claimWallet,
  completeTakeover,
  type NameSuccessorOptions,
  nameSuccessor,
  type SuccessionChanged,
} from './successors.ts';
import {
  type CreatedWallet,
  type CreateWalletOptions,
  createWallet,
  type EnabledPolicy,
  type EnablePolicyOptions,
  enablePolicy,
} from './wallets.ts';

export interface ClientOptions extends ConnectionOptions {
  /** The host's address. Use https: nothing here is secret, but a stranger may read what you trade. */
  readonly url: string | URL;
  /** The deployment's name, which every request and statement is for. */
  readonly deployment: string;
  readonly trust: Trust;
  /** Default: tweetnacl, which takes some milliseconds per signature. */
  readonly verifyEd25519?: VerifyEd25519;
  /** Milliseconds since 1970. */
  readonly nowMs?: () => number;
}

export interface Client {
  /** The boot that this client believes, as it last proved itself; asks for the proof when there is none yet. */
  connect(options?: { readonly signal?: AbortSignal }): Promise<AttestedBoot>;
  /** Proves, over a fresh nonce, which image runs now and which boot key is its. */
  attestation(options?: { readonly signal?: AbortSignal }): Promise<AttestedBoot>;
  createWallet(options: CreateWalletOptions): Promise<CreatedWallet>;
  /** The key itself is the callback's alone; `qv import` is one (imports.ts). */
  importWallet(options: ImportWalletOptions): Promise<CreatedWallet>;
  enablePolicy(options: EnablePolicyOptions): Promise<EnabledPolicy>;
  /** For good: what is left in the wallet stays there. */
  retireWallet(options: RetireWalletOptions): Promise<RetiredWallet>;
  /** Who may become the owner after a delay that begins with his claim; nobody any more without one. */
  nameSuccessor(options: NameSuccessorOptions): Promise<SuccessionChanged>;
  claimWallet(options: ClaimWalletOptions): Promise<SuccessionChanged>;
  cancelClaim(options: CancelClaimOptions): Promise<SuccessionChanged>;
  /** Once the delay has passed: the successor is the owner. */
  completeTakeover(options: ClaimWalletOptions): Promise<SuccessionChanged>;
  sign(options: SignOptions): Promise<Signed>;
  dryRun(options: SignOptions): Promise<DryRun>;
  signBatch(options: SignBatchOptions): Promise<readonly Signed[]>;
  dryRunBatch(options: SignBatchOptions): Promise<readonly BatchVerdict[]>;
}

/** @throws QvError attestation_expectations_invalid, attestation_pcr_set_malformed: nothing to verify against */
export function createClient(options: ClientOptions): Client {
  const { trust } = options;
  requireExpectations({ mode: { kind: 'replay' }, pcrSets: trust.pcrSets });
  const connection = connectionTo(options.url, options);
  const attestation = {
    connection,
    trust,
    nowMs: options.nowMs ?? Date.now,
    verifyEd25519: options.verifyEd25519 ?? verifyEd25519,
  };
  const boots = new AttestedBoots(attestation);
  const context: SigningContext = { ...attestation, deployment: options.deployment, boots };
  return {
    connect: (how) => boots.connected(how?.signal),
    attestation: (how) => boots.fresh(how?.signal),
    createWallet: (wallet) => createWallet(context, wallet),
    importWallet: (key) => importWallet(context, key),
    enablePolicy: (policy) => enablePolicy(context, policy),
    retireWallet: (wallet) => retireWallet(context, wallet),
    nameSuccessor: (wallet) => nameSuccessor(context, wallet),
    claimWallet: (wallet) => claimWallet(context, wallet),
    cancelClaim: (wallet) => cancelClaim(context, wallet),
    completeTakeover: (wallet) => completeTakeover(context, wallet),
    sign: (request) => sign(context, request),
    dryRun: (request) => dryRun(context, request),
    signBatch: (request) => signBatch(context, request),
    dryRunBatch: (request) => dryRunBatch(context, request),
  };
}

export type { AttestedBoot, Trust } from './attestation.ts';
export { BatchDenied, type BatchVerdict, type SignBatchOptions } from './batch.ts';
export { connectionTo, HostProblem } from './http.ts';
export type { ImportTarget, ImportWalletOptions } from './imports.ts';
export { type KeyPair, type Owner, ownerFromSigner, type Signer, signerFromKeyPair, verifyEd25519 } from './keys.ts';
export { type Held, type PanicAnswer, type PanicOptions, panic } from './panic.ts';
export type { RetiredWallet, RetireWalletOptions } from './retire.ts';
export {
  type DryRun,
  PolicyDenied,
  type RequestOptions,
  type RuleVerdict,
  type Signed,
  type SignOptions,
} from './signing.ts';
export type {
  CancelClaimOptions,
  ClaimWalletOptions,
  NameSuccessorOptions,
  SuccessionChanged,
} from './successors.ts';
export type { CreatedWallet, CreateWalletOptions, EnabledPolicy, EnablePolicyOptions } from './wallets.ts';
