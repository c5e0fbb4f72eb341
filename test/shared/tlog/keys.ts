/** Keys that sign notes in tests. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { VerifyEd25519 } from '@quantumvault/shared/evidence/leaf.ts';
import { cosignatureBytes, cosignatureMessage } from '@quantumvault/shared/tlog/cosignature.ts';
import { type NoteSignature, noteMessage, noteSignature } from '@quantumvault/shared/tlog/note.ts';
import { type VerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import nacl from 'tweetnacl';

export interface NoteVectors {
  readonly go: Readonly<Record<'text' | 'peterKey' | 'peterSeed' | 'peterLine' | 'enochKey' | 'enochLine', string>> & {
    readonly badKeys: readonly string[];
  };
  readonly goTree: Readonly<Record<'leaf' | 'size' | 'text', string>> & { readonly bad: readonly string[] };
  readonly c2sp: Readonly<
    Record<'note' | 'checkpoint' | 'cosigned' | 'cosignatureTime' | 'cosignatureMessage', string>
  >;
  readonly formats: Readonly<Record<'timestamped' | 'timestampedTime' | 'notTimestamped', string>> &
    Readonly<Record<'keys' | 'badKeys' | 'badCheckpoints', readonly string[]>>;
}

export const vectors = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../vectors/tlog/notes.json'), 'utf8'),
) as NoteVectors;

export const verify: VerifyEd25519 = (signature, message, key) => nacl.sign.detached.verify(message, signature, key);

export interface NoteSigner {
  readonly key: VerifierKey;
  readonly sign: (text: string) => NoteSignature;
}

export function logSigner(name: string, seed: Uint8Array = nacl.randomBytes(32)): NoteSigner {
  const pair = nacl.sign.keyPair.fromSeed(seed);
  const key = verifierKey(name, 'ed25519', pair.publicKey);
  return { key, sign: (text) => noteSignature(key, nacl.sign.detached(noteMessage(text), pair.secretKey)) };
}

export function witnessSigner(name: string, timeSeconds: bigint, seed: Uint8Array = nacl.randomBytes(32)): NoteSigner {
  const pair = nacl.sign.keyPair.fromSeed(seed);
  const key = verifierKey(name, 'cosignature', pair.publicKey);
  const sign = (text: string): NoteSignature => {
    const signature = nacl.sign.detached(cosignatureMessage(text, timeSeconds), pair.secretKey);
    return noteSignature(key, cosignatureBytes({ timeSeconds, signature }));
  };
  return { key, sign };
}
