/** What verifying a receipt file checks, in words, and what its report holds. */
import type { Step, StepOf } from '../attestation/checklist.ts';
import type { PcrSet } from '../attestation/pcrs.ts';
import type { BootId, Hash, TimeMs } from '../brands.ts';
import type { ErrorCode, ErrorFacts } from '../errors.ts';
import type { VerifierKey } from '../tlog/verifier-key.ts';
import type { Leaf } from './leaf.ts';
import type { UserData } from './user-data.ts';

/** In the order in which they are made. Names are stable. */
export const RECEIPT_STEPS = {
  form: 'File is a receipt in its one form',
  'boot-record': 'Leaf 0 is the record of a boot and holds its attestation document',
  attestation: 'Attestation document passes its own checklist',
  leaf: 'Leaf is of its one form',
  'boot-key': 'Attestation, leaf 0 and leaf name one boot key',
  configuration: 'Attestation and leaf 0 name one configuration, and the expected log',
  'boot-signature': 'Leaf 0 is signed by the boot key',
  'leaf-signature': 'Leaf is signed by the boot key',
  checkpoint: 'Checkpoint is one of this boot’s log, signed by the boot key',
  witnesses: 'Enough witnesses have cosigned the checkpoint',
  'boot-inclusion': 'Leaf 0 is in the log of the checkpoint, at its beginning',
  inclusion: 'Leaf is in the log of the checkpoint, at the place it names',
  transaction: 'Leaf is about this transaction',
  signature: 'Leaf is about this signature',
} as const;

export type ReceiptStepName = keyof typeof RECEIPT_STEPS;
export type ReceiptStep = StepOf<ReceiptStepName>;

/** For people: what a report in which every check passed is worth. */
export const RECEIPT_PROVES = {
  witnessed:
    'Proves that an enclave of this image decided this, and that the log which the witnesses have seen contains it.',
  unwitnessed:
    'Proves that an enclave of this image decided this and signed a log that contains it. Without witnesses the host could still show others a log that ends before.',
} as const;

export interface ReceiptExpectations {
  /** The images allowed. Never empty. */
  readonly pcrSets: readonly PcrSet[];
  /** SHA-256 of the measured configuration. */
  readonly configHash?: Hash;
  readonly logOrigin?: string;
  /** Accepts enclaves in debug mode, whose memory can be read. */
  readonly allowDebug?: boolean;
  /** Trusts another root than AWS's: whoever holds its key can attest anything. */
  readonly unsafeTrustedRootDer?: Uint8Array;
  /** Keys of type `cosignature`. Whoever else signed the checkpoint is ignored. */
  readonly witnesses: readonly VerifierKey[];
  /** So many of them have to be on the checkpoint. */
  readonly witnessThreshold: number;
  /** The bytes of the Solana message that the leaf has to be about. */
  readonly message?: Uint8Array;
  /** The wallet's signature that the leaf has to be about, 64 bytes; verified over the message when both are given. */
  readonly signature?: Uint8Array;
}

export interface ReceiptFailure {
  readonly step: ReceiptStepName;
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;
}

export interface Cosigner {
  readonly name: string;
  readonly timeSeconds: bigint;
}

/** What is known to be true once every check has passed. */
export interface VerifiedReceiptFile {
  readonly index: bigint;
  readonly leaf: Leaf;
  readonly leafHash: Hash;
  readonly boot: BootId;
  readonly userData: UserData;
  readonly pcrSet: PcrSet;
  readonly moduleId: string;
  /** The attestation document's own time. */
  readonly attestedAt: TimeMs;
  readonly checkpoint: { readonly origin: string; readonly size: bigint; readonly root: Hash };
  readonly witnesses: readonly Cosigner[];
}

interface ReportBase {
  /** Every step of RECEIPT_STEPS, in its order. */
  readonly steps: readonly ReceiptStep[];
  /** The attestation document's own checklist; empty when it was not reached. */
  readonly attestation: readonly Step[];
}

export type ReceiptReport = ReportBase &
  (
    | { readonly ok: true; readonly receipt: VerifiedReceiptFile }
    | { readonly ok: false; readonly failure: ReceiptFailure }
  );
