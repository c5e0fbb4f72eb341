/** Who may ask how often, how long a caller waits, and what is refused before any work is done. */
import { connect } from 'node:net';
import { QueueAge } from '@quantumvault/host/queue-age.ts';
import { CountedRequests } from '@quantumvault/host/rate-limits/counted-requests.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { Harness, person, type SignOptions } from './harness.ts';

let host: Harness;
afterEach(() => host.stop());

async function started(rateLimits: Harness['rateLimits'], change: (host: Harness) => void = () => undefined) {
  host = new Harness();
  Object.assign(host.rateLimits, rateLimits);
  change(host);
  await host.start();
  return host;
}
async function withWallet(rateLimits: Harness['rateLimits'], change?: (host: Harness) => void): Promise<Harness> {
  await started(rateLimits, change);
  await host.createWallet();
  await host.enablePolicy();
  return host;
}
const get = (path: string, headers: Record<string, string> = {}) => fetch(host.host.url + path, { headers });
const signWith = (options: SignOptions, headers: Record<string, string>) => {
  const request = host.signRequest(options);
  return host.send('POST', '/v1/sign', request.body, { ...request.headers, ...headers });
};

describe('the rate of an address', () => {
  it('is counted, told in every reply, and refused beyond with the time to wait', async () => {
    await started({ address: 10 });
    let left = 10;
    for (;;) {
      const response = await get('/v1/log/boots');
      const policy = response.headers.get('ratelimit-policy');
      expect(policy).toBe('"address";q=10;w=60');
      const [, remaining, seconds] = /^"address";r=(\d+);t=(\d+)$/.exec(response.headers.get('ratelimit') ?? '') ?? [];
      expect(Number(remaining)).toBe(Math.max(0, --left));
      expect(Number(seconds)).toBeLessThanOrEqual(60);
      if (left >= 0) {
        expect(response.status).toBe(200);
        continue;
      }
      const problem = await expectProblem(response, 'rate_limited');
      expect(problem).toMatchObject({ path: 'address', value: '10 per minute', retryable: true });
      expect(response.headers.get('retry-after')).toBe(seconds);
      break;
    }
    // Health checks and the stop button always go through.
    expect((await get('/healthz')).status).toBe(200);
    expect((await get('/readyz')).status).toBe(200);
    const freeze = await host.send('POST', '/v1/freeze', JSON.stringify({ panicCode: 'x', reason: 'r' }));
    expect(freeze.status).not.toBe(429);
    expect(await (await get('/v1/log/boots')).json()).toMatchObject({ code: 'rate_limited' });
  });

  it('is that of the client behind a trusted proxy, and of nobody else’s header', async () => {
    await started({ address: 3 }, (harness) => {
      harness.trustedProxies = ['127.0.0.1'];
    });
    const from = async (forwarded: string) => (await get('/v1/log/boots', { 'x-forwarded-for': forwarded })).status;
    const statuses = async (forwarded: string, count: number) => {
      const seen: number[] = [];
      for (let index = 0; index < count; index++) seen.push(await from(forwarded));
      return seen;
    };
    expect(await statuses('192.0.2.1', 4)).toEqual([200, 200, 200, 429]);
    // What stands left of the address that the proxy saw is whatever the client wrote.
    expect(await statuses('198.51.100.7, 192.0.2.1', 1)).toEqual([429]);
    expect(await statuses('192.0.2.2', 1)).toEqual([200]);
    // A customer's whole IPv6 network is one caller.
    expect([await from('2001:db8::1'), await from('2001:db8::2'), await from('2001:db8::3')]).toEqual([200, 200, 200]);
    expect(await from('2001:db8:0:0:ffff::4')).toBe(429);
    expect(await from('2001:db8:0:1::1')).toBe(200);
  });

  it('has shares of its own for attestations, and for wallets and policies', async () => {
    await withWallet({ attestations: 2, statements: 3 });
    const nonce = 'ab'.repeat(32);
    for (let index = 0; index < 2; index++) expect((await get(`/v1/attestation?nonce=${nonce}`)).status).toBe(200);
    const refused = await expectProblem(await get(`/v1/attestation?nonce=${nonce}`), 'rate_limited');
    expect(refused.path).toBe('attestations');
    // Creation and enabling of the wallet were two.
    const statement = () => host.send('POST', `/v1/wallets/${host.wallet}/policy/statement`, '{}');
    expect((await statement()).status).toBe(400);
    expect((await expectProblem(await statement(), 'rate_limited')).path).toBe('statements');
  });
});

