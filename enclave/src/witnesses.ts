/**
 * Witnesses (design 10): with a measured threshold K, no signature leaves before K of the measured keys have cosigned
 * a checkpoint that covers its leaf. One cosigned checkpoint releases everything before it, so one round of the
 * witnesses serves all signatures that wait. The host carries the notes; it can delay, and nothing else.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { type Note, parseNote, verifyNote } from '@quantumvault/shared/tlog/note.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Subject } from './freeze.ts';
import { verifyEd25519 } from './vault.ts';

interface Waiting {
  readonly sequence: bigint;
  readonly subject: Subject;
  readonly release: () => void;
  readonly refuse: (error: QvError) => void;
}

export class Witnesses {
  readonly threshold: number;
  readonly #keys: readonly VerifierKey[];
  readonly #log: VerifierKey;
  readonly #waiting = new Set<Waiting>();
  #covered = 0n;

  /** @param log this boot's own key, whose checkpoints count */
  constructor({ threshold, keys }: { threshold: number; keys: readonly VerifierKey[] }, log: VerifierKey) {
    this.threshold = threshold;
    this.#keys = keys;
    this.#log = log;
  }

  /** Leaves before this one are covered. */
  get covered(): bigint {
    return this.#covered;
  }

  /** Resolves once the leaf is covered. @throws QvError witnesses_unavailable, and what `refuse` is given */
  async cover(sequence: bigint, subject: Subject): Promise<void> {
    if (this.threshold === 0 || sequence < this.#covered) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { sequence, subject, release: resolve, refuse: reject };
    const timer = setTimeout(
      () => reject(new QvError('witnesses_unavailable', { value: `${this.threshold} of ${this.#keys.length}` })),
      LIMITS.witnessWaitMilliseconds,
    );
    this.#waiting.add(waiting);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(waiting);
    }
  }

  /** What waits and is stopped, by a freeze or because its wallet has left, is never released. */
  refuse(isStopped: (subject: Subject) => boolean, error: QvError): void {
    for (const { subject, refuse } of this.#waiting) if (isStopped(subject)) refuse(error);
  }

  /** Whether enough of them have cosigned another boot's checkpoint; without a threshold never. */
  haveCosigned(note: Note): boolean {
    return this.threshold > 0 && this.#count(note) >= this.threshold;
  }

  /**
   * Takes a checkpoint of this boot with cosignatures. The boot key's own signature shows that the text is one of ours.
   * @throws QvError log_note_malformed, log_note_unsigned, log_note_signature_*, log_origin_mismatch, witnesses_too_few
   */
  take(bytes: Uint8Array): bigint {
    const note = parseNote(bytes);
    verifyNote(note, [this.#log], verifyEd25519);
    const { origin, size } = parseCheckpoint(note.text);
    if (origin !== this.#log.name) throw new QvError('log_origin_mismatch', { path: 'origin' });
    const count = this.#count(note);
    if (count < this.threshold) throw new QvError('witnesses_too_few', { value: `${count} of ${this.threshold}` });
    if (size > this.#covered) this.#covered = size;
    for (const { sequence, release } of this.#waiting) if (sequence < this.#covered) release();
    return this.#covered;
  }

  #count(note: Note): number {
    return this.#keys.filter((key) => hasCosigned(note, key)).length;
  }
}

/** One by one: a witness whose signature is bad is one that has not signed, and spoils nothing for the others. */
function hasCosigned(note: Note, key: VerifierKey): boolean {
  try {
    return verifyNote(note, [key], verifyEd25519).length === 1;
  } catch {
    return false;
  }
}
