/** ComputeBudget instructions, as the runtime reads them (borsh: u8 tag, little-endian values). */
import { type DataFault, u32At, u64At } from './instruction-data.ts';
import { isHeapSize } from './sanitize.ts';

export type ComputeBudgetInstruction =
  | { readonly kind: 'heap'; readonly bytes: number }
  | { readonly kind: 'units'; readonly units: number }
  | { readonly kind: 'price'; readonly microLamports: bigint }
  | { readonly kind: 'loaded'; readonly bytes: number };

/** Tag 0, the deprecated RequestUnits with its additional fee, is unknown here as it is to the runtime. */
export function decodeComputeBudget(data: Uint8Array): ComputeBudgetInstruction | DataFault {
  const tag = data[0];
  if (tag === undefined || tag < 1 || tag > 4) return 'unknown-instruction';
  if (data.length !== (tag === 3 ? 9 : 5)) return 'non-canonical-data';
  if (tag === 3) return { kind: 'price', microLamports: u64At(data, 1) };
  const value = u32At(data, 1);
  if (tag === 2) return { kind: 'units', units: value };
  // The runtime refuses these two values, and with them the transaction.
  if (tag === 1) return isHeapSize(value) ? { kind: 'heap', bytes: value } : 'non-canonical-data';
  return value > 0 ? { kind: 'loaded', bytes: value } : 'non-canonical-data';
}
