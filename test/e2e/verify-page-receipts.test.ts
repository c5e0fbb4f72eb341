/** Receipts on the page that verifies, in a real Chromium. Documents: verify-page.test.ts. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { STEPS } from '@quantumvault/shared/attestation/checklist.ts';
import { RECEIPT_STEPS } from '@quantumvault/shared/evidence/receipt-checklist.ts';
import { formatVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { beforeAll, describe, expect, test } from 'vitest';
import { file } from '../host/cli/documents.ts';
import type { Page } from '../support/chromium.ts';
import { type BuiltLog, Deployment } from '../support/log-builder.ts';
import { receiptFileOf, receiptText } from '../support/receipts.ts';
import { MEASUREMENTS, pemOf } from '../support/trust-files.ts';
import { expectQuiet, PHONE, program, SavedPage, verdictAfter, verify } from './verify-page-kit.ts';

describe.skipIf(program === undefined)('receipts in Chromium', () => {
  const chromium = new SavedPage();
  let deployment: Deployment;
  let log: BuiltLog;
  let receipt: string;
  let witnesses: string;

  beforeAll(async () => {
    deployment = new Deployment({ witnesses: 2 });
    log = await deployment.start();
    const wallet = log.wallet();
    wallet.sign({ requestId: 'order-4711' });
    wallet.deny('sol.window');
    receipt = receiptText(await receiptFileOf(log, 3));
    witnesses = deployment.witnesses.map(({ key }) => formatVerifierKey(key)).join('\n');
  });

  async function asked(text: string, options: { pcrs?: string; witnesses?: string } = {}): Promise<[Page, string]> {
    const page = await chromium.open();
    await page.type('#pasted', text);
    await page.type('#pcrs', options.pcrs ?? MEASUREMENTS);
    await page.type('#root', pemOf(deployment.root.certificateDer));
    await page.type('#witnesses', options.witnesses ?? witnesses);
    return [page, await verify(page)];
  }
  const failed = (page: Page): Promise<string[]> =>
    page.evaluate(`[...document.querySelectorAll('.steps .fail .title')].map((title) => title.lastChild.textContent)`);

  test('a good one: both checklists, and what was decided', async () => {
    const [page, verdict] = await asked(receipt);
    expect(verdict).toMatch(/^✓ Verified: every check passes/);
    expect(verdict).toContain('the witnesses have seen');
    expect(verdict).toContain('UNSAFE: not AWS’s root');
    const titles = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.steps .title')].map((title) => title.lastChild.textContent)`,
    );
    expect(titles).toEqual([...Object.values(RECEIPT_STEPS), ...Object.values(STEPS)]);
    const leaf = await page.text('#leaf');
    expect(leaf).toContain('signed: a transaction was signed');
    expect(leaf).toContain('order-4711');
    expect(leaf).toContain('1000 lamports');
    expect(await page.text('#details')).toContain('witness-1.example.com');
    expectQuiet(page, chromium.saved);
  });

  test('dropped as a file, without witnesses', async () => {
    const page = await chromium.open();
    await page.dropFile(file('receipt.json', receipt), 200, 300);
    await page.type('#pcrs', MEASUREMENTS);
    await page.type('#root', pemOf(deployment.root.certificateDer));
    const verdict = await verify(page);
    expect(verdict).toMatch(/^✓ Verified/);
    expect(verdict).toContain('Without witnesses');
    expectQuiet(page, chromium.saved);
  });

  test('a tampered one fails, and nothing of it is told', async () => {
    const good = await receiptFileOf(log, 3);
    const leaf = Uint8Array.from(good.receipt.leaf);
    const at = leaf.length - 1;
    leaf[at] = (leaf[at] ?? 0) ^ 1;
    const [page, verdict] = await asked(receiptText({ ...good, receipt: { ...good.receipt, leaf } }));
    expect(verdict).toMatch(/^✗ Not verified/);
    expect(verdict).toContain('evidence_signature_invalid');
    expect(await failed(page)).toEqual([RECEIPT_STEPS['leaf-signature'], RECEIPT_STEPS.inclusion]);
    expect(await page.evaluate(`document.querySelector('#leaf') === null`)).toBe(true);
    expectQuiet(page, chromium.saved);
  });

  test('another image', async () => {
    const [page, verdict] = await asked(receipt, { pcrs: 'ab'.repeat(48) });
    expect(verdict).toContain('attestation_pcrs_not_allowed');
    expect(await failed(page)).toEqual([RECEIPT_STEPS.attestation, STEPS.pcrs]);
  });

  test('too few witnesses, and fewer asked for', async () => {
    const [page, verdict] = await asked(receiptText(await receiptFileOf(log, 3, { witnesses: 1 })));
    expect(verdict).toContain('witnesses_too_few');
    await page.type('#threshold', '1');
    expect(await verify(page)).toMatch(/^✓ Verified/);
    expectQuiet(page, chromium.saved);
  });

  test.each([
    ['#pasted', '{}', 'receipt_malformed'],
    ['#witnesses', 'none', 'log_key_malformed'],
    ['#threshold', '3', 'attestation_expectations_invalid'],
    ['#threshold', 'x', 'attestation_expectations_invalid'],
    ['#nonce', '00'.repeat(16), 'attestation_expectations_invalid'],
  ])('%s: "%s" is unusable, no verdict', async (field, text, code) => {
    const page = await chromium.open();
    if (field !== '#pasted') await page.type('#pasted', receipt);
    await page.type('#pcrs', MEASUREMENTS);
    await page.type(field, text);
    const verdict = await verify(page);
    expect(verdict).toMatch(/^No verdict/);
    expect(verdict).toContain(code);
    expect(await page.text('#details')).toBe('');
  });

  test('only showing gives no verdict', async () => {
    const page = await chromium.open();
    await page.type('#pasted', receiptText(await receiptFileOf(log, 4)));
    const verdict = await verdictAfter(page, () => page.evaluate(`document.querySelector('#inspect').click()`));
    expect(verdict).toMatch(/^No verdict/);
    expect(await page.text('#leaf')).toContain('sol.window');
    expect(await page.evaluate(`document.querySelector('.steps') === null`)).toBe(true);
    expectQuiet(page, chromium.saved);
  });

  test.each([1024, 320])('%i px wide: nothing sticks out', async (width) => {
    const page = await chromium.browser.open(chromium.saved, { ...PHONE, width });
    await page.type('#pasted', receipt);
    await page.type('#pcrs', MEASUREMENTS);
    await page.type('#root', pemOf(deployment.root.certificateDer));
    await page.type('#witnesses', witnesses);
    expect(await verify(page)).toMatch(/^✓ Verified/);
    const overflow = `document.documentElement.scrollWidth - document.documentElement.clientWidth`;
    expect(await page.evaluate(overflow)).toBe(0);
    const shot = join(process.env['QV_SCREENSHOTS'] ?? chromium.folder.path, `receipt-${width}.png`);
    await page.screenshot(shot);
    expect(statSync(shot).size).toBeGreaterThan(10_000);
  });
});
