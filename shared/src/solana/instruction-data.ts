/** How instruction decoders answer, and the readers of fixed-size data that they share. */
import { littleEndian } from './reader.ts';

/**
 * Why data is refused. `unknown-instruction`: the tag is not one this decoder names. `non-canonical-data`: the tag is
 * known, but the data has not exactly the bytes that the program's own client writes; on-chain programs ignore
 * trailing bytes, so tolerating them would give one meaning many spellings.
 */
export type DataFault = 'unknown-instruction' | 'non-canonical-data';

/** The u64 at `offset`; the caller has checked the length. */
export function u64At(data: Uint8Array, offset: number): bigint {
  return littleEndian(data.subarray(offset, offset + 8));
}

export function u32At(data: Uint8Array, offset: number): number {
  return Number(littleEndian(data.subarray(offset, offset + 4)));
}
