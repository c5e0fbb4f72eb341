/** What the writer writes is read back by busybox's cpio, which is not ours, and compared byte by byte. */
import { spawnSync } from 'node:child_process';
import { chmodSync, lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { requireProgram } from '../support/requires.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { type CpioEntry, cpioArchive, fileEntry, folderEntries } from './cpio.ts';

const busybox = requireProgram('busybox', 'busybox-static');
const folders: { remove: () => Promise<void> }[] = [];
afterEach(async () => {
  for (const folder of folders.splice(0)) await folder.remove();
});

async function folder(): Promise<string> {
  const made = await temporaryFolder();
  folders.push(made);
  return made.path;
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const ENTRIES: CpioEntry[] = [
  { kind: 'file', path: 'bin/tool', content: bytes('#!/bin/sh\n'), mode: 0o755 },
  { kind: 'file', path: 'etc/empty', content: bytes('') },
  { kind: 'file', path: 'etc/three', content: bytes('abc'), mode: 0o600 },
  { kind: 'symlink', path: 'bin/sh', target: 'tool' },
  { kind: 'folder', path: 'tmp', mode: 0o1777 },
];

test('the first header is the one of the format, field by field', () => {
  const archive = cpioArchive([{ kind: 'file', path: 'a', content: bytes('hello'), mode: 0o640, uid: 7, gid: 8 }]);
  expect(archive.subarray(0, 110).toString('ascii')).toBe(
    [
      '070701',
      '00000001',
      '000081A0',
      '00000007',
      '00000008',
      '00000001',
      '00000000',
      '00000005',
      '00000000',
      '00000000',
      '00000000',
      '00000000',
      '00000002',
      '00000000',
    ].join(''),
  );
  expect(archive.subarray(110, 112).toString('latin1')).toBe('a\0');
  expect(archive.subarray(112, 120).toString('latin1')).toBe('hello\0\0\0');
  expect(archive.length % 4).toBe(0);
  expect(archive.toString('latin1')).toContain('TRAILER!!!\0');
});

test('device nodes carry their numbers', () => {
  const [console, disk] = [
    cpioArchive([{ kind: 'device', path: 'c', type: 'character', major: 5, minor: 1, mode: 0o622 }]),
    cpioArchive([{ kind: 'device', path: 'd', type: 'block', major: 254, minor: 16 }]),
  ];
  expect(console.subarray(14, 22).toString()).toBe('00002192');
  expect(console.subarray(78, 94).toString()).toBe('0000000500000001');
  expect(disk.subarray(14, 22).toString()).toBe('00006180');
  expect(disk.subarray(78, 94).toString()).toBe('000000FE00000010');
});

test('the order of the entries does not matter, and folders that only follow from paths are written', () => {
  expect(cpioArchive([...ENTRIES].reverse()).equals(cpioArchive(ENTRIES))).toBe(true);
  const names = [
    ...cpioArchive(ENTRIES)
      .toString('latin1')
      .matchAll(/0707[0-9A-F]{106}([^\0]+)\0/g),
  ].map((m) => m[1]);
  expect(names).toEqual(['bin', 'bin/sh', 'bin/tool', 'etc', 'etc/empty', 'etc/three', 'tmp', 'TRAILER!!!']);
});

test('paths that leave the archive, repeat or lie in a file are refused', () => {
  const file = (path: string): CpioEntry => ({ kind: 'file', path, content: bytes('x') });
  for (const path of ['', '/a', 'a/', 'a//b', './a', 'a/../b', '..', 'a\0b', 'TRAILER!!!'])
    expect(() => cpioArchive([file(path)]), path).toThrow('not a path inside an archive');
  expect(() => cpioArchive([file('a'), file('a')])).toThrow('twice in an archive: a');
  expect(() => cpioArchive([file('a'), file('a/b')])).toThrow('not a folder, but a/b lies in it: a');
  expect(() => cpioArchive([{ ...file('a'), uid: -1 }])).toThrow('does not fit a cpio field');
});

test.skipIf(busybox === undefined)('busybox unpacks every kind that needs no root', async () => {
  const dir = await folder();
  const unpacked = spawnSync(busybox ?? '', ['cpio', '-i', '-d', '-m'], { cwd: dir, input: cpioArchive(ENTRIES) });
  expect(unpacked.stderr.toString()).toMatch(/^\d+ blocks\n$/);
  expect(readFileSync(join(dir, 'bin/tool'), 'utf8')).toBe('#!/bin/sh\n');
  expect(lstatSync(join(dir, 'bin/tool')).mode & 0o7777).toBe(0o755);
  expect(readFileSync(join(dir, 'etc/empty'), 'utf8')).toBe('');
  expect(readFileSync(join(dir, 'etc/three'), 'utf8')).toBe('abc');
  expect(lstatSync(join(dir, 'etc/three')).mtimeMs).toBe(0);
  expect(readlinkSync(join(dir, 'bin/sh'))).toBe('tool');
  expect(lstatSync(join(dir, 'tmp')).mode & 0o7777).toBe(0o1777);
});

test('a folder of this machine becomes the same bytes whenever it was written', async () => {
  const archiveOf = async (): Promise<Buffer> => {
    const dir = await folder();
    mkdirSync(join(dir, 'inner'));
    chmodSync(dir, 0o755);
    chmodSync(join(dir, 'inner'), 0o755);
    writeFileSync(join(dir, 'inner', 'run'), 'x', { mode: 0o755 });
    symlinkSync('inner/run', join(dir, 'link'));
    return cpioArchive([...folderEntries(dir, 'app'), fileEntry('single', join(dir, 'inner', 'run'))]);
  };
  const first = await archiveOf();
  expect((await archiveOf()).equals(first)).toBe(true);
  expect(first.toString('latin1')).toMatch(/app\/link\0+inner\/run/);
});
