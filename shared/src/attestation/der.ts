/**
 * Strict DER (X.690 section 10) under the X.509 library, which reads BER: definite shortest lengths, known tags, no
 * trailing bytes, bounded depth. Two encodings of one certificate must not both pass. Value-and-rest style, as cbor.ts.
 */
import { QvError } from '../errors.ts';

export interface Element {
  readonly tag: number;
  readonly body: Uint8Array;
  /** Tag, length and body: the bytes as received. */
  readonly raw: Uint8Array;
  readonly rest: Uint8Array;
}

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

const UNIVERSAL: ReadonlySet<number> = new Set(Object.values(TAG));
const CONSTRUCTED = 0x20;
const CONTEXT = 0x80;
/** Certificates of the Nitro PKI nest eight deep. */
const MAX_DEPTH = 12;

function refuse(path: string, why: string): never {
  throw new QvError('attestation_certificate_malformed', { path, value: why });
}

/** Reads one element. @throws QvError attestation_certificate_malformed */
export function readElement(bytes: Uint8Array, path: string): Element {
  const [tag, first] = bytes;
  if (tag === undefined || first === undefined) return refuse(path, 'ends early');
  let length = first;
  let header = 2;
  // check der-definite: 0x80 is BER's indefinite length; above 0x82 no certificate of ours would fit
  if (first === 0x80 || first > 0x82) refuse(path, 'length form');
  if (first > 0x80) {
    header += first - 0x80;
    length = 0;
    for (const byte of bytes.subarray(2, header)) length = length * 256 + byte;
    // check der-shortest: X.690 section 10.1
    if (length < (header === 3 ? 0x80 : 0x100)) refuse(path, 'not the shortest length');
  }
  const end = header + length;
  // check der-complete: the body is all there
  if (end > bytes.length) refuse(path, 'ends early');
  return { tag, body: bytes.subarray(header, end), raw: bytes.subarray(0, end), rest: bytes.subarray(end) };
}

/** The elements that follow each other in `bytes`, down to its last byte. */
export function readElements(bytes: Uint8Array, path: string): readonly Element[] {
  const elements: Element[] = [];
  for (let rest = bytes; rest.length > 0; ) {
    const element = readElement(rest, path);
    elements.push(element);
    rest = element.rest;
  }
  return elements;
}

/** Every element of `bytes` is strict DER, all the way down. @throws QvError attestation_certificate_malformed */
export function requireStrict(bytes: Uint8Array, path: string, depth = 0): void {
  // check der-depth: no recursion beyond what certificates need
  if (depth > MAX_DEPTH) refuse(path, 'too deep');
  for (const element of readElements(bytes, path)) {
    requireKnown(element, path);
    if ((element.tag & CONSTRUCTED) !== 0) requireStrict(element.body, path, depth + 1);
  }
}

/** X.690 sections 8 and 11, for the types that certificates use. */
function requireKnown({ tag, body }: Element, path: string): void {
  const context = (tag & 0xc0) === CONTEXT && (tag & 0x1f) < 0x1f;
  // check der-known-tag: no constructed strings, no application or private tags
  if (!context && !UNIVERSAL.has(tag)) refuse(path, 'tag');
  // check der-boolean: X.690 section 11.1
  if (tag === TAG.boolean && !(body.length === 1 && (body[0] === 0 || body[0] === 0xff))) refuse(path, 'boolean');
  if (tag === TAG.integer) requireShortestInteger(body, path);
}

function requireShortestInteger([first, second]: Uint8Array, path: string): void {
  const isPadded = second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  // check der-integer: X.690 section 8.3
  if (first === undefined || isPadded) refuse(path, 'integer');
}
