/**
 * Writes `installed.json`: install scripts and binaries of everything that the lockfiles install on Linux, for x64 and
 * arm64. Run after a change of a lockfile, and read what it changed. What this machine does not install is installed
 * into a folder of its own, by the same lockfiles, without running anything; that needs the registry, and npm.
 *
 *   node .toolchain/run.mjs node test/supply/list-installed.ts
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './bundles.ts';
import { type Installed, packageFolders, scan } from './installed.ts';

const FILES = [
  ...['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'],
  ...['.toolchain/package.json', '.toolchain/package-lock.json'],
  ...['enclave', 'host', 'shared', 'test'].map((member) => `${member}/package.json`),
];

function run(file: string, args: readonly string[], cwd: string): void {
  const done = spawnSync(file, args, { cwd, stdio: ['ignore', 2, 2] });
  if (done.status !== 0) throw new Error(`${file} ${args.join(' ')} failed`);
}

const folder = mkdtempSync(join(tmpdir(), 'qv-installed-'));
try {
  const cpu = process.arch === 'x64' ? 'arm64' : 'x64';
  for (const file of FILES) cpSync(join(ROOT, file), join(folder, file));
  const only = ['--ignore-scripts', `--cpu=${cpu}`, '--os=linux', '--libc=glibc'];
  const pnpm = join(ROOT, '.toolchain', 'node_modules', 'pnpm', 'bin', 'pnpm.cjs');
  run(process.execPath, [pnpm, 'install', '--frozen-lockfile', ...only], folder);
  run('npm', ['ci', '--no-audit', '--no-fund', ...only], join(folder, '.toolchain'));
  const here = scan(packageFolders(ROOT));
  const there = scan(packageFolders(folder));
  const merged = (kind: keyof Installed) => {
    const rows = Object.entries({ ...here[kind], ...there[kind] });
    return Object.fromEntries(rows.sort(([a], [b]) => (a < b ? -1 : 1)));
  };
  const listed: Installed = { scripts: merged('scripts'), binaries: merged('binaries') };
  writeFileSync(join(import.meta.dirname, 'installed.json'), `${JSON.stringify(listed, null, 2)}\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
