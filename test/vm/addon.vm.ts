/**
 * The C addon over real AF_VSOCK, in a guest. QV_VM_THOROUGH=1 tries it once more under AddressSanitizer, which without a
 * guest is done on every run (test/native). QV_VM_MEBIBYTES makes the long transfers longer: 1024 for the sizes that a
 * release is tried with.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { ADDON_CHECKS } from './addon/all.ts';
import { reportsIn } from './checks.ts';
import { fileEntry } from './cpio.ts';
import { type GuestResult, runGuest } from './guest.ts';
import { requireVm } from './machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from './repository.ts';

const machine = requireVm();
const compiler = requireProgram('cc', 'gcc');
const IS_THOROUGH = process.env['QV_VM_THOROUGH'] === '1';
const MEBIBYTES = process.env['QV_VM_MEBIBYTES'] ?? '128';
const COUNTED = ['-include', join(import.meta.dirname, 'addon', 'counted.h')];
const SANITIZED = ['-fsanitize=address', '-fno-omit-frame-pointer', '-U_FORTIFY_SOURCE', '-O1', '-g'];
const folder = mkdtempSync(join(tmpdir(), 'qv-addon-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Run {
  readonly flags: readonly string[];
  readonly mebibytes: string;
  readonly connections: number;
  /** Loaded before all other libraries. */
  readonly sanitizer?: string;
}

async function runAddonChecks({ flags, mebibytes, connections, sanitizer }: Run): Promise<GuestResult> {
  if (machine === undefined) throw new Error('skipped tests do not run');
  const build = (name: string, ...more: string[]): string => {
    const outFile = join(folder, name);
    buildNative({ outFile, flags: [...flags, ...more] });
    return outFile;
  };
  return runGuest({
    machine,
    entries: [
      ...repositoryEntries(),
      fileEntry('addon/qv-native.node', build('qv-native.node'), 0o755),
      fileEntry('addon/counted.node', build('counted.node', ...COUNTED), 0o755),
      ...(sanitizer === undefined ? [] : [fileEntry('addon/libasan.so', sanitizer, 0o755)]),
    ],
    // Leaks are counted by a check of our own: the sanitizer's search cannot see what JavaScript still holds.
    env: sanitizer === undefined ? {} : { LD_PRELOAD: '/addon/libasan.so', ASAN_OPTIONS: 'detect_leaks=0:exitcode=99' },
    args: ['--expose-gc', 'test/vm/addon/main.ts', '/addon', mebibytes, String(connections)],
    workingFolder: GUEST_REPOSITORY,
    memoryMebibytes: 2048,
    timeoutSeconds: 590,
  });
}

function sanitizerLibrary(): string {
  const { stdout } = spawnSync('cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return realpathSync(stdout.trim());
}

const RUNS: Readonly<Record<string, () => Run>> = {
  'the addon': () => ({ flags: [], mebibytes: MEBIBYTES, connections: 10_000 }),
  ...(IS_THOROUGH && {
    'the addon under AddressSanitizer': () => ({
      flags: SANITIZED,
      mebibytes: '16',
      connections: 500,
      sanitizer: sanitizerLibrary(),
    }),
  }),
};

for (const [title, run] of Object.entries(RUNS)) {
  describe.skipIf(machine === undefined || compiler === undefined)(title, () => {
    let result: GuestResult;
    beforeAll(async () => {
      result = await runAddonChecks(run());
    });

    for (const { name } of ADDON_CHECKS) {
      test(name, ({ annotate }) => {
        const report = reportsIn(result.lines).get(name);
        expect(report, [...result.lines, result.console].join('\n')).toBeDefined();
        expect(report?.passed, report?.facts).toBe(true);
        if (report !== undefined) annotate(report.facts);
      });
    }

    test('ends as it should, and no sanitizer has anything to say', () => {
      expect(result.lines.filter((line) => /ERROR: |SUMMARY: /.test(line))).toEqual([]);
      expect({ status: result.status, timedOut: result.timedOut }, result.console).toEqual({
        status: 0,
        timedOut: false,
      });
    });
  });
}
