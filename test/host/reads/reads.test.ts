/** Reads by API tokens: who sees what, page by page, and what stays public. */
import { chmodSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { addApiToken } from '@quantumvault/host/cli/api-tokens.ts';
import { hostConnection, TOKEN_VARIABLE } from '@quantumvault/host/cli/host-connection.ts';
import { connectionTo, exchange } from '@quantumvault/host/client/http.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { ApiTokens, type Role } from '@quantumvault/host/reads/tokens-file.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { Refused } from '../../support/fake-enclave.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { qvJson } from '../cli/call.ts';
import { Harness } from '../harness.ts';

type Json = Record<string, unknown>;

const hash = (value: number) => new Uint8Array(32).fill(value) as never;

/** Leaves that name wallet and requester, as a real enclave's do. */
function speakInFull(host: Harness): void {
  const { enclave } = host;
  const sign = enclave.defaultHandler('sign');
  enclave.handlers.sign = async (request) => {
    const { wallet, transaction } = JSON.parse(new TextDecoder().decode(request.body)) as Record<string, Address>;
    const facts = { wallet, actor: host.requester.address, requestId: request.id, messageHash: hash(4) };
    if (transaction === 'AAAA')
      throw new Refused({
        code: 'policy_denied',
        path: 'sol.destinations',
        value: 'stranger',
        receipt: enclave.leaf({ ...facts, kind: 'denied', rule: 'sol.destinations', value: 'stranger' } as never),
      });
    const reply = await sign(request);
    if (typeof reply !== 'object' || !('amounts' in reply)) return reply;
    const receipt = enclave.leaf({ ...facts, kind: 'signed', amounts: reply.amounts } as never);
    return { ...reply, receipt };
  };
}

describe('reads', () => {
  const host = new Harness();
  const tokens: Record<string, string> = {};
  let first: Address;
  let second: Address;

  const add = (name: string, role: Role, wallets: readonly Address[] = []) =>
    addApiToken(host.path('tokens.json'), { name, role, wallets }).then((token) => {
      tokens[name] = token;
    });
  const read = (path: string, name = 'auditor'): Promise<Response> =>
    fetch(host.host.url + path, { headers: { authorization: `Bearer ${tokens[name] ?? name}` } });
  const json = async (path: string, name?: string): Promise<Json> => {
    const response = await read(path, name);
    expect(response.status, await response.clone().text()).toBe(200);
    return (await response.json()) as Json;
  };

  beforeAll(async () => {
    await host.start();
    first = await host.createWallet();
    await host.enablePolicy();
    speakInFull(host);
    for (const _ of [1, 2, 3]) expect((await host.sign()).status).toBe(200);
    for (const _ of [1, 2])
      await expectProblem(await host.sign({ body: host.signBody({ transaction: 'AAAA' }) }), 'policy_denied');
    second = await host.createWallet();
    await expectProblem(await read('/v1/wallets'), 'api_tokens_unconfigured');
    await add('auditor', 'auditor');
    await add('bot', 'backend', [first]);
    await add('desk', 'support');
    await add('clerk', 'auditor', [first]);
    host.moreConfig = () => ({ apiTokensFile: host.path('tokens.json') });
    await host.restartHost();
    await host.ready();
  });
  afterAll(() => host.stop());

  it('takes no request without a token that it knows', async () => {
    const without = await host.get('/v1/wallets');
    expect(without.headers.get('www-authenticate')).toBe('Bearer');
    await expectProblem(without, 'api_token_invalid');
    const token = tokens['auditor'] ?? '';
    const last = token.endsWith('A') ? 'E' : 'A';
    for (const wrong of [`${token.slice(0, -1)}${last}`, `${token}A`, 'qvt_', 'x'.repeat(500), token.toUpperCase()])
      await expectProblem(await read('/v1/decisions', wrong), 'api_token_invalid');
    const basic = { authorization: `Basic ${btoa(`auditor:${token}`)}` };
    await expectProblem(await fetch(`${host.host.url}/v1/freezes`, { headers: basic }), 'api_token_invalid');
  });

  it('keeps tokens as hashes alone, and says them nowhere', async () => {
    const file = readFileSync(host.path('tokens.json'), 'utf8');
    for (const token of Object.values(tokens)) {
      expect(file).not.toContain(token);
      expect(host.logLines.join('')).not.toContain(token);
    }
  });

  it('lists wallets page by page, to each what it may see', async () => {
    const all = [first, second].sort();
    const page = await json('/v1/wallets?limit=1');
    expect(page).toMatchObject({ wallets: [{ wallet: all[0], owner: host.owner.address }], next: all[0] });
    const rest = await json(`/v1/wallets?limit=1&after=${page['next']}`);
    expect(rest).toMatchObject({ wallets: [{ wallet: all[1] }], next: null });
    expect(await json('/v1/wallets', 'bot')).toMatchObject({ wallets: [{ wallet: first, epoch: 1 }], next: null });
    expect(((await json('/v1/wallets', 'desk'))['wallets'] as []).length).toBe(2);
    for (const query of ['limit=0', 'limit=101', 'limit=1&limit=2', 'limit=1e1', 'page=2'])
      await expectProblem(await read(`/v1/wallets?${query}`), 'field_malformed');
    await expectProblem(await read('/v1/wallets?after=zero'), 'base58_malformed');
  });

  it('shows one wallet whose row was edited beside the others', async () => {
    host.sql((database) => database.prepare('UPDATE wallets SET owner = ? WHERE wallet = ?').run(first, second));
    const { wallets } = await json('/v1/wallets');
    expect(wallets).toContainEqual({ wallet: second, fault: 'row_tampered' });
    expect(wallets).toContainEqual(expect.objectContaining({ wallet: first, owner: host.owner.address }));
    const owner = host.owner.address;
    host.sql((database) => database.prepare('UPDATE wallets SET owner = ? WHERE wallet = ?').run(owner, second));
  });

  it('tells what was decided, newest first, by wallet, requester, kind and time', async () => {
    const kinds = async (query: string, name?: string) =>
      ((await json(`/v1/decisions?${query}`, name))['decisions'] as { kind: string }[]).map(({ kind }) => kind);
    expect(await kinds(`wallet=${first}`)).toEqual([
      'denied',
      'denied',
      'signed',
      'signed',
      'signed',
      'wallet-created',
    ]);
    expect(await kinds(`requester=${host.requester.address}&kind=denied`)).toEqual(['denied', 'denied']);
    expect(await kinds(`wallet=${first}&requester=${host.owner.address}`)).toEqual(['wallet-created']);
    expect(await kinds('kind=boot')).toEqual(['boot']);
    const soon = formatTime(timeMs(Date.now() + 60_000));
    expect(await kinds(`from=${soon}`)).toEqual([]);
    expect((await kinds(`to=${soon}&wallet=${first}`)).length).toBe(6);
    const { decisions } = await json(`/v1/decisions?wallet=${first}&limit=1`);
    expect(decisions).toEqual([
      expect.objectContaining({
        boot: host.enclave.boot,
        kind: 'denied',
        wallet: first,
        requester: host.requester.address,
        rule: 'sol.destinations',
        value: 'stranger',
        requestId: expect.stringMatching(/^request-/),
      }),
    ]);
    for (const query of ['kind=guess', 'from=yesterday', 'cursor=1', 'cursor=-1-1', 'colour=red'])
      await expectProblem(await read(`/v1/decisions?${query}`), 'field_malformed');
  });

  it('pages through all of them without a gap or a repeat', async () => {
    const seen: string[] = [];
    let cursor = '';
    do {
      const page = await json(`/v1/decisions?limit=2${cursor}`);
      for (const { boot, sequence } of page['decisions'] as Json[]) seen.push(`${boot} ${sequence}`);
      cursor = page['next'] === null ? '' : `&cursor=${page['next']}`;
    } while (cursor !== '');
    const stored = host.rows('leaves').map(({ boot, sequence }) => `${boot} ${sequence}`);
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen.toSorted()).toEqual(stored.toSorted());
  });

  it('shows a leaf that somebody edited as what it is', async () => {
    const { boot, sequence, leaf } = host
      .rows('leaves')
      .find((row) => decodeLeaf(row['leaf'] as Uint8Array).kind === 'denied') as {
      boot: string;
      sequence: number;
      leaf: Uint8Array;
    };
    const put = (bytes: Uint8Array) =>
      host.sql((database) =>
        database.prepare('UPDATE leaves SET leaf = ? WHERE boot = ? AND sequence = ?').run(bytes, boot, sequence),
      );
    put(new Uint8Array(5));
    const { decisions } = await json(`/v1/decisions?wallet=${first}`);
    expect(decisions).toContainEqual({ boot, sequence: String(sequence), fault: 'row_tampered' });
    put(leaf);
  });

  it('asks the enclave what is left of each window', async () => {
    const path = `/v1/wallets/${first}/budgets`;
    const now = timeMs(Date.now());
    const asked: unknown[] = [];
    host.enclave.handlers.budgets = (body) => {
      asked.push(body.wallet);
      const window = { rule: 'sol.window', seconds: 3600, limit: 2_500n, spent: 3_000n, freesAt: now };
      return { time: now, budgets: [window, { rule: 'rate.perDay', seconds: 86_400, limit: 5n, spent: 0n }] };
    };
    expect(await json(path, 'bot')).toEqual({
      wallet: first,
      policyHash: expect.stringMatching(/^[0-9a-f]{64}$/),
      time: new Date(now).toISOString(),
      budgets: [
        {
          rule: 'sol.window',
          seconds: 3600,
          limit: '2500',
          spent: '3000',
          remaining: '0',
          freesAt: new Date(now).toISOString(),
        },
        { rule: 'rate.perDay', seconds: 86_400, limit: '5', spent: '0', remaining: '5', freesAt: null },
      ],
    });
    expect(asked).toEqual([first]);
    await expectProblem(await host.get(path), 'api_token_invalid');
    await expectProblem(await read(`/v1/wallets/${second}/budgets`, 'bot'), 'api_wallet_forbidden');
    await expectProblem(await read(`/v1/wallets/${second}/budgets`), 'wallet_without_policy');
    host.enclave.handlers.budgets = () => {
      throw new Refused({ code: 'wallet_held_elsewhere' });
    };
    await expectProblem(await read(path), 'wallet_held_elsewhere');
  });

  it('keeps a backend to its wallets', async () => {
    await expectProblem(await read(`/v1/decisions?wallet=${second}`, 'bot'), 'api_wallet_forbidden');
    await expectProblem(await read('/v1/decisions', 'bot'), 'api_wallet_forbidden');
    expect(((await json(`/v1/decisions?wallet=${first}`, 'bot'))['decisions'] as []).length).toBe(6);
  });

  it('lists freezes, to a backend those that stop it', async () => {
    for (const scope of [`wallet:${first}`, `wallet:${second}`, 'fleet'])
      await host.admin('freeze', { scope, reason: 'test' });
    const scopes = async (name: string) =>
      ((await json('/v1/freezes', name))['freezes'] as { scope: string }[]).map(({ scope }) => scope);
    expect(new Set(await scopes('desk'))).toEqual(new Set(['fleet', `wallet:${first}`, `wallet:${second}`]));
    expect((await scopes('auditor'))[0]).toBe('fleet');
    expect(new Set(await scopes('bot'))).toEqual(new Set(['fleet', `wallet:${first}`]));
    const history = (await json(`/v1/decisions?wallet=${second}&kind=frozen`))['decisions'];
    expect(history).toMatchObject([{ kind: 'frozen', scope: `wallet:${second}` }]);
  });

  it('leaves log, receipts, wallets and attestation public, unless it is told otherwise', async () => {
    const paths = [
      '/v1/log/boots',
      '/v1/log/checkpoint',
      `/v1/wallets/${first}`,
      `/v1/attestation?nonce=${'00'.repeat(16)}`,
    ];
    for (const path of paths) expect((await host.get(path)).status).toBe(200);
    host.moreConfig = () => ({ apiTokensFile: host.path('tokens.json'), publicLog: false });
    await host.restartHost();
    for (const path of [...paths, '/v1/receipts/request-1', `/v1/log/tile/0/000`])
      await expectProblem(await host.get(path), 'api_token_invalid');
    for (const path of paths) expect((await read(path)).status).toBe(200);
    await json(`/v1/receipts/request-1?wallet=${first}`);
    await expectProblem(await read('/v1/log/boots', 'bot'), 'api_role_forbidden');
    await expectProblem(await read('/v1/receipts/request-1', 'desk'), 'api_role_forbidden');
    // Log and receipts are of all wallets: a token that names some reads neither, whichever wallet it asks for.
    for (const path of ['log/boots', 'log/checkpoint', 'log/tile/0/000', `receipts/request-1?wallet=${second}`])
      await expectProblem(await read(`/v1/${path}`, 'clerk'), 'api_wallet_forbidden');
    await json(`/v1/wallets/${first}`, 'clerk');
    await json(`/v1/wallets/${first}`, 'bot');
    await expectProblem(await read(`/v1/wallets/${second}`, 'bot'), 'api_wallet_forbidden');
    // To render a statement tells the hash of the policy before: who knows an owner must not learn it without a token.
    const render = (wallet: string, name?: string) => {
      const bearer = name === undefined ? {} : { authorization: `Bearer ${tokens[name]}` };
      const headers = { 'content-type': 'application/json', ...bearer };
      return host.send('POST', `/v1/wallets/${wallet}/policy/statement`, '{}', headers);
    };
    await expectProblem(await render(first), 'api_token_invalid');
    await expectProblem(await render(second, 'bot'), 'api_wallet_forbidden');
    await expectProblem(await render(first, 'bot'), 'field_malformed');
    expect((await host.get('/healthz')).status).toBe(200);
    expect((await host.get('/verify')).status).toBe(200);
  });

  it('is read by the SDK and by qv with a token', async () => {
    const connection = connectionTo(host.host.url, { apiToken: tokens['auditor'] ?? '' });
    expect((await exchange(connection, { method: 'GET', path: 'v1/log/boots' })).list('boots').length).toBe(1);
    const without = exchange(connectionTo(host.host.url), { method: 'GET', path: 'v1/log/boots' });
    await expectCode(without, 'api_token_invalid');

    const fetched = (folder: string) => qvJson('log', 'fetch', host.host.url, '--dir', host.path(folder));
    expect(await fetched('a')).toMatchObject({ ok: false, error: { code: 'api_token_invalid' } });
    process.env[TOKEN_VARIABLE] = host.writePrivate('mine.txt', `${tokens['auditor']}\n`);
    try {
      expect(await fetched('b')).toMatchObject({ ok: true });
      for (const url of ['https://host.example', 'http://localhost:1', 'http://127.0.0.1:1', 'http://[::1]:1'])
        expect(hostConnection(url).apiToken).toBe(tokens['auditor']);
      for (const url of ['http://host.example', 'http://127.0.0.1.host.example'])
        await expectCode(() => hostConnection(url), 'usage_invalid');
      host.writePrivate('mine.txt', 'qvt_short');
      await expectCode(() => hostConnection(host.host.url), 'usage_invalid');
      chmodSync(host.path('mine.txt'), 0o644);
      await expectCode(() => hostConnection(host.host.url), 'input_unreadable');
      process.env[TOKEN_VARIABLE] = host.path('missing.txt');
      await expectCode(() => hostConnection(host.host.url), 'input_unreadable');
    } finally {
      delete process.env[TOKEN_VARIABLE];
    }
  });
});

