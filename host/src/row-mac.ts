/**
 * The row MAC: HMAC-SHA-256 over the whole wallet row, over stored replies with what they answer and over signals, under
 * the fleet's row key, which the enclave unwraps at start and no disk holds in plaintext (design 4). It finds edits by
 * somebody who has the database and nothing else; it does not find an old row put back, and no check of the enclave
 * depends on it.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { FACT, REQUEST_ID } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
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
import { Secret } from '@quantumvault/shared/secret.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
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
  /** Absent in rows of before there was such a column, whose MACs stay what they were. */
  retired: maybe(13, yes),
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

/** Stored in front of a reply's text, in hex. */
const TEXT_MAC = /^[0-9a-f]{64}/;

function encodeReply(record: ReplyRecord, reply: Uint8Array): Uint8Array {
  if (reply.length > LIMITS.storedReplyBytes) throw new RangeError('a reply is longer than any that is stored');
  return encodeAs(replyCodec, { ...record, replyHash: sha256(reply) });
}

export type UnsealedRow = Omit<WalletRow, 'rowMac'>;
export type UnsealedSignal = Omit<SignalRecord, 'mac'>;

/** Holds the row key. Made with the enclave's bytes, which it takes over; nothing gives them out again. */
export class RowMac {
  readonly #key: Secret;

  constructor(rowKey: Uint8Array) {
    if (rowKey.length !== 32) throw new RangeError('the row key has 32 bytes');
    this.#key = Secret.take(rowKey);
  }

  seal(row: UnsealedRow): WalletRow {
    return { ...row, rowMac: this.#mac(row) };
  }

  /** @throws QvError row_tampered */
  verify(row: WalletRow): WalletRow {
    let mac: Uint8Array;
    try {
      mac = this.#mac(row);
    } catch (error) {
      // What does not even encode was not written by us.
      throw new QvError('row_tampered', {}, { cause: error });
    }
    if (row.rowMac.length !== mac.length || !timingSafeEqual(row.rowMac, mac)) throw new QvError('row_tampered');
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
    return { ...signal, mac: this.#signalMac(signal) };
  }

  /** @throws QvError row_tampered */
  verifySignal(signal: SignalRecord): SignalRecord {
    let mac: Uint8Array;
    try {
      mac = this.#signalMac(signal);
    } catch (error) {
      throw new QvError('row_tampered', {}, { cause: error });
    }
    if (signal.mac.length !== mac.length || !timingSafeEqual(signal.mac, mac)) throw new QvError('row_tampered');
    return signal;
  }

  #signalMac({ source, id, at, receivedAt, expiresAt, body, bodyHash, signature }: UnsealedSignal): Uint8Array {
    const facts = { source, id, at, receivedAt, expiresAt, body, bodyHash };
    return this.#hmac(encodeAs(signalCodec, { ...facts, ...(signature && { signature }) }));
  }

  #sealText(text: string, encode: (bytes: Uint8Array) => Uint8Array): string {
    return toHex(this.#hmac(encode(utf8(text)))) + text;
  }

  #openText(stored: string, encode: (bytes: Uint8Array) => Uint8Array): string {
    const mac = TEXT_MAC.exec(stored)?.[0];
    const text = stored.slice(64);
    let expected: Uint8Array;
    try {
      expected = this.#hmac(encode(utf8(text)));
    } catch (error) {
      throw new QvError('row_tampered', {}, { cause: error });
    }
    if (mac === undefined || !timingSafeEqual(fromHex(mac), expected)) throw new QvError('row_tampered');
    return text;
  }

  #hmac(encoded: Uint8Array): Uint8Array {
    return this.#key.use((key) => new Uint8Array(createHmac('sha256', key).update(encoded).digest()));
  }

  #mac(row: UnsealedRow): Uint8Array {
    const { wallet, owner, salt, executionKey, sealedSeed, policy, policyMac, ...rest } = row;
    const { sealedState, stateVersion, frozen, retired, generation, createdAt } = rest;
    const encoded = encodeAs(rowCodec, {
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
      ...(retired && { retired }),
    });
    return this.#hmac(encoded);
  }

  /** Wipes the key; nothing verifies afterwards. */
  close(): void {
    this.#key.wipe();
  }
}
