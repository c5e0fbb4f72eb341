/** What qv migrate asks of a host's database: of a copy, which is gone afterwards, and by index. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { withDatabaseCopy } from '@quantumvault/host/cli/migrate/database.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../support/temporary.ts';
import { filledStore, walletOf } from '../../rotation/row-key-kit.ts';
import { bytes } from '../../store-fixtures.ts';

type Folder = Awaited<ReturnType<typeof temporaryFolder>>;
let folder: Folder;
let scratch: Folder;
let path: string;

beforeAll(async () => {
  folder = await temporaryFolder();
  scratch = await temporaryFolder();
  path = join(folder.path, 'host.db');
  const store = await filledStore(folder.path, 3);
  await store.createMeta('deployment', new TextEncoder().encode('test'));
  await store.close();
  const database = new DatabaseSync(path);
  database.prepare('UPDATE wallets SET salt = ? WHERE wallet = ?').run(bytes(32, 77), walletOf(1));
  database.close();
});
afterAll(async () => {
  await folder.remove();
  await scratch.remove();
});

describe('a copy of the database', () => {
  it('counts who shares a salt or a wrapped key, and leaves nothing behind', async () => {
    const before = readFileSync(path);
    await withDatabaseCopy(path, scratch.path, async (copy) => {
      expect(copy.countOf('salt', bytes(32, 77))).toBe(1);
      const { salt, executionKey } = copy.wallet(walletOf(0)) ?? {};
      expect(copy.countOf('salt', salt ?? bytes(0, 0))).toBe(2);
      expect(copy.countOf('execution_key', executionKey ?? bytes(0, 0))).toBe(3);
      expect(copy.wallet(walletOf(9))).toBeUndefined();
    });
    expect(readdirSync(scratch.path)).toEqual([]);
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  it('is not read from beginning to end for each row: a hundred thousand of them would take hours', async () => {
    await withDatabaseCopy(path, scratch.path, async (copy) => {
      const database = new DatabaseSync(copy.path, { readOnly: true });
      for (const question of [
        'SELECT count(*) AS count FROM wallets WHERE salt = ?',
        'SELECT count(*) AS count FROM wallets WHERE execution_key = ?',
        'SELECT reply FROM creations WHERE wallet = ?',
      ]) {
        const steps = database.prepare(`EXPLAIN QUERY PLAN ${question}`).all(bytes(1, 1));
        expect(steps.map(({ detail }) => String(detail))).toEqual([expect.stringMatching(/^SEARCH .* USING /)]);
      }
      database.close();
    });
  });
});
