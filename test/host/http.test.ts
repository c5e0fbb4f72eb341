import { createConnection } from 'node:net';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Problem } from '../support/codes.ts';
import { Harness, JSON_TYPE } from './harness.ts';

let host: Harness;
beforeAll(async () => {
  host = await Harness.withWallet();
});
afterAll(() => host.stop());

/** Raw bytes in, everything that comes back out. */
function raw(text: string): Promise<Response> {
  const { port, hostname } = new URL(host.host.url);
  return new Promise((resolve, reject) => {
    const socket = createConnection({ port: Number(port), host: hostname });
    let answer = '';
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', body = ''] = answer.split('\r\n\r\n');
      const [status = '', ...lines] = head.split('\r\n');
      const headers = lines.map((line) => line.split(': ') as [string, string]);
      resolve(new Response(body, { status: Number(status.split(' ')[1]), headers }));
    });
    socket.write(text);
  });
}

describe('requests that are none of ours', () => {
  it.each([
    ['GET', '/'],
    ['GET', '/v1/sign'],
    ['DELETE', '/v1/wallets'],
    ['GET', '/v1/wallets/a/b/c'],
    ['HEAD', '/healthz'],
    ['GET', `/v1/wallets/${'a'.repeat(300)}`],
  ])('%s %s', async (method, path) => {
    const response = await fetch(host.host.url + path, { method });
    if (method === 'HEAD') expect(response.status).toBe(404);
    else await expectProblem(response, 'route_unknown');
  });

  it('a URL that does not decode', async () => {
    await expectProblem(await host.get('/v1/wallets/%ff%zz'), 'http_malformed');
  });

  it.each([
    ['a body under a method without routes', 'QUERY /v1/sign HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n', '{}'],
    ['an expectation', 'POST /v1/sign HTTP/1.1\r\nhost: a\r\nexpect: foo\r\ncontent-length: 2\r\n', '{}'],
    ['no host', 'GET /healthz HTTP/1.1\r\n', ''],
  ])('%s', async (_, head, body) => {
    const response = await raw(`${head}connection: close\r\n\r\n${body}`);
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    await expectProblem(response, 'http_malformed');
  });

  it('QUERY without type or body is no fault of ours', async () => {
    const response = await raw('QUERY /v1/sign HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
    expect(response.status).toBeLessThan(500);
    await response.text();
  });

  it('HTTP/1.0 needs no host', async () => {
    expect((await raw('GET /healthz HTTP/1.0\r\n\r\n')).status).toBe(200);
  });

  it('bytes that are not HTTP', async () => {
    await expectProblem(await raw('no http at all\r\n\r\n'), 'http_malformed');
    await expectProblem(
      await raw(`GET / HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(40_000)}\r\n\r\n`),
      'headers_too_large',
    );
    const twoLengths = 'POST /v1/sign HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n';
    await expectProblem(await raw(twoLengths), 'http_malformed');
  });

  it('a body that is announced too large is not waited for', async () => {
    const head = `POST /v1/sign HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n`;
    await expectProblem(await raw(`${head}content-length: 99999999\r\n\r\n{`), 'body_too_large');
  });

  it('a chunked body that grows too large', async () => {
    const chunk = `4000\r\n${'a'.repeat(0x4000)}\r\n`;
    const head = `POST /v1/sign HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\nconnection: close\r\n`;
    await expectProblem(
      await raw(`${head}transfer-encoding: chunked\r\n\r\n${chunk}${chunk}0\r\n\r\n`),
      'body_too_large',
    );
  });

  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp', 'nonsense'])(
    'a body of type %s',
    async (type) => {
      await expectProblem(
        await host.send('POST', '/v1/wallets', '{}', { 'content-type': type }),
        'media_type_unsupported',
      );
    },
  );

  it('a body without a type, and a type without a body', async () => {
    const bytes = new Uint8Array(Buffer.from('{}'));
    const untyped = await fetch(`${host.host.url}/v1/wallets`, { method: 'POST', body: bytes });
    await expectProblem(untyped, 'media_type_unsupported');
    await expectProblem(await host.send('POST', '/v1/wallets', '', JSON_TYPE), 'json_malformed');
  });

  it('names of object properties as JSON keys', async () => {
    await expectProblem(await host.send('POST', '/v1/wallets', '{"__proto__":{}}'), 'json_malformed');
    await expectProblem(await host.send('POST', '/v1/wallets', '{"constructor":{}}'), 'field_malformed');
  });
});

