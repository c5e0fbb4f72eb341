/** Row keys for tests, in place of those that an enclave unwraps. */
import { RowKey } from '@quantumvault/host/row-key.ts';
import type { UsesRowKey } from '@quantumvault/host/row-keys.ts';
import { RowMac } from '@quantumvault/host/row-mac.ts';

/** Of the first row key that the fake enclave makes. */
export const FIRST_BLOB = new Uint8Array(100).fill(3);

export function rowMacOf(key: Uint8Array, blob: Uint8Array = FIRST_BLOB): RowMac {
  return new RowMac(new RowKey(Uint8Array.from(key), blob));
}

/** One that nobody replaces. */
export function holding(mac: RowMac): UsesRowKey {
  return { require: () => mac, reading: (work) => work(), writing: (work) => work() };
}
