/**
 * HTTP as it arrives: raw bytes on a socket of a whole host, with a database and a fake enclave behind it. What callers see
 * of a refusal is a problem of the table, and never `internal`.
 *
 * In an input `@WALLET@` stands for the wallet that there is, `@LENGTH@` for the length of the body, and `@SIGN@` for the
 * requester's signature over id, timestamp and body: so what is behind a signature is reached.
 */

import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { ERRORS, isErrorCode } from '@quantumvault/shared/errors.ts';
import nacl from 'tweetnacl';
import { Harness, type Person } from '../../host/harness.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import type { Mutator } from '../engine/mutate.ts';
import { must, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import * as sample from './samples.ts';

const NOW = Date.UTC(2026, 10, 22, 12);
const TOKEN = `qvt_${'a'.repeat(43)}`;
const TEXT_SECRET = 'a-secret-of-32-characters-in-all';

function personOf(number: number): Person {
  const { publicKey, secretKey } = sample.pair(number);
  return { address: addressOf(publicKey), sign: (bytes) => nacl.sign.detached(bytes, secretKey) };
}

class FixedHarness extends Harness {
  override readonly owner = personOf(2);
  override readonly requester = personOf(3);

  constructor() {
    super();
    this.logLevel = 'error';
    this.webhookRefusalsPerSecond = 1e9;
    this.enclaveTimeoutMilliseconds = 60_000;
    this.logins = [{ name: 'ann', secret: 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP' }];
    this.moreConfig = () => ({
      apiTokensFile: this.writePrivate(
        'tokens',
        JSON.stringify({
          tokens: [{ name: 'a', role: 'auditor', sha256: createHash('sha256').update(TOKEN).digest('hex') }],
        }),
      ),
      webhooks: [
        {
          name: 'alpha',
          kind: 'standard',
          keys: [sample.requester],
          secretsFile: this.writePrivate('shared', `whsec_${toBase64(sample.hash)}\n`),
        },
        {
          name: 'tv',
          kind: 'tradingview',
          addresses: ['127.0.0.1'],
          secretsFile: this.writePrivate('typed', `${TEXT_SECRET}\n`),
        },
      ],
    });
  }

  /** The same time for each input: signed ones would be stale else. */
  stopClock(): void {
    this.clockSkew = NOW - Date.now();
  }
}

let host: FixedHarness | undefined;

const request = (method: string, path: string, body?: unknown, headers: readonly string[] = []): Uint8Array => {
  const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const lines = [
    `${method} ${path} HTTP/1.1`,
    'host: h',
    ...(body === undefined ? [] : ['content-type: application/json', 'content-length: @LENGTH@']),
    ...headers,
  ];
  return utf8(`${lines.join('\r\n')}\r\n\r\n${text}`);
};

const SIGNED = [`webhook-id: order-1`, `webhook-timestamp: ${NOW / 1000}`, 'webhook-signature: v1a,@SIGN@'];
const token = [`authorization: Bearer ${TOKEN}`];
const transaction = toBase64(sample.filled(200, 1));
const sign = { purpose: 'qv/sign/v1', audience: 'test', wallet: '@WALLET@', transaction };
const creation = {
  purpose: 'qv/create-wallet/v1',
  deployment: 'test',
  owner: sample.owner,
  nonce: '00'.repeat(16),
  requesters: [sample.requester],
  createBefore: '2026-11-22T12:10:00Z',
  signature: toBase64(sample.signature),
};
const policy = {
  version: 1,
  wallet: '@WALLET@',
  owner: sample.owner,
  epoch: 2,
  validFrom: '2020-01-01T00:00:00Z',
  validUntil: '2100-01-01T00:00:00Z',
  requesters: [sample.requester],
  transaction: { versions: ['legacy'], lookupTables: {}, durableNonce: false, maxInstructions: 16 },
  fees: { maxLamports: '1' },
  sol: { maxPerTransaction: '1', destinations: [] },
  tokens: [],
  programs: [],
};

/** Of a request, the body alone, as JSON; the length follows. */
const changeBody: Mutator = (input, material) => {
  const at = Buffer.from(input.buffer, input.byteOffset, input.length).indexOf('\r\n\r\n');
  if (at < 0) return undefined;
  const body = jsonMutator()(input.subarray(at + 4), material);
  return body && new Uint8Array(Buffer.concat([input.subarray(0, at + 4), body]));
};

/** What goes over the socket. */
function filledIn(input: Uint8Array, wallet: string): Buffer {
  const text = Buffer.from(input).toString('latin1').replaceAll('@WALLET@', wallet);
  const at = text.indexOf('\r\n\r\n');
  const body = at < 0 ? '' : text.slice(at + 4);
  const head = (at < 0 ? text : text.slice(0, at + 4)).replace('@LENGTH@', String(body.length));
  const of = (name: string): string => new RegExp(`\\r\\n${name}: ?([^\\r]*)`, 'i').exec(head)?.[1] ?? '';
  const signed = Buffer.from(`${of('webhook-id')}.${of('webhook-timestamp')}.${body}`, 'latin1');
  const signature = head.includes('@SIGN@') ? toBase64(nacl.sign.detached(signed, sample.pair(3).secretKey)) : '';
  return Buffer.from(head.replace('@SIGN@', signature) + body, 'latin1');
}

/** All that the host answers until it closes, which it does once our side is at its end. */
function answerTo(bytes: Uint8Array): Promise<string> {
  const { port } = new URL(host?.host.url ?? 'http://x:1');
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), '127.0.0.1', () => socket.end(bytes));
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')));
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' || error.code === 'EPIPE' ? resolve('') : reject(error),
    );
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')));
  });
}

