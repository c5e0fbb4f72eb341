/**
 * Copies of the SQLite store for `qv backup`, and what is known of such a copy. All of a backup that knows SQLite is in
 * this file: the rest goes by bytes and by the Store.
 */
import { closeSync, lstatSync, openSync, type Stats, statSync } from 'node:fs';
import { backup, DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { migrate, SCHEMA_VERSION } from './sqlite-schema.ts';
import type { LogRecord } from './store.ts';

/** What a database says of itself. */
export interface SnapshotFacts {
  readonly deployment: string;
  readonly schemaVersion: number;
  readonly hasRowKey: boolean;
  readonly wallets: number;
  readonly leaves: number;
  /** What is published of each boot's log, in the order in which the boots were first seen. */
  readonly logs: readonly LogRecord[];
}

/** Copied in one go; between two of them the progress is told. */
const STEP_PAGES = 256;
/** SQLite keeps these beside a database; with them it may be more than its file says. */
const COMPANIONS = ['-wal', '-shm', '-journal'] as const;

/**
 * Copies the database as it is now, whoever writes meanwhile: one reader of a database in WAL mode, which nobody waits
 * for. What is written while it copies stays in the WAL file, which grows for so long.
 * @param to made anew, mode 0600
 * @throws QvError input_unreadable, store_unavailable, not_initialised, output_unwritable
 */
export async function snapshotSqlite(
  path: string,
  to: string,
  onProgress: (done: number, of: number) => void = () => undefined,
): Promise<SnapshotFacts> {
  const source = openExisting(path);
  try {
    // The transaction holds what it has read first: without it, each write of others would begin the copy anew.
    source.exec('BEGIN');
    const version = versionOf(source);
    if (version !== SCHEMA_VERSION)
      throw new QvError('store_unavailable', { value: `schema ${version}, and this release has ${SCHEMA_VERSION}` });
    const facts = factsOf(source);
    closeSync(openSync(to, 'wx', 0o600));
    await backup(source, to, {
      rate: STEP_PAGES,
      progress: ({ totalPages, remainingPages }) => onProgress(totalPages - remainingPages, totalPages),
    });
    return facts;
  } catch (error) {
    if (error instanceof QvError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' || code === 'EACCES' || code === 'ENOENT')
      throw new QvError('output_unwritable', { path: to, value: code }, { cause: error });
    throw new QvError('store_unavailable', { value: (error as Error).message }, { cause: error });
  } finally {
    source.close();
  }
}

/**
 * Looks at every page, key and constraint of a copy that nobody else has open, and brings it up to this release's
 * schema. What it holds came with a backup: nothing in it may run.
 * @throws QvError backup_damaged, store_unavailable when a newer release has written it
 */
export function examineSqlite(path: string): SnapshotFacts {
  const damaged = (value: string, cause?: unknown): QvError =>
    new QvError('backup_damaged', { path: 'database', value }, { cause });
  const database = new DatabaseSync(path, { enableForeignKeyConstraints: true });
  try {
    database.exec('PRAGMA trusted_schema = OFF');
    const found = Object.values(database.prepare('PRAGMA integrity_check(1)').get() ?? {})[0];
    if (found !== 'ok') throw damaged(`integrity_check: ${String(found)}`);
    const active = database.prepare("SELECT count(*) AS count FROM sqlite_schema WHERE type IN ('trigger', 'view')");
    if (Number(active.get()?.['count']) !== 0)
      throw damaged('it has triggers or views, and no release of ours makes any');
    const version = versionOf(database);
    // Before anything is brought up: that would hide what was there.
    if (version === 0) throw damaged('no schema of ours');
    migrate(database);
    if (schemaOf(database) !== expectedSchema()) throw damaged('its tables are not those of its schema version');
    if (database.prepare('PRAGMA foreign_key_check').get() !== undefined) throw damaged('foreign_key_check');
    return { ...factsOf(database), schemaVersion: version };
  } catch (error) {
    if (error instanceof QvError) throw error;
    throw damaged((error as Error).message, error);
  } finally {
    database.close();
  }
}

/** A place where a database can be put: nothing is there, of it or beside it. @throws QvError restore_not_empty */
export function requireNoSqlite(path: string): void {
  for (const name of ['', ...COMPANIONS].map((suffix) => path + suffix))
    if (lstatSync(name, { throwIfNoEntry: false }) !== undefined)
      throw new QvError('restore_not_empty', { path: name });
}

/** Never made here: an empty database would be taken for the real one. @throws QvError input_unreadable */
function openExisting(path: string): DatabaseSync {
  const unreadable = (value: string): QvError => new QvError('input_unreadable', { path, value });
  let facts: Stats;
  try {
    facts = statSync(path);
  } catch (error) {
    throw unreadable((error as NodeJS.ErrnoException).code ?? 'unreadable');
  }
  if (!facts.isFile()) throw unreadable('not a regular file');
  // SQLite makes files beside it, which would belong to the caller and lock the host out; root's it gives to the owner.
  const user = process.geteuid?.();
  if (user !== 0 && user !== facts.uid) throw unreadable('it belongs to another user');
  const url = pathToFileURL(path);
  url.searchParams.set('mode', 'rw');
  try {
    const opened = new DatabaseSync(url, { timeout: LIMITS.backupBusyMilliseconds });
    opened.exec('PRAGMA trusted_schema = OFF');
    return opened;
  } catch (error) {
    throw new QvError('store_unavailable', { value: (error as Error).message }, { cause: error });
  }
}

function factsOf(database: DatabaseSync): SnapshotFacts {
  const one = (sql: string, ...values: string[]): SQLOutputValue | undefined =>
    Object.values(database.prepare(sql).get(...values) ?? {})[0];
  const meta = (name: string) => one('SELECT value FROM meta WHERE name = ?', name);
  const deployment = meta('deployment');
  // No host has started on it.
  if (!(deployment instanceof Uint8Array)) throw new QvError('not_initialised');
  const logs = database.prepare('SELECT boot, size, checkpoint FROM logs ORDER BY number');
  logs.setReadBigInts(true);
  return {
    deployment: new TextDecoder().decode(deployment),
    schemaVersion: versionOf(database),
    hasRowKey: meta('row-key') !== undefined,
    wallets: Number(one('SELECT count(*) FROM wallets')),
    leaves: Number(one('SELECT count(*) FROM leaves')),
    logs: logs.all().map(({ boot, size, checkpoint }) => ({ boot, size, checkpoint }) as unknown as LogRecord),
  };
}

function versionOf(database: DatabaseSync): number {
  return Number(Object.values(database.prepare('PRAGMA user_version').get() ?? {})[0]);
}

/** Everything that is declared, as it was declared. SQLite's own tables are its own business. */
function schemaOf(database: DatabaseSync): string {
  const rows = database
    .prepare(
      "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .all();
  return JSON.stringify(rows.map(({ type, name, tbl_name, sql }) => [type, name, tbl_name, sql]));
}

function expectedSchema(): string {
  const fresh = new DatabaseSync(':memory:');
  try {
    migrate(fresh);
    return schemaOf(fresh);
  } finally {
    fresh.close();
  }
}
