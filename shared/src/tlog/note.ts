/**
 * Signed notes (C2SP signed-note):
 *
 *   text        ends with a newline; may hold blank lines
 *   blank line  the last one of the note
 *   signatures  one or more lines: em dash, space, key name, space, base64(key id[u32be] || signature), newline
 *
 * UTF-8 without control characters other than newline. What a note says counts only after verifyNote.
 */
import { concatBytes, fromBase64, toBase64, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import type { VerifyEd25519 } from '../evidence/leaf.ts';
import { LIMITS } from '../limits.ts';
import { cosignatureMessage, readCosignature } from './cosignature.ts';
import { checkDistinct, isKeyName, type VerifierKey } from './verifier-key.ts';

export interface NoteSignature {
  readonly name: string;
  readonly keyId: number;
  /** As the key's type defines it: 64 bytes of Ed25519, or a time and 64 bytes. Not checked yet. */
  readonly signature: Uint8Array;
}

export interface Note {
  /** With its final newline. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** A signature that verified. */
export interface VerifiedSignature {
  readonly key: VerifierKey;
  /** Cosignatures: POSIX seconds at which the witness signed. */
  readonly timeSeconds: bigint | undefined;
}

const LINE = /^\u2014 ([^ ]+) ([A-Za-z0-9+/]+={0,2})$/u;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters a note may not have
const CONTROL = /[\x00-\x09\x0b-\x1f]/;

/** What an Ed25519 key signs (type 0x01): the text. */
export function noteMessage(text: string): Uint8Array {
  return utf8(text);
}

/** The signature line's content for bytes that `key` signed; for a cosignature see cosignatureBytes. */
export function noteSignature(key: VerifierKey, signature: Uint8Array): NoteSignature {
  return { name: key.name, keyId: key.id, signature };
}

/** @throws QvError log_note_malformed if it would not parse */
export function formatNote({ text, signatures }: Note): Uint8Array {
  const bytes = utf8(`${text}\n${formatSignatureLines(signatures)}`);
  // A text with a lone surrogate or without its newline reads back as another one.
  if (parseNote(bytes).text !== text) throw new QvError('log_note_malformed', { path: 'text' });
  return bytes;
}

/** @throws QvError log_note_malformed */
export function parseNote(bytes: Uint8Array): Note {
  const decoded = decodeText(bytes);
  const blank = decoded.lastIndexOf('\n\n');
  if (blank < 0) throw new QvError('log_note_malformed', { path: 'text' });
  return { text: decoded.slice(0, blank + 1), signatures: parseLines(decoded.slice(blank + 2)) };
}

export function formatSignatureLines(signatures: readonly NoteSignature[]): string {
  return signatures
    .map(({ name, keyId, signature }) => {
      const id = new Uint8Array(4);
      new DataView(id.buffer).setUint32(0, keyId);
      return `\u2014 ${name} ${toBase64(concatBytes(id, signature))}\n`;
    })
    .join('');
}

/** Signature lines alone, as a witness answers (C2SP tlog-witness). @throws QvError log_note_malformed */
export function parseSignatureLines(bytes: Uint8Array): readonly NoteSignature[] {
  return parseLines(decodeText(bytes));
}

/**
 * The signatures of known keys, each verified, in the order of the note. Signatures of unknown keys are ignored, even
 * if they share a name or an id with a known one; a known key's signature that does not verify refuses the note.
 * @throws QvError log_note_signature_invalid, log_note_signature_repeated, log_key_repeated, and log_note_unsigned if
 *   no known key signed
 */
export function verifyNote(
  { text, signatures }: Note,
  keys: readonly VerifierKey[],
  verifyEd25519: VerifyEd25519,
): readonly VerifiedSignature[] {
  checkDistinct(keys);
  const verified: VerifiedSignature[] = [];
  for (const signature of signatures) {
    const key = keys.find(({ name, id }) => name === signature.name && id === signature.keyId);
    if (key === undefined) continue;
    // Counting comes later, and one key must count once.
    if (verified.some((earlier) => earlier.key === key))
      throw new QvError('log_note_signature_repeated', { value: key.name });
    verified.push({ key, timeSeconds: verifyOne(text, key, signature.signature, verifyEd25519) });
  }
  if (verified.length === 0) throw new QvError('log_note_unsigned');
  return verified;
}

function verifyOne(
  text: string,
  key: VerifierKey,
  signature: Uint8Array,
  verifyEd25519: VerifyEd25519,
): bigint | undefined {
  const cosignature = key.type === 'cosignature' ? readCosignature(signature) : undefined;
  const message = cosignature === undefined ? noteMessage(text) : cosignatureMessage(text, cosignature.timeSeconds);
  const ed25519 = key.type === 'cosignature' ? cosignature?.signature : signature;
  if (ed25519?.length !== 64 || !verifyEd25519(ed25519, message, key.publicKey))
    throw new QvError('log_note_signature_invalid', { value: key.name });
  return cosignature?.timeSeconds;
}

function decodeText(bytes: Uint8Array): string {
  if (bytes.length > LIMITS.noteBytes) throw new QvError('log_note_malformed', { path: 'length' });
  let text: string;
  try {
    // With ignoreBOM a byte order mark stays in the text, which is signed as it is.
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new QvError('log_note_malformed', { path: 'text' }, { cause });
  }
  if (CONTROL.test(text)) throw new QvError('log_note_malformed', { path: 'text' });
  return text;
}

function parseLines(text: string): readonly NoteSignature[] {
  const lines = text.split('\n');
  if (lines.pop() !== '' || lines.length === 0 || lines.length > LIMITS.noteSignatures)
    throw new QvError('log_note_malformed', { path: 'signatures' });
  return lines.map((line, index) => parseLine(line, `signatures[${index}]`));
}

function parseLine(line: string, path: string): NoteSignature {
  const [, name = '', base64 = ''] = LINE.exec(line) ?? [];
  if (!isKeyName(name)) throw new QvError('log_note_malformed', { path });
  const bytes = lineBytes(base64, path);
  // A key id and at least one byte (the specification's "4+n bytes").
  if (bytes.length < 5) throw new QvError('log_note_malformed', { path });
  const keyId = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  return { name, keyId, signature: bytes.subarray(4) };
}

function lineBytes(base64: string, path: string): Uint8Array {
  try {
    return fromBase64(base64);
  } catch (cause) {
    throw new QvError('log_note_malformed', { path }, { cause });
  }
}
