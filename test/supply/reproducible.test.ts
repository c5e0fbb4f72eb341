/**
 * The bundles are the same bytes from two checkouts in different folders, built under another mask of modes, time zone
 * and locale, by installations of their own. Prints the hashes.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, sep } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { productionBundle, ROOT } from './bundles.ts';

const PROGRAMS = ['enclave.cjs', 'kms-agent.cjs', 'sodium-native.node'];
const work = mkdtempSync(join(tmpdir(), 'qv-reproducible-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** What the bundler gets to see, from the root: the sources as they are here, and the packages of the enclave. */
function seen(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '-co', '--exclude-standard', '*.json', 'enclave', 'shared'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const paths = new Set(listed.split('\0').filter((file) => file !== '' && existsSync(join(ROOT, file))));
  const enter = (modules: string): void => {
    for (const entry of readdirSync(modules)) {
      const path = join(modules, entry);
      if (entry.startsWith('@')) enter(path);
      // Names that begin with a dot are pnpm's own.
      else if (!entry.startsWith('.') && lstatSync(path).isSymbolicLink()) {
        paths.add(relative(ROOT, path));
        const target = realpathSync(path);
        // Beside a package lie links to what it depends on. Members of the workspace are there already.
        const beside = target.slice(0, target.lastIndexOf(`${sep}node_modules${sep}`) + '/node_modules'.length);
        if (!beside.includes(`${sep}.pnpm${sep}`) || paths.has(relative(ROOT, target))) continue;
        paths.add(relative(ROOT, target));
        enter(beside);
      }
    }
  };
  for (const member of ['enclave', 'shared']) enter(join(ROOT, member, 'node_modules'));
  return [...paths];
}

function copy(paths: readonly string[], folder: string, ...options: string[]): void {
  const done = spawnSync('cp', ['-a', ...options, '--parents', ...paths, folder], { cwd: ROOT, encoding: 'utf8' });
  // No hard links from one file system to another.
  if (done.status !== 0 && options.length > 0) copy(paths, folder);
  else if (done.status !== 0) throw new Error(done.stderr);
}

/** In a process of its own. @returns SHA-256 of each file */
function build(folder: string, umask: string, env: Readonly<Record<string, string>>): string[] {
  const script = `
    const { bundleEnclave } = await import('./enclave/bundle.ts');
    await bundleEnclave({ vaultEntry: 'enclave/src/main.ts', agentEntry: 'enclave/src/kms-agent/main.ts', outDir: 'out' });`;
  const args = ['-c', `umask ${umask} && exec "$0" --input-type=module -e "$1"`, process.execPath, script];
  const done = spawnSync('/bin/sh', args, { cwd: folder, encoding: 'utf8', env });
  expect(done.stderr).toBe('');
  return hashes(join(folder, 'out'));
}

function hashes(folder: string): string[] {
  return PROGRAMS.map((name) =>
    createHash('sha256')
      .update(readFileSync(join(folder, name)))
      .digest('hex'),
  );
}

describe('the bundles', () => {
  const short = join(work, 'a');
  const long = join(work, 'a much longer way', 'to a folder with spaces and ümlauts', 'checkout-of-the-second-builder');
  let first: string[];

  beforeAll(() => {
    const paths = seen();
    for (const folder of [short, long]) {
      mkdirSync(folder, { recursive: true });
      const [packages, sources] = [true, false].map((yes) =>
        paths.filter((path) => /node_modules\//.test(path) === yes),
      );
      copy(sources ?? [], folder);
      // As pnpm lays them out: links to the same files, which nothing here writes to.
      copy(packages ?? [], folder, '-l');
    }
    first = build(short, '022', { PATH: '/usr/bin:/bin', TZ: 'UTC', LC_ALL: 'C', HOME: '/' });
  });

  it('are the same from two checkouts, and from this one', async () => {
    const second = build(long, '077', {
      PATH: '/bin',
      TZ: 'Pacific/Chatham',
      LC_ALL: 'tr_TR.UTF-8',
      LANG: 'ja_JP',
      HOME: long,
    });
    expect(second).toEqual(first);
    const here = join(work, 'here');
    await productionBundle(here);
    expect(hashes(here)).toEqual(first);
    for (const [index, name] of PROGRAMS.entries()) console.log(`${name} SHA-256 ${first[index]}`);
  });

  it('name no folder of the builder', () => {
    for (const name of PROGRAMS.slice(0, 2)) {
      const text = readFileSync(join(short, 'out', name), 'utf8');
      expect(text).not.toContain(work);
      expect(text).not.toContain(ROOT);
    }
  });

  it('are others from other sources', () => {
    appendFileSync(join(short, 'enclave', 'src', 'main.ts'), '\nglobalThis.name = 1;\n');
    const [vault, agent, addon] = build(short, '022', {});
    expect(vault).not.toBe(first[0]);
    expect([agent, addon]).toEqual(first.slice(1));
  });

  it('bring the addon that is listed', () => {
    const listed = JSON.parse(readFileSync(join(import.meta.dirname, 'installed.json'), 'utf8')) as {
      binaries: Record<string, Record<string, string>>;
    };
    const key = Object.keys(listed.binaries).find((it) => it.startsWith('sodium-native@')) ?? '';
    expect(first[2]).toBe(listed.binaries[key]?.[`prebuilds/linux-${process.arch}/sodium-native.node`]);
  });
});
