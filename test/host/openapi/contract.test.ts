/**
 * The document against a live host: every operation is asked, rightly and wrongly, and each reply has the status, header
 * fields, media type and body that the document says. Bodies that it does not take are refused, those it takes are read.
 * Further refusals: refusals.test.ts.
 */
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { person } from '../harness.ts';
import { asymmetric, symmetric, TEXT_SECRET } from '../webhooks/sources.ts';
import { alphaKey, bearer, mutations, scene, TOKENS } from './kit.ts';

const { contract, host, call, rightOf, refused, start } = scene();

beforeAll(start);
afterAll(() => host.stop());

const stranger = person();
const withBody = contract.ids.filter((id) => contract.operation(id).operation.requestBody !== undefined);
const inPath = contract.ids.filter((id) => contract.operation(id).path.includes('{'));

describe('a right request', () => {
  // A freeze would end the others.
  it.each(contract.ids.filter((id) => id !== 'freeze'))('%s', async (id) => {
    const response = await call(id, rightOf(id));
    expect(response.status, await response.clone().text()).toBeLessThan(300);
    if (id === 'enablePolicy') host.policy = parsePolicy(host.policyJson({ epoch: 2 }));
  });

  it('in its other forms', async () => {
    for (const [id, body] of [
      ['sign', host.signBody({ dryRun: true })],
      ['signBatch', host.batchBody({ dryRun: true })],
    ] as const) {
      const response = await call(id, host.signed(contract.operation(id).path, body));
      expect(await response.json()).toMatchObject({ verdict: 'allow' });
    }
    const alert = { secret: TEXT_SECRET, side: 'buy' };
    const tv = await call('receiveWebhook', { path: '/v1/webhooks/tv', body: alert });
    expect(await tv.json()).toMatchObject({ verified: 'host' });
    const text = { path: '/v1/webhooks/tv', body: `${TEXT_SECRET}\nbuy`, headers: { 'content-type': 'text/plain' } };
    expect((await call('receiveWebhook', text)).status).toBe(200);
    const { body, headers } = asymmetric(alphaKey, { id: host.nextId() });
    const keyed = await call('receiveWebhook', { path: '/v1/webhooks/alpha', body, headers });
    expect(await keyed.json()).toMatchObject({ verified: 'enclave-verifiable' });
    const query = `wallet=${host.wallet}&requester=${host.requester.address}`;
    await call('getReceipt', { path: `/v1/receipts/known?${query}&index=0` });
    for (const kind of ['signed', 'policy-enabled', 'boot'])
      await call('listDecisions', { path: `/v1/decisions?kind=${kind}`, headers: bearer(TOKENS.support) });
    const fresh = await call('getWallet', { path: `/v1/wallets/${await host.createWallet()}` });
    expect(await fresh.json()).toMatchObject({ policyHash: null, epoch: null });
    host.wallet = host.policy.wallet;
  });

  it('has amounts, rules and budgets in the forms of the document', async () => {
    const usual = host.enclave.defaultHandler('sign');
    host.enclave.handlers.sign = async (request) => {
      const reply = await usual(request);
      if (typeof reply !== 'object' || !('amounts' in reply)) return reply;
      const amounts = { ...reply.amounts, tokens: [{ mint: stranger.address, amount: 2n ** 64n - 1n }] };
      const rules = [{ rule: 'sol.destinations', outcome: 'deny' as const, value: 'stranger' }];
      return reply.allow === undefined ? { ...reply, amounts } : { ...reply, amounts, allow: false, rules };
    };
    host.enclave.handlers.budgets = () => ({
      time: 1_795_383_600_123 as never,
      budgets: [
        { rule: 'rate.perMinute', seconds: 60, limit: 60n, spent: 0n },
        { rule: 'sol.window', seconds: 86_400, limit: 5n, spent: 7n, freesAt: 1_795_383_700_000 as never },
      ],
    });
    expect(await (await call('sign', rightOf('sign'))).json()).toMatchObject({
      tokens: { [stranger.address]: '18446744073709551615' },
    });
    const dry = await call('sign', host.signed('/v1/sign', host.signBody({ dryRun: true })));
    expect(await dry.json()).toMatchObject({ verdict: 'deny' });
    const budgets = await call('getBudgets', rightOf('getBudgets'));
    expect(await budgets.json()).toMatchObject({ budgets: [{ freesAt: null }, { remaining: '0' }] });
    host.enclave.handlers.sign = usual;
    delete host.enclave.handlers.budgets;
  });
});

