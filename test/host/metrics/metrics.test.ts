/** What a live host counts: over its own listener, by real requests, through real failures. */
import { readFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { startHost } from '@quantumvault/host/start.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { Refused } from '../../support/fake-enclave.ts';
import { until } from '../../support/temporary.ts';
import { qv, qvJson } from '../cli/call.ts';
import { Harness } from '../harness.ts';
import { asymmetric, keyed } from '../webhooks/sources.ts';
import { parseExposition, type Sample, sampleValue } from './exposition.ts';

const source = keyed();

class MeteredHarness extends Harness {
  override configJson() {
    const keys = [source.address];
    const webhooks = [{ name: 'alpha', kind: 'standard', keys }];
    return { ...super.configJson(), metrics: { host: '127.0.0.1', port: 0 }, webhooks };
  }
}

const host = new MeteredHarness();
beforeAll(async () => {
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
});
afterAll(() => host.stop());

const metricsUrl = (): string => host.host.metricsUrl ?? 'none';

/** Over the admin socket, where nothing is kept. */
async function scrape(): Promise<readonly Sample[]> {
  return parseExposition((await host.admin('metrics', {})).text);
}

/** By how much a sample grew while `work` ran. */
async function growth(
  name: string,
  labels: Readonly<Record<string, string>>,
  work: () => Promise<unknown>,
): Promise<number> {
  const before = sampleValue(await scrape(), name, labels) ?? 0;
  await work();
  return (sampleValue(await scrape(), name, labels) ?? 0) - before;
}

/** The fake enclave asks nobody who signed. */
async function resume(scope: string): Promise<void> {
  const freezeId = (await host.admin('status', {})).freezes.find((freeze) => freeze.scope === scope)?.freezeId;
  const signatures = [{ key: host.owner.address, signature: toBase64(new Uint8Array(64)) }];
  await host.admin('resume', { scope, freezeId: freezeId ?? '', signatures });
}

describe('requests', () => {
  it('are counted by route, status and code', async () => {
    const signed = { route: '/v1/sign', status: '200', code: 'ok' };
    expect(await growth('qv_http_requests_total', signed, () => host.sign())).toBe(1);
    const stale = { route: '/v1/sign', status: '401', code: 'request_stale' };
    expect(await growth('qv_http_requests_total', stale, () => host.sign({ timestamp: 1 }))).toBe(1);
    const unknown = { route: 'none', status: '404', code: 'route_unknown' };
    expect(await growth('qv_http_requests_total', unknown, () => host.get('/secret/path'))).toBe(1);
  });

  it('never make a label of what a caller writes', async () => {
    const marker = 'zzzmarkerzzz';
    await host.get(`/v1/wallets/${marker}?${marker}`);
    await host.get(`/${marker}`);
    await host.sign({ id: marker, body: { [marker]: marker }, headers: { traceparent: marker } });
    expect(await (await fetch(metricsUrl())).text()).not.toContain(marker);
  });

  it('that are no HTTP are counted, too', async () => {
    const labels = { route: 'none', code: 'http_malformed' };
    const grown = await growth('qv_http_requests_total', labels, async () => {
      const { port, hostname } = new URL(host.host.url);
      const socket = createConnection({ port: Number(port), host: hostname });
      socket.end('no http\r\n\r\n');
      await new Promise((resolve) => socket.resume().once('close', resolve));
    });
    expect(grown).toBe(1);
  });

  it('and connections beyond the limit of an address', async () => {
    const narrow = new Harness();
    narrow.connectionLimits = { ...narrow.connectionLimits, perAddress: 1 };
    await narrow.start({ initialise: false });
    const { port, hostname } = new URL(narrow.host.url);
    const sockets = Array.from({ length: 3 }, () => createConnection({ port: Number(port), host: hostname }));
    for (const socket of sockets) socket.on('error', () => undefined);
    try {
      await until('two are refused', async () => {
        const { text } = await narrow.admin('metrics', {});
        return sampleValue(parseExposition(text), 'qv_http_refused_connections_total') === 2;
      });
    } finally {
      for (const socket of sockets) socket.destroy();
      await narrow.stop();
    }
  });

  it('that wait for what is missing have no code', async () => {
    const labels = { route: '/readyz', status: '503', code: 'none' };
    const grown = await growth('qv_http_requests_total', labels, async () => {
      await host.admin('freeze', { scope: 'fleet', reason: 'test' });
      await host.get('/readyz');
    });
    expect(grown).toBe(1);
    await resume('fleet');
    await host.ready();
  });
});

describe('signing', () => {
  it('is timed by stage', async () => {
    const before = await scrape();
    expect((await host.sign()).status).toBe(200);
    const after = await scrape();
    for (const stage of ['row', 'authentication', 'enclave', 'store', 'total']) {
      const count = (samples: readonly Sample[]) => sampleValue(samples, 'qv_sign_stage_seconds_count', { stage }) ?? 0;
      expect(count(after) - count(before), stage).toBe(1);
    }
    const seconds = (stage: string) => sampleValue(after, 'qv_sign_stage_seconds_sum', { stage }) ?? 0;
    expect(seconds('total')).toBeGreaterThanOrEqual(seconds('enclave'));
  });

  it('counts verdicts, and denials by their rule without its position', async () => {
    expect(await growth('qv_verdicts_total', { mode: 'sign', verdict: 'allow' }, () => host.sign())).toBe(1);
    const dryRun = { body: host.signBody({ dryRun: true }) };
    expect(await growth('qv_verdicts_total', { mode: 'dry_run', verdict: 'allow' }, () => host.sign(dryRun))).toBe(1);
    host.enclave.handlers.sign = ({ id }) => {
      const receipt = host.enclave.leaf({ kind: 'denied', requestId: id, rule: 'tokens[7].window', value: '12' });
      throw new Refused({ code: 'policy_denied', path: 'tokens[7].window', value: '12', receipt });
    };
    const rule = { rule: 'tokens[].window' };
    expect(await growth('qv_denials_total', rule, () => host.sign())).toBe(1);
    // A dry run denies nothing to anybody.
    expect(await growth('qv_denials_total', rule, () => host.sign(dryRun))).toBe(0);
    delete host.enclave.handlers.sign;
  });

  it('counts a batch by transaction', async () => {
    const transaction = host.signBody().transaction;
    const body = JSON.stringify({
      purpose: 'qv/sign-batch/v1',
      audience: 'test',
      wallet: host.wallet,
      transactions: [transaction, transaction, transaction],
    });
    const request = host.signRequest({ body });
    const grown = await growth('qv_verdicts_total', { mode: 'batch', verdict: 'allow' }, async () => {
      const response = await host.send('POST', '/v1/sign/batch', request.body, request.headers);
      expect(response.status).toBe(200);
    });
    expect(grown).toBe(3);
  });
});

describe('webhooks, and signals', () => {
  const post = (to: string, id: string, by = source) => {
    const { body, headers } = asymmetric(by, { id });
    return host.send('POST', `/v1/webhooks/${to}`, body, headers);
  };

  it('are counted by source and outcome from zero on', async () => {
    const outcome = (name: string) => ({ source: 'alpha', outcome: name });
    expect(sampleValue(await scrape(), 'qv_webhooks_total', outcome('accepted'))).toBe(0);
    expect(await growth('qv_webhooks_total', outcome('accepted'), () => post('alpha', 'one'))).toBe(1);
    expect(await growth('qv_webhooks_total', outcome('duplicate'), () => post('alpha', 'one'))).toBe(1);
    expect(await growth('qv_webhooks_total', outcome('refused'), () => post('alpha', 'two', keyed()))).toBe(1);
    const unknown = { source: 'unknown', outcome: 'refused' };
    expect(await growth('qv_webhooks_total', unknown, () => post('stranger', 'three'))).toBe(1);
    expect(await (await fetch(metricsUrl())).text()).not.toContain('stranger');
  });
});

describe('what is behind the host', () => {
  it('the enclave: messages by how they end, phase, boot, ages, KMS', async () => {
    const usual = host.enclave.defaultHandler('status');
    host.enclave.handlers.status = async (body) => ({
      ...((await usual(body)) as ReplyOf<'status'>),
      kmsCalls: 41n,
      kmsFailures: 3n,
      attestationAgeSeconds: 77,
      timeAgeSeconds: 8,
      kmsKeys: [
        { keyArn: 'arn:one', use: 'current', calls: 40n, failures: 3n, isAvoided: true },
        { keyArn: 'arn:two', use: 'second', calls: 1n, failures: 0n, isAvoided: false },
      ],
    });
    await until('the host has asked', async () => sampleValue(await scrape(), 'qv_kms_calls_total') === 41);
    const samples = await scrape();
    expect(sampleValue(samples, 'qv_kms_failures_total')).toBe(3);
    const [one, two] = [
      { key: 'arn:one', use: 'current' },
      { key: 'arn:two', use: 'second' },
    ];
    const ofKey = (name: string, key: Record<string, string>) => sampleValue(samples, `qv_kms_key_${name}`, key);
    expect([ofKey('calls_total', one), ofKey('failures_total', one), ofKey('avoided', one)]).toEqual([40, 3, 1]);
    expect([ofKey('calls_total', two), ofKey('failures_total', two), ofKey('avoided', two)]).toEqual([1, 0, 0]);
    expect(sampleValue(samples, 'qv_enclave_attestation_age_seconds')).toBe(77);
    expect(sampleValue(samples, 'qv_enclave_time_age_seconds')).toBe(8);
    expect(sampleValue(samples, 'qv_enclave_up')).toBe(1);
    expect(sampleValue(samples, 'qv_enclave_phase', { phase: 'serving' })).toBe(1);
    expect(sampleValue(samples, 'qv_enclave_phase')).toBe(1);
    expect(sampleValue(samples, 'qv_enclave_info', { boot: host.enclave.boot })).toBe(1);
    expect(sampleValue(samples, 'qv_enclave_requests_total', { message: 'sign', code: 'ok' })).toBeGreaterThan(0);
    delete host.enclave.handlers.status;

    host.enclave.handlers.sign = () => {
      throw new QvError('kms_unavailable');
    };
    const failed = { message: 'sign', code: 'kms_unavailable' };
    expect(await growth('qv_enclave_requests_total', failed, () => host.sign())).toBe(1);
    delete host.enclave.handlers.sign;
  });

  it('an enclave that is gone, and one that came in its place', async () => {
    const first = host.enclave.boot;
    host.enclave.reboot();
    await until('the new boot is seen', async () => {
      const samples = await scrape();
      return sampleValue(samples, 'qv_enclave_info', { boot: host.enclave.boot }) === 1;
    });
    expect(sampleValue(await scrape(), 'qv_enclave_info', { boot: first })).toBeUndefined();
    expect(sampleValue(await scrape(), 'qv_enclave_connections_total')).toBeGreaterThan(1);
    await host.ready();
  });

  it('freezes by what they freeze', async () => {
    expect(sampleValue(await scrape(), 'qv_freezes', { scope: 'requester' })).toBe(0);
    const { address } = host.requester;
    await host.admin('freeze', { scope: `requester:${address}`, reason: 'test' });
    expect(sampleValue(await scrape(), 'qv_freezes', { scope: 'requester' })).toBe(1);
    expect(sampleValue(await scrape(), 'qv_freezes', { scope: 'fleet' })).toBe(0);
    await resume(`requester:${address}`);
    expect(sampleValue(await scrape(), 'qv_freezes', { scope: 'requester' })).toBe(0);
  });

  it('the database: operations, failures, what waits for it', async () => {
    expect(await growth('qv_store_seconds_count', { kind: 'write' }, () => host.sign())).toBeGreaterThan(0);
    const isWritten = async () => sampleValue(await scrape(), 'qv_store_backlog') === 0;
    await until('it is written', isWritten);
    const unlock = host.lockDatabase();
    try {
      const grown = await growth('qv_store_failures_total', { code: 'store_unavailable' }, async () => {
        await expectProblem(await host.sign(), 'store_unavailable');
      });
      expect(grown).toBeGreaterThan(0);
      // The host's own records may wait as well.
      expect(sampleValue(await scrape(), 'qv_store_backlog')).toBeGreaterThanOrEqual(1);
      // It reads.
      expect(sampleValue(await scrape(), 'qv_store_up')).toBe(1);
    } finally {
      unlock();
    }
    await until('it is written', isWritten);
  });

  it('credentials, and what of the log is published', async () => {
    const samples = await scrape();
    expect(sampleValue(samples, 'qv_credentials_valid')).toBe(1);
    expect(sampleValue(samples, 'qv_credentials_refreshes_total')).toBe(1);
    // The harness's name no time.
    expect(sampleValue(samples, 'qv_credentials_expiry_timestamp_seconds')).toBeNaN();
    await until('all is published', async () => sampleValue(await scrape(), 'qv_log_unpublished_leaves') === 0);
    expect(sampleValue(await scrape(), 'qv_log_leaves_total')).toBeGreaterThan(0);
  });

  it('the tunnel: connections, and those that do not reach KMS', async () => {
    const socket = createConnection(host.path('tunnel.sock'));
    socket.resume().on('error', () => undefined);
    const failed = { outcome: 'failed' };
    await until('it fails', async () => {
      return sampleValue(await scrape(), 'qv_kms_tunnel_connections_total', failed) === 1;
    });
    socket.destroy();
    await until('it is closed', async () => sampleValue(await scrape(), 'qv_kms_tunnel_open') === 0);
  });

  it('the process', async () => {
    const samples = await scrape();
    expect(sampleValue(samples, 'process_resident_memory_bytes')).toBeGreaterThan(1e6);
    expect(sampleValue(samples, 'nodejs_eventloop_lag_p99_seconds')).toBeGreaterThanOrEqual(0);
    expect(sampleValue(samples, 'qv_host_info', { deployment: 'test' })).toBe(1);
  });
});

it('what is served is what is documented, with its labels', async () => {
  const page = readFileSync(new URL('../../../host/src/metrics/README.md', import.meta.url), 'utf8');
  const documented = [...page.matchAll(/^\| `(qv_[a-z_]+)` +\| ([a-z, ]*?) *\|/gm)].map(
    ([, name = '', labels = '']) => ({
      name,
      labels: labels
        .split(', ')
        .filter((label) => label !== '')
        .toSorted(),
    }),
  );
  const served = new Map<string, readonly string[]>();
  // Only where wallets are named, see budgets.test.ts.
  const budget = ['rule', 'wallet'];
  for (const name of ['qv_budget_limit', 'qv_budget_remaining']) served.set(name, budget);
  for (const { name, labels } of await scrape()) {
    if (!name.startsWith('qv_') || /_(?:sum|count)$/.test(name)) continue;
    const { le: _, ...rest } = labels;
    served.set(name.replace(/_bucket$/, ''), Object.keys(rest).toSorted());
  }
  expect(documented.length).toBeGreaterThan(30);
  expect(Object.fromEntries(documented.map(({ name, labels }) => [name, labels]))).toEqual(Object.fromEntries(served));
});

describe('the listener', () => {
  it('answers GET /metrics and nothing else', async () => {
    const { origin } = new URL(metricsUrl());
    await expectProblem(await fetch(`${origin}/`), 'route_unknown');
    await expectProblem(await fetch(`${origin}/v1/sign`, { method: 'POST', body: 'x' }), 'route_unknown');
    await expectProblem(await fetch(metricsUrl(), { method: 'POST', body: 'x' }), 'route_unknown');
    expect((await fetch(`${metricsUrl()}?debug=1`)).status).toBe(200);
  });

  it('is not on the public port, and nowhere by default', async () => {
    await expectProblem(await host.get('/metrics'), 'route_unknown');
    const plain = await new Harness().start();
    try {
      expect(plain.host.metricsUrl).toBeUndefined();
      await expectProblem(await plain.get('/metrics'), 'route_unknown');
      // The admin socket has the same text.
      const { text } = await plain.admin('metrics', {});
      expect(sampleValue(parseExposition(text), 'qv_enclave_up')).toBe(1);
    } finally {
      await plain.stop();
    }
  });

  it('answers Prometheus, and many at once with one text', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, () => fetch(metricsUrl())));
    for (const { status, headers } of answers) {
      expect(status).toBe(200);
      expect(headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
      expect(headers.get('cache-control')).toBe('no-store');
    }
    const texts = new Set(await Promise.all(answers.map((response) => response.text())));
    const [text = ''] = texts;
    expect(texts.size).toBe(1);
    expect(sampleValue(parseExposition(text), 'qv_enclave_up')).toBe(1);
  });

  it('has something newer to say soon after', async () => {
    const served = async () =>
      sampleValue(parseExposition(await (await fetch(metricsUrl())).text()), 'qv_verdicts_total');
    const before = (await served()) ?? 0;
    await host.sign();
    await until('it counts', async () => (await served()) === before + 1);
  });

  it('is printed by qv', async () => {
    const called = await qv('metrics', '--admin', host.path('admin.sock'));
    expect(called.exit).toBe(0);
    expect(sampleValue(parseExposition(called.stdout), 'qv_enclave_up')).toBe(1);
    const { metrics } = await qvJson('metrics', '--admin', host.path('admin.sock'));
    expect(sampleValue(parseExposition(String(metrics)), 'qv_enclave_up')).toBe(1);
    expect((await qvJson('metrics', '--admin', host.path('nobody.sock'))).error?.code).toBe('host_unavailable');
  });

  it('an address that is taken stops the start, by name', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => taken.once('listening', resolve));
    const { port } = taken.address() as { port: number };
    const json = {
      ...host.configJson(),
      metrics: { host: '127.0.0.1', port },
      adminSocket: { path: host.path('admin-2.sock') },
      store: { sqlite: host.path('second.db') },
      kmsTunnel: { listen: `unix:${host.path('tunnel-2.sock')}`, endpoint: '127.0.0.1:1' },
    };
    const log = createLog('silent');
    const start = () => startHost(parseHostConfig(utf8(JSON.stringify(json))), { transport: unixTransport, log });
    const error = await expectCode(start, 'config_invalid');
    expect(error.facts).toMatchObject({ path: 'metrics', value: 'EADDRINUSE' });
    await new Promise((resolve) => taken.close(resolve));
  });

  it.each([
    ['a port alone', 9464],
    ['no port', { host: '127.0.0.1' }],
    ['a port out of range', { host: '127.0.0.1', port: 70_000 }],
    ['no host', { host: '', port: 9464 }],
    ['budgets of no wallets', { host: '127.0.0.1', port: 9464, budgets: 'all' }],
    ['budgets of something else', { host: '127.0.0.1', port: 9464, budgets: [7] }],
    ['budgets of no address', { host: '127.0.0.1', port: 9464, budgets: ['main'] }],
    ['one wallet twice', { host: '127.0.0.1', port: 9464, budgets: ['1'.repeat(32), '1'.repeat(32)] }],
    ['an unknown key', { host: '127.0.0.1', port: 9464, path: '/metrics' }],
  ])('%s in the configuration is refused by name', async (_, metrics) => {
    const json = JSON.stringify({ ...host.configJson(), metrics });
    const error = await expectCode(() => parseHostConfig(utf8(json)), 'config_invalid');
    expect(error.facts.path).toMatch(/^metrics/);
  });
});
