/** qv doctor against a whole host: nothing to complain about when all is well, and each fault found by its name. */

import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, chownSync, copyFileSync, linkSync, mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { examine } from '@quantumvault/host/cli/doctor/doctor.ts';
import { type Machine, thisMachine } from '@quantumvault/host/cli/doctor/facts.ts';
import { CHECKS, type CheckName, type Finding, worstOf } from '@quantumvault/host/cli/doctor/finding.ts';
import { SCHEMA_VERSION } from '@quantumvault/host/store/sqlite-schema.ts';
import { hostTransport } from '@quantumvault/host/transport.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Transport } from '@quantumvault/shared/transport.ts';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { issueCertificate, notAnAuthority, toPem } from '../../stack/certificate.ts';
import { noteCode } from '../../support/codes-seen.ts';
import { FakeEnclave } from '../../support/fake-enclave.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { Harness, person } from '../harness.ts';
import { qv, qvJson } from './call.ts';

const GIBIBYTE = 1024 ** 3;
const asRoot = process.geteuid?.() === 0;

let umask: number;
let harness: Harness;
let kms: Server;
let machine: Machine;
const closing: (() => unknown)[] = [];

beforeAll(async () => {
  // As main.ts has it.
  umask = process.umask(0o077);
  kms = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => kms.listen(0, '127.0.0.1', resolve));
});
afterAll(() => {
  process.umask(umask);
  kms.close();
});

beforeEach(async () => {
  harness = await new Harness().start();
  machine = {
    ...thisMachine(),
    isClockSynchronised: async () => true,
    space: () => ({ freeBytes: 50 * GIBIBYTE, totalBytes: 100 * GIBIBYTE, freeFiles: 1_000, totalFiles: 2_000 }),
  };
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  await harness.stop();
});

/** The running host's configuration, as its operator wrote it down. */
function writeConfig(changes: Record<string, unknown> = {}): string {
  const port = Number(new URL(harness.host.url).port);
  const json = {
    ...harness.configJson(),
    listen: { host: '127.0.0.1', port },
    kmsTunnel: {
      listen: `unix:${harness.path('tunnel.sock')}`,
      endpoint: `127.0.0.1:${(kms.address() as AddressInfo).port}`,
    },
    ...changes,
  };
  return harness.writePrivate('host.json', JSON.stringify(json));
}

async function findings(changes?: Record<string, unknown>, url?: string): Promise<readonly Finding[]> {
  const options = { configFile: writeConfig(changes), url, pcrSets: [], unsafeTrustedRootDer: undefined };
  const found = await examine(options, machine);
  for (const { code } of found) if (code !== undefined) noteCode(code);
  // Each check says something, and what is not well says what to do.
  expect([...new Set(found.map(({ check }) => check))]).toEqual([...CHECKS]);
  for (const { health, fix } of found) if (health === 'failed' || health === 'warning') expect(fix).toBeTruthy();
  return found;
}

async function of(check: CheckName, changes?: Record<string, unknown>, url?: string): Promise<readonly Finding[]> {
  return (await findings(changes, url)).filter((finding) => finding.check === check);
}

const bad = (found: readonly Finding[]): readonly Finding[] =>
  found.filter(({ health }) => health === 'failed' || health === 'warning');

async function serve(listener: RequestListener): Promise<string> {
  const server = createHttpServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Where nobody listens any more. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}

/** Whatever else the enclave says. */
function says(changes: Partial<ReplyOf<'status'>>): void {
  const usual = harness.enclave.defaultHandler('status');
  harness.enclave.handlers.status = async (body) => ({ ...((await usual(body)) as ReplyOf<'status'>), ...changes });
}

