/** The page as a file and over HTTP: it is what its sources build to, and it may not load or send anything. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { buildVerifyPage, VERIFY_PAGE_FILE } from '@quantumvault/host/verify-page/build.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Harness } from './harness.ts';

const page = readFileSync(VERIFY_PAGE_FILE, 'utf8');
const policy = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page)?.[1] ?? '';

test('verify.html is what its sources build to, twice; else: npm run build:verify-page', async () => {
  const [first, second] = [await buildVerifyPage(), await buildVerifyPage()];
  expect(second === first).toBe(true);
  expect(page === first, 'verify.html is stale: npm run build:verify-page').toBe(true);
});

describe('one self-contained file', () => {
  test('refers to nothing outside of itself', () => {
    // Markup and style; what the script might try is the policy's business.
    const markup = page.slice(0, page.indexOf('<script>'));
    expect(markup).not.toMatch(/<(?:link|img|iframe|object|embed|base)\b|\bsrc=|\bhref=|@import|url\(/i);
    expect(page.match(/<script/g)).toHaveLength(1);
  });

  test('allows its own style and script by hash, and nothing else', () => {
    const hashOf = (name: string) => {
      const body = new RegExp(`<${name}>([\\s\\S]*)</${name}>`).exec(page)?.[1] ?? '';
      return `'sha256-${createHash('sha256').update(body).digest('base64')}'`;
    };
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `script-src ${hashOf('script')}`,
      `style-src ${hashOf('style')}`,
      "connect-src 'none'",
      "base-uri 'none'",
      "form-action 'none'",
      "require-trusted-types-for 'script'",
    ]);
  });

  test('names no machine it was built on', () => {
    expect(page.includes(process.cwd())).toBe(false);
  });

  test('its hash does not hang on errors it cannot show', () => {
    expect(page.includes('attestation_signature_invalid')).toBe(true);
    expect(page.includes('store_conflict')).toBe(false);
    expect(page.includes('storeBacklog')).toBe(false);
  });
});

describe('GET /verify', () => {
  let harness: Harness;
  beforeAll(async () => {
    harness = await new Harness().start();
  });
  afterAll(() => harness?.stop());

  test('answers with the file, under its policy', async () => {
    const response = await fetch(`${harness.host.url}/verify`);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(response.headers.get('content-security-policy')).toBe(`${policy}; frame-ancestors 'none'`);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('referrer-policy')).toBe('no-referrer');
    expect((await response.text()) === page).toBe(true);
  });
});
