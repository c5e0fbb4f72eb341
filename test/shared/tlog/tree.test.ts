/** The tree and its proofs: published vectors, a naive implementation, and every single bit changed. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Hash } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type Consistency,
  type Inclusion,
  proveConsistency,
  proveInclusion,
  readFrontier,
  verifyConsistency,
  verifyInclusion,
} from '@quantumvault/shared/tlog/proof.ts';
import {
  append,
  EMPTY_FRONTIER,
  EMPTY_ROOT,
  type Frontier,
  frontierRoot,
  MAX_LEAVES,
} from '@quantumvault/shared/tlog/tree.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode, refusalOf } from '../../support/codes.ts';
import { flipped, naiveConsistency, naiveInclusion, naiveReader, naiveRoot, numberedLeaves } from './naive.ts';

interface Rfc6962Vectors {
  readonly emptyRoot: string;
  readonly leaves: readonly string[];
  readonly roots: readonly string[];
  readonly inclusion: readonly { readonly index: number; readonly size: number; readonly proof: readonly string[] }[];
  readonly consistency: readonly {
    readonly oldSize: number;
    readonly newSize: number;
    readonly proof: readonly string[];
  }[];
}
interface ArgonVectors {
  readonly size: string;
  readonly root: string;
  readonly index: string;
  readonly leaf: string;
  readonly inclusion: readonly string[];
  readonly oldSize: string;
  readonly oldRoot: string;
  readonly consistency: readonly string[];
}
const read = (name: string): unknown =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../vectors/tlog', name), 'utf8'));
const rfc = read('rfc6962.json') as Rfc6962Vectors;
const argon = read('argon2020.json') as ArgonVectors;

const hexHash = (text: string | undefined): Hash => fromHex(text ?? '') as Hash;
const base64Hash = (text: string): Hash => fromBase64(text) as Hash;
const LEAVES = numberedLeaves(600);
const grown = (leaves: readonly Hash[]): Frontier => leaves.reduce(append, EMPTY_FRONTIER);
const rfcLeaves = rfc.leaves.map((leaf) => leafHash(fromHex(leaf)));
const rfcRoot = (size: number): Hash => hexHash(rfc.roots[size - 1]);

const inclusionCode = (claim: Inclusion) => refusalOf(() => verifyInclusion(claim))?.code;
const consistencyCode = (claim: Consistency) => refusalOf(() => verifyConsistency(claim))?.code;

const inclusionOf = (index: number, leaves: readonly Hash[]): Inclusion => ({
  index: BigInt(index),
  size: BigInt(leaves.length),
  leafHash: leaves[index] as Hash,
  proof: naiveInclusion(index, leaves),
  root: naiveRoot(leaves),
});
const consistencyOf = (oldSize: number, leaves: readonly Hash[]): Consistency => ({
  oldSize: BigInt(oldSize),
  newSize: BigInt(leaves.length),
  oldRoot: naiveRoot(leaves.slice(0, oldSize)),
  newRoot: naiveRoot(leaves),
  proof: naiveConsistency(oldSize, leaves),
});

describe('published vectors', () => {
  it('roots', () => {
    expect(toHex(EMPTY_ROOT)).toBe(rfc.emptyRoot);
    expect(toHex(frontierRoot(EMPTY_FRONTIER))).toBe(rfc.emptyRoot);
    for (const [index, root] of rfc.roots.entries())
      expect(toHex(frontierRoot(grown(rfcLeaves.slice(0, index + 1))))).toBe(root);
  });

  it.each(rfc.inclusion)('inclusion of $index in $size', async ({ index, size, proof }) => {
    const made = await proveInclusion(BigInt(index), BigInt(size), naiveReader(rfcLeaves));
    expect(made.map(toHex)).toEqual(proof);
    const claim = { ...inclusionOf(index, rfcLeaves.slice(0, size)), proof: proof.map(hexHash), root: rfcRoot(size) };
    expect(inclusionCode(claim)).toBeUndefined();
  });

  it.each(rfc.consistency)('consistency of $oldSize with $newSize', async ({ oldSize, newSize, proof }) => {
    const made = await proveConsistency(BigInt(oldSize), BigInt(newSize), naiveReader(rfcLeaves));
    expect(made.map(toHex)).toEqual(proof);
    const [oldRoot, newRoot] = [rfcRoot(oldSize), rfcRoot(newSize)];
    const sizes = { oldSize: BigInt(oldSize), newSize: BigInt(newSize) };
    expect(consistencyCode({ ...sizes, oldRoot, newRoot, proof: proof.map(hexHash) })).toBeUndefined();
  });

  it('a public log of 961,984,013 leaves', () => {
    const size = BigInt(argon.size);
    const root = base64Hash(argon.root);
    const inclusion: Inclusion = {
      index: BigInt(argon.index),
      size,
      leafHash: leafHash(fromBase64(argon.leaf)),
      proof: argon.inclusion.map(base64Hash),
      root,
    };
    const consistency: Consistency = {
      oldSize: BigInt(argon.oldSize),
      newSize: size,
      oldRoot: base64Hash(argon.oldRoot),
      newRoot: root,
      proof: argon.consistency.map(base64Hash),
    };
    expect(inclusionCode(inclusion)).toBeUndefined();
    expect(consistencyCode(consistency)).toBeUndefined();
    expect(inclusionCode({ ...inclusion, index: inclusion.index + 1n })).toBe('log_proof_invalid');
    expect(consistencyCode({ ...consistency, oldRoot: root })).toBe('log_proof_invalid');
  });
});

describe('the frontier', () => {
  it('has the naive root at sizes 0 to 600, and one hash per bit of its size', () => {
    let frontier = EMPTY_FRONTIER;
    for (let size = 0; size <= LEAVES.length; size++) {
      expect(frontier.size).toBe(BigInt(size));
      expect(frontier.hashes).toHaveLength(size.toString(2).replaceAll('0', '').length);
      expect(frontierRoot(frontier)).toEqual(naiveRoot(LEAVES.slice(0, size)));
      const leaf = LEAVES[size];
      if (leaf !== undefined) frontier = append(frontier, leaf);
    }
  });

  it('is never changed by appending', () => {
    const before = grown(LEAVES.slice(0, 7));
    const root = frontierRoot(before);
    append(before, LEAVES[7] as Hash);
    expect(before.size).toBe(7n);
    expect(frontierRoot(before)).toEqual(root);
    expect(Object.isFrozen(before.hashes)).toBe(true);
  });

  it('is the same when read back from hashes', async () => {
    for (const size of [0, 1, 2, 3, 255, 256, 257, 599]) {
      const frontier = await readFrontier(BigInt(size), naiveReader(LEAVES));
      expect(frontier).toEqual(grown(LEAVES.slice(0, size)));
    }
  });

  it('takes no leaf hash of another length, no leaf beyond the last size, and has the hashes of its size', () => {
    expect(() => append(EMPTY_FRONTIER, new Uint8Array(31) as Hash)).toThrow(RangeError);
    expect(() => append({ size: MAX_LEAVES, hashes: [] }, LEAVES[0] as Hash)).toThrow(RangeError);
    expect(() => append({ size: 1n, hashes: [] }, LEAVES[0] as Hash)).toThrow(RangeError);
  });
});

describe('proofs', () => {
  const sizes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100];

  it.each(sizes)('agree with the naive ones and verify: %d leaves, every index and old size', async (size) => {
    const leaves = LEAVES.slice(0, size);
    for (let index = 0; index < size; index++) {
      const claim = inclusionOf(index, leaves);
      expect(await proveInclusion(BigInt(index), BigInt(size), naiveReader(leaves))).toEqual(claim.proof);
      expect(inclusionCode(claim)).toBeUndefined();
      const older = consistencyOf(index + 1, leaves);
      expect(await proveConsistency(BigInt(index + 1), BigInt(size), naiveReader(leaves))).toEqual(older.proof);
      expect(consistencyCode(older)).toBeUndefined();
    }
  });

  const place = fc
    .integer({ min: 1, max: LEAVES.length })
    .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat(size - 1), bit: fc.nat(), part: fc.nat() }));

  it('of inclusion: any bit changed, any hash more or fewer, any other index or size refuses', () => {
    fc.assert(
      fc.property(place, ({ size, index, bit, part }) => {
        const claim = inclusionOf(index, LEAVES.slice(0, size));
        const { proof } = claim;
        expect(inclusionCode(claim)).toBeUndefined();
        const changes: Partial<Inclusion>[] = [
          { root: flipped(claim.root, bit % 256) },
          { leafHash: flipped(claim.leafHash, bit % 256) },
          ...proof.map((hash, at) => ({ proof: proof.with(at, flipped(hash, bit % 256)) })),
        ];
        for (const change of changes) expect(inclusionCode({ ...claim, ...change })).toBe('log_proof_invalid');
        const misfits: Partial<Inclusion>[] = [
          { proof: [...proof, claim.root] },
          { proof: [claim.root, ...proof] },
          { index: claim.size },
          { index: -1n },
          { size: -claim.size },
          { size: MAX_LEAVES + 1n },
          { root: claim.root.subarray(1) as Hash },
          { leafHash: new Uint8Array(0) as Hash },
        ];
        if (proof.length > 0) misfits.push({ proof: proof.toSpliced(part % proof.length, 1) });
        if (proof.length > 0) misfits.push({ proof: proof.with(part % proof.length, new Uint8Array(64) as Hash) });
        for (const change of misfits) expect(inclusionCode({ ...claim, ...change })).toBe('log_proof_malformed');
        for (let other = 0; other < size; other++)
          if (other !== index) expect(inclusionCode({ ...claim, index: BigInt(other) })).toBeDefined();
      }),
      { numRuns: 60 },
    );
  });

  it('of consistency: any bit changed, any hash more or fewer, any other size refuses', () => {
    fc.assert(
      fc.property(place, ({ size, index, bit, part }) => {
        const claim = consistencyOf(index + 1, LEAVES.slice(0, size));
        const { proof } = claim;
        expect(consistencyCode(claim)).toBeUndefined();
        const changes: Partial<Consistency>[] = [
          { oldRoot: flipped(claim.oldRoot, bit % 256) },
          { newRoot: flipped(claim.newRoot, bit % 256) },
          ...proof.map((hash, at) => ({ proof: proof.with(at, flipped(hash, bit % 256)) })),
        ];
        for (const change of changes) expect(consistencyCode({ ...claim, ...change })).toBe('log_proof_invalid');
        const misfits: Partial<Consistency>[] = [
          { proof: [...proof, claim.newRoot] },
          { proof: [claim.oldRoot, ...proof] },
          { oldSize: claim.newSize + 1n },
          { oldSize: -1n },
          { newSize: MAX_LEAVES + 1n },
          { oldRoot: claim.oldRoot.subarray(1) as Hash },
        ];
        if (proof.length > 0) misfits.push({ proof: proof.toSpliced(part % proof.length, 1) });
        for (const change of misfits) expect(consistencyCode({ ...claim, ...change })).toBe('log_proof_malformed');
        if (claim.oldSize !== claim.newSize)
          expect(consistencyCode({ ...claim, oldRoot: claim.newRoot, newRoot: claim.oldRoot })).toBe(
            'log_proof_invalid',
          );
      }),
      { numRuns: 60 },
    );
  });

  it('from the empty tree: no hashes, the empty root, any newer one', () => {
    const some = LEAVES[0] as Hash;
    const empty = { oldSize: 0n, newSize: 5n, oldRoot: EMPTY_ROOT, newRoot: some, proof: [] };
    expect(consistencyCode(empty)).toBeUndefined();
    expect(consistencyCode({ ...empty, newSize: 0n, newRoot: EMPTY_ROOT })).toBeUndefined();
    expect(consistencyCode({ ...empty, newSize: 0n })).toBe('log_proof_invalid');
    expect(consistencyCode({ ...empty, oldRoot: some })).toBe('log_proof_invalid');
    expect(consistencyCode({ ...empty, newSize: 0n, oldRoot: some, newRoot: some })).toBe('log_proof_invalid');
    expect(consistencyCode({ ...empty, proof: [some] })).toBe('log_proof_malformed');
  });

  it('of the largest tree have the length of its depth', async () => {
    const asked: bigint[] = [];
    const constant = async (nodes: readonly { readonly index: bigint }[]) =>
      nodes.map(({ index }) => {
        asked.push(index);
        return LEAVES[0] as Hash;
      });
    expect(await proveInclusion(0n, MAX_LEAVES, constant)).toHaveLength(63);
    expect(await proveConsistency(MAX_LEAVES - 1n, MAX_LEAVES, constant)).toHaveLength(63);
    expect(asked.every((index) => index >= 0n && index < MAX_LEAVES)).toBe(true);
  });

  it('are not made of leaves or sizes that there are not, nor of a reader that answers too little', async () => {
    const reader = naiveReader(LEAVES);
    await expectCode(proveInclusion(3n, 3n, reader), 'log_proof_malformed');
    await expectCode(proveInclusion(0n, 0n, reader), 'log_proof_malformed');
    await expectCode(proveConsistency(4n, 3n, reader), 'log_proof_malformed');
    await expectCode(readFrontier(-1n, reader), 'log_proof_malformed');
    await expect(proveInclusion(0n, 2n, async () => [])).rejects.toThrow(RangeError);
  });
});