describe('a deployment that is well', () => {
  test('has nothing failed and nothing to warn of', async () => {
    const found = await findings();
    expect(bad(found)).toEqual([]);
    expect(worstOf(found)).toBe('ok');
    const healths = Object.fromEntries(found.map(({ check, health }) => [check, health]));
    expect(healths).toMatchObject({
      config: 'ok',
      files: 'ok',
      'admin-socket': 'ok',
      http: 'ok',
      database: 'ok',
      disk: 'ok',
      enclave: 'ok',
      credentials: 'ok',
      clock: 'ok',
      freezes: 'ok',
      addon: 'skipped',
      attestation: 'skipped',
      witnesses: 'skipped',
      metrics: 'skipped',
      tls: 'skipped',
      'ops-page': 'skipped',
    });
  });

  test('is left as it was', async () => {
    const before = harness.sql((database) => database.prepare('PRAGMA data_version').get());
    const asked = new Set(harness.enclave.requests.map(({ name }) => name));
    const rows = harness.rows('leaves').length;
    await findings();
    expect(harness.rows('leaves')).toHaveLength(rows);
    expect(harness.sql((database) => database.prepare('PRAGMA data_version').get())).toEqual(before);
    expect(new Set(harness.enclave.requests.map(({ name }) => name))).toEqual(asked);
  });

  test('is shown to people and machines alike, with the exit code of the worst', async () => {
    const argv = ['doctor', '--config', writeConfig()];
    const answer = await qvJson(...argv);
    const worst = String(answer['worst']);
    // Whether this machine's clock is synchronised is not for the test to say.
    expect(answer.exit).toBe({ ok: 0, warning: 6, failed: 1 }[worst]);
    const checks = answer['checks'] as Finding[];
    expect(checks.filter(({ health }) => health === 'failed')).toEqual([]);
    const { exit, stdout, stderr } = await qv(...argv);
    expect([exit, stderr]).toEqual([answer.exit, '']);
    for (const check of CHECKS) expect(stdout).toContain(` ${check}`);
    expect(stdout).toMatch(/Nothing is wrong|Warnings: \d+, nothing failed/);
  });
});

describe('the configuration', () => {
  test.each([
    ['{"deployment": "test"}', 'config_invalid (store: missing)'],
    ['not JSON', 'config_invalid'],
    [undefined, 'cannot be read'],
  ])('%j is named, and everything else skipped', async (text, found) => {
    const configFile = text === undefined ? harness.path('none.json') : harness.writePrivate('bad.json', text);
    const answer = await qvJson('doctor', '--config', configFile);
    expect(answer).toMatchObject({ exit: 1, worst: 'failed', counts: { failed: 1, skipped: CHECKS.length - 1 } });
    expect((answer['checks'] as Finding[])[0]).toMatchObject({ check: 'config', code: 'config_invalid' });
    noteCode('config_invalid');
    expect((answer['checks'] as Finding[])[0]?.found).toContain(found);
    const { exit, stdout } = await qv('doctor', '--config', configFile);
    expect(exit).toBe(1);
    expect(stdout).toContain('✗ config');
    expect(stdout).toContain('→ Correct the field that is named');
    expect(stdout).toContain('Failed: 1');
  });

  test('a command line that is wrong is refused', async () => {
    expect(await qvJson('doctor')).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    const wrong = ['--config', writeConfig(), '--url', 'ftp://x'];
    expect(await qvJson('doctor', ...wrong)).toMatchObject({ exit: 2, error: { value: '--url is no URL' } });
  });
});

