/**
 * The only file that touches private bytes, beside those of migration/, of which most boots have none.
 *
 * Everything secret lives in guarded memory of libsodium (guard pages, locked, excluded from core files), allocated
 * once, because exhausting it aborts the process. The pages are inaccessible except inside the synchronous calls
 * below, and each call wipes what it used in `finally`. Nothing secret is returned, with two named exceptions: the
 * fleet's row key, which the design hands to the host, and signatures, MACs and ciphertexts, which are public.
 *
 * | region  | holds                                             | wiped                                  |
 * |---------|---------------------------------------------------|----------------------------------------|
 * | boot    | the boot key                                      | never: it lives as long as the process |
 * | import  | the import key's private half                     | never: it lives as long as the process |
 * | pending | seeds of wallets that are made or re-wrapped      | at the end of that                     |
 * | work    | execution key, derived keys, seed, signing key    | at the end of each call                |
 * | kept    | execution keys inside their time to live, if any  | by `forget` (kept-keys.ts)             |
 *
 * What libsodium and OpenSSL leave on the stack and in registers is wiped after each call and whenever a region closes:
 * V8 writes registers to the heap when it drops optimised code. Outside of all this, in OpenSSL: the recipient key, a
 * handle that names no bytes, dropped with its document.
 */
import { type Address, addressOf, type Hash, type Signature, signature } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import sodium from 'sodium-native';
import type { Envelope } from './cms.ts';

const KEY_BYTES = 32;
const SECRET_KEY_BYTES = 64;
const HASH_BYTES = 32;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
/** What a sealed box is longer than its content. */
const BOX_BYTES = 32 + TAG_BYTES;
/** How far below a call of libsodium its own frames reach, and how far everything inside an open region does. */
const SHALLOW_STACK_BYTES = 16 * 1024;
const DEEP_STACK_BYTES = 128 * 1024;
const PAGE_BYTES = 4096;
/** libsodium's, in front of each allocation. */
const CANARY_BYTES = 16;
/** A 32-byte key under AES-CBC with PKCS#7 padding: its two blocks and one block of sixteen 16s. */
const WRAPPED_KEY_BYTES = 48;

const INFO_WALLET = utf8('qv/v1/wallet');
const INFO_POLICY = utf8('qv/v1/policy');
const INFO_STATE = utf8('qv/v1/state');

/** Makes RSA-2048 key pairs. */
export interface RecipientKeys {
  generate(): Promise<RecipientKey>;
}

/** A key pair that one attestation document names. No byte of its private half enters JavaScript. */
export interface RecipientKey {
  /** DER SubjectPublicKeyInfo, the document's `public_key`. */
  readonly spki: Uint8Array;
  /**
   * Opens what was sealed for it. True leaves the 32-byte key at the start of `work`; the rest of it, at least
   * OPEN_BYTES in all, is for the steps on the way. False says no more than that it did not open.
   */
  open(envelope: Envelope, work: Buffer): boolean;
  /** Wipes the private half. Nothing opens any more. */
  drop(): void;
}

/** Overwrites vector registers, and so many bytes of the stack below the caller. */
export type WipeTraces = (stackBytes: number) => void;

export interface VaultOptions {
  readonly recipientKeys: RecipientKeys;
  readonly wipeTraces: WipeTraces;
  /** Execution keys that may be kept at a time; default none. */
  readonly keptKeys?: number;
}

/** A seed in a pending slot, until `endWallet`. */
export interface PendingWallet {
  readonly slot: number;
  readonly wallet: Address;
}

/** A key that is sealed under the one in an envelope, for XChaCha20-Poly1305 with these associated data. */
export interface SealedKey {
  readonly sealed: Uint8Array;
  readonly associated: Uint8Array;
}

export interface UnwrapOptions {
  /** Where the execution key stays until it is forgotten. */
  readonly keepIn?: number | undefined;
  /** What the envelope has is not the execution key, but what this one is sealed under. */
  readonly sealed?: SealedKey | undefined;
}

