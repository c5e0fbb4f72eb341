/** libsodium asks the kernel to lock its guarded pages and says nothing when the kernel refuses. This asks the kernel. */
import { readFileSync } from 'node:fs';

/** Kilobytes of this process that cannot be swapped out (proc(5), VmLck). */
export function lockedKilobytes(): number {
  const match = /^VmLck:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'));
  return Number(match?.[1] ?? 0);
}
