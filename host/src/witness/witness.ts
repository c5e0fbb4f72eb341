/** What a witness does with a request, HTTP aside (C2SP tlog-witness). */
import { equalBytes, fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type Checkpoint, openCheckpoint, parseCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { formatNote, type Note, type NoteSignature, parseNote } from '@quantumvault/shared/tlog/note.ts';
import { verifyConsistency } from '@quantumvault/shared/tlog/proof.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { type AddCheckpoint, parseAddCheckpoint } from '@quantumvault/shared/tlog/witness-request.ts';
import { verifyEd25519 } from '../ed25519.ts';
import type { Log } from '../log.ts';
import { signatureField } from '../wire-json.ts';
import { type Admission, logKeyOf, verifyBootRecord } from './admission.ts';
import type { Cosigner } from './directory.ts';
import type { Cosigned, WitnessStore } from './store.ts';

export interface WitnessDeps {
  readonly store: WitnessStore;
  readonly cosigner: Cosigner;
  readonly admission: Admission;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

type Next = Cosigned & Pick<Checkpoint, 'origin'>;

export class Witness {
  readonly #deps: WitnessDeps;
  #admissions = 0;

  constructor(deps: WitnessDeps) {
    this.#deps = deps;
  }

  /**
   * Looks, stores, then cosigns. Not asynchronous: nothing else of this process runs in between.
   * @throws QvError witness_request_malformed, log_note_*, log_checkpoint_malformed, witness_log_unknown,
   *   witness_size_mismatch (its value is the size last cosigned), witness_root_mismatch, witness_proof_invalid,
   *   store_unavailable
   */
  addCheckpoint(body: Uint8Array): NoteSignature {
    const { store, cosigner, now } = this.#deps;
    const request = parseAddCheckpoint(body);
    // Only to find the key; what it says counts after openCheckpoint.
    const { origin } = parseCheckpoint(parseNote(request.note).text);
    const publicKey = store.findKey(origin);
    if (publicKey === undefined) throw new QvError('witness_log_unknown');
    const key = logKeyOf(origin, publicKey);
    const { checkpoint, note } = openCheckpoint(request.note, { origin, key, witnesses: [] }, verifyEd25519);
    const next = { ...checkpoint, note: signedBy(key, note) };
    if (request.oldSize > checkpoint.size) throw new QvError('witness_request_malformed', { path: 'old' });
    let timeSeconds = 0n;
    store.advance(origin, (last) => {
      this.#checkGrowth(last, next, request);
      // Under the lock: of two cosignatures the later one is never of the smaller tree.
      timeSeconds = BigInt(Math.floor(now() / 1_000));
      return next;
    });
    return cosigner.cosign(note.text, timeSeconds);
  }

  /**
   * Admits the log that leaf 0 begins; again is no error.
   * @throws QvError overloaded, witness_logs_full, json_malformed, field_malformed, base64_malformed,
   *   store_unavailable, and what verifyBootRecord throws
   */
  async addLog(body: Uint8Array): Promise<{ readonly origin: string }> {
    const { store, admission, log, now } = this.#deps;
    const record = parseBootRecord(body);
    // Anybody may ask, and four certificates take some milliseconds.
    if (this.#admissions >= LIMITS.witnessAdmissions) throw new QvError('overloaded');
    this.#admissions++;
    try {
      const key = await verifyBootRecord(record, admission, now());
      store.admit(key.name, key.publicKey, now());
      log.info({ origin: key.name }, 'log admitted');
      return { origin: key.name };
    } finally {
      this.#admissions--;
    }
  }

  #checkGrowth(last: Cosigned, { origin, size, root, note }: Next, { oldSize, proof }: AddCheckpoint): void {
    if (oldSize !== last.size) throw new QvError('witness_size_mismatch', { value: `${last.size}` });
    if (size === last.size && !equalBytes(root, last.root)) {
      // The log's key has signed both, so this is no mistake of whoever asked: with these two anybody can show it.
      const [cosigned, refused] = [last.note, note].map((signed) => signed && toBase64(signed));
      this.#deps.log.error({ origin, size: `${size}`, cosigned, refused }, 'fork');
      throw new QvError('witness_root_mismatch', { value: `${size}` });
    }
    try {
      verifyConsistency({ oldSize, newSize: size, oldRoot: last.root, newRoot: root, proof });
    } catch (cause) {
      if (!(cause instanceof QvError)) throw cause;
      throw new QvError('witness_proof_invalid', cause.facts, { cause });
    }
  }
}

/** What the log said, without what others said of it. */
function signedBy({ name, id }: VerifierKey, { text, signatures }: Note): Uint8Array {
  return formatNote({ text, signatures: signatures.filter((line) => line.name === name && line.keyId === id) });
}

/** `{"leaf": base64, "signature": base64}` */
function parseBootRecord(body: Uint8Array): Receipt {
  const fields = new JsonFields(parseStrictJson(body));
  const record = { leaf: fromBase64(fields.text('leaf'), 'leaf'), signature: signatureField(fields, 'signature') };
  fields.end();
  if (record.leaf.length > LIMITS.frameBytes) throw fields.fault('leaf', 'too long');
  return record;
}