/** The keys of one wallet, usable only inside the callback that received them. */
export interface WalletKeys {
  /** HMAC over bytes that carry their purpose. */
  policyMac(bytes: Uint8Array): Uint8Array;
  policyMacHolds(mac: Uint8Array, bytes: Uint8Array): boolean;
  sealState(plaintext: Uint8Array, associated: Uint8Array): Uint8Array;
  /** Undefined when the blob does not open. */
  openState(blob: Uint8Array, associated: Uint8Array): Uint8Array | undefined;
  /** Moves a pending seed under the wallet key. */
  sealPendingSeed(slot: number, associated: Uint8Array): Uint8Array;
  /** Whether the seed's blob belongs to these keys: tells a wrong key from a wrong blob. */
  seedOpens(sealedSeed: Uint8Array, associated: Uint8Array): boolean;
  /** Unseals the seed and compares its public key with `wallet`. @throws QvError sealed_seed_invalid */
  requireSeed(sealedSeed: Uint8Array, associated: Uint8Array, wallet: Address): void;
  /**
   * Moves the seed into a pending slot, until `endWallet`.
   * @throws QvError sealed_seed_invalid; overloaded when all slots are taken
   */
  unsealSeed(sealedSeed: Uint8Array, associated: Uint8Array, wallet: Address): PendingWallet;
  /**
   * Unseals the seed, compares its public key with `wallet`, signs.
   * @throws QvError sealed_seed_invalid
   */
  sign(sealedSeed: Uint8Array, associated: Uint8Array, wallet: Address, message: Uint8Array): Signature;
}

export type Keyed = Pick<
  typeof sodium,
  | 'crypto_auth'
  | 'crypto_auth_verify'
  | 'crypto_box_keypair'
  | 'crypto_box_seal_open'
  | 'crypto_hash_sha256'
  | 'crypto_hash_sha256_init'
  | 'crypto_hash_sha256_update'
  | 'crypto_hash_sha256_final'
  | 'crypto_sign_keypair'
  | 'crypto_sign_seed_keypair'
  | 'crypto_sign_detached'
  | 'crypto_aead_xchacha20poly1305_ietf_encrypt'
  | 'crypto_aead_xchacha20poly1305_ietf_decrypt'
>;

/** The same call, leaving no trace of secrets that it took. */
export function wipedAfter<A extends unknown[], R>(
  wipeTraces: WipeTraces,
  call: (...parameters: A) => R,
): (...parameters: A) => R {
  return (...parameters) => {
    try {
      return call(...parameters);
    } finally {
      wipeTraces(SHALLOW_STACK_BYTES);
    }
  };
}

/** What of libsodium takes secrets. */
export function traceless(wipeTraces: WipeTraces): Keyed {
  const wiped = <A extends unknown[], R>(call: (...parameters: A) => R) => wipedAfter(wipeTraces, call);
  return {
    crypto_auth: wiped(sodium.crypto_auth),
    crypto_auth_verify: wiped(sodium.crypto_auth_verify),
    crypto_box_keypair: wiped(sodium.crypto_box_keypair),
    crypto_box_seal_open: wiped(sodium.crypto_box_seal_open),
    crypto_hash_sha256: wiped(sodium.crypto_hash_sha256),
    crypto_hash_sha256_init: wiped(sodium.crypto_hash_sha256_init),
    crypto_hash_sha256_update: wiped(sodium.crypto_hash_sha256_update),
    crypto_hash_sha256_final: wiped(sodium.crypto_hash_sha256_final),
    crypto_sign_keypair: wiped(sodium.crypto_sign_keypair),
    crypto_sign_seed_keypair: wiped(sodium.crypto_sign_seed_keypair),
    crypto_sign_detached: wiped(sodium.crypto_sign_detached),
    crypto_aead_xchacha20poly1305_ietf_encrypt: wiped(sodium.crypto_aead_xchacha20poly1305_ietf_encrypt),
    crypto_aead_xchacha20poly1305_ietf_decrypt: wiped(sodium.crypto_aead_xchacha20poly1305_ietf_decrypt),
  };
}

/** A guarded allocation, unreadable outside of `open`. */
export class Region {
  readonly #memory: Buffer;
  readonly #wipeTraces: WipeTraces;
  #depth = 0;

