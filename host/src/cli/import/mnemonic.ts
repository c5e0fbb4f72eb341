/**
 * BIP-39, English: words to the 64-byte seed, as bytes throughout. BIP-39 normalises words and passphrase to NFKD; that
 * changes nothing in ASCII, and what is outside of ASCII is refused, because normalising takes strings.
 */
import { QvError } from '@quantumvault/shared/errors.ts';
import { pbkdf2Sha512 } from './sha512.ts';
import type { Sodium } from './sodium.ts';
import { wordIndex } from './word-list.ts';
import type { WorkMemory } from './work-memory.ts';

const COUNTS = [12, 15, 18, 21, 24];
const BITS_PER_WORD = 11;
const ITERATIONS = 2048;
const SALT_PREFIX = new TextEncoder().encode('mnemonic');
const SPACE = 0x20;

/**
 * Leaves the seed in `part.masterSeed`. Spaces, tabs and line breaks around and between the words do not matter, as in
 * the Solana CLI; letters have to be lower case, as there.
 * @param passphrase ASCII; empty is none
 * @throws QvError mnemonic_malformed, mnemonic_checksum_invalid, passphrase_malformed
 */
export function mnemonicToSeed(sodium: Sodium, text: Uint8Array, passphrase: Uint8Array, part: WorkMemory): void {
  const words = joinWords(sodium, text, part);
  if (!passphrase.every((byte) => byte >= SPACE && byte < 0x7f)) {
    throw new QvError('passphrase_malformed', { value: 'it has a byte outside of printable ASCII' });
  }
  const salt = part.salt.subarray(0, SALT_PREFIX.length + passphrase.length + 4);
  salt.set(SALT_PREFIX);
  salt.set(passphrase, SALT_PREFIX.length);
  pbkdf2Sha512(sodium, words, salt, ITERATIONS, part.pair, part.masterSeed, part);
}

/**
 * The words with one space between them, in `part.mnemonic`. Where each begins and ends is in no array: it would stay
 * behind on V8's heap, and how long the words are tells a part of what they are.
 */
function joinWords(sodium: Sodium, text: Uint8Array, part: WorkMemory): Uint8Array {
  const malformed = (value: string): QvError => new QvError('mnemonic_malformed', { value });
  const count = countWords(text);
  if (!COUNTS.includes(count)) throw malformed(`${count} words; there have to be ${COUNTS.join(', ')}`);
  const { mnemonic, entropy } = part;
  const unknown: number[] = [];
  let length = 0;
  let end = 0;
  entropy.fill(0);
  for (let position = 0; position < count; position++) {
    const start = wordStart(text, end);
    end = wordEnd(text, start);
    const word = text.subarray(start, end);
    const index = wordIndex(word);
    if (index === undefined) unknown.push(position + 1);
    else if (unknown.length === 0) {
      writeBits(entropy, position * BITS_PER_WORD, index);
      if (position > 0) mnemonic[length++] = SPACE;
      mnemonic.set(word, length);
      length += word.length;
    }
  }
  if (unknown.length > 0)
    throw malformed(`not in BIP-39's English list, in lower case: word ${unknown.join(', ')} of ${count}`);
  if (!checksumHolds(sodium, count, part)) throw new QvError('mnemonic_checksum_invalid');
  return mnemonic.subarray(0, length);
}

function countWords(text: Uint8Array): number {
  let count = 0;
  for (let at = wordStart(text, 0); at < text.length; at = wordStart(text, wordEnd(text, at))) count++;
  return count;
}

function wordStart(text: Uint8Array, from: number): number {
  let at = from;
  while (at < text.length && isSpace(text[at] ?? 0)) at++;
  return at;
}

function wordEnd(text: Uint8Array, from: number): number {
  let at = from;
  while (at < text.length && !isSpace(text[at] ?? 0)) at++;
  return at;
}

/** Space, and the five controls from tab to carriage return. */
function isSpace(byte: number): boolean {
  return byte === SPACE || (byte >= 0x09 && byte <= 0x0d);
}

/** Eleven bits, the highest first, at a bit of a buffer that has zeros there. */
function writeBits(bytes: Uint8Array, firstBit: number, value: number): void {
  for (let bit = 0; bit < BITS_PER_WORD; bit++) {
    const at = firstBit + bit;
    const isSet = (value >> (BITS_PER_WORD - 1 - bit)) & 1;
    bytes[at >> 3] = (bytes[at >> 3] ?? 0) | (isSet << (7 - (at & 7)));
  }
}

/** Behind every 32 bits of entropy stands one bit of its SHA-256: 4 to 8 of them, all in the byte behind it. */
function checksumHolds(sodium: Sodium, words: number, { entropy, digest }: WorkMemory): boolean {
  const checksumBits = (words * BITS_PER_WORD) / 33;
  const entropyBytes = checksumBits * 4;
  sodium.crypto_hash_sha256(digest.subarray(0, 32), entropy.subarray(0, entropyBytes));
  const difference = (digest[0] ?? 0) ^ (entropy[entropyBytes] ?? 0);
  return difference >> (8 - checksumBits) === 0;
}
