/**
 * The document against a live host: every operation is asked, rightly and wrongly, and each reply has the status, header
 * fields, media type and body that the document says. Bodies that it does not take are refused, those it takes are read.
 */

import { DEFAULT_RATE_LIMITS } from '@quantumvault/host/rate-limits/config.ts';
import { ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Refused } from '../../support/fake-enclave.ts';
import { person } from '../harness.ts';
import { asymmetric, symmetric, TEXT_SECRET } from '../webhooks/sources.ts';
import { Contract, type Sent } from './contract.ts';
import { alphaKey, bearer, mutations, OpenApiHarness, TOKENS } from './kit.ts';

const contract = new Contract();
const host = new OpenApiHarness();
const stranger = person();

beforeAll(async () => {
  await host.start();
  await host.createWallet();
  await host.enableNext();
  host.policy = parsePolicy(host.policyJson());
  const known = host.signRequest({ id: 'known' });
  expect((await host.send('POST', '/v1/sign', known.body, known.headers)).status).toBe(200);
});
afterAll(() => host.stop());

const call = (id: string, sent: Sent): Promise<Response> => contract.call(host.host.url, id, sent);
const rightOf = (id: string): Sent => {
  const make = host.right[id];
  if (make === undefined) throw new Error(`kit.ts has no right request for ${id}`);
  return make();
};
async function refused(id: string, sent: Sent, code: ErrorCode): Promise<void> {
  const response = await call(id, sent);
  const problem = (await response.json()) as { code: string };
  expect(problem.code, `${id} ${JSON.stringify(sent).slice(0, 200)}`).toBe(code);
}
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

describe('a signing request is refused', () => {
  it.each(['sign', 'signBatch'])('%s with header fields that are wrong', async (id) => {
    const right = rightOf(id);
    const fields: readonly [string, string, ErrorCode][] = [
      ['webhook-id', 'a b', 'request_id_malformed'],
      ['webhook-timestamp', '1.5', 'request_timestamp_malformed'],
      ['webhook-timestamp', '1', 'request_stale'],
      ['webhook-signature', 'v1,AAAA', 'request_signature_malformed'],
      ['x-request-timeout-ms', '0', 'field_malformed'],
    ];
    for (const [name, value, code] of fields)
      await refused(id, { ...right, headers: { ...right.headers, [name]: value } }, code);
    const elsewhere = id === 'sign' ? host.signBody({ audience: 'other' }) : host.batchBody({ audience: 'other' });
    await refused(id, host.signed(right.path, elsewhere), 'audience_mismatch');
    const unknown =
      id === 'sign' ? host.signBody({ wallet: stranger.address }) : host.batchBody({ wallet: stranger.address });
    await refused(id, host.signed(right.path, unknown), 'wallet_unknown');
    const cites = id === 'sign' ? host.signBody({ signal: 'none' }) : host.batchBody({ signal: 'none' });
    await refused(id, host.signed(right.path, cites), 'signal_missing');
    const forged = host.signRequest({ body: String(right.body), signer: stranger });
    await refused(id, { path: right.path, body: forged.body, headers: forged.headers }, 'request_signature_invalid');
    await call(id, right);
    const other = id === 'sign' ? host.signBody({ dryRun: false }) : host.batchBody({ dryRun: false });
    const reused = host.signRequest({ body: other, id: right.headers?.['webhook-id'] ?? '' });
    await refused(id, { path: right.path, body: reused.body, headers: reused.headers }, 'request_id_reused');
  });

  it('with a denial of the policy', async () => {
    const denial = { kind: 'denied', rule: 'sol.window', value: '11' } as const;
    host.enclave.handlers.sign = ({ id }) => {
      const receipt = host.enclave.leaf({ ...denial, requestId: id });
      throw new Refused({ code: 'policy_denied', path: 'sol.window', value: '11', receipt });
    };
    host.enclave.handlers.signBatch = ({ id }) => {
      const receipt = host.enclave.leaf({ ...denial, requestId: id });
      const [messageHash, denied] = [
        new Uint8Array(32).fill(4) as never,
        { allow: false, rule: 'sol.window', value: '11' },
      ];
      return {
        verdicts: [
          { messageHash, allow: true },
          { messageHash, ...denied, receipt },
        ],
      };
    };
    for (const id of ['sign', 'signBatch']) await refused(id, rightOf(id), 'policy_denied');
    const dry = await call('signBatch', host.signed('/v1/sign/batch', host.batchBody({ dryRun: true })));
    expect(await dry.json()).toMatchObject({
      verdict: 'deny',
      verdicts: [{ verdict: 'allow' }, { rule: 'sol.window' }],
    });
    delete host.enclave.handlers.sign;
    delete host.enclave.handlers.signBatch;
  });

  it('with whatever the enclave says', async () => {
    const ofHost = ['request_id_malformed', 'policy_denied', 'rate_limited', 'shutting_down', 'http_malformed'];
    const codes = contract.document.paths['/v1/sign']?.['post']?.responses;
    const listed = Object.values(codes ?? {}).flatMap(({ content }) => {
      const schema = content['application/problem+json']?.schema?.['properties'] as
        | { code: { enum: ErrorCode[] } }
        | undefined;
      return schema?.code.enum ?? [];
    });
    expect(listed.length).toBeGreaterThan(60);
    for (const code of listed.filter((one) => !ofHost.includes(one))) {
      host.enclave.handlers.sign = () => {
        throw new QvError(code);
      };
      await refused('sign', rightOf('sign'), code);
    }
    delete host.enclave.handlers.sign;
  });
});

