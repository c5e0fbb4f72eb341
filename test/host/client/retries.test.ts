/** When the SDK asks again, with what, and when it does not: on a clock of the test's, and over real connections. */
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Connection, connectionTo, exchange, HostProblem } from '@quantumvault/host/client/http.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const post = {
  method: 'POST',
  path: 'v1/sign',
  headers: { 'webhook-id': 'the-id' },
  body: utf8('{"a":1}') as Uint8Array<ArrayBuffer>,
} as const;

const refusal = (code: ErrorCode, status: number, headers: Record<string, string> = {}): Response =>
  new Response(JSON.stringify({ code, status, requestId: 'r-1' }), { status, headers });
const proxys = (status: number, headers: Record<string, string> = {}): Response =>
  new Response('<html>', { status, headers });
const good = (): Response => new Response('{"value":"x"}');

describe('on a clock of its own', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** When each request was sent, in milliseconds from now; and how it ended. */
  async function sentAt(
    answer: (count: number) => Response,
    change: Partial<Connection> = {},
    signal?: AbortSignal,
  ): Promise<{ readonly times: readonly number[]; readonly outcome: unknown }> {
    const start = Date.now();
    const times: number[] = [];
    const fetchLike: typeof fetch = async () => {
      times.push(Date.now() - start);
      return answer(times.length);
    };
    const connection = connectionTo('http://host', { fetch: fetchLike, ...change });
    const ended = exchange(connection, { ...post, signal }).then(
      (fields) => fields.text('value'),
      (error: unknown) => error,
    );
    await vi.runAllTimersAsync();
    return { times, outcome: await ended };
  }

  const codeOf = async (outcome: unknown, code: ErrorCode): Promise<QvError> =>
    await expectCode(Promise.reject(outcome), code);

  test.each<[string, () => Response]>([
    ['the host', () => refusal('overloaded', 503, { 'retry-after': '7' })],
    ['a proxy', () => proxys(503, { 'retry-after': '7' })],
    ['a proxy, as a date', () => proxys(502, { 'retry-after': new Date(Date.now() + 7_000).toUTCString() })],
  ])('never comes back before %s says', async (_, refused) => {
    const { times, outcome } = await sentAt((count) => (count < 3 ? refused() : good()));
    expect(outcome).toBe('x');
    expect(times).toHaveLength(3);
    // A date has whole seconds.
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThanOrEqual(6_000);
    expect((times[2] ?? 0) - (times[1] ?? 0)).toBeGreaterThanOrEqual(6_000);
  });

  test.each(['x', '-1', '1.5', ''])('a wait of %j is none that was asked for', async (value) => {
    const { times, outcome } = await sentAt((count) =>
      count === 1 ? refusal('overloaded', 503, { 'retry-after': value }) : good(),
    );
    expect(outcome).toBe('x');
    expect(times[1]).toBeLessThanOrEqual(LIMITS.clientBackoffMilliseconds);
  });

  test('a longer wait than it has patience for is the caller’s to decide, who is told how long', async () => {
    const seconds = LIMITS.clientRetryAfterMaxMilliseconds / 1000 + 1;
    const { times, outcome } = await sentAt(() => refusal('overloaded', 503, { 'retry-after': String(seconds) }));
    expect(times).toHaveLength(1);
    const error = await codeOf(outcome, 'overloaded');
    expect(error).toBeInstanceOf(HostProblem);
    expect(error).toMatchObject({ retryAfterSeconds: seconds });
  });

  test('failures wait longer each time, as often as allowed', async () => {
    const { times, outcome } = await sentAt(() => proxys(502), { attempts: 6 });
    await codeOf(outcome, 'host_unreachable');
    expect(times).toHaveLength(6);
    const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    for (const [index, wait] of waits.entries()) {
      const full = Math.min(LIMITS.clientBackoffMilliseconds * 2 ** index, LIMITS.clientBackoffMaxMilliseconds);
      expect(wait).toBeGreaterThanOrEqual(full / 2 - 1);
      expect(wait).toBeLessThanOrEqual(full + 1);
    }
  });

  test.each([
    ['request_in_flight', 409],
    ['wallet_in_transit', 503],
  ] as const)('%s is waited for, whatever the number of attempts', async (code, status) => {
    const inFlight = (): Response => refusal(code, status);
    const { outcome, times } = await sentAt((count) => (count < 8 ? inFlight() : good()), { attempts: 2 });
    expect([outcome, times.length]).toEqual(['x', 8]);
    // Not for ever, and not when nothing is to be repeated.
    const endless = await sentAt(inFlight, { attempts: 2 });
    await codeOf(endless.outcome, code);
    expect(endless.times.at(-1)).toBeGreaterThan(LIMITS.clientInFlightMilliseconds);
    const once = await sentAt(inFlight, { attempts: 1 });
    await codeOf(once.outcome, code);
    expect(once.times).toHaveLength(1);
  });

  test('a deadline ends the waiting, with its own reason', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('too late')), 3_000);
    const refused = (): Response => refusal('overloaded', 503, { 'retry-after': '5' });
    const { times, outcome } = await sentAt(refused, {}, controller.signal);
    expect([times, outcome]).toEqual([[0], new Error('too late')]);
  });

  test('a signal that is used again and again keeps no listeners', async () => {
    const { signal } = new AbortController();
    const [added, removed] = [vi.spyOn(signal, 'addEventListener'), vi.spyOn(signal, 'removeEventListener')];
    await sentAt((count) => (count < 3 ? refusal('overloaded', 503) : good()), {}, signal);
    // Three attempts and two waits.
    expect(added).toHaveBeenCalledTimes(5);
    const listeners = (spy: typeof added | typeof removed) => spy.mock.calls.map(([, listener]) => listener);
    expect(new Set(listeners(removed))).toEqual(new Set(listeners(added)));
  });

  test('what the table calls final is not repeated', async () => {
    for (const [code, status] of [
      ['frozen', 423],
      ['policy_denied', 403],
      ['request_id_reused', 422],
      ['request_stale', 401],
    ] as const) {
      const { times, outcome } = await sentAt(() => refusal(code, status, { 'retry-after': '1' }));
      await codeOf(outcome, code);
      expect(times, code).toHaveLength(1);
    }
  });
});

