/**
 * Verifier keys of signed notes (C2SP signed-note): `<name>+<key id in hex>+base64(type || public key)`. Two types are
 * supported: 0x01, Ed25519 over the text, and 0x04, the timestamped cosignatures of witnesses (C2SP tlog-cosignature).
 */
import { concatBytes, equalBytes, fromBase64, toBase64, toHex, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { sha256 } from '../sha256.ts';

export const KEY_TYPES = { ed25519: 0x01, cosignature: 0x04 } as const;
export type KeyType = keyof typeof KEY_TYPES;

export interface VerifierKey {
  readonly name: string;
  /** Big-endian u32. With the name it says which key signed; it is too short to prove anything. */
  readonly id: number;
  readonly type: KeyType;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

const FORM = /^([^+]+)\+([0-9a-f]{8})\+(.*)$/su;
// A name ends at the first space of a signature line and the first plus of a verifier key.
// biome-ignore lint/suspicious/noControlCharactersInRegex: notes may not have them
const NAME = /^[^\p{White_Space}\x00-\x1f+]+$/u;

export function isKeyName(name: string): boolean {
  return NAME.test(name) && name.isWellFormed();
}

/** @throws QvError log_key_malformed */
export function verifierKey(name: string, type: KeyType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name) || publicKey.length !== 32) throw new QvError('log_key_malformed');
  // key ID = SHA-256(key name || 0x0A || signature type || public key)[:4]
  const digest = sha256(concatBytes(utf8(`${name}\n`), Uint8Array.of(KEY_TYPES[type]), publicKey));
  return Object.freeze({ name, id: new DataView(digest.buffer, digest.byteOffset).getUint32(0), type, publicKey });
}

export function formatVerifierKey({ name, id, type, publicKey }: VerifierKey): string {
  return `${name}+${idHex(id)}+${toBase64(concatBytes(Uint8Array.of(KEY_TYPES[type]), publicKey))}`;
}

/** One spelling per key: what is accepted is what formatVerifierKey prints. @throws QvError log_key_malformed */
export function parseVerifierKey(text: string): VerifierKey {
  const [, name = '', , base64 = ''] = FORM.exec(text) ?? [];
  const [typeByte, ...publicKey] = keyBytes(base64);
  const type = (['ed25519', 'cosignature'] as const).find((candidate) => KEY_TYPES[candidate] === typeByte);
  if (type === undefined) throw new QvError('log_key_malformed');
  const key = verifierKey(name, type, Uint8Array.from(publicKey));
  if (formatVerifierKey(key) !== text) throw new QvError('log_key_malformed');
  return key;
}

/**
 * Keys that are counted must be distinct. A cosignature does not cover the witness's name, so under two names one
 * signature would count twice; and with an equal name and id nobody could say whose signature a line holds.
 * @throws QvError log_key_repeated
 */
export function checkDistinct(keys: readonly VerifierKey[]): void {
  for (const [index, { name, id, type, publicKey }] of keys.entries()) {
    const isRepeated = keys
      .slice(0, index)
      .some(
        (other) =>
          (other.name === name && other.id === id) || (other.type === type && equalBytes(other.publicKey, publicKey)),
      );
    if (isRepeated) throw new QvError('log_key_repeated', { value: name });
  }
}

function keyBytes(base64: string): Uint8Array {
  try {
    return fromBase64(base64);
  } catch (cause) {
    throw new QvError('log_key_malformed', {}, { cause });
  }
}

function idHex(id: number): string {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, id);
  return toHex(bytes);
}
