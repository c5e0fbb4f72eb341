/** Witnesses of the local stack: made and started with the commands of production. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { initDirectory } from '@quantumvault/host/witness/directory.ts';
import { formatVerifierKey, type VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { measurements } from './scenario.ts';

const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

export interface LocalWitness {
  readonly dir: string;
  readonly key: VerifierKey;
  /** As `qv init witness` prints it, and as the enclave's configuration names it. */
  readonly vkey: string;
}

export function makeWitness(dir: string, name: string): LocalWitness {
  const key = initDirectory(dir, name);
  return { dir, key, vkey: formatVerifierKey(key) };
}

/** What the witness is to accept: PCR0-2 as a file for `--pcrs`. */
export function writeMeasurements(path: string, pcrs: Readonly<Record<string, string>>): string {
  writeFileSync(path, JSON.stringify(measurements(pcrs)), { mode: 0o600 });
  return path;
}

export interface WitnessArguments {
  readonly dir: string;
  readonly logOrigin: string;
  readonly pcrsFile: string;
  /** The simulated security module's root. */
  readonly rootPem: string;
  /** Lower-case hex. */
  readonly configHash?: string;
  readonly port?: number;
}

/** For startProcess and Backend.start; the ready line then holds `url` and `key`. */
export function witnessArguments(witness: WitnessArguments): readonly string[] {
  const { dir, logOrigin, pcrsFile, rootPem, configHash, port = 0 } = witness;
  return [
    ...[QV, 'witness', '--exit-with-parent', '--dir', dir, '--listen', `127.0.0.1:${port}`],
    ...['--log-origin', logOrigin, '--pcrs', pcrsFile, '--unsafe-trusted-root', rootPem],
    ...(configHash === undefined ? [] : ['--config-hash', configHash]),
  ];
}
