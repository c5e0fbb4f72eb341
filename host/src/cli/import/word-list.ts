/** BIP-39's English words, compared as bytes: what is looked up never becomes a string. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const WORDS = 2048;
const LINE_FEED = 0x0a;

/** One word per line, sorted. The list is public. */
const list = readFileSync(join(import.meta.dirname, 'bip39-english.txt'));
/** Where each word begins, and behind the last one where the next would. */
const starts = new Uint16Array(WORDS + 1);
let found = 0;
for (const [at, byte] of list.entries()) if (byte === LINE_FEED) starts[++found] = at + 1;
if (found !== WORDS || starts[WORDS] !== list.length) throw new Error('bip39-english.txt is damaged');

/** The word's number, 0 to 2047; undefined when it is not in the list. */
export function wordIndex(word: Uint8Array): number | undefined {
  let low = 0;
  let high = WORDS;
  while (low < high) {
    const middle = (low + high) >> 1;
    const order = compare(word, middle);
    if (order === 0) return middle;
    if (order < 0) high = middle;
    else low = middle + 1;
  }
  return undefined;
}

/** Below zero when `word` stands before the list's. */
function compare(word: Uint8Array, index: number): number {
  const start = starts[index] ?? 0;
  const length = (starts[index + 1] ?? 0) - 1 - start;
  for (let at = 0; at < Math.min(word.length, length); at++) {
    const difference = (word[at] ?? 0) - (list[start + at] ?? 0);
    if (difference !== 0) return difference;
  }
  return word.length - length;
}
