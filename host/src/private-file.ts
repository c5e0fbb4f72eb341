/** Files with secrets in them: read whole, and only when no other user could have read or written them. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { QvError } from '@quantumvault/shared/errors.ts';

const OTHERS = 0o007;

export interface PrivateFile {
  readonly bytes: Buffer;
  /** Another one when the content may have changed. */
  readonly stamp: string;
}

/**
 * @param field of the configuration that names the file, for the fault
 * @param user whose file it may be, besides root's; whoever runs this unless given
 * @throws QvError config_invalid with that path; whatever opening it throws
 */
export function readPrivateFile(
  path: string,
  field: string,
  maxBytes: number,
  user: number | undefined = process.geteuid?.(),
): PrivateFile {
  const fault = (value: string): QvError => new QvError('config_invalid', { path: field, value });
  // Mode and content come from one open file, so that a swap between two looks cannot matter.
  // Not waiting, because opening a named pipe would stop the whole host until somebody writes to it. Links are
  // followed: directories of secrets are replaced by swapping one, and what counts is the file that was opened.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const facts = fstatSync(file, { bigint: true });
    if (!facts.isFile()) throw fault('not a regular file');
    if (![0, user].includes(Number(facts.uid))) throw fault('owned by another user');
    if ((Number(facts.mode) & OTHERS) !== 0) throw fault('other users may read or write it');
    if (facts.size > BigInt(maxBytes)) throw fault('too large');
    return { bytes: readFileSync(file), stamp: `${facts.ino}:${facts.size}:${facts.mtimeNs}:${facts.ctimeNs}` };
  } finally {
    closeSync(file);
  }
}
