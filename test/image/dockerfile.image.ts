/**
 * enclave.Dockerfile, really built: by buildah, twice from one commit in two folders, through nitro-build.sh. Only
 * docker and nitro-cli are stand-ins, for what needs Docker's engine and AWS's kernel. Needs root.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentFlags, NODE_FLAGS } from '@quantumvault/enclave/node-flags.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { imageEnvironment } from '../support/image-command.ts';
import { requireProgram, unavailable } from '../support/requires.ts';
import { type Base, baseArchive, buildahEnvironment, importBase, run } from './base.ts';
import { BuildMachine, CONFIG, git, ROOT, type Run, readMeasurements, sha256 } from './kit.ts';

const isRoot = process.getuid?.() === 0 || unavailable('root', 'building images needs root') !== undefined;
const canBuild =
  [...['buildah', 'debootstrap', 'git', 'jq'].map((name) => requireProgram(name))].every(
    (path) => path !== undefined,
  ) && isRoot;

/** Stands in npm's settings as a password would, and must be nowhere afterwards. */
const CANARY = 'c4n4ry-0f-the-n9m-settings';

/** Every path of the image, and why it is there. */
const EXPLAINED: Readonly<Record<string, string>> = {
  dev: 'where the init mounts devices: /dev/nsm, /dev/vsock',
  enclave: 'ours',
  'enclave/config.json': 'the measured configuration',
  'enclave/enclave.cjs': 'the vault process',
  'enclave/kms-agent.cjs': 'the kms-agent',
  'enclave/node': 'runs both',
  'enclave/qv-native.node': 'vsock, NSM, hardening; compiled in the build stage',
  'enclave/sodium-native.node': 'libsodium',
  lib: 'libraries',
  'lib/x86_64-linux-gnu': 'where the loader looks for them',
  'lib/x86_64-linux-gnu/libc.so.6': 'of Node and the addons',
  'lib/x86_64-linux-gnu/libdl.so.2': 'of Node',
  'lib/x86_64-linux-gnu/libgcc_s.so.1': 'of Node and libstdc++',
  'lib/x86_64-linux-gnu/libm.so.6': 'of Node and libstdc++',
  'lib/x86_64-linux-gnu/libpthread.so.0': 'of Node',
  'lib/x86_64-linux-gnu/libstdc++.so.6': 'of Node and sodium-native',
  lib64: 'the loader’s folder',
  'lib64/ld-linux-x86-64.so.2': 'the loader that Node names',
  proc: 'where the init mounts proc',
  run: 'what the init expects to be there',
  sys: 'where the init mounts sysfs: rng_current',
  tmp: 'what the init expects to be there',
  var: 'what the init expects to be there',
};

let machine: BuildMachine;
let base: Base;
let environment: Record<string, string>;
let first: Run;
let second: Run;

function npmSettings(): string[] {
  const npmrc = machine.path('npmrc');
  writeFileSync(
    npmrc,
    `registry=${run('npm', ['config', 'get', 'registry'])}\n//registry.invalid/:_authToken=${CANARY}\n`,
  );
  // Wherever this machine says whom to trust: Node's variable, or npm's own setting.
  const cafile = run('npm', ['config', 'get', 'cafile']);
  const ca = process.env['NODE_EXTRA_CA_CERTS'] ?? (existsSync(cafile) ? cafile : '');
  return ['--npmrc', npmrc, ...(ca === '' ? [] : ['--ca', ca])];
}

beforeAll(async () => {
  if (!canBuild) return;
  machine = new BuildMachine(['buildah']);
  const storage = machine.path('buildah');
  mkdirSync(storage);
  environment = { ...buildahEnvironment(storage), BUILD_TOOL: 'buildah' };
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'])
    if (process.env[name] !== undefined) environment[name] = process.env[name];
  base = importBase(baseArchive(), { PATH: process.env['PATH'], ...environment });
  const settings = [...npmSettings(), '--config', CONFIG];
  first = await machine.build(['--base', base.byDigest, ...settings, '--out', machine.path('first')], environment);
  const elsewhere = machine.path('some', 'where', 'else');
  git(machine.folder, 'clone', '--quiet', machine.checkout, elsewhere);
  const verify = ['--verify', machine.path('first', 'measurements.json'), '--out', machine.path('second')];
  second = await machine.build([...verify, ...settings], environment, elsewhere);
});
afterAll(() => machine?.remove());

