/** POST /v1/webhooks/:source over HTTP: what becomes a signal, what a repeat does, and who is refused with what. */
import { readFileSync, writeFileSync } from 'node:fs';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { Webhook as Theirs } from 'standardwebhooks';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem } from '../../support/codes.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { asymmetric, keyed, SECRET, secretLine, symmetric, TEXT_SECRET, type Webhook } from './sources.ts';

const alphaKey = keyed();
const betaKeys = [keyed(), keyed()];
const CERTIFICATE = 'CN=TradingView Webhooks,O=TradingView, Inc.';
const TRADINGVIEW = '52.89.214.238';
let host: Harness;

beforeAll(async () => {
  host = new Harness();
  host.trustedProxies = ['127.0.0.1'];
  host.webhookRefusalsPerSecond = 1e9;
  host.moreConfig = () => {
    const secretsFile = host.writePrivate('secrets', secretLine(SECRET));
    const text = host.writePrivate('text-secrets', `${TEXT_SECRET}\n`);
    const tradingView = { kind: 'tradingview', secretsFile: text };
    return {
      webhooks: [
        { name: 'alpha', kind: 'standard', secretsFile, keys: [alphaKey.address] },
        { name: 'beta', kind: 'standard', keys: betaKeys.map(({ address }) => address) },
        { name: 'near', kind: 'standard', secretsFile, addresses: ['192.0.2.0/24', '2001:db8::/32'] },
        { name: 'tv', ...tradingView },
        { name: 'tv-id', ...tradingView, idField: 'id', addresses: ['127.0.0.1'] },
        { name: 'tv-cert', ...tradingView, certificate: { header: 'x-client-cert', name: CERTIFICATE } },
      ],
    };
  };
  await host.start();
});
afterAll(() => host.stop());

const post = (source: string, { body, headers }: Webhook): Promise<Response> =>
  host.send('POST', `/v1/webhooks/${source}`, body, headers);
const alert = (body: unknown, headers: Record<string, string> = {}): Webhook => ({
  body: typeof body === 'string' ? body : JSON.stringify(body),
  headers: {
    'content-type': typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json; charset=utf-8',
    'x-forwarded-for': TRADINGVIEW,
    ...headers,
  },
});
const rows = (source: string) => host.rows('signals').filter((row) => row['source'] === source);
let count = 0;
const nextId = (): string => `msg_${++count}`;

async function accepted(response: Response, status = 200): Promise<{ signal: string; verified: string }> {
  const text = await response.text();
  expect(response.status, text).toBe(status);
  return JSON.parse(text) as { signal: string; verified: string };
}

