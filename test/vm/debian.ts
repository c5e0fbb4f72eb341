/**
 * Debian packages, unpacked into a cache folder and not installed. apt-get verifies what it downloads against the
 * signed lists of this machine; nothing here needs root.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

export interface DebianPackage {
  readonly name: string;
  readonly version: string;
  /** Its files, below this folder as they would be below `/`. */
  readonly root: string;
}

/** Where things are kept that take long to get: `quantumvault-signer` in the user's cache folder (XDG). */
export function cacheFolder(): string {
  const base = process.env['XDG_CACHE_HOME'];
  return join(base === undefined || base === '' ? join(homedir(), '.cache') : base, 'quantumvault-signer');
}

/**
 * Downloads and unpacks the version that `apt-get install` would install, unless it is in the cache. Safe to be called
 * by several processes at once: what is in the cache is always whole.
 * @param name as in `apt-get download`, without a version
 * @throws Error when apt does not know the package, or the download fails
 */
export function debianPackage(name: string, cache = cacheFolder()): DebianPackage {
  const { version, architecture } = candidate(name);
  const folder = join(cache, 'debian');
  // Debian writes the colon of an epoch as %3a in file names, too.
  const root = join(folder, `${name}_${version.replaceAll(':', '%3a')}_${architecture}`);
  if (existsSync(root)) return { name, version, root };
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, '.partial-'));
  try {
    // apt's own download user may not write here; the files are verified before anybody reads them.
    const asRoot = process.getuid?.() === 0 ? ['-o', 'APT::Sandbox::User=root'] : [];
    run('apt-get', ['download', '-qq', ...asRoot, `${name}=${version}`], work);
    const archive = readdirSync(work).find((file) => file.endsWith('.deb'));
    if (archive === undefined) throw new Error(`apt-get download left no package of ${name}`);
    const unpacked = join(work, 'root');
    run('dpkg-deb', ['-x', archive, unpacked], work);
    publish(unpacked, root);
    return { name, version, root };
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The packages that its `Depends` field names, without versions and alternatives: enough for metapackages. */
export function dependenciesOf(name: string): string[] {
  const field = /^Depends: (.*)$/m.exec(record(name))?.[1] ?? '';
  return field
    .split(',')
    .map((dependency) => dependency.trim().split(/[ (|]/)[0] ?? '')
    .filter((dependency) => dependency !== '');
}

export interface DebianKernel {
  /** As `uname -r` says it. */
  readonly release: string;
  readonly image: string;
  /** `/lib/modules/<release>` of the package. */
  readonly modules: string;
}

/** The small kernel for virtual machines that the metapackage of this machine's architecture names. */
export function cloudKernel(cache?: string): DebianKernel {
  const metapackage = `linux-image-cloud-${architectureOf()}`;
  const name = dependenciesOf(metapackage).find((dependency) => dependency.startsWith('linux-image-'));
  if (name === undefined) throw new Error(`${metapackage} names no kernel`);
  const { root } = debianPackage(name, cache);
  const release = name.slice('linux-image-'.length);
  return { release, image: join(root, 'boot', `vmlinuz-${release}`), modules: join(root, 'lib', 'modules', release) };
}

/** Puts a finished folder in its place in one step; somebody else's that is there already is as good. */
function publish(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}

function candidate(name: string): { version: string; architecture: string } {
  const text = record(name);
  const version = /^Version: (\S+)$/m.exec(text)?.[1];
  const architecture = /^Architecture: (\S+)$/m.exec(text)?.[1];
  if (version === undefined || architecture === undefined) throw new Error(`apt-cache shows no version of ${name}`);
  return { version, architecture };
}

/** The record of the candidate version. */
function record(name: string): string {
  if (!/^[a-z0-9][a-z0-9+.-]+$/.test(name)) throw new Error(`not a package name: ${name}`);
  const shown = spawnSync('apt-cache', ['show', '--no-all-versions', name], { encoding: 'utf8' });
  if (shown.error !== undefined) throw new Error(`apt-cache cannot be run: ${shown.error.message}`);
  if (shown.status !== 0 || shown.stdout === '')
    throw new Error(`apt does not know the package ${name}; apt-get update may help`);
  return shown.stdout;
}

function architectureOf(): string {
  return run('dpkg', ['--print-architecture'], '/').trim();
}

function run(program: string, args: readonly string[], cwd: string): string {
  const done = spawnSync(program, args, { cwd, encoding: 'utf8' });
  if (done.error !== undefined) throw new Error(`${program} cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')} failed (exit ${done.status})\n${done.stderr}`);
  return done.stdout;
}
