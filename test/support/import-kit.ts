/** Keys that exist outside, sealed as an owner would, by another implementation than the enclave's and the command's. */

import { blake2b } from '@noble/hashes/blake2.js';
import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { type Address, addressOf, type BootId, signature } from '@quantumvault/shared/brands.ts';
import { concatBytes, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { IMPORT_PURPOSE, renderImportStatement } from '@quantumvault/shared/policy/statement.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import nacl from 'tweetnacl';
import { type Party, secondsFromNow } from './wallet-kit.ts';

export interface OutsideKey extends Party {
  readonly seed: Uint8Array;
}

export function outsideKey(seed = nacl.randomBytes(32)): OutsideKey {
  const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed);
  return {
    seed,
    address: addressOf(publicKey),
    sign: (message) => signature(nacl.sign.detached(message, secretKey)),
  };
}

/** libsodium's crypto_box_seal: an ephemeral key, and a nonce that is BLAKE2b of both public keys. */
export function sealedBox(plaintext: Uint8Array, importKey: Uint8Array): Uint8Array {
  const ephemeral = nacl.box.keyPair();
  const nonce = blake2b(concatBytes(ephemeral.publicKey, importKey), { dkLen: 24 });
  return concatBytes(ephemeral.publicKey, nacl.box(plaintext, nonce, importKey, ephemeral.secretKey));
}

/** The boot that a key may be imported into, as its attestation names it. */
export interface ImportInto {
  readonly boot: BootId;
  readonly importKey: Uint8Array;
}

export function importInto(document: Uint8Array): ImportInto {
  const { userData } = decodeAttestationDocument(document);
  const { bootKey, importKey } = decodeAs(userDataCodec, userData ?? new Uint8Array(), 'userData');
  if (importKey === undefined) throw new Error('the document names no import key');
  return { boot: bootKey, importKey };
}

export interface ImportFacts extends ImportInto {
  readonly deployment: string;
  readonly owner: Party;
  readonly requesters: readonly Address[];
  readonly key: OutsideKey;
}

/** A rightly signed and sealed import; `change` is of the statement's facts, before they are signed. */
export function importing(
  { deployment, owner, requesters, key, boot, importKey }: ImportFacts,
  change: Partial<RequestOf<'walletImport'>> = {},
): RequestOf<'walletImport'> {
  const facts = {
    deployment,
    owner: owner.address,
    wallet: key.address,
    nonce: nacl.randomBytes(16),
    requesters,
    boot,
    importKey,
    importBefore: secondsFromNow(600),
    ...change,
  };
  const statement = utf8(renderImportStatement({ ...facts, importBeforeMs: facts.importBefore }));
  return {
    ...facts,
    signature: change.signature ?? owner.sign(statement),
    sealed: change.sealed ?? sealedBox(concatBytes(sha256(statement), key.seed), facts.importKey),
  };
}

/** The body of POST /v1/wallets/import. */
export function importJson(request: RequestOf<'walletImport'>): Record<string, unknown> {
  const { nonce, importKey, importBefore, signature, sealed, ...texts } = request;
  return {
    purpose: IMPORT_PURPOSE,
    ...texts,
    nonce: toHex(nonce),
    importKey: toHex(importKey),
    importBefore: formatTime(importBefore),
    signature: toBase64(signature),
    sealed: toBase64(sealed),
  };
}
