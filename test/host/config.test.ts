import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadHostConfig, parseHostConfig } from '@quantumvault/host/config.ts';
import { CredentialsFile, readCredentials } from '@quantumvault/host/credentials.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { temporaryFolder } from '../support/temporary.ts';

const GOOD = {
  deployment: 'test',
  listen: { host: '127.0.0.1', port: 0 },
  adminSocket: { path: '/run/qv/admin.sock' },
  enclave: { data: 'vsock:16:5000', control: 'vsock:16:5001' },
  store: { sqlite: '/var/lib/qv/host.db' },
  kmsTunnel: { listen: 'vsock:3:5002', endpoint: 'kms.eu-west-1.amazonaws.com:443' },
  credentialsFile: '/run/qv/credentials.json',
};
const { credentialsFile: _, ...IMDS } = GOOD;
const WITNESS = formatVerifierKey(verifierKey('w.example', 'cosignature', new Uint8Array(32)));
const LOG_KEY = formatVerifierKey(verifierKey('w.example', 'ed25519', new Uint8Array(32)));
const parse = (value: unknown) => parseHostConfig(Buffer.from(JSON.stringify(value)));

/** To an endpoint of KMS in another Region. */
const tunnel = (port: number) => ({ listen: `vsock:3:${port}`, endpoint: 'kms.us-east-2.amazonaws.com:443' });

