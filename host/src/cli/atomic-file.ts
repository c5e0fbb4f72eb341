/**
 * Files that are there whole or not at all: written beside their place under another name, then renamed. What stood
 * there before stays until then, and nothing is left behind on failure.
 */
import { randomBytes } from 'node:crypto';
import { createReadStream, lstatSync, unlinkSync, writeSync } from 'node:fs';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { QvError } from '@quantumvault/shared/errors.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** For everybody whom the umask lets. */
const ORDINARY_MODE = 0o666;

export class AtomicFile {
  readonly #path: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #onSignal: (signal: NodeJS.Signals) => void;

  private constructor(path: string, temporary: string, handle: FileHandle) {
    this.#path = path;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#onSignal = (signal) => {
      this.#forget();
      process.kill(process.pid, signal);
    };
    for (const signal of SIGNALS) process.once(signal, this.#onSignal);
  }

  /** @throws QvError output_unwritable */
  static async create(path: string, mode = ORDINARY_MODE): Promise<AtomicFile> {
    return orUnwritable(path, async () => {
      requireReplaceable(path);
      const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(8).toString('hex')}.part`);
      return new AtomicFile(path, temporary, await open(temporary, 'wx', mode));
    });
  }

  /** @throws QvError output_unwritable */
  async write(bytes: Uint8Array | string): Promise<void> {
    await orUnwritable(this.#path, () => this.#handle.writeFile(bytes));
  }

  /** For callbacks that cannot wait. @throws QvError output_unwritable */
  writeSync(text: string): void {
    const bytes = Buffer.from(text);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#handle.fd, bytes, at);
    } catch (error) {
      throw unwritable(this.#path, error);
    }
  }

  /** What was written so far, to somewhere else. */
  async copyTo(stream: NodeJS.WritableStream): Promise<void> {
    try {
      await pipeline(createReadStream(this.#temporary), stream, { end: false });
    } catch (error) {
      // Whoever read it has seen enough (`| head`).
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EPIPE' && code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    }
  }

  /** From here on the file is there, and after a power cut too. @throws QvError output_unwritable */
  async commit(): Promise<void> {
    await orUnwritable(this.#path, async () => {
      await this.#handle.sync();
      await this.#handle.close();
      await rename(this.#temporary, this.#path);
      this.#release();
    });
  }

  /** After commit it does nothing. */
  async discard(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    this.#forget();
  }

  #forget(): void {
    this.#release();
    try {
      unlinkSync(this.#temporary);
    } catch {
      // Renamed, or somebody else removed it.
    }
  }

  #release(): void {
    for (const signal of SIGNALS) process.removeListener(signal, this.#onSignal);
  }
}

/** @throws QvError output_unwritable */
export async function writeAtomically(path: string, bytes: Uint8Array | string, mode?: number): Promise<void> {
  const file = await AtomicFile.create(path, mode);
  try {
    await file.write(bytes);
    await file.commit();
  } finally {
    await file.discard();
  }
}

/** Renaming over a device or a link to one, /dev/stdout for example, would break the machine. */
function requireReplaceable(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found !== undefined && !found.isFile())
    throw new QvError('output_unwritable', { path, value: 'not a regular file' });
}

export async function orUnwritable<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof QvError) throw error;
    throw unwritable(path, error);
  }
}

function unwritable(path: string, error: unknown): QvError {
  const value = (error as NodeJS.ErrnoException).code ?? 'unwritable';
  return new QvError('output_unwritable', { path, value }, { cause: error });
}
