/** A database out of a backup, where there is none. Nothing is replaced: whoever wants that moves the old one away first. */
import { chownSync, rmSync, statSync } from 'node:fs';
import { link } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { QvError } from '@quantumvault/shared/errors.ts';
import { requireNoSqlite } from '../../store/sqlite-snapshot.ts';
import { orUnwritable } from '../atomic-file.ts';
import { assemble } from './assemble.ts';
import { addPolicies, readLogPolicies } from './log-policies.ts';
import { syncFolder } from './parts.ts';
import { type VerifiedBackup, type VerifyRequest, verifyBackup } from './verify.ts';

export interface RestoreRequest extends Omit<VerifyRequest, 'scratch'> {
  /** The SQLite file that the host's configuration names. */
  readonly database: string;
  /** The configuration's. */
  readonly deployment: string;
  /** A folder of `qv log fetch`, for policies that are newer than the backup. */
  readonly log?: string;
}

export interface RestoredBackup extends VerifiedBackup {
  /** Taken from the copy of the log. */
  readonly policiesAdded: number;
}

/**
 * Verifies first; when the backup does not hold, nothing is written.
 * @throws QvError restore_not_empty; config_invalid when it is of another deployment; backup_damaged when it changed
 *   meanwhile; output_unwritable; input_unreadable, log_policy_mismatch of the copy of the log
 */
export async function restoreBackup(request: RestoreRequest): Promise<RestoredBackup> {
  const { database, deployment, folder, log, onProgress } = request;
  requireNoSqlite(database);
  const policies = log === undefined ? [] : await readLogPolicies(log);
  const home = dirname(database);
  const verified = await verifyBackup({ ...request, scratch: home });
  const { manifest } = verified;
  if (!verified.ok || manifest === undefined) return { ...verified, policiesAdded: 0 };
  if (manifest.deployment !== deployment)
    throw new QvError('config_invalid', { path: 'deployment', value: `the backup is of ${manifest.deployment}` });
  const part = join(home, `.${basename(database)}.restored`);
  remove(part);
  let policiesAdded = 0;
  try {
    await assemble(folder, manifest, part, onProgress);
    policiesAdded = await addPolicies(part, policies);
    giveToOwner(part, home);
    await orUnwritable(database, async () => {
      requireNoSqlite(database);
      // Unlike a rename it replaces nothing, should a host have been started meanwhile.
      await link(part, database);
    });
  } finally {
    remove(part);
  }
  await orUnwritable(home, () => syncFolder(home));
  return { ...verified, policiesAdded };
}

/** With what SQLite keeps beside it. */
function remove(part: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(part + suffix, { force: true });
}

/** Called as root, the database is the host's all the same: whose folder it is in. */
function giveToOwner(path: string, home: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(home);
  chownSync(path, uid, gid);
}
