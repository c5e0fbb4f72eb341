import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { hash } from '@quantumvault/shared/brands.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { temporaryFolder, until } from '../support/temporary.ts';
import { BOOT, insert, key, leaf, NOW, row, signed } from './store-fixtures.ts';
import { storeSuite } from './store-suite.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let made = 0;
const fresh = (): string => join(folder.path, `${++made}.db`);
const openAt = (
  path: string,
  more: { queue?: number; timeoutMilliseconds?: number; busyMilliseconds?: number } = {},
): Promise<Store> => openSqliteStore({ path, log: silentLog, busyMilliseconds: 100, ...more });

beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

/** Somebody else on the file, keeping everyone out. */
function lockOut(path: string): () => void {
  const other = new DatabaseSync(path);
  other.exec('BEGIN IMMEDIATE');
  return () => {
    other.exec('ROLLBACK');
    other.close();
  };
}

/** The longest time the main thread was kept from its timers meanwhile, in milliseconds. */
async function longestStall(work: Promise<unknown>): Promise<number> {
  let longest = 0;
  let last = performance.now();
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 5);
  await work;
  clearInterval(timer);
  return longest;
}

describe('SQLite store', () => {
  storeSuite(() => openAt(fresh()));

  it('a locked database refuses writes, stalls nobody and takes them again afterwards', async () => {
    const path = fresh();
    const store = await openAt(path, { busyMilliseconds: 1_500 });
    await store.insertWallet(insert(key(1), 1, 0));
    const unlock = lockOut(path);
    const refused = expectCode(store.applySigned(signed(key(1), 2)), 'store_unavailable');
    // Far less than the database thread waits for the lock, also on a busy machine.
    expect(await longestStall(refused)).toBeLessThan(750);
    // Readers of a write-ahead log go on.
    expect(await store.getWallet(key(1))).toMatchObject({ stateVersion: 1n });
    unlock();
    expect(await store.applySigned(signed(key(1), 2))).toBe('applied');
    await store.close();
  });

  it('writes that were queued behind a lock share their refusal', async () => {
    const path = fresh();
    const store = await openAt(path);
    await store.insertWallet(insert(key(1), 1, 0));
    const unlock = lockOut(path);
    const started = performance.now();
    const all = await Promise.allSettled(Array.from({ length: 200 }, (_, index) => store.putLeaves([leaf(index + 1)])));
    expect(all.every((outcome) => outcome.status === 'rejected')).toBe(true);
    // One busy timeout for the group, not one for each.
    expect(performance.now() - started).toBeLessThan(2_000);
    unlock();
    expect(await store.getLeaves(BOOT, 0n, 10)).toHaveLength(1);
    await store.close();
  });

  it('is overloaded beyond its queue', async () => {
    const store = await openAt(fresh(), { queue: 3 });
    const three = [1, 2, 3].map((sequence) => store.putLeaves([leaf(sequence)]));
    await expectCode(store.putLeaves([leaf(4)]), 'overloaded');
    await Promise.all(three);
    await store.putLeaves([leaf(4)]);
    await store.close();
  });

  it('has room in a full queue for freezes and panic codes, which are done first, and bounds those as well', async () => {
    const store = await openAt(fresh(), { queue: 1_000 });
    const [code, scope] = [hash(new Uint8Array(32).fill(7)), 'fleet'];
    await store.insertWallet(insert(key(1), 1, 0));
    await store.putPanicCode({ wallet: key(1), hash: code });
    let done = 0;
    const reads = Array.from({ length: 1_000 }, () => store.getWallet(key(1)).then(() => done++));
    for (const refused of [store.getWallet(key(1)), store.ping(), store.putLeaves([leaf(1)])])
      await expectCode(refused, 'overloaded');
    const latched = store.latchFreeze({ scope, reason: 'test', latchedAt: NOW });
    expect(await store.useTotpStep('ann', 1)).toBe(true);
    expect(await store.findPanicCode(code)).toMatchObject({ wallet: key(1) });
    await latched;
    expect(await store.getFreezes()).toMatchObject([{ scope }]);
    await store.clearFreeze(scope, undefined);
    expect(await store.getFreezes()).toEqual([]);
    await Promise.all(reads);
    expect(done).toBe(1_000);
    const urgent = Array.from({ length: 1_000 + LIMITS.storeQueueReserved }, () => store.findPanicCode(code));
    await expectCode(store.findPanicCode(code), 'overloaded');
    await Promise.all(urgent);
    await store.close();
  });

  it('does what the stop button needs before what has waited for longer', async () => {
    const path = fresh();
    const store = await openAt(path, { busyMilliseconds: 500 });
    await store.insertWallet(insert(key(1), 1, 0));
    const unlock = lockOut(path);
    const writing = expectCode(store.putLeaves([leaf(1)]), 'store_unavailable');
    const answered: string[] = [];
    const reads = Array.from({ length: 600 }, () => store.getWallet(key(1)).then(() => answered.push('read')));
    const found = store.findPanicCode(hash(new Uint8Array(32))).then(() => answered.push('panic code'));
    await Promise.all([writing, ...reads, found]);
    expect(answered.indexOf('panic code')).toBeLessThan(LIMITS.storeBatch);
    unlock();
    await store.close();
  });

  it('answers store_unavailable when the thread takes too long', async () => {
    const path = fresh();
    const store = await openSqliteStore({ path, log: silentLog, busyMilliseconds: 500, timeoutMilliseconds: 50 });
    const unlock = lockOut(path);
    await expectCode(store.putLeaves([leaf(1)]), 'store_unavailable');
    unlock();
    await store.close();
  });

  it('commits in groups: a thousand writes need far fewer commits than a thousand', async () => {
    const path = fresh();
    const store = await openAt(path);
    await store.insertWallet(insert(key(1), 1, 0));
    const counter = new DatabaseSync(path);
    const version = () => Number(counter.prepare('PRAGMA data_version').get()?.['data_version']);
    const versions = new Set([version()]);
    const writes = Array.from({ length: 1000 }, (_, index) =>
      store.applySigned(signed(key(1), index + 2)).then((outcome) => {
        versions.add(version());
        return outcome;
      }),
    );
    expect(new Set(await Promise.all(writes))).toEqual(new Set(['applied']));
    expect(versions.size).toBeLessThan(100);
    expect(await store.getWallet(key(1))).toMatchObject({ stateVersion: 1001n });
    counter.close();
    await store.close();
  });

  it('keeps every answered write when the process is killed', async () => {
    const path = fresh();
    const child = spawn(process.execPath, [join(import.meta.dirname, '../support/store-load.ts'), path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let printed = '';
    child.stdout.on('data', (chunk) => {
      printed += chunk;
    });
    await until('it wrote a while', () => printed.split('\n').length > 200, 20_000);
    child.kill('SIGKILL');
    await once(child, 'close');
    const answered = printed.split('\n').slice(0, -1).map(Number);
    const store = await openAt(path);
    const kept = await store.getWallet(key(1));
    expect(Number(kept?.stateVersion)).toBeGreaterThanOrEqual(Math.max(...answered));
    const leaves = new Set((await store.getLeaves(BOOT, 0n, 100_000)).map(({ sequence }) => Number(sequence)));
    expect(answered.filter((version) => !leaves.has(version))).toEqual([]);
    for (const version of answered.slice(-20)) {
      expect(await store.getReply(key(1), key(8), `id-${version}`, NOW)).toBeDefined();
    }
    await store.close();
    const database = new DatabaseSync(path);
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
    expect(database.prepare('PRAGMA foreign_key_check').all()).toEqual([]);
    database.close();
  });

  it('finishes what is queued when it closes', async () => {
    const path = fresh();
    const store = await openAt(path);
    const writes = Array.from({ length: 600 }, (_, index) => store.putLeaves([leaf(index)]));
    await store.close();
    await Promise.all(writes);
    const again = await openAt(path);
    expect(await again.getLeaves(BOOT, 0n, 1000)).toHaveLength(600);
    await again.close();
    expect(existsSync(`${path}-wal`)).toBe(false);
  });

  it('fills in what an older release did not write, also beside a leaf that somebody edited', async () => {
    const path = fresh();
    const store = await openAt(path);
    const facts = { boot: BOOT, time: NOW, requestId: 'asked', wallet: key(1), actor: key(8) } as const;
    const decisions = (['denied', 'signed', 'denied'] as const).map((kind, at) => ({
      ...leaf(at),
      leaf: encodeLeaf({ ...facts, sequence: BigInt(at), kind }),
    }));
    for (const record of [...decisions, leaf(3)]) await store.putLeaves([record]);
    await store.insertWallet(insert(key(1), 1, 4));
    await store.close();
    const database = new DatabaseSync(path);
    database.exec(`DROP INDEX leaves_by_request;
      ALTER TABLE leaves DROP COLUMN wallet; ALTER TABLE leaves DROP COLUMN requester;
      ALTER TABLE leaves DROP COLUMN signed;
      DROP TABLE totp_steps; DROP TABLE panic_codes; DROP TABLE signals; DROP TABLE history;
      DROP INDEX wallets_without_second;
      ALTER TABLE wallets DROP COLUMN second_sealed; ALTER TABLE wallets DROP COLUMN second_key;
      ALTER TABLE wallets DROP COLUMN retired; ALTER TABLE wallets DROP COLUMN rotated_at;
      ALTER TABLE freezes DROP COLUMN boot; ALTER TABLE freezes DROP COLUMN freeze_id; CREATE INDEX leaves_by_request ON leaves (request_id);
      UPDATE leaves SET request_id = 'asked' WHERE sequence < 3; PRAGMA user_version = 2`);
    database.close();
    const again = await openAt(path);
    expect(await again.findDecisions('asked', key(1), key(8))).toEqual([decisions[1]]);
    expect(await again.getLeaves(BOOT, 3n, 1)).toEqual([leaf(3)]);
    expect(await again.getWallet(key(1))).toEqual(row(key(1)));
    // The leaf that does not decode has no place in it.
    expect(await again.findHistory({ wallet: key(1), count: 9 })).toEqual({ leaves: decisions.toReversed() });
    await again.close();
  });

  it('refuses a file that is no database, a folder that is not there, and a newer schema', async () => {
    const garbage = fresh();
    writeFileSync(garbage, 'no database at all, however long this text may be');
    await expectCode(openAt(garbage), 'store_unavailable');
    await expectCode(openAt('/nonexistent/folder/host.db'), 'store_unavailable');
    const newer = fresh();
    await (await openAt(newer)).close();
    const database = new DatabaseSync(newer);
    database.exec('PRAGMA user_version = 99');
    database.close();
    await expectCode(openAt(newer), 'store_unavailable');
  });
});
