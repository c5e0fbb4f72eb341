import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import nacl from 'tweetnacl';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { until } from '../support/temporary.ts';
import { Harness, person, type SignReply } from './harness.ts';

let host: Harness;
beforeAll(async () => {
  host = await Harness.withWallet();
});
afterAll(() => host.stop());
afterEach(() => {
  delete host.enclave.handlers.sign;
  host.clockSkew = 0;
});

const now = () => Math.floor(Date.now() / 1000);

describe('a signing request', () => {
  it('is answered with signature, sums and a receipt that verifies, all of it stored', async () => {
    const response = await host.sign({ id: 'first' });
    expect(response.status).toBe(200);
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const reply = (await response.json()) as SignReply;
    expect(Object.keys(reply).sort()).toEqual([
      'feeLamports',
      'lamportsOut',
      'messageHash',
      'receipt',
      'signature',
      'tokens',
    ]);
    expect(fromBase58(reply.signature, 64)).toHaveLength(64);
    expect(reply).toMatchObject({ lamportsOut: '1000000', feeLamports: '5000' });
    expect(reply.messageHash).toMatch(/^[0-9a-f]{64}$/);
    const leaf = fromBase64(reply.receipt.leaf);
    expect(nacl.sign.detached.verify(leaf, fromBase64(reply.receipt.signature), host.enclave.bootKey)).toBe(true);
    const { sequence, requestId } = decodeLeaf(leaf);
    expect(requestId).toBe('first');
    const kept = host.rows('leaves').find((row) => row['sequence'] === Number(sequence));
    expect(kept?.['leaf']).toEqual(leaf);
    expect(host.rows('wallets')[0]?.['state_version']).toBe(Number(host.enclave.stateVersion));
    expect(host.rows('replies')).toContainEqual(expect.objectContaining({ id: 'first', status: 200 }));
  });

  it('reaches the enclave byte for byte', async () => {
    const body = JSON.stringify(host.signBody(), undefined, 3);
    expect((await host.sign({ id: 'exact', body, timestamp: now() })).status).toBe(200);
    const asked = host.enclave.requests.filter(({ name }) => name === 'sign').at(-1)?.body;
    expect(asked).toMatchObject({ id: 'exact', body: new Uint8Array(Buffer.from(body)) });
  });

  it('may carry signatures of other versions beside ours', async () => {
    const { body, headers } = host.signRequest();
    headers['webhook-signature'] = `v1,abc= ${headers['webhook-signature']} v2,x`;
    expect((await host.send('POST', '/v1/sign', body, headers)).status).toBe(200);
  });
});

/** Nothing was asked of the enclave and nothing was written. */
async function leavesNoTrace(work: () => Promise<unknown>): Promise<void> {
  const before = [host.enclave.count('sign'), host.rows('leaves'), host.rows('wallets'), host.rows('replies')];
  await work();
  expect([host.enclave.count('sign'), host.rows('leaves'), host.rows('wallets'), host.rows('replies')]).toEqual(before);
}