describe('the rate of a requester and of a wallet', () => {
  it('counts what they signed, and nothing that a stranger sends in their name', async () => {
    await withWallet({ requester: 5 });
    for (let index = 0; index < 20; index++)
      await expectProblem(await host.sign({ signer: person() }), 'request_signature_invalid');
    for (let index = 0; index < 5; index++) expect((await host.sign({ id: `r${index}` })).status).toBe(200);
    const response = await host.sign({ id: 'r5' });
    expect(response.headers.get('ratelimit-policy')).toBe('"address";q=10000000;w=60, "requester";q=5;w=60');
    expect((await expectProblem(response, 'rate_limited')).path).toBe('requester');
    // It was asked of nobody, and its id is free.
    expect(host.enclave.requests.filter(({ name }) => name === 'sign')).toHaveLength(5);
    expect(host.rows('replies')).toHaveLength(5);
  });

  it('counts one signature once, however often its bytes are sent and whatever became of them', async () => {
    await withWallet({ requester: 3, wallet: 1_000 });
    const asked = () => host.enclave.requests.filter(({ name }) => name === 'sign').length;
    const captured = (request: ReturnType<Harness['signRequest']>) => () =>
      host.send('POST', '/v1/sign', request.body, request.headers);
    // Decided: told again, as often as anybody asks.
    const decided = captured(host.signRequest({ id: 'decided' }));
    for (let index = 0; index < 20; index++) expect((await decided()).status).toBe(200);
    expect(asked()).toBe(1);
    // Not decided, and a dry run: asked again a few times, and then refused without being counted.
    host.enclave.handlers.sign = () => {
      throw new Refused({ code: 'kms_unavailable' });
    };
    const undecided = captured(host.signRequest({ id: 'undecided' }));
    for (let index = 0; index <= LIMITS.requestRepeats; index++)
      await expectProblem(await undecided(), 'kms_unavailable');
    for (let index = 0; index < 20; index++) {
      const response = await undecided();
      expect(response.headers.get('retry-after')).toBe('1');
      const refused = await expectProblem(response, 'rate_limited');
      expect(refused).toMatchObject({ path: 'repeats', value: `${LIMITS.requestRepeats} of one request` });
    }
    expect(asked()).toBe(2 + LIMITS.requestRepeats);
    delete host.enclave.handlers.sign;
    // Of the requester's three one is left, and what was decided is told also when none is.
    expect((await host.sign({ id: 'last' })).headers.get('ratelimit')).toMatch(
      /"requester";r=0;t=\d+, "wallet";r=997;/,
    );
    expect((await expectProblem(await host.sign({ id: 'too-many' }), 'rate_limited')).path).toBe('requester');
    expect((await decided()).status).toBe(200);
  });

  it('of dry runs counts one signature once as well', async () => {
    await withWallet({ requester: 2 });
    const request = host.signRequest({ id: 'dry', body: { ...host.signBody(), dryRun: true } });
    const send = () => host.send('POST', '/v1/sign', request.body, request.headers);
    for (let index = 0; index <= LIMITS.requestRepeats; index++) expect((await send()).status).toBe(200);
    expect((await expectProblem(await send(), 'rate_limited')).path).toBe('repeats');
    expect((await host.sign({ id: 'mine' })).status).toBe(200);
  });

  it('counts nothing of a request while its first copy is under way', async () => {
    await withWallet({ requester: 2 });
    host.enclave.handlers.sign = () => 'hang';
    const request = host.signRequest({ id: 'slow' });
    const send = () =>
      host.send('POST', '/v1/sign', request.body, { ...request.headers, 'x-request-timeout-ms': '1500' });
    const first = send();
    await expect.poll(() => host.enclave.requests.some(({ name }) => name === 'sign')).toBe(true);
    for (let index = 0; index < 20; index++) await expectProblem(await send(), 'request_in_flight');
    await expectProblem(await first, 'deadline_exceeded');
    delete host.enclave.handlers.sign;
    expect((await host.sign({ id: 'mine' })).status).toBe(200);
  });

  it('takes nothing of a requester for what the wallet’s rate refuses', async () => {
    await withWallet({ requester: 2, wallet: 1 });
    expect((await host.sign({ id: 'first' })).status).toBe(200);
    for (let index = 0; index < 5; index++)
      expect((await expectProblem(await host.sign({ id: `w${index}` }), 'rate_limited')).path).toBe('wallet');
  });

  it('remembers signatures for as long as they are fresh, and so many', async () => {
    let nowMs = 0;
    let count = 0;
    const requests = new CountedRequests(() => nowMs);
    const once = (name: string) => requests.once(name, async () => void count++);
    await once('a');
    await once('a');
    expect(count).toBe(1);
    nowMs = (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds) * 1000;
    await once('a');
    expect(count).toBe(2);
    for (let index = 0; index < LIMITS.rateLimitRequests; index++) await once(String(index));
    await once('a');
    expect(count).toBe(3 + LIMITS.rateLimitRequests);
    await once(String(LIMITS.rateLimitRequests - 1));
    expect(count).toBe(3 + LIMITS.rateLimitRequests);
    // What was refused is not counted, also for those who came meanwhile, and counts when it comes again.
    const refuse = () => requests.once('b', () => Promise.reject(new Error('no')));
    for (const refused of [refuse(), refuse()]) await expect(refused).rejects.toThrow('no');
    await once('b');
    expect(count).toBe(4 + LIMITS.rateLimitRequests);
  });

  it('counts each transaction of a batch', async () => {
    await withWallet({ wallet: 10 });
    const { transaction, ...rest } = host.signBody() as Record<string, string>;
    const batch = (id: string, count: number) => {
      const body = { ...rest, purpose: 'qv/sign-batch/v1', transactions: Array(count).fill(transaction) };
      const request = host.signRequest({ id, body });
      return host.send('POST', '/v1/sign/batch', request.body, request.headers);
    };
    const first = await batch('b1', 8);
    expect(first.headers.get('ratelimit')).toMatch(/"wallet";r=2;t=\d+$/);
    expect(first.status).toBe(200);
    expect((await expectProblem(await batch('b2', 4), 'rate_limited')).path).toBe('wallet');
  });
});

