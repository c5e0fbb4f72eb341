/**
 * The error table polices itself: tests note each code they were given, and a run of the whole suite fails when a
 * code stands in the table that no test ever produced.
 */
import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ERRORS } from '@quantumvault/shared/errors.ts';

const VARIABLE = 'QV_CODES_SEEN';

/** Called by every assertion on a code, in whichever worker it runs. */
export function noteCode(code: string): void {
  const directory = process.env[VARIABLE];
  if (directory !== undefined) appendFileSync(join(directory, `${process.pid}`), `${code}\n`);
}

/** Vitest's global setup; what it returns is the teardown. */
export default function setup(): () => void {
  const directory = mkdtempSync(join(tmpdir(), 'qv-codes-'));
  process.env[VARIABLE] = directory;
  return () => {
    const seen = new Set(
      readdirSync(directory).flatMap((file) => readFileSync(join(directory, file), 'utf8').split('\n')),
    );
    rmSync(directory, { recursive: true, force: true });
    const missing = Object.keys(ERRORS).filter((code) => !seen.has(code));
    // A run of a few files says nothing about the others.
    if (process.argv.slice(2).some((argument) => argument !== 'run' && !argument.startsWith('-'))) return;
    if (missing.length === 0) return;
    process.exitCode = 1;
    throw new Error(`error codes that no test produced: ${missing.join(', ')}`);
  };
}
