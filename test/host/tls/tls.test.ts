/** TLS in the host: who is served, what is renewed, and certificates in place of tokens. */
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto';
import { chmodSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { Agent, request } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { addApiToken } from '@quantumvault/host/cli/api-tokens.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import type { TlsConfig } from '@quantumvault/host/tls/config.ts';
import { TlsFiles } from '@quantumvault/host/tls/tls-files.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { issueCertificate, keyUsage, notAnAuthority, toPem } from '../../stack/certificate.ts';
import { serverIdentity } from '../../stack/kms/tls.ts';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';

interface Identity {
  readonly keyPem: string;
  readonly certificatePem: string;
  readonly caPem: string;
}

/** Waits for nobody's keep-alive and pins the CA. */
class TlsHarness extends Harness {
  ca = '';

  ask(path: string, options: ConnectionOptions & { headers?: Record<string, string> } = {}): Promise<Response> {
    return new Promise((resolve, reject) => {
      const agent = new Agent({ keepAlive: false, maxCachedSessions: 0 });
      const asked = request(this.host.url + path, { ca: this.ca, agent, ...options });
      asked.on('response', (response) => {
        const headers = Object.entries(response.headers).map(([name, value]): [string, string] => [
          name,
          String(value),
        ]);
        const status = response.statusCode ?? 0;
        text(response).then((body) => resolve(new Response(body, { status, headers })), reject);
      });
      asked.on('error', reject).end();
    });
  }

  override get(path: string): Promise<Response> {
    return this.ask(path);
  }
}

const host = new TlsHarness();
let server: Identity;
let directory: string;
let clients: ReturnType<typeof clientIdentity>[] = [];
const paths = () => ({ certificateFile: host.path('tls.pem'), keyFile: host.path('tls.key') });

async function renew(names: readonly string[] = []): Promise<Identity> {
  const identity = await serverIdentity(directory, names);
  writeFileSync(host.path('tls.pem'), identity.certificatePem);
  host.writePrivate('tls.key', identity.keyPem);
  return identity;
}

/** A client's certificate of the same CA, or of one that signs itself. */
function clientIdentity(caKeyPem?: string) {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const ca = new X509Certificate(server.caPem).subject.split('\n').map((line) => line.split('=') as ['O', string]);
  const der = issueCertificate({
    serialNumber: randomBytes(16),
    subject: [['CN', 'auditor']],
    issuer: caKeyPem === undefined ? [['CN', 'auditor']] : ca,
    notBefore: Date.now() - 60_000,
    notAfter: Date.now() + 3_600_000,
    publicKey,
    signingKey: caKeyPem === undefined ? privateKey : createPrivateKey(caKeyPem),
    hash: 'sha256',
    extensions: [notAnAuthority(), keyUsage(['digitalSignature'])],
  });
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
  return { cert: toPem('CERTIFICATE', der), key, sha256: toHex(createHash('sha256').update(der).digest()) };
}

function handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const { port } = new URL(host.host.url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: Number(port), ca: host.ca, ...options });
    socket.once('secureConnect', () => resolve(socket)).once('error', reject);
  });
}

beforeAll(async () => {
  host.moreConfig = () => ({
    tls: { ...paths(), clientCaFile: host.path('ca.pem') },
    apiTokensFile: host.path('tokens.json'),
  });
  const start = Harness.prototype.startHost;
  host.startHost = async () => {
    directory = host.path('tls');
    server ??= await renew();
    host.ca = server.caPem;
    writeFileSync(host.path('ca.pem'), server.caPem);
    const client = clientIdentity(readFileSync(join(directory, 'ca-key.pem'), 'utf8'));
    const stranger = clientIdentity();
    const tokens = [client, stranger].map(({ sha256 }, index) => ({
      name: `client-${index}`,
      role: 'auditor',
      certificateSha256: sha256,
    }));
    host.writePrivate('tokens.json', JSON.stringify({ tokens }));
    clients = [client, stranger];
    return start.call(host);
  };
  await host.start();
});
afterAll(() => host.stop());

