/** The status page of a live host, as text and in a real Chromium. */
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { silentLog } from '@quantumvault/host/log.ts';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import { gatherFacts } from '@quantumvault/host/ops-page/facts.ts';
import { html } from '@quantumvault/host/ops-page/html.ts';
import { niceAbove, pathOf } from '@quantumvault/host/ops-page/plot.ts';
import { quantile, Samples } from '@quantumvault/host/ops-page/samples.ts';
import { startHost } from '@quantumvault/host/start.ts';
import { bootIdOf, type Signature, timeMs } from '@quantumvault/shared/brands.ts';
import { encodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatNote, parseNote } from '@quantumvault/shared/tlog/note.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { Chromium, type View } from '../../support/chromium.ts';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { FakeEnclave, Refused } from '../../support/fake-enclave.ts';
import { requireProgram } from '../../support/requires.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { production } from '../cli/documents.ts';
import { Harness } from '../harness.ts';

const host = new Harness();
const url = (): string => host.host.opsPageUrl ?? 'none';
const HOSTILE = '<script>alert(1)</script>&"\'';

beforeAll(async () => {
  host.moreConfig = () => ({ opsPage: { host: '127.0.0.1', port: 0 } });
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
  host.enclave.handlers.sign = () => {
    const receipt = host.enclave.leaf({ kind: 'denied', rule: 'sol.window', value: '9' });
    throw new Refused({ code: 'policy_denied', path: 'sol.destinations', value: HOSTILE, receipt });
  };
  await expectProblem(await host.sign(), 'policy_denied');
  delete host.enclave.handlers.sign;
});
afterAll(() => host.stop());

function ask(method: string, path: string, hostName?: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const asked = request(url() + path.slice(1), { method, headers: hostName === undefined ? {} : { host: hostName } });
    asked.on('response', (response) =>
      text(response).then((body) => resolve({ status: response.statusCode ?? 0, body }), reject),
    );
    asked.on('error', reject).end();
  });
}

