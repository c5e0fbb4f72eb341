/** Tiles: their paths, which a tree has, what stands in them, and proofs read from them. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromHex } from '@quantumvault/shared/bytes.ts';
import { proveConsistency, proveInclusion, readFrontier } from '@quantumvault/shared/tlog/proof.ts';
import {
  completeRoot,
  cutEntries,
  decodeEntries,
  decodeTile,
  encodeEntries,
  encodeTile,
  hashesFromBelow,
  MAX_ENTRY_BYTES,
  type TileReader,
  tileHashReader,
} from '@quantumvault/shared/tlog/tile-data.ts';
import {
  parseTilePath,
  type Tile,
  tilePath,
  tilesBetween,
  tilesOf,
  tileWidth,
} from '@quantumvault/shared/tlog/tiles.ts';
import { append, EMPTY_FRONTIER, type Frontier, frontierRoot, MAX_LEAVES } from '@quantumvault/shared/tlog/tree.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode, refusalOf } from '../../support/codes.ts';
import { naiveConsistency, naiveInclusion, naiveRoot, numberedLeaves } from './naive.ts';

const pathCode = (path: string) => refusalOf(() => parseTilePath(path))?.code;
const anyTile: fc.Arbitrary<Tile> = fc.record({
  level: fc.oneof(fc.constant('entries' as const), fc.integer({ min: 0, max: 63 })),
  index: fc.oneof(fc.bigInt({ min: 0n, max: 2_000_000n }), fc.bigInt({ min: 0n, max: MAX_LEAVES })),
  width: fc.integer({ min: 1, max: 256 }),
});

describe('paths', () => {
  it.each<[string, Tile]>([
    ['tile/0/x001/x234/067', { level: 0, index: 1_234_067n, width: 256 }],
    ['tile/5/x123/x456/078', { level: 5, index: 123_456_078n, width: 256 }],
    ['tile/5/x123/x456/078.p/2', { level: 5, index: 123_456_078n, width: 2 }],
    ['tile/entries/x003/x057/500', { level: 'entries', index: 3_057_500n, width: 256 }],
    ['tile/0/000.p/255', { level: 0, index: 0n, width: 255 }],
    ['tile/63/001', { level: 63, index: 1n, width: 256 }],
    ['tile/0/999', { level: 0, index: 999n, width: 256 }],
    ['tile/0/x001/000', { level: 0, index: 1_000n, width: 256 }],
  ])('%s', (path, tile) => {
    expect(tilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  });

  it.each([
    '',
    'tile/0/',
    'tile/0/1',
    'tile/0/01',
    'tile/0/0001',
    'tile/00/001',
    'tile/01/001',
    'tile/-1/001',
    'tile/64/001',
    'tile/data/001',
    'tile/Entries/001',
    'tile/3/5/123/456/078',
    'tile/5/123/456/078',
    'tile/5/x123/x456/x078',
    'tile/5/X123/456',
    'tile/0/x000/001',
    'tile/0/x000/x001/001',
    'tile/0/x009/x223/x372/x036/x854/x775/808',
    'tile/0/001.p/0',
    'tile/0/001.p/05',
    'tile/0/001.p/256',
    'tile/0/001.p/999',
    'tile/0/001.p/',
    'tile/0/001.p',
    'tile/0/001.p/5/',
    'tile/0/001/',
    '/tile/0/001',
    'tile//001',
    'tile/0/../001',
    'tile/0/001\n',
    'tile/0/001?',
    'tile/0/00\u0661',
  ])('refused: %j', (path) => expect(pathCode(path)).toBe('log_tile_path_malformed'));

  it('round trip', () => {
    fc.assert(
      fc.property(anyTile, (tile) => {
        expect(parseTilePath(tilePath(tile))).toEqual(tile);
      }),
    );
  });

  it('have one spelling, whatever comes', () => {
    const near = fc
      .tuple(anyTile, fc.nat(40), fc.constantFrom('', '0', '1', 'x', '/', '.p/', '-', ' ', 'entries'))
      .map(([tile, at, part]) => {
        const path = tilePath(tile);
        return path.slice(0, at) + part + path.slice(at + 1);
      });
    fc.assert(
      fc.property(fc.oneof(near, fc.string({ unit: 'binary' })), (path) => {
        let tile: Tile | undefined;
        const refusal = refusalOf(() => {
          tile = parseTilePath(path);
        });
        if (tile === undefined) expect(refusal?.code).toBe('log_tile_path_malformed');
        else expect(tilePath(tile)).toBe(path);
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('which tiles a tree has', () => {
  const count = (size: bigint): Record<string, number[]> => {
    const byLevel: Record<string, number[]> = {};
    for (const { level, width } of tilesOf(size)) byLevel[level] = [...(byLevel[level] ?? []), width];
    return byLevel;
  };

  it('as the specification counts them for 70,000 and for 256 leaves', () => {
    const levels = count(70_000n);
    const full = (widths: number[] | undefined) => widths?.filter((width) => width === 256).length;
    const partial = (widths: number[] | undefined) => widths?.filter((width) => width < 256);
    expect([full(levels['0']), partial(levels['0'])]).toEqual([273, [112]]);
    expect([full(levels['entries']), partial(levels['entries'])]).toEqual([273, [112]]);
    expect([full(levels['1']), partial(levels['1'])]).toEqual([1, [17]]);
    expect(levels['2']).toEqual([1]);
    expect(Object.keys(levels)).toHaveLength(4);
    expect(count(256n)).toEqual({ entries: [256], 0: [256], 1: [1] });
    expect(count(0n)).toEqual({});
  });

  it('a step adds what is wider afterwards, and nothing else', () => {
    const size = fc.oneof(fc.integer({ max: 1_000, min: 0 }), fc.integer({ min: 65_000, max: 70_000 }));
    fc.assert(
      fc.property(size, fc.integer({ min: 0, max: 600 }), (oldSize, more) => {
        const [before, after] = [BigInt(oldSize), BigInt(oldSize + more)];
        const held = new Set([...tilesOf(before)].map(tilePath));
        const expected = [...tilesOf(after)].map(tilePath).filter((path) => !held.has(path));
        expect([...tilesBetween(before, after)].map(tilePath)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  it('no tile is wider than the tree, at any size', () => {
    expect(tileWidth(0, 0n, 0n)).toBe(0);
    expect(tileWidth('entries', 1n, 257n)).toBe(1);
    expect(tileWidth(0, 2n, 257n)).toBe(0);
    expect(tileWidth(1, 0n, 255n)).toBe(0);
    expect(tileWidth(7, 0n, MAX_LEAVES)).toBe(127);
    expect(tileWidth(8, 0n, MAX_LEAVES)).toBe(0);
  });
});

describe('entry bundles', () => {
  it('are entries behind their lengths', () => {
    const entries = [fromHex('aabb'), new Uint8Array(0), new Uint8Array(258).fill(1)];
    const bytes = encodeEntries(entries);
    expect(bytes).toEqual(concatBytes(fromHex('0002aabb0000' + '0102'), new Uint8Array(258).fill(1)));
    expect(decodeEntries(bytes, 3)).toEqual(entries);
  });

  it('round trip, and are refused cut, longer or counted otherwise', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 256 }),
        fc.nat(),
        (entries, n) => {
          const bytes = encodeEntries(entries);
          const code = (input: Uint8Array, width = entries.length) =>
            refusalOf(() => decodeEntries(input, width))?.code;
          expect(decodeEntries(bytes, entries.length)).toEqual(entries);
          expect(code(bytes.subarray(0, n % bytes.length))).toBe('log_tile_malformed');
          expect(code(concatBytes(bytes, Uint8Array.of(0)))).toBe('log_tile_malformed');
          expect(code(bytes, entries.length - 1)).toBe('log_tile_malformed');
          expect(code(bytes, entries.length + 1)).toBe('log_tile_malformed');
        },
      ),
    );
  });

  it('hold entries of 65,535 bytes and no longer ones', () => {
    const largest = new Uint8Array(MAX_ENTRY_BYTES).fill(9);
    expect(decodeEntries(encodeEntries([largest]), 1)).toEqual([largest]);
    for (let width = 0; width <= 2; width++)
      expect(cutEntries(encodeEntries([largest, largest]), width)).toEqual(
        encodeEntries([largest, largest].slice(0, width)),
      );
    for (const [bytes, width] of [
      [encodeEntries([largest]), 2],
      [encodeEntries([largest]).subarray(0, -1), 1],
      [Uint8Array.of(0), 1],
    ] as const)
      expect(refusalOf(() => cutEntries(bytes, width))?.code).toBe('log_tile_malformed');
    expect(() => encodeEntries([new Uint8Array(MAX_ENTRY_BYTES + 1)])).toThrow(RangeError);
  });
});

/** The tiles that a log writes while it grows from one size to the next. */
async function writeTiles(sizes: readonly number[], leaves: readonly Hash[]): Promise<Map<string, Uint8Array>> {
  const store = new Map<string, Uint8Array>();
  let oldSize = 0n;
  for (const size of sizes.map(BigInt)) {
    for (const tile of tilesBetween(oldSize, size)) {
      if (tile.level === 'entries') continue;
      const first = Number(tile.index) * 256;
      const from = tileWidth(tile.level, tile.index, oldSize);
      const kept = from === 0 ? [] : decodeTile(await fromStore(store)({ ...tile, width: from }), from);
      const added =
        tile.level === 0
          ? leaves.slice(first + from, first + tile.width)
          : await hashesFromBelow(tile, from, fromStore(store));
      store.set(tilePath(tile), encodeTile([...kept, ...added]));
    }
    oldSize = size;
  }
  return store;
}

