/** Text forms of public bytes, each strict: what is accepted is what the encoder of the same form would print. */
import { QvError } from './errors.ts';

const HEX = /^(?:[0-9a-f]{2})*$/;
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    result.set(part, offset);
    offset += part.length;
  }
  return result;
}

/** Compares public bytes. Not for secrets: it stops at the first difference. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

/** Lower-case hex. @throws QvError hex_malformed */
export function fromHex(text: string, path?: string): Uint8Array {
  if (!HEX.test(text)) throw new QvError('hex_malformed', path === undefined ? {} : { path });
  const bytes = new Uint8Array(text.length / 2);
  for (let index = 0; index < bytes.length; index++)
    bytes[index] = Number.parseInt(text.slice(index * 2, index * 2 + 2), 16);
  return bytes;
}

export function toBase64(bytes: Uint8Array): string {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Canonical base64 with padding (RFC 4648 section 4; unused bits must be zero). @throws QvError base64_malformed */
export function fromBase64(text: string, path?: string): Uint8Array {
  const facts = path === undefined ? {} : { path };
  if (!BASE64.test(text)) throw new QvError('base64_malformed', facts);
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index++) bytes[index] = binary.charCodeAt(index);
  if (toBase64(bytes) !== text) throw new QvError('base64_malformed', facts);
  return bytes;
}

/** An unsigned integer below 2^64 as 8 big-endian bytes: how times and amounts travel (design 5). */
export function u64Bytes(value: bigint): Uint8Array {
  if (value < 0n || value >= 1n << 64n) throw new RangeError('not a u64');
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

export function u64FromBytes(bytes: Uint8Array): bigint {
  if (bytes.length !== 8) throw new RangeError('a u64 has 8 bytes');
  return new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0);
}
