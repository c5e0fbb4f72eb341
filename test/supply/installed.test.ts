/** Install scripts and binaries of all packages are those of installed.json, and others are found. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROOT } from './bundles.ts';
import { type Comparison, type Installed, installedFindings, keyOf, packageFolders, scan } from './installed.ts';
import { fields, SCRIPTS_LEFT_ALONE, split } from './lockfile.ts';

const listed = JSON.parse(readFileSync(join(import.meta.dirname, 'installed.json'), 'utf8')) as Installed;
const lock = parse(readFileSync(join(ROOT, 'pnpm-lock.yaml'), 'utf8')) as unknown;
const toolchain = JSON.parse(readFileSync(join(ROOT, '.toolchain', 'package-lock.json'), 'utf8')) as unknown;
const folders = packageFolders(ROOT);
const comparison: Comparison = {
  found: scan(folders),
  listed,
  installed: folders.map(keyOf),
  locked: { ...fields(fields(lock)['packages']), ...toolchainPackages() },
  machine: { platform: process.platform, arch: process.arch },
};

function toolchainPackages(): Record<string, unknown> {
  const rows = Object.entries(fields(fields(toolchain)['packages'])).filter(([path]) => path !== '');
  return Object.fromEntries(
    rows.map(([path, entry]) => [`${path.replace('node_modules/', '')}@${String(fields(entry)['version'])}`, entry]),
  );
}

const work = mkdtempSync(join(tmpdir(), 'qv-installed-'));
afterAll(() => rmSync(work, { recursive: true, force: true }));

describe('the installed packages', () => {
  it('have the install scripts and binaries that are listed, and no others', () => {
    expect(installedFindings(comparison)).toEqual([]);
    expect(comparison.installed.length).toBeGreaterThan(200);
  });

  it('have install scripts only where pnpm is told to leave them alone', () => {
    const names = Object.keys(listed.scripts).map((key) => split(key).name);
    expect(names.sort()).toEqual([...SCRIPTS_LEFT_ALONE].sort());
  });

  it('are listed for both architectures', () => {
    for (const arch of ['x64', 'arm64']) {
      const path = `prebuilds/linux-${arch}/sodium-native.node`;
      expect(listed.binaries['sodium-native@5.1.0']?.[path]).toMatch(/^[0-9a-f]{64}$/);
      const node = Object.keys(listed.binaries).find((key) => key.startsWith(`node-linux-${arch}@`)) ?? '';
      expect(listed.binaries[node]?.['bin/node']).toMatch(/^[0-9a-f]{64}$/);
      for (const name of ['@biomejs/cli-linux-', '@esbuild/linux-', '@typescript/typescript-linux-']) {
        expect(Object.keys(listed.binaries).some((key) => key.startsWith(`${name}${arch}@`))).toBe(true);
      }
    }
  });
});

describe('a package', () => {
  /** One package of our own making, beside all others. */
  const withPackage = (manifest: object, files: Readonly<Record<string, Uint8Array | string>>): Comparison => {
    const folder = mkdtempSync(join(work, 'package-'));
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'made-up', version: '1.0.0', ...manifest }));
    for (const [path, bytes] of Object.entries(files)) {
      mkdirSync(join(folder, path, '..'), { recursive: true });
      writeFileSync(join(folder, path), bytes);
    }
    const found = scan([folder]);
    return {
      ...comparison,
      found: {
        scripts: { ...comparison.found.scripts, ...found.scripts },
        binaries: { ...comparison.found.binaries, ...found.binaries },
      },
      installed: [...comparison.installed, 'made-up@1.0.0'],
      locked: { ...comparison.locked, 'made-up@1.0.0': {} },
    };
  };
  const elf = Buffer.from('7f454c4602010100', 'hex');

  it.each<[what: string, manifest: object, files: Record<string, Uint8Array | string>, finding: string]>([
    ['with a postinstall script', { scripts: { postinstall: 'node x.js' } }, {}, 'postinstall is not listed'],
    ['with a preinstall script', { scripts: { preinstall: 'node x.js' } }, {}, 'preinstall is not listed'],
    ['that npm would build', {}, { 'binding.gyp': '{}' }, 'install is not listed'],
    ['with an addon', {}, { 'build/x.node': elf }, 'build/x.node is not listed'],
    ['with a program under a harmless name', {}, { 'docs/readme.md': elf }, 'docs/readme.md is not listed'],
    ['with WebAssembly', {}, { 'a.bin': Buffer.from('0061736d01000000', 'hex') }, 'a.bin is not listed'],
    ['with a program for Windows', {}, { 'a.exe': 'MZ…' }, 'a.exe is not listed'],
    ['with a program for macOS', {}, { a: Buffer.from('cffaedfe07000001', 'hex') }, 'a is not listed'],
  ])('%s is found', (_, manifest, files, finding) => {
    expect(installedFindings(withPackage(manifest, files))).toEqual([`made-up@1.0.0: ${finding}`]);
  });

  it('without any of it is fine', () => {
    const files = { 'index.js': 'MZ is how this text begins', 'bin/run': '#!/usr/bin/env node\n' };
    expect(installedFindings(withPackage({ scripts: { prepare: 'tsc', test: 'x' } }, files))).toEqual([]);
  });

  it('whose binary is another one is found', () => {
    const sodium = folders.find((folder) => keyOf(folder) === 'sodium-native@5.1.0') ?? '';
    const copy = join(work, 'sodium-native');
    cpSync(sodium, copy, { recursive: true });
    const path = 'prebuilds/linux-x64/sodium-native.node';
    const bytes = readFileSync(join(copy, path));
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    // Also where the package manager's store is linked to, nothing of it is written to.
    rmSync(join(copy, path));
    writeFileSync(join(copy, path), bytes);
    rmSync(join(copy, 'prebuilds', 'linux-arm64', 'sodium-native.node'));
    const found = { ...comparison.found, binaries: { ...comparison.found.binaries, ...scan([copy]).binaries } };
    expect(installedFindings({ ...comparison, found })).toEqual([
      `sodium-native@5.1.0: ${path} is another one than listed`,
      'sodium-native@5.1.0: prebuilds/linux-arm64/sodium-native.node is listed and not there',
    ]);
  });

  it('that is locked for Linux on another processor and not listed is found, one of another system is not', () => {
    const extra = { os: ['linux'], cpu: [process.arch === 'x64' ? 'arm64' : 'x64'], libc: ['glibc'] };
    const locked = {
      ...comparison.locked,
      'extra-linux@1.0.0': extra,
      'extra-musl@1.0.0': { ...extra, libc: ['musl'] },
      'extra-darwin@1.0.0': { ...extra, os: ['darwin'] },
    };
    expect(installedFindings({ ...comparison, locked })).toEqual(['extra-linux@1.0.0: for Linux, and not listed']);
  });

  it('that is missing here, or listed and no longer locked, is found', () => {
    const locked = { ...comparison.locked, 'missing@1.0.0': { os: ['linux'], cpu: [process.arch] } };
    expect(installedFindings({ ...comparison, locked })).toContain(
      'missing@1.0.0: locked for this machine and not installed',
    );
    const more = { ...listed, scripts: { ...listed.scripts, 'gone@1.0.0': { install: 'x' } } };
    expect(installedFindings({ ...comparison, listed: more })).toEqual(['gone@1.0.0: listed and not locked']);
  });
});
