/**
 * The C addon: compiled without a warning, and every scenario over stand-ins for vsock and /dev/nsm, plainly and under
 * AddressSanitizer. Real vsock: `npm run test:vm`; the real ioctl: `npm run test:nitro`.
 */
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadNative } from '@quantumvault/shared/native.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { expectCode } from '../support/codes.ts';
import { requireProgram } from '../support/requires.ts';
import { SCENARIOS } from './scenarios.ts';

const run = promisify(execFile);
const here = import.meta.dirname;
const folderOfSources = join(here, '..', '..', 'shared', 'native');
const sources = [
  'qv_arguments.h',
  'qv_legacy.c',
  'qv_legacy.h',
  'qv_native.c',
  'qv_process.c',
  'qv_process.h',
  'qv_recipient.c',
  'qv_recipient.h',
].map((name) => join(folderOfSources, name));
const compiler = requireProgram('cc', 'gcc');
// Without glibc's own checks: they would end the process first, and say less.
const SANITIZE = ['-U_FORTIFY_SOURCE', '-fsanitize=address,undefined', '-fno-omit-frame-pointer', '-g'];

const folder = mkdtempSync(join(tmpdir(), 'qv-native-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const addon = join(folder, 'qv-native.node');
const sanitized = join(folder, 'qv-native-asan.node');
const shim = join(folder, 'vsock-over-unix.so');

let scope = 0;

async function play(
  name: string,
  { file = addon, nsm = 'echo', options = {} as object, prefix = '', env: more = {} } = {},
) {
  const args = ['--expose-gc', join(here, 'child.ts'), file, name, JSON.stringify(options)];
  const env = {
    PATH: process.env['PATH'] ?? '',
    LD_PRELOAD: `${prefix}${shim}`,
    QV_SHIM_SCOPE: `${process.pid}-${++scope}`,
    QV_SHIM_CID: '7',
    QV_SHIM_NSM: nsm,
    // Node itself keeps what it has until it ends.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=1',
    UBSAN_OPTIONS: 'halt_on_error=1',
    ...more,
  };
  const { stdout } = await run(process.execPath, args, { env, timeout: 100_000 });
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe.skipIf(compiler === undefined)('the addon', { timeout: 120_000 }, () => {
  beforeAll(() => {
    buildNative({ outFile: addon });
    buildNative({ outFile: sanitized, flags: SANITIZE });
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-o', shim, join(here, 'vsock-over-unix.c'), '-ldl']);
  }, 60_000);

  it('is small enough to be read', () => {
    const lines = sources.map((file) => readFileSync(file, 'utf8').split('\n').length);
    expect(lines.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(1_180);
  });

  it('is the same from two builds, and asks only for libc', () => {
    const again = join(folder, 'again.node');
    buildNative({ outFile: again });
    expect(readFileSync(again).equals(readFileSync(addon))).toBe(true);
    const needed = spawnSync('readelf', ['-d', addon], { encoding: 'utf8' }).stdout.match(/NEEDED.*\[(.*)\]/g) ?? [];
    expect(needed.map((line) => /\[(.*)\]/.exec(line)?.[1])).toEqual(['libc.so.6']);
  });

  it('says what the compiler said when it does not compile', () => {
    const outFile = join(folder, 'never.node');
    expect(() => buildNative({ outFile, flags: ['-Dbind=1=2'] })).toThrow(/cc failed/);
    expect(() => buildNative({ outFile, compiler: 'no-such-compiler' })).toThrow(/a C compiler/);
    expect(existsSync(outFile)).toBe(false);
  });

  it('is missing with a clear error', async () => {
    await expectCode(() => loadNative(join(folder, 'nowhere.node')), 'native_missing');
    await expectCode(() => loadNative(join(folderOfSources, 'qv_native.c')), 'native_missing');
  });

  const options = { bytes: 64 * 1024 * 1024, connections: 10_000 };
  it.each(Object.keys(SCENARIOS))('%s', async (name) => {
    const { turns, grownKilobytes } = await play(name, { options });
    // Not a speed: a loop that is blocked does not turn at all.
    if (name === 'neverReads') expect(turns).toBeGreaterThan(10);
    if (grownKilobytes !== undefined) expect(grownKilobytes).toBeLessThan(64 * 1024);
  });

  it('hangs up on a peer that is not the parent', () => play('foreignPeer'));
  it('rests while there are no descriptors', async () => {
    const limited = ['-c', 'ulimit -n 256; exec "$@"', 'sh', process.execPath, join(here, 'child.ts'), addon];
    const env = { LD_PRELOAD: shim, QV_SHIM_SCOPE: `${process.pid}-fd`, QV_SHIM_CID: '7' };
    const { stdout } = await run('/bin/sh', [...limited, 'noDescriptors'], { env, timeout: 30_000 });
    expect(JSON.parse(stdout).turns).toBeGreaterThan(10);
  });
  it('survives its environment', () => play('teardown'));
  it('answers nonsense with errors', () => play('misuse'));
  it('opens what was sealed for its key, and nothing else', () => play('recipient'));

  it('asks the security module', async () => {
    expect(await play('nsm')).toEqual({
      many: Array.from({ length: 50 }, (_, index) => `request ${index}`),
      longest: 0x1000,
      tooLong: 'the request is longer than the module takes',
      absent: 'ENOENT',
    });
    expect(await play('nsm', { nsm: 'fail' })).toMatchObject({ longest: 'EIO'.length, many: Array(50).fill('EIO') });
    expect(await play('nsm', { nsm: 'lie' })).toMatchObject({ many: Array(50).fill('EMSGSIZE') });
  });

  it('mixes randomness in so that the next numbers depend on it', async () => {
    const mixed = async (random: string) => {
      const log = join(folder, `random-${random}-${++scope}`);
      const result = await play('mixes', { env: { QV_SHIM_RANDOM: random, QV_SHIM_RANDOM_LOG: log } });
      return { ...result, asked: readFileSync(log, 'latin1').split('\n').slice(0, -1) };
    };
    const first = ['add 2048 bits of 256 bytes, 42 first', 'reseed'];
    const both = [...first, 'add 8 bits of 1 bytes, 7 first', 'reseed'];
    expect(await mixed('new')).toEqual({ asked: both });
    expect(await mixed('old')).toEqual({ asked: both });
    expect(await mixed('denied')).toEqual({ failed: 'EPERM', asked: first.slice(0, 1) });
  });

  it('leaves no core file and gains no privileges', async () => {
    expect(await play('hardened')).toEqual({ core: ['0', '0'], noNewPrivileges: '1' });
  });

  describe('under AddressSanitizer', () => {
    const small = { bytes: 8 * 1024 * 1024, connections: 300 };
    const library = spawnSync('cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).stdout?.trim();
    it.each([...Object.keys(SCENARIOS), 'foreignPeer', 'nsm', 'teardown', 'misuse', 'recipient'])(
      '%s',
      async (name) => {
        await play(name, { file: sanitized, prefix: `${library}:`, options: small });
      },
    );

    it('finds what is wrong, were it there', async () => {
      const broken = join(folder, 'broken.node');
      const header = join(folder, 'broken.h');
      // Reads behind what JavaScript gave it, and writes behind what it has itself.
      writeFileSync(
        header,
        '#define _GNU_SOURCE\n#include <string.h>\n#define memcpy(to, from, count) memcpy(to, from, (count) + 0x8000)\n',
      );
      buildNative({ outFile: broken, flags: [...SANITIZE, '-include', header, '-w'] });
      await expect(play('nsm', { file: broken, prefix: `${library}:` })).rejects.toThrow(/AddressSanitizer/);
    });
  });
});
