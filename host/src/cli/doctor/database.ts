/** The database: opened as the host would, read, and left as it was. */
import { type Stats, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { SCHEMA_VERSION } from '../../store/sqlite-schema.ts';
import { type Facts, hostStatus } from './facts.ts';
import { type Finding, failed, ok, skipped, systemCodeOf, warning } from './finding.ts';

/** Longer than any transaction of a host's. */
const BUSY_MILLISECONDS = 2_000;
/** A check of every page reads the whole file. */
const SCANNED_BYTES = 64 * 1024 * 1024;
const [BUSY, LOCKED, NOT_A_DATABASE, CORRUPT] = [5, 6, 26, 11];
/** More than this and the database is behind, not busy. */
const BACKLOG = 100;

export function checkDatabase(facts: Facts): readonly Finding[] {
  return [...checkWord(facts), ...checkFile(facts)];
}

/** The running host's word. */
function checkWord(facts: Facts): readonly Finding[] {
  const status = hostStatus(facts);
  if (status === undefined) return [];
  if (!status.store)
    return [
      failed(
        'database',
        'the host says that it does not answer',
        'Is the disk full, slow or read-only, or does another process hold a lock?',
        'store_unavailable',
      ),
    ];
  if (status.backlog <= BACKLOG) return [];
  const found = `${status.backlog} decisions wait to be stored; at 4,096 nothing more is signed`;
  return [warning('database', found, 'Is the disk slow or full, or does another process hold a lock?')];
}

function checkFile(facts: Facts): readonly Finding[] {
  const { config, said } = facts;
  const path = config.store.sqlite;
  const file = fileOf(path);
  if (file === 'EACCES') return [skipped('database', `${path}: not for this user to see; call qv doctor as root`)];
  if (typeof file === 'string') {
    if ('value' in said)
      return [failed('database', `${path} is gone under a running host`, 'Stop the host, and restore the file.')];
    const fix = 'A first start makes it. If there was one before, correct the path: an empty one knows no wallet.';
    return [warning('database', `${path} is not there`, fix)];
  }
  const { uid, size } = file;
  const user = process.geteuid?.();
  // Files that SQLite makes beside it would belong to the caller, and lock the host out.
  if (user !== 0 && user !== uid)
    return [skipped('database', `${path} belongs to user ${uid}: call qv doctor as that user, or as root`)];
  try {
    return examine(path, size, facts);
  } catch (error) {
    return [refused(path, error)];
  }
}

/** Or why not. */
function fileOf(path: string): Stats | string {
  try {
    return statSync(path);
  } catch (error) {
    return systemCodeOf(error) ?? String(error);
  }
}

function examine(path: string, size: number, facts: Facts): readonly Finding[] {
  const url = pathToFileURL(path);
  // Never made here: an empty database would be taken for the real one.
  url.searchParams.set('mode', 'rw');
  const database = new DatabaseSync(url, { timeout: BUSY_MILLISECONDS });
  try {
    // A lock that is had at once, and given back, shows that nobody keeps it.
    database.exec('BEGIN IMMEDIATE');
    database.exec('ROLLBACK');
    const version = Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
    if (version > SCHEMA_VERSION)
      return [
        failed(
          'database',
          `${path} has schema ${version}, this release knows ${SCHEMA_VERSION}`,
          'A newer release has written it: run that release again.',
          'store_unavailable',
        ),
      ];
    const findings: Finding[] = [schema(path, version, facts)];
    if (version === 0) return findings;
    const meta = (name: string): Uint8Array | undefined =>
      database.prepare('SELECT value FROM meta WHERE name = ?').get(name)?.['value'] as Uint8Array | undefined;
    findings.push(...owner(meta('deployment'), facts), rowKey(meta('row-key') !== undefined, facts));
    if (size <= SCANNED_BYTES) findings.push(...pages(database, path));
    return findings;
  } finally {
    database.close();
  }
}

function schema(path: string, version: number, { said }: Facts): Finding {
  if (version === SCHEMA_VERSION) return ok('database', `${path} opens, schema ${version}`);
  const found = `${path} has schema ${version}, this release knows ${SCHEMA_VERSION}`;
  if ('error' in said) return ok('database', `${found}; the host’s next start brings it up`);
  return warning('database', found, 'The running host is an older release than this qv: use its own.');
}

function owner(name: Uint8Array | undefined, { config: { deployment } }: Facts): readonly Finding[] {
  const claimed = name === undefined ? undefined : new TextDecoder().decode(name);
  if (claimed === undefined || claimed === deployment) return [];
  return [
    failed(
      'database',
      `it belongs to deployment ${claimed}, the configuration to ${deployment}`,
      'Correct deployment or store.sqlite: a database serves one deployment for ever.',
      'config_invalid',
    ),
  ];
}

function rowKey(isThere: boolean, facts: Facts): Finding {
  const status = hostStatus(facts);
  if (!isThere)
    return failed('database', 'there is no row key', 'Once per deployment: qv init row-key', 'not_initialised');
  if (status?.rowKeyFault === 'row_key_retired')
    return failed(
      'database',
      'its row key is one that a later one has replaced',
      'An older backup that was put in place brings it back: see the runbook. Else somebody else did.',
      'row_key_retired',
    );
  if (status?.rowKey === false)
    return failed(
      'database',
      'the row key is there, but the host could not have it unwrapped',
      'See enclave, credentials and kms.',
    );
  if (status?.rowKeyState === 'edited')
    return failed(
      'database',
      'the row key is not replaced while rows fit neither key: somebody edited them',
      'qv rotate row-key --status names them; the runbook says what next.',
      'row_tampered',
    );
  if (status?.rowKeyState === 'replacing')
    return ok('database', 'the row key is there, and being replaced: qv rotate row-key --status');
  return ok('database', 'the row key is there');
}

function pages(database: DatabaseSync, path: string): readonly Finding[] {
  const verdict = String(Object.values(database.prepare('PRAGMA quick_check(1)').get() ?? {})[0]);
  if (verdict === 'ok') return [];
  return [failed('database', `${path} is damaged: ${verdict}`, 'Stop the host, keep a copy, restore a backup.')];
}

function refused(path: string, error: unknown): Finding {
  const { errcode, message } = error as { readonly errcode?: number; readonly message: string };
  // Extended result codes have the primary one in their low byte.
  const primary = (errcode ?? 0) & 0xff;
  if (primary === BUSY || primary === LOCKED)
    return failed(
      'database',
      `${path} is locked by another process for longer than ${BUSY_MILLISECONDS / 1000} s`,
      `fuser -v ${path} names it: only hosts of this deployment may open it.`,
      'store_unavailable',
    );
  if (primary === NOT_A_DATABASE || primary === CORRUPT)
    return failed(
      'database',
      `${path} is damaged, or no database: ${message}`,
      'Stop the host, keep a copy, restore a backup.',
      'store_unavailable',
    );
  return failed(
    'database',
    `${path} does not open: ${message}`,
    'Check modes, owner, and that the disk can be written.',
    'store_unavailable',
  );
}
