/** The forms in which a secret could lie in memory, whole and in parts, as bytes to search for. */
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { MIN_PATTERN_BYTES } from './search.ts';

export interface Pattern {
  /** `hex, UTF-16`. */
  readonly form: string;
  /** `whole`, or which bytes: `16-31`. */
  readonly part: string;
  readonly bytes: Buffer;
}

const PART_BYTES = 16;

/** As bytes alone, for secrets that no code ever writes as text. */
export function binaryPatternsOf(secret: Uint8Array): readonly Pattern[] {
  return partsOf(secret, secret.length).flatMap(([part, bytes]) => [
    { form: 'raw', part, bytes },
    { form: 'reversed', part, bytes: Buffer.from(bytes).reverse() },
  ]);
}

/**
 * Whole, and each 16 bytes of it; the ends of encodings that depend on neighbours are left away.
 * @param inParts how many bytes from its beginning are sought in parts too; default all
 */
export function patternsOf(secret: Uint8Array, inParts = secret.length): readonly Pattern[] {
  const patterns = new Map<string, Pattern>();
  const add = (form: string, part: string, bytes: Buffer): void => {
    // Some forms are the same for some bytes: base64 without + and / is base64url.
    const key = bytes.toString('latin1');
    if (bytes.length >= MIN_PATTERN_BYTES && !patterns.has(key)) patterns.set(key, { form, part, bytes });
  };
  for (const [part, bytes] of partsOf(secret, inParts)) {
    add('raw', part, bytes);
    // Numbers are little-endian in JavaScript's BigInt and in OpenSSL.
    add('reversed', part, Buffer.from(bytes).reverse());
    const text = bytes.toString('latin1');
    add('one character per byte, UTF-8', part, Buffer.from(text));
    add('one character per byte, UTF-16', part, Buffer.from(text, 'utf16le'));
    for (const [form, encoded] of textsOf(bytes, part === 'whole')) {
      add(form, part, Buffer.from(encoded, 'latin1'));
      add(`${form}, UTF-16`, part, Buffer.from(encoded, 'utf16le'));
    }
  }
  return [...patterns.values()];
}

function partsOf(secret: Uint8Array, inParts: number): [string, Buffer][] {
  const parts: [string, Buffer][] = [['whole', Buffer.from(secret)]];
  for (let start = 0; start + PART_BYTES <= inParts; start += PART_BYTES) {
    const end = start + PART_BYTES;
    if (secret.length > PART_BYTES) parts.push([`${start}-${end - 1}`, Buffer.from(secret.subarray(start, end))]);
  }
  return parts;
}

function* textsOf(bytes: Buffer, isWhole: boolean): Generator<[string, string]> {
  const hex = bytes.toString('hex');
  yield ['hex', hex];
  yield ['upper-case hex', hex.toUpperCase()];
  yield ['hex with spaces', hex.replaceAll(/..\B/g, '$& ')];
  for (const alignment of [0, 1, 2]) {
    yield ['base64', base64Within(bytes, alignment, 'base64')];
    yield ['base64url', base64Within(bytes, alignment, 'base64url')];
  }
  // A number as a whole: parts of it do not show.
  if (isWhole) yield ['base58', toBase58(bytes)];
  yield ['numbers', bytes.join(',')];
  yield ['numbers with spaces', bytes.join(', ')];
}

/** What is always there when these bytes are encoded behind `alignment` others, with anything behind them. */
function base64Within(bytes: Buffer, alignment: number, encoding: 'base64' | 'base64url'): string {
  const text = Buffer.concat([Buffer.alloc(alignment), bytes]).toString(encoding);
  const firstOwn = Math.ceil((alignment * 8) / 6);
  const behindLast = Math.floor(((alignment + bytes.length) * 8) / 6);
  return text.slice(firstOwn, behindLast);
}