describe('the page', () => {
  it('says how the host is, and what was denied, with nothing to run or to fetch', async () => {
    const response = await fetch(url());
    const page = await response.text();
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    const policy = response.headers.get('content-security-policy') ?? '';
    const style = /<style>([\s\S]*)<\/style>/.exec(page)?.[1] ?? '';
    const hash = createHash('sha256').update(style).digest('base64');
    expect(policy).toBe(
      `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
    );
    expect(page).not.toMatch(/<script|<link|<img|<form|<iframe| on[a-z]+=| style=| src=|javascript:/i);
    expect(page).toContain('sol.destinations');
    expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;');
    expect(page).toContain(host.wallet);
    expect(page).toContain('✓ Signing');
    expect(page).toContain(host.enclave.boot);
    expect(page).toContain('not readable');
    for (const secret of ['hidden-key', 'AKIA']) expect(page).not.toContain(secret);
  });

  it('says why nothing is signed', async () => {
    const scope = `requester:${host.requester.address}`;
    await host.admin('freeze', { scope, reason: HOSTILE.replaceAll(/[<>]/g, '') });
    expect(await (await fetch(url())).text()).toContain(scope);
    host.enclave.phase = 'frozen';
    await until('the host knows', async () => (await ask('GET', '/')).body.includes('✗ Not signing'));
    host.enclave.phase = 'serving';
    host.enclave.freezes.delete('fleet');
  });

  it('is asked for by GET, HEAD and local names alone, and is the only one', async () => {
    expect(await ask('HEAD', '/')).toEqual({ status: 200, body: '' });
    expect((await ask('GET', '/?x=1')).status).toBe(200);
    expect((await ask('POST', '/')).status).toBe(405);
    for (const path of ['/metrics', '/v1/wallets', '//']) expect((await ask('GET', path)).status).toBe(404);
    for (const name of ['localhost:81', '127.0.0.1', '[::1]:9']) expect((await ask('GET', '/', name)).status).toBe(200);
    for (const name of ['evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', '127.0.0.1:81:9'])
      expect((await ask('GET', '/', name)).status).toBe(403);
  });
});

test('it shows PCRs of a genuine document, and which witnesses have cosigned', async () => {
  const boot = bootIdOf(new Uint8Array(32).fill(3));
  const attestation = production.vector.bytes;
  const leaf = encodeLeaf({ boot, sequence: 0n, time: timeMs(1_790_000_000_000), kind: 'boot', attestation });
  const enclave = new FakeEnclave();
  const note = parseNote(enclave.checkpoint());
  const signature = { name: 'w1.example', keyId: 1, signature: new Uint8Array(72) };
  const checkpoint = formatNote({ ...note, signatures: [...note.signatures, signature] });
  const now = timeMs(1_790_000_001_000);
  const facts = await gatherFacts(
    {
      deployment: 'test',
      session: {
        status: { boot, witnessThreshold: 1 } as never,
        serving: true,
        hasRowKey: true,
        requireBoot: () => ({ id: boot, record: { leaf, signature: new Uint8Array(64) as Signature } }),
      },
      freezes: { held: [] },
      records: { backlog: LIMITS.storeBacklog },
      publisher: { published: { boot, size: 7n, checkpoint } },
      credentials: { current: undefined, fault: 'config_invalid', close: () => undefined },
      incidents: { denials: [] },
      store: { ping: () => Promise.reject(new Error('down')) },
      witnesses: ['w1.example', 'w2.example'],
      now: () => now,
      draining: () => true,
    },
    { all: [] },
  );
  expect(new Map(facts.pcrs).get(0)).toBe(production.pcr0);
  expect(facts.pcrs.map(([index]) => index)).toEqual([0, 1, 2, 3, 4, 8]);
  expect(facts.witnesses).toEqual([
    ['w1.example', true],
    ['w2.example', false],
  ]);
  expect(facts).toMatchObject({ isSigning: false, published: 7n, credentials: 'missing, newer ones: config_invalid' });
  expect(facts.missing).toEqual([
    'the host is stopping',
    'credentials are missing',
    'the database does not answer',
    'too many decisions wait for the database',
  ]);
});

test('its address is a loopback one, and free', async () => {
  const other = new Harness();
  other.folder = await temporaryFolder();
  for (const name of ['0.0.0.0', '::', 'localhost', '10.0.0.1', '127.0.0.1.evil.example']) {
    other.moreConfig = () => ({ opsPage: { host: name, port: 0 } });
    expect((await expectCode(async () => other.config(), 'config_invalid')).facts.path).toBe('opsPage.host');
  }
  other.writePrivate('credentials.json', JSON.stringify({ accessKeyId: 'AKIA', secretAccessKey: 'x' }));
  other.moreConfig = () => ({ opsPage: { host: '127.0.0.1', port: Number(new URL(url()).port) } });
  const start = startHost(other.config(), { transport: unixTransport, log: silentLog as never });
  expect((await expectCode(start, 'config_invalid')).facts).toEqual({ path: 'opsPage', value: 'EADDRINUSE' });
  await other.folder.remove();
});

describe('what it plots', () => {
  it('are rates and latencies since the sample before, as many as fit', async () => {
    const metrics = new HostMetrics();
    const samples = new Samples(metrics, 1_000_000);
    await samples.take();
    expect(samples.all).toEqual([]);
    metrics.verdict('sign', 'allow');
    metrics.verdict('batch', 'deny', 'sol.window');
    metrics.verdict('dry_run', 'deny', 'sol.window');
    for (const seconds of [0.02, 0.02, 0.02, 0.3]) metrics.stageSeconds('total', seconds);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await samples.take();
    const [first] = samples.all;
    expect(first?.allowedPerMinute).toBeGreaterThan(0);
    expect(first?.deniedPerMinute).toBe(first?.allowedPerMinute);
    expect(first?.medianMilliseconds).toBeGreaterThan(10);
    expect(first?.medianMilliseconds).toBeLessThanOrEqual(25);
    expect(first?.slowMilliseconds).toBeGreaterThan(250);
    for (let count = 0; count < LIMITS.opsSamples + 2; count++) await samples.take();
    expect(samples.all.length).toBe(LIMITS.opsSamples);
    expect(samples.all.at(-1)).toMatchObject({ allowedPerMinute: 0, medianMilliseconds: undefined });
    samples.close();
  });

  it('follow the buckets of a histogram', () => {
    const infinite = Number.POSITIVE_INFINITY;
    expect(
      quantile(
        [
          [1, 0],
          [infinite, 0],
        ],
        0.5,
      ),
    ).toBeUndefined();
    expect(
      quantile(
        [
          [1, 10],
          [2, 10],
          [infinite, 10],
        ],
        0.5,
      ),
    ).toBe(500);
    expect(
      quantile(
        [
          [1, 0],
          [2, 4],
          [infinite, 4],
        ],
        0.25,
      ),
    ).toBe(1250);
    expect(
      quantile(
        [
          [1, 1],
          [infinite, 9],
        ],
        0.95,
      ),
    ).toBe(1000);
  });

  it('stand at the right, leave gaps and keep inside of a round scale', () => {
    expect(pathOf([0, 5, undefined, 10], 4, 10)).toBe('M0.0 119.0h0.5L200.0 60.0M600.0 1.0h0.5');
    expect(pathOf([5], 4, 10)).toBe('M600.0 60.0h0.5');
    expect([0, 1, 1.5, 3, 7, 10, 11, 499].map(niceAbove)).toEqual([1, 1, 2, 5, 10, 10, 20, 500]);
  });

  it('are written by a template that escapes every hole', () => {
    expect(html`<b>${HOSTILE}</b>${[html`${1}`, html`&amp;`]}`.text).toBe(
      '<b>&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;</b>1&amp;',
    );
  });
});

const program = requireProgram('chromium');
const VIEWS: readonly View[] = [
  { width: 1024, height: 900, scheme: 'light' },
  { width: 360, height: 740, scheme: 'dark' },
];

describe.skipIf(program === undefined)('in Chromium', () => {
  let browser: Chromium;
  beforeAll(() => {
    browser = new Chromium(program ?? '');
  });
  afterAll(() => browser?.close());

  it.each(VIEWS)('is styled, fits $width px, asks for nothing else and breaks no policy', async (view) => {
    for (const _ of [1, 2, 3]) await host.sign();
    const page = await browser.open(url(), view);
    expect(await page.text('h1')).toBe('test');
    expect(await page.text('#verdict')).toMatch(/^[✓✗] /);
    expect(await page.text('#denials')).toContain(HOSTILE);
    expect(await page.evaluate('document.querySelectorAll("svg path.line").length')).toBe(4);
    // The style sheet was let in by its hash.
    expect(await page.evaluate('getComputedStyle(document.querySelector("dl div")).display')).toBe('grid');
    const dark = view.scheme === 'dark';
    const paper = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(paper).toBe(dark ? 'rgb(20, 22, 26)' : 'rgb(251, 251, 250)');
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    expect(await page.evaluate('document.scripts.length')).toBe(0);
    if (process.env['QV_SCREENSHOTS'] !== undefined)
      await page.screenshot(`${process.env['QV_SCREENSHOTS']}/ops-${view.width}.png`);
    expect(new Set(page.requests)).toEqual(new Set([url()]));
    expect(page.problems).toEqual([]);
  });
});
