/** Enclave and host as two processes over real AF_VSOCK, in a guest: what a deployment goes through, step by step. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleEnclave } from '@quantumvault/enclave/bundle.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { reportsIn } from './checks.ts';
import { fileEntry, folderEntries } from './cpio.ts';
import { type GuestResult, runGuest } from './guest.ts';
import { requireVm } from './machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from './repository.ts';
import { IMAGE } from './scenario/layout.ts';
import { SCENARIO } from './scenario/steps.ts';

const machine = requireVm();
const compiler = requireProgram('cc', 'gcc');
const folder = mkdtempSync(join(tmpdir(), 'qv-scenario-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(machine === undefined || compiler === undefined)('enclave and host over vsock', () => {
  let result: GuestResult;
  beforeAll(async () => {
    if (machine === undefined) return;
    const entry = (name: string): string => join(import.meta.dirname, 'enclave', name);
    await bundleEnclave({ vaultEntry: entry('main.ts'), agentEntry: entry('kms-agent.ts'), outDir: folder });
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    result = await runGuest({
      machine,
      entries: [
        ...repositoryEntries([fileEntry('repo/shared/native/qv-native.node', addon)]),
        ...folderEntries(folder, IMAGE.slice(1)),
      ],
      args: ['test/vm/scenario/main.ts'],
      workingFolder: GUEST_REPOSITORY,
      memoryMebibytes: 2560,
      timeoutSeconds: 540,
    });
  });

  for (const { name } of SCENARIO) {
    test(name, ({ annotate }) => {
      const report = reportsIn(result.lines).get(name);
      expect(report, [...result.lines, result.console].join('\n')).toBeDefined();
      expect(report?.passed, report?.facts).toBe(true);
      if (report !== undefined) annotate(report.facts);
    });
  }

  test('the guest powers off by itself, with everything passed', () => {
    expect({ status: result.status, timedOut: result.timedOut }, result.console).toEqual({
      status: 0,
      timedOut: false,
    });
  });
});
