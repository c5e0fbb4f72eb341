/** The page of a saved file in a real Chromium, as tests use it. */
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { VERIFY_PAGE_FILE } from '@quantumvault/host/verify-page/build.ts';
import { afterAll, beforeAll, expect } from 'vitest';
import { Chromium, type Page, type View } from '../support/chromium.ts';
import { requireProgram } from '../support/requires.ts';
import { temporaryFolder, until } from '../support/temporary.ts';

export const program = requireProgram('chromium');
export const DESKTOP: View = { width: 1024, height: 900, scheme: 'light' };
export const PHONE: View = { width: 360, height: 740, scheme: 'light' };

export class SavedPage {
  browser!: Chromium;
  folder!: Awaited<ReturnType<typeof temporaryFolder>>;
  /** Its address. */
  saved = '';

  /** Opened before, and closed after, the tests of the describe that this is called in. */
  constructor() {
    beforeAll(async () => {
      this.folder = await temporaryFolder();
      const copy = join(this.folder.path, 'saved.html');
      copyFileSync(VERIFY_PAGE_FILE, copy);
      this.saved = pathToFileURL(copy).href;
      this.browser = new Chromium(program ?? '');
    });
    afterAll(async () => {
      await this.browser?.close();
      await this.folder?.remove();
    });
  }

  open(view = DESKTOP): Promise<Page> {
    return this.browser.open(this.saved, view);
  }

  async answered(document: string, pcrs: string, view = DESKTOP): Promise<[Page, string]> {
    const page = await this.open(view);
    await page.chooseFile('#file', document);
    await page.type('#pcrs', pcrs);
    return [page, await verify(page)];
  }
}

/** Shown by Enter in a field, by the button, or by whatever else ends in an answer. */
export async function verdictAfter(page: Page, action: () => Promise<unknown>): Promise<string> {
  await page.evaluate(`document.querySelector('#verdict').replaceChildren()`);
  await action();
  await until('the page answers', () => page.evaluate(`document.querySelector('#verdict').children.length > 0`));
  return page.text('#verdict');
}

export const verify = (page: Page): Promise<string> =>
  verdictAfter(page, () => page.evaluate(`document.querySelector('#verify').click()`));

export function expectQuiet(page: Page, address: string): void {
  expect(page.requests).toEqual([address]);
  expect(page.problems).toEqual([]);
}
