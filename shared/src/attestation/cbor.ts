/**
 * The CBOR of attestation documents (RFC 8949), read in value-and-rest style: each reader takes bytes, returns what it
 * read and what remains, or refuses.
 *
 * Supported: unsigned integers, byte strings, ASCII text, arrays, maps, null; definite lengths, shortest form (section
 * 4.2.1). The one indefinite length is the payload map's, `bf` to `ff`, which AWS writes since 2025. No tags, floats,
 * negative numbers or chunked strings. There is no reader for "any item", so nothing recurses and nesting cannot grow;
 * lengths are compared with the bytes at hand before anything is allocated.
 */
import { type ErrorCode, QvError } from '../errors.ts';

export interface Read<T> {
  readonly value: T;
  readonly rest: Uint8Array;
}

/** Where a reader stands: what to throw, and the path to name. */
export interface Place {
  readonly code: ErrorCode;
  readonly path: string;
}

const UNSIGNED = 0;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const NULL = 0xf6;
const INDEFINITE_MAP = 0xbf;
const BREAK = 0xff;

function refuse(place: Place, why: string): never {
  throw new QvError(place.code, { path: place.path, value: why });
}

/** One head (RFC 8949 section 3): major type and argument. */
function readHead(bytes: Uint8Array, major: number, place: Place): Read<number> {
  const initial = bytes[0];
  if (initial === undefined) return refuse(place, 'ends early');
  // check cbor-type: the wrong type is refused
  if (initial >> 5 !== major) refuse(place, 'wrong type');
  const info = initial & 0x1f;
  if (info < 24) return { value: info, rest: bytes.subarray(1) };
  // check cbor-definite: indefinite lengths and reserved values (section 3.2)
  if (info > 27) refuse(place, 'indefinite or reserved length');
  const size = 1 << (info - 24);
  // check cbor-head-complete: the argument is all there
  if (bytes.length < 1 + size) refuse(place, 'ends early');
  let value = 0;
  for (const byte of bytes.subarray(1, 1 + size)) value = value * 256 + byte;
  const smallest = info === 24 ? 24 : 2 ** (4 * size);
  // check cbor-shortest: longer forms are a second spelling of the same document (section 4.2.1)
  if (value < smallest) refuse(place, 'not the shortest form');
  // check cbor-safe-integer: beyond 2^53 a number would be rounded
  if (!Number.isSafeInteger(value)) refuse(place, 'too large');
  return { value, rest: bytes.subarray(1 + size) };
}

function readString(bytes: Uint8Array, major: number, maxLength: number, place: Place): Read<Uint8Array> {
  const { value: length, rest } = readHead(bytes, major, place);
  // check cbor-length: no claim beyond the limit or the bytes at hand
  if (length > maxLength || length > rest.length) refuse(place, 'too long');
  return { value: rest.subarray(0, length), rest: rest.subarray(length) };
}

export function readUnsigned(bytes: Uint8Array, place: Place): Read<number> {
  return readHead(bytes, UNSIGNED, place);
}

export function readBytes(bytes: Uint8Array, maxLength: number, place: Place): Read<Uint8Array> {
  return readString(bytes, BYTES, maxLength, place);
}

/** Printable ASCII only: the text reaches terminals and pages before anybody has authenticated it. */
export function readText(bytes: Uint8Array, maxLength: number, place: Place): Read<string> {
  const { value, rest } = readString(bytes, TEXT, maxLength, place);
  // check cbor-printable: no control or escape sequences
  if (value.some((byte) => byte < 0x20 || byte > 0x7e)) refuse(place, 'not printable ASCII');
  return { value: String.fromCharCode(...value), rest };
}

/** The number of items that follow. */
export function readArrayHead(bytes: Uint8Array, maxItems: number, place: Place): Read<number> {
  const head = readHead(bytes, ARRAY, place);
  // check cbor-array-length: thousands of items are refused at the head
  if (head.value > maxItems) refuse(place, 'too many items');
  return head;
}

/** The number of pairs that follow. */
export function readMapHead(bytes: Uint8Array, maxPairs: number, place: Place): Read<number> {
  const head = readHead(bytes, MAP, place);
  // check cbor-map-length: thousands of pairs are refused at the head
  if (head.value > maxPairs) refuse(place, 'too many pairs');
  return head;
}

/** What remains after a null, or undefined when something else stands there. */
export function skipNull(bytes: Uint8Array): Uint8Array | undefined {
  return bytes[0] === NULL ? bytes.subarray(1) : undefined;
}

export function skipIndefiniteMapStart(bytes: Uint8Array): Uint8Array | undefined {
  return bytes[0] === INDEFINITE_MAP ? bytes.subarray(1) : undefined;
}

export function skipBreak(bytes: Uint8Array): Uint8Array | undefined {
  return bytes[0] === BREAK ? bytes.subarray(1) : undefined;
}

export function requireEnd(bytes: Uint8Array, place: Place): void {
  // check cbor-no-trailing: bytes after the end are unsigned or meaningless
  if (bytes.length > 0) refuse(place, 'trailing bytes');
}
