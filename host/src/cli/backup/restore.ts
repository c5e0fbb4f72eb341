/** A database out of a backup, where there is none. Nothing is replaced: whoever wants that moves the old one away first. */
import { chownSync, existsSync, rmSync, statSync } from 'node:fs';
import { link, mkdir, mkdtemp } from 'node:fs/promises';
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
  // What one that was killed left goes with it. Of two at once, one fails, and neither takes the other's for its own.
  const work = join(home, `.${basename(database)}.restoring`);
  rmSync(work, { recursive: true, force: true });
  await orUnwritable(work, () => mkdir(work, { mode: 0o700 }));
  try {
    const verified = await verifyBackup({ ...request, scratch: work });
    const { manifest } = verified;
    if (!verified.ok || manifest === undefined) return { ...verified, policiesAdded: 0 };
    if (manifest.deployment !== deployment)
      throw new QvError('config_invalid', { path: 'deployment', value: `the backup is of ${manifest.deployment}` });
    const own = await orUnwritable(work, () => mkdtemp(join(work, 'qv-')));
    const part = join(own, 'database');
    await assemble(folder, manifest, part, onProgress);
    const policiesAdded = await addPolicies(part, policies);
    if (existsSync(`${part}-wal`))
      throw new QvError('store_unavailable', { value: 'policies are not in its file yet' });
    giveToOwner(part, home);
    await orUnwritable(database, async () => {
      requireNoSqlite(database);
      // Unlike a rename it replaces nothing, should a host have been started meanwhile.
      await link(part, database);
      await syncFolder(home);
    });
    return { ...verified, policiesAdded };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Called as root, the database is the host's all the same: whose folder it is in. */
function giveToOwner(path: string, home: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = statSync(home);
  chownSync(path, uid, gid);
}
