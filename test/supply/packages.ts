/** What is known, without asking anybody, of the packages that are installed: from the lockfile and their own words. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { ROOT } from './bundles.ts';
import { keyOf, packageFolders } from './installed.ts';
import { dependenciesOf, fields, reachable, snapshotKey, split, withoutPeers } from './lockfile.ts';

export interface Package {
  /** `name@version`. */
  readonly key: string;
  readonly name: string;
  readonly version: string;
  /** The lockfile's, `sha512-…`, of the package's tarball. */
  readonly integrity: string;
  /** An SPDX expression, or what the package says in place of one. */
  readonly licence: string;
  /** As its package.json names them: author, then contributors. The registry's list of publishers is not in there. */
  readonly people: readonly string[];
  readonly repository: string | undefined;
  /** Keys of what it depends on, sorted. */
  readonly dependsOn: readonly string[];
}

/** Every installed package of the workspace and of the toolchain. */
export class Packages {
  readonly #lock: unknown;
  readonly #toolchain: unknown;
  readonly #folders: ReadonlyMap<string, string>;

  constructor() {
    this.#lock = parse(readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8'));
    this.#toolchain = JSON.parse(readFileSync(join(ROOT, '.toolchain', 'package-lock.json'), 'utf8'));
    this.#folders = new Map(packageFolders(ROOT).map((folder) => [keyOf(folder), folder]));
  }

  /** @throws Error when it is not installed, or not locked */
  get(key: string): Package {
    const { name, version } = split(key);
    const manifest = this.#manifestOf(key);
    const integrity =
      fields(fields(fields(fields(this.#lock)['packages'])[key])['resolution'])['integrity'] ??
      fields(fields(fields(this.#toolchain)['packages'])[`node_modules/${name}`])['integrity'];
    if (typeof integrity !== 'string') throw new Error(`${key} has no integrity in a lockfile`);
    const contributors = [manifest['contributors'] ?? []].flat();
    return {
      key,
      name,
      version,
      integrity,
      licence: licenceOf(manifest),
      people: [...new Set([manifest['author'], ...contributors].map(personOf))].filter((it) => it !== ''),
      repository: repositoryOf(manifest['repository']),
      dependsOn: this.#dependenciesOf(key),
    };
  }

  /** Keys of all that these members need in order to run, sorted. */
  neededBy(members: readonly string[]): string[] {
    const kinds = ['dependencies', 'optionalDependencies'];
    return [...new Set([...reachable(this.#lock, members, kinds)].map(withoutPeers))].sort();
  }

  /** Keys of what the members name themselves. */
  namedBy(members: readonly string[]): string[] {
    const importers = fields(fields(this.#lock)['importers']);
    const named = members.flatMap((member) => dependenciesOf(importersEntry(importers[member])));
    return [...new Set(named.map(([name, version]) => withoutPeers(snapshotKey(name, version))))].sort();
  }

  /** Its package.json. */
  #manifestOf(key: string): Readonly<Record<string, unknown>> {
    const folder = this.#folders.get(key);
    if (folder === undefined) throw new Error(`${key} is not installed`);
    return fields(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
  }

  #dependenciesOf(key: string): string[] {
    const snapshots = Object.entries(fields(fields(this.#lock)['snapshots'])).filter(
      ([it]) => withoutPeers(it) === key,
    );
    const all = snapshots.flatMap(([, snapshot]) => dependenciesOf(snapshot));
    return [...new Set(all.map(([name, version]) => withoutPeers(snapshotKey(name, version))))].sort();
  }
}

/** `{specifier, version}` as a plain version, without links to members. */
function importersEntry(importer: unknown): unknown {
  const kinds = ['dependencies', 'optionalDependencies'].map((kind) => {
    const entries = Object.entries(fields(fields(importer)[kind])).map(([name, entry]) => [
      name,
      fields(entry)['version'],
    ]);
    return [kind, Object.fromEntries(entries.filter(([, version]) => !String(version).startsWith('link:')))];
  });
  return Object.fromEntries(kinds);
}

function licenceOf(manifest: Readonly<Record<string, unknown>>): string {
  const { license, licenses } = manifest;
  if (typeof license === 'string') return license;
  const named = [license, licenses].flat().map((it) => fields(it)['type']);
  return named.filter((it) => typeof it === 'string').join(' OR ') || 'not stated';
}

/** A name, without mail addresses and sites. */
function personOf(person: unknown): string {
  const name = typeof person === 'string' ? person : String(fields(person)['name'] ?? '');
  return name
    .replace(/<[^>]*>|\([^)]*\)/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

function repositoryOf(repository: unknown): string | undefined {
  const url = typeof repository === 'string' ? repository : fields(repository)['url'];
  if (typeof url !== 'string') return undefined;
  const path = /(?:^|github\.com[/:])([\w.-]+\/[\w.-]+?)(?:\.git)?$/.exec(url)?.[1];
  return path === undefined ? undefined : `https://github.com/${path}`;
}

/** A package that a file of a bundle belongs to, from the path that the bundler names. */
export function packageOf(input: string): string | undefined {
  const match = /^node_modules\/\.pnpm\/(@?[^@]+)@([^_/]+)[^/]*\//.exec(input);
  return match === null ? undefined : `${(match[1] ?? '').replace('+', '/')}@${match[2]}`;
}
