/**
 * What the lockfiles and the workspace's settings must be, so that nothing is installed but what was reviewed: packages
 * of the registry alone, each under a SHA-512, in exact versions; no package's script is run; nothing brand new.
 *
 * The input is untrusted only in that anybody may have edited it: what has not the expected form is a finding, too.
 */

type Fields = Readonly<Record<string, unknown>>;

export interface Sources {
  /** pnpm-lock.yaml, parsed. */
  readonly lock: unknown;
  /** pnpm-workspace.yaml, parsed. */
  readonly workspace: unknown;
  /** package.json of each member, by folder (`.` is the root). */
  readonly manifests: Readonly<Record<string, unknown>>;
  /** .toolchain/package-lock.json and its package.json, parsed. */
  readonly toolchainLock: unknown;
  readonly toolchainManifest: unknown;
  /** All files of the repository, from its root. */
  readonly files: readonly string[];
}

/** Folders of the workspace, and what their packages are called. */
const MEMBERS: Readonly<Record<string, string>> = {
  '.': 'quantumvault-signer',
  enclave: '@quantumvault/enclave',
  host: '@quantumvault/host',
  shared: '@quantumvault/shared',
  test: '@quantumvault/test',
};
/** Packages that have install scripts, which pnpm is told to leave alone. None is run. */
export const SCRIPTS_LEFT_ALONE = ['esbuild', 'bufferutil', 'utf-8-validate'];
const OVERRIDES = { 'cbor-extract': '-' };
const WEEK_MINUTES = 7 * 24 * 60;
const REGISTRY = 'https://registry.npmjs.org/';
const NAME = /^(@[a-z0-9-][a-z0-9._-]*\/)?[a-z0-9][a-z0-9._-]*$/i;
const VERSION = /^\d+\.\d+\.\d+(-[0-9a-z.-]+)?$/i;
const DEPENDENCY_FIELDS = ['dependencies', 'devDependencies', 'optionalDependencies'];
/** Scripts that package managers run on their own. */
export const LIFECYCLE = ['preinstall', 'install', 'postinstall', 'prepublish', 'preprepare', 'prepare', 'postprepare'];
/** Files with which a package manager takes settings, or code, from the repository. */
const SETTINGS_FILES =
  /(^|\/)(\.npmrc|\.?pnpmfile\.[cm]?js|\.yarnrc(\.yml)?|yarn\.lock|npm-shrinkwrap\.json|bun\.lockb?)$/;

/** @returns one line per finding; none is what is wanted */
export function lockfileFindings(sources: Sources): string[] {
  return [
    ...packagesFindings(sources.lock),
    ...importersFindings(sources.lock, sources.manifests),
    ...settingsFindings(sources.lock, sources.workspace),
    ...toolchainFindings(sources.toolchainLock, sources.toolchainManifest),
    ...sources.files.filter((file) => SETTINGS_FILES.test(file)).map((file) => `${file}: not in this repository`),
    ...sources.files
      .filter((file) => /(^|\/)(package-lock|pnpm-lock)\.(json|yaml)$/.test(file))
      .filter((file) => file !== 'pnpm-lock.yaml' && file !== '.toolchain/package-lock.json')
      .map((file) => `${file}: a lockfile that nothing checks`),
  ];
}

/** Packages and what they depend on: all from the registry, all there, none that nobody asks for. */
function packagesFindings(lock: unknown): string[] {
  const packages = fields(fields(lock)['packages']);
  const snapshots = fields(fields(lock)['snapshots']);
  const found: string[] = [];
  for (const [key, entry] of Object.entries(packages)) {
    const { name, version } = split(key);
    if (!NAME.test(name) || !VERSION.test(version)) found.push(`${key}: not a name and an exact version`);
    const resolution = fields(fields(entry)['resolution']);
    for (const field of Object.keys(resolution)) {
      if (field !== 'integrity') found.push(`${key}: resolution has ${field}, so it is not the registry's`);
    }
    if (!isSha512(resolution['integrity'])) found.push(`${key}: no SHA-512 integrity`);
  }
  for (const [key, entry] of Object.entries(snapshots)) {
    if (!(withoutPeers(key) in packages)) found.push(`${key}: has no entry among the packages`);
    for (const [name, version] of dependenciesOf(entry)) {
      if (!(snapshotKey(name, version) in snapshots)) found.push(`${key}: ${name} is ${version}, which is not locked`);
    }
  }
  const reached = reachable(lock, Object.keys(fields(fields(lock)['importers'])));
  const names = new Set([...reached].map(withoutPeers));
  for (const key of Object.keys(packages)) if (!names.has(key)) found.push(`${key}: nothing depends on it`);
  return found;
}