describe('host configuration', () => {
  it('reads a whole file, fills the default and freezes all of it', () => {
    const config = parse(GOOD);
    expect(config.logLevel).toBe('info');
    expect(config.witnesses).toEqual([]);
    expect(config.trustedProxies).toEqual([]);
    expect(config.rateLimits).toEqual({
      ...{ address: 6_000, attestations: 120, statements: 60, requester: 6_000, wallet: 6_000 },
    });
    expect(parse({ ...GOOD, rateLimits: { wallet: 7 } }).rateLimits).toMatchObject({ wallet: 7, address: 6_000 });
    expect(config.operatorsFile).toBeUndefined();
    expect(config.peers).toEqual([]);
    expect(parse({ ...GOOD, peers: ['https://b.internal', 'http://[::1]:8081'] }).peers.map(String)).toEqual([
      'https://b.internal/',
      'http://[::1]:8081/',
    ]);
    expect(config.enclave.data).toEqual({ kind: 'vsock', cid: 16, port: 5000 });
    expect(config.credentials).toEqual({ file: '/run/qv/credentials.json' });
    expect(config.kmsTunnel.endpoint).toEqual({ host: 'kms.eu-west-1.amazonaws.com', port: 443 });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.kmsTunnel.endpoint)).toBe(true);
  });

  const wrong: [string, string, unknown][] = [
    ['an unknown key', 'colour', { ...GOOD, colour: 'red' }],
    ['an unknown inner key', 'listen.backlog', { ...GOOD, listen: { ...GOOD.listen, backlog: 1 } }],
    ['a missing key', 'store', { ...GOOD, store: undefined }],
    ['a port out of range', 'listen.port', { ...GOOD, listen: { host: '::1', port: 65_536 } }],
    ['an empty host', 'listen.host', { ...GOOD, listen: { host: '', port: 1 } }],
    ['a deployment with a space', 'deployment', { ...GOOD, deployment: 'a b' }],
    ['a relative path', 'store.sqlite', { ...GOOD, store: { sqlite: 'host.db' } }],
    ['an address of no kind', 'enclave.data', { ...GOOD, enclave: { ...GOOD.enclave, data: 'tcp:1' } }],
    ['one address twice', 'enclave.control', { ...GOOD, enclave: { data: 'unix:/a', control: 'unix:/a' } }],
    ['an endpoint without port', 'kmsTunnel.endpoint', { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, endpoint: 'x' } }],
    ['a proxy by name', 'trustedProxies', { ...GOOD, trustedProxies: ['proxy.internal'] }],
    ['a proxy network with bits behind its prefix', 'trustedProxies', { ...GOOD, trustedProxies: ['10.0.0.1/8'] }],
    ['too many proxies', 'trustedProxies', { ...GOOD, trustedProxies: Array(65).fill('10.0.0.1') }],
    ['a rate of nothing', 'rateLimits.wallet', { ...GOOD, rateLimits: { wallet: 0 } }],
    ['a rate that is no whole number', 'rateLimits.address', { ...GOOD, rateLimits: { address: 1.5 } }],
    ['a rate of nobody', 'rateLimits.source', { ...GOOD, rateLimits: { source: 5 } }],
    ['an unknown level', 'logLevel', { ...GOOD, logLevel: 'loud' }],
    ['a secret in place of a path', 'credentialsFile', { ...GOOD, credentialsFile: { accessKeyId: 'x' } }],
    ['no word of credentials', 'credentials', { ...GOOD, credentialsFile: undefined }],
    ['credentials of two origins', 'credentials', { ...GOOD, credentials: { imds: true } }],
    ['credentials in place', 'credentials.imds', { ...IMDS, credentials: { accessKeyId: 'x' } }],
    ['no instance metadata', 'credentials.imds', { ...IMDS, credentials: { imds: false } }],
    [
      'instance metadata elsewhere',
      'credentials.endpoint',
      { ...IMDS, credentials: { imds: true, endpoint: 'http://127.0.0.1' } },
    ],
    ['control of another CID', 'enclave.control', { ...GOOD, enclave: { ...GOOD.enclave, control: 'vsock:17:5001' } }],
    ['control of another kind', 'enclave.control', { ...GOOD, enclave: { ...GOOD.enclave, control: 'unix:/a' } }],
    ['a tunnel of another kind', 'kmsTunnel.listen', { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, listen: 'unix:/a' } }],
    [
      'a vsock tunnel of an enclave on a Unix socket',
      'kmsTunnel.listen',
      { ...GOOD, enclave: { data: 'unix:/a', control: 'unix:/b' } },
    ],
    [
      'a tunnel that listens in the enclave',
      'kmsTunnel.listen',
      { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, listen: 'vsock:16:5002' } },
    ],
    ...[3, 0xffff_ffff, 1.5, '17'].map((cid): [string, string, unknown] => [
      `a tunnel also from ${JSON.stringify(cid)}`,
      'kmsTunnel.alsoFrom',
      { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, alsoFrom: [cid] } },
    ]),
    [
      'a tunnel also from one enclave twice',
      'kmsTunnel.alsoFrom',
      { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, alsoFrom: [17, 17] } },
    ],
    ...(
      [
        ['further tunnels that are no list', 'kmsTunnel.further', {}],
        [
          'more tunnels than an image knows',
          'kmsTunnel.further',
          Array.from({ length: 8 }, (_, n) => tunnel(5003 + n)),
        ],
        ['a further tunnel without endpoint', 'kmsTunnel.further[0].endpoint', [{ listen: 'vsock:3:5003' }]],
        ['a further tunnel with more', 'kmsTunnel.further[0].more', [{ ...tunnel(5003), more: 1 }]],
        ['a further tunnel of another kind', 'kmsTunnel.further[0].listen', [{ ...tunnel(1), listen: 'unix:/a' }]],
        ['a further tunnel at the first one’s port', 'kmsTunnel.further[0].listen', [tunnel(5002)]],
        ['two further tunnels at one port', 'kmsTunnel.further[1].listen', [tunnel(5003), tunnel(5003)]],
        [
          'a further tunnel at the enclave',
          'kmsTunnel.further[0].listen',
          [{ ...tunnel(5003), listen: 'vsock:16:5003' }],
        ],
      ] as const
    ).map(([name, path, further]): [string, string, unknown] => [
      name,
      path,
      { ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, further } },
    ]),
    ['peers that are no list', 'peers', { ...GOOD, peers: 'http://127.0.0.1:8081' }],
    ['one peer twice', 'peers', { ...GOOD, peers: Array(2).fill('http://127.0.0.1:8081') }],
    ['too many peers', 'peers', { ...GOOD, peers: [1, 2, 3, 4].map((n) => `http://127.0.0.${n}`) }],
    ...['127.0.0.1:8081', 'http://127.0.0.1/v1', 'ftp://127.0.0.1', 'http://u@127.0.0.1', 'http://h/?q', 7].map(
      (peer): [string, string, unknown] => [`the peer ${peer}`, 'peers[0]', { ...GOOD, peers: [peer] }],
    ),
    ['logins in place of a path', 'operatorsFile', { ...GOOD, operatorsFile: { logins: [] } }],
    ['a relative operators file', 'operatorsFile', { ...GOOD, operatorsFile: 'operators.json' }],
    ['a list', '(body)', []],
    ['a witness without key', 'witnesses[0].key', { ...GOOD, witnesses: [{ url: 'https://w.example' }] }],
    ['a witness that is no URL', 'witnesses[0].url', { ...GOOD, witnesses: [{ url: 'w.example', key: WITNESS }] }],
    [
      'a witness key of another type',
      'witnesses[0].key',
      { ...GOOD, witnesses: [{ url: 'https://w.example', key: LOG_KEY }] },
    ],
  ];
  it.each(wrong)('refuses %s and names %s', async (_, path, value) => {
    const error = await expectCode(() => parse(value), 'config_invalid');
    expect(error.facts.path).toBe(path);
  });

  it('reads that credentials are the instance role’s', () => {
    expect(parse({ ...IMDS, credentials: { imds: true } }).credentials).toEqual({ imds: true });
  });

  it('reads further tunnels, each with a port and an endpoint of its own', () => {
    expect(parse(GOOD).kmsTunnel.further).toEqual([]);
    const { kmsTunnel } = parse({ ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, further: [tunnel(5003), tunnel(5004)] } });
    expect(kmsTunnel.further).toEqual([
      { listen: { kind: 'vsock', cid: 3, port: 5003 }, endpoint: { host: 'kms.us-east-2.amazonaws.com', port: 443 } },
      { listen: { kind: 'vsock', cid: 3, port: 5004 }, endpoint: { host: 'kms.us-east-2.amazonaws.com', port: 443 } },
    ]);
  });

  it('takes host and enclave on one machine, over vsock’s loopback', () => {
    const { enclave, kmsTunnel } = parse({
      ...GOOD,
      enclave: { data: 'vsock:1:5000', control: 'vsock:1:5001' },
      kmsTunnel: { ...GOOD.kmsTunnel, listen: 'vsock:1:5002' },
    });
    expect([enclave.control, kmsTunnel.listen]).toEqual([
      { kind: 'vsock', cid: 1, port: 5001 },
      { kind: 'vsock', cid: 1, port: 5002 },
    ]);
  });

  it('lets the other enclaves of the instance through its tunnel when it names them', () => {
    expect(parse(GOOD).kmsTunnel.alsoFrom).toEqual([]);
    const { kmsTunnel } = parse({ ...GOOD, kmsTunnel: { ...GOOD.kmsTunnel, alsoFrom: [16, 17] } });
    expect(kmsTunnel.alsoFrom).toEqual([16, 17]);
  });

  it('reads witnesses, each key once', async () => {
    const one = { url: 'https://w.example/prefix/', key: WITNESS };
    const [witness] = parse({ ...GOOD, witnesses: [one] }).witnesses;
    expect([witness?.url.href, witness?.key.name]).toEqual(['https://w.example/prefix/', 'w.example']);
    await expectCode(() => parse({ ...GOOD, witnesses: [one, one] }), 'config_invalid');
  });

  it('refuses duplicate keys and files that are not there', async () => {
    await expectCode(() => parseHostConfig(Buffer.from('{"deployment":"a","deployment":"b"}')), 'config_invalid');
    await expectCode(() => loadHostConfig('/nonexistent/host.json'), 'config_invalid');
  });
});

