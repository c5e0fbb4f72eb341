/** The reference page: it loads nothing, runs nothing, and leads nowhere that is not there. */
import { createHash } from 'node:crypto';
import { openApiDocument } from '@quantumvault/host/openapi/document.ts';
import { referencePage } from '@quantumvault/host/openapi/page.ts';
import { prose } from '@quantumvault/host/openapi/page-schema.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Chromium, type View } from '../../support/chromium.ts';
import { requireProgram } from '../../support/requires.ts';
import { Harness } from '../harness.ts';

const document = openApiDocument();
const { html, policy } = referencePage(document);

it('is one page without scripts that refers to nothing outside of it but the document', () => {
  expect(html).not.toMatch(
    /<(?:script|link|img|iframe|object|embed|base|form)\b|\bsrc=|\bon[a-z]+=|\sstyle=|@import|url\(/i,
  );
  const targets = [...html.matchAll(/href="([^"]+)"/g)].map((match) => match[1] ?? '');
  const ids = new Set([...html.matchAll(/\bid="([^"]+)"/g)].map((match) => match[1] ?? ''));
  expect(targets.length).toBeGreaterThan(100);
  const lost = targets.filter((target) => target !== '/v1/openapi.json' && !ids.has(target.replace(/^#/, '')));
  expect(lost).toEqual([]);
});

it('is allowed its own style by hash, and nothing else', () => {
  const style = /<style>([\s\S]*)<\/style>/.exec(html)?.[1] ?? '';
  expect(policy.split('; ')).toEqual([
    "default-src 'none'",
    `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ]);
});

it('shows every operation, schema, header field and error', () => {
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, { operationId, summary }] of Object.entries(methods)) {
      expect(html).toContain(`id="${operationId}"`);
      expect(html).toContain(`<span class="method">${method.toUpperCase()}</span> <code>${path}</code>`);
      expect(html).toContain(summary);
    }
  for (const name of Object.keys(document.components.schemas)) expect(html).toContain(`id="schema-${name}"`);
  for (const name of Object.keys(document.components.headers)) expect(html).toContain(`<code>${name}</code>`);
  for (const code of Object.keys(ERRORS)) expect(html).toContain(`id="error-${code}"`);
});

it('writes text as text', () => {
  expect(prose('<b>&"`<i>`\n\n- one\n- `two`')).toBe(
    '<p>&lt;b&gt;&amp;&quot;<code>&lt;i&gt;</code></p><ul><li>one</li><li><code>two</code></li></ul>',
  );
});

const program = requireProgram('chromium');
const VIEWS: readonly View[] = [
  { width: 1280, height: 900, scheme: 'light' },
  { width: 390, height: 800, scheme: 'dark' },
];

describe.skipIf(program === undefined)('in Chromium', () => {
  const host = new Harness();
  let browser: Chromium;
  beforeAll(async () => {
    browser = new Chromium(program ?? '');
    await host.start({ initialise: false, enclave: false });
  });
  afterAll(async () => {
    browser?.close();
    await host.stop();
  });

  it.each(VIEWS)('is styled, fits $width px, asks for nothing else and breaks no policy', async (view) => {
    const url = `${host.host.url}/docs`;
    const page = await browser.open(url, view);
    expect(await page.text('h1')).toBe('QuantumVault Signer: HTTP reference');
    // The style sheet was let in by its hash.
    const paper = await page.evaluate('getComputedStyle(document.body).backgroundColor');
    expect(paper).toBe(view.scheme === 'dark' ? 'rgb(20, 22, 26)' : 'rgb(251, 251, 250)');
    expect(await page.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true);
    expect(await page.evaluate('document.scripts.length')).toBe(0);
    expect(await page.evaluate('document.querySelectorAll("section.operation").length')).toBe(
      // And the alerts.
      Object.values(document.paths).flatMap((methods) => Object.keys(methods)).length + 1,
    );
    if (process.env['QV_SCREENSHOTS'] !== undefined)
      await page.screenshot(`${process.env['QV_SCREENSHOTS']}/docs-${view.width}.png`);
    expect(new Set(page.requests)).toEqual(new Set([url]));
    expect(page.problems).toEqual([]);
  });
});