/** The members' own dependencies: exact versions, the same in package.json and lockfile; links to members alone. */
function importersFindings(lock: unknown, manifests: Sources['manifests']): string[] {
  const importers = fields(fields(lock)['importers']);
  const found = differences('importers of pnpm-lock.yaml', Object.keys(importers), Object.keys(MEMBERS));
  for (const [folder, name] of Object.entries(MEMBERS)) {
    const manifest = fields(manifests[folder]);
    const where = folder === '.' ? 'package.json' : `${folder}/package.json`;
    if (manifest['name'] !== name) found.push(`${where}: is not ${name}`);
    for (const field of ['pnpm', 'overrides', 'resolutions', 'peerDependencies', 'bundledDependencies']) {
      if (field in manifest) found.push(`${where}: has ${field}`);
    }
    for (const script of LIFECYCLE) if (script in fields(manifest['scripts'])) found.push(`${where}: has ${script}`);
    for (const field of DEPENDENCY_FIELDS) {
      const stated = fields(manifest[field]);
      const locked = fields(fields(importers[folder])[field]);
      found.push(...differences(`${where} ${field}`, Object.keys(locked), Object.keys(stated)));
      for (const [dependency, specifier] of Object.entries(stated)) {
        const entry = fields(locked[dependency]);
        const version = String(entry['version']);
        if (entry['specifier'] !== specifier) found.push(`${where}: ${dependency} is locked for another specifier`);
        if (specifier === 'workspace:*') {
          const target = Object.keys(MEMBERS).find((member) => MEMBERS[member] === dependency);
          if (target === undefined || version !== `link:${folder === '.' ? target : `../${target}`}`) {
            found.push(`${where}: ${dependency} links to ${version}`);
          }
        } else if (!VERSION.test(String(specifier))) {
          found.push(`${where}: ${dependency} is ${String(specifier)}, not an exact version`);
        } else if (withoutPeers(`${dependency}@${version}`) !== `${dependency}@${String(specifier)}`) {
          found.push(`${where}: ${dependency} is locked to ${version}`);
        }
      }
    }
  }
  return found;
}

function settingsFindings(lock: unknown, workspace: unknown): string[] {
  const locked = fields(lock);
  const settings = fields(workspace);
  const found = differences('pnpm-lock.yaml', Object.keys(locked), [
    ...['lockfileVersion', 'settings', 'overrides', 'importers', 'packages', 'snapshots'],
  ]);
  if (locked['lockfileVersion'] !== '9.0') found.push('pnpm-lock.yaml: not version 9.0');
  // Every setting is one that somebody thought about here: registries, hooks and exceptions are settings, too.
  const expected: Fields = {
    packages: ['shared', 'enclave', 'host', 'test'],
    saveExact: true,
    strictDepBuilds: true,
    onlyBuiltDependencies: [],
    ignoredBuiltDependencies: SCRIPTS_LEFT_ALONE,
    overrides: OVERRIDES,
  };
  found.push(
    ...differences('pnpm-workspace.yaml', Object.keys(settings), [...Object.keys(expected), 'minimumReleaseAge']),
  );
  for (const [name, value] of Object.entries(expected)) {
    if (!isSame(settings[name], value)) found.push(`pnpm-workspace.yaml: ${name} is not ${JSON.stringify(value)}`);
  }
  const age = settings['minimumReleaseAge'];
  if (typeof age !== 'number' || age < WEEK_MINUTES)
    found.push('pnpm-workspace.yaml: minimumReleaseAge is under a week');
  if (!isSame(locked['overrides'], OVERRIDES)) found.push('pnpm-lock.yaml: other overrides than expected');
  return found;
}

