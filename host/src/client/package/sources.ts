/** The sources of the package: the entry files and all they import from this repository, with imports by path alone. */
import { readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const REPOSITORY = resolve(import.meta.dirname, '..', '..', '..', '..');
const HOST = join(REPOSITORY, 'host', 'src');
const SHARED = join(REPOSITORY, 'shared', 'src');
const OWN = '@quantumvault/shared/';

/** Subpaths of the package by their entry file. */
export const ENTRIES = {
  '.': 'client/index.ts',
  './node': 'client/node.ts',
  './kit': 'client/kit.ts',
  './web3': 'client/web3.ts',
} as const;

/** Only their types are imported: the application brings them, if it wants these entries. */
export const PEERS: readonly string[] = ['@solana/kit', '@solana/web3.js'];

export interface Sources {
  /** By their path below the package's source folder; what they import of each other is relative. */
  readonly files: ReadonlyMap<string, string>;
  /** Packages imported at run time, by specifier. */
  readonly packages: ReadonlyMap<string, Imported>;
}

export interface Imported {
  /** The workspace member whose package.json names it. */
  readonly folder: string;
  /** What is imported of it, `default` included. */
  readonly names: ReadonlySet<string>;
}

const IMPORT = /(\bfrom\s*|\bimport\s*\(?\s*)'([^'\s]+)'/g;

export function readSources(): Sources {
  const files = new Map<string, string>();
  const packages = new Map<string, Imported>();
  const open = Object.values(ENTRIES).map((entry) => join(HOST, entry));
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const file = path;
    if (files.has(placeOf(file))) continue;
    const source = readFileSync(file, 'utf8');
    const text = source.replace(IMPORT, (whole, before: string, specifier: string) => {
      const target = targetOf(file, specifier);
      if (target === undefined) {
        if (PEERS.includes(specifier) || specifier.startsWith('node:')) return whole;
        const others = packages.get(specifier)?.names ?? [];
        const names = new Set([...others, ...importedNames(source, specifier)]);
        packages.set(specifier, { folder: memberOf(file), names });
        return whole;
      }
      open.push(target);
      return `${before}'${relativeSpecifier(placeOf(file), placeOf(target))}'`;
    });
    files.set(placeOf(file), text);
  }
  // However the imports are ordered, the package is the same.
  return { files: new Map([...files].sort(byName)), packages: new Map([...packages].sort(byName)) };
}

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number => (a < b ? -1 : 1);

/** @throws Error for a form of import that the sources have no need for */
function importedNames(source: string, specifier: string): readonly string[] {
  const quoted = `'${specifier}'`;
  const clause =
    source
      .split(`from ${quoted}`)[0]
      ?.split(/^import\b/m)
      .at(-1)
      ?.trim() ?? '';
  if (/^\w+$/.test(clause)) return ['default'];
  const named = /^\{([\w\s,]+)\}$/.exec(clause)?.[1];
  if (named === undefined) throw new Error(`an import of ${specifier} is neither of names nor of its default`);
  return named
    .split(',')
    .map((name) => name.replace(/\sas\s.*/, '').trim())
    .filter((name) => name !== '');
}

/** The file of this repository that an import leads to; undefined for packages. */
function targetOf(file: string, specifier: string): string | undefined {
  if (specifier.startsWith(OWN)) return join(SHARED, specifier.slice(OWN.length));
  return specifier.startsWith('.') ? resolve(dirname(file), specifier) : undefined;
}

const memberOf = (file: string): string => dirname(file.startsWith(SHARED) ? SHARED : HOST);

/** `client/…` and other folders of the host, and `shared/…` beside them. */
function placeOf(file: string): string {
  return file.startsWith(SHARED) ? join('shared', relative(SHARED, file)) : relative(HOST, file);
}

/** From one file below a folder to another: `./a.js`, `../shared/b.js`. */
export function relativeSpecifier(from: string, to: string): string {
  const path = relative(dirname(from), to);
  return path.startsWith('.') ? path : `./${path}`;
}
