/** The list that operators sign: rows in the order of their ids, as leaves of RFC 6962's tree. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { type MigrationRow, migrationRowCodec } from '@quantumvault/shared/evidence/migration.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { proveInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { append, EMPTY_FRONTIER, frontierRoot, type Node, nodeHash } from '@quantumvault/shared/tlog/tree.ts';

export interface ListedRow {
  readonly index: number;
  readonly row: MigrationRow;
  readonly encoded: Uint8Array;
}

/** By their bytes: the order of an export says nothing, and is not always the same. */
const byId = (a: MigrationRow, b: MigrationRow): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

export class RowList {
  readonly rows: readonly ListedRow[];
  readonly root: Hash;
  /** Hashes of complete subtrees, level by level from the leaves. */
  readonly #levels: Hash[][];

  constructor(rows: readonly MigrationRow[]) {
    this.rows = [...rows].sort(byId).map((row, index) => ({ index, row, encoded: encodeAs(migrationRowCodec, row) }));
    const leaves = this.rows.map(({ encoded }) => leafHash(encoded));
    this.root = frontierRoot(leaves.reduce(append, EMPTY_FRONTIER));
    this.#levels = [leaves];
    for (let below = leaves; below.length > 1; ) {
      const level: Hash[] = [];
      for (let at = 0; at + 1 < below.length; at += 2) level.push(nodeHash(below[at] as Hash, below[at + 1] as Hash));
      this.#levels.push(level);
      below = level;
    }
  }

  proof(index: number): Promise<readonly Hash[]> {
    const read = async (nodes: readonly Node[]): Promise<readonly Hash[]> =>
      nodes.map(({ level, index: at }) => this.#levels[level]?.[Number(at)] as Hash);
    return proveInclusion(BigInt(index), BigInt(this.rows.length), read);
  }
}
