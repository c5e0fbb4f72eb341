/** Backups and restores that are killed at random moments, and backups that an earlier release made. */
import { spawn } from 'node:child_process';
import { createHash, randomInt } from 'node:crypto';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { writeManifest } from '@quantumvault/host/cli/backup/folder.ts';
import { PartWriter } from '@quantumvault/host/cli/backup/parts.ts';
import { restoreBackup } from '@quantumvault/host/cli/backup/restore.ts';
import { migrate, SCHEMA_VERSION } from '@quantumvault/host/store/sqlite-schema.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type BackupKit, backupKit, DEPLOYMENT, filesIn, listBackups } from './backup-kit.ts';
import { NOW } from './store-fixtures.ts';

const CHILD = join(import.meta.dirname, 'backup-child.ts');

let kit: BackupKit;
beforeAll(async () => {
  kit = await backupKit();
  await kit.take();
});
afterAll(() => kit?.close());

describe('killed at any moment', () => {
  const ROUNDS = 12;

  it('a backup leaves all of those before it, and the next one goes through', async () => {
    const folder = join(kit.dir, 'killed');
    let completed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      await kit.fill(10_000 + 100 * round);
      const child = spawn(process.execPath, [CHILD, 'backup', kit.database, folder, DEPLOYMENT], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const exited = new Promise((resolve) => child.once('exit', resolve));
      // It has begun to work once it has told of one; in the first rounds it dies before that.
      if (round >= 3) await new Promise((resolve) => child.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, round < 3 ? 100 + randomInt(300) : randomInt(60)));
      child.kill('SIGKILL');
      await exited;
      const listed = await listBackups(folder).catch(() => []);
      completed = Math.max(completed, listed.length);
      for (const { number } of listed) expect(await kit.verify({ folder, number })).toMatchObject({ ok: true });
    }
    expect(completed).toBeGreaterThan(0);
    const last = await kit.take({ folder, keep: 1 });
    expect(await kit.verify({ folder })).toMatchObject({ ok: true, manifest: { number: last.manifest.number } });
    // Nothing is left of those that were killed.
    const files = filesIn(folder).filter((path) => path.includes('/parts/'));
    expect(files).toHaveLength(new Set(files).size);
    expect(files.length).toBeLessThanOrEqual(last.manifest.parts + last.manifest.list.length);
    expect(filesIn(folder).filter((path) => /staging|\.part$/.test(path))).toEqual([]);
  }, 120_000);

  it('a restore leaves a whole database or none, and the next one goes through', async () => {
    const path = join(kit.dir, 'killed.db');
    let killedBefore = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const child = spawn(process.execPath, [CHILD, 'restore', path, kit.folder, DEPLOYMENT], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      const exited = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, round < 2 ? 0 : randomInt(250)));
      child.kill('SIGKILL');
      await exited;
      if (statSync(path, { throwIfNoEntry: false }) === undefined) {
        killedBefore++;
        continue;
      }
      const { manifest } = await kit.verify();
      expect(createHash('sha256').update(readFileSync(path)).digest('hex')).toBe(manifest?.sha256);
      rmSync(path);
    }
    expect(killedBefore).toBeGreaterThan(0);
    const request = { folder: kit.folder, database: path, deployment: DEPLOYMENT, wallets: [] };
    expect(await restoreBackup(request)).toMatchObject({ ok: true });
    expect(filesIn(kit.dir).filter((file) => file.includes('.restoring'))).toEqual([]);
  }, 120_000);
});

describe('a backup by an earlier release', () => {
  it.each(Array.from({ length: SCHEMA_VERSION - 1 }, (_, at) => at + 1))(
    'with schema %i is verified and restored',
    async (version) => {
      const [file, folder, path] = ['file', 'folder', 'restored'].map((name) =>
        join(kit.dir, `v${version}-${name}`),
      ) as [string, string, string];
      const old = new DatabaseSync(file);
      migrate(old, version);
      old.prepare("INSERT INTO meta (name, value) VALUES ('deployment', ?)").run(Buffer.from(DEPLOYMENT));
      old.close();
      const content = readFileSync(file);
      const writer = new PartWriter(folder);
      const part = await writer.put(content);
      await writeManifest(folder, {
        number: 1,
        deployment: DEPLOYMENT,
        takenAt: NOW,
        schemaVersion: version,
        bytes: content.length,
        sha256: part,
        parts: 1,
        list: [await writer.put(Buffer.from(part, 'hex'))],
        wallets: 0,
        leaves: 0,
        logs: [],
      });
      const request = { folder, database: path, deployment: DEPLOYMENT, wallets: [] };
      expect(await restoreBackup(request)).toMatchObject({ ok: true });
      // As it was: it is the host's start that brings it up.
      expect(readFileSync(path)).toEqual(content);
    },
  );
});
