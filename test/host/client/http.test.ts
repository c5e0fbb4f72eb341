/** One exchange of the SDK with a host that answers anything. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connectionTo, exchange, HostProblem } from '@quantumvault/host/client/http.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, test } from 'vitest';
import { expectCode } from '../../support/codes.ts';

type Answer = () => Response | Promise<Response>;

/** Answers in turn; the last one for ever. */
function scripted(...answers: readonly Answer[]) {
  const requests: { url: string; init: RequestInit | undefined }[] = [];
  const fetchLike: typeof fetch = async (input, init) => {
    requests.push({ url: String(input), init });
    const answer = answers[Math.min(requests.length, answers.length) - 1];
    if (answer === undefined) throw new TypeError('nobody is there');
    return await answer();
  };
  const connection = { url: new URL('http://host/base/'), fetch: fetchLike, timeoutMilliseconds: 1_000, attempts: 3 };
  return { connection, requests };
}

const json =
  (value: unknown, status = 200): Answer =>
  () =>
    new Response(typeof value === 'string' ? value : JSON.stringify(value), { status });
const problem = (code: string, status: number, more: object = {}): Answer =>
  json({ code, status, requestId: 'r-1', ...more }, status);
const post = { method: 'POST', path: 'v1/sign', body: utf8('{"a":1}') as Uint8Array<ArrayBuffer> } as const;

describe('exchange', () => {
  test('sends bytes as they are, below the base, and reads strict JSON', async () => {
    const { connection, requests } = scripted(json({ value: 'x' }));
    const fields = await exchange(connection, { ...post, headers: { 'webhook-id': 'i' } });
    expect(fields.text('value')).toBe('x');
    expect(requests[0]?.url).toBe('http://host/base/v1/sign');
    expect(requests[0]?.init).toMatchObject({
      method: 'POST',
      body: post.body,
      redirect: 'error',
      headers: { 'content-type': 'application/json', 'webhook-id': 'i' },
    });
  });

  test('a problem becomes its code, with rule or path, value and request id', async () => {
    const denied = scripted(problem('policy_denied', 403, { rule: 'sol.destinations', value: 'x' }));
    const error = await expectCode(exchange(denied.connection, post), 'policy_denied');
    expect(error).toBeInstanceOf(HostProblem);
    expect(error).toMatchObject({ facts: { path: 'sol.destinations', value: 'x' }, status: 403, requestId: 'r-1' });
    const malformed = scripted(problem('field_malformed', 400, { path: 'wallet' }));
    expect((await expectCode(exchange(malformed.connection, post), 'field_malformed')).facts).toEqual({
      path: 'wallet',
    });
    expect(malformed.requests).toHaveLength(1);
  });

  test('what the table calls retryable is repeated, byte for byte, until it works', async () => {
    const { connection, requests } = scripted(
      problem('overloaded', 503),
      problem('request_in_flight', 409),
      json({ value: 'x' }),
    );
    await exchange(connection, post);
    expect(requests).toHaveLength(3);
    expect(requests.every(({ init }) => init?.body === post.body)).toBe(true);
  });

  test('and no more often than allowed', async () => {
    const { connection, requests } = scripted(problem('enclave_not_ready', 503));
    await expectCode(exchange(connection, post), 'enclave_not_ready');
    expect(requests).toHaveLength(3);
  });

  test('a host that is not there is repeated, too, and keeps its cause', async () => {
    const { connection, requests } = scripted();
    const error = await expectCode(exchange(connection, post), 'host_unreachable');
    expect(error).toMatchObject({ facts: { value: 'host' }, cause: expect.any(TypeError) });
    expect(requests).toHaveLength(3);
  });

  test('a proxy that answers for the host', async () => {
    for (const status of [502, 503, 504]) {
      const { connection } = scripted(json('<html>', status));
      await expectCode(exchange(connection, post), 'host_unreachable');
    }
    for (const answer of [json('<html>', 500), json('<html>', 404), json({ code: 'a_code_of_tomorrow' }, 400)]) {
      const { connection, requests } = scripted(answer);
      await expectCode(exchange(connection, post), 'response_malformed');
      expect(requests).toHaveLength(1);
    }
  });

  test.each([
    ['no JSON', '<html>'],
    ['a list', '[]'],
    ['a duplicate key', '{"a":1,"a":2}'],
    ['nothing', ''],
    ['too much', `{"a":"${'x'.repeat(LIMITS.clientResponseBytes)}"}`],
  ])('an answer that is %s is refused', async (_, body) => {
    const { connection, requests } = scripted(json(body));
    await expectCode(exchange(connection, post), 'response_malformed');
    expect(requests).toHaveLength(1);
  });

  test('a host that hangs is given up', async () => {
    const { connection } = scripted();
    const hanging: typeof fetch = (_, init) =>
      new Promise((_resolve, reject) => {
        init?.signal?.addEventListener('abort', () => reject(init.signal?.reason));
      });
    const impatient = { ...connection, fetch: hanging, timeoutMilliseconds: 20, attempts: 1 };
    expect((await expectCode(exchange(impatient, post), 'host_unreachable')).facts.value).toBe('timeout');
  });

  test('a caller that gives up is heard, during an attempt and between two', async () => {
    const { connection, requests } = scripted(problem('overloaded', 503));
    const controller = new AbortController();
    const asked = exchange({ ...connection, attempts: 100 }, { ...post, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 50);
    await expect(asked).rejects.toThrow('enough');
    expect(requests.length).toBeLessThan(4);
    await expect(exchange(connection, { ...post, signal: controller.signal })).rejects.toThrow('enough');
  });
});

describe('over a real connection', () => {
  test('every status of the error table reaches the caller, after one request', async () => {
    const codes = Object.keys(ERRORS) as ErrorCode[];
    let received = 0;
    let answer: { readonly code: string; readonly status: number };
    const server = createServer(async (request, response) => {
      for await (const _ of request);
      received++;
      response.writeHead(answer.status, { 'content-type': 'application/problem+json' });
      response.end(JSON.stringify({ ...answer, requestId: 'r-1' }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const connection = connectionTo(`http://127.0.0.1:${port}`, { attempts: 1 });
      for (const code of codes) {
        answer = { code, status: ERRORS[code].status };
        if (answer.status < 400) continue;
        received = 0;
        const error = await expectCode(exchange(connection, post), code);
        expect(error).toMatchObject({ status: answer.status });
        expect(received, code).toBe(1);
      }
    } finally {
      server.close();
    }
  });
});