test('a private log needs tokens', async () => {
  const host = new Harness();
  host.folder = await temporaryFolder();
  host.moreConfig = () => ({ publicLog: false });
  expect((await expectCode(async () => host.config(), 'config_invalid')).facts.path).toBe('publicLog');
  await host.folder.remove();
});

describe('the file of tokens', () => {
  it('is written by qv, token by token, each shown once', async () => {
    const folder = await temporaryFolder();
    const file = join(folder.path, 'tokens.json');
    const call = (...more: string[]) => qvJson('init', 'api-token', '--file', file, ...more);
    const made = await call('--name', 'bot', '--role', 'backend', '--wallet', '11111111111111111111111111111111');
    expect(made).toMatchObject({ ok: true, name: 'bot', role: 'backend', token: expect.stringMatching(/^qvt_.{43}$/) });
    expect(await call('--name', 'bot', '--role', 'auditor')).toMatchObject({
      exit: 1,
      error: { code: 'already_initialised' },
    });
    expect(await call('--name', 'a b', '--role', 'auditor')).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid' },
    });
    expect(await call('--name', 'a', '--role', 'root')).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    const tokens = new ApiTokens(file, silentLog, 1_000_000);
    expect(tokens.find(String(made['token']))).toMatchObject({
      name: 'bot',
      wallets: ['11111111111111111111111111111111'],
    });
    const other = await call('--name', 'eve', '--role', 'auditor');
    tokens.refresh();
    expect(tokens.find(String(other['token']))).toMatchObject({ name: 'eve', role: 'auditor' });
    // A bad new file changes nothing.
    chmodSync(file, 0o644);
    tokens.refresh();
    expect(tokens.find(String(made['token']))?.name).toBe('bot');
    tokens.close();
    expect(tokens.find(String(made['token']))).toBeUndefined();
    await folder.remove();
  });

  it('is refused with any other member, and the fault names it', async () => {
    const host = new Harness();
    host.folder = await temporaryFolder();
    const good = { name: 'a', role: 'auditor', sha256: '00'.repeat(32) };
    const cases: [string, unknown][] = [
      ['apiTokensFile.tokens', { tokens: {} }],
      ['apiTokensFile.more', { tokens: [], more: 1 }],
      ['apiTokensFile.tokens[0].name', { tokens: [{ ...good, name: '-' }] }],
      ['apiTokensFile.tokens[0].role', { tokens: [{ ...good, role: 'root' }] }],
      ['apiTokensFile.tokens[0].sha256', { tokens: [{ ...good, sha256: '00' }] }],
      ['apiTokensFile.tokens[0].wallets', { tokens: [{ ...good, wallets: [] }] }],
      ['apiTokensFile.tokens[0].wallets[0]', { tokens: [{ ...good, wallets: ['zero'] }] }],
      ['apiTokensFile.tokens[1].name', { tokens: [good, good] }],
      ['apiTokensFile.tokens', { tokens: Array.from({ length: LIMITS.apiTokens + 1 }, () => good) }],
    ];
    for (const [path, content] of cases) {
      const file = host.writePrivate('tokens.json', JSON.stringify(content));
      const refusal = await expectCode(async () => new ApiTokens(file, silentLog), 'config_invalid');
      expect(refusal.facts.path).toBe(path);
    }
    await host.folder.remove();
  });
});
