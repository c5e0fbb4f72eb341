/**
 * A trading backend in a few lines, against the stack that `npm start` left running.
 * `node test/stack/example.ts <client.json> [lamports]`
 */
import { readFileSync } from 'node:fs';
import { readPcrSets, readRoot } from '@quantumvault/host/cli/input.ts';
import { createClient, PolicyDenied } from '@quantumvault/host/client/client.ts';
import { signerFromSecretKey } from '@quantumvault/host/client/node.ts';
import { address } from '@quantumvault/shared/brands.ts';
import { ERRORS, QvError } from '@quantumvault/shared/errors.ts';
import { transfer } from './scenario.ts';

const [file, lamports = '1000000'] = process.argv.slice(2);
if (file === undefined) throw new Error('usage: example.ts <client.json> [lamports]');
const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
const setting = (name: string): string => settings[name] ?? '';

const client = createClient({
  url: setting('url'),
  deployment: setting('deployment'),
  trust: {
    pcrSets: readPcrSets(setting('pcrs')),
    kmsKeyArn: setting('kmsKeyArn'),
    unsafeTrustedRootDer: readRoot(setting('root')),
  },
});
const requester = signerFromSecretKey(Uint8Array.from(readFileSync(setting('requesterKey'))));
const wallet = address(setting('wallet'));
const { wire } = transfer(wallet, address(setting('destination')), BigInt(lamports));

try {
  const { id, signatureBase58, lamportsOut, leaf } = await client.sign({ wallet, transaction: wire, requester });
  console.log({ id, signature: signatureBase58, lamportsOut, leaf: leaf.sequence });
} catch (error) {
  if (error instanceof PolicyDenied) {
    console.log({ denied: error.facts, leaf: error.leaf.sequence });
    process.exitCode = 3;
  } else if (error instanceof QvError) {
    console.error(`refused: ${error.code}. ${ERRORS[error.code].meaning}`);
    process.exitCode = 1;
  } else {
    throw error;
  }
}
