/** RFC 6962 section 2.1 written down as it stands: recursive, over whole lists, sharing nothing with the product. */
import { createHash } from 'node:crypto';
import type { Hash } from '@quantumvault/shared/brands.ts';
import type { HashReader } from '@quantumvault/shared/tlog/proof.ts';

const digest = (...parts: Uint8Array[]): Hash => {
  const state = createHash('sha256');
  for (const part of parts) state.update(part);
  return Uint8Array.from(state.digest()) as Hash;
};

export const leafHashOf = (leaf: Uint8Array): Hash => digest(Uint8Array.of(0), leaf);

/** Leaf hashes of "leaf 0", "leaf 1", … */
export const numberedLeaves = (count: number): Hash[] =>
  Array.from({ length: count }, (_, index) => leafHashOf(Buffer.from(`leaf ${index}`)));

/** The largest power of two smaller than n. */
const split = (n: number): number => {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
};

const known = new Map<string, Hash>();

/** MTH, remembered by the leaves' own bytes so that tests over many sizes stay fast. */
export function naiveRoot(leaves: readonly Hash[]): Hash {
  const [only] = leaves;
  if (only === undefined) return digest();
  if (leaves.length === 1) return only;
  const key = digest(...leaves).toString();
  const before = known.get(key);
  if (before !== undefined) return before;
  const k = split(leaves.length);
  const root = digest(Uint8Array.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
  known.set(key, root);
  return root;
}

/** PATH(m, D[n]) */
export function naiveInclusion(m: number, leaves: readonly Hash[]): Hash[] {
  if (leaves.length <= 1) return [];
  const k = split(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k ? [...naiveInclusion(m, left), naiveRoot(right)] : [...naiveInclusion(m - k, right), naiveRoot(left)];
}

/** PROOF(m, D[n]) = SUBPROOF(m, D[n], true) */
export function naiveConsistency(m: number, leaves: readonly Hash[], b = true): Hash[] {
  if (m === leaves.length) return b ? [] : [naiveRoot(leaves)];
  const k = split(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m <= k
    ? [...naiveConsistency(m, left, b), naiveRoot(right)]
    : [...naiveConsistency(m - k, right, false), naiveRoot(left)];
}

/** Reads complete subtrees from the leaves. */
export const naiveReader =
  (leaves: readonly Hash[]): HashReader =>
  async (nodes) =>
    nodes.map(({ level, index }) => {
      const part = leaves.slice(Number(index) * 2 ** level, (Number(index) + 1) * 2 ** level);
      if (part.length !== 2 ** level) throw new Error(`no complete subtree ${level}/${index}`);
      return naiveRoot(part);
    });

export const flipped = (bytes: Uint8Array, bit: number): Hash => {
  const changed = Uint8Array.from(bytes);
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return changed as Hash;
};
