/** Base58 from bytes to bytes, for keys: base58.ts takes a string, and is for public values. */
import { QvError } from './errors.ts';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const NONE = 0xff;
const ONE = 0x31;
/** Digit of each byte. */
const DIGITS = new Uint8Array(256).fill(NONE);
for (const [digit, character] of [...ALPHABET].entries()) DIGITS[character.charCodeAt(0)] = digit;

export const isBase58 = (byte: number): boolean => DIGITS[byte] !== NONE;

const wrong = (value: string): QvError => new QvError('key_malformed', { value });

/**
 * @param text digits alone
 * @param bytes 64 of them: the value is written to its end
 * @returns how many bytes the text stands for, leading zeros included; at most 64
 * @throws QvError key_malformed
 */
export function readBase58(text: Uint8Array, bytes: Uint8Array): number {
  // 64 bytes take at most 88 digits: this bounds the quadratic work.
  if (text.length === 0 || text.length > 88) throw wrong('base58 of neither 32 nor 64 bytes');
  bytes.fill(0);
  for (const byte of text) {
    let carry = DIGITS[byte] ?? NONE;
    if (carry === NONE) throw wrong('not base58');
    for (let at = bytes.length - 1; at >= 0; at--) {
      carry += (bytes[at] ?? 0) * 58;
      bytes[at] = carry & 0xff;
      carry >>= 8;
    }
    if (carry !== 0) throw wrong('base58 of neither 32 nor 64 bytes');
  }
  let ones = 0;
  while (text[ones] === ONE) ones++;
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  // Each leading zero byte is one leading 1.
  return bytes.length - zeros + ones;
}