/** Node and pnpm: npm's lockfile, version 3. */
function toolchainFindings(lock: unknown, manifest: unknown): string[] {
  const where = '.toolchain/package-lock.json';
  const packages = fields(fields(lock)['packages']);
  const stated = { ...fields(fields(manifest)['dependencies']), ...fields(fields(manifest)['optionalDependencies']) };
  const names = Object.keys(stated).map((name) => `node_modules/${name}`);
  const found = differences(where, Object.keys(packages), ['', ...names]);
  if (fields(lock)['lockfileVersion'] !== 3) found.push(`${where}: not version 3`);
  if ('scripts' in fields(manifest)) found.push('.toolchain/package.json: has scripts');
  for (const [name, version] of Object.entries(stated)) {
    const entry = fields(packages[`node_modules/${name}`]);
    if (!VERSION.test(String(version))) found.push(`.toolchain/package.json: ${name} is ${String(version)}`);
    if (entry['version'] !== version) found.push(`${where}: ${name} is ${String(entry['version'])}`);
    if (!isSha512(entry['integrity'])) found.push(`${where}: ${name} has no SHA-512 integrity`);
    if (entry['resolved'] !== undefined && !String(entry['resolved']).startsWith(`${REGISTRY}${name}/-/`)) {
      found.push(`${where}: ${name} is from ${String(entry['resolved'])}`);
    }
    for (const field of ['link', 'hasInstallScript', 'inBundle', 'dependencies']) {
      if (field in entry) found.push(`${where}: ${name} has ${field}`);
    }
  }
  return found;
}

/**
 * Keys of the snapshots that these members need.
 * @param kinds which of a member's own dependencies count; default all
 */
export function reachable(
  lock: unknown,
  members: readonly string[],
  kinds: readonly string[] = DEPENDENCY_FIELDS,
): Set<string> {
  const importers = fields(fields(lock)['importers']);
  const snapshots = fields(fields(lock)['snapshots']);
  const reached = new Set<string>();
  const queue: string[] = [];
  const seen = new Set<string>();
  const enter = (member: string): void => {
    if (seen.has(member)) return;
    seen.add(member);
    for (const kind of kinds) {
      for (const [name, entry] of Object.entries(fields(fields(importers[member])[kind]))) {
        const version = String(fields(entry)['version']);
        const own = Object.keys(MEMBERS).find((folder) => MEMBERS[folder] === name);
        // What another member needs to run, not what it is developed with.
        if (version.startsWith('link:') && own !== undefined) enter(own);
        else queue.push(snapshotKey(name, version));
      }
    }
  };
  for (const member of members) enter(member);
  for (let key = queue.pop(); key !== undefined; key = queue.pop()) {
    if (reached.has(key) || !(key in snapshots)) continue;
    reached.add(key);
    for (const [name, version] of dependenciesOf(snapshots[key])) queue.push(snapshotKey(name, version));
  }
  return reached;
}

/** What one snapshot depends on: names and versions as the lockfile has them. */
export function dependenciesOf(snapshot: unknown): [name: string, version: string][] {
  return ['dependencies', 'optionalDependencies'].flatMap((kind) =>
    Object.entries(fields(fields(snapshot)[kind])).map(([name, version]): [string, string] => [name, String(version)]),
  );
}

/** An alias is locked as the other package's name and version. */
export function snapshotKey(name: string, version: string): string {
  return /^@?[^@(]+@/.test(version) ? version : `${name}@${version}`;
}

/** `name@1.2.3(peer@4.5.6)` without what follows the version. */
export function withoutPeers(key: string): string {
  return key.replace(/\(.*$/, '');
}

export function split(key: string): { name: string; version: string } {
  const at = key.lastIndexOf('@');
  return { name: key.slice(0, at), version: key.slice(at + 1) };
}

/** The object's fields; of anything else none. */
export function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function isSha512(value: unknown): boolean {
  const text = /^sha512-([A-Za-z0-9+/]{86}==)$/.exec(String(value))?.[1];
  return text !== undefined && Buffer.from(text, 'base64').toString('base64') === text;
}

function differences(where: string, given: readonly string[], expected: readonly string[]): string[] {
  return [
    ...given
      .filter((name) => !expected.includes(name))
      .map((name) => `${where}: ${name || 'the root'} is not expected`),
    ...expected.filter((name) => !given.includes(name)).map((name) => `${where}: ${name || 'the root'} is missing`),
  ];
}

const isSame = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);
