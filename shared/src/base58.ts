/** Base58 as Solana writes addresses and signatures (Bitcoin's alphabet, no checksum). Public values only. */
import { QvError } from './errors.ts';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const GROUP_DIGITS = 4;
const GROUP = 58 ** GROUP_DIGITS;
const VALUES = new Map([...ALPHABET].map((character, index) => [character, index]));

/** Numbers are kept in digits of 2^24 or 58^4, so that products with 58 and 256 stay far below 2^53. */
const LIMB = 0x100_0000;
const LIMB_BITS = 24;

export function toBase58(bytes: Uint8Array): string {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  // Four digits at a time: 58^4 < 2^24.
  const groups: number[] = [];
  for (const byte of bytes.subarray(zeros)) multiplyAdd(groups, 256, byte, GROUP);
  let digits = '';
  for (const group of groups) {
    let rest = group;
    for (let index = 0; index < GROUP_DIGITS; index++) {
      digits = ALPHABET.charAt(rest % 58) + digits;
      rest = Math.floor(rest / 58);
    }
  }
  return ALPHABET.charAt(0).repeat(zeros) + digits.replace(/^1+/, '');
}

/** Exactly `length` bytes, in the one spelling toBase58 would print. @throws QvError base58_malformed */
export function fromBase58(text: string, length: number, path?: string): Uint8Array {
  const facts = path === undefined ? {} : { path };
  // A byte takes 1.37 characters: bound the quadratic work before it starts.
  if (text.length === 0 || text.length > Math.ceil(length * 1.4)) throw new QvError('base58_malformed', facts);
  const limbs: number[] = [];
  for (const character of text) {
    const value = VALUES.get(character);
    if (value === undefined) throw new QvError('base58_malformed', facts);
    multiplyAdd(limbs, 58, value, LIMB);
  }
  const bytes = new Uint8Array(length);
  for (const [index, limb] of limbs.entries()) {
    for (let part = 0; part < LIMB_BITS / 8; part++) {
      const at = length - 1 - (index * LIMB_BITS) / 8 - part;
      const byte = (limb >> (8 * part)) & 0xff;
      if (at >= 0) bytes[at] = byte;
      else if (byte !== 0) throw new QvError('base58_malformed', facts);
    }
  }
  // Each leading zero byte is one leading `1`: any other number of them is another spelling.
  let zeros = 0;
  while (zeros < length && bytes[zeros] === 0) zeros++;
  let ones = 0;
  while (text[ones] === ALPHABET.charAt(0)) ones++;
  if (zeros !== ones) throw new QvError('base58_malformed', facts);
  return bytes;
}

/** number = number * factor + addend, in place; digits in `base`, least significant first. */
function multiplyAdd(digits: number[], factor: number, addend: number, base: number): void {
  let carry = addend;
  for (let index = 0; index < digits.length; index++) {
    const product = (digits[index] ?? 0) * factor + carry;
    digits[index] = product % base;
    carry = Math.floor(product / base);
  }
  if (carry > 0) digits.push(carry);
}