  constructor(bytes: number, wipeTraces: WipeTraces) {
    this.#wipeTraces = wipeTraces;
    this.#memory = sodium.sodium_malloc(bytes);
    sodium.sodium_memzero(this.#memory);
    sodium.sodium_mprotect_noaccess(this.#memory);
  }

  /** What libsodium asks the kernel to lock for it. */
  get lockedKilobytes(): number {
    return (Math.ceil((CANARY_BYTES + this.#memory.length) / PAGE_BYTES) * PAGE_BYTES) / 1024;
  }

  /** Synchronous by construction: no other work can run while the pages are readable. */
  open<T>(use: (memory: Buffer) => T): T {
    if (this.#depth++ === 0) sodium.sodium_mprotect_readwrite(this.#memory);
    try {
      return use(this.#memory);
    } finally {
      if (--this.#depth === 0) {
        sodium.sodium_mprotect_noaccess(this.#memory);
        this.#wipeTraces(DEEP_STACK_BYTES);
      }
    }
  }
}

/** Byte ranges inside the work region. */
function layout(memory: Buffer) {
  const part = (start: number, length: number): Buffer => memory.subarray(start, start + length);
  return {
    /** What an envelope is opened in; the execution key is its beginning. */
    opening: part(256, OPEN_BYTES),
    executionKey: part(256, KEY_BYTES),
    extracted: part(0, KEY_BYTES),
    /** What an execution key is sealed under beside KMS. */
    secondKey: part(32, KEY_BYTES),
    walletKey: part(64, KEY_BYTES),
    policyKey: part(96, KEY_BYTES),
    stateKey: part(128, KEY_BYTES),
    seed: part(160, KEY_BYTES),
    secretKey: part(192, SECRET_KEY_BYTES),
    /** What a box is opened to: the hash of a statement, and as many bytes as there are behind it. */
    imported: part(256, OPEN_BYTES),
    importedHash: part(256, HASH_BYTES),
  };
}
/** Enough for the encoded block under RSA-2048, the content key and the padded content. */
const OPEN_BYTES = 512;
const WORK_BYTES = 256 + OPEN_BYTES;

export class Vault {
  readonly bootPublicKey: Uint8Array;
  /** X25519: what keys from outside are sealed to. */
  readonly importPublicKey: Uint8Array;
  readonly #recipientKeys: RecipientKeys;
  readonly #sodium: Keyed;
  readonly #boot: Region;
  readonly #import: Region;
  readonly #pending: Region;
  readonly #work: Region;
  readonly #kept: Region | undefined;
  readonly #freeSlots = Array.from({ length: LIMITS.pendingWalletCreations }, (_, slot) => slot);

  /** Allocates, and draws boot key and import key: the module's randomness must be mixed into the kernel before (design 4). */
  constructor({ recipientKeys, wipeTraces, keptKeys = 0 }: VaultOptions) {
    this.#recipientKeys = recipientKeys;
    this.#sodium = traceless(wipeTraces);
    this.#boot = new Region(SECRET_KEY_BYTES, wipeTraces);
    this.#import = new Region(KEY_BYTES, wipeTraces);
    this.#pending = new Region(LIMITS.pendingWalletCreations * KEY_BYTES, wipeTraces);
    this.#work = new Region(WORK_BYTES, wipeTraces);
    this.#kept = keptKeys === 0 ? undefined : new Region(keptKeys * KEY_BYTES, wipeTraces);
    this.bootPublicKey = new Uint8Array(32);
    this.#boot.open((secretKey) => this.#sodium.crypto_sign_keypair(this.bootPublicKey, secretKey));
    this.importPublicKey = new Uint8Array(KEY_BYTES);
    this.#import.open((secretKey) => this.#sodium.crypto_box_keypair(this.importPublicKey, secretKey));
  }

  signAsBoot(message: Uint8Array): Signature {
    const result = new Uint8Array(64);
    this.#boot.open((secretKey) => this.#sodium.crypto_sign_detached(result, message, secretKey));
    return signature(result);
  }

  /** What the kernel has to hold in memory for this vault. */
  get lockedKilobytes(): number {
    const regions = [this.#boot, this.#import, this.#pending, this.#work, this.#kept];
    return regions.reduce((sum, region) => sum + (region?.lockedKilobytes ?? 0), 0);
  }

  newRecipient(): Promise<RecipientKey> {
    return this.#recipientKeys.generate();
  }

  /** Draws a wallet seed into a pending slot. @throws QvError overloaded when all slots are taken */
  beginWallet(): PendingWallet {
    return this.beginFrom((seed) => sodium.randombytes_buf(seed));
  }

  /**
   * Opens a seed that was sealed to the import key into a pending slot. The box has to be for the statement of this
   * hash, and the seed has to be the wallet's.
   * @throws QvError import_refused, the same for every fault; overloaded when all slots are taken
   */
  beginImport(sealed: Uint8Array, statementHash: Hash, wallet: Address): PendingWallet {
    let isOurs = false;
    const begun = this.beginFrom((seed) => {
      isOurs = this.openSealed(sealed, statementHash, (importedSeed) => importedSeed.copy(seed));
    });
    if (isOurs && begun.wallet === wallet) return begun;
    this.endWallet(begun.slot);
    throw new QvError('import_refused', { path: 'sealed' });
  }

  /**
   * Opens a box that was sealed to the import key for the statement of this hash, and lends `use` what is behind the
   * hash. False when it does not open, or is for another statement.
   */
  openSealed(sealed: Uint8Array, statementHash: Hash, use: (imported: Buffer) => void): boolean {
    const length = sealed.length - BOX_BYTES;
    if (length <= HASH_BYTES || length > OPEN_BYTES) return false;
    return this.#work.open((memory) => {
      const { imported, importedHash } = layout(memory);
      const opened = imported.subarray(0, length);
      try {
        const isOpen = this.#import.open((secretKey) =>
          this.#sodium.crypto_box_seal_open(opened, sealed, this.importPublicKey, secretKey),
        );
        const isOurs = isOpen && sodium.sodium_memcmp(importedHash, statementHash);
        if (isOurs) use(opened.subarray(HASH_BYTES));
        return isOurs;
      } finally {
        sodium.sodium_memzero(memory);
      }
    });
  }

  /** A seed that `fill` brings, in a pending slot. @throws QvError overloaded when all slots are taken; what `fill` throws */
  beginFrom(fill: (seed: Buffer) => void): PendingWallet {
    const slot = this.#freeSlots.pop();
    if (slot === undefined) throw new QvError('overloaded', { path: 'pendingWalletCreations' });
    const publicKey = new Uint8Array(32);
    try {
      this.#pending.open((pending) => {
        const seed = pendingSeed(pending, slot);
        fill(seed);
        this.#work.open((memory) => {
          try {
            this.#sodium.crypto_sign_seed_keypair(publicKey, layout(memory).secretKey, seed);
          } finally {
            sodium.sodium_memzero(memory);
          }
        });
      });
      return { slot, wallet: addressOf(publicKey) };
    } catch (error) {
      this.endWallet(slot);
      throw error;
    }
  }

  /** Ends a creation, successful or not: wipes the slot. */
  endWallet(slot: number): void {
    this.#pending.open((pending) => sodium.sodium_memzero(pendingSeed(pending, slot)));
    this.#freeSlots.push(slot);
  }

  /**
   * Opens the envelope, derives the wallet's keys, runs `use`, wipes.
   * @throws QvError kms_response_invalid when the envelope does not open, key_blob_invalid when the sealed key does not,
   * and whatever `use` throws
   */
  withWalletKeys<T>(
    recipient: RecipientKey,
    envelope: Envelope,
    salt: Uint8Array,
    use: (keys: WalletKeys) => T,
    { keepIn, sealed }: UnwrapOptions = {},
  ): T {
    return this.#withKeys(salt, use, (part) => {
      this.#openKey(part, recipient, envelope, sealed);
      if (keepIn !== undefined) this.#slot(keepIn, (slot) => part.executionKey.copy(slot));
    });
  }

