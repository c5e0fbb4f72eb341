/**
 * Files of a published log by their paths, from a host or from a folder. Both are taken for hostile: answers are
 * bounded, redirects refused, and in a folder nothing but regular files inside of it is read.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { download } from '../client/http.ts';
import { hostConnection } from './host-connection.ts';
import { OPEN_INPUT } from './input.ts';
import { isUrl } from './text-input.ts';

export interface LogFiles {
  /** As the command line names it. */
  readonly source: string;
  readonly kind: 'url' | 'folder';
  /**
   * @param path relative, made by our own code from parsed parts
   * @returns undefined when there is no such file
   * @throws QvError host_unreachable, response_malformed; input_unreadable, body_too_large
   */
  read(path: string, maxBytes: number): Promise<Uint8Array | undefined>;
  /** The names in a folder; undefined where they cannot be had. */
  list(path: string): Promise<readonly string[] | undefined>;
}

/** @throws QvError usage_invalid when it is a URL of another form; input_unreadable when it is no folder */
export async function logFiles(source: string): Promise<LogFiles> {
  return isUrl(source) ? httpFiles(source) : folderFiles(source);
}

function httpFiles(source: string): LogFiles {
  if (!URL.canParse(source)) throw new QvError('usage_invalid', { value: 'the URL is none' });
  // fetch keeps connections alive by itself.
  const connection = hostConnection(source, { attempts: LIMITS.cliLogAttempts });
  if (connection.url.search !== '' || connection.url.hash !== '' || connection.url.username !== '')
    throw new QvError('usage_invalid', { value: 'a log’s URL has no query, fragment or user' });
  return {
    source,
    kind: 'url',
    read: (path, maxBytes) => download(connection, path, maxBytes),
    list: async () => undefined,
  };
}

async function folderFiles(source: string): Promise<LogFiles> {
  const root = await orUnreadable(source, async () => {
    if (!(await stat(source)).isDirectory())
      throw new QvError('input_unreadable', { path: source, value: 'no folder' });
    return realpath(source);
  });
  return {
    source,
    kind: 'folder',
    read: (path, maxBytes) => readRegular(root, path, maxBytes),
    list: async (path) => {
      try {
        return (await isInside(root, join(root, path))) ? await readdir(join(root, path)) : undefined;
      } catch {
        return undefined;
      }
    },
  };
}

const NO_LINKS = OPEN_INPUT | constants.O_NOFOLLOW;

/** A folder may come from somebody else: a link in it would read what its maker cannot see. */
async function readRegular(root: string, path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  const full = join(root, path);
  try {
    return await orUnreadable(path, async () => {
      if (!(await isInside(root, dirname(full)))) throw new QvError('input_unreadable', { path, value: 'a link' });
      const file = await open(full, NO_LINKS);
      try {
        if (!(await file.stat()).isFile()) throw new QvError('input_unreadable', { path, value: 'not a regular file' });
        return await readBounded(file, path, maxBytes);
      } finally {
        await file.close();
      }
    });
  } catch (error) {
    const { value } = error instanceof QvError ? error.facts : {};
    if (value === 'ENOENT' || value === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Whether a folder is where its name says, without links on the way. */
async function isInside(root: string, folder: string): Promise<boolean> {
  return (await realpath(folder)) === folder && (folder === root || folder.startsWith(join(root, '/')));
}

async function readBounded(file: FileHandle, path: string, maxBytes: number): Promise<Uint8Array> {
  const { size } = await file.stat();
  if (size > maxBytes) throw new QvError('body_too_large', { path });
  const buffer = new Uint8Array(size);
  let length = 0;
  while (length < size) {
    const { bytesRead } = await file.read(buffer, length, size - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

async function orUnreadable<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof QvError) throw error;
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
}
