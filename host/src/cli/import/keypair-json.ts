/**
 * The Solana CLI's keypair file: a JSON array of 64 whole numbers, 32 bytes of seed and 32 of public key. Read from
 * bytes to bytes, because a JSON parser would leave strings and numbers behind. White space is JSON's; numbers have the
 * one spelling that JSON's grammar and a byte allow: no sign, fraction, exponent or leading zero.
 */
import { QvError } from '@quantumvault/shared/errors.ts';

export const PAIR_BYTES = 64;

const OPEN = 0x5b;
const CLOSE = 0x5d;
const COMMA = 0x2c;
const ZERO = 0x30;

const wrong = (value: string): QvError => new QvError('key_malformed', { value });

/**
 * @param text the whole file
 * @param pair 64 bytes, written
 * @throws QvError key_malformed, with the place in the array at most
 */
export function readKeypairJson(text: Uint8Array, pair: Uint8Array): void {
  let at = skipSpace(text, 0);
  if (text[at] !== OPEN) throw wrong('no JSON array');
  for (let index = 0; ; index++) {
    at = readNumber(text, skipSpace(text, at + 1), pair, index);
    at = skipSpace(text, at);
    if (text[at] === CLOSE) {
      if (index + 1 !== PAIR_BYTES) throw wrong(`an array of ${index + 1} numbers; a keypair has ${PAIR_BYTES}`);
      break;
    }
    if (text[at] !== COMMA) throw wrong(`behind number ${index + 1} of the array is neither comma nor bracket`);
    if (index + 1 === PAIR_BYTES) throw wrong(`an array of more than ${PAIR_BYTES} numbers`);
  }
  if (skipSpace(text, at + 1) !== text.length) throw wrong('something follows the JSON array');
}

/** @returns what follows it */
function readNumber(text: Uint8Array, start: number, pair: Uint8Array, index: number): number {
  let at = start;
  let value = 0;
  for (; isDigit(text[at]) && at - start < 4; at++) value = value * 10 + ((text[at] ?? 0) - ZERO);
  const digits = at - start;
  if (digits === 0 || digits > 3 || value > 255 || (digits > 1 && text[start] === ZERO))
    throw wrong(`number ${index + 1} of the array is not a whole number from 0 to 255`);
  pair[index] = value;
  return at;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= ZERO && byte <= ZERO + 9;

/** JSON's white space (RFC 8259, section 2). */
function skipSpace(text: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const byte = text[at];
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return at;
    at++;
  }
}