function fromStore(store: ReadonlyMap<string, Uint8Array>): TileReader {
  return async (tile) => {
    const bytes = store.get(tilePath(tile));
    if (bytes === undefined) throw new Error(`no ${tilePath(tile)}`);
    return bytes;
  };
}

describe('hash tiles', () => {
  it('hold exactly their width', () => {
    const hashes = numberedLeaves(3);
    const bytes = encodeTile(hashes);
    expect(decodeTile(bytes, 3)).toEqual(hashes);
    for (const [input, width] of [
      [bytes, 2],
      [bytes, 4],
      [bytes.subarray(1), 3],
    ] as const)
      expect(refusalOf(() => decodeTile(input, width))?.code).toBe('log_tile_malformed');
  });

  it('are hashed when complete only', () => {
    const leaves = numberedLeaves(256);
    for (const size of [1, 2, 128, 256])
      expect(completeRoot(leaves.slice(0, size))).toEqual(naiveRoot(leaves.slice(0, size)));
    for (const size of [0, 3, 255]) expect(() => completeRoot(leaves.slice(0, size))).toThrow(RangeError);
  });

  it('of level 0 and of entries are below no tile', async () => {
    const read = fromStore(new Map());
    await expect(hashesFromBelow({ level: 0, index: 0n, width: 1 }, 0, read)).rejects.toThrow(RangeError);
    await expect(hashesFromBelow({ level: 'entries', index: 0n, width: 1 }, 0, read)).rejects.toThrow(RangeError);
  });
});

