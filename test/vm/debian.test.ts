/** apt-get and apt-cache are stood in for by scripts, so that no test depends on a mirror; dpkg-deb is the real one. */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { requireProgram } from '../support/requires.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { cacheFolder, cloudKernel, debianPackage, dependenciesOf } from './debian.ts';

const dpkgDeb = requireProgram('dpkg-deb', 'dpkg');
let dir: { path: string; remove: () => Promise<void> };

beforeEach(async () => {
  dir = await temporaryFolder();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await dir.remove();
});

/** Packages of one file each, and an apt that knows them and counts its downloads. */
function fakeApt(packages: readonly { name: string; version: string; depends?: string; files: string[] }[]): void {
  const bin = join(dir.path, 'bin');
  const archives = join(dir.path, 'archives');
  mkdirSync(bin);
  mkdirSync(archives);
  for (const { name, version, depends, files } of packages) {
    const root = join(dir.path, 'build', name);
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    const control = `Package: ${name}\nVersion: ${version}\nArchitecture: amd64\nMaintainer: t <t@example.org>\n${depends ? `Depends: ${depends}\n` : ''}Description: test\n`;
    writeFileSync(join(root, 'DEBIAN', 'control'), control);
    for (const file of files) {
      mkdirSync(join(root, file, '..'), { recursive: true });
      writeFileSync(join(root, file), `${name} ${version}`);
    }
    const built = spawnSync('dpkg-deb', ['--root-owner-group', '-b', root, join(archives, `${name}.deb`)]);
    expect(built.status).toBe(0);
    writeFileSync(join(archives, `${name}.control`), control);
  }
  const script = (name: string, body: string): void => {
    writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`);
    chmodSync(join(bin, name), 0o755);
  };
  script('apt-cache', `cat '${archives}'/"$3".control 2>/dev/null || exit 100`);
  script(
    'apt-get',
    `for last; do :; done; echo "$last" >> '${dir.path}/downloads'; cp '${archives}'/"\${last%%=*}".deb . || exit 100`,
  );
  script('dpkg', 'echo amd64');
  vi.stubEnv('PATH', `${bin}:${process.env['PATH']}`);
}

const downloads = (): string[] => readFileSync(join(dir.path, 'downloads'), 'utf8').trim().split('\n');

test('the cache folder follows XDG', () => {
  vi.stubEnv('XDG_CACHE_HOME', '/somewhere');
  expect(cacheFolder()).toBe('/somewhere/quantumvault-signer');
  vi.stubEnv('XDG_CACHE_HOME', '');
  vi.stubEnv('HOME', '/home/somebody');
  expect(cacheFolder()).toBe('/home/somebody/.cache/quantumvault-signer');
});

test.skipIf(dpkgDeb === undefined)('a package is downloaded and unpacked once per version', () => {
  fakeApt([{ name: 'tool', version: '1:2.0-1', files: ['usr/bin/tool'] }]);
  const cache = join(dir.path, 'cache');
  const first = debianPackage('tool', cache);
  expect(first).toEqual({ name: 'tool', version: '1:2.0-1', root: join(cache, 'debian', 'tool_1%3a2.0-1_amd64') });
  expect(readFileSync(join(first.root, 'usr/bin/tool'), 'utf8')).toBe('tool 1:2.0-1');
  expect(debianPackage('tool', cache)).toEqual(first);
  expect(downloads()).toEqual(['tool=1:2.0-1']);
  expect(readdirSync(join(cache, 'debian'))).toEqual(['tool_1%3a2.0-1_amd64']);
});

test.skipIf(dpkgDeb === undefined)('a failed download leaves nothing in the cache', () => {
  fakeApt([{ name: 'tool', version: '1', files: ['usr/bin/tool'] }]);
  const cache = join(dir.path, 'cache');
  writeFileSync(join(dir.path, 'archives', 'tool.deb'), 'not a package');
  expect(() => debianPackage('tool', cache)).toThrow('dpkg-deb -x tool.deb');
  expect(readdirSync(join(cache, 'debian'))).toEqual([]);
  expect(() => debianPackage('tool; rm', cache)).toThrow('not a package name');
  expect(() => debianPackage('unknown', cache)).toThrow(
    'apt does not know the package unknown; apt-get update may help',
  );
  expect(existsSync(join(cache, 'debian', 'unknown'))).toBe(false);
});

test.skipIf(dpkgDeb === undefined)('the kernel is the one that the metapackage names', () => {
  const name = 'linux-image-6.1.0-9-cloud-amd64';
  fakeApt([
    { name: 'linux-image-cloud-amd64', version: '6.1.9-1', depends: `${name} (= 6.1.9-1), other | else`, files: [] },
    { name, version: '6.1.9-1', files: ['boot/vmlinuz-6.1.0-9-cloud-amd64'] },
  ]);
  expect(dependenciesOf('linux-image-cloud-amd64')).toEqual([name, 'other']);
  const kernel = cloudKernel(join(dir.path, 'cache'));
  expect(kernel.release).toBe('6.1.0-9-cloud-amd64');
  expect(readFileSync(kernel.image, 'utf8')).toBe(`${name} 6.1.9-1`);
  expect(kernel.modules.endsWith('/lib/modules/6.1.0-9-cloud-amd64')).toBe(true);
});
