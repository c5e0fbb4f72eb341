/** The host's process and qv over real AF_VSOCK, in a guest, before an enclave that the test plays. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { requireProgram } from '../support/requires.ts';
import { reportsIn } from './checks.ts';
import { fileEntry } from './cpio.ts';
import { type GuestResult, runGuest } from './guest.ts';
import { HOST_CHECKS } from './host/checks.ts';
import { requireVm } from './machine.ts';
import { GUEST_REPOSITORY, repositoryEntries } from './repository.ts';

const machine = requireVm();
const compiler = requireProgram('cc', 'gcc');
const folder = mkdtempSync(join(tmpdir(), 'qv-host-vm-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(machine === undefined || compiler === undefined)('a host whose enclave is on vsock', () => {
  let result: GuestResult;
  beforeAll(async () => {
    if (machine === undefined) return;
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    // Where the host looks for it; not one that somebody has built in this checkout.
    const place = `${GUEST_REPOSITORY.slice(1)}/shared/native/qv-native.node`;
    result = await runGuest({
      machine,
      entries: [...repositoryEntries().filter((entry) => entry.path !== place), fileEntry(place, addon, 0o755)],
      args: ['test/vm/host/main.ts'],
      workingFolder: GUEST_REPOSITORY,
      timeoutSeconds: 580,
    });
  });

  for (const { name } of HOST_CHECKS) {
    test(name, ({ annotate }) => {
      const report = reportsIn(result.lines).get(name);
      expect(report, [...result.lines, result.console].join('\n')).toBeDefined();
      expect(report?.passed, report?.facts).toBe(true);
      if (report !== undefined) annotate(report.facts);
    });
  }
});
