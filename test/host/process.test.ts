/** The real process: its ready line, its end, and what it does with requests that are under way then. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { statSync, writeFileSync } from 'node:fs';
import { Agent, type IncomingMessage, request } from 'node:http';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { Harness } from './harness.ts';

const MAIN = join(import.meta.dirname, '../../host/src/main.ts');
let host: Harness;
let child: ChildProcess;
let exit: Promise<number | null>;

beforeEach(async () => {
  host = await Harness.withWallet();
  await host.host.close();
  writeFileSync(host.path('host.json'), JSON.stringify(host.configJson()));
});
afterEach(async () => {
  if (child.exitCode === null) child.kill('SIGKILL');
  await exit;
  await host.stop();
});

async function start(...more: string[]): Promise<Record<string, unknown>> {
  const ready = await spawnHost(...more);
  await host.ready();
  return ready;
}

async function spawnHost(...more: string[]): Promise<Record<string, unknown>> {
  child = spawn(process.execPath, [MAIN, '--config', host.path('host.json'), ...more], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {},
  });
  exit = once(child, 'exit').then(([code]) => code as number | null);
  if (child.stdout === null) throw new Error('no output');
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
  const ready = JSON.parse(line) as Record<string, unknown>;
  host.host = {
    url: String(ready['http']),
    adminSocket: host.path('admin.sock'),
    close: async () => ({ unwritten: 0 }),
  };
  return ready;
}

describe('the host process', () => {
  it('says where it listens, in one line, and signs', async () => {
    expect(await start()).toEqual({
      ready: true,
      http: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      admin: host.path('admin.sock'),
    });
    expect((await host.sign()).status).toBe(200);
  });

  it('drains on SIGTERM: answers what is under way, refuses what is new, exits with 0', async () => {
    await start();
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async (body) => {
      await promise;
      return host.enclave.defaultHandler('sign')(body);
    };
    const underWay = host.sign({ id: 'under-way' });
    await until('it is under way', () => host.enclave.count('sign') === 1);
    // A connection that is busy when the drain begins, and carries another request afterwards.
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const slow = request(`${host.host.url}/v1/wallets`, {
      agent,
      method: 'POST',
      headers: { 'content-type': 'application/json', 'content-length': '2' },
    });
    slow.flushHeaders();
    await new Promise((done) => setTimeout(done, 100));
    child.kill('SIGTERM');
    await until('it no longer listens', () =>
      host.get('/healthz').then(
        () => false,
        () => true,
      ),
    );
    slow.end('{}');
    const [answer] = (await once(slow, 'response')) as [IncomingMessage];
    expect(answer.headers.connection).toBe('close');
    answer.resume();
    resolve();
    const response = await underWay;
    expect(response.status).toBe(200);
    expect(response.headers.get('connection')).toBe('close');
    expect(await exit).toBe(0);
    expect(host.rows('replies').map(({ id }) => id)).toContain('under-way');
    expect(statSync(host.path('admin.sock'), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('refuses a request that reaches it while it drains', async () => {
    await start();
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async (body) => {
      await promise;
      return host.enclave.defaultHandler('sign')(body);
    };
    const underWay = host.sign();
    await until('it is under way', () => host.enclave.count('sign') === 1);
    // Half of a request's head: the connection is busy, the request not yet there.
    const { hostname, port } = new URL(host.host.url);
    const socket = createConnection({ host: hostname, port: Number(port) });
    let text = '';
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.write('GET /healthz HTTP/1.1\r\nhost: a\r\n');
    await new Promise((done) => setTimeout(done, 100));
    child.kill('SIGTERM');
    await new Promise((done) => setTimeout(done, 100));
    socket.write('\r\n');
    await once(socket, 'close');
    const [head = '', body = ''] = text.split('\r\n\r\n');
    const type = /content-type: (.*)\r\n/.exec(head)?.[1] ?? '';
    const status = Number(head.split(' ')[1]);
    await expectProblem(new Response(body, { status, headers: { 'content-type': type } }), 'shutting_down');
    resolve();
    expect((await underWay).status).toBe(200);
    expect(await exit).toBe(0);
  });

  it('keeps its files to itself', async () => {
    const fresh = { ...host.configJson(), store: { sqlite: host.path('fresh.db') } };
    writeFileSync(host.path('host.json'), JSON.stringify(fresh));
    await spawnHost();
    for (const name of ['tunnel.sock', 'fresh.db', 'fresh.db-wal']) {
      expect(statSync(host.path(name)).mode & 0o077).toBe(0);
    }
  });

  it('stops at once although the enclave answers nothing', async () => {
    await start();
    for (const name of ['status', 'credentials', 'bootRecord'] as const) host.enclave.handlers[name] = () => 'hang';
    await new Promise((done) => setTimeout(done, 1_200));
    const started = performance.now();
    child.kill('SIGTERM');
    expect(await exit).toBe(0);
    expect(performance.now() - started).toBeLessThan(2_500);
  });

  it('ends when its parent does, if told so', async () => {
    await start('--exit-with-parent');
    child.stdin?.end();
    expect(await exit).toBe(0);
  });

  it('does not start with a configuration it does not understand', async () => {
    writeFileSync(host.path('bad.json'), JSON.stringify({ ...host.configJson(), colour: 'red' }));
    child = spawn(process.execPath, [MAIN, '--config', host.path('bad.json')], { stdio: ['ignore', 'pipe', 'pipe'] });
    exit = once(child, 'exit').then(([code]) => code as number | null);
    let said = '';
    child.stderr?.on('data', (chunk) => {
      said += chunk;
    });
    expect(await exit).toBe(1);
    expect(JSON.parse(said)).toEqual({
      level: 'fatal',
      code: 'config_invalid',
      title: ERRORS.config_invalid.meaning,
      path: 'colour',
      value: 'unknown field',
    });
  });

  it('killed in the midst of signing, it starts again with every released signature on record', async () => {
    await start();
    const released: string[] = [];
    const signing = Array.from({ length: 60 }, async (_, index) => {
      const response = await host.sign({ id: `k-${index}` }).catch(() => undefined);
      if (response?.status === 200) released.push(`k-${index}`);
    });
    await until('some are released', () => released.length > 10);
    child.kill('SIGKILL');
    await Promise.all(signing);
    await exit;
    const kept = new Set(host.rows('replies').map(({ id }) => id));
    expect(released.filter((id) => !kept.has(id))).toEqual([]);
    await start();
    expect((await host.sign()).status).toBe(200);
  });
});
