/** Where a key or a passphrase is read from, into guarded memory: a descriptor, a private file, or the terminal. */
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync, type Stats } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isatty } from 'node:tty';
import { QvError } from '@quantumvault/shared/errors.ts';
import { refuseKeyAsPath } from './exposed-key.ts';
import { typedLine } from './typed-line.ts';

export type SecretSource = 'terminal' | { readonly descriptor: number } | { readonly file: string };

const OTHERS = 0o077;
/** How often a descriptor that does not block is asked again. */
const POLL_MILLISECONDS = 20;

const unreadable = (path: string, value: string, cause?: unknown): QvError =>
  new QvError('input_unreadable', { path, value }, { cause });

/**
 * @param area filled from its beginning; one byte longer than what may be read
 * @param chunk what is typed passes through it
 * @returns the part of `area` that was read
 * @throws QvError input_unreadable, body_too_large, key_file_unsafe, key_exposed, usage_invalid
 */
export async function readSecretBytes(
  source: SecretSource,
  area: Buffer,
  chunk: Buffer,
  prompt: string,
): Promise<Buffer> {
  if (source === 'terminal') return area.subarray(0, await typedLine(prompt, area, chunk));
  if ('descriptor' in source) {
    const { descriptor } = source;
    const path = `descriptor ${descriptor}`;
    requireReadable(descriptor, path);
    return area.subarray(0, await readAll(descriptor, area, path));
  }
  const { file: path } = source;
  const file = openPrivate(path);
  try {
    return area.subarray(0, await readAll(file, area, path));
  } finally {
    closeSync(file);
  }
}

/** Node's own descriptors are no others than these kinds, or pipes to itself, which would never end. */
function requireReadable(descriptor: number, path: string): void {
  const facts = factsOf(descriptor);
  if (facts === undefined) throw unreadable(path, 'not open');
  // What is typed there would show.
  if (isatty(descriptor)) throw unreadable(path, 'a terminal; without a descriptor or a file qv asks there, unseen');
  if (!facts.isFile() && !facts.isFIFO() && !facts.isSocket()) throw unreadable(path, 'neither file, pipe nor socket');
  const isOwn = readdirSync('/proc/self/fd')
    .map(Number)
    .some((other) => other !== descriptor && factsOf(other)?.ino === facts.ino);
  if (facts.isFIFO() && isOwn) throw unreadable(path, 'not open');
}

function factsOf(descriptor: number): Stats | undefined {
  try {
    return fstatSync(descriptor);
  } catch {
    return undefined;
  }
}

/** The facts are those of the open file: nobody can swap it in between. */
function openPrivate(path: string): number {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    refuseKeyAsPath(path);
    throw unreadable(path, (error as NodeJS.ErrnoException).code ?? 'unreadable', error);
  }
  const fault = faultOf(fstatSync(file), path);
  if (fault === undefined) return file;
  closeSync(file);
  throw fault;
}

function faultOf(facts: Stats, path: string): QvError | undefined {
  if (!facts.isFile()) return unreadable(path, 'not a regular file; a pipe is read as a descriptor');
  const unsafe = (value: string): QvError => new QvError('key_file_unsafe', { path, value });
  if (facts.uid !== 0 && facts.uid !== process.geteuid?.()) return unsafe('owned by another user');
  return (facts.mode & OTHERS) === 0 ? undefined : unsafe('other users may read or write it');
}

/** To its end. @returns how many bytes */
async function readAll(file: number, area: Buffer, path: string): Promise<number> {
  for (let length = 0; ; ) {
    if (length === area.length) throw new QvError('body_too_large', { path });
    try {
      const count = readSync(file, area, length, area.length - length, null);
      if (count === 0) return length;
      length += count;
    } catch (error) {
      const { code = 'unreadable' } = error as NodeJS.ErrnoException;
      if (code !== 'EAGAIN') throw unreadable(path, code, error);
      await delay(POLL_MILLISECONDS);
    }
  }
}
