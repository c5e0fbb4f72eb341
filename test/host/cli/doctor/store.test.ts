/** qv doctor: the database, the disk under it, and freezes. */
import { chmodSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Machine, thisMachine } from '@quantumvault/host/cli/doctor/facts.ts';
import { SCHEMA_VERSION } from '@quantumvault/host/store/sqlite-schema.ts';
import { describe, expect, test } from 'vitest';
import { person } from '../../harness.ts';
import { qvJson } from '../call.ts';
import { bad, GIBIBYTE, harness, machine, of, onMachine, patient } from './patient.ts';

patient();

describe('the database', () => {
  test('locked by somebody else', async () => {
    const release = harness.lockDatabase();
    const found = await of('database');
    release();
    expect(bad(found)).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('locked by another process'),
        fix: expect.stringContaining('fuser'),
        code: 'store_unavailable',
      },
    ]);
  });

  test('of another deployment', async () => {
    expect(bad(await of('database', { deployment: 'other' }))).toMatchObject([
      { health: 'failed', found: 'it belongs to deployment test, the configuration to other' },
    ]);
  });

  test.each<[string, string, string]>([
    ['without a row key', "DELETE FROM meta WHERE name = 'row-key'", 'there is no row key'],
    ['of a newer release', `PRAGMA user_version = ${SCHEMA_VERSION + 1}`, `has schema ${SCHEMA_VERSION + 1}`],
  ])('%s', async (_, statement, found) => {
    harness.sql((database) => database.exec(statement));
    expect(bad(await of('database'))).toMatchObject([{ health: 'failed', found: expect.stringContaining(found) }]);
  });

  test('with a row that holds up the replacement of the row key', async () => {
    const wallet = await harness.createWallet();
    const database = () => of('database');
    expect(bad(await database())).toEqual([]);
    harness.sql((open) => open.prepare('UPDATE wallets SET created_at = created_at + 1 WHERE wallet = ?').run(wallet));
    expect(await qvJson('rotate', 'row-key', '--admin', harness.path('admin.sock'))).toMatchObject({ state: 'edited' });
    expect(bad(await database())).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('somebody edited them'),
        fix: expect.stringContaining('qv rotate row-key --status'),
        code: 'row_tampered',
      },
    ]);
  });

  test('damaged, empty, missing', async () => {
    const garbage = harness.writePrivate('garbage.db', 'no database at all '.repeat(1_000));
    expect(bad(await of('database', { store: { sqlite: garbage } }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('damaged, or no database') },
    ]);
    await harness.host.close();
    const missing = { store: { sqlite: harness.path('missing.db') }, freezeMarkers: harness.path('freezes') };
    expect(bad(await of('database', missing))).toMatchObject([
      { health: 'warning', found: expect.stringContaining('is not there') },
    ]);
    // And is not there afterwards either.
    expect(bad(await of('database', missing))).toHaveLength(1);
    mkdirSync(harness.path('folder.db'));
    expect(bad(await of('database', { store: { sqlite: harness.path('folder.db') } }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('does not open') },
    ]);
    await harness.startHost();
  });
});

describe('the disk', () => {
  test.each<[string, Partial<ReturnType<Machine['space']>>, string]>([
    ['nearly full', { freeBytes: GIBIBYTE / 2 }, 'warning'],
    ['nearly full for its size', { freeBytes: 4 * GIBIBYTE }, 'warning'],
    ['full', { freeBytes: 10_000 }, 'failed'],
    ['out of inodes', { freeFiles: 0 }, 'failed'],
    ['that counts no files', { freeFiles: 0, totalFiles: 0 }, 'ok'],
  ])('%s', async (_, changes, health) => {
    const usual = machine().space;
    onMachine({ space: (directory) => ({ ...usual(directory), ...changes }) });
    expect(await of('disk')).toMatchObject([{ health }]);
  });

  test('the real one is asked', async () => {
    onMachine({ space: thisMachine().space });
    expect((await of('disk'))[0]?.found).toMatch(/: \d+ MiB of \d+ free$/);
    expect(
      await of('disk', { store: { sqlite: '/nonexistent/host.db' }, freezeMarkers: harness.path('freezes') }),
    ).toMatchObject([{ health: 'skipped', found: '/nonexistent: ENOENT' }, { health: expect.any(String) }]);
  });
});

describe('freezes', () => {
  test('of the fleet fail, of a wallet warn', async () => {
    await harness.admin('freeze', { scope: `wallet:${person().address}`, reason: 'x' });
    expect(await of('freezes')).toMatchObject([{ health: 'warning', found: 'frozen wallets and requesters: 1' }]);
    await harness.admin('freeze', { scope: 'fleet', reason: 'keys were lost' });
    expect(await of('freezes')).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('keys were lost'),
        code: 'frozen',
        fix: expect.stringContaining('qv resume'),
      },
    ]);
    await harness.host.close();
    expect((await of('freezes'))[0]).toMatchObject({ health: 'failed', found: 'the enclave is frozen' });
    await harness.startHost();
  });

  test('orders on disk wait for a dead host, and not for one that lives', async () => {
    const order = join(harness.path('elsewhere'), '1-00.json');
    mkdirSync(harness.path('elsewhere'), { mode: 0o770 });
    chmodSync(harness.path('elsewhere'), 0o770);
    writeFileSync(order, '{}');
    const freezeMarkers = harness.path('elsewhere');
    // Just written: the host takes it within a second.
    expect(bad(await of('freezes', { freezeMarkers }))).toEqual([]);
    const earlier = Date.now() / 1000 - 60;
    utimesSync(order, earlier, earlier);
    expect(bad(await of('freezes', { freezeMarkers }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('does not take: 1') },
    ]);
    await harness.host.close();
    expect(bad(await of('freezes', { freezeMarkers }))).toMatchObject([
      { health: 'warning', found: expect.stringContaining('when the host starts: 1') },
    ]);
    await harness.startHost();
  });
});
