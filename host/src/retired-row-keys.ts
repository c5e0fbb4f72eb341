/**
 * Which row keys a later one has replaced, as this host has seen it: none of them counts again. The database alone cannot
 * say so, because whoever can write to it can put an older state of it back, the older key's blob included; so it is kept
 * in a file of the host's own: SHA-256 of each KMS blob in hex, one in a line.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import type { Log } from './log.ts';

const LINE = /^[0-9a-f]{64}$/;

export class RetiredRowKeys {
  readonly #path: string;
  readonly #log: Log;
  readonly #hashes: Set<string>;

  /** @throws QvError config_invalid when the file is there and cannot be read */
  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
    this.#hashes = new Set(readLines(path));
  }

  has(blob: Uint8Array): boolean {
    return this.#hashes.has(toHex(sha256(blob)));
  }

  /** For good. A disk that fails is logged: then only this process knows. */
  add(hash: Uint8Array): void {
    const line = toHex(hash);
    if (this.#hashes.has(line)) return;
    this.#hashes.add(line);
    try {
      append(this.#path, `${line}\n`);
    } catch (error) {
      const reason = String((error as NodeJS.ErrnoException).code);
      this.#log.error({ reason, path: this.#path }, 'a replaced row key could not be written down');
    }
  }
}

function readLines(path: string): readonly string[] {
  const fault = (value: string, cause?: unknown): QvError =>
    new QvError('config_invalid', { path: 'retiredRowKeys', value }, { cause });
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw fault('cannot be read', error);
  }
  if (text.length > LIMITS.retiredRowKeysBytes) throw fault('too large');
  const lines = text.split('\n').filter((line) => line !== '');
  const wrong = lines.find((line) => !LINE.test(line));
  // A host that overlooked a line could take a key that leaked for a good one.
  if (wrong !== undefined) throw fault('a line that is no SHA-256 in hex');
  return lines;
}

/** Whole, or not at all: half a line would keep the host from starting. */
function append(path: string, line: string): void {
  const file = openSync(path, 'a', 0o600);
  try {
    const { size } = fstatSync(file);
    // A disk that is full takes a part, and says so by nothing else.
    if (writeSync(file, line) !== line.length) {
      ftruncateSync(file, size);
      throw Object.assign(new Error('no room'), { code: 'ENOSPC' });
    }
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
