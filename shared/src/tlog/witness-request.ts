/**
 * What a log asks of a witness (C2SP tlog-witness, `add-checkpoint`):
 *
 *   old size     "old ", decimal, no leading zeroes
 *   proof        none or more lines of base64: consistency from the old size to the checkpoint's (RFC 6962 2.1.2)
 *   empty line   the first one
 *   checkpoint   a signed note, as it is
 *
 * Whether proof and sizes fit each other is for the witness to say, after it knows the checkpoint to be the log's.
 */
import { type Hash, hash } from '../brands.ts';
import { concatBytes, fromBase64, toBase64, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { MAX_LEAVES } from './tree.ts';

export interface AddCheckpoint {
  readonly oldSize: bigint;
  /** The deepest first. */
  readonly proof: readonly Hash[];
  /** Not parsed yet. */
  readonly note: Uint8Array;
}

/** Media type of the answer 409 that names the size last cosigned. */
export const SIZE_TYPE = 'text/x.tlog.size';

const OLD = /^old (0|[1-9][0-9]{0,18})$/;
const SIZE = /^(?:0|[1-9][0-9]{0,18})\n$/;
/** A line of the proof has 44 characters: so long is the longest head, its empty line included. */
const HEAD_BYTES = 'old 9223372036854775807\n'.length + LIMITS.witnessProofHashes * 45 + 1;
const NEWLINE = 0x0a;

const malformed = (path: string, cause?: unknown): QvError =>
  new QvError('witness_request_malformed', { path }, { cause });

/** @throws QvError witness_request_malformed when no witness would take it */
export function formatAddCheckpoint({ oldSize, proof, note }: AddCheckpoint): Uint8Array {
  if (oldSize < 0n || oldSize > MAX_LEAVES) throw malformed('old');
  if (proof.length > LIMITS.witnessProofHashes) throw malformed('proof');
  const head = [`old ${oldSize}`, ...proof.map((item) => toBase64(hash(item))), '', ''].join('\n');
  const bytes = concatBytes(utf8(head), note);
  if (bytes.length > LIMITS.witnessRequestBytes) throw malformed('length');
  return bytes;
}

/** One spelling: what parses is what formatAddCheckpoint writes. @throws QvError witness_request_malformed */
export function parseAddCheckpoint(bytes: Uint8Array): AddCheckpoint {
  if (bytes.length > LIMITS.witnessRequestBytes) throw malformed('length');
  const end = endOfHead(bytes);
  const [first = '', ...lines] = ascii(bytes.subarray(0, end)).split('\n');
  const size = OLD.exec(first)?.[1];
  if (size === undefined || BigInt(size) > MAX_LEAVES) throw malformed('old');
  if (lines.length > LIMITS.witnessProofHashes) throw malformed('proof');
  return { oldSize: BigInt(size), proof: lines.map(parseHash), note: bytes.subarray(end + 2) };
}

/** What stands in such an answer. */
export function formatSize(size: bigint): string {
  return `${size}\n`;
}

/** Undefined when it is no size. */
export function parseSize(bytes: Uint8Array): bigint | undefined {
  const text = ascii(bytes.subarray(0, 21));
  const size = SIZE.test(text) ? BigInt(text.trim()) : undefined;
  return size === undefined || size > MAX_LEAVES || bytes.length > text.length ? undefined : size;
}

/** Where the first empty line begins; a note has one of its own further on. */
function endOfHead(bytes: Uint8Array): number {
  const limit = Math.min(bytes.length - 1, HEAD_BYTES);
  for (let at = 0; at < limit; at++) if (bytes[at] === NEWLINE && bytes[at + 1] === NEWLINE) return at;
  throw malformed('head');
}

/** Bytes as characters, one for one: what is not ASCII matches nothing that follows. */
function ascii(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

function parseHash(line: string, index: number): Hash {
  const path = `proof[${index}]`;
  let decoded: Uint8Array;
  try {
    decoded = fromBase64(line);
  } catch (cause) {
    throw malformed(path, cause);
  }
  if (decoded.length !== 32) throw malformed(path);
  return hash(decoded);
}
