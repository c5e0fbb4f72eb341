/**
 * The signature section (RFC 8949 as serde writes it, RFC 9052 inside): an array of one map {signing_certificate,
 * signature}, both arrays of integers below 256; the first is PEM, the second a COSE_Sign1 whose payload is the map
 * {register_index, register_value}. Supported is this one form: definite shortest lengths, keys in this order (QEMU
 * takes no other), an empty unprotected header, tag 18 or none (nitro-cli writes none and reads both).
 */

import type { Read } from '../attestation/cbor.ts';
import {
  type Place,
  readArrayHead,
  readBytes,
  readMapHead,
  readText,
  readUnsigned,
  requireEnd,
} from '../attestation/cbor.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';

export interface SignatureSection {
  readonly certificatePem: Uint8Array;
  readonly sign1: Sign1;
  readonly registerIndex: number;
  readonly registerValue: Uint8Array;
}

/** RFC 9052 section 4.2, every part as received. */
export interface Sign1 {
  readonly protectedHeader: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** COSE_Sign1 (RFC 9052 section 2). */
const TAG_18 = 0xd2;
/** A protected header of one algorithm has 3 or 4 bytes, a signature of ES512 132. */
const PROTECTED_BYTES = 16;
const SIGNATURE_BYTES = 132;

const at = (path: string): Place => ({ code: 'eif_signature_malformed', path });

/** @throws QvError eif_signature_malformed, eif_signature_entries_unsupported */
export function readSignatureSection(bytes: Uint8Array): SignatureSection {
  const entries = readArrayHead(bytes, LIMITS.eifSignatureBytes, at('section'));
  // Loaders verify the first entry and ignore the rest: whatever it is for, it is not verified by anybody.
  if (entries.value !== 1) throw new QvError('eif_signature_entries_unsupported', { value: String(entries.value) });
  let rest = readFixedMap(entries.rest, 'section');
  const certificate = readIntegers(readKey(rest, 'signing_certificate'), 'signing_certificate');
  rest = certificate.rest;
  const signature = readIntegers(readKey(rest, 'signature'), 'signature');
  requireEnd(signature.rest, at('section'));
  const sign1 = readSign1(signature.value);
  return { certificatePem: certificate.value, sign1, ...readRegister(sign1.payload) };
}

function readSign1(bytes: Uint8Array): Sign1 {
  const place = at('signature');
  const { value: parts, rest } = readArrayHead(bytes[0] === TAG_18 ? bytes.subarray(1) : bytes, 4, place);
  if (parts !== 4) throw new QvError(place.code, { path: place.path, value: 'not four parts' });
  const protectedHeader = readBytes(rest, PROTECTED_BYTES, at('signature.protected'));
  const unprotected = readMapHead(protectedHeader.rest, 0, at('signature.unprotected'));
  const payload = readBytes(unprotected.rest, LIMITS.eifSignatureBytes, at('signature.payload'));
  const signature = readBytes(payload.rest, SIGNATURE_BYTES, at('signature.signature'));
  requireEnd(signature.rest, place);
  return { protectedHeader: protectedHeader.value, payload: payload.value, signature: signature.value };
}

function readRegister(payload: Uint8Array): Pick<SignatureSection, 'registerIndex' | 'registerValue'> {
  const index = readUnsigned(readKey(readFixedMap(payload, 'payload'), 'register_index'), at('register_index'));
  const value = readIntegers(readKey(index.rest, 'register_value'), 'register_value');
  requireEnd(value.rest, at('payload'));
  return { registerIndex: index.value, registerValue: value.value };
}

/** Both maps have two entries. */
function readFixedMap(bytes: Uint8Array, path: string): Uint8Array {
  const { value, rest } = readMapHead(bytes, 2, at(path));
  if (value !== 2) throw new QvError('eif_signature_malformed', { path, value: 'not two entries' });
  return rest;
}

/** What follows the key. */
function readKey(bytes: Uint8Array, key: string): Uint8Array {
  const { value, rest } = readText(bytes, key.length, at(key));
  if (value !== key) throw new QvError('eif_signature_malformed', { path: key, value: 'another key' });
  return rest;
}

/** serde's Vec<u8>: an array of integers, not a byte string. */
function readIntegers(bytes: Uint8Array, path: string): Read<Uint8Array> {
  const place = at(path);
  const head = readArrayHead(bytes, LIMITS.eifSignatureBytes, place);
  // Allocates what is claimed: at most 32 KiB, whatever stands there.
  const value = new Uint8Array(head.value);
  let rest = head.rest;
  for (let index = 0; index < value.length; index++) {
    const item = readUnsigned(rest, place);
    if (item.value > 0xff) throw new QvError(place.code, { path, value: 'not a byte' });
    value[index] = item.value;
    rest = item.rest;
  }
  return { value, rest };
}
