/**
 * Keys of QuantumVault v2, opened once more. Like the vault, this touches private bytes: in guarded memory, wiped in
 * `finally`, none of them returned. Only a boot whose measured configuration allows migration has it.
 *
 * | region | holds                                                        | wiped                                      |
 * |--------|--------------------------------------------------------------|--------------------------------------------|
 * | key    | the key of users' master keys, which the v2 secret yields    | at the end, when its time is up, at freeze |
 * | work   | a user's master key, the key derived from it, his bot's key  | at the end of each row                     |
 */
import { readBase58 } from '@quantumvault/shared/base58-bytes.ts';
import { addressBytes, type Hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { MigrationRow, V2Parameters } from '@quantumvault/shared/evidence/migration.ts';
import { readBase64Bytes, readHexBytes } from '@quantumvault/shared/key-text.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import sodium from 'sodium-native';
import {
  type Keyed,
  type PendingWallet,
  Region,
  traceless,
  type Vault,
  type WipeTraces,
  wipedAfter,
} from '../vault.ts';
import { type HashMemory, hkdfSha256, SHA256_STATE_BYTES } from './hkdf-sha256.ts';

/** What v2 encrypted with, and libsodium does not have. False leaves nothing but zeros in the output. */
export interface LegacyCiphers {
  /** AES-256-GCM without associated data; `plaintext` is as long as `ciphertext`. */
  openGcm(key: Uint8Array, iv: Uint8Array, ciphertext: Uint8Array, tag: Uint8Array, plaintext: Uint8Array): boolean;
  /** RFC 7914, 32 bytes. */
  scrypt(
    secret: Uint8Array,
    salt: Uint8Array,
    cost: { readonly n: number; readonly r: number; readonly p: number },
    key: Uint8Array,
  ): boolean;
}

const KEY_BYTES = 32;
const PAIR_BYTES = 64;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const TEXT_BYTES = LIMITS.migrationCiphertextBytes - IV_BYTES - TAG_BYTES;

const SIZES = {
  text: TEXT_BYTES,
  userKey: KEY_BYTES,
  botKeyKey: KEY_BYTES,
  pair: PAIR_BYTES,
  block: 64,
  state: SHA256_STATE_BYTES,
  digest: 32,
  extracted: 32,
} as const;

/** States are structs of 64-bit words: every part starts at a multiple of 16. */
const padded = (bytes: number): number => Math.ceil(bytes / 16) * 16;
const WORK_BYTES = Object.values(SIZES).reduce((sum, size) => sum + padded(size), 0);

type WorkMemory = Readonly<Record<keyof typeof SIZES, Buffer>> & HashMemory;

function layout(memory: Buffer): WorkMemory {
  let start = 0;
  const parts = Object.entries(SIZES).map(([name, size]) => {
    const part = memory.subarray(start, start + size);
    start += padded(size);
    return [name, part];
  });
  return Object.fromEntries(parts) as WorkMemory;
}

const refused = (path: string): QvError => new QvError('migration_row_refused', { path });

export class LegacyKeys {
  readonly #vault: Vault;
  readonly #ciphers: LegacyCiphers;
  readonly #sodium: Keyed;
  readonly #key: Region;
  readonly #work: Region;
  #heldFor: Hash | undefined;

  constructor(vault: Vault, ciphers: LegacyCiphers, wipeTraces: WipeTraces) {
    this.#vault = vault;
    this.#sodium = traceless(wipeTraces);
    this.#ciphers = {
      openGcm: wipedAfter(wipeTraces, ciphers.openGcm),
      scrypt: wipedAfter(wipeTraces, ciphers.scrypt),
    };
    this.#key = new Region(KEY_BYTES, wipeTraces);
    this.#work = new Region(WORK_BYTES, wipeTraces);
  }

  get lockedKilobytes(): number {
    return this.#key.lockedKilobytes + this.#work.lockedKilobytes;
  }

  /** SHA-256 of the statement that the key was sealed for; undefined while there is none. */
  get heldFor(): Hash | undefined {
    return this.#heldFor;
  }

  /**
   * Opens the v2 server's secret, which was sealed to this boot's import key together with the statement's hash. Only
   * what it yields stays.
   * @throws QvError migration_refused, the same for every fault
   */
  hold(sealed: Uint8Array, statementHash: Hash, parameters: V2Parameters): void {
    this.wipe();
    let isDerived = false;
    const isOurs = this.#vault.openSealed(sealed, statementHash, (secret) => {
      isDerived = this.#key.open((key) => this.#derive(secret, parameters, key));
    });
    if (isOurs && isDerived) this.#heldFor = statementHash;
    else {
      this.wipe();
      throw new QvError('migration_refused', { path: 'sealed' });
    }
  }

  /** False of a secret that this method does not take. */
  #derive(secret: Buffer, { serverKey, salt }: V2Parameters, key: Buffer): boolean {
    const { method, info = new Uint8Array(0), cost } = serverKey;
    if (method === 'scrypt') return cost !== undefined && this.#ciphers.scrypt(secret, salt, cost, key);
    if (method === 'none') {
      if (secret.length === KEY_BYTES) secret.copy(key);
      return secret.length === KEY_BYTES;
    }
    this.#working((part) => hkdfSha256(this.#sodium, secret, salt, info, key, part));
    return true;
  }

  /**
   * Opens a row's key into a pending slot; the caller ends it.
   * @throws QvError migration_row_refused naming what did not open, or is not the key of the row's wallet; overloaded
   */
  begin(row: MigrationRow, parameters: V2Parameters): PendingWallet {
    const begun = this.#vault.beginFrom((seed) => {
      this.#working((part) => this.#openRow(row, parameters, part, seed));
    });
    if (begun.wallet === row.wallet) return begun;
    this.#vault.endWallet(begun.slot);
    throw refused('wallet');
  }

  #openRow(row: MigrationRow, parameters: V2Parameters, part: WorkMemory, seed: Buffer): void {
    const { userKey: userKeyForm, botKeyKey: derivation, botKey, salt } = parameters;
    const { userKey, botKeyKey, pair } = part;
    const userText = this.#key.open((key) => this.#openText(key, row.encryptedUserKey, part.text));
    if (userText === undefined || read(userText, userKeyForm, userKey) !== KEY_BYTES) throw refused('userKey');
    if (derivation.method === 'none') userKey.copy(botKeyKey);
    else {
      const info = concatBytes(derivation.info ?? new Uint8Array(0), utf8(derivation.withUserId ? row.userId : ''));
      hkdfSha256(this.#sodium, userKey, salt, info, botKeyKey, part);
    }
    const botText = this.#openText(botKeyKey, row.encryptedBotKey, part.text);
    if (botText === undefined || read(botText, botKey.encoding, pair) !== botKey.bytes) throw refused('botKey');
    // A public key that is not the seed's: either half may be what was damaged.
    if (botKey.bytes === PAIR_BYTES && !sodium.sodium_memcmp(pair.subarray(KEY_BYTES), addressBytes(row.wallet)))
      throw refused('wallet');
    pair.copy(seed, 0, 0, KEY_BYTES);
  }

  #openText(key: Buffer, sealed: Uint8Array, text: Buffer): Buffer | undefined {
    const iv = sealed.subarray(0, IV_BYTES);
    const ciphertext = sealed.subarray(IV_BYTES, sealed.length - TAG_BYTES);
    const tag = sealed.subarray(sealed.length - TAG_BYTES);
    const plaintext = text.subarray(0, ciphertext.length);
    return this.#ciphers.openGcm(key, iv, ciphertext, tag, plaintext) ? plaintext : undefined;
  }

  #working(use: (part: WorkMemory) => void): void {
    this.#work.open((memory) => {
      try {
        use(layout(memory));
      } finally {
        sodium.sodium_memzero(memory);
      }
    });
  }

  /** For good; repeating it does nothing. */
  wipe(): void {
    this.#heldFor = undefined;
    this.#key.open((key) => sodium.sodium_memzero(key));
  }

  isHeldFor(statementHash: Uint8Array): boolean {
    return this.#heldFor !== undefined && equalBytes(this.#heldFor, statementHash);
  }
}

/** @returns how many bytes of `into`, from its beginning; undefined when the text is not of that form */
function read(text: Buffer, form: V2Parameters['botKey']['encoding'], into: Buffer): number | undefined {
  if (form === 'hex') return readHexBytes(text, into);
  if (form === 'base64') return readBase64Bytes(text, into);
  if (form === 'base58') return readBase58Text(text, into);
  if (text.length > into.length) return undefined;
  text.copy(into);
  return text.length;
}

/** `readBase58` writes to the end of 64 bytes. */
function readBase58Text(text: Buffer, into: Buffer): number | undefined {
  try {
    const length = readBase58(text, into);
    into.copyWithin(0, into.length - length);
    return length;
  } catch {
    return undefined;
  }
}
