/** The instance role's credentials from the instance metadata service, over real HTTP. */
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { join } from 'node:path';
import {
  InstanceRoleCredentials,
  type InstanceRoleOptions,
  pauseMilliseconds,
} from '@quantumvault/host/instance-role/credentials.ts';
import { EC2_METADATA, type MetadataEndpoint } from '@quantumvault/host/instance-role/metadata.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { type ErrorCode, isErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { noteCode } from '../support/codes-seen.ts';
import {
  credentialsText,
  FakeMetadata,
  type Misconduct,
  ROLE_PATH,
  roleCredentials,
  TOKEN_PATH,
} from '../support/fake-metadata.ts';
import { until } from '../support/temporary.ts';
import { qv } from './cli/call.ts';
import { Harness } from './harness.ts';

const FIRST = roleCredentials('FIRST');
const SECOND = roleCredentials('SECOND');
const WHERE = `${ROLE_PATH}qv-instance`;

let service: FakeMetadata;
let endpoint: MetadataEndpoint;
let source: InstanceRoleCredentials;
let lines: string[];

beforeEach(async () => {
  service = new FakeMetadata();
  service.credentials = FIRST;
  endpoint = await service.listen();
  lines = [];
});
afterEach(async () => {
  source?.close();
  await service.close();
});

const pause = (failures: number, life: number) => pauseMilliseconds(failures, life, 0.999);
/** Looks when it is told to, and by itself after half its pauses. */
async function begin(options: InstanceRoleOptions = {}): Promise<InstanceRoleCredentials> {
  const log = createLog('debug', { write: (line) => void lines.push(line) });
  source = new InstanceRoleCredentials(log, { endpoint, pause, ...options });
  await source.refresh();
  return source;
}
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();
const current = () => ({
  version: source.current?.version,
  accessKeyId: text(source.current?.body.accessKeyId),
  secretAccessKey: text(source.current?.body.secretAccessKey),
  sessionToken: text(source.current?.body.sessionToken),
  expiresAt: source.current?.body.expiresAt,
});
const as = (version: number, { AccessKeyId, SecretAccessKey, Token, Expiration }: typeof FIRST) => ({
  version,
  accessKeyId: AccessKeyId,
  secretAccessKey: SecretAccessKey,
  sessionToken: Token,
  expiresAt: Date.parse(Expiration),
});

function expectFault(code: ErrorCode): void {
  expect(source.fault).toBe(code);
  noteCode(String(source.fault));
}

describe('what is asked', () => {
  it('is a token by PUT, then the role and its credentials with that token; never anything without', async () => {
    await begin();
    expect(current()).toEqual(as(1, FIRST));
    expect(service.asked.map(({ method, path }) => `${method} ${path}`)).toEqual([
      `PUT ${TOKEN_PATH}`,
      `GET ${ROLE_PATH}`,
      `GET ${WHERE}`,
    ]);
    const [, ...reads] = service.asked;
    expect(new Set(reads.map(({ token }) => token)).size).toBe(1);
    expect(reads.every(({ token }) => token?.startsWith('AQAEA'))).toBe(true);
    expect(source.fault).toBeUndefined();
  });

  it('goes to the one link-local address, which no environment changes', () => {
    expect(EC2_METADATA).toEqual({ host: '169.254.169.254', port: 80 });
  });

  it('goes through no proxy, whatever the environment says', () => {
    const module = join(import.meta.dirname, '../../host/src/instance-role/metadata.ts');
    const program = `
      import { createServer } from 'node:http';
      const { withMetadata } = await import(${JSON.stringify(module)});
      const server = createServer((request, response) => response.end(request.url === '${TOKEN_PATH}' ? 't' : 'direct'));
      await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
      const place = { host: '127.0.0.1', port: server.address().port };
      const read = (metadata) => metadata.get('/x', 100, (bytes) => Buffer.from(bytes).toString());
      process.stdout.write(await withMetadata(place, new AbortController().signal, read));
      server.close();`;
    const env = { NODE_USE_ENV_PROXY: '1', HTTP_PROXY: 'http://127.0.0.1:9', http_proxy: 'http://127.0.0.1:9' };
    const done = spawnSync(process.execPath, ['--input-type=module', '-e', program], { env, encoding: 'utf8' });
    expect(done).toMatchObject({ stdout: 'direct', stderr: '', status: 0 });
  });
});

