/**
 * A witness's directory: its private key and its memory. They belong together and to one machine: a copy of the key
 * that works with an older memory can be led to cosign two histories.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { cosignatureBytes, cosignatureMessage } from '@quantumvault/shared/tlog/cosignature.ts';
import { type NoteSignature, noteSignature } from '@quantumvault/shared/tlog/note.ts';
import {
  formatVerifierKey,
  parseVerifierKey,
  type VerifierKey,
  verifierKey,
} from '@quantumvault/shared/tlog/verifier-key.ts';
import { verifyEd25519 } from '../ed25519.ts';
import { WitnessStore } from './store.ts';

export const KEY_FILE = 'witness.pem';
export const MEMORY_FILE = 'witness.db';

/** A URL without its scheme, as the specification recommends; narrower than what notes allow. */
export const WITNESS_NAME = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,126}$/;

const OTHERS = 0o077;
/** Cosignatures and notes begin otherwise. */
const PROBE = utf8('qv/witness-probe/v1');

/** Cosigns without asking: whoever calls has looked and stored. */
export interface Cosigner {
  readonly key: VerifierKey;
  cosign(text: string, timeSeconds: bigint): NoteSignature;
}

export interface OpenedDirectory {
  readonly store: WitnessStore;
  readonly cosigner: Cosigner;
}

const invalid = (path: string, value: string, cause?: unknown): QvError =>
  new QvError('config_invalid', { path, value }, { cause });

/**
 * Makes key and memory, once; of two at the same time one wins. Interrupted in between, it leaves a directory that
 * openDirectory refuses, whose key nobody has seen.
 * @throws QvError already_initialised, config_invalid
 */
export function initDirectory(dir: string, name: string): VerifierKey {
  if (!WITNESS_NAME.test(name)) throw invalid('name', `must match ${WITNESS_NAME.source}`);
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = publicPart(name, privateKey);
  const [keyPath, memoryPath] = [join(dir, KEY_FILE), join(dir, MEMORY_FILE)];
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    // Memory without a key is another witness's, or what is left of one.
    closeSync(openSync(memoryPath, 'wx', 0o600));
    try {
      // secret-rule: the key is made here, and this file is the one place that keeps it
      writeFileSync(keyPath, privateKey.export({ format: 'pem', type: 'pkcs8' }), {
        flag: 'wx',
        mode: 0o600,
        flush: true,
      });
      WitnessStore.create(memoryPath, formatVerifierKey(key));
    } catch (error) {
      rmSync(memoryPath, { force: true });
      if (!isExisting(error)) rmSync(keyPath, { force: true });
      throw error;
    }
    syncDirectory(dir);
  } catch (error) {
    if (isExisting(error)) throw new QvError('already_initialised', { path: dir });
    throw invalid(dir, (error as NodeJS.ErrnoException).code ?? 'cannot be written', error);
  }
  return key;
}

/** @throws QvError config_invalid naming the file */
export function openDirectory(dir: string): OpenedDirectory {
  const privateKey = readPrivateKey(join(dir, KEY_FILE));
  const memoryPath = resolve(dir, MEMORY_FILE);
  const store = new WitnessStore(memoryPath);
  try {
    return { store, cosigner: cosignerOf(privateKey, store.vkey, memoryPath) };
  } catch (error) {
    store.close();
    throw error;
  }
}

function cosignerOf(privateKey: KeyObject, vkey: string, memoryPath: string): Cosigner {
  const key = remembered(vkey, memoryPath);
  if (!equalBytes(publicPart(key.name, privateKey).publicKey, key.publicKey))
    throw invalid(memoryPath, 'the memory of another key');
  const cosign = (text: string, timeSeconds: bigint): NoteSignature => {
    const signature = sign(null, cosignatureMessage(text, timeSeconds), privateKey);
    return noteSignature(key, cosignatureBytes({ timeSeconds, signature }));
  };
  // A key file that was damaged shows here and not at the first checkpoint.
  if (!verifyEd25519(sign(null, PROBE, privateKey), PROBE, key.publicKey))
    throw invalid(memoryPath, 'the key does not sign');
  return { key, cosign };
}

function remembered(vkey: string, memoryPath: string): VerifierKey {
  try {
    return parseVerifierKey(vkey);
  } catch (cause) {
    throw invalid(memoryPath, 'names no verifier key', cause);
  }
}

function readPrivateKey(path: string): KeyObject {
  let pem: Buffer;
  try {
    // Mode and content come from one open file. Not waiting, because a named pipe may have no writer.
    const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const facts = fstatSync(file);
      if (!facts.isFile()) throw invalid(path, 'not a regular file');
      if (![0, process.geteuid?.()].includes(facts.uid)) throw invalid(path, 'owned by another user');
      if ((facts.mode & OTHERS) !== 0) throw invalid(path, 'other users may read or write it');
      pem = readFileSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    throw invalid(path, (error as NodeJS.ErrnoException).code ?? 'cannot be read', error);
  }
  return parsePrivateKey(path, pem);
}

function parsePrivateKey(path: string, pem: Buffer): KeyObject {
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: pem, format: 'pem' });
  } catch (cause) {
    throw invalid(path, 'not a private key in PEM', cause);
  } finally {
    pem.fill(0);
  }
  if (key.asymmetricKeyType !== 'ed25519') throw invalid(path, 'not an Ed25519 key');
  return key;
}

function publicPart(name: string, privateKey: KeyObject): VerifierKey {
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
  return verifierKey(name, 'cosignature', new Uint8Array(spki.subarray(-32)));
}

/** The names of new files are on the disk once their directory is. */
function syncDirectory(dir: string): void {
  const handle = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function isExisting(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'EEXIST';
}
