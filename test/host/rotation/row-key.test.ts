/** A row key that is replaced: everything is sealed anew, and nobody waits for it. */
import type { Store } from '@quantumvault/host/store/store.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { bytes } from '../store-fixtures.ts';
import {
  FIRST,
  fill,
  filledStore,
  isDone,
  type RotatingHost,
  rotatingHost,
  sql,
  verifyAll,
  walletOf,
  write,
} from './row-key-kit.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let store: Store;
const hosts: RotatingHost[] = [];
const COUNT = LIMITS.rowKeyPage + 10;

beforeEach(async () => {
  folder = await temporaryFolder();
  store = await filledStore(folder.path, COUNT);
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
  await store.close();
  await folder.remove();
});

async function host(name: string, wrap?: (inner: Store) => Store): Promise<RotatingHost> {
  const made = await rotatingHost(folder.path, store, { name, ...(wrap && { wrap }) });
  hosts.push(made);
  return made;
}

async function started(name = 'one', wrap?: (inner: Store) => Store): Promise<RotatingHost> {
  const made = await host(name, wrap);
  made.rotation.start();
  return made;
}

/** Each table has so many records, all of them under the one key that counts. */
async function expectAll(of: RotatingHost, counts: number | readonly number[] = COUNT): Promise<void> {
  const wanted = typeof counts === 'number' ? [counts, counts, counts, counts] : counts;
  expect(await verifyAll(store, of.keys.require())).toEqual(wanted);
  expect(of.keys.replaced).toBeUndefined();
  const fresh = await host(`fresh-${hosts.length}`);
  expect(await verifyAll(store, fresh.keys.require())).toEqual(wanted);
}

describe('replacing the row key', () => {
  it('seals all of every table anew, says so, and does nothing more', async () => {
    const one = await started();
    const before = one.rotation.report;
    expect(before).toMatchObject({
      state: 'current',
      since: null,
      replaces: null,
      examined: 0,
      resealed: 0,
      fault: null,
    });
    expect(await one.rotation.begin()).toBe(true);
    expect(one.rotation.report).toMatchObject({ state: 'replacing', replaces: before.key });
    await isDone(one);
    expect(one.rotation.report).toMatchObject({
      state: 'current',
      replaces: null,
      resealed: 4 * COUNT,
      editedCount: 0,
    });
    // The pass that found nothing, too.
    expect(one.rotation.report.examined).toBe(8 * COUNT);
    expect(one.rotation.report.key).not.toBe(before.key);
    expect(one.rotation.report.since).toMatch(/^20\d\d-/);
    await expectAll(one);
    expect(await store.getRowKeys()).not.toHaveProperty('next');
    expect(toHex((await store.getRowKeys()).current ?? FIRST)).not.toBe(toHex(FIRST));
    // And once more, with nothing left of the first one anywhere.
    expect(await one.rotation.begin()).toBe(true);
    await isDone(one);
    expect(one.rotation.report).toMatchObject({ resealed: 4 * COUNT });
    await expectAll(one);
  });

  it('leaves what is written meanwhile to who writes it, and new records too', async () => {
    const one = await started();
    const other = await host('other');
    let isOver = false;
    let version = 1;
    let made = COUNT;
    const writers = [one, other].map(async (writer) => {
      while (!isOver) await write(writer, store, version % COUNT, ++version);
    });
    const makers = [one, other].map(async ({ keys }) => {
      while (!isOver) {
        const number = made++;
        await keys.writing(() => fill(store, keys.require(), number));
      }
    });
    for (let round = 0; round < 3; round++) {
      await one.rotation.begin();
      await isDone(one);
    }
    isOver = true;
    await Promise.all([...writers, ...makers]);
    expect(version).toBeGreaterThan(50);
    expect(made).toBeGreaterThan(COUNT);
    await other.keys.look();
    const [wallets = 0, creations, signals, replies = 0] = await verifyAll(store, one.keys.require());
    expect([wallets, creations, signals]).toEqual([made, made, made]);
    expect(replies).toBeGreaterThanOrEqual(made);
    // No state went back, whoever sealed it.
    const versions = await store.getStateVersions([...Array(COUNT).keys()].map(walletOf));
    const written = new Map<number, number>();
    for (let at = 1; at < version; at++) written.set(at % COUNT, at + 1);
    for (const [number, last] of written)
      expect(Number(versions.get(walletOf(number)))).toBeGreaterThanOrEqual(last - COUNT);
  });

  it('by two hosts at once is done once, by both', async () => {
    const [one, other] = [await started('one'), await started('other')];
    await Promise.all([one.rotation.begin(), other.rotation.begin()]);
    await Promise.all([one, other].map(({ keys }) => keys.look()));
    await Promise.all([isDone(one), isDone(other)]);
    await other.keys.look();
    expect(one.rotation.report.key).toBe(other.rotation.report.key);
    expect(one.rotation.report.resealed + other.rotation.report.resealed).toBe(4 * COUNT);
    expect([...one.tampered, ...other.tampered]).toEqual([]);
    await expectAll(other);
  });

  it('takes records of before keys had ids along', async () => {
    sql(folder.path, 'UPDATE wallets SET row_mac = substr(row_mac, 9)');
    sql(folder.path, 'UPDATE signals SET mac = substr(mac, 9)');
    for (const table of ['creations', 'replies']) sql(folder.path, `UPDATE ${table} SET reply = substr(reply, 17)`);
    const one = await started();
    await one.rotation.begin();
    await isDone(one);
    await expectAll(one);
  });

  it('waits for a database that is down, and for an enclave, and goes on', async () => {
    let isDown = false;
    const one = await started('one', (inner) => ({
      ...inner,
      replaceMacs: async (changes) => {
        if (isDown) throw Object.assign(new Error('down'), { code: 'store_unavailable' });
        return inner.replaceMacs(changes);
      },
    }));
    isDown = true;
    await one.rotation.begin();
    await until('it says what it waits for', () => one.rotation.report.fault !== null);
    expect(one.rotation.report.state).toBe('replacing');
    // The enclave is asked for nothing once the keys are there.
    one.refuses = 'enclave_unavailable';
    isDown = false;
    await isDone(one);
    expect(one.rotation.report.fault).toBeNull();
    await expectAll(one);
  });
});

