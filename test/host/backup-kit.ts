/** A store of meaningless rows, and backups of it, for tests. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findBackup, holdFolder, listBackups } from '@quantumvault/host/cli/backup/folder.ts';
import { type BackupRequest, type TakenBackup, takeBackup } from '@quantumvault/host/cli/backup/take.ts';
import { type VerifiedBackup, verifyBackup } from '@quantumvault/host/cli/backup/verify.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { rowMacOf } from '../support/row-keys.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { BOOT, bytes, insert, key, leaf, row, signed } from './store-fixtures.ts';

export const DEPLOYMENT = 'backed-up';
export { findBackup, holdFolder, listBackups };

export interface BackupKit {
  readonly dir: string;
  readonly database: string;
  readonly folder: string;
  readonly store: Store;
  take(change?: Partial<BackupRequest>): Promise<TakenBackup>;
  verify(change?: { number?: number; folder?: string }): Promise<VerifiedBackup>;
  /** A newer state of the first wallet. */
  sign(version: number, sequence: number): Promise<unknown>;
  /** More than one part of the database changes. */
  fill(from: number): Promise<void>;
  close(): Promise<void>;
}

/** Large enough for several parts; two wallets and their leaves, and a row key. */
export async function backupKit(): Promise<BackupKit> {
  const { path: dir, remove } = await temporaryFolder();
  const database = join(dir, 'qv.db');
  const folder = join(dir, 'backups');
  const store = await openSqliteStore({ path: database, log: silentLog });
  await store.createMeta('deployment', utf8(DEPLOYMENT));
  for (const [index, wallet] of [key(20), key(21)].entries()) await store.insertWallet(insert(wallet, index, index));
  // After them: what is under it is told from what is not.
  await store.createMeta('row-key', bytes(180, 1));
  const mac = rowMacOf(bytes(32, 1), bytes(180, 1));
  const kit: BackupKit = {
    dir,
    database,
    folder,
    store,
    take: (change) =>
      takeBackup({ database, deployment: DEPLOYMENT, folder, now: timeMs(1_750_000_000_000), ...change }),
    verify: (change) => verifyBackup({ folder, scratch: dir, wallets: [], ...change }),
    sign: (version, sequence) => {
      const { reply, ...update } = signed(key(20), version, sequence);
      const { rowMac } = mac.seal({ ...row(key(20)), ...update });
      return store.applySigned({ ...update, rowMac, reply: mac.sealReply(reply) });
    },
    fill: async (from) => {
      const tiles = Array.from({ length: 100 }, (_, at) => ({
        level: 0,
        index: BigInt(from + at),
        hashes: bytes(8192, (from + at) % 251),
      }));
      await store.putTiles(BOOT, tiles);
    },
    close: async () => {
      await store.close();
      await remove();
    },
  };
  await kit.fill(0);
  await store.putLeaves(Array.from({ length: 500 }, (_, at) => leaf(2 + at, at % 250)));
  return kit;
}

/** Every file below a folder. */
export const filesIn = (folder: string): readonly string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => join(folder, name))
    .filter((path) => statSync(path).isFile());

/** Changes one bit in the middle. */
export function flip(path: string): void {
  const content = readFileSync(path);
  const at = Math.floor(content.length / 2);
  content[at] = (content[at] ?? 0) ^ 1;
  writeFileSync(path, content);
}
