/** Asking witnesses for their cosignatures, all at once, and waiting for no more of them than are needed. */
import { codeOf } from '@quantumvault/shared/errors.ts';
import type { NoteSignature } from '@quantumvault/shared/tlog/note.ts';
import type { Log } from '../log.ts';
import type { CosignRequest, WitnessClient } from '../witness/client.ts';

export type Witness = Pick<WitnessClient, 'endpoint' | 'cosign'>;

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
      log.warn({ witness: witness.endpoint.key.name, code: codeOf(error) }, 'a witness did not cosign');
    } finally {
      busy.delete(witness);
    }
  });
  await Promise.race([promise, Promise.all(all)]);
  return [...signatures];
}