/** The image as it was handed to docker: its configuration, and its one layer in a folder of its own. */
function unpackImage(): { tree: string; config: Record<string, unknown>; archive: string } {
  const archive = machine.images()[0] ?? '';
  const unpacked = machine.path('unpacked');
  const tree = machine.path('tree');
  mkdirSync(unpacked, { recursive: true });
  mkdirSync(tree, { recursive: true });
  run('tar', ['--extract', '--file', archive, '--directory', unpacked]);
  const manifest = JSON.parse(readFileSync(join(unpacked, 'manifest.json'), 'utf8')) as [Record<string, string>];
  const { Config = '', Layers: [layer = ''] = [] } = manifest[0] as { Config?: string; Layers?: string[] };
  run('tar', ['--extract', '--same-permissions', '--same-owner', '--file', join(unpacked, layer), '--directory', tree]);
  return { tree, archive, config: JSON.parse(readFileSync(join(unpacked, Config), 'utf8')) as Record<string, unknown> };
}

describe.runIf(canBuild)('the enclave image', () => {
  let image: ReturnType<typeof unpackImage>;
  let command: string[] = [];

  beforeAll(() => {
    expect([first.status, first.status === 0 ? '' : first.stderr]).toEqual([0, '']);
    image = unpackImage();
    command = (image.config['config'] as { Cmd: string[] }).Cmd;
  });

  it('is the same, file by file and measured, from two builds of one commit', () => {
    expect([second.status, second.stdout, second.stderr.slice(-200)]).toEqual([
      0,
      '',
      expect.stringContaining('the same'),
    ]);
    const [one, other] = [readMeasurements(machine.path('first')), readMeasurements(machine.path('second'))];
    expect(other).toEqual(one);
    expect(one.Build).toMatchObject({ base: base.byDigest, treeSha256: sha256(`${one.Build.tree.join('\n')}\n`) });
  });

  it('is what nitro-build.sh wrote down of it', () => {
    const paths = readdirSync(image.tree, { recursive: true, encoding: 'utf8' });
    const lines = paths.map((path) => {
      const file = join(image.tree, path);
      const status = lstatSync(file);
      expect(status.isDirectory() || status.isFile()).toBe(true);
      const kind = status.isDirectory() ? 'd' : '-';
      const mode = [6, 3, 0].map((shift) => rwx((status.mode >> shift) & 7)).join('');
      const size = status.isDirectory() ? 0 : status.size;
      const hash = status.isDirectory() ? '-' : sha256(readFileSync(file));
      const time = `${new Date(status.mtimeMs).toISOString().slice(0, 19)}Z`;
      return { path, line: `${kind}${mode} ${status.uid}/${status.gid} ${size} ${time} ${hash} ${path}` };
    });
    lines.sort((a, b) => (a.path < b.path ? -1 : 1));
    expect(readMeasurements(machine.path('first')).Build.tree).toEqual(lines.map(({ line }) => line));
  });

  it.runIf(process.arch === 'x64')('has these files and folders, each for a reason, and no other', () => {
    const paths = readdirSync(image.tree, { recursive: true, encoding: 'utf8' });
    expect(paths.sort()).toEqual(Object.keys(EXPLAINED).sort());
  });

  it('belongs to root, lets nobody else write, and has two programs: Node and its loader', () => {
    const entries = readdirSync(image.tree, { recursive: true, encoding: 'utf8' }).map((path) => {
      const { mode, uid, gid, mtimeMs } = lstatSync(join(image.tree, path));
      return { path, mode: mode & 0o7777, isFile: (mode & 0o170000) === 0o100000, uid, gid, mtimeMs };
    });
    expect(entries.filter(({ uid, gid, mtimeMs }) => uid !== 0 || gid !== 0 || mtimeMs !== 0)).toEqual([]);
    expect(entries.filter(({ isFile, mode }) => !isFile && mode !== 0o755)).toEqual([]);
    expect(entries.filter(({ isFile, mode }) => isFile && mode !== 0o644)).toEqual([
      expect.objectContaining({ path: 'enclave/node', mode: 0o755 }),
      expect.objectContaining({ path: expect.stringMatching(/\/ld-linux[^/]*$/), mode: 0o755 }),
    ]);
  });

  it('holds the pinned Node, the stated libsodium, the configuration that was given', () => {
    const read = (name: string): Uint8Array => readFileSync(join(image.tree, 'enclave', name));
    expect(sha256(read('node'))).toBe(sha256(readFileSync(process.execPath)));
    expect(readFileSync(join(ROOT, 'enclave', 'DEPENDENCIES.md'), 'utf8')).toContain(
      sha256(read('sodium-native.node')),
    );
    expect(read('config.json')).toEqual(readFileSync(CONFIG));
    for (const bundle of ['enclave.cjs', 'kms-agent.cjs'])
      expect(Buffer.from(read(bundle)).toString()).toMatch(/^"use strict";\n/);
  });

  it('starts one command, with no environment but a path and what the Dockerfile names', () => {
    expect(image.config['config']).toMatchObject({
      Cmd: ['/enclave/node', ...NODE_FLAGS, '/enclave/enclave.cjs'],
      Env: [
        expect.stringMatching(/^PATH=/),
        ...Object.entries(imageEnvironment()).map(([name, value]) => `${name}=${value}`),
      ],
    });
    const { Entrypoint, User, Volumes, ExposedPorts } = image.config['config'] as Record<string, unknown>;
    expect([Entrypoint, User || undefined, Volumes, ExposedPorts]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('keeps nothing of npm’s settings', () => {
    expect(readFileSync(image.archive).includes(CANARY)).toBe(false);
    expect(first.stderr).not.toContain(CANARY);
  });

  describe('in a chroot', () => {
    const chroot = (user: string, args: readonly string[]): string[] => [`--userspec=${user}`, image.tree, ...args];
    // As the image's init does.
    beforeAll(() => run('mount', ['-t', 'proc', 'proc', join(image.tree, 'proc')]));
    afterAll(() => run('umount', [join(image.tree, 'proc')]));

    it('its Node runs under the command’s flags and loads both addons', () => {
      const script = `const load = (name) => { const m = { exports: {} }; process.dlopen(m, '/enclave/' + name); return m.exports; };
        const names = ['sodium-native.node', 'qv-native.node'].map((name) => Object.keys(load(name)).length > 10);
        let generated = true; try { new Function('return 1'); } catch { generated = false; }
        console.log(JSON.stringify([process.version, names, generated]));`;
      const done = spawnSync('chroot', chroot('0:0', [...command.slice(0, -1), '-e', script]), {
        encoding: 'utf8',
        env: PROGRAMS,
      });
      expect([done.stdout, done.stderr]).toEqual([`${JSON.stringify([process.version, [true, true], false])}\n`, '']);
    });

    it('the vault process loads, and stops outside of an enclave, saying why', () => {
      const done = spawnSync('chroot', chroot('0:0', command), { encoding: 'utf8', env: PROGRAMS });
      expect(done).toMatchObject({ status: 1, stdout: '', stderr: 'enclave: randomness_untrusted (rng_current)\n' });
    });

    it('the kms-agent loads as a user who owns nothing, and runs below a confined process alone', () => {
      const file = '/enclave/kms-agent.cjs';
      const agent = [...agentFlags(file, '/enclave/config.json'), file, '/enclave/config.json', 'vsock:3:5002'];
      const args = chroot('10001:10001', [command[0] ?? '', ...agent]);
      const done = spawnSync('chroot', args, { encoding: 'utf8', env: PROGRAMS });
      expect(done).toMatchObject({ status: 1, stdout: '', stderr: 'kms-agent: did not start: Error EBUSY\n' });
    });
  });
});

/** Where chroot is. */
const PROGRAMS = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' };

const rwx = (bits: number): string => `${bits & 4 ? 'r' : '-'}${bits & 2 ? 'w' : '-'}${bits & 1 ? 'x' : '-'}`;

describe.runIf(canBuild)('enclave.Dockerfile by itself', () => {
  function build(args: readonly string[]): Run {
    const context = machine.path('empty');
    mkdirSync(context, { recursive: true });
    const all = ['build', '--pull-never', '--file', join(ROOT, 'enclave.Dockerfile'), ...args, context];
    const done = spawnSync('buildah', all, { encoding: 'utf8', env: { PATH: process.env['PATH'], ...environment } });
    return { status: done.status, stdout: done.stdout, stderr: done.stderr };
  }

  it.each([
    ['a tag', () => base.byTag],
    ['a tag beside the digest', () => base.byDigest.replace('@', ':test@')],
  ])('refuses %s before anything else', (_, reference) => {
    const done = build(['--build-arg', `BASE=${reference()}`]);
    expect(done.status).not.toBe(0);
    expect(done.stderr).toContain(`BASE must be name@sha256:<64 hex digits>, without a tag: '${reference()}'`);
    expect(done.stdout + done.stderr).not.toContain('COPY');
  });

  it('asks for the base if there is none', () => {
    const done = build([]);
    expect([done.status, done.stderr]).toEqual([125, expect.stringContaining('invalid reference format')]);
  });
});
