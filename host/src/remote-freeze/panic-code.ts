/**
 * The written form of a panic code: 128 bits in Crockford's base32 (crockford.com/base32.html) with its check symbol,
 * in groups of four. Digits and capitals without I, L, O and U, so that it survives paper and telephone; the check
 * finds every single wrong symbol and every two neighbours that were swapped.
 *
 *   0HEX-M4ZT-…-K7Q    26 symbols of 5 bits, the first at most 7 because two bits are left over, and the check
 *
 * Read back in small letters, too, with spaces and hyphens anywhere, I and L as 1, O as 0.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

const SYMBOLS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
/** The last five stand for check values beyond 31 only. */
const CHECK_SYMBOLS = `${SYMBOLS}*~$=U`;
/** 37, a prime larger than 32: that is what makes the check find what it finds. */
const CHECK_BASE = CHECK_SYMBOLS.length;
const DATA_SYMBOLS = Math.ceil((LIMITS.panicCodeBytes * 8) / 5);
const WRITTEN = /^[0-9A-Za-z*~$= -]*$/;
/** A hyphen or space after each symbol is more than anybody writes. */
const MAX_CHARACTERS = 2 * (DATA_SYMBOLS + 1);

export function formatPanicCode(bytes: Uint8Array): string {
  if (bytes.length !== LIMITS.panicCodeBytes) throw new RangeError('a panic code has 16 bytes');
  let text = '';
  // From the end, five bits at a time, as the number has to be filled up in front.
  let rest = 0;
  let bits = 0;
  for (const byte of [0, ...bytes].reverse()) {
    rest |= byte << bits;
    bits += 8;
    while (bits >= 5 && text.length < DATA_SYMBOLS) {
      text = SYMBOLS.charAt(rest & 31) + text;
      rest >>= 5;
      bits -= 5;
    }
  }
  text += CHECK_SYMBOLS.charAt(checkOf(bytes));
  return text.match(/.{1,4}/g)?.join('-') ?? text;
}

/** @throws QvError field_malformed: no guess, but something that is no code at all, a typing error mostly */
export function parsePanicCode(text: string, path: string): Uint8Array {
  const fault = (value: string): QvError => new QvError('field_malformed', { path, value });
  if (text.length > MAX_CHARACTERS) throw fault('too long');
  // Before letters are made large: outside of ASCII some become others.
  if (!WRITTEN.test(text)) throw fault('not all symbols are of the alphabet');
  const plain = text.toUpperCase().replaceAll(/[ -]/g, '').replaceAll(/[IL]/g, '1').replaceAll('O', '0');
  if (plain.length !== DATA_SYMBOLS + 1) throw fault(`not ${DATA_SYMBOLS + 1} symbols`);
  const values = [...plain].map((symbol) => CHECK_SYMBOLS.indexOf(symbol));
  const check = values.pop();
  if (values.some((value) => value < 0 || value > 31)) throw fault('not all symbols are of the alphabet');
  if ((values[0] ?? 0) > 7) throw fault('not 128 bits');
  const bytes = new Uint8Array(LIMITS.panicCodeBytes);
  let rest = 0;
  let bits = 0;
  let at = bytes.length;
  for (const value of values.reverse()) {
    rest |= value << bits;
    bits += 5;
    if (bits < 8 || at === 0) continue;
    bytes[--at] = rest & 0xff;
    rest >>= 8;
    bits -= 8;
  }
  if (checkOf(bytes) !== check) throw fault('the check symbol does not fit: a symbol is wrong, or two are swapped');
  return bytes;
}

/** The number modulo 37. */
function checkOf(bytes: Uint8Array): number {
  return bytes.reduce((sum, byte) => (sum * 256 + byte) % CHECK_BASE, 0);
}
