/** An operator's Ed25519 key out of a PEM file (PKCS #8). It stays a key object. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { type Address, addressOf, type Signature } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { OptionSpec } from '../command.ts';
import { OPEN_INPUT } from '../input.ts';

export const OPERATOR_KEY: OptionSpec = {
  value: '<pem>',
  help: 'this operator’s Ed25519 private key: PKCS #8 in PEM, mode 0600',
  required: true,
};

const OTHERS = 0o077;

export interface Operator {
  readonly address: Address;
  readonly sign: (bytes: Uint8Array) => SignedBy;
}

/** @throws QvError input_unreadable; also of a file that others may read */
export function operatorKey(path: string): Operator {
  const key = readKey(path);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const address = addressOf(Uint8Array.from(spki.subarray(-32)));
  return {
    address,
    sign: (bytes) => ({ key: address, signature: Uint8Array.from(sign(null, bytes, key)) as Signature }),
  };
}

function readKey(path: string): KeyObject {
  const unreadable = (value: string): QvError => new QvError('input_unreadable', { path, value });
  try {
    // Mode and content come from one open file, so that a swap between two looks cannot matter.
    const file = openSync(path, OPEN_INPUT);
    try {
      const facts = fstatSync(file);
      if (!facts.isFile()) throw unreadable('not a regular file');
      if (facts.size > LIMITS.configBytes) throw unreadable('too large');
      if ((facts.mode & OTHERS) !== 0) throw unreadable('other users may read or write it');
      const key = parseKey(readFileSync(file));
      if (key.asymmetricKeyType !== 'ed25519') throw unreadable('not an Ed25519 key');
      return key;
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    // Never what the parser says of the bytes.
    const { code } = error as NodeJS.ErrnoException;
    throw unreadable(code?.startsWith('E') && !code.startsWith('ERR') ? code : 'not a private key in PEM');
  }
}

function parseKey(pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } finally {
    pem.fill(0);
  }
}
