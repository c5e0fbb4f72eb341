/** The C addon over real AF_VSOCK, in a guest. QV_VM_MEBIBYTES makes the long transfers longer (1024 for a nightly run). */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { FLOW } from './addon/flow.ts';
import { LIFETIME } from './addon/lifetime.ts';
import { reportsIn } from './checks.ts';
import { fileEntry } from './cpio.ts';
import { type GuestResult, runGuest } from './guest.ts';
import { requireVm } from './machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from './repository.ts';

const machine = requireVm();
const compiler = requireProgram('cc', 'gcc');
const MEBIBYTES = process.env['QV_VM_MEBIBYTES'] ?? '128';
const folder = mkdtempSync(join(tmpdir(), 'qv-addon-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(machine === undefined || compiler === undefined)('the addon', () => {
  let result: GuestResult;
  beforeAll(async () => {
    if (machine === undefined) return;
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    result = await runGuest({
      machine,
      entries: [...repositoryEntries(), fileEntry('addon/qv-native.node', addon, 0o755)],
      args: ['--expose-gc', 'test/vm/addon/main.ts', '/addon/qv-native.node', MEBIBYTES, '10000'],
      workingFolder: GUEST_REPOSITORY,
      timeoutSeconds: 600,
    });
  });

  for (const { name } of [...FLOW, ...LIFETIME]) {
    test(name, ({ annotate }) => {
      const report = reportsIn(result.lines).get(name);
      expect(report, [...result.lines, result.console].join('\n')).toBeDefined();
      expect(report?.passed, report?.facts).toBe(true);
      if (report !== undefined) annotate(report.facts);
    });
  }
});
