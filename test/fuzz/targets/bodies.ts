/** What callers send over HTTP: signed bodies, signed headers, webhooks. */
import { createHash } from 'node:crypto';
import { parseWebhookHeaders } from '@quantumvault/host/webhook.ts';
import { parseStandardHeaders } from '@quantumvault/host/webhooks/standard.ts';
import { readAlert } from '@quantumvault/host/webhooks/tradingview.ts';
import { concatBytes, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import {
  type BatchBody,
  parseBatchBody,
  parseSignBody,
  type SignBody,
} from '@quantumvault/shared/protocol/sign-request.ts';
import { Secret } from '@quantumvault/shared/secret.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { headersOf } from './checks.ts';
import * as sample from './samples.ts';

/** For inputs whose first byte says how the rest is read. */
export const behindOneByte =
  (inner: Mutator): Mutator =>
  (input, material) => {
    const made = inner(input.subarray(1), material);
    return made && concatBytes(input.subarray(0, 1), made);
  };

const head = { audience: 'test', wallet: sample.wallet, signal: 'tv-1', dryRun: false };
const transaction = toBase64(sample.filled(200, 1));

function printed(body: SignBody | BatchBody): Uint8Array {
  const { audience, wallet, dryRun, signal } = body;
  const common = { audience, wallet, dryRun, ...(signal !== undefined && { signal }) };
  return utf8(
    JSON.stringify(
      'transaction' in body
        ? { purpose: 'qv/sign/v1', ...common, transaction: toBase64(body.transaction) }
        : { purpose: 'qv/sign-batch/v1', ...common, transactions: body.transactions.map(toBase64) },
    ),
  );
}

export const signBodies: Target = {
  name: 'sign-bodies',
  covers: ['shared/src/protocol/sign-request.ts#parseSignBody', 'shared/src/protocol/sign-request.ts#parseBatchBody'],
  seeds: () => ({
    one: concatBytes(Uint8Array.of(0), utf8(JSON.stringify({ purpose: 'qv/sign/v1', ...head, transaction }))),
    least: concatBytes(
      Uint8Array.of(0),
      utf8(JSON.stringify({ purpose: 'qv/sign/v1', audience: 'test', wallet: sample.wallet, transaction: '' })),
    ),
    batch: concatBytes(
      Uint8Array.of(1),
      utf8(JSON.stringify({ purpose: 'qv/sign-batch/v1', ...head, transactions: [transaction, transaction] })),
    ),
  }),
  mutators: [behindOneByte(jsonMutator())],
  dictionary: ['"qv/sign/v1"', '"qv/sign-batch/v1"', '"dryRun":true', '"signal":"a"'].map(utf8),
  maxBytes: LIMITS.batchBodyBytes + 64,
  codes: [
    'body_too_large',
    'json_malformed',
    'field_malformed',
    'purpose_mismatch',
    'base58_malformed',
    'base64_malformed',
  ],
  executions: 2_500,
  run(input) {
    const bytes = input.subarray(1);
    const isBatch = ((input[0] ?? 0) & 1) === 1;
    const body = accept(isBatch ? parseBatchBody(bytes) : parseSignBody(bytes));
    must(bytes.length <= (isBatch ? LIMITS.batchBodyBytes : LIMITS.requestBodyBytes), 'a body beyond its limit');
    if ('transactions' in body) {
      const { length } = body.transactions;
      must(length >= 1 && length <= LIMITS.batchTransactions, 'number of transactions');
      must(
        body.transactions.reduce((sum, each) => sum + each.length, 0) <= LIMITS.batchTransactionBytes,
        'bytes of transactions',
      );
    }
    const again = isBatch ? parseBatchBody(printed(body)) : parseSignBody(printed(body));
    must(Buffer.compare(printed(again), printed(body)) === 0, 'another body when printed');
    return body;
  },
};

const signedHeaders = (signature: string): Uint8Array =>
  utf8(`webhook-id: order-4711\nwebhook-timestamp: 1795383600\nwebhook-signature: ${signature}`);
const ed25519 = `v1a,${toBase64(sample.signature)}`;
const hmac = `v1,${toBase64(sample.hash)}`;

export const webhookHeaders: Target = {
  name: 'webhook-headers',
  covers: ['host/src/webhook.ts#parseWebhookHeaders', 'host/src/webhooks/standard.ts#parseStandardHeaders'],
  seeds: () => ({
    requester: signedHeaders(ed25519),
    source: signedHeaders(`${hmac} ${hmac} ${ed25519}`),
    others: signedHeaders(`v2,abc ${ed25519} v1,`),
    twice: utf8(`${new TextDecoder().decode(signedHeaders(ed25519))}\nwebhook-id: b`),
  }),
  mutators: [textMutator],
  dictionary: ['v1,', 'v1a,', ' ', '==', 'webhook-id: ', '1e3', '-0'].map(utf8),
  maxBytes: 2_048,
  codes: ['request_id_malformed', 'request_timestamp_malformed', 'webhook_signature_malformed'],
  executions: 3_000,
  run(input) {
    const headers = headersOf(input);
    let ours: ReturnType<typeof parseWebhookHeaders> | undefined;
    try {
      ours = parseWebhookHeaders(headers);
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || !String(error.code).startsWith('request_')) throw error;
    }
    const standard = parseStandardHeaders(headers);
    must(
      standard.symmetric.every(({ length }) => length === 32),
      'length of an HMAC',
    );
    must(
      standard.asymmetric.every(({ length }) => length === 64),
      'length of a signature',
    );
    must(standard.symmetric.length + standard.asymmetric.length > 0, 'no signature');
    if (ours !== undefined) {
      must(ours.id === standard.id && ours.timestamp === standard.timestamp, 'two readings of one header');
      must(standard.asymmetric.length === 1, 'one of several signatures');
    }
    return [ours, standard];
  },
};

