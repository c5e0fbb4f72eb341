/** The forms in which people have a key, and how each becomes the 32-byte seed. */

import { readBase58 } from '@quantumvault/shared/base58-bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { DEFAULT_PATH, parseDerivationPath } from './derivation-path.ts';
import { PAIR_BYTES, readKeypairJson } from './keypair-json.ts';
import { mnemonicToSeed } from './mnemonic.ts';
import { deriveNode } from './slip10.ts';
import type { Sodium } from './sodium.ts';
import type { WorkMemory } from './work-memory.ts';

/** `keypair`: the Solana CLI's JSON file. `raw` and `base58`: 32 bytes of seed, or 64 with the public key behind it. */
export const KEY_FORMS = ['keypair', 'raw', 'base58', 'mnemonic'] as const;
export type KeyForm = (typeof KEY_FORMS)[number];

export interface SeedOptions {
  /** Whether the caller said which form or which wallet it is. */
  readonly isExpected: boolean;
  /** Of a mnemonic: ASCII; empty is none. */
  readonly passphrase: Uint8Array;
  /** Of a mnemonic; default DEFAULT_PATH. */
  readonly path?: string;
}

const SEED_BYTES = 32;
const OPEN_BRACKET = 0x5b;

const wrong = (value: string): QvError => new QvError('key_malformed', { value });
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d);
const isLetter = (byte: number): boolean => (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x7a;
const isText = (byte: number): boolean => isSpace(byte) || (byte > 0x20 && byte < 0x7f);

/**
 * The form that bytes have. Nothing has two: 32 random bytes are text once in 10^13 times, and then of no form.
 * @throws QvError key_malformed
 */
export function formOf(key: Uint8Array): KeyForm {
  if (!key.every(isText)) {
    if (key.length === SEED_BYTES || key.length === PAIR_BYTES) return 'raw';
    throw wrong('neither text nor 32 or 64 bytes');
  }
  const text = trimmed(key);
  if (text.length === 0) throw wrong('nothing was there');
  if (text[0] === OPEN_BRACKET) return 'keypair';
  if (!text.some(isSpace)) return 'base58';
  if (text.every((byte) => isSpace(byte) || isLetter(byte))) return 'mnemonic';
  throw wrong('text that is neither a keypair file, base58 nor words');
}

/**
 * @returns 32 bytes inside of `part`
 * @throws QvError key_malformed, key_pair_mismatch, mnemonic_malformed, mnemonic_checksum_invalid,
 *   passphrase_malformed, derivation_path_malformed
 */
export function seedFrom(
  sodium: Sodium,
  key: Uint8Array,
  form: KeyForm,
  { isExpected, passphrase, path = DEFAULT_PATH }: SeedOptions,
  part: WorkMemory,
): Uint8Array {
  const { pair, node, masterSeed } = part;
  switch (form) {
    case 'keypair':
      readKeypairJson(key, pair);
      return seedOfPair(sodium, part);
    case 'raw':
      if (key.length !== SEED_BYTES && key.length !== PAIR_BYTES) throw wrong('a raw key has 32 or 64 bytes');
      pair.set(key);
      return key.length === PAIR_BYTES ? seedOfPair(sodium, part) : pair.subarray(0, SEED_BYTES);
    case 'base58': {
      const bytes = readBase58(trimmed(key), pair);
      if (bytes === PAIR_BYTES) return seedOfPair(sodium, part);
      if (bytes !== SEED_BYTES) throw wrong('base58 of neither 32 nor 64 bytes');
      // Whoever pastes an address instead would make a wallet whose key everybody knows.
      if (!isExpected)
        throw wrong('base58 of 32 bytes may be an address: say which wallet, or that the form is base58');
      return pair.subarray(PAIR_BYTES - SEED_BYTES);
    }
    case 'mnemonic': {
      const indexes = parseDerivationPath(path);
      mnemonicToSeed(sodium, key, passphrase, part);
      if (indexes === undefined) return masterSeed.subarray(0, SEED_BYTES);
      deriveNode(sodium, masterSeed, indexes, part);
      return node.subarray(0, SEED_BYTES);
    }
  }
}

/** A pair with another public half is damaged, or was put together by somebody. */
function seedOfPair(sodium: Sodium, { pair, secretKey }: WorkMemory): Uint8Array {
  const seed = pair.subarray(0, SEED_BYTES);
  const publicKey = new Uint8Array(32);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, seed);
  if (!sodium.sodium_memcmp(publicKey, pair.subarray(SEED_BYTES))) throw new QvError('key_pair_mismatch');
  return seed;
}

/** Without white space at its ends. */
export function trimmed(text: Uint8Array): Uint8Array {
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(text[start] ?? 0)) start++;
  while (end > start && isSpace(text[end - 1] ?? 0)) end--;
  return text.subarray(start, end);
}