describe('over real connections', () => {
  interface Seen {
    readonly id: string | undefined;
    readonly body: string;
  }

  /** Each request meets the next of these; the last one for ever. */
  async function withServer<T>(
    handlers: readonly RequestListener[],
    action: (connection: Connection, seen: readonly Seen[]) => Promise<T>,
  ): Promise<T> {
    const seen: Seen[] = [];
    const server = createServer(async (request: IncomingMessage, response: ServerResponse) => {
      let body = '';
      for await (const chunk of request) body += chunk;
      seen.push({ id: request.headers['webhook-id']?.toString(), body });
      handlers[Math.min(seen.length, handlers.length) - 1]?.(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      return await action(connectionTo(`http://127.0.0.1:${port}`, { timeoutMilliseconds: 500 }), seen);
    } finally {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  const answers: RequestListener = (_, response) => response.end('{"value":"x"}');
  const drops: RequestListener = (request) => request.socket.destroy();
  const hangs: RequestListener = () => undefined;
  const stopsHalfWay: RequestListener = (request, response) => {
    response.writeHead(200, { 'content-length': '100' });
    response.write('{"value"', () => request.socket.destroy());
  };

  test('dropped before, dropped in the middle of the answer, and hanging: the same bytes under the same id', async () => {
    await withServer([drops, stopsHalfWay, hangs, answers], async (connection, seen) => {
      expect((await exchange(connection, post)).text('value')).toBe('x');
      expect(seen).toEqual(Array.from({ length: 4 }, () => ({ id: 'the-id', body: '{"a":1}' })));
    });
  });

  test('an answer without end is given up, and its connection with it', async () => {
    let closed: Promise<unknown> | undefined;
    const floods: RequestListener = (request, response) => {
      closed = new Promise((resolve) => request.socket.once('close', resolve));
      response.writeHead(200);
      const more = (): void => {
        while (response.write('x'.repeat(65_536)));
        response.once('drain', more);
      };
      more();
    };
    await withServer([floods], async (connection) => {
      const error = await expectCode(exchange(connection, post), 'response_malformed');
      expect(error.facts.value).toBe('too large');
      await closed;
    });
  });

  test('a redirect is not followed', async () => {
    const redirects: RequestListener = (_, response) => {
      response.writeHead(307, { location: 'http://127.0.0.1:1/' });
      response.end();
    };
    await withServer([redirects], async (connection, seen) => {
      await expectCode(exchange({ ...connection, attempts: 2 }, post), 'host_unreachable');
      expect(seen).toHaveLength(2);
    });
  });

  test('a caller that is gone before it begins sends nothing', async () => {
    await withServer([answers], async (connection, seen) => {
      const signal = AbortSignal.abort(new Error('gone'));
      await expect(exchange(connection, { ...post, signal })).rejects.toThrow('gone');
      expect(seen).toEqual([]);
    });
  });

  test('AbortSignal.timeout is a deadline for all attempts together', async () => {
    await withServer([hangs], async (connection) => {
      const patient = { ...connection, timeoutMilliseconds: 60_000, attempts: 100 };
      const signal = AbortSignal.timeout(50);
      await expect(exchange(patient, { ...post, signal })).rejects.toMatchObject({ name: 'TimeoutError' });
    });
  });
});