describe('bad input', () => {
  const valid64 = toBase64(new Uint8Array(64));
  const headers: [string, string, Record<string, string>, Parameters<typeof expectProblem>[1]][] = [
    ['an id with a dot', 'webhook-id', { 'webhook-id': 'a.b' }, 'request_id_malformed'],
    ['an empty id', 'webhook-id', { 'webhook-id': '' }, 'request_id_malformed'],
    ['an id of 65', 'webhook-id', { 'webhook-id': 'a'.repeat(65) }, 'request_id_malformed'],
    ['no timestamp', 'webhook-timestamp', { 'webhook-timestamp': '' }, 'request_timestamp_malformed'],
    ['a fraction', 'webhook-timestamp', { 'webhook-timestamp': '1.5' }, 'request_timestamp_malformed'],
    ['a leading zero', 'webhook-timestamp', { 'webhook-timestamp': '01' }, 'request_timestamp_malformed'],
    ['no signature', 'webhook-signature', { 'webhook-signature': '' }, 'request_signature_malformed'],
    ['an HMAC only', 'webhook-signature', { 'webhook-signature': 'v1,abcd' }, 'request_signature_malformed'],
    ['bad base64', 'webhook-signature', { 'webhook-signature': 'v1a,*' }, 'request_signature_malformed'],
    [
      '63 bytes',
      'webhook-signature',
      { 'webhook-signature': `v1a,${toBase64(new Uint8Array(63))}` },
      'request_signature_malformed',
    ],
    [
      'two of ours',
      'webhook-signature',
      { 'webhook-signature': `v1a,${valid64} v1a,${valid64}` },
      'request_signature_malformed',
    ],
    ['a long list', 'webhook-signature', { 'webhook-signature': 'v9,a '.repeat(300) }, 'request_signature_malformed'],
  ];
  it.each(headers)('%s in the headers', async (_, path, changed, code) => {
    await leavesNoTrace(async () => {
      expect((await expectProblem(await host.sign({ headers: changed }), code)).path).toBe(path);
    });
  });

  it('a timestamp outside of the window, either way', async () => {
    await leavesNoTrace(async () => {
      await expectProblem(await host.sign({ timestamp: now() - 305 }), 'request_stale');
      await expectProblem(await host.sign({ timestamp: now() + 40 }), 'request_stale');
    });
    expect((await host.sign({ timestamp: now() - 290 })).status).toBe(200);
  });

  const bodies: [
    string,
    string | undefined,
    () => Record<string, unknown> | string,
    Parameters<typeof expectProblem>[1],
  ][] = [
    ['no JSON', undefined, () => '{"purpose":', 'json_malformed'],
    ['nothing', undefined, () => '', 'json_malformed'],
    [
      'a duplicate key',
      undefined,
      () => JSON.stringify(host.signBody()).replace('{', '{"wallet":"x",'),
      'json_malformed',
    ],
    ['deep nesting', undefined, () => `${'['.repeat(100)}${']'.repeat(100)}`, 'json_malformed'],
    ['a list', '(body)', () => '[]', 'field_malformed'],
    ['an unknown field', 'extra', () => host.signBody({ extra: 1 }), 'field_malformed'],
    ['a missing field', 'transaction', () => host.signBody({ transaction: undefined }), 'field_malformed'],
    ['a dry run that is no boolean', 'dryRun', () => host.signBody({ dryRun: 'yes' }), 'field_malformed'],
    ['another purpose', 'purpose', () => host.signBody({ purpose: 'qv/sign/v2' }), 'purpose_mismatch'],
    ['another audience', 'audience', () => host.signBody({ audience: 'elsewhere' }), 'audience_mismatch'],
    ['a wallet with an l', 'wallet', () => host.signBody({ wallet: `l${host.wallet.slice(1)}` }), 'base58_malformed'],
    ['a transaction in base64url', 'transaction', () => host.signBody({ transaction: '-_-_' }), 'base64_malformed'],
    ['an unknown wallet', 'wallet', () => host.signBody({ wallet: person().address }), 'wallet_unknown'],
  ];
  it.each(bodies)('%s in the body', async (_, path, body, code) => {
    await leavesNoTrace(async () => {
      expect((await expectProblem(await host.sign({ body: body() }), code)).path).toBe(path);
    });
  });

  it('a body that is too large, or of another type', async () => {
    await leavesNoTrace(async () => {
      const body = host.signBody({ transaction: toBase64(new Uint8Array(13_000)) });
      await expectProblem(await host.sign({ body }), 'body_too_large');
      await expectProblem(await host.sign({ headers: { 'content-type': 'text/plain' } }), 'media_type_unsupported');
    });
  });

  it('a signature by nobody of the policy, or over something else', async () => {
    await leavesNoTrace(async () => {
      await expectProblem(await host.sign({ signer: person() }), 'request_signature_invalid');
      await expectProblem(await host.sign({ signer: host.owner }), 'request_signature_invalid');
      const { body, headers } = host.signRequest();
      const altered = { ...headers, 'webhook-id': 'another' };
      await expectProblem(await host.send('POST', '/v1/sign', body, altered), 'request_signature_invalid');
      await expectProblem(await host.send('POST', '/v1/sign', `${body} `, headers), 'request_signature_invalid');
    });
  });

  it('a dry run stripped of its dryRun', async () => {
    const { body, headers } = host.signRequest({ body: host.signBody({ dryRun: true }) });
    const stripped = body.replace(',"dryRun":true', '');
    expect(stripped).not.toBe(body);
    await leavesNoTrace(async () => {
      await expectProblem(await host.send('POST', '/v1/sign', stripped, headers), 'request_signature_invalid');
    });
  });

  it('a wallet without a policy', async () => {
    const kept = host.wallet;
    const bare = await host.createWallet();
    host.wallet = kept;
    const problem = await expectProblem(
      await host.sign({ body: host.signBody({ wallet: bare }) }),
      'wallet_without_policy',
    );
    expect(problem.path).toBe('wallet');
  });
});

