/** Refusals of a live host, each as the document says: of wrong requests, of the enclave, and of a host that lacks a part. */
import { DEFAULT_RATE_LIMITS } from '@quantumvault/host/rate-limits/config.ts';
import { ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Refused } from '../../support/fake-enclave.ts';
import { person } from '../harness.ts';
import { symmetric } from '../webhooks/sources.ts';
import type { Sent } from './contract.ts';
import { bearer, scene, TOKENS } from './kit.ts';

const { contract, host, call, rightOf, refused, start } = scene();

beforeAll(start);
afterAll(() => host.stop());

const stranger = person();

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
    const imports = (body: unknown, code: ErrorCode) =>
      refused('importWallet', { path: '/v1/wallets/import', body }, code);
    await imports(host.importing({}, stranger), 'statement_signature_invalid');
    await imports(host.importing({}, host.owner, { wallet: host.wallet }), 'wallet_exists');
    const retire = (body: unknown, code: ErrorCode) =>
      refused('retireWallet', { path: `/v1/wallets/${host.spare}/retire`, body }, code);
    await retire({ ...host.retiring(), nonce: '00'.repeat(16) }, 'statement_signature_invalid');
    await retire({ ...host.retiring(), wallet: host.wallet }, 'wallet_mismatch');
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
      for (const id of ['sign', 'signBatch', 'createWallet', 'importWallet', 'enablePolicy', 'getBudgets'])
        await refused(id, rightOf(id), 'enclave_unavailable');
      const missing = async () =>
        ((await (await call('getReadiness', rightOf('getReadiness'))).json()) as { failing: string[] }).failing;
      await expect.poll(missing).toContain('enclave');
    } finally {
      await host.startEnclave();
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
});