describe('a rotation', () => {
  it('is a new version; the same answer is none, and what was replaced is wiped', async () => {
    await begin();
    const old = source.current?.body;
    await source.refresh();
    expect(source.current?.version).toBe(1);
    expect(source.current?.body).toBe(old);
    service.credentials = SECOND;
    await source.refresh();
    expect(current()).toEqual(as(2, SECOND));
    for (const bytes of [old?.accessKeyId, old?.secretAccessKey, old?.sessionToken])
      expect(bytes?.every((byte) => byte === 0)).toBe(true);
    expect(service.asked.filter(({ method }) => method === 'PUT')).toHaveLength(3);
  });

  it('to another role is followed', async () => {
    await begin();
    service.role = 'another.role_+=,@-';
    service.credentials = SECOND;
    await source.refresh();
    expect(current()).toEqual(as(2, SECOND));
  });

  it('is found although the host’s clock is wrong in either direction', async () => {
    for (const days of [-3650, 3650]) {
      service.credentials = FIRST;
      await begin({ now: () => Date.now() + days * 86_400_000 });
      expect(current()).toEqual(as(1, FIRST));
      service.credentials = SECOND;
      await source.refresh();
      expect(current()).toEqual(as(2, SECOND));
      source.close();
    }
    expect(lines.filter((line) => line.includes('this clock is wrong'))).toHaveLength(2);
  });

  it('is looked for often enough that none is missed, and by chance not by all hosts at once', () => {
    const hours = 3_600_000;
    expect(pauseMilliseconds(0, 6 * hours, 0)).toBeLessThan(5 * 60_000);
    expect(pauseMilliseconds(0, Number.POSITIVE_INFINITY, 0)).toBe(240_000);
    expect(pauseMilliseconds(0, Number.POSITIVE_INFINITY, 0.5)).toBe(180_000);
    // Near the end, or after it.
    for (const life of [LIMITS.metadataHurryMilliseconds - 1, 0, -6 * hours])
      expect(pauseMilliseconds(0, life, 0)).toBe(30_000);
    expect([1, 2, 3, 4, 5, 6, 60].map((failures) => pauseMilliseconds(failures, 6 * hours, 0))).toEqual([
      ...[1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000],
    ]);
  });
});

describe('a token', () => {
  it('that the service forgets is replaced, once per look', async () => {
    await begin();
    let forgotten = 0;
    service.misconduct.set(ROLE_PATH, (response) => {
      service.misconduct.delete(ROLE_PATH);
      forgotten++;
      service.forgetTokens();
      response.writeHead(401).end();
    });
    service.credentials = SECOND;
    await source.refresh();
    expect([forgotten, current()]).toEqual([1, as(2, SECOND)]);
  });

  it('that is refused again is a fault', async () => {
    service.misconduct.set(ROLE_PATH, (response) => response.writeHead(401).end());
    await begin();
    expectFault('metadata_refused');
    expect(service.count(TOKEN_PATH)).toBe(2);
    expect(service.count(ROLE_PATH)).toBe(2);
  });
});

const status =
  (code: number): Misconduct =>
  (response) =>
    response.writeHead(code).end('{"secret":"s3cr3t"}');
const body =
  (content: string): Misconduct =>
  (response) =>
    response.end(content);
const withChange = (change: object): Misconduct => body(credentialsText({ ...SECOND, ...change }));

