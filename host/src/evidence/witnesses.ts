/** Asking witnesses for their cosignatures, all at once, and waiting for no more of them than are needed. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import type { NoteSignature } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Log } from '../log.ts';

export interface CosignRequest {
  /** The checkpoint with the log's own signature. */
  readonly note: Uint8Array;
  readonly origin: string;
  readonly size: bigint;
  /** Consistency proof from an older size to `size`. */
  readonly prove: (oldSize: bigint) => Promise<readonly Hash[]>;
  /** Leaf 0, for a witness that does not know the log yet. */
  readonly bootRecord: Receipt;
}

export interface Witness {
  readonly key: VerifierKey;
  /** A verified cosignature. @throws QvError */
  cosign(request: CosignRequest): Promise<NoteSignature>;
}

/** Witnesses that still work on an earlier round: they are left out of this one while others are enough. */
const busy = new WeakSet<Witness>();

/**
 * The cosignatures of `threshold` witnesses, or of all that answer when there is none or they are too few. A witness
 * that hangs delays nobody as long as the others are enough; its answer comes too late for this checkpoint.
 */
export async function cosignatures(
  witnesses: readonly Witness[],
  request: CosignRequest,
  threshold: number,
  log: Log,
): Promise<readonly NoteSignature[]> {
  const free = witnesses.filter((witness) => !busy.has(witness));
  const asked = free.length >= threshold && free.length > 0 ? free : witnesses;
  const signatures: NoteSignature[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const all = asked.map(async (witness) => {
    busy.add(witness);
    try {
      signatures.push(await witness.cosign(request));
      if (threshold > 0 && signatures.length >= threshold) resolve();
    } catch (error) {
      log.warn({ witness: witness.key.name, code: codeOf(error) }, 'a witness did not cosign');
    } finally {
      busy.delete(witness);
    }
  });
  await Promise.race([promise, Promise.all(all)]);
  return [...signatures];
}
