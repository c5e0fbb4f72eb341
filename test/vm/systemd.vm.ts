/** The units of host/deploy under this machine's systemd, in a guest, with a stand-in for nitro-cli. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { reportsIn } from './checks.ts';
import { type GuestResult, runGuest } from './guest.ts';
import { requireVm } from './machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from './repository.ts';
import { UNIT_CHECKS } from './systemd/checks.ts';
import { systemEntries } from './systemd/layout.ts';

const machine = requireVm();
const compiler = requireProgram('cc', 'gcc');
const systemd = requireProgram('systemctl', 'systemd');
const folder = mkdtempSync(join(tmpdir(), 'qv-systemd-vm-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf([machine, compiler, systemd].includes(undefined))('the units of host and enclave', () => {
  let result: GuestResult;
  beforeAll(async () => {
    if (machine === undefined) return;
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    result = await runGuest({
      machine,
      entries: [...repositoryEntries(), ...systemEntries(machine.busybox, addon)],
      args: ['test/vm/systemd/main.ts'],
      workingFolder: GUEST_REPOSITORY,
      memoryMebibytes: 3072,
      timeoutSeconds: 590,
    });
  });

  for (const { name } of UNIT_CHECKS) {
    test(name, ({ annotate }) => {
      const report = reportsIn(result.lines).get(name);
      expect(report, [...result.lines, result.console].join('\n')).toBeDefined();
      expect(report?.passed, report?.facts).toBe(true);
      if (report !== undefined) annotate(report.facts);
    });
  }
});
