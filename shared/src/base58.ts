/** Base58 as Solana writes addresses and signatures (Bitcoin's alphabet, no checksum). Public values only. */
import { QvError } from './errors.ts';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const VALUES = new Map([...ALPHABET].map((character, index) => [character, index]));

export function toBase58(bytes: Uint8Array): string {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros++;
  let number = 0n;
  for (const byte of bytes) number = (number << 8n) | BigInt(byte);
  let text = '';
  for (; number > 0n; number /= 58n) text = (ALPHABET[Number(number % 58n)] ?? '') + text;
  return ALPHABET.charAt(0).repeat(zeros) + text;
}

/** Exactly `length` bytes, in the one spelling toBase58 would print. @throws QvError base58_malformed */
export function fromBase58(text: string, length: number, path?: string): Uint8Array {
  const facts = path === undefined ? {} : { path };
  // A byte takes 1.37 characters: bound the quadratic work before it starts.
  if (text.length === 0 || text.length > Math.ceil(length * 1.4)) throw new QvError('base58_malformed', facts);
  let number = 0n;
  for (const character of text) {
    const value = VALUES.get(character);
    if (value === undefined) throw new QvError('base58_malformed', facts);
    number = number * 58n + BigInt(value);
  }
  const bytes = new Uint8Array(length);
  for (let index = length - 1; index >= 0; index--) {
    bytes[index] = Number(number & 0xffn);
    number >>= 8n;
  }
  if (number !== 0n || toBase58(bytes) !== text) throw new QvError('base58_malformed', facts);
  return bytes;
}
