/**
 * What the examples are about, from a JSON file: `url`, `deployment`, `wallet`, `destination`, and files: `pcrs` (the
 * measurements of the images allowed, as nitro-cli and `qv measure --json` print them), `requesterKey` (64 bytes).
 * `kmsKeyArn` pins the wallets' KMS key. `npm start` leaves such a file, `client.json`.
 *
 * In an application, '../src/client/index.ts' is '@quantumvault/client', and node.ts, kit.ts and web3.ts beside it are
 * '@quantumvault/client/node' and so on.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  type Address,
  address,
  type Client,
  type ClientOptions,
  createClient,
  ERRORS,
  PolicyDenied,
  parsePcrSets,
  QvError,
  type Signer,
} from '../src/client/index.ts';
import { signerFromSecretKey } from '../src/client/node.ts';

export interface Settings {
  readonly connection: ClientOptions;
  readonly client: Client;
  readonly requester: Signer;
  readonly wallet: Address;
  readonly destination: Address;
}

/** @param file default: the first argument of the command line */
export function readSettings(file = process.argv[2]): Settings {
  if (file === undefined) throw new Error(`usage: node ${process.argv[1]} <client.json>`);
  const settings = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
  const setting = (name: string): string => {
    const value = settings[name];
    if (value === undefined) throw new Error(`${file} names no ${name}`);
    return value;
  };
  const connection: ClientOptions = {
    url: setting('url'),
    deployment: setting('deployment'),
    trust: {
      pcrSets: parsePcrSets(readFileSync(setting('pcrs')), 'pcrs'),
      kmsKeyArn: setting('kmsKeyArn'),
      // Of a local stack, whose security module is simulated. With an enclave on AWS there is none to name.
      ...(settings['root'] !== undefined && {
        unsafeTrustedRootDer: new X509Certificate(readFileSync(settings['root'])).raw,
      }),
    },
  };
  return {
    connection,
    client: createClient(connection),
    requester: signerFromSecretKey(readFileSync(setting('requesterKey'))),
    wallet: address(setting('wallet')),
    destination: address(setting('destination')),
  };
}

/** Prints the result as JSON, or why there is none, and with which code to look it up. */
export async function run(example: () => Promise<object>): Promise<void> {
  try {
    console.log(JSON.stringify(await example(), (_, value) => (typeof value === 'bigint' ? String(value) : value)));
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    // A denial is a decision, with a receipt of it; whatever else went wrong is in the table.
    const denied = error instanceof PolicyDenied ? { leaf: String(error.leaf.sequence) } : {};
    console.error(JSON.stringify({ code: error.code, ...error.facts, meaning: ERRORS[error.code].meaning, ...denied }));
    process.exitCode = error instanceof PolicyDenied ? 3 : 1;
  }
}
