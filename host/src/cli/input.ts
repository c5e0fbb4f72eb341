/** Files named on the command line. */
import { X509Certificate } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type PcrSet, parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** Opening a named pipe would wait there for a writer; a device may have no end. */
export const OPEN_INPUT = constants.O_RDONLY | constants.O_NONBLOCK;

const CHUNK_BYTES = 256 * 1024;

/**
 * A regular file and nothing else; what another program writes comes on standard input, `-`.
 * @throws QvError input_unreadable, body_too_large
 */
export function readInput(path: string, maxBytes: number = LIMITS.cliInputBytes): Uint8Array {
  try {
    const file = openSync(path, OPEN_INPUT);
    try {
      if (!fstatSync(file).isFile()) throw new QvError('input_unreadable', { path, value: 'not a regular file' });
      return readBounded(file, path, maxBytes);
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
function readBounded(file: number, path: string, maxBytes: number): Uint8Array {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (;;) {
    const chunk = new Uint8Array(CHUNK_BYTES);
    const read = readSync(file, chunk, 0, chunk.length, null);
    length += read;
    if (length > maxBytes) throw new QvError('body_too_large', { path });
    if (read === 0) return concatBytes(...chunks);
    chunks.push(chunk.subarray(0, read));
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
