import { statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { startHost } from '@quantumvault/host/start.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import nacl from 'tweetnacl';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { Harness } from './harness.ts';

let host: Harness;
beforeEach(async () => {
  host = await Harness.withWallet();
});
afterEach(() => host.stop());

const freeze = (reason = 'a test') => host.admin('freeze', { scope: 'fleet', reason });

describe('a freeze by the admin socket', () => {
  it('holds in host, enclave and database, with an acknowledgement that verifies', async () => {
    const report = await freeze();
    expect(report.scope).toBe('fleet');
    for (const place of [report.host, ...report.enclaves, report.database]) {
      expect(place).toMatchObject({
        held: true,
        at: expect.stringMatching(/^\d{4}-.*Z$/),
        elapsedMilliseconds: expect.any(Number),
      });
    }
    const [enclave, ...more] = report.enclaves;
    if (enclave?.held !== true) throw new Error('not held');
    expect(more).toEqual([]);
    const { ack } = enclave;
    expect(nacl.sign.detached.verify(fromBase64(ack.bytes), fromBase64(ack.signature), host.enclave.bootKey)).toBe(
      true,
    );
    expect(decodeAs(freezeAckCodec, fromBase64(ack.bytes), 'ack')).toMatchObject({
      scope: 'fleet',
      boot: host.enclave.boot,
    });
    const { boot } = host.enclave;
    await until('the row has the id', () => host.rows('freezes')[0]?.['boot'] === boot);
    expect(host.rows('freezes')).toEqual([
      { scope: 'fleet', reason: 'a test', latched_at: expect.any(Number), boot, freeze_id: expect.any(Uint8Array) },
    ]);
    const asked = host.enclave.requests.find(({ name }) => name === 'freeze');
    expect(asked).toMatchObject({ path: host.path('control.sock'), body: { scope: 'fleet', reason: 'a test' } });
    await expectProblem(await host.sign(), 'frozen');
    const ready = (await (await host.get('/readyz')).json()) as { failing: string[] };
    expect(ready.failing).toContain('frozen');
    expect(await (await host.get(`/v1/wallets/${host.wallet}`)).json()).toMatchObject({ frozen: true });
    expect((await host.admin('status', {})).freezes).toMatchObject([{ scope: 'fleet', reason: 'a test', boot }]);
  });

  it('also holds stored replies and dry runs back', async () => {
    expect((await host.sign({ id: 'before' })).status).toBe(200);
    await freeze();
    await expectProblem(await host.sign({ id: 'before' }), 'frozen');
    await expectProblem(await host.sign({ body: host.signBody({ dryRun: true }) }), 'frozen');
  });

  it('that arrives while a signature is under way holds that one back, now and later', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async (body) => {
      const reply = await host.enclave.defaultHandler('sign')(body);
      await promise;
      return reply;
    };
    const signing = host.sign({ id: 'raced' });
    await until('it is under way', () => host.enclave.count('sign') === 1);
    await freeze();
    resolve();
    await expectProblem(await signing, 'frozen');
    await expectProblem(await host.sign({ id: 'raced' }), 'frozen');
    // What was decided is on record all the same.
    expect(host.rows('replies').map(({ id }) => id)).toContain('raced');
  });

  it('does not wait for a locked database, which takes it later', async () => {
    const unlock = host.lockDatabase();
    const report = await freeze();
    expect(report).toMatchObject({
      host: { held: true },
      enclaves: [{ held: true }],
      database: { held: false, code: 'store_unavailable' },
    });
    unlock();
    await until('the database holds it', () => host.rows('freezes').length === 1);
  });

  it('does not wait for a dead enclave, which is told when it comes back', async () => {
    await host.enclave.close();
    const started = performance.now();
    const report = await freeze();
    expect(performance.now() - started).toBeLessThan(2_000);
    expect(report).toMatchObject({ host: { held: true }, database: { held: true } });
    const enclave = `unix:${host.path('control.sock')}`;
    expect(report.enclaves).toEqual([{ enclave, held: false, code: 'enclave_unavailable' }]);
    await expectProblem(await host.sign(), 'frozen');
    await host.startEnclave();
    await until('the enclave is frozen', () => host.enclave.phase === 'frozen');
    expect(host.enclave.count('sign')).toBe(0);
  });

  it('does not wait for ever for an enclave that hangs; the other places hold meanwhile', async () => {
    host.enclave.handlers.freeze = () => 'hang';
    const asked = freeze();
    await until('the database holds it', () => host.rows('freezes').length === 1);
    await expectProblem(await host.sign(), 'frozen');
    expect((await asked).enclaves).toMatchObject([{ held: false, code: 'deadline_exceeded' }]);
    delete host.enclave.handlers.freeze;
    await until('the enclave is frozen', () => host.enclave.phase === 'frozen');
  });

  it('overtakes a data connection that is stuck with signing', async () => {
    host.enclave.handlers.sign = () => 'hang';
    const headers = { 'x-request-timeout-ms': '5000' };
    const stuck = Array.from({ length: 20 }, () => host.sign({ headers }));
    await until('they are under way', () => host.enclave.count('sign') === 20);
    const started = performance.now();
    expect((await freeze()).enclaves[0]?.held).toBe(true);
    expect(performance.now() - started).toBeLessThan(1_000);
    for (const response of await Promise.all(stuck)) await expectProblem(response, 'deadline_exceeded');
  });

  it('survives a restart of the host, and is passed on to a new boot before anything is signed', async () => {
    await freeze('kept');
    host.enclave.reboot();
    await until('the new boot is frozen', () => host.enclave.phase === 'frozen');
    await host.restartHost();
    host.enclave.reboot();
    expect((await host.sign()).status).not.toBe(200);
    await until('the next boot is frozen, too', () => host.enclave.phase === 'frozen');
    expect((await host.admin('status', {})).freezes).toMatchObject([{ reason: 'kept' }]);
    expect(host.enclave.count('sign')).toBe(0);
  });

  it('made behind the host’s back is noticed and kept', async () => {
    host.enclave.phase = 'frozen';
    await expectProblem(await host.sign({ id: 'early' }), 'frozen');
    await until('the host holds it', () => host.rows('freezes').length === 1);
    expect((await host.admin('status', {})).freezes).toMatchObject([{ scope: 'fleet' }]);
  });
});

