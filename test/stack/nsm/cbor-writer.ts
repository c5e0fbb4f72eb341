/**
 * CBOR as the Nitro hypervisor writes it: keys in its own order, 64-bit timestamps, and a payload map of indefinite
 * length since August 2025. The project's own encoder refuses all three, so the simulation has this small one.
 */
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';

/** Entries are written in the order given. */
export type WireValue = number | bigint | string | boolean | null | Uint8Array | readonly WireValue[] | WireMap;

export class WireMap {
  readonly entries: readonly (readonly [number | string, WireValue])[];
  readonly indefinite: boolean;

  constructor(entries: readonly (readonly [number | string, WireValue])[], indefinite = false) {
    this.entries = entries;
    this.indefinite = indefinite;
  }
}

export function wireMap(fields: Readonly<Record<string, WireValue>>): WireMap {
  return new WireMap(Object.entries(fields));
}

function head(major: number, argument: number | bigint): Uint8Array {
  const value = BigInt(argument);
  if (value < 24n) return Uint8Array.of((major << 5) | Number(value));
  const size = value < 0x100n ? 1 : value < 0x1_0000n ? 2 : value < 0x1_0000_0000n ? 4 : 8;
  const bytes = Buffer.alloc(9);
  bytes.writeBigUInt64BE(value, 1);
  const argumentBytes = bytes.subarray(9 - size);
  return concatBytes(Uint8Array.of((major << 5) | (24 + Math.log2(size))), argumentBytes);
}

export function writeCbor(value: WireValue): Uint8Array {
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === 'boolean') return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (typeof value === 'number' || typeof value === 'bigint') return head(0, value);
  if (typeof value === 'string') return concatBytes(head(3, utf8(value).length), utf8(value));
  if (value instanceof Uint8Array) return concatBytes(head(2, value.length), value);
  if (value instanceof WireMap) {
    const items = value.entries.flatMap(([key, inner]) => [writeCbor(key), writeCbor(inner)]);
    if (value.indefinite) return concatBytes(Uint8Array.of(0xbf), ...items, Uint8Array.of(0xff));
    return concatBytes(head(5, value.entries.length), ...items);
  }
  return concatBytes(head(4, value.length), ...value.map(writeCbor));
}
