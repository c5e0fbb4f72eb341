/** Reading another process's memory: all kinds of it, at one moment, and only of processes that allow it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { PLACES, planted } from './kit/planted.ts';
import { addressOf, isGuarded, mappingAt, readMemory, type Snapshot } from './process-memory.ts';

const compiler = requireProgram('cc', 'gcc');
const ROOT = join(import.meta.dirname, '..', '..');

let child: ChildProcess | undefined;
afterEach(async () => {
  child?.stdin?.end();
  if (child !== undefined && child.exitCode === null) await once(child, 'exit');
});

/** @param before what it is started with in front of Node */
async function start(number: string, { addon = [] as string[], before = [] as string[] } = {}): Promise<number> {
  const script = join(import.meta.dirname, 'kit', 'child.ts');
  const [program = '', ...words] = [...before, process.execPath, script, number, ...addon];
  child = spawn(program, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout as NonNullable<ChildProcess['stdout']>, 'data');
  return child.pid as number;
}

const placesOf = (snapshot: Snapshot, bytes: Buffer): number[] => {
  const found: number[] = [];
  for (let at = snapshot.bytes.indexOf(bytes); at >= 0; at = snapshot.bytes.indexOf(bytes, at + 1)) {
    found.push(addressOf(snapshot, at));
  }
  return found;
};

describe('a process', () => {
  it('is read whole: guarded pages, buffers, V8’s heap', async () => {
    const number = randomUUID();
    const snapshot = await readMemory(await start(number));
    for (const place of PLACES) {
      const bytes = planted(number, place);
      const places = placesOf(snapshot, place === 'text' ? Buffer.from(bytes.toString('hex')) : bytes);
      expect(places, place).not.toEqual([]);
      if (place === 'guarded') expect(places.some((at) => isGuarded(mappingAt(snapshot, at)))).toBe(true);
      // A place of the snapshot is that place of the process.
      for (const at of places) expect(mappingAt(snapshot, at).start).toBeLessThanOrEqual(at);
    }
    expect(placesOf(snapshot, planted(randomUUID(), 'guarded'))).toEqual([]);
  });

  it('goes on afterwards, as often as it is read, and its guarded pages are guarded still', async () => {
    const pid = await start(randomUUID());
    for (let round = 0; round < 3; round++) {
      await readMemory(pid);
      await once(child?.stdout as NonNullable<ChildProcess['stdout']>, 'data');
    }
    expect(readFileSync(`/proc/${pid}/maps`, 'latin1')).toMatch(/ ---p 0+ 00:00 0 *$/m);
  });

  it('that is gone is an error', async () => {
    const pid = await start(randomUUID());
    child?.stdin?.end();
    await once(child as ChildProcess, 'exit');
    await expect(readMemory(pid)).rejects.toThrow(/ESRCH|ENOENT/);
  });
});

describe.skipIf(compiler === undefined)('a process that hardened itself', () => {
  /** Root may read everything, unless it gave that right away; both processes then have the same rights. */
  const before = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-sys_ptrace', '--inh-caps=-sys_ptrace'] : [];

  function openBySameUser(pid: number): string {
    const script = `try { fs.openSync('/proc/${pid}/mem'); 'read' } catch (error) { error.code }`;
    const [program = '', ...words] = [...before, process.execPath, '-p', script];
    return execFileSync(program, words, { encoding: 'utf8' }).trim();
  }

  it('cannot be read by its own user, who can read any other', async () => {
    expect(openBySameUser(await start(randomUUID(), { before }))).toBe('read');
    child?.stdin?.end();
    const folder = mkdtempSync(join(tmpdir(), 'qv-memory-'));
    try {
      const addon = join(folder, 'qv-native.node');
      buildNative({ outFile: addon });
      expect(openBySameUser(await start(randomUUID(), { before, addon: [addon] }))).toBe('EACCES');
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('is what both production entries are, before they read anything; the entry that is searched is not', () => {
    const source = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');
    const firstRead = /readFileSync\(|runVault\(|runKmsAgent\(/;
    for (const [file, call] of [
      ['main.ts', 'confineVault(native);'],
      ['kms-agent/main.ts', 'confineAgent(native);'],
    ] as const) {
      const [, body = ''] = source('enclave', 'src', file).split('\ntry {\n');
      expect(body.indexOf(call), file).toBeGreaterThan(0);
      expect(body.indexOf(call), file).toBeLessThan(body.search(firstRead));
    }
    const [, ...confinements] = source('enclave', 'src', 'confinement.ts').split('\nexport function ');
    expect(confinements).toHaveLength(2);
    for (const body of confinements) expect(body).toMatch(/\n {2}harden\(native\);/);
    expect(source('test', 'stack', 'enclave', 'main.ts')).not.toMatch(/harden\(|confine/);
  });
});
