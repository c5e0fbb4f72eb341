/** POST /v1/freeze of a whole host, over HTTP. */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import type { FreezeReport } from '@quantumvault/host/freeze-report.ts';
import { formatPanicCode, parsePanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { panicCodeHash } from '@quantumvault/host/remote-freeze/panic-codes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { until } from '../support/temporary.ts';
import { Harness, JSON_TYPE, person } from './harness.ts';
import { base32, codeAt, wrongCode } from './remote-freeze/kit.ts';

const ANN = new Uint8Array(randomBytes(20));
const BOB = new Uint8Array(randomBytes(20));
const stranger = person().address;

let host: Harness;
let panicCode: string;
beforeEach(async () => {
  host = new Harness();
  host.logins = [
    { name: 'ann', secret: base32(ANN) },
    { name: 'bob', secret: base32(BOB) },
  ];
  await host.start();
  await host.createWallet();
  panicCode = await enable();
});
afterEach(() => host.stop());

async function enable(): Promise<string> {
  const response = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling());
  return ((await response.json()) as { panicCode: string }).panicCode;
}

const now = (): number => Date.now() + host.clockSkew;
const post = (body: unknown) => host.send('POST', '/v1/freeze', body);
const order = (change: Record<string, unknown> = {}) => ({
  login: 'ann',
  code: codeAt(ANN, now()),
  scope: `wallet:${host.wallet}`,
  reason: 'called by the owner',
  ...change,
});
async function reportOf(response: Response): Promise<FreezeReport> {
  expect(response.status).toBe(200);
  return (await response.json()) as FreezeReport;
}
const scopes = () => host.rows('freezes').map(({ scope }) => scope);
const asked = () => host.enclave.requests.filter(({ name }) => name === 'freeze').map(({ body }) => body);
/** A code counts once: the next one is that of the step after. */
const nextStep = (): void => {
  host.clockSkew += 30_000;
};
/** As if the source had waited long enough; its clock is not the host's. */
const calm = () => host.restartHost();

