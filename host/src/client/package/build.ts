/**
 * Builds the client SDK as an npm package: `npm run build:sdk -- --out <folder>`, then `npm pack <folder>`.
 *
 *   package.json   ES modules, no dependencies, no scripts; kit and web3.js are optional peers
 *   dist/          one .js and one .d.ts per source file, comments kept, so that what runs can be read
 *   dist/vendor/   third-party code (vendor.ts)
 *   README.md, ERRORS.md, THIRD-PARTY.md
 *
 * The same sources give the same bytes.
 */
import { copyFileSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { compile } from './compile.ts';
import { errorsMarkdown } from './errors-page.ts';
import { manifest } from './manifest.ts';
import { readSources, relativeSpecifier } from './sources.ts';
import { vendor } from './vendor.ts';

const CLIENT = resolve(import.meta.dirname, '..');

/** @param out an absent or empty folder. @throws Error when it holds something, or the sources do not compile */
export async function buildSdk(out: string): Promise<void> {
  if (existsSync(out) && readdirSync(out).length > 0) throw new Error(`${out} is not empty`);
  const sources = readSources();
  const vendored = await vendor(sources.packages);
  for (const [place, text] of compile(sources)) {
    write(join(out, 'dist', place), withVendored(place, text, vendored.names));
  }
  for (const [name, text] of vendored.files) write(join(out, 'dist', 'vendor', name), text);
  write(join(out, 'package.json'), manifest());
  write(join(out, 'ERRORS.md'), errorsMarkdown());
  write(join(out, 'THIRD-PARTY.md'), vendored.notices);
  copyFileSync(join(CLIENT, 'README.md'), join(out, 'README.md'));
}

/** Leads imports of packages to `vendor/`. @throws Error for a declaration that needs a package's types */
function withVendored(place: string, text: string, names: ReadonlyMap<string, string>): string {
  let changed = text;
  for (const [specifier, name] of names) {
    const vendored = relativeSpecifier(place, join('vendor', name));
    changed = changed.replaceAll(`'${specifier}'`, `'${vendored}'`);
    if (changed !== text && place.endsWith('.d.ts')) throw new Error(`${place} exports types of ${specifier}`);
  }
  return changed;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Where the folder of an npm script's caller is, as npm changes into that of package.json. */
const caller = (): string => process.env['INIT_CWD'] ?? process.cwd();

if (import.meta.main) {
  const { values } = parseArgs({ options: { out: { type: 'string' } } });
  if (values.out === undefined) {
    console.error('usage: npm run build:sdk -- --out <folder>');
    process.exitCode = 2;
  } else {
    const out = resolve(caller(), values.out);
    await buildSdk(out);
    console.log(out);
  }
}
