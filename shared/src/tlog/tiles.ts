/**
 * Tiles (C2SP tlog-tiles): the hashes of a tree in files of at most 256, and its entries in bundles of as many.
 *
 *   tile/<L>/<N>[.p/<W>]        level L: hashes of complete subtrees of 256^L leaves, the N-th 256 of them
 *   tile/entries/<N>[.p/<W>]    the entries whose leaf hashes are in tile/0/<N>
 *
 * N is written in groups of three digits, all but the last behind an x: 1234067 is x001/x234/067. A width W stands
 * there only when it is below 256. What is in a tile never changes; a partial one grows into the next.
 */
import { QvError } from '../errors.ts';
import { MAX_LEAVES } from './tree.ts';

export const TILE_WIDTH = 256;
/** One tile spans 8 levels of the tree. */
export const TILE_HEIGHT = 8;

export interface Tile {
  /** 0 to 63; level 0 holds leaf hashes. */
  readonly level: number | 'entries';
  readonly index: bigint;
  /** 1 to 256. Below 256 the tile is partial. */
  readonly width: number;
}

// 7 groups hold every index of a tree of 2^63 leaves.
const PATH = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,6}\d{3})(?:\.p\/(\d{1,3}))?$/;

export function tilePath({ level, index, width }: Tile): string {
  const digits = index.toString();
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g) ?? [];
  const name = groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** One spelling per tile: what is accepted is what tilePath prints. @throws QvError log_tile_path_malformed */
export function parseTilePath(path: string): Tile {
  const [, levelText = '', groups = '', widthText = '256'] = PATH.exec(path) ?? [];
  const level = levelText === 'entries' ? 'entries' : Number(levelText);
  const tile: Tile = { level, index: BigInt(groups.replace(/[x/]/g, '')), width: Number(widthText) };
  const isInRange =
    (level === 'entries' || level <= 63) && tile.index <= MAX_LEAVES && tile.width >= 1 && tile.width <= TILE_WIDTH;
  if (!isInRange || tilePath(tile) !== path) throw new QvError('log_tile_path_malformed');
  return tile;
}

/** How wide a tile is in a tree of `size` leaves: 256 when it is complete, 0 when the tree does not reach it. */
export function tileWidth(level: Tile['level'], index: bigint, size: bigint): number {
  const hashes = (size >> levelShift(level)) - index * BigInt(TILE_WIDTH);
  return Number(hashes < 0n ? 0n : hashes > TILE_WIDTH ? BigInt(TILE_WIDTH) : hashes);
}

/**
 * The tiles and bundles that are new or wider when a tree grows from `oldSize` to `newSize` leaves, as they are then:
 * what a log has to write before it publishes that size. Entries first, then upwards, so that each tile follows those
 * it is made of.
 */
export function* tilesBetween(oldSize: bigint, newSize: bigint): Generator<Tile> {
  yield* levelBetween('entries', oldSize, newSize);
  for (let level = 0; newSize >> levelShift(level) > 0n; level++) yield* levelBetween(level, oldSize, newSize);
}

/** Every tile and bundle of a tree of `size` leaves. */
export function tilesOf(size: bigint): Generator<Tile> {
  return tilesBetween(0n, size);
}

function* levelBetween(level: Tile['level'], oldSize: bigint, newSize: bigint): Generator<Tile> {
  const oldHashes = oldSize >> levelShift(level);
  const newHashes = newSize >> levelShift(level);
  for (let index = oldHashes / BigInt(TILE_WIDTH); index * BigInt(TILE_WIDTH) < newHashes; index++) {
    const width = tileWidth(level, index, newSize);
    if (width > tileWidth(level, index, oldSize)) yield { level, index, width };
  }
}

/** Each hash of the level covers 2^shift leaves. */
function levelShift(level: Tile['level']): bigint {
  return level === 'entries' ? 0n : BigInt(TILE_HEIGHT * level);
}
