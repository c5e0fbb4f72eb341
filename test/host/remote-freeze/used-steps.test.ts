import { join } from 'node:path';
import { silentLog } from '@quantumvault/host/log.ts';
import { UsedSteps } from '@quantumvault/host/remote-freeze/used-steps.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder, until } from '../../support/temporary.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let store: Store;
const made: UsedSteps[] = [];
const open = () => openSqliteStore({ path: join(folder.path, 'host.db'), log: silentLog });
function steps(over: Store = store): UsedSteps {
  const used = new UsedSteps(over, silentLog);
  made.push(used);
  return used;
}

beforeEach(async () => {
  folder = await temporaryFolder();
  store = await open();
});
afterEach(async () => {
  for (const used of made.splice(0)) used.close();
  await store.close();
  await folder.remove();
});

describe('a time step', () => {
  it('counts once, and none before it counts any more', async () => {
    const used = steps();
    expect(await used.use('ann', 100)).toBe(true);
    expect(await used.use('ann', 100)).toBe(false);
    expect(await used.use('ann', 99)).toBe(false);
    expect(await used.use('bob', 99)).toBe(true);
    expect(await used.use('ann', 101)).toBe(true);
  });

  it('counts for one of many at once: of one process, and of several on one database', async () => {
    const wins = async (all: readonly UsedSteps[], step: number) =>
      (await Promise.all(Array.from({ length: 20 }, (_, n) => all[n % all.length]?.use('ann', step)))).filter(Boolean);
    expect(await wins([steps()], 100)).toHaveLength(1);
    const other = await open();
    expect(await wins([steps(), steps(), steps(other), steps(other)], 101)).toHaveLength(1);
    await other.close();
  });

  it('stays used across a restart', async () => {
    expect(await steps().use('ann', 100)).toBe(true);
    await store.close();
    store = await open();
    const again = steps();
    expect(await again.use('ann', 100)).toBe(false);
    expect(await again.use('ann', 99)).toBe(false);
    expect(await again.use('ann', 101)).toBe(true);
  });

  it('counts while the database refuses or hangs, once all the same, and is written when it can be', async () => {
    let broken = true;
    const failing: Store = {
      ...store,
      useTotpStep: (login, step) =>
        broken ? Promise.reject(new QvError('store_unavailable')) : store.useTotpStep(login, step),
    };
    const used = steps(failing);
    expect(await used.use('ann', 100)).toBe(true);
    expect(await used.use('ann', 100)).toBe(false);
    expect(await used.use('ann', 101)).toBe(true);
    broken = false;
    await until('it is written', async () => !(await store.useTotpStep('ann', 101)));

    const hanging = steps({ ...store, useTotpStep: () => new Promise(() => {}) });
    const started = performance.now();
    const both = await Promise.all([hanging.use('eve', 7), hanging.use('eve', 7)]);
    expect(both.filter(Boolean)).toHaveLength(1);
    expect(performance.now() - started).toBeLessThan(3_000);
  });
});
