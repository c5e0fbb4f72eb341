/**
 * Builds the page into one file, `verify.html`: style and script inline, allowed by their hashes alone, the same bytes
 * from the same sources. `npm run build:verify-page`; the result is committed, and a test compares it with a new build.
 */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { BASE_STYLE } from '../page-style/base-style.ts';

const here = import.meta.dirname;
const root = join(here, '..', '..', '..');

export const VERIFY_PAGE_FILE = join(here, 'verify.html');

const OPTIONS = {
  absWorkingDir: root,
  entryPoints: [join(here, 'browser', 'page.ts')],
  bundle: true,
  platform: 'browser',
  target: 'es2022',
  format: 'iife',
  charset: 'utf8',
  legalComments: 'none',
  // Readable on purpose: whoever hashes the page can also read it.
  minify: false,
  metafile: true,
  write: false,
  logLevel: 'error',
} as const satisfies BuildOptions;

export async function buildVerifyPage(): Promise<string> {
  const { metafile } = await build(OPTIONS);
  // Packages are not ours, and what they require of Node alone is no file here.
  const sources = Object.keys(metafile.inputs).filter((path) => !/node_modules|^\(disabled\):/.test(path));
  const { outputFiles } = await build({ ...OPTIONS, plugins: [onlyNamedRows(sources)] });
  const script = `\n${outputFiles[0]?.text ?? ''}`;
  const style = `\n${BASE_STYLE}\n${readFileSync(join(here, 'page.css'), 'utf8')}`;
  const parts = [
    ['content=""', `content="${policyFor(script, style)}"`],
    ['<style></style>', `<style>${style}</style>`],
    ['<script></script>', `<script>${script}</script>`],
  ] as const;
  let page = readFileSync(join(here, 'page.html'), 'utf8');
  for (const [place, part] of parts) {
    if (page.split(place).length !== 2) throw new Error(`page.html needs ${place} once`);
    page = page.replace(place, () => part);
  }
  return page;
}

/** Nothing may be loaded, sent, framed or evaluated. */
function policyFor(script: string, style: string): string {
  const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `script-src ${hash(script)}`,
    `style-src ${hash(style)}`,
    "connect-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ');
}

/**
 * Of the tables of errors and limits, only the rows that the page's sources name: a new error of the database must not
 * change the hash of the verifier.
 */
function onlyNamedRows(sources: readonly string[]): Plugin {
  const words = new Set<string>();
  for (const source of sources.filter((path) => !/\/(errors|limits)\.ts$/.test(path)))
    for (const [word] of readFileSync(join(root, source), 'utf8').matchAll(/\w+/g)) words.add(word);
  // What codeOf answers for everything unexpected.
  words.add('internal');
  const named = (table: object): string =>
    JSON.stringify(Object.fromEntries(Object.entries(table).filter(([name]) => words.has(name))), undefined, 2);
  return {
    name: 'only-named-rows',
    setup: ({ onLoad }) => {
      onLoad({ filter: /\/shared\/src\/limits\.ts$/ }, () => ({
        contents: `export const LIMITS = ${named(LIMITS)};`,
        loader: 'ts',
      }));
      onLoad({ filter: /\/shared\/src\/errors\.ts$/ }, ({ path }) => ({
        contents: readFileSync(path, 'utf8').replace(
          /export const ERRORS = \{[\s\S]*?\n\} as const satisfies/,
          () => `export const ERRORS = ${named(ERRORS)} as const satisfies`,
        ),
        loader: 'ts',
      }));
    },
  };
}

if (import.meta.main) {
  const page = await buildVerifyPage();
  writeFileSync(VERIFY_PAGE_FILE, page);
  console.log(`${createHash('sha256').update(page).digest('hex')}  host/src/verify-page/verify.html`);
}
