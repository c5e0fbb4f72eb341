/** Backups of the SQLite store: what they hold, what they cost, and what becomes of them when something is changed. */
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { restoreBackup } from '@quantumvault/host/cli/backup/restore.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import {
  type BackupKit,
  backupKit,
  DEPLOYMENT,
  filesIn,
  findBackup,
  flip,
  holdFolder,
  listBackups,
} from './backup-kit.ts';
import { key, leaf, NOW, row } from './store-fixtures.ts';

let kit: BackupKit;
beforeAll(async () => {
  kit = await backupKit();
});
afterAll(() => kit?.close());

describe('a backup', () => {
  it('holds the database, in files that are for their owner alone', async () => {
    const taken = await kit.take();
    expect(taken.manifest).toMatchObject({ number: 1, deployment: DEPLOYMENT, wallets: 2, leaves: 502, logs: [] });
    expect(taken.manifest.parts).toBeGreaterThan(4);
    expect(await kit.verify()).toMatchObject({ ok: true, manifest: { number: 1 } });
    for (const path of filesIn(kit.folder)) expect(statSync(path).mode & 0o777, path).toBe(0o600);
    expect(statSync(kit.folder).mode & 0o777).toBe(0o700);
    expect(filesIn(kit.folder).some((path) => path.includes('staging'))).toBe(false);
  });

  it('writes nothing but its manifest when nothing has changed', async () => {
    const before = filesIn(kit.folder);
    expect(await kit.take()).toMatchObject({ newParts: 0, newBytes: 0, manifest: { number: 2 } });
    expect(filesIn(kit.folder)).toHaveLength(before.length + 1);
  });

  it('writes of a small change the parts that it touched', async () => {
    await kit.sign(2, 600);
    const { newParts, manifest } = await kit.take();
    expect(newParts).toBeGreaterThan(0);
    expect(newParts).toBeLessThan(manifest.parts);
  });

  it('is of one moment, and neither freezes nor signatures wait for it', async () => {
    await kit.fill(1000);
    const during: Promise<unknown>[] = [];
    const ended: string[] = [];
    const { manifest } = await kit.take({
      // Pages are still to be copied when the first of these calls comes.
      onProgress: () => {
        if (during.length > 0) return;
        during.push(
          kit.store.latchFreeze({ scope: 'fleet', reason: 'now', latchedAt: NOW }).then(() => ended.push('freeze')),
          kit.sign(3, 601).then(() => ended.push('signature')),
        );
      },
    });
    await Promise.all(during);
    expect(ended.sort()).toEqual(['freeze', 'signature']);
    const kept = await restored(kit, manifest.number);
    try {
      expect(await kept.store.getFreezes()).toEqual([]);
      expect((await kept.store.getWallet(key(20)))?.stateVersion).toBe(2n);
    } finally {
      await kept.store.close();
    }
    expect(await kit.store.getFreezes()).toHaveLength(1);
    await kit.store.clearFreeze('fleet', undefined);
  });

  it('that is still being read lets a freeze be written', async () => {
    // What a backup holds while it copies: a read transaction, for as long as it takes.
    const reader = new DatabaseSync(kit.database);
    try {
      reader.exec('BEGIN');
      reader.prepare('SELECT count(*) FROM wallets').get();
      await kit.store.latchFreeze({ scope: 'fleet', reason: 'now', latchedAt: NOW });
      expect(reader.prepare('SELECT count(*) AS count FROM freezes').get()).toEqual({ count: 0 });
      expect(await kit.store.getFreezes()).toHaveLength(1);
    } finally {
      reader.close();
    }
    await kit.store.clearFreeze('fleet', undefined);
  });

  it('waits for no other one in the same folder', async () => {
    const refusal = await expectCode(
      holdFolder(kit.folder, () => kit.take()),
      'output_unwritable',
    );
    expect(refusal.facts.value).toContain('another qv backup');
  });

  it('is none of another deployment, or of a folder or file of another one', async () => {
    await expectCode(kit.take({ deployment: 'elsewhere' }), 'config_invalid');
    await expectCode(kit.take({ deployment: 'elsewhere', folder: join(kit.dir, 'other') }), 'config_invalid');
    expect(await listBackups(join(kit.dir, 'other'))).toEqual([]);
    await expectCode(kit.take({ database: join(kit.dir, 'none.db') }), 'input_unreadable');
    await expectCode(kit.take({ database: kit.dir }), 'input_unreadable');
    writeFileSync(join(kit.dir, 'text'), 'x'.repeat(5000));
    await expectCode(kit.take({ database: join(kit.dir, 'text') }), 'store_unavailable');
    new DatabaseSync(join(kit.dir, 'newer.db')).exec('PRAGMA user_version = 9999');
    await expectCode(kit.take({ database: join(kit.dir, 'newer.db') }), 'store_unavailable');
    const fresh = await openSqliteStore({ path: join(kit.dir, 'fresh.db'), log: silentLog });
    await fresh.close();
    await expectCode(kit.take({ database: join(kit.dir, 'fresh.db') }), 'not_initialised');
  });

  it('makes room for the newest ones, and only those that nobody needs go', async () => {
    const before = filesIn(kit.folder).length;
    const { removedBackups, freedBytes } = await kit.take({ keep: 2 });
    expect(removedBackups.length).toBeGreaterThan(1);
    expect(freedBytes).toBeGreaterThan(0);
    expect(filesIn(kit.folder).length).toBeLessThan(before);
    const left = await listBackups(kit.folder);
    expect(left).toHaveLength(2);
    for (const { number } of left) expect(await kit.verify({ number })).toMatchObject({ ok: true });
    await expectCode(findBackup(kit.folder, 1), 'backup_unknown');
    expect(await kit.verify({ number: 1 })).toMatchObject({ ok: false, error: { code: 'backup_unknown' } });
    expect(await kit.verify({ folder: join(kit.dir, 'nowhere') })).toMatchObject({ error: { code: 'backup_unknown' } });
  });
});

