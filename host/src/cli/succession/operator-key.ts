/** An operator's Ed25519 key out of a PEM file (PKCS #8). It stays a key object. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { type Address, addressOf, type Signature } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import type { OptionSpec } from '../command.ts';
import { readInput } from '../input.ts';

export const OPERATOR_KEY: OptionSpec = {
  value: '<pem>',
  help: 'this operator’s Ed25519 private key, PKCS #8 in PEM',
  required: true,
};

export interface Operator {
  readonly address: Address;
  readonly sign: (bytes: Uint8Array) => SignedBy;
}

/** @throws QvError input_unreadable, usage_invalid */
export function operatorKey(path: string): Operator {
  const pem = Buffer.from(readInput(path));
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (cause) {
    // What OpenSSL says of it might quote the file.
    throw new QvError('usage_invalid', { value: '--operator-key is no private key in PEM' }, { cause });
  } finally {
    pem.fill(0);
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw new QvError('usage_invalid', { value: '--operator-key is not an Ed25519 key' });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const address = addressOf(Uint8Array.from(spki.subarray(-32)));
  return {
    address,
    sign: (bytes) => ({ key: address, signature: Uint8Array.from(sign(null, bytes, key)) as Signature }),
  };
}
