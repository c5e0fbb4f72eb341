import { LogTree, storedTiles } from '@quantumvault/host/evidence/log-tree.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { bootIdOf, type Hash } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { proveInclusion, verifyConsistency, verifyInclusion } from '@quantumvault/shared/tlog/proof.ts';
import { encodeTile, hashesFromBelow, tileHashReader } from '@quantumvault/shared/tlog/tile-data.ts';
import { tilesOf } from '@quantumvault/shared/tlog/tiles.ts';
import { append, EMPTY_FRONTIER, type Frontier, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { temporaryFolder } from '../support/temporary.ts';

const entry = (index: number): Uint8Array => utf8(`leaf ${index}`);
/** Long enough for a complete tile on level 1. */
const MOST = 256 * 256 + 700;
const hashes = Array.from({ length: MOST }, (_, index) => leafHash(entry(index)));

const rootOf = (size: number): Hash => frontierRoot(hashes.slice(0, size).reduce<Frontier>(append, EMPTY_FRONTIER));

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let store: Store;
let boots = 0;
const newBoot = () => bootIdOf(new Uint8Array(32).fill(++boots));

beforeAll(async () => {
  folder = await temporaryFolder();
  store = await openSqliteStore({ path: `${folder.path}/tree.db`, log: silentLog });
});
afterAll(async () => {
  await store?.close();
  await folder?.remove();
});

async function grow(tree: LogTree, to: number): Promise<void> {
  for (let index = Number(tree.size); index < to; index++) tree.append(entry(index));
  const tiles = tree.unwritten();
  await store.putTiles(tree.boot, tiles);
  tree.written(tiles);
}

/** Every hash tile, as the leaves alone say it. */
async function expectTiles(boot: LogTree['boot'], size: number): Promise<void> {
  const read = storedTiles(store, boot);
  for (const tile of tilesOf(BigInt(size))) {
    if (tile.level === 'entries') continue;
    const first = Number(tile.index) * 256;
    const expected = tile.level === 0 ? hashes.slice(first, first + tile.width) : await hashesFromBelow(tile, 0, read);
    expect(await read(tile)).toEqual(encodeTile(expected));
  }
}

describe('the tree of a boot', () => {
  it('has the same tiles and root however it grew, and goes on after a restart', async () => {
    const steps = fc.array(fc.integer({ min: 1, max: 600 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(steps, fc.boolean(), async (growth, restarts) => {
        const boot = newBoot();
        let tree = await LogTree.load(store, boot, 0n);
        let size = 0;
        for (const more of growth) {
          size += more;
          await grow(tree, size);
          expect(tree.unwritten()).toEqual([]);
          if (restarts) tree = await LogTree.load(store, boot, BigInt(size));
          expect(tree.root).toEqual(rootOf(size));
        }
        await expectTiles(boot, size);
      }),
      { numRuns: 20 },
    );
  });

  it('proves what it has, before and after it is written', async () => {
    const boot = newBoot();
    const tree = await LogTree.load(store, boot, 0n);
    await grow(tree, MOST - 600);
    for (let index = MOST - 600; index < MOST; index++) tree.append(entry(index));
    const newRoot = rootOf(MOST);
    for (const oldSize of [1, 255, 256, 257, 65_535, 65_536, MOST - 600, MOST - 1, MOST]) {
      const proof = await tree.prove(BigInt(oldSize), BigInt(MOST));
      verifyConsistency({
        oldSize: BigInt(oldSize),
        newSize: BigInt(MOST),
        oldRoot: rootOf(oldSize),
        newRoot,
        proof,
      });
    }
    // For a witness that is behind: to a size the tree has outgrown.
    const earlier = await tree.prove(300n, 65_540n);
    const sizes = { oldSize: 300n, newSize: 65_540n };
    verifyConsistency({ ...sizes, oldRoot: rootOf(300), newRoot: rootOf(65_540), proof: earlier });
    await grow(tree, MOST);
    const read = tileHashReader(BigInt(MOST), storedTiles(store, boot));
    for (const index of [0, 255, 256, 65_535, 65_536, MOST - 1]) {
      const proof = await proveInclusion(BigInt(index), BigInt(MOST), read);
      const leaf = { index: BigInt(index), size: BigInt(MOST), leafHash: leafHash(entry(index)) };
      verifyInclusion({ ...leaf, proof, root: newRoot });
    }
    await expectTiles(boot, MOST);
  });

  it('keeps what the database did not take', async () => {
    const tree = await LogTree.load(store, newBoot(), 0n);
    for (let index = 0; index < 300; index++) tree.append(entry(index));
    const lost = tree.unwritten();
    tree.append(entry(300));
    expect(tree.unwritten().map(({ level, index }) => [level, index])).toEqual([
      [0, 0n],
      [0, 1n],
      [1, 0n],
    ]);
    // Written as it was before: the edge has grown since and stays to be written.
    tree.written(lost);
    expect(tree.unwritten().map(({ level, index, hashes: { length } }) => [level, index, length])).toEqual([
      [0, 1n, 45 * 32],
    ]);
  });

  it('does not load what is not there', async () => {
    await expectCode(LogTree.load(store, newBoot(), 5n), 'log_unpublished');
  });
});