describe('a backup that was changed', () => {
  /** A copy of the folder, changed; the code it is refused with, and where. */
  async function refused(change: (folder: string) => void): Promise<string> {
    const folder = join(kit.dir, 'changed');
    cpSync(kit.folder, folder, { recursive: true });
    try {
      change(folder);
      const { ok, error } = await kit.verify({ folder });
      expect(ok).toBe(false);
      noteCode(error?.code ?? '');
      expect(await restoreTo(join(kit.dir, 'refused.db'), folder)).toMatchObject({ ok: false });
      expect(statSync(join(kit.dir, 'refused.db'), { throwIfNoEntry: false })).toBeUndefined();
      return `${error?.code} ${error?.path}`;
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  const restoreTo = (database: string, folder: string) =>
    restoreBackup({ folder, database, deployment: DEPLOYMENT, wallets: [] });
  const newest = async (): Promise<string> => (await findBackup(kit.folder)).name;

  it('is found out by one bit of any file', async () => {
    const { name } = await findBackup(kit.folder);
    const named = filesIn(kit.folder).filter((path) => path.includes('/parts/') || path.endsWith(name));
    // Those of the earlier backup alone do not concern this one.
    let found = 0;
    for (const path of named) {
      const folder = join(kit.dir, 'bit');
      cpSync(kit.folder, folder, { recursive: true });
      flip(path.replace(kit.folder, folder));
      const { ok, error } = await kit.verify({ folder });
      if (!ok) {
        expect(error?.code).toBe('backup_damaged');
        expect(error?.path).toContain(path.split('/').at(-1));
        found++;
      }
      rmSync(folder, { recursive: true });
    }
    expect(found).toBeGreaterThan(named.length / 2);
  }, 60_000);

  it('is found out by a part that is gone, cut short, or longer', async () => {
    const changed = async (change: (path: string) => void): Promise<string> => {
      const { manifest } = await kit.verify();
      const list = manifest?.list[0] ?? '';
      return refused((folder) => change(join(folder, 'parts', list.slice(0, 2), list)));
    };
    expect(await changed((path) => rmSync(path))).toContain('backup_damaged parts/');
    expect(await changed((path) => truncateSync(path, 32))).toContain('backup_damaged parts/');
    expect(await changed((path) => truncateSync(path, 300_000))).toContain('backup_damaged parts/');
  });

  it('is found out by a manifest that is none, under a name that fits it', async () => {
    const rewrite = async (edit: (text: string) => string): Promise<string> => {
      const name = await newest();
      return refused((folder) => {
        const path = join(folder, 'backups', name);
        const edited = edit(readFileSync(path, 'utf8'));
        rmSync(path);
        const sha256 = createHash('sha256').update(edited).digest('hex');
        writeFileSync(join(folder, 'backups', `${name.slice(0, 6)}.${sha256}.json`), edited);
      });
    };
    expect(await rewrite(() => '{}')).toContain('backup_damaged backups/');
    expect(await rewrite((text) => text.replace('"number": ', '"number": 1'))).toContain('backup_damaged backups/');
    expect(await rewrite((text) => text.replace('"parts": ', '"parts": 1'))).toBe('backup_damaged list');
    expect(await rewrite((text) => text.replace('"bytes": ', '"bytes": 1'))).toBe('backup_damaged parts');
    expect(await rewrite((text) => text.replace('"wallets": ', '"wallets": 1'))).toBe('backup_damaged wallets');
    expect(await rewrite((text) => text.replace(`"${DEPLOYMENT}"`, '"elsewhere"'))).toBe('backup_damaged deployment');
    expect(await rewrite((text) => text.replace(/"takenAt": "[^"]+"/, '"takenAt": "now"'))).toContain('backups/');
    expect(await rewrite((text) => text.replace('"list": [', '"list": ["../../etc/passwd",'))).toContain('backups/');
  }, 60_000);
});

describe('a database that nobody’s host would leave', () => {
  async function refusal(edit: (database: DatabaseSync) => void): Promise<string> {
    const path = join(kit.dir, 'edited.db');
    const folder = join(kit.dir, 'edited');
    await kit.store.ping();
    const source = new DatabaseSync(kit.database);
    source.exec(`VACUUM INTO '${path}'`);
    source.close();
    const database = new DatabaseSync(path, { enableForeignKeyConstraints: false });
    edit(database);
    database.close();
    try {
      await kit.take({ database: path, folder });
      const { ok, error } = await kit.verify({ folder });
      expect(ok).toBe(false);
      return `${error?.code} ${error?.path}: ${error?.value}`;
    } finally {
      rmSync(path);
      rmSync(folder, { recursive: true });
    }
  }

  it('is refused for code in it, other tables, and rows that are none', async () => {
    expect(
      await refusal((db) => db.exec('CREATE TRIGGER t AFTER INSERT ON leaves BEGIN DELETE FROM freezes; END')),
    ).toContain('backup_damaged database: it has triggers');
    expect(await refusal((db) => db.exec('CREATE TABLE more (x)'))).toContain('its tables are not those');
    expect(await refusal((db) => db.exec('DROP INDEX replies_by_expiry'))).toContain('its tables are not those');
    expect(await refusal((db) => db.exec('DELETE FROM wallets'))).toContain('foreign_key_check');
    expect(await refusal((db) => db.exec("DELETE FROM meta WHERE name = 'row-key'"))).toContain('backup_damaged meta');
    const path = `backup_damaged wallets.${key(20)}`;
    for (const column of ['salt', 'sealed_seed', 'execution_key', 'row_mac', 'sealed_state'])
      expect(
        await refusal((db) => db.exec(`UPDATE wallets SET ${column} = x'' WHERE wallet = '${key(20)}'`)),
      ).toContain(path);
    expect(
      await refusal((db) =>
        db.exec(`UPDATE wallets SET policy = x'00', policy_mac = row_mac WHERE wallet = '${key(20)}'`),
      ),
    ).toContain(path);
    const logs = "INSERT INTO logs (boot, size, checkpoint) VALUES ('";
    expect(await refusal((db) => db.exec(`${logs}${leaf(0).boot}', 1, CAST('no note' AS BLOB))`))).toContain(
      'log_note_malformed',
    );
  }, 60_000);
});

describe('a restore', () => {
  const to = (database: string, change = {}) =>
    restoreBackup({ folder: kit.folder, database, deployment: DEPLOYMENT, wallets: [], ...change });

  it('puts in place what was backed up, for the host’s user alone', async () => {
    const { store, path } = await restored(kit);
    try {
      expect(statSync(path).mode & 0o777).toBe(0o600);
      expect((await store.getWallet(key(21)))?.owner).toBe(row(key(21)).owner);
      expect(await store.getLeaves(leaf(0).boot, 0n, 3)).toHaveLength(3);
    } finally {
      await store.close();
    }
  });

  it('replaces nothing, not even an empty file', async () => {
    const path = join(kit.dir, 'there.db');
    for (const suffix of ['', '-wal', '-shm', '-journal']) {
      writeFileSync(path + suffix, '');
      await expectCode(to(path), 'restore_not_empty');
      rmSync(path + suffix);
    }
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is none for another deployment, and none without the wallets that have to be in it', async () => {
    const path = join(kit.dir, 'not.db');
    await expectCode(to(path, { deployment: 'elsewhere' }), 'config_invalid');
    expect(await to(path, { wallets: [key(99)] })).toMatchObject({ ok: false, error: { code: 'wallet_unknown' } });
    expect(await to(join(kit.dir, 'w.db'), { wallets: [key(20)] })).toMatchObject({ ok: true });
    await expectCode(to(join(kit.dir, 'no', 'folder', 'x.db')), 'output_unwritable');
    expect(statSync(path, { throwIfNoEntry: false })).toBeUndefined();
  });
});

let restores = 0;
async function restored(from: BackupKit, number?: number) {
  const path = join(from.dir, `restored-${++restores}.db`);
  const request = { folder: from.folder, database: path, deployment: DEPLOYMENT, wallets: [] };
  expect(await restoreBackup({ ...request, ...(number !== undefined && { number }) })).toMatchObject({ ok: true });
  return { path, store: await openSqliteStore({ path, log: silentLog }) };
}
