/**
 * Reads one key as `qv import` does and says what came of it, each step as one line, waiting for a byte on standard
 * input in between: {"step":"read","address"|"code","value"?} and {"step":"wiped"}. Arguments: the options as JSON.
 */
import { readSync, writeSync } from 'node:fs';
import { type OwnedSeed, type ReadSeedOptions, readSeed } from '@quantumvault/host/cli/import/read-key.ts';
import { QvError } from '@quantumvault/shared/errors.ts';

const options = JSON.parse(process.argv[2] ?? '') as ReadSeedOptions & { plant?: true; pause?: true };
/** A control: what the search has to find. */
const planted: unknown[] = [];

function step(line: object): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
  if (options.pause) readSync(0, new Uint8Array(1));
}

let seed: OwnedSeed | undefined;
try {
  seed = await readSeed(options);
  if (options.plant) seed.use((bytes) => planted.push(Buffer.from(bytes).toString('hex')));
  step({ step: 'read', address: seed.address });
} catch (error) {
  if (!(error instanceof QvError)) throw error;
  step({ step: 'read', code: error.code, ...error.facts, message: error.message });
}
seed?.wipe();
step({ step: 'wiped' });
if (planted.length > 1) console.log(planted);
