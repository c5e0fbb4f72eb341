/** Signatures that end a freeze: made elsewhere, or here with an operator's key file. */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { address, addressOf } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { OPEN_INPUT } from './input.ts';

export interface SignedByText {
  readonly key: string;
  readonly signature: string;
}

const OTHERS = 0o077;

/** `<base58 key>:<base64 signature>` @throws QvError usage_invalid, base58_malformed, base64_malformed */
export function parseSigned(text: string): SignedByText {
  const [key, signature, ...more] = text.split(':');
  if (key === undefined || signature === undefined || more.length > 0)
    throw new QvError('usage_invalid', { value: '--signed is <base58 key>:<base64 signature>' });
  address(key, '--signed');
  if (fromBase64(signature, '--signed').length !== 64)
    throw new QvError('usage_invalid', { value: '--signed holds a signature of 64 bytes' });
  return { key, signature };
}

/** An Ed25519 key in PKCS #8 as PEM, that nobody else may read. @throws QvError input_unreadable */
export function readOperatorKey(path: string): KeyObject {
  const unreadable = (value: string, cause?: unknown) => new QvError('input_unreadable', { path, value }, { cause });
  try {
    // Mode and content come from one open file, so that a swap between two looks cannot matter.
    const file = openSync(path, OPEN_INPUT);
    try {
      const facts = fstatSync(file);
      if (!facts.isFile()) throw unreadable('not a regular file');
      if (facts.size > LIMITS.configBytes) throw unreadable('too large');
      if ((facts.mode & OTHERS) !== 0) throw unreadable('other users may read or write it');
      const key = createPrivateKey(readFileSync(file));
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

export function signStatement(key: KeyObject, statement: string): SignedByText {
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const signature = sign(null, utf8(statement), key);
  return { key: addressOf(Uint8Array.from(spki.subarray(-32))), signature: toBase64(Uint8Array.from(signature)) };
}
