/** A cursor over untrusted bytes that never reads past the end, and the compact-u16 length of Solana's wire format. */
import { QvError } from '../errors.ts';

export class Reader {
  readonly bytes: Uint8Array;
  offset = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  get remaining(): number {
    return this.bytes.length - this.offset;
  }

  /** A copy of the next `length` bytes. @throws QvError transaction_truncated */
  take(length: number): Uint8Array {
    if (length > this.remaining) throw new QvError('transaction_truncated');
    const taken = this.bytes.slice(this.offset, this.offset + length);
    this.offset += length;
    return taken;
  }

  u8(): number {
    const [byte] = this.take(1);
    return byte ?? 0;
  }

  /** Little-endian, as everything in Solana. */
  u16(): number {
    return Number(littleEndian(this.take(2)));
  }

  u32(): number {
    return Number(littleEndian(this.take(4)));
  }

  u64(): bigint {
    return littleEndian(this.take(8));
  }

  /**
   * compact-u16: seven bits per byte, lowest first, at most three bytes, shortest form only. Other spellings of the
   * same number would give one transaction two encodings.
   * @throws QvError transaction_length_overflow, transaction_length_not_minimal
   */
  compactU16(): number {
    let value = 0;
    for (let index = 0; index < 3; index++) {
      const byte = this.u8();
      value |= (byte & 0x7f) << (7 * index);
      if (byte < 0x80) {
        if (byte === 0 && index > 0) throw new QvError('transaction_length_not_minimal');
        if (value > 0xffff) throw new QvError('transaction_length_overflow');
        return value;
      }
    }
    throw new QvError('transaction_length_overflow');
  }
}

/** An unsigned little-endian integer of any width. */
export function littleEndian(bytes: Uint8Array): bigint {
  let value = 0n;
  for (let index = bytes.length - 1; index >= 0; index--) value = (value << 8n) | BigInt(bytes[index] ?? 0);
  return value;
}

/** `value` in `width` little-endian bytes. The caller guarantees that it fits. */
export function littleEndianBytes(value: bigint, width: number): Uint8Array {
  const bytes = new Uint8Array(width);
  for (let index = 0; index < width; index++) bytes[index] = Number((value >> BigInt(8 * index)) & 0xffn);
  return bytes;
}

/** The shortest compact-u16 of a number below 2^16. */
export function compactU16Bytes(value: number): Uint8Array {
  if (value < 0x80) return Uint8Array.of(value);
  if (value < 0x4000) return Uint8Array.of((value & 0x7f) | 0x80, value >> 7);
  return Uint8Array.of((value & 0x7f) | 0x80, ((value >> 7) & 0x7f) | 0x80, value >> 14);
}
