/** Files named on the command line. */
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type PcrSet, parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** @throws QvError input_unreadable, body_too_large */
export function readInput(path: string): Uint8Array {
  try {
    if (statSync(path).size > LIMITS.cliInputBytes) throw new QvError('body_too_large', { path });
    return Uint8Array.from(readFileSync(path));
  } catch (error) {
    if (error instanceof QvError) throw error;
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
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
