/** The JSON forms of evidence in the host's answers, read strictly. */
import { type Address, address, type Hash, type Signature } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt, SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';

/** `{"leaf": base64, "signature": base64}` */
export function receiptField(fields: JsonFields, key: string): Receipt {
  const { bytes, signature } = signedBytes(fields, key, 'leaf');
  return { leaf: bytes, signature };
}

/** `{"bytes": base64, "signature": base64}` */
export function signedBytesField(fields: JsonFields, key: string): SignedBytes {
  return signedBytes(fields, key, 'bytes');
}

function signedBytes(fields: JsonFields, key: string, name: string): SignedBytes {
  const inner = new JsonFields(fields.required(key), fields.path(key));
  const bytes = fromBase64(inner.text(name), inner.path(name));
  const signature = fromBase64(inner.text('signature'), inner.path('signature'));
  if (signature.length !== 64) throw inner.fault('signature', `${signature.length} bytes`);
  inner.end();
  return { bytes, signature: signature as Signature };
}

/** 64 lower-case hex digits. */
export function hashField(fields: JsonFields, key: string): Hash {
  const bytes = fromHex(fields.text(key), fields.path(key));
  if (bytes.length !== 32) throw fields.fault(key, `${bytes.length} bytes`);
  return bytes as Hash;
}

/** A decimal string below 2^64. */
export function lamportsField(fields: JsonFields, key: string): bigint {
  const text = fields.text(key);
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(text)) throw fields.fault(key, 'not a decimal u64');
  return BigInt(text);
}

/** Base units by mint: `{"<mint>": "<decimal>"}`. */
export function tokensField(fields: JsonFields, key: string): ReadonlyMap<Address, bigint> {
  const inner = new JsonFields(fields.required(key), fields.path(key));
  return new Map(inner.keys().map((mint) => [address(mint, inner.path(mint)), lamportsField(inner, mint)]));
}

export function jsonBody(value: unknown): Uint8Array<ArrayBuffer> {
  return utf8(JSON.stringify(value)) as Uint8Array<ArrayBuffer>;
}

/** What the caller of the SDK handed in is wrong. */
export function requireLength(bytes: Uint8Array, length: number, path: string): Uint8Array {
  if (bytes.length !== length) throw new QvError('field_malformed', { path, value: `${bytes.length} bytes` });
  return bytes;
}