describe('a Standard Webhook', () => {
  it('signed under the shared secret is the host’s word', async () => {
    const id = nextId();
    expect(await accepted(await post('alpha', symmetric({ id })))).toEqual({ signal: id, verified: 'host' });
    const [row] = rows('alpha');
    expect(row).toMatchObject({ id, signature: null });
    expect(Buffer.from(row?.['body'] as Uint8Array).toString()).toBe('{"side":"buy"}');
  });

  it('that the standardwebhooks package made is one', async () => {
    const [id, body, now] = [nextId(), '{"type":"entry"}', new Date()];
    const signature = new Theirs(`whsec_${toBase64(SECRET)}`).sign(id, now, body);
    const headers = {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': String(Math.floor(now.getTime() / 1000)),
      'webhook-signature': signature,
    };
    expect(await accepted(await post('alpha', { body, headers }))).toEqual({ signal: id, verified: 'host' });
  });

  it('signed by a key can be verified again by the enclave', async () => {
    const id = nextId();
    const webhook = asymmetric(alphaKey, { id });
    expect(await accepted(await post('alpha', webhook))).toEqual({ signal: id, verified: 'enclave-verifiable' });
    const kept = rows('alpha').find((row) => row['id'] === id)?.['signature'] as Uint8Array;
    expect(webhook.headers['webhook-signature']).toBe(`v1a,${toBase64(kept)}`);
  });

  it('has one signature of several, of either kind, while keys are replaced', async () => {
    const [first, second, stranger] = [nextId(), nextId(), nextId()];
    const other = asymmetric(keyed(), { id: first }).headers['webhook-signature'];
    const right = asymmetric(betaKeys[1] as (typeof betaKeys)[number], { id: first });
    const both = { ...right.headers, 'webhook-signature': `${other} ${right.headers['webhook-signature']}` };
    expect(await accepted(await post('beta', { ...right, headers: both }))).toMatchObject({
      verified: 'enclave-verifiable',
    });
    // Where one of a key does not hold but that of the secret does, it is the host's word.
    const hmac = symmetric({ id: second });
    const forged = asymmetric(keyed(), { id: second }).headers['webhook-signature'];
    const mixed = { ...hmac.headers, 'webhook-signature': `${forged} ${hmac.headers['webhook-signature']}` };
    expect(await accepted(await post('alpha', { ...hmac, headers: mixed }))).toMatchObject({ verified: 'host' });
    // A shared secret is nothing to a source that has none.
    await expectProblem(await post('beta', symmetric({ id: stranger })), 'webhook_signature_invalid');
  });

  it('is kept once: a repeat is acknowledged without effect, and another body under its id is refused', async () => {
    const id = nextId();
    const at = Math.floor(Date.now() / 1000);
    await accepted(await post('alpha', symmetric({ id, timestamp: at - 20 })));
    const before = rows('alpha');
    // The sender's next attempt has a time of its own.
    for (const timestamp of [at - 20, at])
      expect(await accepted(await post('alpha', symmetric({ id, timestamp })))).toEqual({
        signal: id,
        verified: 'host',
      });
    const all = await Promise.all(Array.from({ length: 30 }, () => post('alpha', symmetric({ id }))));
    expect(all.map(({ status }) => status)).toEqual(Array(30).fill(200));
    await expectProblem(await post('alpha', symmetric({ id, body: '{"side":"sell"}' })), 'signal_id_reused');
    expect(rows('alpha')).toEqual(before);
    // Ids are of one source alone.
    const other = asymmetric(betaKeys[0] as (typeof betaKeys)[number], { id, body: '{"side":"sell"}' });
    await accepted(await post('beta', other));
  });

  it('is refused when forged, stale, early, unsigned or malformed', async () => {
    const before = host.rows('signals').length;
    const id = 'msg_refused';
    const now = Math.floor(Date.now() / 1000);
    const good = symmetric({ id });
    const with_ = (headers: Record<string, string>): Webhook => ({ ...good, headers: { ...good.headers, ...headers } });
    const cases: [Webhook, Parameters<typeof expectProblem>[1]][] = [
      [symmetric({ id }, new Uint8Array(32)), 'webhook_signature_invalid'],
      [asymmetric(keyed(), { id }), 'webhook_signature_invalid'],
      [{ ...good, body: '{"side":"sell"}' }, 'webhook_signature_invalid'],
      [with_({ 'webhook-id': 'msg_other' }), 'webhook_signature_invalid'],
      [with_({ 'webhook-timestamp': String(now - 1) }), 'webhook_signature_invalid'],
      [symmetric({ id, timestamp: now - 302 }), 'request_stale'],
      [symmetric({ id, timestamp: now + 40 }), 'request_stale'],
      [with_({ 'webhook-signature': 'v1,AAAA' }), 'webhook_signature_malformed'],
      [with_({ 'webhook-id': 'a.b' }), 'request_id_malformed'],
      [with_({ 'webhook-timestamp': 'now' }), 'request_timestamp_malformed'],
      [symmetric({ id, body: 'x'.repeat(LIMITS.signalBodyBytes + 1) }), 'body_too_large'],
      [with_({ 'content-type': 'application/x-www-form-urlencoded' }), 'media_type_unsupported'],
      [symmetric({ id, body: '{"side":"buy","side":"sell"}' }), 'json_malformed'],
      [symmetric({ id, body: '{"__proto__":{}}' }), 'json_malformed'],
    ];
    for (const [webhook, code] of cases) await expectProblem(await post('alpha', webhook), code);
    const { 'content-type': _, ...untyped } = good.headers;
    const bytes = new Uint8Array(Buffer.from(good.body));
    const url = `${host.host.url}/v1/webhooks/alpha`;
    await expectProblem(await fetch(url, { method: 'POST', body: bytes, headers: untyped }), 'media_type_unsupported');
    await expectProblem(await fetch(url, { method: 'POST' }), 'request_id_malformed');
    await expectProblem(await fetch(url, { method: 'GET' }), 'route_unknown');
    for (const source of ['gamma', 'Alpha', '..%2falpha', 'constructor', '__proto__', '%20'])
      await expectProblem(await post(source, good), 'webhook_source_unknown');
    expect(host.rows('signals')).toHaveLength(before);
  });

  it('may be any text that is no JSON, and as large as a signal', async () => {
    const body = 'x'.repeat(LIMITS.signalBodyBytes);
    await accepted(await post('alpha', symmetric({ id: nextId(), body, headers: { 'content-type': 'text/plain' } })));
    await accepted(
      await post('alpha', symmetric({ id: nextId(), body: '', headers: { 'content-type': 'text/plain' } })),
    );
  });

  it('comes from its source’s addresses, as the trusted proxy says and nobody else', async () => {
    const from = (address: string) => symmetric({ id: nextId(), headers: { 'x-forwarded-for': address } });
    for (const address of ['192.0.2.7', '203.0.113.1, 192.0.2.7', '2001:db8::7', '::ffff:192.0.2.7'])
      await accepted(await post('near', from(address)));
    const refused = ['203.0.113.1', '192.0.2.7, 203.0.113.1', '2001:db9::7', 'unknown', '192.0.2.7, unknown'];
    for (const address of refused) await expectProblem(await post('near', from(address)), 'webhook_address_forbidden');
    await expectProblem(await post('near', symmetric({ id: nextId() })), 'webhook_address_forbidden');
    // Said before the body is read, and before anything is said of the signature.
    const unsigned = { body: 'x'.repeat(10_000), headers: { 'content-type': 'text/plain' } };
    await expectProblem(await post('near', unsigned), 'webhook_address_forbidden');
  });
});

