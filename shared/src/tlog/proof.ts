/**
 * Inclusion proofs (RFC 6962 section 2.1.1) and consistency proofs (section 2.1.2). A proof is a list of hashes, the
 * deepest first; which leaves each of them covers follows from index and sizes alone. Making and checking a proof both
 * walk that list of ranges, so a proof of another length is refused before anything is hashed.
 */
import type { Hash } from '../brands.ts';
import { equalBytes } from '../bytes.ts';
import { QvError } from '../errors.ts';
import {
  EMPTY_ROOT,
  type Frontier,
  joined,
  MAX_LEAVES,
  type Node,
  nodeHash,
  nodesOf,
  type Range,
  splitOf,
} from './tree.ts';

/** Reads hashes of complete subtrees, in the order asked for. */
export type HashReader = (nodes: readonly Node[]) => Promise<readonly Hash[]>;

export interface Inclusion {
  readonly index: bigint;
  readonly size: bigint;
  readonly leafHash: Hash;
  readonly proof: readonly Hash[];
  readonly root: Hash;
}

export interface Consistency {
  readonly oldSize: bigint;
  readonly newSize: bigint;
  readonly oldRoot: Hash;
  readonly newRoot: Hash;
  readonly proof: readonly Hash[];
}

/** PATH(index, D[size]). @throws QvError log_proof_malformed if the tree has no such leaf, and what the reader throws */
export async function proveInclusion(index: bigint, size: bigint, read: HashReader): Promise<readonly Hash[]> {
  return readRanges(inclusionRanges(index, size), read);
}

/** PROOF(oldSize, D[newSize]). @throws QvError log_proof_malformed if the tree shrank, and what the reader throws */
export async function proveConsistency(oldSize: bigint, newSize: bigint, read: HashReader): Promise<readonly Hash[]> {
  return readRanges(consistencyRanges(oldSize, newSize), read);
}

/** The frontier of the first `size` leaves, and by it their root. @throws what the reader throws */
export async function readFrontier(size: bigint, read: HashReader): Promise<Frontier> {
  checkSize(size, 'size');
  const nodes = nodesOf({ start: 0n, end: size });
  return { size, hashes: await readAll(nodes, read) };
}

/** @throws QvError log_proof_malformed, log_proof_invalid */
export function verifyInclusion({ index, size, leafHash, proof, root }: Inclusion): void {
  const steps = stepsOf(inclusionRanges(index, size), proof);
  checkHashes(leafHash, root);
  let node = leafHash;
  for (const { range, sibling } of steps) node = range.end <= index ? nodeHash(sibling, node) : nodeHash(node, sibling);
  if (!equalBytes(node, root)) throw new QvError('log_proof_invalid', { path: 'root' });
}

/**
 * Equal sizes must have equal roots, and an empty tree the empty root; every tree is consistent with the empty one.
 * @throws QvError log_proof_malformed, log_proof_invalid
 */
export function verifyConsistency({ oldSize, newSize, oldRoot, newRoot, proof }: Consistency): void {
  const steps = stepsOf(consistencyRanges(oldSize, newSize), proof);
  checkHashes(oldRoot, newRoot);
  if (oldSize === 0n && !equalBytes(oldRoot, EMPTY_ROOT)) throw new QvError('log_proof_invalid', { path: 'oldRoot' });
  if (oldSize === 0n && newSize > 0n) return;

  // The climb starts at the last complete subtree of the old tree. When that is all of it, the proof leaves it out.
  const [first] = steps;
  const isListed = first?.range.end === oldSize;
  let older = isListed ? first.sibling : oldRoot;
  let newer = older;
  for (const { range, sibling } of isListed ? steps.slice(1) : steps) {
    if (range.end <= oldSize) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
    } else newer = nodeHash(newer, sibling);
  }
  if (!equalBytes(older, oldRoot)) throw new QvError('log_proof_invalid', { path: 'oldRoot' });
  if (!equalBytes(newer, newRoot)) throw new QvError('log_proof_invalid', { path: 'newRoot' });
}

/** PATH of RFC 6962 section 2.1.1, as the ranges whose hashes it lists. */
function inclusionRanges(index: bigint, size: bigint): Range[] {
  checkSize(size, 'size');
  if (index < 0n || index >= size) throw new QvError('log_proof_malformed', { path: 'index' });
  const ranges: Range[] = [];
  let start = 0n;
  let end = size;
  while (end - start > 1n) {
    const middle = splitOf({ start, end });
    if (index < middle) {
      ranges.unshift({ start: middle, end });
      end = middle;
    } else {
      ranges.unshift({ start, end: middle });
      start = middle;
    }
  }
  return ranges;
}

/** PROOF and SUBPROOF of RFC 6962 section 2.1.2; empty for an empty old tree, of which the RFC says nothing. */
function consistencyRanges(oldSize: bigint, newSize: bigint): Range[] {
  checkSize(newSize, 'newSize');
  if (oldSize < 0n || oldSize > newSize) throw new QvError('log_proof_malformed', { path: 'oldSize' });
  const ranges: Range[] = [];
  if (oldSize === 0n) return ranges;
  let start = 0n;
  let end = newSize;
  while (end !== oldSize) {
    const middle = splitOf({ start, end });
    if (oldSize <= middle) {
      ranges.unshift({ start: middle, end });
      end = middle;
    } else {
      ranges.unshift({ start, end: middle });
      start = middle;
    }
  }
  // SUBPROOF's b: true, and the hash left out, as long as only left branches were taken.
  if (start > 0n) ranges.unshift({ start, end });
  return ranges;
}

async function readRanges(ranges: readonly Range[], read: HashReader): Promise<readonly Hash[]> {
  const parts = ranges.map(nodesOf);
  const hashes = await readAll(parts.flat(), read);
  let offset = 0;
  return parts.map((nodes) => {
    offset += nodes.length;
    return joined(hashes.slice(offset - nodes.length, offset));
  });
}

async function readAll(nodes: readonly Node[], read: HashReader): Promise<readonly Hash[]> {
  if (nodes.length === 0) return [];
  const hashes = await read(nodes);
  if (hashes.length !== nodes.length) throw new RangeError('a hash reader answers each question once');
  return hashes;
}

function checkSize(size: bigint, path: string): void {
  if (size < 0n || size > MAX_LEAVES) throw new QvError('log_proof_malformed', { path });
}

interface Step {
  readonly range: Range;
  readonly sibling: Hash;
}

function stepsOf(ranges: readonly Range[], proof: readonly Hash[]): Step[] {
  if (proof.length !== ranges.length) throw new QvError('log_proof_malformed', { path: 'proof' });
  checkHashes(...proof);
  return ranges.flatMap((range, step) => {
    const sibling = proof[step];
    return sibling === undefined ? [] : [{ range, sibling }];
  });
}

/** Proofs come from outside: a hash of another length would move the border between left and right. */
function checkHashes(...hashes: readonly Hash[]): void {
  if (hashes.some((hash) => hash.length !== 32)) throw new QvError('log_proof_malformed', { path: 'proof' });
}
