// read as host/src/cli/import/anything.ts
import { writeFileSync } from 'node:fs';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { neighbour } from '../good/room-neighbour.ts';

export function readKey(pair: Buffer, masterSeed: Buffer): Buffer {
  const seed = pair.subarray(0, 32);
  writeFileSync('/tmp/seed', seed); // flagged: handed to writeFileSync, of which nothing is known
  process.stdout.write(seed); // flagged: handed to process.stdout.write, of which nothing is known
  neighbour(seed); // flagged: handed to neighbour, of which nothing is known
  console.log(masterSeed); // flagged: logged
  toHex(pair); // flagged: turned into text
  Buffer.from(seed); // flagged: copied to where V8 moves it about
  throw new Error(`not ${seed}`); // flagged: turned into text
}
