/**
 * A base for enclave.Dockerfile without a registry: Debian by debootstrap with a C compiler, the pinned Node, and npm.
 * Making it takes a minute, so it is kept in the cache folder.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '../vm/debian.ts';

const PACKAGES = ['ca-certificates', 'gcc', 'libc6-dev'];
const NPM_VERSION = '11.19.1';
/** Of the package's file, in base64: what a registry hands out is compared with it. */
const NPM_SHA512 = 'ztsxKxt/kkIaAs+2i0GU6I+DRmUdrNasxTZKJe9TCdSjKxlhah/4r/hl5ygMD6XAg1qZ9c2TNomR4qgOydp10g==';
/** Of no use to a compilation without link-time optimisation; what is copied for each container is a third smaller. */
const LEFT_OUT = [
  ...['./var/cache/apt', './var/lib/apt/lists', './usr/share/doc', './usr/share/locale', './usr/share/man'],
  ...['./usr/bin/*lto-dump*', './usr/lib/gcc/*/*/lto1', './usr/lib/*/lib?san.so*'],
];

/** @throws Error with the program's words */
export function run(program: string, args: readonly string[], env?: NodeJS.ProcessEnv): string {
  const done = spawnSync(program, args, { encoding: 'utf8', ...(env && { env }), maxBuffer: 64 * 1024 * 1024 });
  if (done.error !== undefined) throw new Error(`${program} cannot be run: ${done.error.message}`);
  if (done.status !== 0) throw new Error(`${program} ${args.join(' ')} failed (exit ${done.status})\n${done.stderr}`);
  return done.stdout.trim();
}

/** The base's files as a tar archive. Needs root, for debootstrap. */
export function baseArchive(): string {
  const codename = /^VERSION_CODENAME=(\S+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  if (codename === undefined) throw new Error('/etc/os-release names no release');
  const folder = join(cacheFolder(), 'image-base');
  const parts = [codename, process.version, process.arch, NPM_VERSION, ...PACKAGES, ...LEFT_OUT];
  const archive = join(folder, `${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16)}.tar`);
  if (existsSync(archive)) return archive;
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(join(folder, '.partial-'));
  try {
    const root = join(work, 'root');
    const { uri, keyring } = debianMirror(codename);
    const trust = keyring === undefined ? [] : [`--keyring=${keyring}`];
    run('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, ...trust, codename, root, uri]);
    copyFileSync(process.execPath, join(root, 'usr', 'local', 'bin', 'node'));
    addNpm(work, root);
    const packed = join(work, 'base.tar');
    const options = ['--sort=name', '--numeric-owner', '--mtime=@0', ...LEFT_OUT.map((path) => `--exclude=${path}`)];
    run('tar', ['--create', '--file', packed, '--directory', root, ...options, '.']);
    renameSync(packed, archive);
    return archive;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function addNpm(work: string, root: string): void {
  run('npm', ['pack', '--silent', `npm@${NPM_VERSION}`, '--pack-destination', work]);
  const file = join(work, `npm-${NPM_VERSION}.tgz`);
  if (createHash('sha512').update(readFileSync(file)).digest('base64') !== NPM_SHA512)
    throw new Error(`npm ${NPM_VERSION} of this registry is not the known one`);
  const modules = join(root, 'usr', 'local', 'lib', 'node_modules', 'npm');
  mkdirSync(modules, { recursive: true });
  run('tar', ['--extract', '--file', file, '--directory', modules, '--strip-components=1', '--no-same-owner']);
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr', 'local', 'bin', 'npm'));
}

/** Where this machine's apt gets the release from, in either of apt's two formats. */
function debianMirror(codename: string): { uri: string; keyring?: string } {
  for (const file of globSync('/etc/apt/sources.list.d/*.sources')) {
    for (const stanza of readFileSync(file, 'utf8').split(/\n\s*\n/)) {
      const field = (name: string): string[] =>
        new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(stanza)?.[1]?.trim().split(/\s+/) ?? [];
      const [uri] = field('URIs');
      if (uri === undefined || !field('Suites').includes(codename)) continue;
      const [keyring] = field('Signed-By');
      return { uri, ...(keyring?.startsWith('/') && { keyring }) };
    }
  }
  for (const file of globSync(['/etc/apt/sources.list', '/etc/apt/sources.list.d/*.list'])) {
    const line = new RegExp(`^deb\\s+(?:\\[([^\\]]*)\\]\\s+)?(\\S+)\\s+${codename}\\s`, 'm').exec(
      readFileSync(file, 'utf8'),
    );
    const keyring = /signed-by=(\/\S+)/.exec(line?.[1] ?? '')?.[1];
    if (line?.[2] !== undefined) return { uri: line[2], ...(keyring !== undefined && { keyring }) };
  }
  throw new Error(`no source of apt has ${codename}`);
}

/** What buildah needs to keep images in one folder and to run in a container itself. */
export function buildahEnvironment(folder: string): Record<string, string> {
  const settings = join(folder, '.config', 'containers');
  mkdirSync(settings, { recursive: true });
  writeFileSync(join(settings, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}');
  const storage = join(folder, 'storage.conf');
  const place = (name: string): string => JSON.stringify(join(folder, 'storage', name));
  writeFileSync(storage, `[storage]\ndriver = "vfs"\ngraphroot = ${place('graph')}\nrunroot = ${place('run')}\n`);
  return { HOME: folder, CONTAINERS_STORAGE_CONF: storage, BUILDAH_ISOLATION: 'chroot' };
}

export interface Base {
  readonly byDigest: string;
  readonly byTag: string;
}

/** Makes an image of the archive. */
export function importBase(archive: string, env: NodeJS.ProcessEnv): Base {
  const name = 'localhost/qv-base';
  const container = run('buildah', ['from', 'scratch'], env);
  run('buildah', ['add', '--quiet', container, archive, '/'], env);
  run('buildah', ['commit', '--quiet', '--rm', '--timestamp', '0', container, `${name}:test`], env);
  const digest = run('buildah', ['images', '--format', '{{.Digest}}', `${name}:test`], env);
  return { byDigest: `${name}@${digest}`, byTag: `${name}:test` };
}