describe('other refusals', () => {
  it('of wallets and policies', async () => {
    const wallet = `/v1/wallets/${host.wallet}`;
    await refused('getWallet', { path: '/v1/wallets/short' }, 'base58_malformed');
    await refused('getWallet', { path: `/v1/wallets/${stranger.address}` }, 'wallet_unknown');
    await refused(
      'createWallet',
      { path: '/v1/wallets', body: host.creation({}, stranger) },
      'statement_signature_invalid',
    );
    await refused(
      'createWallet',
      { path: '/v1/wallets', body: host.creation({ deployment: 'other' }) },
      'deployment_mismatch',
    );
    const enabling = rightOf('enablePolicy').body as Record<string, unknown>;
    await refused(
      'enablePolicy',
      { path: `${wallet}/policy`, body: { ...enabling, previousHash: 'x' } },
      'hex_malformed',
    );
    const other = { ...enabling, policy: host.policyJson({ wallet: stranger.address }) };
    await refused('enablePolicy', { path: `${wallet}/policy`, body: other }, 'wallet_mismatch');
    const invalid = { ...host.draft, policy: { ...host.policyJson(), rate: 7 } };
    await refused('renderPolicyStatement', { path: `${wallet}/policy/statement`, body: invalid }, 'policy_invalid');
  });

  it('of signals', async () => {
    const id = host.nextId();
    await call('receiveWebhook', host.webhook(id));
    const again = symmetric({ id, body: '{"side":"sell"}' });
    const wrong = symmetric({ id: host.nextId() }, new Uint8Array(32).fill(3));
    const cases: readonly [string, Partial<Sent>, ErrorCode][] = [
      ['nobody', rightOf('receiveWebhook'), 'webhook_source_unknown'],
      ['elsewhere', rightOf('receiveWebhook'), 'webhook_address_forbidden'],
      ['alpha', again, 'signal_id_reused'],
      ['alpha', wrong, 'webhook_signature_invalid'],
      ['alpha', symmetric({ id, timestamp: 1 }), 'request_stale'],
      ['tv', { body: { side: 'buy' }, headers: {} }, 'webhook_secret_invalid'],
    ];
    for (const [source, sent, code] of cases)
      await refused('receiveWebhook', { ...sent, path: `/v1/webhooks/${source}` }, code);
  });

  it('of evidence', async () => {
    await refused('getAttestation', { path: '/v1/attestation' }, 'field_malformed');
    await refused('getAttestation', { path: '/v1/attestation?nonce=0g' }, 'hex_malformed');
    await refused('getReceipt', { path: '/v1/receipts/never' }, 'receipt_unknown');
    await refused('getReceipt', { path: '/v1/receipts/known?index=32' }, 'field_malformed');
    await refused('getReceipt', { path: '/v1/receipts/a%20b' }, 'request_id_malformed');
    await refused('getCheckpoint', { path: `/v1/log/${stranger.address}/checkpoint` }, 'log_unknown');
    await refused('getTile', { path: `/v1/log/${host.enclave.boot}/tile/0/0` }, 'log_tile_path_malformed');
    await refused('getNewestTile', { path: '/v1/log/tile/63/000' }, 'log_unknown');
    await refused('getLoggedPolicy', { path: `/v1/log/policies/${'0'.repeat(64)}` }, 'log_unknown');
  });

  it('of reads', async () => {
    for (const id of ['listWallets', 'getBudgets', 'listDecisions', 'listFreezes']) {
      const { path, headers } = rightOf(id);
      await refused(id, { path }, 'api_token_invalid');
      const question = path.includes('?') ? `${path}&more=1` : `${path}?more=1`;
      await refused(id, { path: question, ...(headers && { headers }) }, 'field_malformed');
    }
  });

  it('of a host whose enclave is gone', async () => {
    await host.enclave.close();
    host.enclave.hangUp();
    try {
      await expect.poll(async () => (await call('getAttestation', rightOf('getAttestation'))).status).toBe(503);
      for (const id of ['sign', 'signBatch', 'createWallet', 'enablePolicy', 'getBudgets'])
        await refused(id, rightOf(id), 'enclave_unavailable');
      const missing = async () =>
        ((await (await call('getReadiness', rightOf('getReadiness'))).json()) as { failing: string[] }).failing;
      await expect.poll(missing).toContain('enclave');
    } finally {
      await host.startEnclave();
    }
    await host.ready();
  });

  it('of a host whose database is locked; a webhook is taken', async () => {
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

  it('of a host that is not configured for it, or counts', async () => {
    const { apiTokensFile: _, ...rest } = host.sources();
    host.moreConfig = () => rest;
    host.rateLimits = { ...host.rateLimits, attestations: 1, requester: 1 };
    host.logins = undefined;
    await host.restartHost();
    await host.ready();
    await refused('listFreezes', rightOf('listFreezes'), 'api_tokens_unconfigured');
    await refused('freeze', { path: '/v1/freeze', body: host.support() }, 'operators_unconfigured');
    for (const id of ['getAttestation', 'sign']) {
      expect((await call(id, rightOf(id))).status).toBe(200);
      await refused(id, rightOf(id), 'rate_limited');
    }
    host.rateLimits = {
      ...host.rateLimits,
      ...Object.fromEntries(Object.keys(DEFAULT_RATE_LIMITS).map((name) => [name, 1e6])),
    };
    host.moreConfig = () => ({ ...host.sources(), publicLog: false });
    await host.restartHost();
    await host.ready();
  });

  it('of evidence that is not public', async () => {
    for (const id of contract.ids) {
      const { security } = contract.operation(id).operation;
      const roles = security.map((scheme) => scheme['apiToken']).find((listed) => listed !== undefined);
      const sent = id === 'freeze' ? { path: '/v1/freeze', body: {} } : rightOf(id);
      const { authorization: _, ...headers } = sent.headers ?? {};
      const response = await call(id, { ...sent, headers });
      const isAsked = response.status === 401 && (await response.text()).includes('"api_token_invalid"');
      expect(isAsked, `${id} asks for a token`).toBe(roles !== undefined);
      for (const [role, token] of Object.entries(roles === undefined ? {} : TOKENS)) {
        const answer = await call(id, { ...sent, headers: { ...headers, ...bearer(token) } });
        expect(answer.status === ERRORS.api_role_forbidden.status, `${id} ${role}`).toBe(
          roles?.includes(role) !== true,
        );
      }
    }
  });

  it('of the stop button, and what it answers', async () => {
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
