/**
 * A folder of backups. Nothing in it is ever changed: a backup adds parts, then its manifest, which is what makes it one.
 * So whoever is killed at any moment leaves the earlier backups as they were, and some parts that nobody names.
 *
 *   backups/   manifests (manifest.ts)
 *   parts/     what they name (parts.ts)
 *   lock       held by the one who adds or removes; SQLite's lock, which ends with its process
 *   staging    the database as it was copied, while a backup is taken
 */
import { chmod, mkdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { orUnwritable, writeAtomically } from '../atomic-file.ts';
import { encodeManifest, type Manifest, parseManifest } from './manifest.ts';
import { namesIn, readPart, sha256Hex, syncFolder } from './parts.ts';

const HASH_BYTES = 32;
const MANIFEST_NAME = /^([0-9]{6,15})\.([0-9a-f]{64})\.json$/;

export interface ListedBackup {
  readonly number: number;
  readonly sha256: string;
  /** Inside of the folder. */
  readonly name: string;
}

/** Ascending. Not one of them has been read. @throws QvError input_unreadable */
export async function listBackups(root: string): Promise<readonly ListedBackup[]> {
  const listed = (await namesIn(join(root, 'backups'))).flatMap((name) => {
    const [, number, sha256] = MANIFEST_NAME.exec(name) ?? [];
    return number === undefined || sha256 === undefined ? [] : [{ number: Number(number), sha256, name }];
  });
  return listed.sort((a, b) => a.number - b.number);
}

/** The newest, or the one of a number. @throws QvError backup_unknown */
export async function findBackup(root: string, number?: number): Promise<ListedBackup> {
  const listed = await listBackups(root);
  const found = number === undefined ? listed.at(-1) : listed.find((backup) => backup.number === number);
  if (found === undefined) throw new QvError('backup_unknown', { path: root });
  return found;
}

/** @throws QvError backup_damaged, input_unreadable */
export async function readManifest(root: string, { name, number, sha256 }: ListedBackup): Promise<Manifest> {
  const path = join('backups', name);
  const damaged = (value: string): QvError => new QvError('backup_damaged', { path, value });
  let bytes: Uint8Array;
  try {
    if ((await stat(join(root, path))).size > LIMITS.backupManifestBytes) throw damaged('too large');
    bytes = await readFile(join(root, path));
  } catch (cause) {
    if (cause instanceof QvError) throw cause;
    throw new QvError('input_unreadable', { path, value: (cause as NodeJS.ErrnoException).code ?? 'unreadable' });
  }
  if (sha256Hex(bytes) !== sha256) throw damaged('its SHA-256 is another one');
  const manifest = parseManifest(bytes, path);
  if (manifest.number !== number) throw damaged('number: another one than its name says');
  return manifest;
}

/** The parts of the database's file, in order. @throws QvError backup_damaged */
export async function listedParts(root: string, { parts, list }: Manifest): Promise<readonly string[]> {
  const hashes: string[] = [];
  for (const part of list) {
    const hex = Buffer.from(await readPart(root, part)).toString('hex');
    for (let at = 0; at < hex.length; at += 2 * HASH_BYTES) hashes.push(hex.slice(at, at + 2 * HASH_BYTES));
  }
  if (hashes.length !== parts || hashes.some((hash) => hash.length !== 2 * HASH_BYTES))
    throw new QvError('backup_damaged', { path: 'list', value: `${hashes.length} parts, and not ${parts}` });
  return hashes;
}

/** The last step of a backup. @throws QvError output_unwritable */
export async function writeManifest(root: string, manifest: Manifest): Promise<ListedBackup> {
  const bytes = encodeManifest(manifest);
  const sha256 = sha256Hex(bytes);
  const { number } = manifest;
  const name = `${String(number).padStart(6, '0')}.${sha256}.json`;
  const folder = join(root, 'backups');
  await orUnwritable(folder, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await syncFolder(root);
    await writeAtomically(join(folder, name), bytes, 0o600);
    await syncFolder(folder);
  });
  return { number, sha256, name };
}

/** Manifests that were being written when their writer was killed. @throws QvError output_unwritable */
export async function removeUnfinished(root: string): Promise<void> {
  const folder = join(root, 'backups');
  for (const name of await namesIn(folder))
    if (name.endsWith('.part')) await orUnwritable(folder, () => rm(join(folder, name), { force: true }));
}

/** @throws QvError output_unwritable */
export async function removeManifest(root: string, { name }: ListedBackup): Promise<void> {
  const folder = join(root, 'backups');
  await orUnwritable(folder, async () => {
    await rm(join(folder, name), { force: true });
    await syncFolder(folder);
  });
}

/**
 * Makes the folder, and holds it for one who adds or removes.
 * @throws QvError output_unwritable, also when another one does
 */
export async function holdFolder<T>(root: string, work: () => Promise<T>): Promise<T> {
  const path = join(root, 'lock');
  await orUnwritable(root, () => mkdir(root, { recursive: true, mode: 0o700 }));
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(path, { timeout: 0 });
    lock.exec('BEGIN EXCLUSIVE');
  } catch (cause) {
    lock?.close();
    const value = 'locked: is another qv backup at work?';
    throw new QvError('output_unwritable', { path, value }, { cause });
  }
  try {
    await orUnwritable(path, () => chmod(path, 0o600));
    return await work();
  } finally {
    lock.close();
  }
}