describe('files', () => {
  test.each<[string, () => void, RegExp]>([
    [
      'credentials for all to read',
      () => chmodSync(harness.path('credentials.json'), 0o644),
      /credentialsFile .*other users may read/,
    ],
    ['credentials that are gone', () => rmSync(harness.path('credentials.json')), /credentialsFile .*ENOENT/],
    [
      'credentials that are no JSON',
      () => writeFileSync(harness.path('credentials.json'), '{'),
      /credentialsFile .*json_malformed|credentialsFile/,
    ],
    ['markers for all to write', () => chmodSync(harness.path('freezes'), 0o777), /freezeMarkers .*freeze the fleet/],
    [
      'markers that the host cannot use',
      () => chmodSync(harness.path('freezes'), 0o500),
      /freezeMarkers .*not for the host/,
    ],
    ['markers that are gone', () => rmSync(harness.path('freezes'), { recursive: true }), /freezeMarkers .*not there/],
    ['an admin socket for all', () => chmodSync(harness.path('admin.sock'), 0o666), /admin socket .*anybody may open/],
    [
      'a tunnel socket for all',
      () => chmodSync(harness.path('tunnel.sock'), 0o666),
      /KMS tunnel’s socket .*anybody may open/,
    ],
    ['a database for all to write', () => chmodSync(harness.database, 0o666), /host\.db: anybody may write/],
  ])('%s', async (_, break_, found) => {
    const configFile = writeConfig();
    break_();
    const options = { configFile, url: undefined, pcrSets: [], unsafeTrustedRootDer: undefined };
    const failures = (await examine(options, machine))
      .filter(({ check }) => check === 'files')
      .filter(({ health }) => health === 'failed');
    expect(failures).toHaveLength(1);
    expect(failures[0]?.found).toMatch(found);
    expect(failures[0]?.fix).toBeTruthy();
  });

  test('a database for all to read, and a configuration for all to write', async () => {
    chmodSync(harness.database, 0o644);
    expect(bad(await of('files'))).toMatchObject([{ health: 'warning', fix: expect.stringContaining('chmod 600') }]);
    chmodSync(harness.database, 0o600);
    chmodSync(writeConfig(), 0o666);
    expect(bad(await of('files'))).toMatchObject([{ health: 'failed', fix: expect.stringContaining('chmod o-w') }]);
  });

  test('a file in the socket’s place', async () => {
    await harness.host.close();
    writeFileSync(harness.path('admin.sock'), '');
    expect(bad(await of('files'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('something else than a socket') },
    ]);
    rmSync(harness.path('admin.sock'));
    await harness.startHost();
  });

  test('secrets of webhooks and operators are looked at, too', async () => {
    const secretsFile = harness.writePrivate('webhook.secrets', 'whsec_x');
    const operatorsFile = harness.writePrivate('operators.json', '{"logins": []}');
    const webhooks = [{ name: 'alpha', kind: 'standard', secretsFile }];
    const alerts = [{ url: 'http://127.0.0.1:9/alerts', secretsFile: harness.path('no.secrets') }];
    expect(bad(await of('files', { alerts }))).toMatchObject([
      { health: 'failed', found: expect.stringMatching(/^alerts\[0\]\.secretsFile .*: ENOENT$/) },
    ]);
    expect(bad(await of('files', { webhooks, operatorsFile }))).toEqual([]);
    chmodSync(secretsFile, 0o604);
    writeFileSync(operatorsFile, '{"logins": [}');
    const found = bad(await of('files', { webhooks, operatorsFile }));
    expect(found.map(({ found: text }) => text.split(' ')[0])).toEqual(['operatorsFile', 'webhooks[0].secretsFile']);
    // Nothing of what stands in them.
    expect(JSON.stringify(found)).not.toContain('whsec');
  });

  test.skipIf(!asRoot)('the host’s user is judged by, not who calls', async () => {
    await harness.host.close();
    for (const name of ['host.db', 'credentials.json', 'freezes']) chownSync(harness.path(name), 4711, -1);
    expect(bad(await of('files'))).toEqual([]);
    chownSync(harness.path('credentials.json'), 4712, -1);
    expect(bad(await of('files'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('owned by another user') },
    ]);
    for (const name of ['host.db', 'credentials.json', 'freezes']) chownSync(harness.path(name), 0, -1);
    await harness.startHost();
  });
});

describe('somebody who may not look', () => {
  async function asNobody(configFile: string): Promise<readonly Finding[]> {
    const groups = process.getgroups?.() ?? [];
    process.setgroups?.([]);
    process.setegid?.(65_534);
    process.seteuid?.(65_534);
    try {
      return await examine(
        { configFile, url: harness.host.url, pcrSets: [], unsafeTrustedRootDer: undefined },
        machine,
      );
    } finally {
      process.seteuid?.(0);
      process.setegid?.(0);
      process.setgroups?.(groups);
    }
  }

  test.skipIf(!asRoot)('is told so, and nothing is taken for broken', async () => {
    const configFile = writeConfig();
    chmodSync(configFile, 0o644);
    chmodSync(harness.folder.path, 0o755);
    const found = await asNobody(configFile);
    expect(found.filter(({ check }) => check === 'admin-socket')).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('not for this user'),
        fix: expect.stringContaining('as root'),
      },
    ]);
    expect(found.filter(({ check }) => check === 'database')).toMatchObject([
      { health: 'skipped', found: expect.stringContaining('belongs to user 0') },
    ]);
    expect(bad(found.filter(({ check }) => check === 'files'))).toEqual([]);
    expect(found.find(({ check }) => check === 'credentials')).toMatchObject({ health: 'skipped' });
    expect(found.find(({ check }) => check === 'http')).toMatchObject({ health: 'ok' });
    chmodSync(harness.folder.path, 0o700);
    expect(await asNobody(configFile)).toMatchObject([
      { check: 'config', health: 'failed' },
      ...Array(CHECKS.length - 1).fill({}),
    ]);
    const elsewhere = await temporaryFolder();
    closing.push(() => elsewhere.remove());
    chmodSync(elsewhere.path, 0o755);
    copyFileSync(configFile, join(elsewhere.path, 'host.json'));
    chmodSync(join(elsewhere.path, 'host.json'), 0o644);
    const locked = await asNobody(join(elsewhere.path, 'host.json'));
    expect(locked.find(({ check }) => check === 'database')).toMatchObject({
      health: 'skipped',
      found: expect.stringContaining('not for this user to see'),
    });
  });
});

