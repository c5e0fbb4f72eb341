/** qv against what lies on purpose: a host, an admin socket, files and pipes. */
import { execFileSync, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../support/temporary.ts';
import { qv, qvJson } from './call.ts';

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');
/** Sets the title, colours, reorders. */
const EVIL = '\u001b]0;pwn\u0007\u009b31m\u202e\u007f';
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
const DRIVES = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: Server;
let line: string;
const path = (name: string): string => join(folder.path, name);
const admin = (): string[] => ['--admin', path('evil.sock')];
const KILL = ['kill', '--all', '--reason', 'x'];

beforeAll(async () => {
  folder = await temporaryFolder();
  server = createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => socket.write(`${line}\n`));
  });
  await new Promise<void>((resolve) => server.listen(path('evil.sock'), resolve));
});
afterAll(async () => {
  server.close();
  await folder.remove();
});

const held = { held: true, at: EVIL, elapsedMilliseconds: 1 };
const STATUS = {
  ...{
    deployment: EVIL,
    draining: false,
    rowKey: true,
    rowKeyState: 'edited',
    rowKeyFault: null,
    store: true,
    backlog: 0,
    walletsWithoutSecond: 2,
  },
  credentials: { state: EVIL, expiresAt: EVIL, fault: null },
  enclave: {
    ...{ phase: EVIL, boot: EVIL, bornAt: EVIL, version: EVIL, configHash: EVIL, kmsKeyArn: EVIL },
    kmsKeys: [
      { keyArn: EVIL, use: 'second', avoided: true },
      { keyArn: EVIL, use: EVIL, avoided: false },
    ],
    ...{ freezeId: EVIL, time: EVIL, leaves: EVIL, wallets: 1 },
    freezes: { held: [{ scope: EVIL, freezeId: `${EVIL}2` }], count: 1 },
  },
  freezes: [{ scope: EVIL, reason: EVIL, at: EVIL, boot: EVIL, freezeId: EVIL }],
  freezeCount: 1,
};

const REPORT = {
  ...{ state: 'edited', key: EVIL, since: EVIL, replaces: EVIL, examined: 1, resealed: 1 },
  ...{ edited: [EVIL], editedCount: 2, fault: null },
};

