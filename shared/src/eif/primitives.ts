/**
 * The two functions that see every byte of an image. The portable ones run anywhere; a caller on Node passes its own,
 * which are several times faster. Tests hold both equal.
 */
import { sha384 } from '@noble/hashes/sha2.js';

export interface RunningHash {
  update(bytes: Uint8Array): unknown;
  digest(): Uint8Array;
}

export interface Primitives {
  readonly sha384: () => RunningHash;
  /** CRC-32 (IEEE 802.3, reflected) of what `previous` is the CRC of, and then `bytes`; 0 is the CRC of nothing. */
  readonly crc32: (bytes: Uint8Array, previous: number) => number;
}

/** TABLES[0] steps one byte; TABLES[n] steps a byte followed by n zero bytes, so that four go at a time. */
const TABLES: readonly Uint32Array[] = crcTables();

function crcTables(): readonly Uint32Array[] {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = (value & 1) === 0 ? value >>> 1 : (value >>> 1) ^ 0xedb88320;
    return value;
  });
  const tables = [first];
  for (let last = first; tables.length < 4; ) {
    last = last.map((value) => (value >>> 8) ^ (first[value & 0xff] ?? 0));
    tables.push(last);
  }
  return tables;
}

function crc32(bytes: Uint8Array, previous: number): number {
  const [t0, t1, t2, t3] = TABLES as readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  const at = (table: Uint32Array, index: number): number => table[index & 0xff] ?? 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let crc = ~previous;
  let offset = 0;
  for (; offset + 4 <= bytes.length; offset += 4) {
    crc ^= view.getUint32(offset, true);
    crc = at(t3, crc) ^ at(t2, crc >>> 8) ^ at(t1, crc >>> 16) ^ at(t0, crc >>> 24);
  }
  for (; offset < bytes.length; offset++) crc = (crc >>> 8) ^ at(t0, crc ^ view.getUint8(offset));
  return ~crc >>> 0;
}

export const PORTABLE: Primitives = { sha384: () => sha384.create(), crc32 };