describe('health and attestation', () => {
  it('lives and is ready', async () => {
    expect(await (await host.get('/healthz')).json()).toEqual({ alive: true });
    const ready = await host.get('/readyz');
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ ready: true, failing: [], enclave: { phase: 'serving' } });
  });

  it('answers a document over the nonce, with boot and boot record', async () => {
    const nonce = '00112233445566778899aabbccddeeff';
    const reply = (await (await host.get(`/v1/attestation?nonce=${nonce}`)).json()) as Record<string, unknown>;
    expect(reply['document']).toBe(toBase64(Buffer.from(nonce, 'hex')));
    expect(reply['boot']).toBe(host.enclave.boot);
    expect(reply['bootRecord']).toEqual({ leaf: expect.any(String), signature: expect.any(String) });
  });

  const wrong: [string, Problem['code']][] = [
    ['', 'field_malformed'],
    ['?nonce=', 'field_malformed'],
    [`?nonce=${'ab'.repeat(15)}`, 'field_malformed'],
    [`?nonce=${'ab'.repeat(65)}`, 'field_malformed'],
    [`?nonce=${'AB'.repeat(16)}`, 'hex_malformed'],
    [`?nonce=${'ab'.repeat(16)}a`, 'hex_malformed'],
    [`?nonce=${'ab'.repeat(16)}&nonce=${'ab'.repeat(16)}`, 'field_malformed'],
    [`?nonce=${'ab'.repeat(16)}&other=1`, 'field_malformed'],
  ];
  it.each(wrong)('refuses the query %j', async (query, code) => {
    await expectProblem(await host.get(`/v1/attestation${query}`), code as never);
  });
});

describe('the log', () => {
  it('has one line per request with id, route, status, code and wallet', async () => {
    const response = await host.sign();
    const id = response.headers.get('x-request-id') ?? '';
    const problem = await expectProblem(await host.sign({ timestamp: 1 }), 'request_stale');
    const lines = host.logLines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter(({ requestId }) => requestId === id)).toEqual([
      expect.objectContaining({ route: '/v1/sign', method: 'POST', status: 200, wallet: host.wallet, msg: 'request' }),
    ]);
    expect(lines.find(({ requestId }) => requestId === problem.requestId)).toMatchObject({
      status: 401,
      code: 'request_stale',
    });
  });

  it('holds no body, signature, receipt, blob, credential or query at any level', async () => {
    const { body, headers } = host.signRequest();
    const reply = (await (await host.send('POST', '/v1/sign', body, headers)).json()) as Record<string, unknown>;
    await host.get(`/v1/attestation?nonce=${'cd'.repeat(16)}`);
    await host.send('POST', '/v1/wallets', { secret: 'in a refused body' });
    await host.get('/v1/wallets/%zzpath-that-is-secret?query-that-is-secret');
    await host.get(`/v1/wallets/${'long-that-is-secret'.repeat(20)}?query-that-is-secret`);
    const log = host.logLines.join('');
    const receipt = reply['receipt'] as { leaf: string; signature: string };
    const forbidden = [
      host.signBody().transaction,
      headers['webhook-signature'] ?? '',
      headers['webhook-signature']?.slice(4) ?? '',
      String(reply['signature']),
      receipt.leaf,
      receipt.signature,
      'hidden-key',
      'cd'.repeat(16),
      'in a refused body',
      'that-is-secret',
      Buffer.from(host.enclave.rowKey).toString('hex'),
      Buffer.from(host.enclave.rowKey).toString('base64'),
    ];
    expect(log.length).toBeGreaterThan(1000);
    for (const text of forbidden) expect(text.length > 5 && log.includes(text)).toBe(false);
  });
});
