/**
 * CBOR as our own messages use it: the deterministic profile of RFC 8949 section 4.2.1, further narrowed (design 5).
 *
 * Supported: unsigned integers below 2^32 (in shortest form), byte and text strings, arrays, maps with keys in
 * ascending order of their encoding, false, true, null. Refused: negative integers, larger integers, floats, tags,
 * undefined and other simple values, indefinite lengths, duplicate or unordered keys, trailing bytes, more depth or
 * items than the limits. u64 values and times travel as 8-byte strings.
 *
 * The scan is ours and runs before cbor-x sees a byte, because cbor-x runs tag handlers and accepts other spellings.
 */
import { Decoder, Encoder } from 'cbor-x/index-no-eval';
import { QvError } from './errors.ts';
import { LIMITS } from './limits.ts';

export type CborKey = number | string;
export type CborValue = number | string | boolean | null | Uint8Array | readonly CborValue[] | CborMap;
export type CborMap = ReadonlyMap<CborKey, CborValue>;

const OPTIONS = { useRecords: false, mapsAsObjects: false, tagUint8Array: false, variableMapSize: true } as const;
const decoder = new Decoder(OPTIONS);
const encoder = new Encoder(OPTIONS);

const malformed = (why: string): QvError => new QvError('cbor_malformed', { value: why });

interface Head {
  readonly major: number;
  /** The argument: a value, length or count, or the simple value of major type 7. */
  readonly argument: number;
  readonly next: number;
}

function readHead(bytes: Uint8Array, offset: number): Head {
  const first = bytes[offset];
  if (first === undefined) throw malformed('truncated');
  const major = first >> 5;
  const short = first & 31;
  if (short < 24) return { major, argument: short, next: offset + 1 };
  if (major === 7 || short > 26) throw malformed('indefinite length, float, or integer of 2^32 and more');
  const size = 1 << (short - 24);
  if (offset + 1 + size > bytes.length) throw malformed('truncated');
  let argument = 0;
  for (let index = 1; index <= size; index++) argument = argument * 256 + (bytes[offset + index] ?? 0);
  const least = size === 1 ? 24 : size === 2 ? 0x100 : 0x1_0000;
  if (argument < least) throw malformed('not the shortest form');
  return { major, argument, next: offset + 1 + size };
}

/** -1, 0 or 1 in the bytewise order of RFC 8949 section 4.2.1. */
function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return Math.sign(difference);
  }
  return Math.sign(a.length - b.length);
}

/** Walks one item and returns the offset behind it. `budget` bounds the number of items in the whole message. */
function scanItem(bytes: Uint8Array, offset: number, depth: number, budget: { items: number }): number {
  if (depth > LIMITS.cborDepth) throw malformed('too deep');
  if (--budget.items < 0) throw malformed('too many items');
  const { major, argument, next } = readHead(bytes, offset);
  switch (major) {
    case 0:
      return next;
    case 2:
    case 3: {
      const end = next + argument;
      if (end > bytes.length) throw malformed('truncated');
      if (major === 3) requireUtf8(bytes.subarray(next, end));
      return end;
    }
    case 4: {
      let at = next;
      for (let index = 0; index < argument; index++) at = scanItem(bytes, at, depth + 1, budget);
      return at;
    }
    case 5:
      return scanMap(bytes, next, argument, depth, budget);
    case 7:
      if (argument < 20 || argument > 22) throw malformed('simple value other than false, true, null');
      return next;
    default:
      throw malformed(major === 1 ? 'negative integer' : 'tag');
  }
}

function scanMap(bytes: Uint8Array, start: number, count: number, depth: number, budget: { items: number }): number {
  let at = start;
  let previous: Uint8Array | undefined;
  for (let index = 0; index < count; index++) {
    const major = (bytes[at] ?? 0xff) >> 5;
    if (major !== 0 && major !== 3) throw malformed('map key neither integer nor text');
    const end = scanItem(bytes, at, depth + 1, budget);
    const key = bytes.subarray(at, end);
    if (previous !== undefined && compareBytes(previous, key) >= 0) throw malformed('map keys not ascending');
    previous = key;
    at = scanItem(bytes, end, depth + 1, budget);
  }
  return at;
}

function requireUtf8(bytes: Uint8Array): void {
  try {
    new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw malformed('text is not UTF-8');
  }
}

/** Refuses every byte sequence outside the profile. @throws QvError cbor_malformed */
export function scanCbor(bytes: Uint8Array): void {
  if (bytes.length > LIMITS.frameBytes) throw malformed('too large');
  const end = scanItem(bytes, 0, 0, { items: LIMITS.cborItems });
  if (end !== bytes.length) throw malformed('trailing bytes');
}

/** @throws QvError cbor_malformed */
export function decodeCbor(bytes: Uint8Array): CborValue {
  scanCbor(bytes);
  // A copy: cbor-x marks the array it reads with a property of its own.
  return decoder.decode(Uint8Array.from(bytes)) as CborValue;
}

/** Deterministic bytes of a value; map entries are put in order here. A value outside the profile is a defect. */
export function encodeCbor(value: CborValue): Uint8Array {
  // A copy: cbor-x answers with a view of a buffer it goes on using.
  const bytes = Uint8Array.from(encoder.encode(ordered(value)));
  scanCbor(bytes);
  return bytes;
}

function ordered(value: CborValue): CborValue {
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return value;
  if (value instanceof Map) {
    const entries = [...(value as CborMap)].map(([key, inner]) => ({
      key,
      inner: ordered(inner),
      sort: keyBytes(key),
    }));
    entries.sort((a, b) => compareBytes(a.sort, b.sort));
    return new Map(entries.map(({ key, inner }) => [key, inner]));
  }
  return (value as readonly CborValue[]).map(ordered);
}

function keyBytes(key: CborKey): Uint8Array {
  return Uint8Array.from(encoder.encode(key));
}
