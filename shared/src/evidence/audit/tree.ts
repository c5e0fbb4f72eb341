/**
 * The tree of one log while it is read, so that its root can be told at any size it had: the roots of all complete
 * bundles and what stands above them (some 32 bytes per 128 leaves), and the leaf hashes of the last, partial bundle.
 */
import { type Hash, hash } from '../../brands.ts';
import { TILE_HEIGHT, TILE_WIDTH } from '../../tlog/tiles.ts';
import { EMPTY_ROOT } from '../../tlog/tree.ts';

export type Sha256 = (bytes: Uint8Array) => Hash;

const HASH_BYTES = 32;

export class LogTree {
  readonly #sha256: Sha256;
  /** Complete subtrees of 256, 512, 1024, … leaves, each level in order. */
  readonly #levels: Hash[][] = [];
  /** Of the bundle that is not complete. */
  #tail: Hash[] = [];
  /** 0x01, left, right: one buffer for all nodes, because hashing copies. */
  readonly #node = new Uint8Array(1 + 2 * HASH_BYTES).fill(1, 0, 1);

  constructor(sha256: Sha256, bundleRoots: readonly Hash[] = []) {
    this.#sha256 = sha256;
    for (const root of bundleRoots) this.#raise(root);
  }

  get size(): number {
    return (this.#levels[0]?.length ?? 0) * TILE_WIDTH + this.#tail.length;
  }

  /** Of the complete bundles. */
  get bundleRoots(): readonly Hash[] {
    return this.#levels[0] ?? [];
  }

  append(leafHash: Hash): void {
    this.#tail.push(leafHash);
    if (this.#tail.length < TILE_WIDTH) return;
    const root = this.bundleRoot(this.#tail);
    this.#tail = [];
    this.#raise(root);
  }

  /** MTH of a complete bundle's leaf hashes. */
  bundleRoot(leafHashes: readonly Hash[]): Hash {
    let row = leafHashes;
    for (let level = 0; level < TILE_HEIGHT; level++) {
      const next: Hash[] = [];
      for (let at = 0; at + 1 < row.length; at += 2) next.push(this.#pair(row[at], row[at + 1]));
      row = next;
    }
    return present(row[0]);
  }

  /**
   * MTH of the first `size` leaves. `tail` gives the leaf hashes of the bundle that ends there, where it is a bundle
   * before the last.
   */
  root(size = this.size, tail: readonly Hash[] = this.#tail): Hash {
    if (size === 0) return EMPTY_ROOT;
    const complete = Math.floor(size / TILE_WIDTH);
    const parts = this.#frontier(complete);
    const partial = this.#rootOf(tail.slice(0, size % TILE_WIDTH));
    if (partial !== undefined) parts.push(partial);
    return parts.reduceRight((right, left) => this.#pair(left, right));
  }

  /** Whether the leaf hashes of the bundle in which a tree of that size ends are still known here. */
  holdsTail(size: number): boolean {
    const rest = size % TILE_WIDTH;
    return rest === 0 || (size - rest === this.bundleRoots.length * TILE_WIDTH && rest <= this.#tail.length);
  }

  /** The complete subtrees of so many complete bundles, the largest first. */
  #frontier(bundles: number): Hash[] {
    const parts: Hash[] = [];
    let from = 0;
    for (let level = Math.floor(Math.log2(Math.max(bundles, 1))); level >= 0; level--) {
      const width = 2 ** level;
      if (from + width > bundles) continue;
      parts.push(present(this.#levels[level]?.[from / width]));
      from += width;
    }
    return parts;
  }

  /** MTH of fewer than 256 leaf hashes (RFC 6962 section 2.1): an odd one at the end rises as it is. */
  #rootOf(leafHashes: readonly Hash[]): Hash | undefined {
    let row = leafHashes;
    while (row.length > 1) {
      const next: Hash[] = [];
      for (let at = 0; at < row.length; at += 2) {
        const [left, right] = [row[at], row[at + 1]];
        next.push(right === undefined ? present(left) : this.#pair(left, right));
      }
      row = next;
    }
    return row[0];
  }

  #raise(root: Hash): void {
    let node = root;
    for (let level = 0; ; level++) {
      const row = this.#levels[level] ?? [];
      this.#levels[level] = row;
      row.push(node);
      if (row.length % 2 === 1) return;
      node = this.#pair(row.at(-2), node);
    }
  }

  #pair(left: Hash | undefined, right: Hash | undefined): Hash {
    this.#node.set(present(left), 1);
    this.#node.set(present(right), 1 + HASH_BYTES);
    return this.#sha256(this.#node);
  }
}

function present(value: Hash | undefined): Hash {
  if (value === undefined) throw new RangeError('the tree has no such subtree');
  return hash(value);
}
