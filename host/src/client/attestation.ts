/** Attested boots: what makes a boot key worth believing, asked for live with a nonce of our own. */
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf, type Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes, fromBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, type Receipt, type VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
import { type VerifiedBoot, verifyBootAttestation, verifyReceipt } from '@quantumvault/shared/evidence/verify.ts';
import { type Connection, exchange, HostProblem, readResponse } from './http.ts';
import { receiptField } from './wire.ts';

/** Which enclaves to believe. */
export interface Trust {
  /** The images allowed, by their PCRs; several while an upgrade is under way. Never empty. */
  readonly pcrSets: readonly PcrSet[];
  /** SHA-256 of the measured configuration file. */
  readonly configHash?: Hash;
  readonly logOrigin?: string;
  /** The KMS key that wallets' execution keys must be under. */
  readonly kmsKeyArn?: string;
  /** Believes another root than AWS's: whoever holds its key can attest anything. For local stacks. */
  readonly unsafeTrustedRootDer?: Uint8Array;
}

export interface AttestedBoot extends VerifiedBoot {
  /** The bytes that were verified, to keep. */
  readonly documentBytes: Uint8Array;
  /** Leaf 0 of the boot's log, signed by its key. */
  readonly bootRecord: Receipt;
}

export interface AttestationContext {
  readonly connection: Connection;
  readonly trust: Trust;
  readonly nowMs: () => number;
  readonly verifyEd25519: VerifyEd25519;
}

/** What the host answers; nothing of it is verified yet. */
export interface AttestationAnswer {
  readonly documentBytes: Uint8Array;
  readonly boot: BootId;
  readonly bootRecord: Receipt;
  /** Drawn for this answer alone. */
  readonly nonce: Uint8Array;
}

/** @param wanted another boot than the host's own. @throws HostProblem; QvError host_unreachable, response_malformed */
export async function requestAttestation(
  connection: Connection,
  signal?: AbortSignal,
  wanted?: BootId,
): Promise<AttestationAnswer> {
  const nonce = crypto.getRandomValues(new Uint8Array(32));
  const named = wanted === undefined ? '' : `&boot=${wanted}`;
  const path = `v1/attestation?nonce=${toHex(nonce)}${named}`;
  const fields = await exchange(connection, { method: 'GET', path, signal });
  return readResponse(() => ({
    documentBytes: fromBase64(fields.text('document'), 'document'),
    boot: bootId(fields.text('boot')),
    bootRecord: receiptField(fields, 'bootRecord'),
    nonce,
  }));
}

/** @throws QvError attestation_*, evidence_*; HostProblem; host_unreachable, response_malformed */
export async function attest(
  context: AttestationContext,
  signal?: AbortSignal,
  wanted?: BootId,
): Promise<AttestedBoot> {
  const { connection, trust, nowMs, verifyEd25519 } = context;
  const { documentBytes, boot, bootRecord, nonce } = await requestAttestation(connection, signal, wanted);
  const { kmsKeyArn: _, ...expected } = trust;
  const mode = { kind: 'live', nowMs: nowMs(), nonce } as const;
  const verified = await verifyBootAttestation(documentBytes, { ...expected, mode, boot });
  const { leaf } = verifyReceipt(bootRecord, { boot: verified.boot, kind: 'boot' }, verifyEd25519);
  if (leaf.configHash === undefined || !equalBytes(leaf.configHash, verified.userData.configHash)) {
    throw new QvError('evidence_mismatch', { path: 'leaf.configHash' });
  }
  return { ...verified, documentBytes, bootRecord };
}

const NOWHERE: ReadonlySet<ErrorCode> = new Set(['boot_unknown', 'field_malformed']);

function bootId(text: string): BootId {
  return bootIdOf(fromBase58(text, 32, 'boot'));
}

/**
 * The boots that have proved themselves to this client, so that not every receipt costs a document. A key that was
 * attested stays the key of that boot, and a stored reply may carry the receipt of an earlier one.
 */
export class AttestedBoots {
  readonly #context: AttestationContext;
  readonly #known = new Set<BootId>();
  #newest: AttestedBoot | undefined;
  /** Under way, for all who need one: every caller with a question of its own would be a flood after a restart. */
  #shared: Promise<AttestedBoot> | undefined;
  /** The same for boots behind other hosts of the deployment. */
  readonly #named = new Map<BootId, Promise<AttestedBoot>>();

  constructor(context: AttestationContext) {
    this.#context = context;
  }

  /** Always asks. */
  async fresh(signal?: AbortSignal): Promise<AttestedBoot> {
    const attested = await attest(this.#context, signal);
    this.#known.add(attested.boot);
    this.#newest = attested;
    return attested;
  }

  /** The boot that proved itself last; asks only when none has yet. Nothing is sent to an enclave before. */
  async connected(signal?: AbortSignal): Promise<AttestedBoot> {
    return this.#newest ?? (await this.#together(signal));
  }

  /**
   * The attested boot to verify this receipt with. What the receipt says of itself only chooses among boots that have
   * proved themselves; when it names none of them, the running one has to.
   */
  async of(receipt: Receipt, signal?: AbortSignal): Promise<BootId> {
    const { boot } = decodeLeaf(receipt.leaf);
    if (this.#known.has(boot)) return boot;
    // What is under way may have been asked of the boot before.
    if (this.#shared !== undefined) await this.#together(signal);
    if (this.#known.has(boot)) return boot;
    const { boot: answering } = await this.#together(signal);
    return this.#known.has(boot) ? boot : await this.#elsewhere(boot, answering, signal);
  }

  /** While wallets move, a host passes on what the enclave of another one decides: that one has to prove itself, too. */
  async #elsewhere(boot: BootId, answering: BootId, signal: AbortSignal | undefined): Promise<BootId> {
    let asked = this.#named.get(boot);
    if (asked === undefined) {
      asked = attest(this.#context, undefined, boot).finally(() => this.#named.delete(boot));
      this.#named.set(boot, asked);
    }
    try {
      const attested = await unlessAborted(asked, signal);
      this.#known.add(attested.boot);
      return attested.boot;
    } catch (error) {
      // Nobody there, or a host that cannot ask: then the receipt is of a boot that has not proved itself.
      if (error instanceof HostProblem && NOWHERE.has(error.code)) return answering;
      throw error;
    }
  }

  async #together(signal: AbortSignal | undefined): Promise<AttestedBoot> {
    this.#shared ??= this.fresh().finally(() => {
      this.#shared = undefined;
    });
    return await unlessAborted(this.#shared, signal);
  }
}

/** Whoever gives up leaves what others wait for alone. @throws whatever `signal` was aborted with */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
  }
}
