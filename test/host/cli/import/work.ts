/** Memory as a key is read in, for tests of single steps. */
import { GuardedMemory } from '@quantumvault/host/cli/import/guarded-memory.ts';
import { loadSodium, type Sodium } from '@quantumvault/host/cli/import/sodium.ts';
import { layout, WORK_BYTES, type WorkMemory } from '@quantumvault/host/cli/import/work-memory.ts';

export const sodium: Sodium = await loadSodium();
const memory = new GuardedMemory(sodium, WORK_BYTES);

/** Wiped before and after. */
export function inWork<T>(use: (part: WorkMemory) => T): T {
  memory.wipe();
  try {
    return memory.open((bytes) => use(layout(bytes)));
  } finally {
    memory.wipe();
  }
}

export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