describe('proofs from tiles', () => {
  const leaves = numberedLeaves(600);

  it('are the naive ones, at every size a log stopped at', async () => {
    const sizes = [1, 2, 200, 255, 256, 257, 511, 512, 513, 600];
    const store = await writeTiles(sizes, leaves);
    for (const size of sizes) {
      const part = leaves.slice(0, size);
      const reader = tileHashReader(BigInt(size), fromStore(store));
      expect(frontierRoot(await readFrontier(BigInt(size), reader))).toEqual(naiveRoot(part));
      for (const index of new Set([0, 1, size >> 1, size - 1].filter((at) => at < size))) {
        expect(await proveInclusion(BigInt(index), BigInt(size), reader)).toEqual(naiveInclusion(index, part));
        const older = await proveConsistency(BigInt(index + 1), BigInt(size), reader);
        expect(older).toEqual(naiveConsistency(index + 1, part));
      }
    }
  });

  it('reach through three levels of tiles', async () => {
    // Four different leaves repeated: 65,536 and some leaves, whose frontier is the second opinion.
    const many = Array.from({ length: 65_536 + 300 }, (_, index) => leaves[index & 3] as Hash);
    const store = await writeTiles([65_000, many.length], many);
    const size = BigInt(many.length);
    const reader = tileHashReader(size, fromStore(store));
    const frontier = many.reduce<Frontier>(append, EMPTY_FRONTIER);
    expect(await readFrontier(size, reader)).toEqual(frontier);
    expect(await readFrontier(65_000n, reader)).toEqual(many.slice(0, 65_000).reduce(append, EMPTY_FRONTIER));
    expect([...store.keys()].filter((path) => path.startsWith('tile/2/'))).toEqual(['tile/2/000.p/1']);
  });

  it('read each tile once', async () => {
    const store = await writeTiles([600], leaves);
    const asked: string[] = [];
    const reader = tileHashReader(600n, async (tile) => {
      asked.push(tilePath(tile));
      return fromStore(store)(tile);
    });
    await proveInclusion(300n, 600n, reader);
    expect(asked.toSorted()).toEqual(['tile/0/001', 'tile/0/002.p/88', 'tile/1/000.p/2']);
  });

  it('are not made from tiles of another width, nor beyond the tree, nor without a tile', async () => {
    const short: TileReader = async () => new Uint8Array(32);
    await expectCode(proveInclusion(0n, 3n, tileHashReader(3n, short)), 'log_tile_malformed');
    await expect(tileHashReader(3n, short)([{ level: 1, index: 1n }])).rejects.toThrow(RangeError);
    const missing = tileHashReader(600n, fromStore(new Map()));
    await expect(proveInclusion(300n, 600n, missing)).rejects.toThrow('no tile/');
  });
});
