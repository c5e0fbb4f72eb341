/**
 * The forms in which documents are handed around: raw COSE, base64, hex. Exactly one reading of any input: bytes
 * outside of ASCII text are raw, nothing but hex digits is hex, and anything else has to be canonical base64. Text may
 * be broken into lines, as `base64` and `xxd -p` write it.
 */
import { fromBase64, fromHex } from '../bytes.ts';
import { QvError } from '../errors.ts';

export type DocumentEncoding = 'raw COSE' | 'base64' | 'hex';

export interface EncodedDocument {
  readonly encoding: DocumentEncoding;
  readonly bytes: Uint8Array;
}

/** @throws QvError attestation_encoding_unknown */
export function readDocument(input: Uint8Array): EncodedDocument {
  if (input.some((byte) => !isText(byte))) return { encoding: 'raw COSE', bytes: input };
  const text = joinLines(new TextDecoder().decode(input));
  if (text === '') throw new QvError('attestation_encoding_unknown', { value: 'empty' });
  // No document's base64 is all hex digits: its first byte makes it begin with an h.
  const isHex = /^[0-9a-fA-F]+$/.test(text);
  try {
    if (isHex) return { encoding: 'hex', bytes: fromHex(/[a-f]/.test(text) ? text : text.toLowerCase()) };
    return { encoding: 'base64', bytes: fromBase64(text) };
  } catch (error) {
    throw new QvError('attestation_encoding_unknown', { value: 'text, but neither base64 nor hex' }, { cause: error });
  }
}

/** Printable ASCII or a line break: every COSE_Sign1 begins with a byte that is neither. */
function isText(byte: number): boolean {
  return (byte >= 0x20 && byte <= 0x7e) || byte === 0x0a || byte === 0x0d;
}

/** Line breaks between lines of text and one at the end; spaces and empty lines stay, and are refused. */
function joinLines(text: string): string {
  return text.replace(/(?<=[^\r\n])\r?\n(?=[^\r\n]|$)/g, '');
}