/** From another address of this machine. */
function postFrom(localAddress: string, body: unknown): Promise<{ status: number; retryAfter: string | undefined }> {
  return new Promise((resolve, reject) => {
    const url = new URL('/v1/freeze', host.host.url);
    const sent = httpRequest(url, { method: 'POST', headers: JSON_TYPE, localAddress, agent: false }, (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, retryAfter: response.headers['retry-after'] });
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

describe('support staff', () => {
  it('freeze one wallet, and everybody is told who it was', async () => {
    const report = await reportOf(await post(order()));
    expect(report).toMatchObject({
      scope: `wallet:${host.wallet}`,
      host: { held: true },
      enclaves: [{ held: true }],
      database: { held: true },
    });
    const reason = 'support ann: called by the owner';
    expect(asked()).toMatchObject([{ scope: `wallet:${host.wallet}`, reason, by: 'support ann' }]);
    expect(host.rows('freezes')).toMatchObject([{ scope: `wallet:${host.wallet}`, reason }]);
    expect((await expectProblem(await host.sign(), 'frozen')).path).toBe(`wallet:${host.wallet}`);
    expect(host.enclave.count('sign')).toBe(0);
  });

  it('freeze one requester', async () => {
    const scope = `requester:${host.requester.address}`;
    expect((await reportOf(await post(order({ scope })))).scope).toBe(scope);
    expect(scopes()).toEqual([scope]);
    expect((await expectProblem(await host.sign(), 'frozen')).path).toBe(scope);
  });

  it('freeze nothing else than what they name', async () => {
    await reportOf(await post(order({ scope: `requester:${stranger}` })));
    expect((await host.sign()).status).toBe(200);
    expect((await host.admin('status', {})).freezes).toHaveLength(1);
  });

  it('never the fleet, nor a wallet that does not exist; neither uses the code up', async () => {
    await expectProblem(await post(order({ scope: 'fleet' })), 'freeze_scope_forbidden');
    await expectProblem(await post(order({ scope: `wallet:${stranger}` })), 'wallet_unknown');
    expect(asked()).toEqual([]);
    expect((await post(order())).status).toBe(200);
  });

  it('have each code once, also across a restart, and none before it', async () => {
    const used = order();
    const before = order({ code: codeAt(ANN, now() - 30_000) });
    expect((await post(used)).status).toBe(200);
    await expectProblem(await post(used), 'freeze_credentials_invalid');
    await expectProblem(await post(before), 'freeze_credentials_invalid');
    await host.restartHost();
    await expectProblem(await post(used), 'freeze_credentials_invalid');
    expect(host.rows('totp_steps')).toEqual([{ login: 'ann', step: expect.any(Number) }]);
    await calm();
    nextStep();
    expect((await post(order())).status).toBe(200);
  });

  it('have a code once, of twenty at the same time', async () => {
    const used = order();
    const sent = await Promise.all(
      Array.from({ length: 20 }, (_, n) => postFrom(`127.0.0.${n + 1}`, used).then(({ status }) => status)),
    );
    expect(sent.filter((status) => status === 200)).toHaveLength(1);
    expect(sent.filter((status) => status === 401)).toHaveLength(19);
    expect(asked()).toHaveLength(1);
  });

  it('are told the same of a wrong code, a wrong login, another login’s code and an old one', async () => {
    const wrong = [
      order({ code: wrongCode(ANN, now()) }),
      order({ login: 'nobody' }),
      order({ login: 'bob' }),
      order({ code: codeAt(ANN, now() - 90_000) }),
    ];
    const problems = [];
    for (const [at, body] of wrong.entries()) {
      const { requestId: _, ...problem } = await expectProblem(await post(body), 'freeze_credentials_invalid');
      problems.push(problem);
      if (at % 2 === 1) await calm();
    }
    expect(problems).toEqual(Array(4).fill(problems[0]));
    expect(host.rows('totp_steps')).toEqual([]);
    expect(asked()).toEqual([]);
  });

  it('can freeze while the database is locked, with each code once all the same', async () => {
    const unlock = host.lockDatabase();
    const used = order();
    const started = performance.now();
    expect(await reportOf(await post(used))).toMatchObject({
      host: { held: true },
      enclaves: [{ held: true }],
      database: { held: false, code: 'store_unavailable' },
    });
    expect(performance.now() - started).toBeLessThan(4_000);
    await expectProblem(await post(used), 'freeze_credentials_invalid');
    unlock();
    await until('both are written', () => scopes().length === 1 && host.rows('totp_steps').length === 1);
    await host.restartHost();
    await expectProblem(await post(used), 'freeze_credentials_invalid');
  });

  it('can freeze while the enclave hangs and signing is stuck', async () => {
    host.enclave.handlers.sign = () => 'hang';
    const headers = { 'x-request-timeout-ms': '5000' };
    const stuck = Array.from({ length: 5 }, () => host.sign({ headers }));
    await until('they are under way', () => host.enclave.count('sign') === 5);
    await host.enclave.close(host.path('control.sock'));
    const report = await reportOf(await post(order()));
    expect(report).toMatchObject({ host: { held: true }, database: { held: true } });
    await Promise.all(stuck);
  });

  it('have none where there is no operators file; a panic code works there', async () => {
    host.logins = undefined;
    await host.restartHost();
    await expectProblem(await post(order()), 'operators_unconfigured');
    expect((await post({ panicCode })).status).toBe(200);
  });
});

describe('failures', () => {
  it('slow their source, with Retry-After, and no other', async () => {
    const wrong = order({ code: wrongCode(ANN, now()) });
    const refused: number[] = [];
    const guesses = Array.from({ length: 10 }, async () => {
      const { status, retryAfter } = await postFrom('127.0.0.2', wrong);
      if (status === 429) refused.push(Number(retryAfter));
      return status;
    });
    // One was judged at once, one waits for its turn.
    await until('the others are refused', () => refused.length === 8);
    noteCode('source_slowed');
    expect(refused).toEqual(Array(8).fill(3));
    // Right, and it waits all the same; from elsewhere it does not.
    expect((await postFrom('127.0.0.2', order())).status).toBe(429);
    expect((await postFrom('127.0.0.2', { panicCode })).status).toBe(429);
    expect((await postFrom('127.0.0.3', order())).status).toBe(200);
    expect((await Promise.all(guesses)).filter((status) => status === 401)).toHaveLength(2);
    expect((await postFrom('127.0.0.2', { panicCode })).status).toBe(200);
  });

  it('behind a trusted proxy slow the client that it names; nobody else’s word for the client counts', async () => {
    host.trustedProxies = ['127.0.0.1'];
    await calm();
    const guess = order({ code: wrongCode(ANN, now()) });
    const through = (address: string) =>
      host.send('POST', '/v1/freeze', guess, { ...JSON_TYPE, 'x-forwarded-for': `192.0.2.99, ${address}` });
    const both = await Promise.all([through('192.0.2.1'), through('192.0.2.1'), through('192.0.2.1')]);
    expect(both.map(({ status }) => status).toSorted()).toEqual([401, 401, 429]);
    await expectProblem(await through('192.0.2.2'), 'freeze_credentials_invalid');
    host.trustedProxies = [];
    await calm();
    // Now they are all one: whoever opened the connection.
    const all = await Promise.all([through('192.0.2.1'), through('192.0.2.2'), through('192.0.2.3')]);
    expect(all.map(({ status }) => status).toSorted()).toEqual([401, 401, 429]);
  });

  it('never lock a login', async () => {
    for (let address = 2; address < 60; address++) {
      const { status } = await postFrom(`127.0.0.${address}`, order({ code: wrongCode(ANN, now()) }));
      expect(status).toBe(401);
    }
    expect((await post(order())).status).toBe(200);
  });

  it('of panic codes count, typing errors do not', async () => {
    const wrong = { panicCode: formatPanicCode(new Uint8Array(16)) };
    await expectProblem(await post(wrong), 'freeze_credentials_invalid');
    const both = await Promise.all([post(wrong), post(wrong)]);
    const [judged, slowed] = both.toSorted((one, other) => one.status - other.status) as [Response, Response];
    await expectProblem(judged, 'freeze_credentials_invalid');
    expect(slowed.headers.get('retry-after')).toBe('3');
    expect((await expectProblem(slowed, 'source_slowed')).value).toBe('3 s');
    const typed = panicCode.endsWith('0') ? panicCode.replace(/0$/, '1') : panicCode.replace(/.$/, '0');
    expect((await expectProblem(await post({ panicCode: typed }), 'field_malformed')).path).toBe('panicCode');
  });
});

describe('a panic code', () => {
  it('freezes its wallet, nothing else, and again', async () => {
    const report = await reportOf(await post({ panicCode }));
    expect(report).toMatchObject({
      scope: `wallet:${host.wallet}`,
      enclaves: [{ held: true }],
      database: { held: true },
    });
    const spelt = panicCode.toLowerCase().replaceAll('-', ' ');
    expect((await post({ panicCode: spelt, reason: 'phone stolen' })).status).toBe(200);
    expect(asked()).toMatchObject([
      { scope: `wallet:${host.wallet}`, reason: 'panic code', by: 'panic code' },
      { scope: `wallet:${host.wallet}`, reason: 'panic code: phone stolen' },
    ]);
    expect(scopes()).toEqual([`wallet:${host.wallet}`]);
    await expectProblem(await host.sign(), 'frozen');
  });

  it('leaves other wallets as they are', async () => {
    const first = host.wallet;
    await host.createWallet();
    const other = await enable();
    expect(other).not.toBe(panicCode);
    await reportOf(await post({ panicCode }));
    expect(scopes()).toEqual([`wallet:${first}`]);
    expect((await host.sign()).status).toBe(200);
  });

  it('cannot name a scope, a login or a code', async () => {
    for (const more of [{ scope: `wallet:${stranger}` }, { scope: 'fleet' }, { login: 'ann' }, { code: '123456' }])
      await expectProblem(await post({ panicCode, ...more }), 'field_malformed');
    expect(asked()).toEqual([]);
  });

  it('is replaced when the policy is enabled again, or the lost reply asked for again', async () => {
    const next = await enable();
    expect(next).not.toBe(panicCode);
    await expectProblem(await post({ panicCode }), 'freeze_credentials_invalid');
    expect((await post({ panicCode: next })).status).toBe(200);
  });

  it('is the same for enablings that overlap: none of them answers one that is void', async () => {
    const both = await Promise.all(Array.from({ length: 4 }, enable));
    await until('the last one is stored', () => host.rows('panic_codes').length === 1);
    const valid = host.rows('panic_codes')[0]?.['hash'] as Uint8Array;
    expect(both.map((code) => Buffer.from(panicCodeHash(parsePanicCode(code, ''))).toString('hex'))).toEqual(
      Array(4).fill(Buffer.from(valid).toString('hex')),
    );
  });

  it('is asked for again when the database did not take it', async () => {
    const unlock = host.lockDatabase();
    const refused = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling());
    await expectProblem(refused, 'store_unavailable');
    unlock();
    expect((await post({ panicCode })).status).toBe(200);
    expect((await post({ panicCode: await enable() })).status).toBe(200);
  });

  it('works while the database is locked for writers', async () => {
    const unlock = host.lockDatabase();
    const report = await reportOf(await post({ panicCode }));
    expect(report).toMatchObject({ host: { held: true }, enclaves: [{ held: true }], database: { held: false } });
    unlock();
    await until('the database holds it', () => scopes().length === 1);
  });

  it('is on no disk, only its hash', async () => {
    await enable();
    const code = parsePanicCode(panicCode, '');
    await host.host.close();
    const needles = [panicCode, panicCode.replaceAll('-', ''), Buffer.from(code).toString('hex'), Buffer.from(code)];
    for (const name of ['host.db', 'host.db-wal']) {
      const bytes = readIfThere(host.path(name));
      for (const needle of needles) expect(bytes.includes(needle)).toBe(false);
    }
    expect(host.rows('panic_codes')).toEqual([{ wallet: host.wallet, hash: expect.any(Uint8Array) }]);
    await host.startHost();
  });
});

function readIfThere(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    return Buffer.alloc(0);
  }
}

describe('a body', () => {
  const wrong: [string, string | undefined, () => unknown][] = [
    ['no object', '(body)', () => []],
    ['nothing', 'login', () => ({})],
    ['a login with a line break', 'login', () => order({ login: 'ann\nx' })],
    ['a login that is too long', 'login', () => order({ login: 'a'.repeat(65) })],
    ['a login that is no text', 'login', () => order({ login: 1 })],
    ['a code of five digits', 'code', () => order({ code: '12345' })],
    ['a code of other digits', 'code', () => order({ code: '１２３４５６' })],
    ['a code that is a number', 'code', () => order({ code: 123456 })],
    ['a scope of no kind', 'scope', () => order({ scope: 'boot:1' })],
    ['a scope with more', 'scope', () => order({ scope: `wallet:${stranger}:1` })],
    ['no reason', 'reason', () => order({ reason: undefined })],
    ['an empty reason', 'reason', () => order({ reason: '' })],
    ['a reason beyond ASCII', 'reason', () => order({ reason: 'ü' })],
    ['a reason of two lines', 'reason', () => order({ reason: 'a\nb' })],
    ['a reason that is too long', 'reason', () => order({ reason: 'x'.repeat(200 - 'support ann: '.length + 1) })],
    ['one more field', 'more', () => order({ more: 1 })],
    ['a panic code that is none', 'panicCode', () => ({ panicCode: 'x' })],
    ['a panic code that is null', 'panicCode', () => ({ panicCode: null })],
    ['a panic reason that is too long', 'reason', () => ({ panicCode, reason: 'x'.repeat(189) })],
  ];
  it('that is malformed is refused before anybody is charged for it', async () => {
    for (const [what, path, body] of wrong) {
      const problem = await expectProblem(await post(body()), 'field_malformed');
      expect([what, problem.path]).toEqual([what, path]);
    }
    await expectProblem(await post('{'), 'json_malformed');
    await expectProblem(await post('{"login":"a","login":"b"}'), 'json_malformed');
    for (const scope of ['wallet:0', 'wallet', 'requester:'])
      await expectProblem(await post(order({ scope })), 'base58_malformed');
    await expectProblem(await post(order({ reason: 'x'.repeat(LIMITS.freezeBodyBytes) })), 'body_too_large');
    expect(asked()).toEqual([]);
    const longest = 'x'.repeat(200 - 'support ann: '.length);
    expect((await post(order({ reason: longest }))).status).toBe(200);
    expect((await post({ panicCode, reason: 'x'.repeat(188) })).status).toBe(200);
    expect(asked().map((body) => (body as { reason: string }).reason.length)).toEqual([200, 200]);
  });
});

describe('the log', () => {
  it('names who froze and what, and holds no code and no secret', async () => {
    const [code, guess] = [codeAt(ANN, now()), wrongCode(ANN, now())];
    const unlock = host.lockDatabase();
    await post(order());
    unlock();
    await post({ panicCode });
    await post(order({ login: 'mallory', code: guess }));
    await post(order({ login: 'mallory', code: 'secret-thing' }));
    await post({ panicCode: formatPanicCode(new Uint8Array(16).fill(9)) });
    const log = host.logLines.join('');
    expect(log).toContain(`wallet:${host.wallet}`);
    expect(log).toContain('freeze_credentials_invalid');
    const secrets = [base32(ANN), base32(BOB), panicCode, panicCode.replaceAll('-', ''), 'mallory', 'secret-thing'];
    for (const secret of secrets) expect(log).not.toContain(secret);
    for (const six of [code, guess]) expect(log).not.toMatch(new RegExp(`"${six}"|: ?${six}[,}]`));
  });
});