describe('a host with TLS', () => {
  it('answers over TLS 1.2 and 1.3, in HTTP/1.1, under its certificate', async () => {
    expect(host.host.url).toMatch(/^https:/);
    expect((await host.get('/healthz')).status).toBe(200);
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const socket = await handshake({ minVersion: version, maxVersion: version, ALPNProtocols: ['h2', 'http/1.1'] });
      expect([socket.getProtocol(), socket.alpnProtocol]).toEqual([version, 'http/1.1']);
      socket.destroy();
    }
    await expect(handshake({ ca: [] })).rejects.toThrow(/certificate/);
  });

  it('refuses older versions, and plain HTTP without a word', async () => {
    // OpenSSL 3 would not even ask for them at its usual level.
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    await expect(handshake(old)).rejects.toThrow();
    const plain = new Promise((resolve, reject) => {
      const asked = httpRequest(host.host.url.replace('https', 'http'), { agent: false });
      asked
        .on('response', (response) => resolve(response.statusCode))
        .on('error', reject)
        .end();
    });
    await expect(plain).rejects.toThrow();
    expect((await host.get('/healthz')).status).toBe(200);
  });

  it('serves others while somebody does not finish a handshake', async () => {
    const { port } = new URL(host.host.url);
    const silent = Array.from({ length: 20 }, () => connectTcp(Number(port), '127.0.0.1'));
    for (const socket of silent) socket.on('error', () => undefined);
    expect((await host.get('/healthz')).status).toBe(200);
    for (const socket of silent) socket.destroy();
  });

  it('takes a certificate that it knows in place of a token, and no other', async () => {
    const [client, stranger] = clients;
    expect((await host.ask('/v1/wallets', client)).status).toBe(200);
    await expectProblem(await host.ask('/v1/wallets'), 'api_token_invalid');
    // Listed, but no CA of ours vouches for it.
    await expectProblem(await host.ask('/v1/wallets', stranger), 'api_token_invalid');
    // Vouched for, but not listed.
    const unknown = clientIdentity(readFileSync(join(directory, 'ca-key.pem'), 'utf8'));
    await expectProblem(await host.ask('/v1/wallets', unknown), 'api_token_invalid');
    // A wrong token is not made good by a certificate.
    const headers = { authorization: 'Bearer qvt_wrong' };
    await expectProblem(await host.ask('/v1/wallets', { ...client, headers }), 'api_token_invalid');
    // What is public takes anybody.
    expect((await host.ask('/healthz', stranger)).status).toBe(200);
  });

  it('keeps certificates that are listed when a token is added', async () => {
    const token = await addApiToken(host.path('tokens.json'), { name: 'more', role: 'auditor', wallets: [] });
    const headers = { authorization: `Bearer ${token}` };
    await until('the host has read it', async () => (await host.ask('/v1/wallets', { headers })).status === 200);
    expect((await host.ask('/v1/wallets', clients[0])).status).toBe(200);
  });

  it('serves a renewed certificate to new connections, and goes on with the old one until both fit', async () => {
    const under = await handshake();
    const namesOf = async (): Promise<string> => {
      const socket = await handshake();
      const names = socket.getPeerCertificate().subjectaltname ?? '';
      socket.destroy();
      return names;
    };
    expect(await namesOf()).not.toContain('renewed.example');
    // Half of a renewal: a certificate without its key.
    const next = await serverIdentity(directory, ['renewed.example']);
    writeFileSync(host.path('tls.pem'), next.certificatePem);
    await until('the host complains', () => host.logLines.join('').includes('TLS files are not usable'));
    expect(await namesOf()).not.toContain('renewed.example');
    writeFileSync(host.path('next.key'), next.keyPem, { mode: 0o600 });
    renameSync(host.path('next.key'), host.path('tls.key'));
    await until('it is served', async () => (await namesOf()).includes('renewed.example'));
    expect(under.destroyed).toBe(false);
    under.destroy();
    // Clients' certificates are still asked for.
    expect((await host.ask('/v1/wallets', clients[0])).status).toBe(200);
  }, 30_000);

  it('says when its certificate expires', async () => {
    const { text: metrics } = (await host.admin('metrics', {})) as { text: string };
    const seconds = Number(/^qv_tls_expiry_timestamp_seconds (.+)$/m.exec(metrics)?.[1]);
    expect(seconds).toBe(
      Math.floor(new X509Certificate(readFileSync(host.path('tls.pem'))).validToDate.getTime() / 1000),
    );
    expect(host.logLines.join('')).not.toContain('PRIVATE KEY');
  });
});

describe('its files', () => {
  const config = (changes: Partial<TlsConfig> = {}): TlsConfig => ({ ...paths(), minVersion: 'TLSv1.3', ...changes });
  const refusal = async (changes: Partial<TlsConfig>) =>
    (await expectCode(async () => new TlsFiles(config(changes), silentLog).close(), 'config_invalid')).facts.path;

  it('are named when they are not usable', async () => {
    new TlsFiles(config(), silentLog).close();
    const garbage = host.writePrivate('garbage.pem', 'no certificate');
    expect(await refusal({ certificateFile: garbage })).toBe('tls.certificateFile');
    expect(await refusal({ certificateFile: host.path('missing.pem') })).toBe('tls.certificateFile');
    expect(await refusal({ certificateFile: host.folder.path })).toBe('tls.certificateFile');
    const large = host.writePrivate('large.pem', 'x'.repeat(LIMITS.tlsFileBytes + 1));
    expect(await refusal({ certificateFile: large })).toBe('tls.certificateFile');
    expect(await refusal({ keyFile: garbage })).toBe('tls.keyFile');
    expect(await refusal({ keyFile: join(directory, 'ca-key.pem') })).toBe('tls.keyFile');
    expect(await refusal({ clientCaFile: garbage })).toBe('tls.clientCaFile');
    chmodSync(host.path('tls.key'), 0o644);
    expect(await refusal({})).toBe('tls.keyFile');
    chmodSync(host.path('tls.key'), 0o600);
  });

  it('are absolute, and the version is one that is safe', async () => {
    const cases: [string, Record<string, unknown>][] = [
      ['tls.keyFile', { ...paths(), keyFile: 'tls.key' }],
      ['tls.certificateFile', { keyFile: '/tls.key' }],
      ['tls.minVersion', { ...paths(), minVersion: 'TLSv1.1' }],
      ['tls.clientCaFile', { ...paths(), clientCaFile: 1 }],
      ['tls.ciphers', { ...paths(), ciphers: 'ALL' }],
    ];
    for (const [path, tls] of cases) {
      const other = new Harness();
      other.folder = host.folder;
      other.moreConfig = () => ({ tls });
      expect((await expectCode(async () => other.config(), 'config_invalid')).facts.path).toBe(path);
    }
  });
});
