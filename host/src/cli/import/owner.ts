/** Who signs an owner's statement: a key file, or somebody elsewhere whose signature is asked for. */
import { createInterface } from 'node:readline';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { address } from '@quantumvault/shared/brands.ts';
import { fromBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Owner } from '../../client/keys.ts';
import type { Arguments, OptionSpec, Output } from '../command.ts';
import { GuardedMemory } from './guarded-memory.ts';
import { type OwnedSeed, readSeed } from './read-key.ts';
import { loadSodium } from './sodium.ts';

/** Whose statement it is: options are named after him. */
export type Signer = 'owner' | 'successor';

export const signerOptions = (who: Signer): Readonly<Record<string, OptionSpec>> => ({
  [`${who}-key`]: {
    value: '<path>',
    help: `the ${who}’s key, in any form that --key-file takes; it signs the statement`,
  },
  [who]: {
    value: '<address>',
    help: `the ${who} whose key is elsewhere: qv prints the statement and reads his signature`,
  },
});

export const OWNER_OPTIONS = signerOptions('owner');

const SECRET_KEY_BYTES = 64;
const wrong = (value: string): QvError => new QvError('usage_invalid', { value });

/** @throws QvError usage_invalid, base58_malformed */
export function requireOwner(args: Arguments, who: Signer = 'owner'): void {
  const named = args.optional(who);
  if ((named === undefined) === (args.optional(`${who}-key`) === undefined))
    throw wrong(`--${who}-key or --${who}, one of them`);
  if (named === undefined) return;
  address(named, `--${who}`);
  if (['key-fd', 'passphrase-fd'].some((name) => args.optional(name) === '0'))
    throw wrong('descriptor 0 is where the signature is read; use another one');
}

/** The owner for the length of one call, and the text that he signed; a key that was read for it is wiped. */
export async function withOwner<T>(
  args: Arguments,
  output: Output,
  use: (owner: Owner) => Promise<T>,
  who: Signer = 'owner',
): Promise<{ result: T; statement: string }> {
  let statement = '';
  const noting =
    (sign: (text: string) => Promise<Uint8Array>) =>
    (text: string): Promise<Uint8Array> => {
      statement = text;
      return sign(text);
    };
  const file = args.optional(`${who}-key`);
  if (file === undefined) {
    const signStatement = noting((text) => askSignature(text, who, output));
    return { result: await use({ address: address(args.text(who), `--${who}`), signStatement }), statement };
  }
  const seed = await readSeed({ key: { file } });
  try {
    const signStatement = noting((text) => signWith(seed, utf8(text)));
    return { result: await use({ address: seed.address, signStatement }), statement };
  } finally {
    seed.wipe();
  }
}

/** @throws QvError secret_exposed after the seed was wiped */
export async function signWith(seed: OwnedSeed, message: Uint8Array): Promise<Uint8Array> {
  const sodium = await loadSodium();
  const memory = new GuardedMemory(sodium, SECRET_KEY_BYTES);
  const signature = new Uint8Array(64);
  try {
    memory.open((secretKey) => {
      seed.use((bytes) => sodium.crypto_sign_seed_keypair(new Uint8Array(32), secretKey, bytes));
      sodium.crypto_sign_detached(signature, message, secretKey);
    });
    return signature;
  } finally {
    memory.wipe();
  }
}

/** The statement goes where nothing else is parsed; the answer is one line of standard input. */
async function askSignature(text: string, who: Signer, { stderr }: Output): Promise<Uint8Array> {
  stderr.write(`The ${who} signs this text, without a line break behind its last line:\n\n${text}\n\n`);
  stderr.write('Signature (base58 or base64): ');
  const lines = createInterface({ input: process.stdin, terminal: false });
  try {
    for await (const line of lines) return parseSignature(line.trim());
  } finally {
    lines.close();
    process.stdin.pause();
  }
  throw new QvError('input_unreadable', { path: 'standard input', value: 'no signature' });
}

/** @throws QvError base58_malformed, field_malformed */
function parseSignature(text: string): Uint8Array {
  // Base64 of 64 bytes ends with two equals signs, which base58 does not have.
  if (!text.endsWith('==')) return fromBase58(text, 64, 'signature');
  const bytes = fromBase64(text, 'signature');
  if (bytes.length !== 64) throw new QvError('field_malformed', { path: 'signature', value: 'not 64 bytes' });
  return bytes;
}