describe('a host that does not answer', () => {
  test('is dead: everything else is examined all the same', async () => {
    await harness.host.close();
    const found = await findings({ listen: { host: '127.0.0.1', port: await closedPort() } });
    expect(bad(found).map(({ check }) => check)).toEqual(['admin-socket', 'http']);
    expect(found.find(({ check }) => check === 'admin-socket')).toMatchObject({
      found: expect.stringContaining('no host has made it'),
      fix: expect.stringContaining('journalctl'),
      code: 'host_unavailable',
    });
    expect(found.filter(({ check, health }) => check === 'database' && health === 'ok')).toHaveLength(2);
    expect(found.find(({ check }) => check === 'enclave')).toMatchObject({ health: 'ok' });
    expect(found.find(({ check }) => check === 'credentials')).toMatchObject({
      health: 'ok',
      found: 'the file’s are valid',
    });
    await harness.startHost();
  });

  test('hangs', async () => {
    const sockets = new Set<Socket>();
    const hung = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => hung.listen(harness.path('hung.sock'), resolve));
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      hung.close();
    });
    expect(await of('admin-socket', { adminSocket: { path: harness.path('hung.sock') } })).toMatchObject([
      { health: 'failed', fix: expect.stringContaining('hangs'), code: 'host_unavailable' },
    ]);
  }, 20_000);

  test('has died and left its socket', async () => {
    const path = harness.path('stale.sock');
    const stale = createServer();
    await new Promise<void>((resolve) => stale.listen(path, resolve));
    // Closing removes one of its names; a host that was killed removes none.
    linkSync(path, `${path}.left`);
    await new Promise<void>((resolve) => stale.close(() => resolve()));
    expect(await of('admin-socket', { adminSocket: { path: `${path}.left` } })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('left behind by a host that is dead') },
    ]);
  });

  test('is one of another deployment', async () => {
    expect(await of('admin-socket', { deployment: 'other' })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('of deployment test, the configuration of other') },
    ]);
  });

  test('HTTP goes elsewhere, or to something else', async () => {
    const nobody = { listen: { host: '127.0.0.1', port: await closedPort() } };
    expect(await of('http', nobody)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED'), code: 'host_unreachable' },
    ]);
    // Ends for its reader alone.
    const endless = await serve((_, response) => {
      const more = setInterval(() => response.write('x'.repeat(100_000)), 1);
      response.on('close', () => clearInterval(more));
    });
    expect(await of('http', {}, endless)).toMatchObject([{ health: 'failed' }]);
    const other = await serve((_, response) => response.end('hello'));
    expect(await of('http', {}, other)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('not as a host') },
    ]);
    expect(await of('http', { listen: { host: '127.0.0.1', port: 0 } })).toMatchObject([{ health: 'skipped' }]);
  });
});

describe('the database', () => {
  test('locked by somebody else', async () => {
    const release = harness.lockDatabase();
    const found = await of('database');
    release();
    expect(bad(found)).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('locked by another process'),
        fix: expect.stringContaining('fuser'),
        code: 'store_unavailable',
      },
    ]);
  });

  test('of another deployment', async () => {
    expect(bad(await of('database', { deployment: 'other' }))).toMatchObject([
      { health: 'failed', found: 'it belongs to deployment test, the configuration to other' },
    ]);
  });

  test.each<[string, string, string]>([
    ['without a row key', "DELETE FROM meta WHERE name = 'row-key'", 'there is no row key'],
    ['of a newer release', `PRAGMA user_version = ${SCHEMA_VERSION + 1}`, `has schema ${SCHEMA_VERSION + 1}`],
  ])('%s', async (_, statement, found) => {
    harness.sql((database) => database.exec(statement));
    expect(bad(await of('database'))).toMatchObject([{ health: 'failed', found: expect.stringContaining(found) }]);
  });

  test('damaged, empty, missing', async () => {
    const garbage = harness.writePrivate('garbage.db', 'no database at all '.repeat(1_000));
    expect(bad(await of('database', { store: { sqlite: garbage } }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('damaged, or no database') },
    ]);
    await harness.host.close();
    const missing = { store: { sqlite: harness.path('missing.db') }, freezeMarkers: harness.path('freezes') };
    expect(bad(await of('database', missing))).toMatchObject([
      { health: 'warning', found: expect.stringContaining('is not there') },
    ]);
    // And is not there afterwards either.
    expect(bad(await of('database', missing))).toHaveLength(1);
    mkdirSync(harness.path('folder.db'));
    expect(bad(await of('database', { store: { sqlite: harness.path('folder.db') } }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('does not open') },
    ]);
    await harness.startHost();
  });
});

