/** Where in one guarded allocation what lies while a key is read: nothing of it is ever anywhere else. */
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** One more than may be read, so that more is noticed. */
const KEY_BYTES = LIMITS.importKeyBytes + 1;
const PASSPHRASE_BYTES = LIMITS.importPassphraseBytes + 1;
const CHUNK_BYTES = 256;
/** libsodium's crypto_hash_sha512_STATEBYTES: eight words, a counter of two, one block. */
const STATE_BYTES = 208;
const BLOCK_BYTES = 128;

const SIZES = {
  key: KEY_BYTES,
  passphrase: PASSPHRASE_BYTES,
  chunk: CHUNK_BYTES,
  /** The words, each behind one space, without the first of those: 24 of at most 8 letters. */
  mnemonic: 24 * 9 - 1,
  /** Eleven bits per word. */
  entropy: 33,
  /** `mnemonic`, the passphrase and a block number. */
  salt: 8 + PASSPHRASE_BYTES + 4,
  masterSeed: 64,
  /** A key of SLIP-0010 and its chain code. */
  node: 64,
  /** What one step of SLIP-0010 hashes: a zero, the key, the index. */
  step: 1 + 32 + 4,
  digest: 64,
  block: BLOCK_BYTES,
  inner: STATE_BYTES,
  outer: STATE_BYTES,
  state: STATE_BYTES,
  /** A key pair, or what base58 decodes to. */
  pair: 64,
  secretKey: 64,
} as const;

/** States are structs of 64-bit words: every part starts at a multiple of 16. */
const padded = (bytes: number): number => Math.ceil(bytes / 16) * 16;

export const WORK_BYTES = Object.values(SIZES).reduce((sum, size) => sum + padded(size), 0);

export type WorkMemory = Readonly<Record<keyof typeof SIZES, Buffer>>;

/** @param memory WORK_BYTES, of which it returns views */
export function layout(memory: Buffer): WorkMemory {
  let start = 0;
  const parts = Object.entries(SIZES).map(([name, size]) => {
    const part = memory.subarray(start, start + size);
    start += padded(size);
    return [name, part];
  });
  return Object.fromEntries(parts) as WorkMemory;
}
