/** A database out of a backup, where there is none. Nothing is replaced: whoever wants that moves the old one away first. */
import { chownSync, rmSync, statSync } from 'node:fs';
import { link } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { QvError } from '@quantumvault/shared/errors.ts';
import { requireNoSqlite } from '../../store/sqlite-snapshot.ts';
import { orUnwritable } from '../atomic-file.ts';
import { assemble } from './assemble.ts';
import { syncFolder } from './parts.ts';
import { type VerifiedBackup, type VerifyRequest, verifyBackup } from './verify.ts';

export interface RestoreRequest extends Omit<VerifyRequest, 'scratch'> {
  /** The SQLite file that the host's configuration names. */
  readonly database: string;
  /** The configuration's. */
  readonly deployment: string;
}

/**
 * Verifies first; when the backup does not hold, nothing is written.
 * @throws QvError restore_not_empty; config_invalid when it is of another deployment; backup_damaged when it changed
 *   meanwhile; output_unwritable
 */
export async function restoreBackup(request: RestoreRequest): Promise<VerifiedBackup> {
  const { database, deployment, folder, onProgress } = request;
  requireNoSqlite(database);
  const home = dirname(database);
  const verified = await verifyBackup({ ...request, scratch: home });
  const { manifest } = verified;
  if (!verified.ok || manifest === undefined) return verified;
  if (manifest.deployment !== deployment)
    throw new QvError('config_invalid', { path: 'deployment', value: `the backup is of ${manifest.deployment}` });
  const part = join(home, `.${basename(database)}.restored`);
  rmSync(part, { force: true });
  try {
    await assemble(folder, manifest, part, onProgress);
    giveToOwner(part, home);
    await orUnwritable(database, async () => {
      requireNoSqlite(database);
      // Unlike a rename it replaces nothing, should a host have been started meanwhile.
      await link(part, database);
    });
  } finally {
    rmSync(part, { force: true });
  }
  await orUnwritable(home, () => syncFolder(home));
  return verified;
}

/** Called as root, the database is the host's all the same: whose folder it is in. */
function giveToOwner(path: string, home: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(home);
  chownSync(path, uid, gid);
}