describe('the enclave', () => {
  test('dead', async () => {
    await harness.enclave.close();
    harness.enclave.hangUp();
    await until('the host notices', async () => (await harness.admin('status', {})).enclave === null);
    const found = await findings();
    expect(bad(found.filter(({ check }) => check === 'enclave'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('data unix:'), code: 'enclave_unavailable' },
      { health: 'failed', found: expect.stringContaining('control unix:'), fix: expect.stringContaining('nitro-cli') },
    ]);
    expect(found.find(({ check }) => check === 'http')).toMatchObject({
      health: 'failed',
      found: expect.stringContaining('not ready: enclave'),
    });
    expect(found.find(({ check }) => check === 'clock')).toMatchObject({ health: 'skipped' });
  });

  test('deaf on its control address: no freeze would reach it', async () => {
    await harness.enclave.close(harness.path('control.sock'));
    const found = bad(await of('enclave'));
    expect(found).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('control unix:'),
        fix: expect.stringContaining('other address'),
      },
    ]);
  });

  test('of another deployment', async () => {
    says({ deployment: 'other' });
    expect(bad(await of('enclave'))).toMatchObject([
      { health: 'failed', found: 'it is of deployment other, the configuration of test' },
    ]);
  });

  test('two of them behind one configuration', async () => {
    const second = new FakeEnclave('test');
    await second.listen(harness.path('second.sock'));
    closing.push(() => second.close());
    const mixed = { data: `unix:${harness.path('enclave.sock')}`, control: `unix:${harness.path('second.sock')}` };
    const found = bad(await of('enclave', { enclave: mixed }));
    expect(found).toMatchObject([
      { health: 'failed', found: expect.stringContaining(`control is boot ${second.boot}`) },
      { health: 'failed', found: expect.stringContaining('the host speaks of boot') },
    ]);
  });

  test.each<[ReplyOf<'status'>['phase'], string]>([
    ['booting', 'warning'],
    ['ready', 'failed'],
  ])('%s', async (phase, health) => {
    says({ phase });
    expect(bad(await of('enclave'))).toMatchObject([
      { health, found: expect.stringContaining(phase === 'ready' ? 'without credentials' : 'still booting') },
    ]);
  });

  test('on vsock without the addon', async () => {
    const missing: Transport = hostTransport({ addon: harness.path('no-addon.node') });
    machine = { ...machine, transport: missing };
    const addresses = {
      enclave: { data: 'vsock:16:5000', control: 'vsock:16:5001' },
      kmsTunnel: { listen: 'vsock:3:5002', endpoint: `127.0.0.1:${(kms.address() as AddressInfo).port}` },
    };
    const found = await findings(addresses);
    expect(found.find(({ check }) => check === 'addon')).toMatchObject({
      health: 'failed',
      fix: 'npm run build:native',
      code: 'native_missing',
    });
    expect(found.filter(({ check }) => check === 'enclave')).toMatchObject([
      { health: 'skipped' },
      { health: 'skipped' },
    ]);
  });
});