describe('an answer that is none', () => {
  const faults: [string, ErrorCode, string, Misconduct][] = [
    ['a service that is turned off', 'metadata_refused', TOKEN_PATH, status(403)],
    ['a service without version 2', 'metadata_refused', TOKEN_PATH, status(404)],
    ['a token that is refused at once', 'metadata_refused', TOKEN_PATH, status(401)],
    ['a token of odd characters', 'metadata_invalid', TOKEN_PATH, body('a b')],
    ['an empty token', 'metadata_invalid', TOKEN_PATH, body('')],
    ['a long token', 'metadata_invalid', TOKEN_PATH, body('a'.repeat(2_000))],
    ['too many questions', 'metadata_unavailable', TOKEN_PATH, status(429)],
    ['a service that is down', 'metadata_unavailable', ROLE_PATH, status(503)],
    ['a service that breaks', 'metadata_unavailable', WHERE, status(500)],
    ['no instance profile', 'instance_role_missing', ROLE_PATH, status(404)],
    ['a profile without role', 'instance_role_missing', ROLE_PATH, body('\n')],
    ['a role that is gone since', 'instance_role_missing', WHERE, status(404)],
    [
      'a role that EC2 may not assume',
      'instance_role_missing',
      WHERE,
      body('{"Code":"AssumeRoleUnauthorizedAccess","Message":"s3cr3t"}'),
    ],
    ['two roles', 'metadata_invalid', ROLE_PATH, body('one\ntwo')],
    ['a role that is a path', 'metadata_invalid', ROLE_PATH, body('../../user-data')],
    [
      'a redirect',
      'metadata_invalid',
      WHERE,
      (response) => response.writeHead(302, { location: `http://${endpoint.host}:${endpoint.port}${ROLE_PATH}` }).end(),
    ],
    ['a page of some portal', 'metadata_invalid', WHERE, body('<html>s3cr3t</html>')],
    ['half an answer', 'metadata_invalid', WHERE, body(credentialsText(SECOND).slice(0, 120))],
    ['no body', 'metadata_invalid', WHERE, body('')],
    ['a list', 'metadata_invalid', WHERE, body('["s3cr3t"]')],
    ['a field twice', 'metadata_invalid', WHERE, body('{"Code":"Success","Code":"Success"}')],
    ['a secret that is a number', 'metadata_invalid', WHERE, withChange({ SecretAccessKey: 5 })],
    ['a secret with spaces', 'metadata_invalid', WHERE, withChange({ SecretAccessKey: 's3cr3t s3cr3t' })],
    ['a token that is missing', 'metadata_invalid', WHERE, withChange({ Token: undefined })],
    ['a token that is too long', 'metadata_invalid', WHERE, withChange({ Token: 'a'.repeat(8_193) })],
    ['an expiry that is no time', 'metadata_invalid', WHERE, withChange({ Expiration: 'soon' })],
    ['an expiry on 30 February', 'metadata_invalid', WHERE, withChange({ Expiration: '2027-02-30T00:00:00Z' })],
    ['no expiry', 'metadata_invalid', WHERE, withChange({ Expiration: undefined })],
    ['a large answer', 'metadata_invalid', WHERE, withChange({ Message: 'a'.repeat(LIMITS.credentialsBytes) })],
    [
      'an answer without end',
      'metadata_invalid',
      WHERE,
      (response) => {
        const more = (): void => {
          while (!response.destroyed && response.write('s3cr3t'.repeat(1_000)));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
      },
    ],
    ['a connection that breaks off', 'metadata_unavailable', WHERE, (response) => response.socket?.destroy()],
    [
      'an answer that breaks off',
      'metadata_unavailable',
      WHERE,
      (response) => {
        response.setHeader('content-length', '500');
        response.write('{"Code":');
        setImmediate(() => response.socket?.destroy());
      },
    ],
    [
      'a header without end',
      'metadata_invalid',
      WHERE,
      (response) => response.writeHead(200, { x: 'a'.repeat(10_000) }).end(),
    ],
    ['an answer that is not HTTP', 'metadata_invalid', WHERE, (response) => response.socket?.end('hello\r\n\r\n')],
  ];

  it.each(faults)('%s is %s, and the old ones stay', async (_, code, path, misconduct) => {
    await begin();
    service.misconduct.set(path, misconduct);
    await source.refresh();
    expectFault(code);
    expect(current()).toEqual(as(1, FIRST));
    await source.refresh();
    const complaints = lines.filter((line) => line.includes('no newer credentials'));
    expect(complaints).toHaveLength(1);
    expect(JSON.parse(complaints[0] ?? '')).toMatchObject({ level: 40, code, has: true });
    service.misconduct.clear();
    service.credentials = SECOND;
    await source.refresh();
    expect(current()).toEqual(as(2, SECOND));
    expect(source.fault).toBeUndefined();
    for (const secret of ['s3cr3t', 'secret-of', 'token-of', 'AQAEA']) expect(lines.join('')).not.toContain(secret);
  });

  it('does not keep it waiting: a service that hangs, and one that dribbles', async () => {
    await begin();
    service.misconduct.set(TOKEN_PATH, () => undefined);
    await source.refresh();
    expectFault('metadata_unavailable');
    service.misconduct.clear();
    let dribble: NodeJS.Timeout | undefined;
    service.misconduct.set(WHERE, (response) => {
      dribble = setInterval(() => response.write(' '), 100);
    });
    await source.refresh();
    clearInterval(dribble);
    expectFault('metadata_unavailable');
    expect(current()).toEqual(as(1, FIRST));
    expect(lines.join('')).toContain('no answer in time');
  });

  it('nobody there at all is one, and it comes round by itself', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => holder.once('listening', resolve));
    const { port } = holder.address() as { port: number };
    await new Promise((resolve) => holder.close(resolve));
    await begin({ endpoint: { host: '127.0.0.1', port } });
    expectFault('metadata_unavailable');
    expect(source.current).toBeUndefined();
    expect(lines.join('')).toContain('ECONNREFUSED');
    source.close();

    service.misconduct.set(TOKEN_PATH, status(503));
    await begin();
    expect(source.current).toBeUndefined();
    service.misconduct.clear();
    await until('it asked again', () => source.current !== undefined);
    expect(current()).toEqual(as(1, FIRST));
    expect(lines.join('')).toContain('answers again');
  });

  it('nor does an end: what is under way is broken off, nothing is asked again, and they are wiped', async () => {
    await begin();
    const held = source.current?.body.secretAccessKey;
    service.misconduct.set(TOKEN_PATH, () => undefined);
    const underWay = source.refresh();
    await until('it was asked', () => service.count(TOKEN_PATH) === 2);
    source.close();
    await underWay;
    expect(source.current).toBeUndefined();
    expect(held?.every((byte) => byte === 0)).toBe(true);
    expect(lines.join('')).not.toContain('no newer credentials');
  });

  it('has codes of the one table', () => {
    expect(faults.every(([, code]) => isErrorCode(code))).toBe(true);
  });
});

