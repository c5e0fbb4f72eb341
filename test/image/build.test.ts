/** enclave/build.ts: what it refuses, and that its tree depends on nothing but sources, libraries and configuration. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { NODE_FLAGS } from '@quantumvault/enclave/node-flags.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildImageTree } from '../../enclave/build.ts';
import { expectCode } from '../support/codes.ts';
import { imageNodeFlags } from '../support/image-command.ts';
import { requireProgram } from '../support/requires.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { CONFIG, ROOT } from './kit.ts';

const compiler = requireProgram('cc', 'gcc libc6-dev');
const BUILD = join(ROOT, 'enclave', 'build.ts');

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

function build(args: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [BUILD, ...args], { encoding: 'utf8' });
}

/** Path, mode, time and content of everything, as tar sees it. */
function archived(tree: string): Buffer {
  const options = ['--create', '--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--directory', tree, '.'];
  return spawnSync('tar', options, { maxBuffer: 1024 * 1024 * 1024 }).stdout;
}

describe('what is refused', () => {
  it('a configuration that the enclave would not boot with, before anything is made', async () => {
    const configFile = join(folder.path, 'bad.json');
    writeFileSync(configFile, JSON.stringify({ ...JSON.parse(readFileSync(CONFIG, 'utf8')), parentCid: 'any' }));
    const outDir = join(folder.path, 'refused');
    const refusal = await expectCode(buildImageTree({ outDir, configFile }), 'config_invalid');
    expect(refusal.facts.path).toBe('parentCid');
    expect(statSync(outDir, { throwIfNoEntry: false })).toBeUndefined();
    const done = build(['--out', outDir, '--config', configFile]);
    expect([done.status, done.stdout]).toEqual([1, '']);
    expect(done.stderr).toMatch(/^build: config_invalid \(parentCid\).*\n$/);
  });

  it('a folder that holds something', async () => {
    const outDir = join(folder.path, 'taken');
    mkdirSync(outDir);
    writeFileSync(join(outDir, 'file'), '');
    await expect(buildImageTree({ outDir })).rejects.toThrow('is not empty');
  });

  it('a command without the folder', () => {
    expect(build(['--config', CONFIG])).toMatchObject({ status: 2, stderr: expect.stringContaining('usage: ') });
  });
});

describe.runIf(compiler !== undefined)('the tree', () => {
  it('is the same from two builds, whatever the umask, and without a configuration if none is given', async () => {
    const [one, other] = [join(folder.path, 'one'), join(folder.path, 'some', 'other')];
    await buildImageTree({ outDir: one, configFile: CONFIG });
    const before = process.umask(0o077);
    try {
      await buildImageTree({ outDir: other, configFile: CONFIG });
    } finally {
      process.umask(before);
    }
    expect(readFileSync(join(one, 'enclave', 'config.json'))).toEqual(readFileSync(CONFIG));
    expect(archived(one).equals(archived(other))).toBe(true);
    rmSync(other, { recursive: true });
    expect(build(['--out', other])).toMatchObject({ status: 0, stderr: '' });
    expect(statSync(join(other, 'enclave', 'config.json'), { throwIfNoEntry: false })).toBeUndefined();
  });
});

it('the command starts Node with the flags that both processes ask for, each of which this Node knows', () => {
  const flags = imageNodeFlags();
  expect(flags).toEqual(NODE_FLAGS);
  const script = `
    const refused = (action) => { try { action(); return false; } catch { return true; } };
    const proto = refused(() => ({}).__proto__);
    const heap = require('node:crypto').secureHeapUsed().total;
    process.stdout.write(JSON.stringify({ code: refused(() => eval('1')), proto, heap }));`;
  const done = spawnSync(process.execPath, [...flags, '-e', script], { encoding: 'utf8' });
  expect(done).toMatchObject({ status: 0, stderr: '' });
  expect(JSON.parse(done.stdout)).toEqual({ code: true, proto: true, heap: 65_536 });
});
