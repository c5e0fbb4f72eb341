/** Reads of the log by anybody: what they may keep under way is bounded, so that signing has the database to itself. */
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** Runs a read. @throws QvError overloaded, and what the read throws */
export type BoundedReads = <T>(read: () => Promise<T>) => Promise<T>;

export function boundedReads(): BoundedReads {
  let reads = 0;
  return async (read) => {
    if (reads >= LIMITS.logReads) throw new QvError('overloaded', { path: 'logReads' });
    reads++;
    try {
      return await read();
    } finally {
      reads--;
    }
  };
}
