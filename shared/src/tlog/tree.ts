/**
 * The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1 is the same tree) over SHA-256. Leaves enter as their
 * leaf hashes; MTH below is that section's Merkle Tree Hash.
 */
import { type Hash, hash } from '../brands.ts';
import { concatBytes } from '../bytes.ts';
import { sha256 } from '../sha256.ts';

/** Leaves of one tree: an int64, as existing tools count them. */
export const MAX_LEAVES = 2n ** 63n - 1n;

const NODE_PREFIX = Uint8Array.of(1);

/** MTH of no leaves: the hash of an empty string. */
export const EMPTY_ROOT: Hash = sha256(new Uint8Array(0));

/** The prefix 0x01 keeps a node from being taken for a leaf, whose prefix is 0x00. */
export function nodeHash(left: Hash, right: Hash): Hash {
  return sha256(concatBytes(NODE_PREFIX, left, right));
}

/** The complete subtrees of a tree, the largest first: one per bit set in its size. All that appending needs. */
export interface Frontier {
  readonly size: bigint;
  readonly hashes: readonly Hash[];
}

export const EMPTY_FRONTIER: Frontier = Object.freeze({ size: 0n, hashes: Object.freeze([]) });

/** The frontier with one more leaf. As many hashes as a binary counter carries: fewer than 2 on average. */
export function append(frontier: Frontier, leafHash: Hash): Frontier {
  if (frontier.size >= MAX_LEAVES) throw new RangeError('the log is full');
  const hashes = [...frontier.hashes];
  let node = hash(leafHash);
  for (let carry = frontier.size; carry % 2n === 1n; carry /= 2n) {
    const left = hashes.pop();
    if (left === undefined) throw new RangeError('a frontier has one hash per bit set in its size');
    node = nodeHash(left, node);
  }
  hashes.push(node);
  return Object.freeze({ size: frontier.size + 1n, hashes: Object.freeze(hashes) });
}

/** MTH of the whole tree. */
export function frontierRoot(frontier: Frontier): Hash {
  return frontier.size === 0n ? EMPTY_ROOT : joined(frontier.hashes);
}

/** MTH of adjoining complete subtrees, the largest first: each is the left sibling of all that follow. */
export function joined(hashes: readonly Hash[]): Hash {
  return hashes.reduceRight((right, left) => nodeHash(left, right));
}

/** A complete subtree: MTH(D[index * 2^level : (index + 1) * 2^level]). */
export interface Node {
  readonly level: number;
  readonly index: bigint;
}

/** The leaves start <= i < end. */
export interface Range {
  readonly start: bigint;
  readonly end: bigint;
}

/**
 * The complete subtrees that make up a range, the largest first. The range is one that RFC 6962 splits off: its start
 * is a multiple of every power of two that fits into its length.
 */
export function nodesOf({ start, end }: Range): Node[] {
  const nodes: Node[] = [];
  let from = start;
  while (from < end) {
    const level = topBit(end - from);
    nodes.push({ level, index: from >> BigInt(level) });
    from += 1n << BigInt(level);
  }
  return nodes;
}

/** Where RFC 6962 splits a range of at least two leaves: k is the largest power of two smaller than its length. */
export function splitOf({ start, end }: Range): bigint {
  return start + (1n << BigInt(topBit(end - start - 1n)));
}

/** The position of the highest bit set in a positive number. */
function topBit(value: bigint): number {
  return value.toString(2).length - 1;
}
