/** Associated Token instructions: empty data is the original spelling of Create. */
import type { DataFault } from './instruction-data.ts';

export type AssociatedTokenInstruction = 'create' | 'createIdempotent' | 'recoverNested';

export function decodeAssociatedToken(data: Uint8Array): AssociatedTokenInstruction | DataFault {
  const tag = data[0] ?? 0;
  if (tag > 2) return 'unknown-instruction';
  if (data.length > 1) return 'non-canonical-data';
  return (['create', 'createIdempotent', 'recoverNested'] as const)[tag] ?? 'unknown-instruction';
}
