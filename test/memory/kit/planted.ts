/** What a process of the tests has in its memory, and its parent knows. */
import { createHash } from 'node:crypto';

export const PLACES = ['guarded', 'buffer', 'small array', 'text'] as const;

/** 32 bytes for each place. */
export function planted(number: string, place: (typeof PLACES)[number]): Buffer {
  return createHash('sha256').update(`${number} ${place}`).digest();
}