describe('a wrong body', () => {
  const bodies: Readonly<Record<string, () => Record<string, unknown>>> = {
    sign: () => host.signBody({ signal: 'none', dryRun: true }),
    signBatch: () => host.batchBody({ dryRun: true }),
    createWallet: () => host.creation(),
    importWallet: () => host.importing(),
    retireWallet: () => host.retiring(),
    renderPolicyStatement: () => host.draft,
    enablePolicy: () => rightOf('enablePolicy').body as Record<string, unknown>,
    freeze: () => host.support({ login: 'nobody' }),
  };

  it.each(Object.keys(bodies))('%s takes what the document takes', async (id) => {
    const { path } = rightOf(id);
    let refusals = 0;
    for (const [what, body] of mutations(bodies[id]?.() ?? {})) {
      const sent = id.startsWith('sign') ? host.signed(path, body) : { path, body };
      const response = await call(id, sent);
      const reply = (await response.json()) as { code?: string; path?: string };
      const said = `${id}: ${what}: ${response.status} ${JSON.stringify(reply)}`;
      if (contract.takes(id, body)) {
        // A name that nobody has is a text like any other.
        expect(reply.code ?? 'none', said).not.toMatch(
          /^(?:field|base58|base64|hex|json)_malformed$|^purpose_mismatch$/,
        );
      } else {
        expect([400, 403, 422], said).toContain(response.status);
        refusals++;
      }
    }
    expect(refusals).toBeGreaterThan(5);
    expect(contract.takes(id, bodies[id]?.())).toBe(true);
  });

  it.each(withBody)('%s: no JSON, another type, too large', async (id) => {
    const { path, headers = {} } = rightOf(id);
    const over = 'x'.repeat(LIMITS.httpBodyBytes + 1);
    await refused(
      id,
      { path, headers: { ...headers, 'content-type': 'application/xml' }, body: '<a/>' },
      'media_type_unsupported',
    );
    await refused(id, { path, headers, body: over }, 'body_too_large');
    const twice = '{"purpose":1,"purpose":1}';
    const signed = host.signRequest({ body: twice });
    const webhook = symmetric({ id: host.nextId(), body: twice });
    const right = id === 'receiveWebhook' ? webhook.headers : signed.headers;
    await refused(id, { path, body: twice, headers: right }, 'json_malformed');
  });
});

describe('a request that is refused before its route', () => {
  it.each(contract.ids)('%s with too many fields', async (id) => {
    const many = Object.fromEntries(Array.from({ length: LIMITS.httpHeaders }, (_, at) => [`x-${at}`, 'y']));
    const { headers, ...rest } = rightOf(id);
    if (id === 'freeze') rest.body = { panicCode: '' };
    const response = await call(id, { ...rest, headers: { ...headers, ...many } });
    const isAlwaysAnswered = ['getHealth', 'getReadiness', 'freeze'].includes(id);
    if (!isAlwaysAnswered) expect(response.status).toBe(ERRORS.headers_too_large.status);
  });

  it.each(inPath)('%s with a path that nobody has', async (id) => {
    const { path } = contract.operation(id);
    const { headers, body } = rightOf(id);
    const at = (value: string): string =>
      path
        .replace(/\{\w+\}/, value)
        .replace('{tile}', '0/000')
        .replace(/\{\w+\}/, 'x');
    const long = await call(id, {
      path: at('a'.repeat(300)),
      ...(headers && { headers }),
      ...(body !== undefined && { body }),
    });
    expect(long.status).toBeGreaterThanOrEqual(400);
    const odd = await call(id, { path: at('%20'), ...(headers && { headers }), ...(body !== undefined && { body }) });
    expect(odd.status).toBeGreaterThanOrEqual(400);
    await refused(
      id,
      { path: at('%ff'), ...(headers && { headers }), ...(body !== undefined && { body }) },
      'http_malformed',
    );
  });
});

describe('what changes the host', () => {
  it('a database that is locked; a webhook is taken', async () => {
    const unlock = host.lockDatabase();
    try {
      const alert = { path: '/v1/webhooks/tv', body: { secret: TEXT_SECRET, locked: true } };
      expect((await call('receiveWebhook', alert)).status).toBe(202);
      await refused('receiveWebhook', rightOf('receiveWebhook'), 'store_unavailable');
      await refused('sign', rightOf('sign'), 'store_unavailable');
    } finally {
      unlock();
    }
    await host.ready();
  });

  it('the stop button', async () => {
    const path = '/v1/freeze';
    await refused('freeze', { path, body: host.support({ scope: 'fleet' }) }, 'freeze_scope_forbidden');
    await refused('freeze', { path, body: { panicCode: 'nonsense' } }, 'field_malformed');
    // Each policy that was enabled above brought another code.
    await host.enableNext();
    const frozen = await call('freeze', rightOf('freeze'));
    expect(await frozen.json()).toMatchObject({ host: { held: true }, enclaves: [{ held: true }] });
    for (const id of ['sign', 'signBatch']) await refused(id, rightOf(id), 'frozen');
    const listed = await call('listFreezes', rightOf('listFreezes'));
    expect(await listed.json()).toMatchObject({ count: 1 });
    const known = host.signRequest({ id: 'known' });
    await refused('sign', { path: '/v1/sign', ...known }, 'frozen');
  });
});

it('every operation was answered with each success that it documents, and refused', () => {
  for (const id of contract.ids) {
    const { responses } = contract.operation(id).operation;
    const seen = new Set(contract.calls.filter((one) => one.id === id).map(({ status }) => String(status)));
    const successes = Object.keys(responses).filter((status) => status.startsWith('2'));
    expect(
      successes.filter((status) => !seen.has(status)),
      id,
    ).toEqual([]);
    expect(contract.calls.some((one) => one.id === id && one.code !== undefined) || id.startsWith('get'), id).toBe(
      true,
    );
  }
});
