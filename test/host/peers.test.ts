/** A host whose enclave does not hold the wallet asks the other hosts of the deployment. The peer here is a web server. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Peers } from '@quantumvault/host/peers/peers.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { Harness, person } from './harness.ts';

interface Asked {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const asked: Asked[] = [];
let answer: (response: ServerResponse, request: Asked) => void;
const json =
  (status: number, value: unknown, headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    void response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
const elsewhere = json(409, { code: 'wallet_held_elsewhere' });

const peer = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const { method, url, headers } = request;
    const one = { method, url, headers, body: Buffer.concat(chunks).toString() };
    asked.push(one);
    answer(response, one);
  });
});

let host: Harness;
const nonce = toHex(new Uint8Array(32).fill(7));

beforeAll(async () => {
  await new Promise<void>((resolve) => peer.listen(0, '127.0.0.1', resolve));
  host = new Harness();
  host.trustedProxies = ['127.0.0.1'];
  // Nobody listens at the first one.
  host.moreConfig = () => ({
    peers: ['http://127.0.0.1:9', `http://127.0.0.1:${(peer.address() as AddressInfo).port}`],
  });
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
});
afterAll(async () => {
  await host.stop();
  peer.closeAllConnections();
  peer.close();
});
afterEach(() => {
  asked.length = 0;
  refuse();
});

type Handlers = Harness['enclave']['handlers'];
const gone = (): never => {
  throw new Refused({ code: 'wallet_held_elsewhere' });
};
/** For messages of these kinds the enclave says that it does not hold the wallet; all others it answers. */
function refuse(...kinds: (keyof Handlers)[]): void {
  const { handlers } = host.enclave;
  for (const kind of Object.keys(handlers) as (keyof Handlers)[]) delete handlers[kind];
  for (const kind of kinds) Object.assign(handlers, { [kind]: gone });
}

/** As `qv metrics` prints it. */
async function counted(outcome: string): Promise<number> {
  const metrics = await host.admin('metrics', {});
  return Number(metrics.text.split(`qv_relayed_requests_total{outcome="${outcome}"} `)[1]?.split('\n')[0]);
}