describe('a host with the instance’s role', () => {
  let host: Harness;
  beforeEach(() => {
    host = new Harness();
    host.metadata = endpoint;
  });
  afterEach(() => host.stop());

  const given = () =>
    host.enclave.requests.flatMap(({ name, body: message }) =>
      name === 'credentials' ? [text((message as { accessKeyId: Uint8Array }).accessKeyId)] : [],
    );
  const failing = async () => ((await (await host.get('/readyz')).json()) as { failing: string[] }).failing;
  const admin = () => ['--admin', host.path('admin.sock')];

  it('hands them to the enclave, and says until when they hold', async () => {
    await host.start();
    expect(given()).toEqual(['ASIAFIRST']);
    expect(await host.admin('status', {})).toMatchObject({
      credentials: { state: 'valid', expiresAt: FIRST.Expiration.replace('Z', '.000Z'), fault: null },
    });
    const { stdout, exit } = await qv('status', ...admin());
    expect([exit, stdout]).toEqual([0, expect.stringContaining(`valid, until ${FIRST.Expiration.slice(0, 19)}`)]);
    expect(host.logLines.join('')).not.toContain('secret-of');
  });

  it('starts without an answer, says so, and is ready when there is one', async () => {
    service.role = undefined;
    await host.start({ initialise: false });
    await until('it says so', async () => (await failing()).includes('credentials'));
    expect((await host.get('/readyz')).status).toBe(503);
    expect(await host.admin('status', {})).toMatchObject({
      credentials: { state: 'missing', expiresAt: null, fault: 'instance_role_missing' },
    });
    const { stdout, exit } = await qv('status', ...admin());
    expect(exit).toBe(1);
    expect(stdout).toContain('credentials of the instance role are missing');
    expect(stdout).toContain('The instance has no role, or EC2 cannot assume it.');
    expect(given()).toEqual([]);
    service.role = 'qv-instance';
    await until('it has them', async () => !(await failing()).includes('credentials'));
    await until('the enclave has them', () => given().length === 1);
  });

  it('hands expired ones over, for KMS to judge, and is not ready by the enclave’s time', async () => {
    service.credentials = roleCredentials('EXPIRED', -60_000);
    // The host's own clock says that they hold for days.
    host.clockSkew = -7 * 86_400_000;
    await host.start({ initialise: false });
    await until('the enclave has them', () => given().includes('ASIAEXPIRED'));
    expect(await failing()).toContain('credentials');
    const { stdout, exit } = await qv('status', ...admin());
    expect([exit, stdout]).toEqual([1, expect.stringContaining('credentials of the instance role are expired')]);
  });

  it('goes by its own clock while no enclave answers', async () => {
    host.clockSkew = 7 * 86_400_000;
    await host.start({ enclave: false });
    await until('they are there', async () => (await host.admin('status', {})).credentials.expiresAt !== null);
    expect((await host.admin('status', {})).credentials.state).toBe('expired');
  });
});