describe('how long a caller waits', () => {
  it('is told to the enclave, and kept', async () => {
    await withWallet({});
    const asked = () => host.enclave.requests.filter(({ name }) => name === 'sign').at(-1)?.body;
    expect((await host.sign({ id: 'default' })).status).toBe(200);
    const most = (asked() as { timeoutMilliseconds: number }).timeoutMilliseconds;
    expect(most).toBeLessThanOrEqual(LIMITS.enclaveRequestTimeoutMilliseconds);
    expect(most).toBeGreaterThan(LIMITS.enclaveRequestTimeoutMilliseconds / 2);
    expect((await signWith({ id: 'short' }, { 'x-request-timeout-ms': '3000' })).status).toBe(200);
    expect((asked() as { timeoutMilliseconds: number }).timeoutMilliseconds).toBeLessThanOrEqual(3000);
    host.enclave.handlers.sign = () => 'hang';
    await expectProblem(await signWith({ id: 'late' }, { 'x-request-timeout-ms': '200' }), 'deadline_exceeded');
    const before = host.enclave.requests.length;
    await expectProblem(await signWith({ id: 'none' }, { 'x-request-timeout-ms': '1' }), 'deadline_exceeded');
    expect(host.enclave.requests.slice(before).filter(({ name }) => name === 'sign')).toEqual([]);
    for (const wrong of ['0', '-1', '1.5', '01', 'soon', '99999999'])
      expect((await expectProblem(await signWith({}, { 'x-request-timeout-ms': wrong }), 'field_malformed')).path).toBe(
        'x-request-timeout-ms',
      );
  });

  it('is nobody’s when the queue has grown old', async () => {
    await started({});
    let nowMs = 0;
    const queue = new QueueAge(() => nowMs);
    const done: (() => void)[] = [];
    const wait = () => void queue.wait(() => new Promise<void>((resolve) => done.push(resolve)));
    for (let index = 1; index < LIMITS.queueAgeRequests; index++) wait();
    nowMs = LIMITS.queueAgeMilliseconds + 1;
    // A few that are slow are no queue.
    expect(queue.isOld).toBe(false);
    wait();
    expect(queue.isOld).toBe(true);
    for (const finish of done.slice(0, -1)) finish();
    await new Promise(setImmediate);
    expect(queue.isOld).toBe(false);
    await expect(queue.wait(() => Promise.reject(new Error('x')))).rejects.toThrow('x');
  });

  it('while the enclave hangs: new requests are refused at once, before their signature is looked at', async () => {
    await withWallet({}, (harness) => {
      harness.enclaveTimeoutMilliseconds = 10_000;
    });
    host.enclave.handlers.sign = () => 'hang';
    const waiting = Array.from({ length: LIMITS.queueAgeRequests }, () => host.sign());
    await new Promise((resolve) => setTimeout(resolve, LIMITS.queueAgeMilliseconds + 200));
    const refused = await host.sign({ signer: person() });
    expect((await expectProblem(refused, 'overloaded')).path).toBe('queue');
    expect(refused.headers.get('retry-after')).toBe(String(LIMITS.overloadRetrySeconds));
    await host.enclave.close();
    await Promise.all(waiting);
  });
});

describe('header bombs', () => {
  const raw = (head: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(host.host.url);
      const socket = connect(Number(port), hostname, () => socket.write(head));
      let answer = '';
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('close', () => resolve(answer));
      socket.on('error', reject);
    });
  const bomb = (count: number, size: number) =>
    `GET /v1/log/boots HTTP/1.1\r\nhost: x\r\nconnection: close\r\n${Array.from(
      { length: count },
      (_, index) => `x-${index}: ${'a'.repeat(size)}\r\n`,
    ).join('')}\r\n`;

  it('are refused by size and by count', async () => {
    await started({});
    for (const head of [bomb(1, 20_000), bomb(90, 300), bomb(200, 1), bomb(1_000, 1)]) {
      const answer = await raw(head);
      expect(answer).toMatch(/^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/);
      expect(answer).toContain('"code":"headers_too_large"');
    }
    expect(await raw(bomb(50, 100))).toMatch(/^HTTP\/1\.1 200 /);
    await expectProblem(
      await get('/v1/log/boots', Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`x-${index}`, '1']))),
      'headers_too_large',
    );
  });
});
