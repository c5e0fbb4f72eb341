/**
 * Finds many byte strings at once: each place is looked up by its first four bytes in a bitmap, then by its first
 * eight in a table, then compared. A place costs a nanosecond or two, however many patterns there are.
 */

/** Shorter ones would be found by chance, and could not be told apart by their first eight bytes. */
export const MIN_PATTERN_BYTES = 12;
const BITMAP_BITS = 24;
const FIRST_TABLE_SLOTS = 1 << 12;

export interface Match {
  /** As `add` returned it. */
  readonly pattern: number;
  readonly offset: number;
}

export class Searcher {
  /** All patterns, one behind the other. */
  #store = new Uint8Array(1 << 16);
  #used = 0;
  readonly #starts: number[] = [];
  readonly #bitmap = new Int32Array(1 << (BITMAP_BITS - 5));
  /** Open addressing: a slot holds the newest pattern with its first eight bytes, plus one; 0 is free. */
  #table = new Int32Array(FIRST_TABLE_SLOTS);
  #slotsUsed = 0;
  /** The next older pattern with the same first eight bytes, plus one. */
  readonly #next: number[] = [];

  get patterns(): number {
    return this.#starts.length;
  }

  /** Copied. @returns the pattern's number: 0, 1, 2 … @throws RangeError when it is shorter than MIN_PATTERN_BYTES */
  add(pattern: Uint8Array): number {
    if (pattern.length < MIN_PATTERN_BYTES) throw new RangeError(`a pattern of ${pattern.length} bytes`);
    const index = this.#starts.length;
    while (this.#used + pattern.length > this.#store.length) this.#store = doubled(this.#store);
    this.#store.set(pattern, this.#used);
    this.#starts.push(this.#used);
    this.#used += pattern.length;
    const bit = bitOf(wordAt(pattern, 0));
    this.#bitmap[bit >>> 5] = (this.#bitmap[bit >>> 5] as number) | (1 << (bit & 31));
    this.#enter(index);
    return index;
  }

  #enter(index: number): void {
    if (this.#slotsUsed * 2 >= this.#table.length) this.#grow();
    const at = this.#starts[index] as number;
    const slot = this.#slotOf(this.#store, at);
    const head = this.#table[slot] as number;
    if (head === 0) this.#slotsUsed++;
    this.#next[index] = head;
    this.#table[slot] = index + 1;
  }

  #grow(): void {
    this.#table = new Int32Array(this.#table.length * 2);
    this.#slotsUsed = 0;
    for (let index = 0; index < this.#next.length; index++) this.#enter(index);
  }

  /** Of the patterns that begin with these eight bytes, or the free slot where they would be. */
  #slotOf(bytes: Uint8Array, at: number): number {
    const [first, second] = [wordAt(bytes, at), wordAt(bytes, at + 4)];
    const mask = this.#table.length - 1;
    let slot = (Math.imul(first, 0x9e37_79b1) ^ Math.imul(second, 0x85eb_ca77)) >>> 7;
    for (;;) {
      slot &= mask;
      const head = this.#table[slot] as number;
      if (head === 0) return slot;
      const start = this.#starts[head - 1] as number;
      if (wordAt(this.#store, start) === first && wordAt(this.#store, start + 4) === second) return slot;
      slot++;
    }
  }

  /** All matches in bytes[from, to), overlapping ones too, in the order of their offsets. */
  search(bytes: Uint8Array, from = 0, to = bytes.length): Match[] {
    const matches: Match[] = [];
    const bitmap = this.#bitmap;
    let word = 0;
    const first = Math.min(from + 3, to);
    for (let at = from; at < first; at++) word = (word >>> 8) | ((bytes[at] as number) << 24);
    for (let at = first; at < to; at++) {
      word = (word >>> 8) | ((bytes[at] as number) << 24);
      const bit = Math.imul(word, 0x9e37_79b1) >>> (32 - BITMAP_BITS);
      if (((bitmap[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) this.#compareAll(bytes, at - 3, to, matches);
    }
    return matches;
  }

  #compareAll(bytes: Uint8Array, offset: number, to: number, matches: Match[]): void {
    if (offset + MIN_PATTERN_BYTES > to) return;
    let link = this.#table[this.#slotOf(bytes, offset)] as number;
    for (; link !== 0; link = this.#next[link - 1] as number) {
      if (this.#isAt(link - 1, bytes, offset, to)) matches.push({ pattern: link - 1, offset });
    }
  }

  #isAt(pattern: number, bytes: Uint8Array, offset: number, to: number): boolean {
    const start = this.#starts[pattern] as number;
    const length = (this.#starts[pattern + 1] ?? this.#used) - start;
    if (offset + length > to) return false;
    for (let at = 8; at < length; at++) if (bytes[offset + at] !== this.#store[start + at]) return false;
    return true;
  }
}

const bitOf = (word: number): number => Math.imul(word, 0x9e37_79b1) >>> (32 - BITMAP_BITS);

/** Four bytes, little-endian, signed. */
function wordAt(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] as number) |
    ((bytes[at + 1] as number) << 8) |
    ((bytes[at + 2] as number) << 16) |
    ((bytes[at + 3] as number) << 24)
  );
}

function doubled(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(bytes.length * 2);
  larger.set(bytes);
  return larger;
}
