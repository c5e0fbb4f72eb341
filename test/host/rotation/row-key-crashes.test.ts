/** A host that is killed while it replaces the row key, at every step that the database keeps. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Store } from '@quantumvault/host/store/store.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../support/temporary.ts';
import { FIRST, filledStore, isDone, openStore, rotatingHost, verifyAll, write } from './row-key-kit.ts';

const CHILD = join(import.meta.dirname, 'row-key-child.ts');
const COUNT = 6;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;

beforeEach(async () => {
  folder = await temporaryFolder();
  await (await filledStore(folder.path, COUNT)).close();
});
afterEach(() => folder.remove());

async function killedAt(...point: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, [CHILD, folder.path, ...point], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {},
  });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  expect([code, signal]).toEqual([null, 'SIGKILL']);
}

/** The host that is started next, on what is there. */
async function restarted(work: (store: Store, host: Awaited<ReturnType<typeof rotatingHost>>) => Promise<void>) {
  const store = await openStore(folder.path);
  const host = await rotatingHost(folder.path, store, { name: 'child' });
  try {
    await work(store, host);
  } finally {
    await host.close();
    await store.close();
  }
}

const all = [COUNT, COUNT, COUNT, COUNT];
const tables = ['wallets', 'creations', 'signals', 'replies'];
const points: [string, string, string, string][] = [
  ['nothing is begun', 'beginRowKey', 'before', '1'],
  ['it is begun', 'beginRowKey', 'after', '1'],
  ...tables.flatMap((table, index): [string, string, string, string][] => [
    [`${table} are not sealed anew`, 'replaceMacs', 'before', String(index + 1)],
    [`${table} are sealed anew`, 'replaceMacs', 'after', String(index + 1)],
  ]),
  ['all is sealed anew', 'finishRowKey', 'before', '1'],
  ['it is done', 'finishRowKey', 'after', '1'],
];

describe.each(points)('killed when %s', (what, operation, moment, which) => {
  const [isBegun, isOver] = [what !== 'nothing is begun', what === 'it is done'];

  it('everything verifies, everything can be written, and it ends by itself', async () => {
    await killedAt(operation, moment, which);
    await restarted(async (store, host) => {
      expect(host.keys.replaced !== undefined).toBe(isBegun && !isOver);
      expect(await verifyAll(store, host.keys.require())).toEqual(all);
      await write(host, store, 1, 2);
      host.rotation.start();
      // Nobody asks for it again.
      await isDone(host);
      const blobs = await store.getRowKeys();
      expect(toHex(blobs.current ?? FIRST) === toHex(FIRST)).toBe(!isBegun);
      expect(blobs).not.toHaveProperty('next');
      expect(await verifyAll(store, host.keys.require())).toEqual([COUNT, COUNT, COUNT, COUNT + 1]);
    });
    const retired = join(folder.path, 'child.retired');
    if (isBegun) expect(readFileSync(retired, 'utf8')).toBe(`${toHex(sha256(FIRST))}\n`);
    else expect(existsSync(retired)).toBe(false);
    await restarted(async (store, host) => {
      expect(host.keys.replaced).toBeUndefined();
      await verifyAll(store, host.keys.require());
    });
  }, 30_000);
});

it('killed again and again, it is a table further each time, and ends', async () => {
  for (const _ of tables.slice(1)) await killedAt('replaceMacs', 'after', '1');
  await restarted(async (store, host) => {
    host.rotation.start();
    await isDone(host);
    expect(host.rotation.report.resealed).toBe(COUNT);
    expect(await verifyAll(store, host.keys.require())).toEqual(all);
  });
}, 30_000);