describe('credentials file', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeAll(async () => {
    folder = await temporaryFolder();
  });
  afterAll(() => folder.remove());

  const write = (name: string, value: unknown, mode = 0o600): string => {
    const path = join(folder.path, name);
    writeFileSync(path, JSON.stringify(value), { mode });
    chmodSync(path, mode);
    return path;
  };
  const KEYS = { accessKeyId: 'AKIA', secretAccessKey: 'aaa' };

  it('reads what the enclave is to get', () => {
    const path = write('full', { ...KEYS, sessionToken: 't', expiresAt: '2026-11-22T12:00:00Z' });
    expect(readCredentials(path).body).toEqual({
      accessKeyId: new Uint8Array(Buffer.from('AKIA')),
      secretAccessKey: new Uint8Array(Buffer.from('aaa')),
      sessionToken: new Uint8Array(Buffer.from('t')),
      expiresAt: Date.UTC(2026, 10, 22, 12),
    });
  });

  it('refuses a file that other users may read', async () => {
    await expectCode(() => readCredentials(write('open', KEYS, 0o644)), 'config_invalid');
  });

  it('refuses what is no regular file at once, and follows links', async () => {
    const pipe = join(folder.path, 'pipe');
    execFileSync('mkfifo', ['-m', '600', pipe]);
    for (const path of [pipe, folder.path, '/dev/zero']) {
      const error = await expectCode(() => readCredentials(path), 'config_invalid');
      expect(error.facts).toMatchObject({ path: 'credentialsFile' });
    }
    const link = join(folder.path, 'link');
    symlinkSync(write('target', KEYS), link);
    expect(readCredentials(link).body.accessKeyId).toEqual(new Uint8Array(Buffer.from('AKIA')));
  });

  it.skipIf(process.geteuid?.() !== 0)('refuses a file of another user', async () => {
    const path = write('foreign', KEYS);
    chownSync(path, 12_345, 12_345);
    const error = await expectCode(() => readCredentials(path), 'config_invalid');
    expect(error.facts).toEqual({ path: 'credentialsFile', value: 'owned by another user' });
  });

  it('refuses unknown and malformed fields without quoting them', async () => {
    await expectCode(() => readCredentials(write('extra', { ...KEYS, region: 'x' })), 'config_invalid');
    await expectCode(() => readCredentials(write('when', { ...KEYS, expiresAt: 'soon' })), 'config_invalid');
    const error = await expectCode(
      () => readCredentials(write('odd', { ...KEYS, secretAccessKey: 'q q' })),
      'config_invalid',
    );
    expect(error.facts).toEqual({ path: 'credentialsFile.secretAccessKey', value: 'not such text' });
  });

  it('notices a file renamed over the path, and keeps the last good one', () => {
    const path = write('live', KEYS);
    const file = new CredentialsFile(path, silentLog, 3_600_000);
    expect(file.current.version).toBe(1);
    renameSync(write('next', { ...KEYS, accessKeyId: 'AKIB' }), path);
    file.refresh();
    expect(file.current.version).toBe(2);
    writeFileSync(path, 'half a fi');
    file.refresh();
    expect(file.current).toMatchObject({ version: 2, body: { accessKeyId: new Uint8Array(Buffer.from('AKIB')) } });
    file.close();
  });
});