describe('an edited database', () => {
  const edits: [string, string][] = [
    ['another owner', "owner = 'So11111111111111111111111111111111111111112'"],
    ['a swapped salt', 'salt = randomblob(32)'],
    ['another execution key', 'execution_key = randomblob(184)'],
    ['a replaced seed', 'sealed_seed = randomblob(72)'],
    ['a replaced state', 'sealed_state = randomblob(90)'],
    ['a raised version', 'state_version = state_version + 1'],
    ['another policy', 'policy = randomblob(200)'],
    ['no policy', 'policy = NULL, policy_mac = NULL'],
    ['another policy MAC', 'policy_mac = randomblob(32)'],
    ['a frozen flag', 'frozen = 1'],
    ['another generation', 'generation = generation + 1'],
    ['another birthday', 'created_at = created_at + 1'],
    ['another MAC', 'row_mac = randomblob(32)'],
    ['a short MAC', "row_mac = x''"],
  ];
  it.each(edits)('%s is refused before the enclave is asked', async (_, edit) => {
    const [row] = host.rows('wallets').filter(({ wallet }) => wallet === host.wallet);
    host.sql((database) => database.prepare(`UPDATE wallets SET ${edit} WHERE wallet = ?`).run(host.wallet));
    try {
      const asked = host.enclave.count('sign');
      await expectProblem(await host.sign(), 'row_tampered');
      expect(host.enclave.count('sign')).toBe(asked);
    } finally {
      host.sql((database) =>
        database
          .prepare(`UPDATE wallets SET owner = ?, salt = ?, execution_key = ?, sealed_seed = ?, sealed_state = ?,
            state_version = ?, policy = ?, policy_mac = ?, frozen = ?, generation = ?, created_at = ?, row_mac = ?
            WHERE wallet = ?`)
          .run(
            ...(['owner', 'salt', 'execution_key', 'sealed_seed', 'sealed_state', 'state_version', 'policy'].map(
              (column) => row?.[column],
            ) as never[]),
            ...(['policy_mac', 'frozen', 'generation', 'created_at', 'row_mac', 'wallet'].map(
              (column) => row?.[column],
            ) as never[]),
          ),
      );
    }
    expect((await host.sign()).status).toBe(200);
  });

  it("another wallet's whole row under this wallet's name is refused", async () => {
    const kept = host.wallet;
    const other = await host.createWallet();
    await host.enablePolicy();
    host.wallet = kept;
    host.sql((database) => {
      database.exec('PRAGMA foreign_keys = OFF');
      database.prepare("UPDATE wallets SET wallet = 'aside' WHERE wallet = ?").run(kept);
      database.prepare('UPDATE wallets SET wallet = ? WHERE wallet = ?').run(kept, other);
    });
    await expectProblem(await host.sign(), 'row_tampered');
    host.sql((database) => {
      database.exec('PRAGMA foreign_keys = OFF');
      database.prepare('UPDATE wallets SET wallet = ? WHERE wallet = ?').run(other, kept);
      database.prepare("UPDATE wallets SET wallet = ? WHERE wallet = 'aside'").run(kept);
    });
    expect((await host.sign()).status).toBe(200);
  });
});