describe('a TradingView alert', () => {
  it('with the secret is kept without it, and is the host’s word', async () => {
    const answer = await accepted(await post('tv', alert({ secret: TEXT_SECRET, side: 'buy' })));
    expect(answer.verified).toBe('host');
    const text = await accepted(await post('tv', alert(`${TEXT_SECRET}\nBTCUSDT crossed`)));
    expect(text.signal).not.toBe(answer.signal);
    const bodies = rows('tv').map((row) => Buffer.from(row['body'] as Uint8Array).toString());
    expect(bodies.toSorted()).toEqual(['BTCUSDT crossed', '{"side":"buy"}']);
    expect(readFileSync(host.database).includes(TEXT_SECRET)).toBe(false);
  });

  it('that comes again within its window is the same signal, and later another', async () => {
    const first = await accepted(await post('tv', alert({ secret: TEXT_SECRET, n: 1 })));
    const again = await Promise.all(
      Array.from({ length: 20 }, async () => accepted(await post('tv', alert({ secret: TEXT_SECRET, n: 1 })))),
    );
    expect(new Set(again.map(({ signal }) => signal))).toEqual(new Set([first.signal]));
    expect((await accepted(await post('tv', alert({ secret: TEXT_SECRET, n: 2 })))).signal).not.toBe(first.signal);
    host.clockSkew = 61_000;
    const later = await accepted(await post('tv', alert({ secret: TEXT_SECRET, n: 1 })));
    host.clockSkew = 0;
    expect(later.signal).not.toBe(first.signal);
  });

  it('has the id that its body says, once', async () => {
    const body = { secret: TEXT_SECRET, id: 'BINANCE:BTCUSDT-1', side: 'buy' };
    for (let round = 0; round < 3; round++)
      expect(await accepted(await post('tv-id', alert(body, { 'x-forwarded-for': '127.0.0.1' })))).toEqual({
        signal: 'BINANCE_BTCUSDT-1',
        verified: 'host',
      });
    expect(rows('tv-id')).toHaveLength(1);
    const other = alert({ ...body, side: 'sell' }, { 'x-forwarded-for': '127.0.0.1' });
    await expectProblem(await post('tv-id', other), 'signal_id_reused');
  });

  it('is acknowledged while the database takes no writes, and kept; a Standard Webhook is to be sent again', async () => {
    const before = rows('tv').length;
    const unlock = host.lockDatabase();
    const { signal } = await accepted(await post('tv', alert({ secret: TEXT_SECRET, locked: true })), 202);
    expect((await accepted(await post('tv', alert({ secret: TEXT_SECRET, locked: true })), 202)).signal).toBe(signal);
    const id = nextId();
    await expectProblem(await post('alpha', symmetric({ id })), 'store_unavailable');
    expect(rows('tv')).toHaveLength(before);
    unlock();
    await until('it is written', () => rows('tv').some((row) => row['id'] === signal));
    expect((await accepted(await post('tv', alert({ secret: TEXT_SECRET, locked: true })))).signal).toBe(signal);
    await accepted(await post('alpha', symmetric({ id })));
  });

  it('without the secret, from elsewhere, or malformed is refused', async () => {
    const before = rows('tv').length;
    await expectProblem(await post('tv', alert({ side: 'buy' })), 'webhook_secret_invalid');
    await expectProblem(await post('tv', alert({ secret: 'wrong', side: 'buy' })), 'webhook_secret_invalid');
    await expectProblem(await post('tv', alert('buy')), 'webhook_secret_invalid');
    const elsewhere = alert({ secret: TEXT_SECRET }, { 'x-forwarded-for': '192.0.2.1' });
    await expectProblem(await post('tv', elsewhere), 'webhook_address_forbidden');
    const twice = { ...alert({}), body: `{"secret":"${TEXT_SECRET}","secret":"${TEXT_SECRET}"}` };
    await expectProblem(await post('tv', twice), 'json_malformed');
    await expectProblem(await post('tv', alert('x'.repeat(3_000))), 'body_too_large');
    await expectProblem(await post('tv', alert({}, { 'content-type': 'text/html' })), 'media_type_unsupported');
    expect(rows('tv')).toHaveLength(before);
  });

  it('shows its certificate where one is asked for, through a trusted proxy', async () => {
    const shown = alert({ secret: TEXT_SECRET, n: 1 }, { 'x-client-cert': CERTIFICATE });
    await accepted(await post('tv-cert', shown));
    const mismatch = 'webhook_certificate_mismatch';
    await expectProblem(await post('tv-cert', alert({ secret: TEXT_SECRET, n: 2 })), mismatch);
    const other = alert({ secret: TEXT_SECRET, n: 2 }, { 'x-client-cert': 'CN=somebody' });
    await expectProblem(await post('tv-cert', other), mismatch);
    const certificateAlone = alert({ n: 2 }, { 'x-client-cert': CERTIFICATE });
    await expectProblem(await post('tv-cert', certificateAlone), 'webhook_secret_invalid');
  });
});