/** What a busy machine brings about, and what there is not here. */
const ALLOWED_FAULTS = [
  'shutting_down',
  'overloaded',
  'operators_unconfigured',
  'deadline_exceeded',
  'log_unpublished',
  'store_unavailable',
  'enclave_unavailable',
];

export const http: Target = {
  name: 'http',
  covers: [
    'host/src/routes/sign.ts',
    'host/src/routes/sign-batch.ts',
    'host/src/routes/wallets.ts',
    'host/src/routes/policy.ts',
    'host/src/routes/webhooks.ts',
    'host/src/routes/freeze.ts',
    'host/src/routes/log.ts',
    'host/src/routes/receipts.ts',
    'host/src/reads/query.ts',
    'host/src/app.ts',
  ],
  seeds: () => ({
    sign: request('POST', '/v1/sign', sign, SIGNED),
    'dry-run': request('POST', '/v1/sign', { ...sign, dryRun: true }, SIGNED),
    batch: request(
      'POST',
      '/v1/sign/batch',
      { ...sign, purpose: 'qv/sign-batch/v1', transaction: undefined, transactions: [transaction] },
      SIGNED,
    ),
    create: request('POST', '/v1/wallets', creation),
    wallet: request('GET', '/v1/wallets/@WALLET@'),
    statement: request('POST', '/v1/wallets/@WALLET@/policy/statement', {
      policy,
      enableBefore: '2026-11-22T12:10:00Z',
    }),
    enable: request('PUT', '/v1/wallets/@WALLET@/policy', {
      policy,
      enableBefore: '2026-11-22T12:10:00Z',
      previousHash: null,
      signature: toBase64(sample.signature),
    }),
    webhook: request('POST', '/v1/webhooks/alpha', { a: 1 }, SIGNED),
    alert: request('POST', '/v1/webhooks/tv', { secret: TEXT_SECRET, a: 1 }),
    freeze: request('POST', '/v1/freeze', { login: 'ann', code: '123456', scope: 'wallet:@WALLET@', reason: 'r' }),
    panic: request('POST', '/v1/freeze', { panicCode: '0'.repeat(26) }),
    attestation: request('GET', `/v1/attestation?nonce=${'00'.repeat(32)}`),
    receipt: request('GET', '/v1/receipts/order-1?index=0&wallet=@WALLET@'),
    boots: request('GET', '/v1/log/boots'),
    tile: request('GET', '/v1/log/tile/entries/000.p/1'),
    'logged-policy': request('GET', `/v1/log/policies/${'ab'.repeat(32)}`),
    wallets: request('GET', '/v1/wallets?limit=2', undefined, token),
    budgets: request('GET', '/v1/wallets/@WALLET@/budgets', undefined, token),
    decisions: request(
      'GET',
      '/v1/decisions?wallet=@WALLET@&kind=denied&limit=20&from=2026-11-22T12:00:00Z',
      undefined,
      token,
    ),
    freezes: request('GET', '/v1/freezes', undefined, token),
    ready: request('GET', '/readyz', undefined, [
      'x-request-timeout-ms: 100',
      'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    ]),
    chunked: utf8(
      'POST /v1/sign HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\ncontent-type: application/json\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    ),
  }),
  mutators: [changeBody, changeBody, textMutator],
  dictionary: [
    '@WALLET@',
    '@SIGN@',
    '%00',
    '%2e%2e/',
    '?',
    '&limit=',
    'HTTP/1.0',
    'transfer-encoding: chunked\r\n',
    'content-length: 0\r\n',
    'expect: 100-continue\r\n',
    'upgrade: x\r\n',
    'content-type: text/plain\r\n',
    'x-request-timeout-ms: 0\r\n',
  ].map(utf8),
  maxBytes: 6_000,
  codes: [],
  executions: 120,
  // Wallets, ids and signals are there from inputs before.
  deterministic: false,
  async open() {
    host = new FixedHarness();
    host.stopClock();
    await host.start();
    await host.createWallet();
    await host.enablePolicy();
  },
  async close() {
    await host?.stop();
    host = undefined;
  },
  async run(input) {
    must(host !== undefined, 'a host');
    host.stopClock();
    host.logLines.length = 0;
    const answer = await answerTo(filledIn(input, host.wallet));
    const unexpected = host.logLines.find((line) => line.includes('unexpected fault'));
    must(unexpected === undefined, `unexpected fault: ${unexpected?.slice(0, 400)}`);
    if (answer === '') return 'closed';
    const [, status = ''] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? [];
    must(status !== '', 'an answer that is not HTTP');
    if (Number(status) < 400) return status;
    const [head = '', body = ''] = answer.split(/\r\n\r\n(.*)/s);
    must(/content-type: application\/problem\+json/i.test(head), `${status} without a problem`);
    const problem = JSON.parse(/^\{.*?\}(?=HTTP\/1\.1|$)/s.exec(body)?.[0] ?? body) as {
      code?: string;
      status?: number;
    };
    must(
      isErrorCode(problem.code) && ERRORS[problem.code].status === Number(status),
      `${status} with code ${problem.code}`,
    );
    must(problem.code !== 'internal', 'internal');
    must(Number(status) < 500 || ALLOWED_FAULTS.includes(problem.code), `a fault of ours: ${problem.code}`);
    return problem.code;
  },
};