describe('the same id', () => {
  it('gets the same reply, also with a new timestamp and after a restart, and the enclave is asked once', async () => {
    const body = JSON.stringify(host.signBody());
    const first = await (await host.sign({ id: 'same', body })).text();
    const asked = host.enclave.count('sign');
    expect(await (await host.sign({ id: 'same', body })).text()).toBe(first);
    expect(await (await host.sign({ id: 'same', body, timestamp: now() - 60 })).text()).toBe(first);
    await host.restartHost();
    await host.ready();
    expect(await (await host.sign({ id: 'same', body })).text()).toBe(first);
    expect(host.enclave.count('sign')).toBe(asked);
  });

  it('with another body is refused, and may be used again after a day', async () => {
    await host.sign({ id: 'taken' });
    const other = host.signBody({ transaction: toBase64(new Uint8Array(100)) });
    await expectProblem(await host.sign({ id: 'taken', body: other }), 'request_id_reused');
    host.clockSkew = 24 * 3600 * 1000 + 60_000;
    expect((await host.sign({ id: 'taken', body: other })).status).toBe(200);
  });

  it('while it is being worked on: 409 for the same body, 422 for another', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async () => {
      await promise;
      throw new Refused({ code: 'time_untrusted' });
    };
    const asked = host.enclave.count('sign');
    const first = host.sign({ id: 'busy' });
    await until('the enclave is asked', () => host.enclave.count('sign') > asked);
    await expectProblem(await host.sign({ id: 'busy' }), 'request_in_flight');
    const other = host.signBody({ transaction: toBase64(new Uint8Array(100)) });
    await expectProblem(await host.sign({ id: 'busy', body: other }), 'request_id_reused');
    resolve();
    await expectProblem(await first, 'time_untrusted');
    delete host.enclave.handlers.sign;
    expect((await host.sign({ id: 'busy' })).status).toBe(200);
  });

  it('is one per requester and wallet', async () => {
    const kept = host.wallet;
    await host.sign({ id: 'shared' });
    await host.createWallet();
    await host.enablePolicy();
    const asked = host.enclave.count('sign');
    expect((await host.sign({ id: 'shared' })).status).toBe(200);
    expect(host.enclave.count('sign')).toBe(asked + 1);
    host.wallet = kept;
  });
});

describe('a denial', () => {
  it('names rule and value, brings its receipt, is stored and repeated', async () => {
    const receipt = host.enclave.leaf({ kind: 'denied', rule: 'sol.maxPerTransaction', value: '9' });
    host.enclave.handlers.sign = () => {
      throw new Refused({ code: 'policy_denied', path: 'sol.maxPerTransaction', value: '9', receipt });
    };
    const problem = await expectProblem(await host.sign({ id: 'denied' }), 'policy_denied');
    expect(problem).toMatchObject({ rule: 'sol.maxPerTransaction', value: '9' });
    expect(problem).not.toHaveProperty('path');
    expect(problem.receipt).toEqual({ leaf: toBase64(receipt.leaf), signature: toBase64(receipt.signature) });
    expect(host.rows('leaves')).toContainEqual(expect.objectContaining({ leaf: receipt.leaf }));
    delete host.enclave.handlers.sign;
    const again = await expectProblem(await host.sign({ id: 'denied' }), 'policy_denied');
    expect(again).toEqual({ ...problem, requestId: again.requestId });
  });

  it('refusals without a decision are not remembered', async () => {
    host.enclave.handlers.sign = () => {
      throw new Refused({ code: 'kms_unavailable' });
    };
    await expectProblem(await host.sign({ id: 'later' }), 'kms_unavailable');
    delete host.enclave.handlers.sign;
    expect((await host.sign({ id: 'later' })).status).toBe(200);
  });
});

describe('a dry run', () => {
  it("answers every rule's verdict, writes nothing and takes no id", async () => {
    const [leaves, wallets, replies] = [host.rows('leaves'), host.rows('wallets'), host.rows('replies')];
    for (let round = 0; round < 2; round++) {
      const response = await host.sign({ id: 'dry', body: host.signBody({ dryRun: true }) });
      expect(response.status).toBe(200);
      expect(await response.json()).toEqual({
        verdict: 'allow',
        rules: [{ rule: 'sol.maxPerTransaction', outcome: 'allow' }],
        messageHash: expect.stringMatching(/^[0-9a-f]{64}$/),
        lamportsOut: '1000000',
        feeLamports: '5000',
        tokens: {},
      });
    }
    expect([host.rows('leaves'), host.rows('wallets'), host.rows('replies')]).toEqual([leaves, wallets, replies]);
    expect((await host.sign({ id: 'dry' })).status).toBe(200);
  });

  it('never lets a signature out, whatever the enclave answers', async () => {
    const amounts = { lamportsOut: 1n, feeLamports: 1n };
    const messageHash = new Uint8Array(32) as never;
    const signature = new Uint8Array(64).fill(1) as never;
    host.enclave.handlers.sign = () => ({ messageHash, amounts, signature });
    const response = await host.sign({ body: host.signBody({ dryRun: true }) });
    await expectProblem(response, 'internal');
    await expectProblem(await host.sign(), 'internal');
  });
});
