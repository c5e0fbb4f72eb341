/**
 * The row MAC: HMAC-SHA-256 over the whole wallet row, over stored replies with what they answer and over signals, under
 * the fleet's row key, which the enclave unwraps at start and no disk holds in plaintext (design 4). It finds edits by
 * somebody who has the database and nothing else; it does not find an old row put back, and no check of the enclave
 * depends on it.
 *
 * Stored, a MAC has the id of its key in front. While one key is being replaced by the next (rotation/row-key.ts), new
 * MACs are made with the next and both verify. MACs of before keys had ids are 32 bytes, and may be of either.
 */

import { timingSafeEqual } from 'node:crypto';
import { concatBytes, equalBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FACT, REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { secondSealing } from '@quantumvault/shared/protocol/message-parts.ts';
import {
  bool,
  bytes,
  encodeAs,
  field,
  fixed,
  maybe,
  publicKey,
  purposeStruct,
  text,
  time,
  u32,
  u64,
  yes,
} from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { MAC_BYTES, ROW_KEY_ID_BYTES, type RowKey } from './row-key.ts';
import type { CreationRecord, ReplyRecord, SignalRecord, WalletRow } from './store/store.ts';

/** Every column but the MAC itself, each under its own key: no two rows share an encoding. */
const rowCodec = purposeStruct('qv/row/v1', {
  wallet: field(1, publicKey),
  owner: field(2, publicKey),
  salt: field(3, fixed(32)),
  executionKey: field(4, bytes(1, LIMITS.kmsCiphertextBytes)),
  sealedSeed: field(5, bytes(1, 256)),
  policy: maybe(6, bytes(1, LIMITS.policyBytes)),
  policyMac: maybe(7, fixed(32)),
  sealedState: field(8, bytes(1, LIMITS.sealedStateBytes)),
  stateVersion: field(9, u64),
  frozen: field(10, bool),
  generation: field(11, u32),
  createdAt: field(12, time),
  /** Absent while key and salt are those of the creation, so that MACs of before stay what they were. */
  rotatedAt: maybe(15, time),
  /** Absent in rows of before there was such a column, whose MACs stay what they were. */
  retired: maybe(13, yes),
  /** Likewise. */
  second: maybe(14, secondSealing),
});

/**
 * What a stored reply answers: without it one wallet's reply could stand in another one's place. Of the text its hash,
 * since a batch's is larger than what CBOR here may be.
 */
const replyCodec = purposeStruct('qv/stored-reply/v2', {
  wallet: field(1, publicKey),
  requester: field(2, publicKey),
  id: field(3, text(LIMITS.requestIdCharacters, REQUEST_ID)),
  bodyHash: field(4, fixed(32)),
  status: field(5, u32),
  replyHash: field(6, fixed(32)),
});
/** A signal, so that nobody with the database alone invents one, changes one or has one count for longer. */
const signalCodec = purposeStruct('qv/stored-signal/v1', {
  source: field(1, text(LIMITS.policyNameCharacters, FACT)),
  id: field(2, text(LIMITS.requestIdCharacters, REQUEST_ID)),
  at: field(3, time),
  receivedAt: field(4, time),
  expiresAt: field(5, time),
  body: field(6, bytes(0, LIMITS.signalBodyBytes)),
  bodyHash: field(7, fixed(32)),
  signature: maybe(8, fixed(64)),
});

const creationCodec = purposeStruct('qv/stored-creation/v1', {
  wallet: field(1, publicKey),
  owner: field(2, publicKey),
  nonce: field(3, fixed(16)),
  statementHash: field(4, fixed(32)),
  reply: field(5, bytes(1, LIMITS.frameBytes)),
});

/** Stored in front of a reply's text, which is a JSON object, in hex. */
const TEXT_MAC = /^(?:[0-9a-f]{16})?[0-9a-f]{64}(?![0-9a-f])/;

/** Of a MAC as it is stored; undefined for one of before keys had ids. */
export function keyIdOf(stored: Uint8Array): Uint8Array | undefined {
  return stored.length === ROW_KEY_ID_BYTES + MAC_BYTES ? stored.subarray(0, ROW_KEY_ID_BYTES) : undefined;
}

/** The MAC in front of a stored reply's text, and how long it is there. */
export function textMacOf(stored: string): { readonly mac: Uint8Array; readonly length: number } | undefined {
  const found = TEXT_MAC.exec(stored)?.[0];
  return found === undefined ? undefined : { mac: fromHex(found), length: found.length };
}

function encodeReply(record: ReplyRecord, reply: Uint8Array): Uint8Array {
  if (reply.length > LIMITS.storedReplyBytes) throw new RangeError('a reply is longer than any that is stored');
  return encodeAs(replyCodec, { ...record, replyHash: sha256(reply) });
}

export type UnsealedRow = Omit<WalletRow, 'rowMac'>;
export type UnsealedSignal = Omit<SignalRecord, 'mac'>;

/** Makes and compares MACs; whoever made the keys wipes them. */
export class RowMac {
  readonly #writing: RowKey;
  readonly #keys: readonly RowKey[];

  /** @param replaced what it takes besides: the key that the other one is replacing */
  constructor(writing: RowKey, replaced?: RowKey) {
    this.#writing = writing;
    this.#keys = replaced === undefined ? [writing] : [writing, replaced];
  }

  seal(row: UnsealedRow): WalletRow {
    return { ...row, rowMac: this.#sealed(encodeRow(row)) };
  }

  /** @throws QvError row_tampered */
  verify(row: WalletRow): WalletRow {
    this.#require(row.rowMac, () => encodeRow(row));
    return row;
  }

  sealReply(record: ReplyRecord): ReplyRecord {
    return { ...record, reply: this.#sealText(record.reply, (reply) => encodeReply(record, reply)) };
  }

  /** @throws QvError row_tampered */
  openReply(record: ReplyRecord): ReplyRecord {
    return { ...record, reply: this.#openText(record.reply, (reply) => encodeReply(record, reply)) };
  }

  sealCreation(record: CreationRecord): CreationRecord {
    return { ...record, reply: this.#sealText(record.reply, (reply) => encodeAs(creationCodec, { ...record, reply })) };
  }

  /** @throws QvError row_tampered */
  openCreation(record: CreationRecord): CreationRecord {
    return { ...record, reply: this.#openText(record.reply, (reply) => encodeAs(creationCodec, { ...record, reply })) };
  }

  sealSignal(signal: UnsealedSignal): SignalRecord {
    return { ...signal, mac: this.#sealed(encodeSignal(signal)) };
  }

  /** @throws QvError row_tampered */
  verifySignal(signal: SignalRecord): SignalRecord {
    this.#require(signal.mac, () => encodeSignal(signal));
    return signal;
  }

  #sealText(text: string, encode: (bytes: Uint8Array) => Uint8Array): string {
    return toHex(this.#sealed(encode(utf8(text)))) + text;
  }

  #openText(stored: string, encode: (bytes: Uint8Array) => Uint8Array): string {
    const { mac, length } = textMacOf(stored) ?? { mac: new Uint8Array(), length: 0 };
    const text = stored.slice(length);
    this.#require(mac, () => encode(utf8(text)));
    return text;
  }

  #sealed(encoded: Uint8Array): Uint8Array {
    return concatBytes(this.#writing.id, this.#writing.mac(encoded));
  }

  #require(stored: Uint8Array, encode: () => Uint8Array): void {
    let isOurs: boolean;
    try {
      isOurs = this.#fits(stored, encode());
    } catch (error) {
      // What does not even encode was not written by us.
      throw new QvError('row_tampered', {}, { cause: error });
    }
    if (!isOurs) throw new QvError('row_tampered');
  }

  #fits(stored: Uint8Array, encoded: Uint8Array): boolean {
    const id = keyIdOf(stored);
    if (id === undefined && stored.length !== MAC_BYTES) return false;
    const mac = stored.subarray(-MAC_BYTES);
    const keys = id === undefined ? this.#keys : this.#keys.filter((key) => equalBytes(key.id, id));
    return keys.some((key) => timingSafeEqual(mac, key.mac(encoded)));
  }
}

function encodeSignal({ source, id, at, receivedAt, expiresAt, body, bodyHash, signature }: UnsealedSignal) {
  const facts = { source, id, at, receivedAt, expiresAt, body, bodyHash };
  return encodeAs(signalCodec, { ...facts, ...(signature && { signature }) });
}

/** What the MAC of a row is made over. @throws QvError where it is none */
export function encodeRow(row: UnsealedRow): Uint8Array {
  const { wallet, owner, salt, executionKey, sealedSeed, policy, policyMac, ...rest } = row;
  const { sealedState, stateVersion, frozen, retired, second, generation, createdAt } = rest;
  return encodeAs(rowCodec, {
    wallet,
    owner,
    salt,
    executionKey,
    sealedSeed,
    ...(policy === undefined ? {} : { policy }),
    ...(policyMac === undefined ? {} : { policyMac }),
    sealedState,
    stateVersion,
    frozen,
    generation,
    createdAt,
    ...(row.rotatedAt !== undefined && { rotatedAt: row.rotatedAt }),
    ...(retired && { retired }),
    ...(second && { second }),
  });
}
