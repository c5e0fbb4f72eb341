/**
 * Seals a v2 secret from descriptor 3 as `qv migrate seal` does, says what came of it in one line, and stands still.
 * Arguments: {"encoding", "statementHash", "importKey", "plant"?} as JSON, two of them in hex.
 */
import { readFileSync, readSync, writeSync } from 'node:fs';
import type { SecretEncoding } from '@quantumvault/host/cli/migrate/parameters.ts';
import { sealV2Secret } from '@quantumvault/host/cli/migrate/secret/seal-secret.ts';
import type { Hash } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';

const options = JSON.parse(process.argv[2] ?? '') as Record<string, string>;
const { encoding = '', statementHash = '', importKey = '' } = options;
/** A control: what the search has to find. */
const planted = options['plant'] === undefined ? undefined : readFileSync(options['plant'], 'utf8');

let result: object;
try {
  const target = { statementHash: fromHex(statementHash) as Hash, importKey: fromHex(importKey) };
  result = { sealed: toHex(await sealV2Secret({ descriptor: 3 }, encoding as SecretEncoding, target)) };
} catch (error) {
  if (!(error instanceof QvError)) throw error;
  result = { code: error.code, ...error.facts };
}
writeSync(1, `${JSON.stringify(result)}\n`);
readSync(0, new Uint8Array(1));
if (planted !== undefined) console.log(planted.length);