describe('credentials and KMS', () => {
  const expiring = (seconds: number): void => {
    const expiresAt = `${new Date(Date.now() + 1000 * seconds).toISOString().slice(0, 19)}Z`;
    harness.writePrivate(
      'credentials.json',
      JSON.stringify({ accessKeyId: 'AKIA', secretAccessKey: 'hidden-key', expiresAt }),
    );
  };
  const hostSays = (state: string) =>
    until('the host has read them', async () => {
      const { credentials } = await harness.admin('status', {});
      return credentials.state === state && credentials.expiresAt !== null;
    });

  test('expired, by the host and without it', async () => {
    expiring(-60);
    await hostSays('expired');
    const found = await of('credentials');
    expect(found).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('expired since'),
        fix: expect.stringContaining('credentialsFile'),
      },
    ]);
    await harness.host.close();
    expect(await of('credentials')).toMatchObject([
      { health: 'failed', found: expect.stringContaining('the file’s are expired since') },
    ]);
    await harness.startHost();
  }, 20_000);

  test('about to expire', async () => {
    expiring(120);
    await hostSays('valid');
    expect(await of('credentials')).toMatchObject([
      { health: 'warning', found: expect.stringContaining('but only until') },
    ]);
  }, 20_000);

  test('broken under a running host', async () => {
    harness.writePrivate('credentials.json', '{}');
    await until('the host has read it', async () => (await harness.admin('status', {})).credentials.fault !== null);
    const found = await of('credentials');
    expect(found).toMatchObject([
      { health: 'ok' },
      { health: 'warning', found: expect.stringContaining('config_invalid') },
    ]);
    expect(JSON.stringify(found)).not.toContain('hidden-key');
  }, 20_000);

  test.each<[bigint, bigint, string]>([
    [10n, 0n, 'ok'],
    [10n, 3n, 'warning'],
    [10n, 10n, 'failed'],
    [0n, 0n, 'ok'],
  ])('%s calls of which %s failed', async (kmsCalls, kmsFailures, health) => {
    says({ kmsCalls, kmsFailures });
    const found = (await of('kms')).at(-1);
    expect(found).toMatchObject({ health, found: expect.stringContaining(`${kmsFailures} of ${kmsCalls} calls`) });
  });

  test('a document too old for KMS, and an endpoint that is not there', async () => {
    says({ kmsCalls: 1n, kmsFailures: 0n, attestationAgeSeconds: 301 });
    expect(bad(await of('kms'))).toMatchObject([{ health: 'failed', found: expect.stringContaining('301 s old') }]);
    const kmsTunnel = { listen: `unix:${harness.path('tunnel.sock')}`, endpoint: '127.0.0.1:1' };
    expect((await of('kms', { kmsTunnel }))[0]).toMatchObject({
      health: 'failed',
      found: '127.0.0.1:1: ECONNREFUSED',
      code: 'kms_unavailable',
    });
  });
});

describe('the clock', () => {
  test.each<[number, string, string]>([
    [1, 'ok', 'ahead of'],
    [10, 'warning', 'ahead of'],
    [-10, 'warning', 'behind'],
    [600, 'failed', 'ahead of'],
    [-600, 'failed', 'behind'],
  ])('%s s off', async (seconds, health, found) => {
    machine = { ...machine, nowMs: () => Date.now() + 1000 * seconds };
    expect((await of('clock'))[0]).toMatchObject({ health, found: expect.stringContaining(found) });
  });

  test.each<[boolean | undefined, string]>([
    [true, 'ok'],
    [false, 'warning'],
    [undefined, 'skipped'],
  ])('synchronised: %s', async (isSynchronised, health) => {
    machine = { ...machine, isClockSynchronised: async () => isSynchronised };
    expect((await of('clock')).at(-1)).toMatchObject({ health });
  });

  test('an enclave without recent time', async () => {
    says({ timeAgeSeconds: 61, time: timeMs(Date.now()) });
    expect(bad(await of('clock'))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('61 s old'), code: 'time_untrusted' },
    ]);
    says({ timeAgeSeconds: 60 });
    expect(bad(await of('clock'))).toEqual([]);
  });
});

describe('the disk', () => {
  test.each<[string, Partial<ReturnType<Machine['space']>>, string]>([
    ['nearly full', { freeBytes: GIBIBYTE / 2 }, 'warning'],
    ['nearly full for its size', { freeBytes: 4 * GIBIBYTE }, 'warning'],
    ['full', { freeBytes: 10_000 }, 'failed'],
    ['out of inodes', { freeFiles: 0 }, 'failed'],
    ['that counts no files', { freeFiles: 0, totalFiles: 0 }, 'ok'],
  ])('%s', async (_, changes, health) => {
    const usual = machine.space;
    machine = { ...machine, space: (directory) => ({ ...usual(directory), ...changes }) };
    expect(await of('disk')).toMatchObject([{ health }]);
  });

  test('the real one is asked', async () => {
    machine = { ...machine, space: thisMachine().space };
    expect((await of('disk'))[0]?.found).toMatch(/: \d+ MiB of \d+ free$/);
    expect(
      await of('disk', { store: { sqlite: '/nonexistent/host.db' }, freezeMarkers: harness.path('freezes') }),
    ).toMatchObject([{ health: 'skipped', found: '/nonexistent: ENOENT' }, { health: expect.any(String) }]);
  });
});

