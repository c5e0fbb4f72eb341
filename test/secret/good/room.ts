// read as host/src/cli/import/anything.ts
import { neighbour } from './room-neighbour.ts';

/** In here keys are read: bytes are looked at one by one, and handed on. */
export function readKey(pair: Buffer): Buffer {
  if (pair[0] === 0x5b || !pair.every((byte) => byte < 0x80)) pair.fill(0);
  const seed = pair.subarray(0, 32);
  for (let at = 0; at < seed.length; at++) seed[at] = (seed[at] ?? 0) ^ 0x36;
  neighbour(seed);
  return seed;
}
