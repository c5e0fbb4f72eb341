/**
 * A file that only grows, one JSON object per line, each on the disk before it counts. A line without its end is what a
 * crash left: nobody went by it, so the next writer takes it away.
 */
import {
  closeSync,
  constants,
  createReadStream,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { QvError } from '@quantumvault/shared/errors.ts';
import { orUnwritable } from '../atomic-file.ts';
import { OPEN_INPUT } from '../input.ts';

/** For its owner alone: what is in there is nobody else's business. */
const MODE = 0o600;
const TAIL_BYTES = 64 * 1024;

export class LineFile {
  readonly #path: string;
  readonly #file: number;

  private constructor(path: string, file: number) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws QvError output_unwritable */
  static async open(path: string): Promise<LineFile> {
    return orUnwritable(path, async () => {
      const file = openSync(
        path,
        constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW,
        MODE,
      );
      if (!fstatSync(file).isFile()) {
        closeSync(file);
        throw new QvError('output_unwritable', { path, value: 'not a regular file' });
      }
      cutTornLine(file);
      // The name, too, has to survive.
      const folder = await open(dirname(path), constants.O_RDONLY);
      await folder.sync().finally(() => folder.close());
      return new LineFile(path, file);
    });
  }

  /** On the disk when this returns. @throws QvError output_unwritable */
  append(value: unknown): void {
    try {
      const line = Buffer.from(`${JSON.stringify(value)}\n`);
      for (let at = 0; at < line.length; ) at += writeSync(this.#file, line, at);
      fsyncSync(this.#file);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? 'unwritable';
      throw new QvError('output_unwritable', { path: this.#path, value: code }, { cause });
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

function cutTornLine(file: number): void {
  const tail = Buffer.alloc(TAIL_BYTES);
  for (let end = fstatSync(file).size; end > 0; ) {
    const from = Math.max(0, end - TAIL_BYTES);
    const read = readSync(file, tail, 0, end - from, from);
    const last = tail.subarray(0, read).lastIndexOf(10);
    if (last >= 0) {
      if (from + last + 1 < fstatSync(file).size) ftruncateSync(file, from + last + 1);
      return;
    }
    end = from;
    if (end === 0) ftruncateSync(file, 0);
  }
}

/**
 * Whole lines in their order, without one that a crash cut off.
 * @throws QvError input_unreadable, body_too_large when one line is longer than that
 */
export async function* readLines(path: string, maxLineBytes: number): AsyncGenerator<Uint8Array> {
  let rest = Buffer.alloc(0);
  try {
    const file = openSync(path, OPEN_INPUT);
    if (!fstatSync(file).isFile()) {
      closeSync(file);
      throw new QvError('input_unreadable', { path, value: 'not a regular file' });
    }
    for await (const chunk of createReadStream(path, { fd: file }) as AsyncIterable<Buffer>) {
      rest = Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10)) {
        yield Uint8Array.from(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
      }
      if (rest.length > maxLineBytes) throw new QvError('body_too_large', { path });
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
}
