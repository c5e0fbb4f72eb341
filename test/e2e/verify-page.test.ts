/** The page in a real Chromium, as a saved file and from the host: verdicts, no network, light, dark and small. */
import { once } from 'node:events';
import { mkdirSync, statSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { STEPS } from '@quantumvault/shared/attestation/checklist.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { debug, file, measurements, mutated, negativeDocument, production } from '../host/cli/documents.ts';
import { Harness } from '../host/harness.ts';
import { syntheticCase } from '../shared/attestation/expect.ts';
import { DESKTOP, expectQuiet, PHONE, program, SavedPage, verdictAfter, verify } from './verify-page-kit.ts';

describe.skipIf(program === undefined)('in Chromium', () => {
  const chromium = new SavedPage();

  test('a genuine document passes, with the checklist of the library', async () => {
    const [page, verdict] = await chromium.answered(production.path, JSON.stringify(measurements(production)));
    expect(verdict).toMatch(/^✓ Verified: every check passes/);
    expect(verdict).toContain('authenticity, not recency');
    const titles = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.steps .title')].map((title) => title.lastChild.textContent)`,
    );
    expect(titles).toEqual(Object.values(STEPS));
    expect(await page.text('#details')).toContain('Read as raw COSE, 4526 bytes');
    await page.evaluate(`document.querySelector('#contents').open = true`);
    const contents = await page.text('#contents');
    expect(contents).toContain('No verdict');
    expect(contents).toContain(production.vector.sidecar.module_id);
    expect(contents).toContain(production.pcr0);
    expect(contents).toContain('CN=aws.nitro-enclaves');
    expectQuiet(page, chromium.saved);
  });

  test('pasted base64 and hex, and PCR0 alone', async () => {
    for (const text of [toBase64(production.vector.bytes), toHex(production.vector.bytes)]) {
      const page = await chromium.open();
      await page.type('#pasted', text);
      await page.type('#pcrs', production.pcr0);
      expect(await verify(page)).toMatch(/^✓ Verified/);
      expectQuiet(page, chromium.saved);
    }
  });

  test('a dropped document', async () => {
    const page = await chromium.open();
    await page.dropFile(production.path, 200, 300);
    expect(await page.text('#chosen')).toContain('54ae0f97.bin, 4526 bytes');
    await page.type('#pcrs', production.pcr0);
    expect(await verify(page)).toMatch(/^✓ Verified/);
    expectQuiet(page, chromium.saved);
  });

  test('a tampered document fails, and the step says so', async () => {
    const [page, verdict] = await chromium.answered(negativeDocument('definite-payload-bitflip'), mutated.pcr0);
    expect(verdict).toMatch(/^✗ Not verified/);
    expect(verdict).toContain('attestation_signature_invalid');
    expect(await page.text('.steps .fail')).toContain(STEPS.signature);
    expectQuiet(page, chromium.saved);
  });

  test('bytes that are no document: the rest is not reached, and there are no contents', async () => {
    const [page, verdict] = await chromium.answered(negativeDocument('definite-trailing-byte'), mutated.pcr0);
    expect(verdict).toContain('attestation_envelope_malformed');
    expect(await page.evaluate(`document.querySelectorAll('.not-reached').length`)).toBe(19);
    expect(await page.evaluate(`document.querySelector('#contents') === null`)).toBe(true);
  });

  test('another image fails', async () => {
    const [, verdict] = await chromium.answered(production.path, 'ab'.repeat(48));
    expect(verdict).toContain('attestation_pcrs_not_allowed');
  });

  test('a debug document fails, unless allowed, which is said loudly', async () => {
    const [page, verdict] = await chromium.answered(debug.path, debug.pcr0);
    expect(verdict).toContain('attestation_debug_enclave');
    await page.evaluate(`document.querySelector('#debug').click()`);
    const allowed = await verify(page);
    expect(allowed).toMatch(/^✓ Verified/);
    expect(allowed).toContain('UNSAFE: debug enclaves are accepted');
    expectQuiet(page, chromium.saved);
  });

  test('a nonce is compared', async () => {
    const [page] = await chromium.answered(debug.path, debug.pcr0);
    await page.type('#nonce', '00'.repeat(16));
    await verify(page);
    const steps = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.steps .fail .title')].map((title) => title.lastChild.textContent)`,
    );
    expect(steps).toEqual([STEPS.nonce, STEPS.debug]);
  });

  test('another root counts only when given, and that is said loudly', async () => {
    const { bytes, expected } = await syntheticCase();
    const [page, verdict] = await chromium.answered(file('other', bytes), '10'.repeat(48));
    expect(verdict).toContain('attestation_root_untrusted');
    const der = toBase64(expected.unsafeTrustedRootDer ?? bytes).replace(/.{64}/g, '$&\n');
    await page.type('#root', `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`);
    const allowed = await verify(page);
    expect(allowed).toMatch(/^✓ Verified/);
    expect(allowed).toContain('UNSAFE: not AWS’s root');
    expectQuiet(page, chromium.saved);
  });

  test.each([
    ['#pcrs', '', 'attestation_expectations_invalid'],
    ['#pcrs', '{"PCR0": "zz"}', 'attestation_pcr_set_malformed'],
    ['#pcrs', '{', 'json_malformed'],
    ['#pcrs', 'zz', 'hex_malformed'],
    ['#nonce', 'zz', 'hex_malformed'],
    ['#root', 'no certificate', 'attestation_certificate_malformed'],
    ['#pasted', 'no document', 'attestation_encoding_unknown'],
  ])('%s: "%s" is unusable, no verdict', async (field, text, code) => {
    const page = await chromium.open();
    if (field !== '#pasted') await page.type('#pasted', toBase64(production.vector.bytes));
    if (field !== '#pcrs') await page.type('#pcrs', production.pcr0);
    await page.type(field, text);
    const verdict = await verify(page);
    expect(verdict).toMatch(/^No verdict/);
    expect(verdict).toContain(code);
    expect(await page.text('#details')).toBe('');
  });

  test('a huge file is refused unread', async () => {
    const [, verdict] = await chromium.answered(file('huge', new Uint8Array(300 * 1024)), production.pcr0);
    expect(verdict).toContain('body_too_large');
  });

  test('only showing needs no measurements, and gives no verdict', async () => {
    const page = await chromium.open();
    await page.chooseFile('#file', negativeDocument('definite-payload-bitflip'));
    const verdict = await verdictAfter(page, () => page.evaluate(`document.querySelector('#inspect').click()`));
    expect(verdict).toMatch(/^No verdict/);
    expect(await page.text('#contents')).toContain('digitalSignature');
    expect(await page.evaluate(`document.querySelector('.steps') === null`)).toBe(true);
  });

  test('a document’s text stays text', async () => {
    const name = '<img src=x onerror=alert(1)>';
    const { bytes } = await syntheticCase({
      fields: (fields) => fields.set('module_id', Uint8Array.of(0x78, name.length, ...Buffer.from(name))),
    });
    const [page] = await chromium.answered(file('markup', bytes), '10'.repeat(48));
    expect(await page.evaluate(`document.querySelector('#contents').textContent.includes('<img src=x')`)).toBe(true);
    expect(await page.evaluate(`document.images.length`)).toBe(0);
    expectQuiet(page, chromium.saved);
  });

  test('the keyboard alone is enough, and the answer is announced', async () => {
    const page = await chromium.open();
    const focused = (): Promise<string> => page.evaluate('document.activeElement.id || document.activeElement.tagName');
    const order: string[] = [];
    for (let count = 0; count < 6; count++) {
      await page.press('Tab');
      order.push(await focused());
    }
    expect(order).toEqual(['file', 'pasted', 'pcrs', 'SUMMARY', 'verify', 'inspect']);
    await page.type('#pasted', toBase64(production.vector.bytes));
    await page.type('#pcrs', production.pcr0);
    await page.evaluate(`document.querySelector('#verify').focus()`);
    expect(await verdictAfter(page, () => page.press('Enter'))).toMatch(/^✓ Verified/);
    expect(await focused()).toBe('result');
    const live = `[document.querySelector('#verdict').role, document.querySelector('#verdict').ariaLive]`;
    expect(await page.evaluate(live)).toEqual(['status', 'polite']);
  });

  describe.each(['light', 'dark'] as const)('%s', (scheme) => {
    test.each([1024, 430, 360, 320])('%i px wide: nothing sticks out', async (width) => {
      // QV_SCREENSHOTS keeps the pictures for people to look at.
      const shots = process.env['QV_SCREENSHOTS'] ?? chromium.folder.path;
      mkdirSync(shots, { recursive: true });
      const view = { ...PHONE, width, scheme };
      const overflow = `document.documentElement.scrollWidth - document.documentElement.clientWidth`;
      const cases = [
        ['good', production.path, JSON.stringify(measurements(production))],
        ['debug', debug.path, debug.pcr0],
      ] as const;
      for (const [name, path, pcrs] of cases) {
        const [page] = await chromium.answered(path, pcrs, view);
        await page.evaluate(`for (const box of document.querySelectorAll('details')) box.open = true`);
        expect(await page.evaluate(overflow)).toBe(0);
        const shot = join(shots, `${name}-${scheme}-${width}.png`);
        await page.screenshot(shot);
        expect(statSync(shot).size).toBeGreaterThan(10_000);
      }
    });

    test('text stands out from what is behind it', async () => {
      const [page] = await chromium.answered(debug.path, debug.pcr0, { ...DESKTOP, scheme });
      const worst = await page.evaluate<{ ratio: number; text: string }>(WORST_CONTRAST);
      expect(worst.ratio, worst.text).toBeGreaterThanOrEqual(4.5);
    });
  });

  describe('from the host', () => {
    let harness: Harness;
    beforeAll(async () => {
      harness = await new Harness().start();
    });
    afterAll(() => harness?.stop());

    test('the same page, asking for nothing else', async () => {
      const address = `${harness.host.url}/verify`;
      const page = await chromium.browser.open(address, DESKTOP);
      await page.chooseFile('#file', production.path);
      await page.type('#pcrs', production.pcr0);
      expect(await verify(page)).toMatch(/^✓ Verified/);
      expectQuiet(page, address);
    });

    test('over plain HTTP from elsewhere it says that it cannot verify', async () => {
      const address = `${harness.host.url.replace('127.0.0.1', 'plain.test')}/verify`;
      const page = await chromium.browser.open(address, DESKTOP);
      expect(await page.text('#insecure')).toContain('plain HTTP');
      expect(await page.evaluate(`document.querySelector('#verify').disabled`)).toBe(true);
    });
  });

  test('the policy lets nothing out, even if the page’s code tried', async () => {
    let connections = 0;
    const server = createServer((socket) => {
      connections++;
      socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const page = await chromium.open();
    const outcomes = await page.evaluate(`Promise.allSettled([
      fetch('http://${at}/'),
      new Promise((done, fail) => { const image = new Image(); image.onerror = fail; image.src = 'http://${at}/'; }),
      new Promise((done, fail) => { new WebSocket('ws://${at}/').onerror = fail; }),
      new Promise((done, fail) => { navigator.sendBeacon('http://${at}/'); setTimeout(fail, 200); }),
      import('http://${at}/'),
    ]).then((all) => all.map(({ status }) => status))`);
    expect(outcomes).toEqual(Array(5).fill('rejected'));
    expect(page.problems.join()).toContain('Content Security Policy');
    server.close();
    expect(connections).toBe(0);
  });
});

/** WCAG 2 contrast of each text with the nearest background behind it; the worst of all. */
const WORST_CONTRAST = `(() => {
  const channels = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = channels(color).map((value) => {
      const c = value / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  let worst = { ratio: 21, text: '' };
  for (const element of document.querySelectorAll('main *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== '');
    if (!own || element.offsetParent === null) continue;
    const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) worst = { ratio, text: element.textContent.slice(0, 60) };
  }
  return worst;
})()`;
