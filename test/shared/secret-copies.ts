/**
 * Looks through its own memory for what is left of wiped bytes: of secrets, and, as a control, of small arrays that V8
 * allocated. Prints how many of twenty left a copy. Needs --expose-gc, and Linux.
 */
import { randomBytes } from 'node:crypto';
import { openSync, readFileSync, readSync } from 'node:fs';
import { Secret } from '@quantumvault/shared/secret.ts';

const COUNT = 20;
const BYTES = 32;
/** What is searched for is kept under this, so that the search does not find itself. */
const MASK = 0x5a;
const MAX_RANGE_BYTES = 256 * 1024 * 1024;

declare const gc: (options?: { type: 'minor' }) => void;

function copiesOf(masked: readonly Buffer[]): number {
  const memory = openSync('/proc/self/mem', 'r');
  const found = new Set<number>();
  for (const line of readFileSync('/proc/self/maps', 'latin1').split('\n')) {
    const [, start, end] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    const [from, to] = [Number.parseInt(start ?? '0', 16), Number.parseInt(end ?? '0', 16)];
    if (to === from || to - from > MAX_RANGE_BYTES) continue;
    const content = Buffer.alloc(to - from);
    try {
      readSync(memory, content, 0, content.length, from);
    } catch {
      // Guard pages and the like.
      continue;
    }
    const words = new Uint32Array(content.buffer, content.byteOffset, content.length >> 2);
    for (let index = 0; index < words.length; index++) words[index] = (words[index] ?? 0) ^ 0x5a5a5a5a;
    for (const [index, bytes] of masked.entries()) if (content.includes(bytes.subarray(0, BYTES / 2))) found.add(index);
    content.fill(0);
  }
  return found.size;
}

function collect(): void {
  for (let round = 0; round < 2; round++) gc({ type: 'minor' });
  gc();
}

const drawn = (): readonly Buffer[] => Array.from({ length: COUNT }, () => randomBytes(BYTES));
const unmask = (from: Uint8Array, into: Uint8Array): void => {
  for (let index = 0; index < BYTES; index++) into[index] = (from[index] ?? 0) ^ MASK;
};

const ofSecrets = drawn();
const secrets = ofSecrets.map((bytes) => {
  const secret = new Secret(new ArrayBuffer(BYTES));
  secret.use((into) => unmask(bytes, into));
  return secret;
});
const ofArrays = drawn();
const arrays = ofArrays.map((bytes) => {
  const array = new Uint8Array(BYTES);
  unmask(bytes, array);
  return array;
});
collect();
for (const secret of secrets) secret.wipe();
for (const array of arrays) array.fill(0);
console.log(JSON.stringify({ secret: copiesOf(ofSecrets), array: copiesOf(ofArrays) }));
