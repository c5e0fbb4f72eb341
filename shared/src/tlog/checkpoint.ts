/**
 * Checkpoints (C2SP tlog-checkpoint): a signed note whose text is
 *
 *   origin            names the log; not empty
 *   tree size         decimal, no leading zeroes
 *   root hash         base64
 *   extension lines   none, usually; not empty
 */
import { type Hash, hash } from '../brands.ts';
import { fromBase64, toBase64 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import type { VerifyEd25519 } from '../evidence/leaf.ts';
import { type Note, parseNote, type VerifiedSignature, verifyNote } from './note.ts';
import { MAX_LEAVES } from './tree.ts';
import type { VerifierKey } from './verifier-key.ts';

export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: Hash;
  readonly extensions: readonly string[];
}

/** Which log is expected, and who may sign for it. */
export interface KnownLog {
  readonly origin: string;
  readonly key: VerifierKey;
  readonly witnesses: readonly VerifierKey[];
}

export interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly note: Note;
  /** Of known witnesses, each once. Whether they are enough is for the caller to say. */
  readonly cosignatures: readonly VerifiedSignature[];
}

const SIZE = /^\d{1,19}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: notes may not have them
const LINE = /^[^\x00-\x1f]+$/;

/** The note's text. @throws QvError log_checkpoint_malformed */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  if (![origin, ...extensions].every((line) => LINE.test(line) && line.isWellFormed()))
    throw new QvError('log_checkpoint_malformed', { path: 'text' });
  if (size < 0n || size > MAX_LEAVES) throw new QvError('log_checkpoint_malformed', { path: 'size' });
  return [origin, `${size}`, toBase64(hash(root)), ...extensions, ''].join('\n');
}

/** Parsed, printed and compared: no padding, sign or other spelling is left. @throws QvError log_checkpoint_malformed */
export function parseCheckpoint(text: string): Checkpoint {
  const lines = text.split('\n');
  lines.pop();
  const [origin = '', size = '', root = '', ...extensions] = lines;
  if (!SIZE.test(size)) throw new QvError('log_checkpoint_malformed', { path: 'size' });
  const checkpoint = { origin, size: BigInt(size), root: parseRoot(root), extensions };
  if (formatCheckpoint(checkpoint) !== text) throw new QvError('log_checkpoint_malformed', { path: 'text' });
  return checkpoint;
}

/**
 * A signed checkpoint of the log that is expected.
 * @throws QvError log_note_malformed, log_note_signature_invalid, log_note_signature_repeated, log_note_unsigned,
 *   log_key_repeated, log_checkpoint_malformed, log_origin_mismatch
 */
export function openCheckpoint(bytes: Uint8Array, log: KnownLog, verifyEd25519: VerifyEd25519): OpenedCheckpoint {
  const note = parseNote(bytes);
  const verified = verifyNote(note, [log.key, ...log.witnesses], verifyEd25519);
  if (!verified.some(({ key }) => key === log.key)) throw new QvError('log_note_unsigned', { value: log.key.name });
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== log.origin) throw new QvError('log_origin_mismatch', { path: 'origin' });
  return {
    checkpoint,
    note,
    cosignatures: verified.filter(({ key }) => key !== log.key && key.type === 'cosignature'),
  };
}

function parseRoot(base64: string): Hash {
  try {
    return hash(fromBase64(base64));
  } catch (cause) {
    throw new QvError('log_checkpoint_malformed', { path: 'root' }, { cause });
  }
}
