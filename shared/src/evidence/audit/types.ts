/** What an audit of a deployment's logs is asked, and what it answers. */
import type { PcrSet } from '../../attestation/pcrs.ts';
import type { Address, BootId, Hash, TimeMs } from '../../brands.ts';
import type { ErrorCode } from '../../errors.ts';
import type { VerifierKey } from '../../tlog/verifier-key.ts';
import type { Leaf, Receipt, VerifyEd25519 } from '../leaf.ts';
import type { HeldFreeze } from '../succession.ts';

/** Where logs are read from: a host, or a copy of what it served. Nothing it says is believed. */
export interface LogSource {
  /** Whose logs there are. @throws QvError */
  boots(): Promise<readonly BootId[]>;
  /** The newest signed note. @throws QvError log_unknown */
  checkpoint(boot: BootId): Promise<Uint8Array>;
  /** The entry bundle at exactly that width (C2SP tlog-tiles). @throws QvError log_unknown */
  entries(boot: BootId, index: bigint, width: number): Promise<Uint8Array>;
  /** A policy's canonical bytes by their SHA-256; undefined when the source has none. */
  policy(hash: Hash): Promise<Uint8Array | undefined>;
}

export interface AuditExpectations {
  /** The images allowed. Never empty. */
  readonly pcrSets: readonly PcrSet[];
  readonly configHash?: Hash;
  readonly logOrigin?: string;
  readonly unsafeTrustedRootDer?: Uint8Array;
  readonly allowDebug?: boolean;
  /** Keys of type `cosignature`; so many of them have to be on every checkpoint. */
  readonly witnesses: readonly VerifierKey[];
  readonly witnessThreshold: number;
  /** What the auditor kept from the last time: the file that `AuditReport.seen` became. */
  readonly seen?: Uint8Array;
  /** Checkpoints the auditor saw before, as signed notes: each must be a state of the log found now. */
  readonly since?: readonly Uint8Array[];
  /** Receipts that somebody holds: each leaf must be in the log. */
  readonly receipts?: readonly Receipt[];
  /** Signatures found on chain, 64 bytes each: each must have a leaf. */
  readonly onChain?: readonly Uint8Array[];
}

export interface AuditDeps {
  readonly verifyEd25519: VerifyEd25519;
  /** Faster than the pure one, where there is one: SHA-256. */
  readonly sha256?: (bytes: Uint8Array) => Hash;
  readonly onProgress?: (leaves: bigint, of: bigint) => void;
  /** Every leaf in the order it is read, after its place and hash were found right; for exports. */
  readonly onLeaf?: (boot: BootId, leaf: Leaf, hash: Hash) => void;
}

/** One line of the checklist. */
export interface AuditStep {
  readonly name: string;
  readonly title: string;
  readonly status: 'pass' | 'fail' | 'skipped';
  /** What was found; of a failed step, its first finding. */
  readonly found: string;
  readonly code?: ErrorCode;
}

/** Something that must not be, and where. */
export interface Finding {
  readonly code: ErrorCode;
  readonly boot?: BootId;
  readonly sequence?: bigint;
  readonly wallet?: string;
  /** For people. */
  readonly detail: string;
}

export interface AuditedBoot {
  readonly boot: BootId;
  readonly origin: string;
  readonly size: bigint;
  /** Of its first and last leaf. */
  readonly from: TimeMs;
  readonly to: TimeMs;
  /** Names of the witnesses that cosigned. */
  readonly witnesses: readonly string[];
  /** When the last of them did: what happened after that a host could still hide. */
  readonly cosignedAt?: TimeMs;
  /** The boot whose log it continues. */
  readonly follows?: BootId;
}

/** A wallet by the leaves of the boot that holds it. */
export interface HeldWallet {
  readonly wallet: Address;
  /** Of its last leaf. */
  readonly version: bigint;
  /** Given away by a release, and not taken by anybody yet. */
  readonly releasedTo?: BootId;
}

/** A claim of a successor that nobody has cancelled, and that is not the end of it either. */
export interface RunningClaim {
  readonly wallet: Address;
  readonly owner: Address;
  readonly successor: Address;
  readonly claimedAt: TimeMs;
  /** Until then the owner can cancel it. */
  readonly dueAt: TimeMs;
}

/** What a boot's log ends with: what whoever continues it has to take over (design 8). */
export interface Estate {
  /** The signed note that was audited. */
  readonly checkpoint: Uint8Array;
  readonly wallets: readonly HeldWallet[];
  /** Freezes that hold. */
  readonly freezes: readonly HeldFreeze[];
}

export interface AuditReport {
  readonly ok: boolean;
  readonly steps: readonly AuditStep[];
  /** In the order found, at most LIMITS.auditFindings of them. */
  readonly findings: readonly Finding[];
  /** How many there were in all. */
  readonly findingCount: number;
  readonly boots: readonly AuditedBoot[];
  /** Leaves read now, and of each kind. */
  readonly leaves: bigint;
  readonly kinds: Readonly<Record<string, number>>;
  /** In the order of wallets. Of a retired one nothing comes. */
  readonly claims: readonly RunningClaim[];
  /** What a boot leaves behind; undefined of one whose log was not read. */
  readonly estateOf: (boot: BootId) => Estate | undefined;
  /** To be kept for the next audit; only when everything holds. */
  readonly seen?: Uint8Array;
}