describe('a row that somebody edited', () => {
  const edit = (number: number): void =>
    sql(folder.path, 'UPDATE wallets SET sealed_state = ? WHERE wallet = ?', bytes(90, 66), walletOf(number));
  const isHeldUp = (one: RotatingHost) =>
    until('it is held up', () => one.rotation.report.state === 'edited' && one.rotation.report.editedCount > 0);

  it('before or during it, is refused under either key, named, and holds the end up until it is mended', async () => {
    const good = await store.getWallet(walletOf(1));
    edit(1);
    const one = await started();
    await one.rotation.begin();
    await isHeldUp(one);
    expect(one.rotation.report).toMatchObject({ edited: [walletOf(1)], editedCount: 1 });
    expect(one.tampered).toEqual([walletOf(1)]);
    await expectCode(write(one, store, 1, 9), 'row_tampered');
    await write(one, store, 2, 9);
    expect(await store.getRowKeys()).toMatchObject({ current: FIRST });
    sql(folder.path, 'UPDATE wallets SET sealed_state = ? WHERE wallet = ?', good?.sealedState ?? FIRST, walletOf(1));
    // Without waiting for the next look.
    await one.rotation.begin();
    await isDone(one);
    await expectAll(one, [COUNT, COUNT, COUNT, COUNT + 1]);
  });

  it('is left behind when an operator says so, and stays refused', async () => {
    edit(1);
    sql(folder.path, "UPDATE creations SET reply = reply || ' ' WHERE wallet = ?", walletOf(2));
    const one = await started();
    await one.rotation.begin();
    await isHeldUp(one);
    expect([...one.rotation.report.edited].sort()).toEqual([walletOf(1), walletOf(2)].sort());
    one.rotation.leaveEdited();
    await isDone(one);
    expect(one.rotation.report).toMatchObject({ editedCount: 0 });
    await expectCode(write(one, store, 1, 9), 'row_tampered');
    await write(one, store, 2, 9);
    // The next one is not told that it may.
    await one.rotation.begin();
    await isHeldUp(one);
  });

  it('of those that expire does not hold it up, and stays refused', async () => {
    sql(folder.path, "UPDATE signals SET body = x'00' WHERE id = 'signal-3'");
    sql(folder.path, 'UPDATE replies SET status = 201 WHERE wallet = ?', walletOf(4));
    const one = await started();
    await one.rotation.begin();
    await isDone(one);
    expect(one.tampered).toEqual([]);
    await expectCode(verifyAll(store, one.keys.require()), 'row_tampered');
    sql(folder.path, "DELETE FROM signals WHERE id = 'signal-3'");
    sql(folder.path, 'DELETE FROM replies WHERE wallet = ?', walletOf(4));
    await expectAll(one, [COUNT, COUNT, COUNT - 1, COUNT - 1]);
  });

  it('between being read and being written is not sealed anew', async () => {
    let edits = 0;
    const one = await started('one', (inner) => ({
      ...inner,
      replaceMacs: async (changes) => {
        if (edits++ === 0) {
          const [{ from }] = changes as [(typeof changes)[0]];
          if (from.table !== 'wallets') throw new Error('wallets come first');
          // All of the row as its editor likes it, MAC included.
          sql(
            folder.path,
            'UPDATE wallets SET sealed_seed = ?, row_mac = ? WHERE wallet = ?',
            bytes(72, 1),
            bytes(40, 1),
            from.record.wallet,
          );
        }
        return inner.replaceMacs(changes);
      },
    }));
    await one.rotation.begin();
    await isHeldUp(one);
    expect(one.rotation.report.editedCount).toBe(1);
  });
});