describe('what stands around it', () => {
  it('a secret is replaced without a restart', async () => {
    const next = new Uint8Array(32).fill(12);
    const secret = `${secretLine(next)}`;
    await expectProblem(await post('alpha', symmetric({ id: nextId() }, next)), 'webhook_signature_invalid');
    writeFileSync(host.path('secrets'), secretLine(SECRET) + secret, { mode: 0o600 });
    await until(
      'the new secret counts',
      async () => (await post('alpha', symmetric({ id: nextId() }, next))).status === 200,
      20_000,
    );
    await accepted(await post('alpha', symmetric({ id: nextId() })));
  }, 30_000);

  it('nothing secret and nothing that was sent stands in the log', () => {
    const log = host.logLines.join('\n');
    expect(log).toContain('"verified":"enclave-verifiable"');
    for (const secret of [TEXT_SECRET, toBase64(SECRET), 'BTCUSDT crossed', '"side"'])
      expect(log).not.toContain(secret);
  });

  it('the header of a certificate is believed of nobody who is no trusted proxy', async () => {
    const other = new Harness();
    other.trustedProxies = ['192.0.2.1'];
    other.moreConfig = () => {
      const certificate = { header: 'x-client-cert', name: CERTIFICATE };
      const secretsFile = other.writePrivate('text-secrets', TEXT_SECRET);
      const source = { name: 'tv', kind: 'tradingview', secretsFile, addresses: ['127.0.0.1'], certificate };
      return { webhooks: [source] };
    };
    await other.start();
    const { body, headers } = alert({ secret: TEXT_SECRET }, { 'x-client-cert': CERTIFICATE });
    const response = await other.send('POST', '/v1/webhooks/tv', body, headers);
    await expectProblem(response, 'webhook_certificate_mismatch');
    await other.stop();
  });
});
