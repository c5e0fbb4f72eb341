/**
 * Which logs a witness follows: those whose leaf 0 holds a genuine attestation document of an allowed image. The
 * document names the boot key, the boot key signs the leaf and every checkpoint, and the log's origin names both.
 *
 * There is no limit on the document's age. Hosts register late, after an outage or when a witness is added to a
 * deployment that runs for months; and an old document helps nobody, because extending its log takes the boot key,
 * which never left that enclave. An image that is no longer to be trusted is removed from `pcrSets`; logs it has begun
 * are followed on, for that they only grow is worth knowing of them in particular. Only a document from the future is
 * refused: one of the two clocks is wrong then, and cosignatures carry the witness's.
 */
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { addressBytes, type Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { bootLogOrigin, decodeLeaf, type Leaf, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { verifyBootAttestation, verifyReceipt } from '@quantumvault/shared/evidence/verify.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type VerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { verifyEd25519 } from '../ed25519.ts';

export interface Admission {
  /** The images allowed. Never empty. PCR3, PCR4 and PCR8 say whose machine and signature besides. */
  readonly pcrSets: readonly PcrSet[];
  /** As it is measured into the enclave; the boot's id follows it in the origin. */
  readonly logOrigin: string;
  /** SHA-256 of the measured configuration. */
  readonly configHash?: Hash;
  /** Hazard: whoever holds the key of this root can have any log admitted. */
  readonly unsafeTrustedRootDer?: Uint8Array;
}

/** @returns the key that signs the log's checkpoints; its name is the origin */
export function logKeyOf(origin: string, publicKey: Uint8Array): VerifierKey {
  return verifierKey(origin, 'ed25519', publicKey);
}

/**
 * Leaf 0 proves what log it begins.
 * @throws QvError witness_log_refused, attestation_*, evidence_*, cbor_malformed, message_malformed
 */
export async function verifyBootRecord(record: Receipt, admission: Admission, nowMs: number): Promise<VerifierKey> {
  const leaf = decodeLeaf(record.leaf);
  const attestation = requireFirst(leaf);
  // By the key that the leaf names itself; the document has to name it too.
  verifyReceipt(record, { boot: leaf.boot, kind: 'boot' }, verifyEd25519);
  const { boot, userData, document } = await verifyBootAttestation(attestation, {
    ...admission,
    mode: { kind: 'replay' },
    boot: leaf.boot,
  });
  if (leaf.configHash === undefined || !equalBytes(leaf.configHash, userData.configHash)) refuse('leaf.configHash');
  if (document.timestampMs > nowMs + LIMITS.attestationMaxFutureSeconds * 1_000)
    throw new QvError('attestation_in_future');
  return logKeyOf(bootLogOrigin(admission.logOrigin, boot), addressBytes(boot));
}

function requireFirst({ kind, sequence, previous, attestation }: Leaf): Uint8Array {
  if (kind !== 'boot') refuse('leaf.kind');
  if (sequence !== 0n || previous !== undefined) refuse('leaf.sequence');
  return attestation ?? refuse('leaf.attestation');
}

function refuse(path: string): never {
  throw new QvError('witness_log_refused', { path });
}