describe('an admin socket that lies', () => {
  const malformed: [string, string[], unknown][] = [
    ['garbage', ['status'], 'x'],
    ['null', ['status'], null],
    ['a list', ['status'], []],
    ['no result', ['status'], { ok: true }],
    ['a result of null', ['status'], { ok: true, result: null }],
    ['an enclave that is a number', ['status'], { ok: true, result: { ...STATUS, enclave: 5 } }],
    [
      'a boot that is a list',
      ['status'],
      { ok: true, result: { ...STATUS, enclave: { ...STATUS.enclave, boot: [] } } },
    ],
    [
      'credentials with a fault that is unknown',
      ['status'],
      { ok: true, result: { ...STATUS, credentials: { ...STATUS.credentials, fault: EVIL } } },
    ],
    ['no word of credentials', ['status'], { ok: true, result: { ...STATUS, credentials: undefined } }],
    ['an error without its code', ['status'], { ok: false }],
    ['an unknown code', ['status'], { ok: false, error: { code: EVIL } }],
    ['facts that are no text', ['status'], { ok: false, error: { code: 'internal', value: {} } }],
    ['a report without the enclave', KILL, { ok: true, result: { scope: 'fleet', host: held, database: held } }],
    [
      'a hold without acknowledgement',
      KILL,
      { ok: true, result: { scope: 'fleet', host: held, enclaves: [{ ...held, enclave: EVIL }], database: held } },
    ],
    [
      'a report of no enclave',
      KILL,
      { ok: true, result: { scope: 'fleet', host: held, enclaves: [], database: held } },
    ],
    ['nothing made', ['init', 'row-key'], { ok: true, result: {} }],
  ];
  test.each(malformed)('%s: response_malformed, no stack', async (_, argv, reply) => {
    line = typeof reply === 'string' ? reply : JSON.stringify(reply);
    expect(await qvJson(...argv, ...admin())).toMatchObject({ exit: 1, error: { code: 'response_malformed' } });
    const { stderr } = await qv(...argv, ...admin());
    expect(stderr).not.toMatch(/\n\s+at /);
    expect(stderr).not.toMatch(DRIVES);
  });

  const hold = { held: false, code: EVIL };
  test.each<[string, string[], unknown]>([
    ['status', ['status'], { ok: true, result: STATUS }],
    [
      'kill',
      KILL,
      { ok: true, result: { scope: EVIL, host: hold, enclaves: [{ ...hold, enclave: EVIL }], database: held } },
    ],
    ['a refusal', ['status'], { ok: false, error: { code: 'internal', path: EVIL, value: `${EVIL}\n    at x` } }],
  ])('%s cannot drive the terminal, as text or as JSON', async (_, argv, reply) => {
    line = JSON.stringify(reply);
    for (const extra of [[], ['--json']]) {
      const { stdout, stderr } = await qv(...argv, ...admin(), ...extra);
      expect((stdout + stderr).length).toBeGreaterThan(10);
      expect(stdout + stderr).not.toMatch(DRIVES);
      expect(stdout + stderr).not.toMatch(/\n\s+at /);
    }
  });

  test('a report on the row key is printed as text, and one that is none is refused', async () => {
    const ask = () => qv('rotate', 'row-key', '--status', ...admin());
    line = JSON.stringify({ ok: true, result: REPORT });
    const { exit, stdout, stderr } = await ask();
    expect(exit).toBe(6);
    expect(stdout + stderr).not.toMatch(DRIVES);
    for (const change of [
      { state: EVIL },
      { key: 1 },
      { edited: [1] },
      { editedCount: '2' },
      { fault: EVIL },
      { resealed: -1 },
    ]) {
      line = JSON.stringify({ ok: true, result: { ...REPORT, ...change } });
      expect((await ask()).exit).not.toBe(6);
      expect(await qvJson('rotate', 'row-key', '--status', ...admin())).toMatchObject({
        error: { code: 'response_malformed' },
      });
    }
  });

  test('JSON keeps what it escapes', async () => {
    line = JSON.stringify({ ok: true, result: STATUS });
    expect((await qvJson('status', ...admin()))['status']).toEqual(STATUS);
  });
});

test('a host’s internal fault shows neither stack nor sequences', async () => {
  const web = createHttpServer((_request, response) => {
    response.writeHead(500).end(JSON.stringify({ code: 'internal', path: EVIL, value: EVIL, requestId: EVIL }));
  });
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const { exit, stdout, stderr } = await qv('verify', 'attestation', url, '--pcr0', 'ab'.repeat(48));
    expect(exit).toBe(5);
    expect(stdout + stderr).not.toMatch(DRIVES);
    expect(stderr).not.toMatch(/\n\s+at /);
  } finally {
    web.close();
  }
});

describe('inputs that do not end', () => {
  const documents = (source: string): string[][] => [
    ['verify', 'attestation', source, '--pcr0', 'ab'.repeat(48)],
    ['inspect', 'attestation', source],
    ['policy', 'check', source],
    ['tx', 'decode', source],
    ['measure', source],
  ];
  test.each(documents('/dev/zero'))('%s %s /dev/zero', async (...argv) => {
    const answer = await qvJson(...argv);
    // What is no file can also be taken for base64 itself.
    expect(['input_unreadable', 'base64_malformed']).toContain(answer.error?.code);
    expect(answer.exit).toBe(2);
  });

  test('a named pipe without a writer', async () => {
    execFileSync('mkfifo', [path('pipe')]);
    for (const argv of documents(path('pipe'))) {
      expect(await qvJson(...argv)).toMatchObject({
        exit: 2,
        error: { code: 'input_unreadable', value: 'not a regular file' },
      });
    }
  });

  test('a file beyond the limit, and one without a size', async () => {
    writeFileSync(path('large'), Buffer.alloc(1024 * 1024));
    expect(await qvJson('inspect', 'attestation', path('large'))).toMatchObject({ error: { code: 'body_too_large' } });
    const answer = await qvJson('inspect', 'attestation', '/proc/self/status');
    expect(answer.error?.code).toBe('attestation_envelope_malformed');
  });
});

test('a reader that has gone is no fault', async () => {
  const child = spawn(process.execPath, [QV, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  const exit = await new Promise((resolve) => child.once('close', resolve));
  expect([exit, stderr]).toEqual([0, '']);
});
