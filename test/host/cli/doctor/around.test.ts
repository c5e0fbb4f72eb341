/** qv doctor: witnesses, metrics, the status page, proxies. */
import { formatVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { describe, expect, test } from 'vitest';
import { FakeEnclave } from '../../../support/fake-enclave.ts';
import { closedPort, harness, of, patient, says, serve } from './patient.ts';

patient();

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