describe('what the enclave here does not hold', () => {
  it('is asked of a peer byte for byte, and its answer is the answer', async () => {
    refuse('sign');
    answer = json(403, { code: 'policy_denied', rule: 'x' }, { 'retry-after': '7' });
    const { body, headers } = host.signRequest({ headers: { 'x-request-timeout-ms': '5000', cookie: 'a=b' } });
    const sent = {
      ...headers,
      'x-forwarded-for': '192.0.2.7',
      traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`,
    };
    const response = await host.send('POST', '/v1/sign', body, sent);
    expect([response.status, response.headers.get('retry-after')]).toEqual([403, '7']);
    expect(await response.json()).toEqual({ code: 'policy_denied', rule: 'x' });
    const [one] = asked;
    expect(asked).toHaveLength(1);
    expect(one).toMatchObject({ method: 'POST', url: '/v1/sign', body });
    for (const name of ['webhook-id', 'webhook-timestamp', 'webhook-signature', 'content-type'] as const)
      expect(one?.headers[name]).toBe(headers[name]);
    expect(one?.headers).toMatchObject({ 'x-qv-relayed': '1', 'x-forwarded-for': '192.0.2.7, 127.0.0.1' });
    expect(one?.headers['traceparent']).toContain('1'.repeat(32));
    expect(Number(one?.headers['x-request-timeout-ms'])).toBeLessThanOrEqual(5_000);
    expect(one?.headers['cookie']).toBeUndefined();
    const line = host.logLines.find((one) => one.includes('"relayed":true'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ status: 403, code: 'policy_denied', wallet: host.wallet });
    expect(host.logLines.some((one) => one.includes('already sent'))).toBe(false);
    expect(await counted('answered')).toBe(1);
    // The decision is the peer's to write down.
    expect(host.rows('replies')).toHaveLength(0);
  });

  it('so are batches, policies and budgets; a statement for one boot is not', async () => {
    answer = json(200, { answered: 'by the peer' });
    const calls: [keyof Handlers, string, string, unknown][] = [
      ['policyEnable', 'PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling(host.policyJson({ epoch: 2 }))],
    ];
    for (const [kind, method, path, body] of calls) {
      refuse(kind);
      expect(await (await host.send(method, path, body)).json()).toEqual({ answered: 'by the peer' });
    }
    const { transaction, ...rest } = host.signBody();
    const batch = { ...rest, purpose: 'qv/sign-batch/v1', transactions: [transaction, transaction] };
    refuse('signBatch');
    const { body, headers } = host.signRequest({ body: batch });
    expect((await host.send('POST', '/v1/sign/batch', body, headers)).status).toBe(200);
    expect(asked.map(({ url }) => url)).toEqual([`/v1/wallets/${host.wallet}/policy`, '/v1/sign/batch']);
    refuse('walletImport');
    await expectProblem(await host.send('POST', '/v1/wallets/import', host.importing()), 'wallet_held_elsewhere');
    expect(asked).toHaveLength(2);
  });

  it('is refused where the host has no peers, and never passed on twice', async () => {
    refuse('sign');
    answer = json(200, {});
    await expectProblem(await host.sign({ headers: { 'x-qv-relayed': '1' } }), 'wallet_held_elsewhere');
    expect(asked).toHaveLength(0);
    const alone = await Harness.withWallet();
    alone.enclave.handlers.sign = gone;
    await expectProblem(await alone.sign(), 'wallet_held_elsewhere');
    await alone.stop();
  });

  it('never leads to another place than a peer, whatever stands in the request line', async () => {
    refuse('sign');
    answer = json(200, {});
    const { port } = new URL(host.host.url);
    const { body, headers } = host.signRequest();
    for (const target of ['http://192.0.2.1/v1/sign', '//192.0.2.1/v1/sign', '/v1/sign@192.0.2.1', '/../v1/sign']) {
      const lines = Object.entries({
        ...headers,
        host: 'x',
        connection: 'close',
        'content-length': String(body.length),
      });
      const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
      const socket = connect(Number(port), '127.0.0.1');
      socket.write(`POST ${target} HTTP/1.1\r\n${head}\r\n${body}`);
      expect(await text(socket)).toMatch(/^HTTP\/1\.1 (?:400|404) /);
    }
    expect(asked).toHaveLength(0);
  });

  it('other refusals stay this host’s own', async () => {
    host.enclave.handlers.sign = () => {
      throw new Refused({ code: 'state_invalid' });
    };
    await expectProblem(await host.sign(), 'state_invalid');
    await expectProblem(await host.sign({ signer: person() }), 'request_signature_invalid');
    expect(asked).toHaveLength(0);
  });

  it.each<[string, typeof answer]>([
    ['no peer holds it either', elsewhere],
    ['a peer hangs up', (response) => void response.destroy()],
    ['a peer answers without end', (response) => void response.end(Buffer.alloc(LIMITS.clientResponseBytes + 1))],
    ['a peer sends elsewhere', json(302, {}, { location: 'http://192.0.2.1/' })],
  ])('%s: it is on its way, and a repeat may help', async (_, how) => {
    refuse('sign');
    answer = how;
    const before = await counted('in_transit');
    const problem = await expectProblem(await host.sign(), 'wallet_in_transit');
    expect(await counted('in_transit')).toBe(before + 1);
    expect(problem.retryable).toBe(true);
  });

  it('a peer that takes longer than the caller waits is not waited for', async () => {
    refuse('sign');
    answer = () => undefined;
    const signal = AbortSignal.timeout(LIMITS.storeTimeoutMilliseconds + 4_000);
    const { body, headers } = host.signRequest({ headers: { 'x-request-timeout-ms': '200' } });
    const response = await fetch(`${host.host.url}/v1/sign`, { method: 'POST', body, headers, signal });
    await expectProblem(response, 'wallet_in_transit');
  });

  it('a peer whose enclave is gone stands before none that has the wallet', async () => {
    const [down, next] = [createServer(), createServer()];
    const url = async (server: Server, status: number, code: string): Promise<URL> => {
      server.on('request', (_, response) => json(status, { code })(response));
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    };
    const urls = [await url(down, 503, 'enclave_unavailable'), await url(next, 403, 'policy_denied')];
    const nobody = new URL('http://127.0.0.1:9');
    const request = { method: 'POST', url: '/v1/sign', headers: {}, body: undefined, forwardedFor: '' };
    const ask = (...peers: URL[]) => new Peers(peers).answer({ ...request, milliseconds: 1_000 });
    try {
      expect(await ask(...urls)).toMatchObject({ status: 403, code: 'policy_denied' });
      expect(await ask(urls[0] ?? nobody, nobody)).toMatchObject({ status: 503, code: 'enclave_unavailable' });
    } finally {
      for (const server of [down, next]) {
        server.closeAllConnections();
        server.close();
      }
    }
  });

  it('a freeze that comes while the peer signs holds its answer back', async () => {
    refuse('sign');
    const scope = `requester:${host.requester.address}`;
    answer = async (response) => {
      await host.admin('freeze', { scope, reason: 'test' } as never);
      json(200, { signature: 'x' })(response);
    };
    await expectProblem(await host.sign(), 'frozen');
  });
});

describe('the attestation of another boot', () => {
  const boot = person().address;
  const at = (more: string): Promise<Response> => host.get(`/v1/attestation?nonce=${nonce}${more}`);

  it('is that of the peer which has it, over the caller’s nonce', async () => {
    const document = { document: 'AA==', boot, bootRecord: { leaf: 'AA==', signature: 'AA==' } };
    answer = json(200, document);
    expect(await (await at(`&boot=${boot}`)).json()).toEqual(document);
    expect(asked).toMatchObject([{ method: 'GET', url: `/v1/attestation?nonce=${nonce}` }]);
  });

  it('of the boot here is asked here', async () => {
    expect(await (await at(`&boot=${host.enclave.boot}`)).json()).toMatchObject({ boot: host.enclave.boot });
    expect(asked).toHaveLength(0);
  });

  it('is nowhere when no peer has it, and names a boot', async () => {
    answer = json(200, { boot: person().address });
    await expectProblem(await at(`&boot=${boot}`), 'boot_unknown');
    answer = json(200, 'not an object');
    await expectProblem(await at(`&boot=${boot}`), 'boot_unknown');
    const relayed = { headers: { 'x-qv-relayed': '1' } };
    await expectProblem(
      await fetch(`${host.host.url}/v1/attestation?nonce=${nonce}&boot=${boot}`, relayed),
      'boot_unknown',
    );
    await expectProblem(await at('&boot=x'), 'base58_malformed');
    await expectProblem(await at(`&boot=${boot}&boot=${boot}`), 'field_malformed');
  });
});
