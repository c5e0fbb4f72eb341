/**
 * The tree of one boot's log as the host builds it from leaves: its frontier for the root, and the right edge of its
 * tiles, which are all that grows. Complete tiles are in the database.
 */
import type { BootId, Hash } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { proveConsistency, readFrontier } from '@quantumvault/shared/tlog/proof.ts';
import {
  completeRoot,
  decodeTile,
  encodeTile,
  type TileReader,
  tileHashReader,
} from '@quantumvault/shared/tlog/tile-data.ts';
import { TILE_HEIGHT, TILE_WIDTH } from '@quantumvault/shared/tlog/tiles.ts';
import { append, type Frontier, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import type { Store, TileRecord } from '../store/store.ts';

const HASH_BYTES = 32;

/** The unfinished tile of one level. */
interface Edge {
  index: bigint;
  hashes: Hash[];
  changed: boolean;
}

/** Tiles out of the database, cut to the width asked for. */
export function storedTiles(store: Store, boot: BootId): TileReader {
  return async ({ level, index, width }) => {
    if (level === 'entries') throw new RangeError('entries are no hashes');
    const hashes = await store.getTile(boot, level, index);
    if (hashes === undefined || hashes.length < width * HASH_BYTES) throw new QvError('log_unpublished');
    return hashes.subarray(0, width * HASH_BYTES);
  };
}

export class LogTree {
  readonly boot: BootId;
  readonly #stored: TileReader;
  readonly #edges: Edge[];
  #frontier: Frontier;
  /** Complete tiles that the database may not have yet. */
  #complete: TileRecord[] = [];

  private constructor(boot: BootId, stored: TileReader, frontier: Frontier, edges: Edge[]) {
    this.boot = boot;
    this.#stored = stored;
    this.#frontier = frontier;
    this.#edges = edges;
  }

  /** The first `size` leaves, by the tiles in the database. @throws QvError log_unpublished, store_* */
  static async load(store: Store, boot: BootId, size: bigint): Promise<LogTree> {
    const stored = storedTiles(store, boot);
    const frontier = await readFrontier(size, tileHashReader(size, stored));
    const edges: Edge[] = [];
    for (let level = 0, hashes = size; hashes > 0n; level++, hashes >>= BigInt(TILE_HEIGHT)) {
      const index = hashes / BigInt(TILE_WIDTH);
      const width = Number(hashes % BigInt(TILE_WIDTH));
      const kept = width === 0 ? [] : [...decodeTile(await stored({ level, index, width }), width)];
      edges.push({ index, hashes: kept, changed: false });
    }
    return new LogTree(boot, stored, frontier, edges);
  }

  get size(): bigint {
    return this.#frontier.size;
  }

  get root(): Hash {
    return frontierRoot(this.#frontier);
  }

  append(leaf: Uint8Array): void {
    const hash = leafHash(leaf);
    this.#frontier = append(this.#frontier, hash);
    this.#put(0, hash);
  }

  #put(level: number, hash: Hash): void {
    const edge = this.#edges[level] ?? { index: 0n, hashes: [], changed: false };
    this.#edges[level] = edge;
    edge.hashes.push(hash);
    edge.changed = true;
    if (edge.hashes.length < TILE_WIDTH) return;
    this.#complete.push({ level, index: edge.index, hashes: encodeTile(edge.hashes) });
    const root = completeRoot(edge.hashes);
    this.#edges[level] = { index: edge.index + 1n, hashes: [], changed: false };
    this.#put(level + 1, root);
  }

  /** What the database has to be given: tiles completed or grown. They are kept until `written`. */
  unwritten(): readonly TileRecord[] {
    const grown = this.#edges.flatMap(({ index, hashes, changed }, level) =>
      changed && hashes.length > 0 ? [{ level, index, hashes: encodeTile(hashes) }] : [],
    );
    return [...this.#complete, ...grown];
  }

  /** The database has these. */
  written(tiles: readonly TileRecord[]): void {
    this.#complete = this.#complete.filter((tile) => !tiles.includes(tile));
    for (const { level, index, hashes } of tiles) {
      const edge = this.#edges[level];
      if (edge?.index === index && edge.hashes.length * HASH_BYTES === hashes.length) edge.changed = false;
    }
  }

  /** From one size of this log to a later one, at most the one it has now. @throws QvError log_proof_malformed, store_* */
  prove(oldSize: bigint, size: bigint): Promise<readonly Hash[]> {
    return proveConsistency(oldSize, size, tileHashReader(size, this.#read()));
  }

  /** As the tree is now, whatever is appended while it is read. */
  #read(): TileReader {
    const complete = this.#complete;
    const edges = this.#edges.map(({ index, hashes }) => ({ index, hashes: [...hashes] }));
    return async (tile) => {
      const { level, index, width } = tile;
      if (level === 'entries') throw new RangeError('entries are no hashes');
      const edge = edges[level];
      if (edge?.index === index) return encodeTile(edge.hashes.slice(0, width));
      const fresh = complete.find((candidate) => candidate.level === level && candidate.index === index);
      return fresh === undefined ? this.#stored(tile) : fresh.hashes.subarray(0, width * HASH_BYTES);
    };
  }
}
