/**
 * What a requester signs (design 6): Standard Webhooks' `id.timestamp.body`, with everything that matters inside the
 * body. Host and enclave read it with this code; only the enclave's reading counts.
 */
import { type Address, address, type RequestId, type TimeMs, timeMs } from '../brands.ts';
import { concatBytes, fromBase64, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { REQUEST_ID } from '../evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '../json.ts';
import { LIMITS } from '../limits.ts';

export const SIGN_PURPOSE = 'qv/sign/v1';
export const BATCH_PURPOSE = 'qv/sign-batch/v1';

interface BodyHead {
  readonly audience: string;
  readonly wallet: Address;
  /** The id of the signal that triggers this request. */
  readonly signal?: RequestId;
  readonly dryRun: boolean;
}

export interface SignBody extends BodyHead {
  /** Wire transaction: signature slots, then the message. */
  readonly transaction: Uint8Array;
}

export interface BatchBody extends BodyHead {
  /** In the order in which they are judged. All are signed, or none. */
  readonly transactions: readonly Uint8Array[];
}

/**
 * `{"purpose": "qv/sign/v1", "audience": deployment, "wallet": base58, "transaction": base64, "signal"?: id, "dryRun"?: boolean}`
 * @throws QvError body_too_large, json_malformed, field_malformed, purpose_mismatch, base58_malformed, base64_malformed
 */
export function parseSignBody(body: Uint8Array): SignBody {
  const fields = readFields(body, LIMITS.requestBodyBytes, SIGN_PURPOSE);
  const head = readHead(fields);
  const transaction = fromBase64(fields.text('transaction'), 'transaction');
  fields.end();
  return { ...head, transaction };
}

/**
 * As above, with the purpose `qv/sign-batch/v1` and `"transactions": [base64, …]`, 1 to LIMITS.batchTransactions of
 * them and LIMITS.batchTransactionBytes together.
 * @throws as above
 */
export function parseBatchBody(body: Uint8Array): BatchBody {
  const fields = readFields(body, LIMITS.batchBodyBytes, BATCH_PURPOSE);
  const head = readHead(fields);
  const listed = fields.list('transactions');
  if (listed.length === 0 || listed.length > LIMITS.batchTransactions) {
    throw fields.fault('transactions', `not 1 to ${LIMITS.batchTransactions}`);
  }
  const transactions = listed.map((value, index) => {
    const path = `transactions[${index}]`;
    if (typeof value !== 'string') throw new QvError('field_malformed', { path, value: 'not a string' });
    return fromBase64(value, path);
  });
  const bytes = transactions.reduce((sum, { length }) => sum + length, 0);
  if (bytes > LIMITS.batchTransactionBytes) throw new QvError('body_too_large', { path: 'transactions' });
  fields.end();
  return { ...head, transactions };
}

function readFields(body: Uint8Array, limit: number, purpose: string): JsonFields {
  if (body.length > limit) throw new QvError('body_too_large');
  const fields = new JsonFields(parseStrictJson(body));
  if (fields.text('purpose') !== purpose) throw new QvError('purpose_mismatch', { path: 'purpose' });
  return fields;
}

function readHead(fields: JsonFields): BodyHead {
  const audience = fields.text('audience');
  const wallet = address(fields.text('wallet'), 'wallet');
  const signal = fields.optional('signal');
  if (signal !== undefined && (typeof signal !== 'string' || !REQUEST_ID.test(signal))) {
    throw fields.fault('signal', 'not an id');
  }
  const dryRun = fields.optionalBoolean('dryRun') ?? false;
  return { audience, wallet, dryRun, ...(signal !== undefined && { signal: signal as RequestId }) };
}

/** @throws QvError request_id_malformed */
export function parseRequestId(text: string): RequestId {
  if (!REQUEST_ID.test(text)) throw new QvError('request_id_malformed', { path: 'webhook-id' });
  return text as RequestId;
}

/** Whole seconds since 1970 in the one spelling of that number. @throws QvError request_timestamp_malformed */
export function parseTimestamp(text: string): TimeMs {
  const seconds = Number(text);
  if (String(seconds) !== text || !Number.isInteger(seconds) || seconds < 0 || seconds > 1e11) {
    throw new QvError('request_timestamp_malformed', { path: 'webhook-timestamp' });
  }
  return timeMs(seconds * 1000);
}

/** @throws QvError request_stale */
export function requireFresh(timestamp: TimeMs, now: TimeMs): void {
  const age = (now - timestamp) / 1000;
  if (age > LIMITS.requestMaxAgeSeconds || age < -LIMITS.requestMaxFutureSeconds) {
    throw new QvError('request_stale', { path: 'webhook-timestamp' });
  }
}

/** The bytes under a `v1a` signature (Standard Webhooks): `id.timestamp.body`. */
export function signedContent(id: string, timestamp: string, body: Uint8Array): Uint8Array {
  return concatBytes(utf8(`${id}.${timestamp}.`), body);
}