  /** Into the work region's execution key. @throws QvError kms_response_invalid, key_blob_invalid */
  #openKey(
    { opening, executionKey, secondKey }: ReturnType<typeof layout>,
    recipient: RecipientKey,
    envelope: Envelope,
    sealed: SealedKey | undefined,
  ): void {
    openEnvelope(recipient, envelope, opening);
    if (sealed === undefined) return;
    executionKey.copy(secondKey);
    const isOpen = open(this.#sodium, sealed.sealed, sealed.associated, secondKey, executionKey);
    sodium.sodium_memzero(secondKey);
    if (!isOpen) throw new QvError('key_blob_invalid', { path: 'second' });
  }

  /**
   * Seals the key in `envelope` under the one in `under`. Both are opened here and wiped here: whoever waited for the one
   * has kept the other as it came from KMS.
   * @throws QvError kms_response_invalid
   */
  sealUnder(recipient: RecipientKey, envelope: Envelope, under: Envelope, associated: Uint8Array): Uint8Array {
    return this.#work.open((memory) => {
      const { opening, executionKey, secondKey } = layout(memory);
      try {
        openEnvelope(recipient, under, opening);
        executionKey.copy(secondKey);
        openEnvelope(recipient, envelope, opening);
        return seal(this.#sodium, executionKey, associated, secondKey);
      } finally {
        sodium.sodium_memzero(memory);
      }
    });
  }

  /** The same with the execution key of a slot. */
  withKeptKeys<T>(kept: number, salt: Uint8Array, use: (keys: WalletKeys) => T): T {
    return this.#withKeys(salt, use, ({ executionKey }) => this.#slot(kept, (slot) => slot.copy(executionKey)));
  }

  /** Wipes a slot. */
  forget(kept: number): void {
    this.#slot(kept, (slot) => sodium.sodium_memzero(slot));
  }

  #slot(index: number, use: (slot: Buffer) => void): void {
    if (this.#kept === undefined) throw new Error('no keys are kept here');
    this.#kept.open((memory) => use(memory.subarray(index * KEY_BYTES, (index + 1) * KEY_BYTES)));
  }

  #withKeys<T>(salt: Uint8Array, use: (keys: WalletKeys) => T, fill: (part: ReturnType<typeof layout>) => void): T {
    return this.#work.open((memory) => {
      const part = layout(memory);
      const live = { now: true };
      try {
        fill(part);
        // HKDF (RFC 5869) over HMAC-SHA-512-256: extract with the salt, one block of expansion per info.
        this.#sodium.crypto_auth(part.extracted, part.executionKey, salt);
        this.#sodium.crypto_auth(part.walletKey, concatBytes(INFO_WALLET, Uint8Array.of(1)), part.extracted);
        this.#sodium.crypto_auth(part.policyKey, concatBytes(INFO_POLICY, Uint8Array.of(1)), part.extracted);
        this.#sodium.crypto_auth(part.stateKey, concatBytes(INFO_STATE, Uint8Array.of(1)), part.extracted);
        return use(this.#keys(part, live));
      } finally {
        live.now = false;
        sodium.sodium_memzero(memory);
      }
    });
  }

  /**
   * The fleet's row key, for the host: the one key that leaves. Whoever asked wipes it.
   * @throws QvError kms_response_invalid, key_blob_invalid
   */
  openRowKey(recipient: RecipientKey, envelope: Envelope, sealed?: SealedKey): Secret {
    return this.#work.open((memory) => {
      try {
        const part = layout(memory);
        this.#openKey(part, recipient, envelope, sealed);
        const rowKey = new Secret(new ArrayBuffer(KEY_BYTES));
        rowKey.use((bytes) => bytes.set(part.executionKey));
        return rowKey;
      } finally {
        sodium.sodium_memzero(memory);
      }
    });
  }

  /** Seed and signing key into the work region. @throws QvError sealed_seed_invalid */
  #unseal(part: ReturnType<typeof layout>, sealedSeed: Uint8Array, associated: Uint8Array, wallet: Address): void {
    if (!open(this.#sodium, sealedSeed, associated, part.walletKey, part.seed))
      throw new QvError('sealed_seed_invalid');
    const publicKey = new Uint8Array(32);
    this.#sodium.crypto_sign_seed_keypair(publicKey, part.secretKey, part.seed);
    // A blob moved from another wallet would open only under that wallet's keys; this is the second lock.
    if (addressOf(publicKey) !== wallet) throw new QvError('sealed_seed_invalid');
  }

  #keys(part: ReturnType<typeof layout>, live: { now: boolean }): WalletKeys {
    const guard = (): void => {
      if (!live.now) throw new Error('wallet keys used after their call');
    };
    return {
      policyMac: (bytes) => {
        guard();
        const mac = new Uint8Array(32);
        this.#sodium.crypto_auth(mac, bytes, part.policyKey);
        return mac;
      },
      policyMacHolds: (mac, bytes) => {
        guard();
        return mac.length === 32 && this.#sodium.crypto_auth_verify(mac, bytes, part.policyKey);
      },
      sealState: (plaintext, associated) => {
        guard();
        return seal(this.#sodium, plaintext, associated, part.stateKey);
      },
      openState: (blob, associated) => {
        guard();
        const plaintext = new Uint8Array(Math.max(0, blob.length - NONCE_BYTES - TAG_BYTES));
        return open(this.#sodium, blob, associated, part.stateKey, plaintext) ? plaintext : undefined;
      },
      sealPendingSeed: (slot, associated) => {
        guard();
        return this.#pending.open((pending) =>
          seal(this.#sodium, pendingSeed(pending, slot), associated, part.walletKey),
        );
      },
      seedOpens: (sealedSeed, associated) => {
        guard();
        return open(this.#sodium, sealedSeed, associated, part.walletKey, part.seed);
      },
      requireSeed: (sealedSeed, associated, wallet) => {
        guard();
        this.#unseal(part, sealedSeed, associated, wallet);
      },
      unsealSeed: (sealedSeed, associated, wallet) => {
        guard();
        this.#unseal(part, sealedSeed, associated, wallet);
        const slot = this.#freeSlots.pop();
        if (slot === undefined) throw new QvError('overloaded', { path: 'pendingWalletCreations' });
        this.#pending.open((pending) => part.seed.copy(pendingSeed(pending, slot)));
        return { slot, wallet };
      },
      sign: (sealedSeed, associated, wallet, message) => {
        guard();
        this.#unseal(part, sealedSeed, associated, wallet);
        const result = new Uint8Array(64);
        this.#sodium.crypto_sign_detached(result, message, part.secretKey);
        return signature(result);
      },
    };
  }
}

function pendingSeed(pending: Buffer, slot: number): Buffer {
  return pending.subarray(slot * KEY_BYTES, (slot + 1) * KEY_BYTES);
}

/** nonce || ciphertext || tag, under a random 24-byte nonce. */
function seal(
  { crypto_aead_xchacha20poly1305_ietf_encrypt: encrypt }: Keyed,
  plaintext: Uint8Array,
  associated: Uint8Array,
  key: Uint8Array,
): Uint8Array {
  const blob = new Uint8Array(NONCE_BYTES + plaintext.length + TAG_BYTES);
  const nonce = blob.subarray(0, NONCE_BYTES);
  sodium.randombytes_buf(nonce);
  encrypt(blob.subarray(NONCE_BYTES), plaintext, associated, null, nonce, key);
  return blob;
}

/** Opens into `plaintext`, whose length must fit exactly. False when the blob is not authentic. */
function open(
  { crypto_aead_xchacha20poly1305_ietf_decrypt: decrypt }: Keyed,
  blob: Uint8Array,
  associated: Uint8Array,
  key: Uint8Array,
  plaintext: Uint8Array,
): boolean {
  if (blob.length !== NONCE_BYTES + plaintext.length + TAG_BYTES) return false;
  try {
    decrypt(plaintext, null, blob.subarray(NONCE_BYTES), associated, blob.subarray(0, NONCE_BYTES), key);
    return true;
  } catch {
    return false;
  }
}

/**
 * KMS's envelope into guarded memory. One error for every failure, padding included.
 * @throws QvError kms_response_invalid
 */
function openEnvelope(recipient: RecipientKey, envelope: Envelope, into: Buffer): void {
  const isOurs = equalBytes(sha256(recipient.spki), envelope.recipient);
  if (!isOurs || envelope.ciphertext.length !== WRAPPED_KEY_BYTES || !recipient.open(envelope, into)) {
    throw new QvError('kms_response_invalid', { path: 'CiphertextForRecipient' });
  }
}

/** Ed25519 as libsodium checks it: canonical s, no small-order keys. Public inputs only. */
export function verifyEd25519(signed: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean {
  return signed.length === 64 && sodium.crypto_sign_verify_detached(signed, message, publicKey);
}

/** Public randomness: ids and salts. */
export function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  sodium.randombytes_buf(bytes);
  return bytes;
}
