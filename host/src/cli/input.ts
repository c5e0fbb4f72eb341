/** Files named on the command line. */
import { X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type PcrSet, parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** Opening a named pipe would wait there for a writer; a device may have no end. */
export const OPEN_INPUT = constants.O_RDONLY | constants.O_NONBLOCK;

/**
 * A regular file and nothing else; what another program writes comes on standard input, `-`.
 * @throws QvError input_unreadable, body_too_large
 */
export function readInput(path: string): Uint8Array {
  try {
    const file = openSync(path, OPEN_INPUT);
    try {
      if (!fstatSync(file).isFile()) throw new QvError('input_unreadable', { path, value: 'not a regular file' });
      return readBounded(file, path);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
}

/** The size it had when it was opened binds nobody: files of /proc have none. */
function readBounded(file: number, path: string): Uint8Array {
  const buffer = new Uint8Array(LIMITS.cliInputBytes + 1);
  let length = 0;
  for (;;) {
    const read = readSync(file, buffer, length, buffer.length - length, null);
    length += read;
    if (length > LIMITS.cliInputBytes) throw new QvError('body_too_large', { path });
    if (read === 0) return buffer.slice(0, length);
  }
}

/** As nitro-cli prints them. @throws QvError input_unreadable, json_malformed, attestation_pcr_set_malformed */
export function readPcrSets(path: string): readonly PcrSet[] {
  return parsePcrSets(readInput(path), path);
}

/** One certificate, PEM or DER, as DER. @throws QvError input_unreadable, attestation_certificate_malformed */
export function readRoot(path: string): Uint8Array {
  const bytes = readInput(path);
  try {
    return Uint8Array.from(new X509Certificate(bytes).raw);
  } catch (error) {
    throw new QvError('attestation_certificate_malformed', { path }, { cause: error });
  }
}
