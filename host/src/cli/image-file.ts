/** An enclave image on disk, read through one buffer, and Node's fast versions of what sees every byte of it. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { Primitives } from '@quantumvault/shared/eif/primitives.ts';
import type { ImageSource } from '@quantumvault/shared/eif/source.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { OPEN_INPUT } from './input.ts';

export const NODE_PRIMITIVES: Primitives = {
  sha384: () => createHash('sha384'),
  crc32: (bytes, previous) => crc32(bytes, previous),
};

/** Opens for as long as `use` runs. @throws QvError input_unreadable */
export async function withImageFile<T>(path: string, use: (source: ImageSource) => Promise<T>): Promise<T> {
  const file = await orUnreadable(path, () => open(path, OPEN_INPUT));
  try {
    const found = await orUnreadable(path, () => file.stat());
    if (!found.isFile()) throw new QvError('input_unreadable', { path, value: 'not a regular file' });
    return await use(await fileSource(file, path));
  } finally {
    await file.close();
  }
}

async function fileSource(file: FileHandle, path: string): Promise<ImageSource> {
  const { size } = await orUnreadable(path, () => file.stat());
  const buffer = new Uint8Array(LIMITS.eifChunkBytes);
  return {
    size,
    read: async (offset, length) => {
      const wanted = Math.min(length, buffer.length);
      const { bytesRead } = await orUnreadable(path, () => file.read(buffer, 0, wanted, offset));
      return buffer.subarray(0, bytesRead);
    },
  };
}

async function orUnreadable<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
}
