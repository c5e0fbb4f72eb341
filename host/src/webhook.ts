/** The three signed headers of Standard Webhooks, as far as a signing request uses them: one Ed25519 `v1a` signature. */
import type { IncomingHttpHeaders } from 'node:http';
import type { RequestId, Signature, TimeMs } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { parseRequestId, parseTimestamp } from '@quantumvault/shared/protocol/sign-request.ts';

export interface WebhookHeaders {
  readonly id: RequestId;
  /** As it was signed. */
  readonly timestampText: string;
  readonly timestamp: TimeMs;
  readonly signature: Signature;
}

const HEADER_CHARACTERS = 1024;

/** @throws QvError request_id_malformed, request_timestamp_malformed, request_signature_malformed */
export function parseWebhookHeaders(headers: IncomingHttpHeaders): WebhookHeaders {
  const timestampText = text(headers['webhook-timestamp']);
  return {
    id: parseRequestId(text(headers['webhook-id'])),
    timestampText,
    timestamp: parseTimestamp(timestampText),
    signature: parseSignatures(text(headers['webhook-signature'])),
  };
}

/** Absent reads as empty, which none of the forms is; Node joins repeated headers with commas, which none allows. */
function text(value: string | string[] | undefined): string {
  return typeof value === 'string' ? value : '';
}

/** Space-separated `version,signature` pairs. Other versions are for other verifiers; of ours there must be one. */
function parseSignatures(value: string): Signature {
  const malformed = new QvError('request_signature_malformed', { path: 'webhook-signature' });
  if (value.length > HEADER_CHARACTERS) throw malformed;
  const ours = value.split(' ').filter((part) => part.startsWith('v1a,'));
  const [only] = ours;
  if (only === undefined || ours.length > 1) throw malformed;
  let signature: Uint8Array;
  try {
    signature = fromBase64(only.slice('v1a,'.length));
  } catch {
    throw malformed;
  }
  if (signature.length !== 64) throw malformed;
  return signature as Signature;
}
