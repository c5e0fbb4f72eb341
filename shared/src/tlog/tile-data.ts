/**
 * What stands in tiles (C2SP tlog-tiles): a hash tile is its hashes, one after the other; an entry bundle is its entries,
 * each behind its length[u16be]. The tile above holds the Merkle Tree Hash of each complete tile below.
 */
import { type Hash, hash } from '../brands.ts';
import { concatBytes } from '../bytes.ts';
import { QvError } from '../errors.ts';
import type { HashReader } from './proof.ts';
import { TILE_HEIGHT, TILE_WIDTH, type Tile, tilePath, tileWidth } from './tiles.ts';
import { type Node, nodeHash } from './tree.ts';

/** The bytes of exactly this tile: a store that has it only wider cuts it. */
export type TileReader = (tile: Tile) => Promise<Uint8Array>;

const HASH_BYTES = 32;
/** u16; the largest leaf holds an attestation document of at most 32 KiB. */
export const MAX_ENTRY_BYTES = 0xffff;

export function encodeTile(hashes: readonly Hash[]): Uint8Array {
  return concatBytes(...hashes);
}

/** @throws QvError log_tile_malformed */
export function decodeTile(bytes: Uint8Array, width: number): readonly Hash[] {
  if (bytes.length !== width * HASH_BYTES) throw new QvError('log_tile_malformed', { path: 'length' });
  return Array.from({ length: width }, (_, at) => hash(bytes.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES)));
}

/** @throws RangeError if an entry is longer than its length can say */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  const parts = entries.flatMap((entry) => {
    if (entry.length > MAX_ENTRY_BYTES) throw new RangeError('an entry has at most 65535 bytes');
    return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
  });
  return concatBytes(...parts);
}

/** Exactly `width` entries and nothing behind them. @throws QvError log_tile_malformed */
export function decodeEntries(bytes: Uint8Array, width: number): readonly Uint8Array[] {
  const entries: Uint8Array[] = [];
  let rest = bytes;
  while (entries.length < width) {
    const [high, low] = rest;
    if (high === undefined || low === undefined) throw new QvError('log_tile_malformed', { path: 'length' });
    const end = 2 + high * 256 + low;
    if (end > rest.length) throw new QvError('log_tile_malformed', { path: 'length' });
    entries.push(rest.slice(2, end));
    rest = rest.subarray(end);
  }
  if (rest.length > 0) throw new QvError('log_tile_malformed', { path: 'length' });
  return entries;
}

/** The first `width` entries of a bundle that has as many or more, as they stand. @throws QvError log_tile_malformed */
export function cutEntries(bytes: Uint8Array, width: number): Uint8Array {
  let end = 0;
  for (let count = 0; count < width; count++) {
    const [high, low] = bytes.subarray(end, end + 2);
    if (high === undefined || low === undefined) throw new QvError('log_tile_malformed', { path: 'length' });
    end += 2 + high * 256 + low;
  }
  if (end > bytes.length) throw new QvError('log_tile_malformed', { path: 'length' });
  return bytes.subarray(0, end);
}

/** MTH of a complete subtree from its hashes at any level below: a power of two of them, 256 for a complete tile. */
export function completeRoot(hashes: readonly Hash[]): Hash {
  let row = hashes;
  while (row.length > 1) {
    const next: Hash[] = [];
    for (let at = 0; at < row.length; at += 2) {
      const [left, right] = [row[at], row[at + 1]];
      if (left === undefined || right === undefined) throw new RangeError('not a complete subtree');
      next.push(nodeHash(left, right));
    }
    row = next;
  }
  const [root] = row;
  if (root === undefined) throw new RangeError('not a complete subtree');
  return root;
}

/**
 * The hashes of a tile above level 0, each from the complete tile below it, beginning with the one at `from`: a tile
 * that grows keeps those it had.
 * @throws QvError log_tile_malformed, and what the reader throws
 */
export async function hashesFromBelow(tile: Tile, from: number, read: TileReader): Promise<readonly Hash[]> {
  if (tile.level === 'entries' || tile.level === 0) throw new RangeError('leaf hashes are below no tile');
  const hashes: Hash[] = [];
  for (let at = from; at < tile.width; at++) {
    const index = tile.index * BigInt(TILE_WIDTH) + BigInt(at);
    const bytes = await read({ level: tile.level - 1, index, width: TILE_WIDTH });
    hashes.push(completeRoot(decodeTile(bytes, TILE_WIDTH)));
  }
  return hashes;
}

/**
 * Reads hashes of a tree of `size` leaves from its tiles, each tile once per call. What the tiles say is not checked
 * here; a proof made of it is, by whoever verifies it.
 */
export function tileHashReader(size: bigint, read: TileReader): HashReader {
  return async (nodes) => {
    const wanted = nodes.map((node) => place(node, size));
    const tiles = new Map<string, Promise<readonly Hash[]>>();
    for (const { tile } of wanted) {
      const path = tilePath(tile);
      if (!tiles.has(path)) tiles.set(path, readHashes(tile, read));
    }
    await Promise.all(tiles.values());
    return Promise.all(
      wanted.map(async ({ tile, start, end }) => {
        const hashes = await tiles.get(tilePath(tile));
        return completeRoot((hashes ?? []).slice(start, end));
      }),
    );
  };
}

async function readHashes(tile: Tile, read: TileReader): Promise<readonly Hash[]> {
  return decodeTile(await read(tile), tile.width);
}

/** The tile below whose hashes make up a complete subtree, and which of them do. */
function place({ level, index }: Node, size: bigint): { tile: Tile; start: number; end: number } {
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const first = index * BigInt(count);
  const tileIndex = first / BigInt(TILE_WIDTH);
  const start = Number(first % BigInt(TILE_WIDTH));
  const width = tileWidth(tileLevel, tileIndex, size);
  if (start + count > width) throw new RangeError('the tree has no such complete subtree');
  return { tile: { level: tileLevel, index: tileIndex, width }, start, end: start + count };
}