describe('the admin socket', () => {
  const line = (text: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = createConnection({ path: host.path('admin.sock') });
      let answer = '';
      socket.on('error', reject);
      socket.on('data', (chunk) => {
        answer += chunk;
        if (answer.includes('\n')) socket.destroy();
      });
      socket.on('close', () => resolve(answer));
      socket.write(text);
    });
  const call = adminCall as (path: string, command: string, parameters: object) => Promise<unknown>;
  const ask = (command: string, parameters: object = {}) => call(host.path('admin.sock'), command, parameters);

  it('is for its user and group alone', () => {
    expect(statSync(host.path('admin.sock')).mode & 0o777).toBe(0o660);
  });

  it('tells what it knows', async () => {
    expect(await host.admin('status', {})).toMatchObject({
      deployment: 'test',
      draining: false,
      enclave: { phase: 'serving', boot: host.enclave.boot, freezeId: null },
      credentials: { state: 'valid', expiresAt: null, fault: null },
      rowKey: true,
      walletsWithoutSecond: 1,
      store: true,
      backlog: 0,
      freezes: [],
      freezeCount: 0,
    });
  });

  it('makes the row key once', async () => {
    await expectCode(ask('row-key-create'), 'already_initialised');
  });

  it('refuses what it does not know, and nothing is frozen by it', async () => {
    await expectCode(ask('sign'), 'admin_command_unknown');
    await expectCode(ask('toString'), 'admin_command_unknown');
    await expectCode(ask('status', { more: 1 }), 'field_malformed');
    await expectCode(ask('freeze', { scope: 'wallet', reason: '' }), 'field_malformed');
    await expectCode(ask('freeze', { scope: 'fleet' }), 'field_malformed');
    await expectCode(ask('freeze', { scope: 'fleet', reason: 'ü' }), 'field_malformed');
    await expectCode(ask('freeze', { scope: 'fleet', reason: 'x'.repeat(201) }), 'field_malformed');
    expect(JSON.parse(await line('{"command":\n'))).toMatchObject({ ok: false, error: { code: 'json_malformed' } });
    expect(JSON.parse(await line('x'.repeat(LIMITS.adminLineBytes + 10)))).toMatchObject({
      ok: false,
      error: { code: 'body_too_large' },
    });
    expect((await host.admin('status', {})).freezes).toEqual([]);
  });

  it('answers several lines on one connection, in order', async () => {
    const answers = await new Promise<string[]>((resolve, reject) => {
      const socket = createConnection({ path: host.path('admin.sock') });
      let answer = '';
      socket.on('error', reject);
      socket.on('data', (chunk) => {
        answer += chunk;
      });
      socket.on('close', () => resolve(answer.trim().split('\n')));
      socket.end('{"command":"status"}\n{"command":"nothing"}\n');
    });
    expect(answers.map((answer) => (JSON.parse(answer) as { ok: boolean }).ok)).toEqual([true, false]);
  });

  it('tells apart a host that is not there', async () => {
    await expectCode(call(host.path('nobody.sock'), 'status', {}), 'host_unavailable');
  });

  it('is not taken from a host that is alive, nor over a file; a stale one is', async () => {
    const deps = { transport: unixTransport, log: createLog('silent') };
    const config = host.config();
    await expectCode(startHost(config, deps), 'config_invalid');
    const file = { ...config, adminSocket: { path: host.path('file') } };
    writeFileSync(host.path('file'), '');
    await expectCode(startHost(file, deps), 'config_invalid');
    await host.host.close();
    await expectCode(call(host.path('admin.sock'), 'status', {}), 'host_unavailable');
    await host.startHost();
    await host.ready();
  });

  it('and its database belong to one deployment', async () => {
    await host.host.close();
    const deps = { transport: unixTransport, log: createLog('silent') };
    const error = await expectCode(startHost({ ...host.config(), deployment: 'other' }, deps), 'config_invalid');
    expect(error.facts.path).toBe('deployment');
    await host.startHost();
  });
});
