/**
 * Standard Webhooks 1.0 (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
 * `webhook-id`, `webhook-timestamp`, `webhook-signature`, signed over `id.timestamp.body`. `v1` is HMAC-SHA-256, `v1a`
 * Ed25519. One signature of several is enough, which is how secrets and keys are replaced.
 */
import { createHmac, type KeyObject, timingSafeEqual, verify } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import type { RequestId, Signature, TimeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseRequestId, parseTimestamp, signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import type { Secret } from '@quantumvault/shared/secret.ts';

export interface StandardHeaders {
  readonly id: RequestId;
  /** As it was signed. */
  readonly timestampText: string;
  readonly timestamp: TimeMs;
  /** HMACs of 32 bytes. */
  readonly symmetric: readonly Uint8Array[];
  readonly asymmetric: readonly Signature[];
}

const malformed = (): QvError => new QvError('webhook_signature_malformed', { path: 'webhook-signature' });

/** @throws QvError request_id_malformed, request_timestamp_malformed, webhook_signature_malformed */
export function parseStandardHeaders(headers: IncomingHttpHeaders): StandardHeaders {
  const timestampText = text(headers['webhook-timestamp']);
  return {
    id: parseRequestId(text(headers['webhook-id'])),
    timestampText,
    timestamp: parseTimestamp(timestampText),
    ...parseSignatures(text(headers['webhook-signature'])),
  };
}

/** Absent reads as empty, which none of the forms is; Node joins repeated headers with commas, which none allows. */
function text(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : '';
}

function parseSignatures(header: string): Pick<StandardHeaders, 'symmetric' | 'asymmetric'> {
  if (header.length > LIMITS.webhookSignatureCharacters) throw malformed();
  const parts = header.split(' ');
  if (parts.length > LIMITS.webhookSignatures) throw malformed();
  // Other versions are for other verifiers.
  const of = (prefix: string, length: number): readonly Uint8Array[] =>
    parts.filter((part) => part.startsWith(prefix)).map((part) => bytesOf(part.slice(prefix.length), length));
  const symmetric = of('v1,', 32);
  const asymmetric = of('v1a,', 64) as readonly Signature[];
  if (symmetric.length + asymmetric.length === 0) throw malformed();
  if (asymmetric.length > LIMITS.webhookAsymmetricSignatures) throw malformed();
  return { symmetric, asymmetric };
}

function bytesOf(base64: string, length: number): Uint8Array {
  try {
    const bytes = fromBase64(base64);
    if (bytes.length === length) return bytes;
  } catch {
    // Says the fault below.
  }
  throw malformed();
}

/** Every secret against every signature, whichever was found: how long it takes says nothing of which. */
export function isSymmetricallySigned(
  secrets: readonly Secret[],
  { id, timestampText, symmetric }: StandardHeaders,
  body: Uint8Array,
): boolean {
  if (symmetric.length === 0) return false;
  let isSigned = false;
  const content = signedContent(id, timestampText, body);
  for (const secret of secrets) {
    const expected = hmac(secret, content);
    for (const given of symmetric) if (timingSafeEqual(given, expected)) isSigned = true;
  }
  return isSigned;
}

function hmac(secret: Secret, content: Uint8Array): Buffer {
  return secret.use((key) => createHmac('sha256', key).update(content).digest());
}

/** The signature that one of the keys made. OpenSSL verifies on Node's thread pool. */
export async function asymmetricSignature(
  keys: readonly KeyObject[],
  { id, timestampText, asymmetric }: StandardHeaders,
  body: Uint8Array,
): Promise<Signature | undefined> {
  const content = signedContent(id, timestampText, body);
  for (const signature of asymmetric)
    for (const key of keys) if (await verifies(content, key, signature)) return signature;
  return undefined;
}

function verifies(content: Uint8Array, key: KeyObject, signature: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    verify(null, content, key, signature, (error, holds) => resolve(error === null && holds));
  });
}

export interface OutgoingWebhook {
  /** [A-Za-z0-9_-]{1,64}; the same for each attempt to deliver it. */
  readonly id: string;
  readonly timestamp: TimeMs;
  readonly body: Uint8Array | string;
}

export interface SignedHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

/**
 * The headers of a webhook of ours: one `v1` signature for each secret, in their order. With the next secret in front
 * of the last one, receivers can change theirs at any time.
 * @throws QvError request_id_malformed
 */
export function signWebhook(secrets: readonly Secret[], { id, timestamp, body }: OutgoingWebhook): SignedHeaders {
  const seconds = String(Math.floor(timestamp / 1000));
  const content = signedContent(parseRequestId(id), seconds, typeof body === 'string' ? utf8(body) : body);
  const signatures = secrets.map((secret) => `v1,${toBase64(hmac(secret, content))}`);
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures.join(' ') };
}