describe('freezes', () => {
  test('of the fleet fail, of a wallet warn', async () => {
    await harness.admin('freeze', { scope: `wallet:${person().address}`, reason: 'x' });
    expect(await of('freezes')).toMatchObject([{ health: 'warning', found: 'frozen wallets and requesters: 1' }]);
    await harness.admin('freeze', { scope: 'fleet', reason: 'keys were lost' });
    expect(await of('freezes')).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('keys were lost'),
        code: 'frozen',
        fix: expect.stringContaining('qv resume'),
      },
    ]);
    await harness.host.close();
    expect((await of('freezes'))[0]).toMatchObject({ health: 'failed', found: 'the enclave is frozen' });
    await harness.startHost();
  });

  test('orders on disk wait for a dead host, and not for one that lives', async () => {
    const order = join(harness.path('elsewhere'), '1-00.json');
    mkdirSync(harness.path('elsewhere'), { mode: 0o770 });
    chmodSync(harness.path('elsewhere'), 0o770);
    writeFileSync(order, '{}');
    const freezeMarkers = harness.path('elsewhere');
    // Just written: the host takes it within a second.
    expect(bad(await of('freezes', { freezeMarkers }))).toEqual([]);
    const earlier = Date.now() / 1000 - 60;
    utimesSync(order, earlier, earlier);
    expect(bad(await of('freezes', { freezeMarkers }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('does not take: 1') },
    ]);
    await harness.host.close();
    expect(bad(await of('freezes', { freezeMarkers }))).toMatchObject([
      { health: 'warning', found: expect.stringContaining('when the host starts: 1') },
    ]);
    await harness.startHost();
  });
});

describe('what is around it', () => {
  test('witnesses', async () => {
    const url = await serve((_, response) => response.writeHead(404).end());
    const broken = await serve((_, response) => response.writeHead(502).end());
    const vkey = (name: string, key: Uint8Array): string => formatVerifierKey(verifierKey(name, 'cosignature', key));
    const first = vkey('one.example', new FakeEnclave().bootKey);
    const other = vkey('two.example', new FakeEnclave().bootKey);
    says({ witnessThreshold: 1 });
    expect(await of('witnesses', { witnesses: [{ url, key: first }] })).toMatchObject([
      { health: 'ok', found: '1 of 1 answer; the enclave requires 1' },
    ]);
    const one = [
      { url, key: first },
      { url: broken, key: other },
    ];
    expect(await of('witnesses', { witnesses: one })).toMatchObject([
      { health: 'warning', found: expect.stringContaining('HTTP 502') },
      { health: 'ok' },
    ]);
    const none = [{ url: `http://127.0.0.1:${await closedPort()}/`, key: first }];
    expect(await of('witnesses', { witnesses: none })).toMatchObject([
      { health: 'warning', found: expect.stringContaining('ECONNREFUSED') },
      { health: 'failed', code: 'witnesses_unavailable', found: '0 of 1 answer; the enclave requires 1' },
    ]);
    expect(await of('witnesses')).toMatchObject([
      { health: 'failed', found: 'the enclave requires 1, the configuration names none' },
    ]);
  });

  test('metrics', async () => {
    const like = await serve((_, response) => response.end('qv_host_info{deployment="test"} 1\n'));
    const at = (url: string) => ({ metrics: { host: '127.0.0.1', port: Number(new URL(url).port) } });
    expect(await of('metrics', at(like))).toMatchObject([{ health: 'ok' }]);
    const other = await serve((_, response) => response.end('hello'));
    expect(await of('metrics', at(other))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('not as a host') },
    ]);
    expect(await of('metrics', { metrics: { host: '127.0.0.1', port: await closedPort() } })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED') },
    ]);
    const open = { metrics: { host: '0.0.0.0', port: Number(new URL(like).port) } };
    expect(await of('metrics', open)).toMatchObject([{ health: 'warning' }]);
  });

  test('the status page', async () => {
    const page = await serve((request, response) => response.writeHead(request.url === '/' ? 200 : 404).end());
    const opsPage = { host: '127.0.0.1', port: Number(new URL(page).port) };
    expect(await of('ops-page', { opsPage })).toMatchObject([{ health: 'ok' }]);
    expect(await of('ops-page', { opsPage: { host: '127.0.0.1', port: await closedPort() } })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED') },
    ]);
    const other = await serve((_, response) => response.writeHead(404).end());
    expect(await of('ops-page', { opsPage: { host: '127.0.0.1', port: Number(new URL(other).port) } })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('HTTP 404') },
    ]);
  });

  test('proxies', async () => {
    const port = Number(new URL(harness.host.url).port);
    expect(await of('proxy', { listen: { host: '0.0.0.0', port } })).toMatchObject([
      { health: 'warning', found: 'HTTP listens on 0.0.0.0, without TLS' },
    ]);
    expect(await of('proxy', { trustedProxies: ['0.0.0.0/0'] })).toMatchObject([
      { health: 'warning', found: expect.stringContaining('every address') },
    ]);
    expect(await of('proxy', { trustedProxies: ['10.0.0.0/8'] })).toMatchObject([{ health: 'ok' }]);
    const alerts = [{ url: 'http://alerts.example/', secretsFile: harness.path('no.secrets') }];
    expect(await of('proxy', { alerts })).toMatchObject([
      { health: 'warning', found: 'alerts go to http://alerts.example over plain HTTP' },
    ]);
    expect(await of('proxy', {}, 'http://192.0.2.1:80')).toMatchObject([
      { health: 'warning', found: expect.stringContaining('plain HTTP') },
    ]);
  }, 20_000);
});

