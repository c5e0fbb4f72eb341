/**
 * Parts of backups: files named by the SHA-256 of what is in them, so that what two backups share is there once, and so
 * that nothing in a part can change unseen. A part is there whole or not at all.
 *
 *   parts/<first two digits>/<SHA-256 in hex>    at most LIMITS.backupPartBytes, mode 0600
 */
import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { orUnwritable } from '../atomic-file.ts';

export const PARTS_FOLDER = 'parts';
export const PART_NAME = /^[0-9a-f]{64}$/;

export const sha256Hex = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const folderOf = (root: string, part: string): string => join(root, PARTS_FOLDER, part.slice(0, 2));
const pathOf = (root: string, part: string): string => join(folderOf(root, part), part);

/** What a backup adds. Nothing is durable before `sync`. */
export class PartWriter {
  readonly #root: string;
  readonly #touched = new Set<string>();
  written = 0;
  writtenBytes = 0;

  constructor(root: string) {
    this.#root = root;
  }

  /** @returns its name. @throws QvError output_unwritable */
  async put(bytes: Uint8Array): Promise<string> {
    const part = sha256Hex(bytes);
    const path = pathOf(this.#root, part);
    await orUnwritable(path, async () => {
      const folder = folderOf(this.#root, part);
      // Also of one that is there: who wrote it may have been killed before its name was durable.
      this.#touched.add(folder);
      // One that was cut short by a fault of the disk is written again; what else became of it, `verify` finds.
      if ((await sizeOf(path)) === bytes.length) return;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeDurably(path, bytes);
      this.written++;
      this.writtenBytes += bytes.length;
    });
    return part;
  }

  /** From here on all of them are there after a power cut, too. @throws QvError output_unwritable */
  async sync(): Promise<void> {
    for (const folder of [...this.#touched, join(this.#root, PARTS_FOLDER), this.#root])
      await orUnwritable(folder, () => syncFolder(folder));
  }
}

/** @throws QvError backup_damaged when it is missing or not what its name says */
export async function readPart(root: string, part: string): Promise<Uint8Array> {
  const damaged = (value: string, cause?: unknown): QvError =>
    new QvError('backup_damaged', { path: `${PARTS_FOLDER}/${part.slice(0, 2)}/${part}`, value }, { cause });
  let bytes: Uint8Array;
  try {
    const file = await open(pathOf(root, part), 'r');
    try {
      const { size } = await file.stat();
      if (size > LIMITS.backupPartBytes) throw damaged('too large');
      bytes = await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    throw damaged((error as NodeJS.ErrnoException).code ?? 'unreadable', error);
  }
  if (sha256Hex(bytes) !== part) throw damaged('its SHA-256 is another one');
  return bytes;
}

/** Removes parts that nobody names, and what a backup that was killed left. How many bytes are free again. */
export async function removeOthers(root: string, named: ReadonlySet<string>): Promise<number> {
  const parts = join(root, PARTS_FOLDER);
  let freed = 0;
  for (const folder of await namesIn(parts))
    for (const name of await namesIn(join(parts, folder))) {
      if (named.has(name)) continue;
      const path = join(parts, folder, name);
      freed += (await sizeOf(path)) ?? 0;
      await orUnwritable(path, () => rm(path, { force: true }));
    }
  return freed;
}

/** Written beside its place and renamed, so that what has the name is whole. */
async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = `${path}.part`;
  // Left behind by one that was killed: only who holds the folder's lock writes here.
  await rm(temporary, { force: true });
  const file: FileHandle = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Empty when there is no such folder. */
export async function namesIn(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw new QvError('input_unreadable', { path: folder }, { cause: error });
  }
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}
