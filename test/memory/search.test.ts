import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Match, MIN_PATTERN_BYTES, Searcher } from './search.ts';

/** Few different bytes, so that patterns share beginnings, overlap and nearly match. */
const letters = fc.integer({ min: 0, max: 2 });
const text = (minLength: number, maxLength: number) =>
  fc.array(letters, { minLength, maxLength }).map((bytes) => Uint8Array.from(bytes));

/** Every place against every pattern. */
function naive(bytes: Uint8Array, patterns: readonly Uint8Array[], from: number, to: number): Match[] {
  const found: Match[] = [];
  for (let offset = from; offset < to; offset++) {
    for (const [pattern, sought] of patterns.entries()) {
      if (offset + sought.length <= to && sought.every((byte, at) => byte === bytes[offset + at])) {
        found.push({ pattern, offset });
      }
    }
  }
  return found;
}

const sorted = (matches: readonly Match[]): Match[] =>
  [...matches].sort((a, b) => a.offset - b.offset || a.pattern - b.pattern);

describe('the search', () => {
  it('finds what a comparison of everything with everything finds', () => {
    const patterns = fc.array(text(MIN_PATTERN_BYTES, 20), { maxLength: 30 });
    const border = fc.nat(400);
    fc.assert(
      fc.property(text(0, 400), patterns, border, border, fc.array(fc.nat(400)), (bytes, sought, a, b, places) => {
        const own = new Searcher();
        for (const [index, pattern] of sought.entries()) expect(own.add(pattern)).toBe(index);
        // Some are there in any case.
        const haystack = Uint8Array.from(bytes);
        for (const [index, place] of places.entries()) {
          const pattern = sought[index % Math.max(1, sought.length)];
          if (pattern !== undefined && place + pattern.length <= haystack.length) haystack.set(pattern, place);
        }
        const [from, to] = [Math.min(a, b, haystack.length), Math.min(Math.max(a, b), haystack.length)];
        expect(sorted(own.search(haystack, from, to))).toEqual(naive(haystack, sought, from, to));
        expect(sorted(own.search(haystack))).toEqual(naive(haystack, sought, 0, haystack.length));
      }),
    );
  });

  it('finds each of 100,000 random patterns at its place, at the very beginning and end too', () => {
    const own = new Searcher();
    const lengths = [12, 16, 17, 32, 44, 64];
    const patterns = Array.from({ length: 100_000 }, (_, index) => randomBytes(lengths[index % 6] as number));
    const parts = patterns.flatMap((pattern, index) => (index === 0 ? [pattern] : [randomBytes(index % 5), pattern]));
    for (const pattern of patterns) own.add(pattern);
    expect(own.patterns).toBe(100_000);
    const offsets = new Map<number, number>();
    let offset = 0;
    for (const [index, part] of parts.entries()) {
      if (index % 2 === 0) offsets.set(index / 2, offset);
      offset += part.length;
    }
    const found = own.search(Buffer.concat(parts));
    expect(found).toHaveLength(100_000);
    expect(found.filter(({ pattern, offset: at }) => offsets.get(pattern) !== at)).toEqual([]);
  });

  it('finds patterns added twice, or as beginnings of each other, each by its number', () => {
    const own = new Searcher();
    const long = randomBytes(40);
    for (const pattern of [long, long, long.subarray(0, 20), long.subarray(8, 24)]) own.add(pattern);
    const found = sorted(own.search(Buffer.concat([randomBytes(7), long])));
    expect(found.map(({ pattern, offset }) => [pattern, offset])).toEqual([
      [0, 7],
      [1, 7],
      [2, 7],
      [3, 15],
    ]);
  });

  it('finds nothing in what is changed by one bit', () => {
    const own = new Searcher();
    const pattern = randomBytes(32);
    own.add(pattern);
    for (let bit = 0; bit < 256; bit++) {
      const changed = Buffer.from(pattern);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(own.search(changed)).toEqual([]);
    }
    expect(own.search(pattern.subarray(0, 31))).toEqual([]);
    expect(own.search(pattern)).toEqual([{ pattern: 0, offset: 0 }]);
  });

  it('takes no pattern that chance could produce', () => {
    expect(() => new Searcher().add(new Uint8Array(MIN_PATTERN_BYTES - 1))).toThrow(RangeError);
  });
});