const SECRET = 'a-secret-of-32-characters-in-all';
const secrets = [Secret.take(createHash('sha256').update(SECRET).digest())];

/** The first byte: 1 for JSON, 2 for an id in a member. */
export const alerts: Target = {
  name: 'alerts',
  covers: ['host/src/webhooks/tradingview.ts#readAlert'],
  seeds: () => ({
    json: concatBytes(
      Uint8Array.of(1),
      utf8(JSON.stringify({ secret: SECRET, ticker: 'SOLUSD', price: 123.45, id: 'a:b' })),
    ),
    identified: concatBytes(
      Uint8Array.of(3),
      utf8(JSON.stringify({ id: 'SOL:2026', secret: SECRET, nested: { a: [1, '2'] } })),
    ),
    text: concatBytes(Uint8Array.of(0), utf8(`${SECRET}\nbuy SOLUSD at 123`)),
    crlf: concatBytes(Uint8Array.of(0), utf8(`${SECRET}\r\nbuy`)),
  }),
  mutators: [behindOneByte(jsonMutator()), behindOneByte(textMutator)],
  dictionary: [SECRET, `"secret":"${SECRET}"`, '"id":1', '\\u0061'].map(utf8),
  maxBytes: LIMITS.signalBodyBytes + 64,
  codes: ['webhook_secret_invalid', 'json_malformed', 'field_malformed', 'body_too_large'],
  executions: 2_500,
  run(input) {
    const flags = input[0] ?? 0;
    const source = { secretField: 'secret', ...((flags & 2) !== 0 && { idField: 'id' }) };
    const body = input.subarray(1);
    const { content, id } = readAlert(source as Parameters<typeof readAlert>[0], secrets, body, (flags & 1) !== 0);
    must(content.length <= LIMITS.signalBodyBytes + 64, 'content beyond the limit');
    // Once is where it has to be; who writes it a second time keeps it.
    const times = (bytes: Uint8Array): number => Buffer.from(bytes).toString('latin1').split(SECRET).length;
    must(times(content) < Math.max(2, times(body)), 'the secret is kept');
    must(((flags & 2) !== 0) === (id !== undefined) && (id === undefined || /^[\w-]{1,64}$/.test(id)), 'the id');
    return { content, id };
  },
};
