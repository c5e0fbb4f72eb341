/** Byte strings of the protocol as JSON carries them to callers. */

import type { Signature, TimeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt, SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';

/** Both members base64. */
export interface ReceiptJson {
  readonly leaf: string;
  readonly signature: string;
}

/** Both members base64. */
export interface SignedBytesJson {
  readonly bytes: string;
  readonly signature: string;
}

export function receiptJson({ leaf, signature }: Receipt): ReceiptJson {
  return { leaf: toBase64(leaf), signature: toBase64(signature) };
}

export function signedBytesJson({ bytes, signature }: SignedBytes): SignedBytesJson {
  return { bytes: toBase64(bytes), signature: toBase64(signature) };
}

/** 64 bytes in base64. @throws QvError base64_malformed, field_malformed */
export function signatureField(fields: JsonFields, key: string): Signature {
  const bytes = fromBase64(fields.text(key), fields.path(key));
  if (bytes.length !== 64) throw fields.fault(key, 'not 64 bytes');
  return bytes as Signature;
}

/** RFC 3339 in UTC with whole seconds. @throws QvError field_malformed */
export function timeField(fields: JsonFields, key: string): TimeMs {
  const time = parseTime(fields.text(key));
  if (time === undefined) throw fields.fault(key, 'not RFC 3339 in UTC with whole seconds');
  return time;
}

/** A body's bytes, whatever the parser made of an absent one. */
export function bodyBytes(body: unknown): Uint8Array {
  if (body instanceof Uint8Array) return body;
  if (body === undefined || body === null) return new Uint8Array();
  throw new QvError('internal');
}