describe('TLS', () => {
  const DAY = 24 * 3_600_000;

  /** A certificate for `host.example` by itself, and its key, in files; and a server that shows it. */
  function certificate(name: string, days: number) {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const who = [['CN', 'host.example']] as const;
    const pem = toPem(
      'CERTIFICATE',
      issueCertificate({
        serialNumber: Uint8Array.of(1),
        subject: who,
        issuer: who,
        notBefore: Date.now() - 100 * DAY,
        notAfter: Date.now() + days * DAY,
        publicKey,
        signingKey: privateKey,
        hash: 'sha256',
        extensions: [notAnAuthority()],
      }),
    );
    const key = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
    return {
      pem,
      key,
      tls: {
        certificateFile: harness.writePrivate(`${name}.pem`, pem),
        keyFile: harness.writePrivate(`${name}.key`, key),
      },
    };
  }

  test.each<[number, string, string]>([
    [90, 'ok', 'valid until'],
    [5, 'warning', 'expires at'],
    [-1, 'failed', 'expired at'],
  ])('a certificate with %s days left', async (days, health, found) => {
    const { tls } = certificate('host', days);
    expect(await of('tls', { tls })).toMatchObject([{ health, found: expect.stringContaining(found) }]);
  });

  test('files that are wrong', async () => {
    const [one, two] = [certificate('one', 90), certificate('two', 90)];
    const mixed = { ...one.tls, keyFile: two.tls.keyFile };
    expect(bad(await of('tls', { tls: mixed }))).toMatchObject([
      { health: 'failed', found: expect.stringContaining('not the key of the certificate'), code: 'config_invalid' },
    ]);
    chmodSync(one.tls.keyFile, 0o644);
    expect(bad(await of('files', { tls: one.tls }))).toMatchObject([
      { health: 'failed', found: expect.stringMatching(/^tls\.keyFile .*other users may read/) },
    ]);
    writeFileSync(two.tls.keyFile, 'no key');
    expect(bad(await of('tls', { tls: two.tls }))).toMatchObject([
      { found: expect.stringContaining('no private key') },
    ]);
    writeFileSync(two.tls.certificateFile, 'none');
    expect(await of('tls', { tls: two.tls })).toMatchObject([
      { found: expect.stringContaining('no certificate in PEM') },
    ]);
    const gone = { ...two.tls, certificateFile: harness.path('gone.pem') };
    expect(await of('tls', { tls: gone })).toMatchObject([{ found: expect.stringContaining('ENOENT') }]);
  });

  test('the host that ends it is called by its address, whatever name its certificate has', async () => {
    const { tls, pem, key } = certificate('host', 90);
    const server = createHttpsServer({ cert: pem, key }, (_, response) => response.end('{"alive":true}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    closing.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    expect(await of('http', { tls, listen: { host: '127.0.0.1', port } })).toMatchObject([
      { health: 'ok', found: `https://127.0.0.1:${port} answers, and is ready` },
    ]);
    expect(await of('proxy', { tls, listen: { host: '0.0.0.0', port } })).toMatchObject([{ health: 'ok' }]);
    // Clients call it by its name: nobody has issued this one.
    const url = `https://localhost:${port}`;
    expect(await of('tls', {}, url)).toMatchObject([
      {
        health: 'failed',
        found: expect.stringContaining('clients refuse its certificate: DEPTH_ZERO_SELF_SIGNED_CERT'),
      },
    ]);
    expect(await of('http', {}, url)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('DEPTH_ZERO') },
    ]);
    const closed = `https://localhost:${await closedPort()}`;
    expect(await of('tls', {}, closed)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED') },
    ]);
  });
});
