/** Taking a backup: a copy of the database at one moment, cut into parts, of which only new ones are written. */
import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type SnapshotFacts, snapshotSqlite } from '../../store/sqlite-snapshot.ts';
import { orUnwritable } from '../atomic-file.ts';
import {
  holdFolder,
  type ListedBackup,
  listBackups,
  listedParts,
  readManifest,
  removeManifest,
  removeUnfinished,
  writeManifest,
} from './folder.ts';
import type { Manifest } from './manifest.ts';
import { PartWriter, removeOthers } from './parts.ts';

export interface BackupRequest {
  /** The SQLite file. */
  readonly database: string;
  /** The configuration's. A database of another deployment is refused. */
  readonly deployment: string;
  readonly folder: string;
  readonly now: TimeMs;
  /** Older ones than so many are removed at the end. Undefined: all are kept. */
  readonly keep?: number;
  readonly onProgress?: (done: number, of: number) => void;
}

export interface TakenBackup {
  readonly manifest: Manifest;
  readonly name: string;
  /** Parts that were not there before. */
  readonly newParts: number;
  readonly newBytes: number;
  readonly removedBackups: readonly number[];
  readonly freedBytes: number;
}

/**
 * @throws QvError input_unreadable, store_unavailable, not_initialised of the database; config_invalid when it or the
 *   folder belongs to another deployment; output_unwritable; backup_damaged of an earlier one that is to be kept
 */
export function takeBackup(request: BackupRequest): Promise<TakenBackup> {
  const { folder, deployment, keep } = request;
  return holdFolder(folder, async () => {
    const earlier = await listBackups(folder);
    const newest = earlier.at(-1);
    if (newest !== undefined) await requireSameDeployment(folder, newest, deployment);
    const staging = join(folder, 'staging');
    await removeStaging(staging);
    await removeUnfinished(folder);
    try {
      const facts = await snapshotSqlite(request.database, staging, request.onProgress);
      if (facts.deployment !== deployment)
        throw new QvError('config_invalid', { path: 'deployment', value: `the database is of ${facts.deployment}` });
      const number = (newest?.number ?? 0) + 1;
      const writer = new PartWriter(folder);
      const manifest = await writeParts(writer, staging, { number, takenAt: request.now, facts });
      await writer.sync();
      const listed = await writeManifest(folder, manifest);
      const removed = keep === undefined ? [] : [...earlier, listed].slice(0, -keep);
      const freedBytes = removed.length === 0 ? 0 : await removeBackups(folder, removed);
      return {
        manifest,
        name: listed.name,
        newParts: writer.written,
        newBytes: writer.writtenBytes,
        removedBackups: removed.map((backup) => backup.number),
        freedBytes,
      };
    } finally {
      await removeStaging(staging);
    }
  });
}

/** Two deployments in one folder would be taken for versions of one. */
async function requireSameDeployment(folder: string, newest: ListedBackup, deployment: string): Promise<void> {
  const kept = await readManifest(folder, newest);
  if (kept.deployment !== deployment)
    throw new QvError('config_invalid', { path: 'deployment', value: `the folder has backups of ${kept.deployment}` });
}

interface Moment {
  readonly number: number;
  readonly takenAt: TimeMs;
  readonly facts: SnapshotFacts;
}

async function writeParts(writer: PartWriter, staging: string, { number, takenAt, facts }: Moment): Promise<Manifest> {
  const whole = createHash('sha256');
  const names: Buffer[] = [];
  let bytes = 0;
  const file = await open(staging, 'r');
  try {
    for (;;) {
      const part = await readFully(staging, () => file.read(Buffer.alloc(LIMITS.backupPartBytes), 0, undefined, bytes));
      if (part.length === 0) break;
      whole.update(part);
      names.push(Buffer.from(await writer.put(part), 'hex'));
      bytes += part.length;
    }
  } finally {
    await file.close();
  }
  const packed = Buffer.concat(names);
  const list: string[] = [];
  for (let at = 0; at < packed.length; at += LIMITS.backupPartBytes)
    list.push(await writer.put(packed.subarray(at, at + LIMITS.backupPartBytes)));
  const { deployment, schemaVersion, wallets, leaves, logs } = facts;
  const sha256 = whole.digest('hex');
  const parts = names.length;
  return { number, deployment, takenAt, schemaVersion, bytes, sha256, parts, list, wallets, leaves, logs };
}

/** Of a regular file a read is short at its end alone. */
async function readFully(
  path: string,
  read: () => Promise<{ readonly bytesRead: number; readonly buffer: Buffer }>,
): Promise<Uint8Array> {
  const { bytesRead, buffer } = await orUnwritable(path, read);
  return buffer.subarray(0, bytesRead);
}

/** Manifests first: a backup without one is none, and its parts are removed the next time if not now. */
async function removeBackups(folder: string, removed: readonly ListedBackup[]): Promise<number> {
  const named = new Set<string>();
  const gone = new Set(removed.map(({ number }) => number));
  // What is kept is read before anything is removed: of one that does not read nobody knows which parts it needs.
  for (const backup of (await listBackups(folder)).filter(({ number }) => !gone.has(number))) {
    const manifest = await readManifest(folder, backup);
    for (const part of [...manifest.list, ...(await listedParts(folder, manifest))]) named.add(part);
  }
  for (const backup of removed) await removeManifest(folder, backup);
  return removeOthers(folder, named);
}

async function removeStaging(staging: string): Promise<void> {
  for (const name of [staging, `${staging}-journal`, `${staging}-wal`, `${staging}-shm`])
    await orUnwritable(name, () => rm(name, { force: true }));
}
