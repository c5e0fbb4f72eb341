/** One run of the two guests, from prepared files to the end of the parent, with everything that it left behind. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VSOCK_PORTS } from '@quantumvault/shared/ports.ts';
import { buildNative } from '../../shared/native/build.ts';
import type { CpioEntry } from '../vm/cpio.ts';
import { repositoryEntries } from '../vm/repository.ts';
import { commandEntries, nodeEntries, startEnclave, startParent, startVsock, systemEntries } from './guest.ts';
import { INSTANCE_ROLE, PARENT, type ReportName, type Reports, type Scenario } from './layout.ts';
import type { NitroMachine } from './machine.ts';
import { callAsStranger, type StrangerResult } from './stranger.ts';

/** Boot, all steps, and room for a machine that does other things, too. */
const LIMIT_MILLISECONDS = 400_000;

export interface RunOptions {
  readonly machine: NitroMachine;
  /** For sockets, consoles and the parent's initramfs; its path is short, as Unix sockets need. */
  readonly folder: string;
  readonly init: string;
  readonly eif: string;
  readonly state: readonly CpioEntry[];
  readonly scenario: Scenario;
}

export interface RunResult {
  readonly reports: Partial<Reports>;
  readonly enclaveConsole: string;
  readonly parentConsole: string;
  readonly vsockLog: string;
  /** What came of calling the enclave's ports from another CID than the parent's. */
  readonly strangers: readonly StrangerResult[];
  /** Of QEMU: 0 for a guest that ended by itself, undefined for one that had to be ended. */
  readonly parentExit: number | string | undefined;
  /** Whether the enclave still ran when the parent had ended. */
  readonly enclaveOutlived: boolean;
}

export async function runGuests(options: RunOptions): Promise<RunResult> {
  const { machine, folder, eif } = options;
  const report = join(folder, 'report');
  writeFileSync(report, '');
  const entries = parentEntries(options);
  const vsock = await startVsock(machine, folder);
  const parent = startParent(machine, { entries, vsockSocket: vsock.parentSocket, folder, report });
  const deadline = performance.now() + LIMIT_MILLISECONDS;
  const reports = (): Partial<Reports> => reportsIn(readFileSync(report, 'utf8'));
  // As on AWS, where an enclave is started by a parent that waits for its heartbeat.
  const untilReported = async (name: ReportName): Promise<void> => {
    while (reports()[name] === undefined && performance.now() < deadline)
      if ((await exitWithin(parent.exited, 100)) !== undefined) return;
  };
  await untilReported('listening');
  const enclave = startEnclave(machine, { eif, roleArn: INSTANCE_ROLE, vsockSocket: vsock.enclaveSocket, folder });
  await untilReported('attestation');
  const ports = [VSOCK_PORTS.data, VSOCK_PORTS.control];
  const strangers = await Promise.all(ports.map((port) => callAsStranger(vsock.enclaveCalls, port)));
  const parentExit = await exitWithin(parent.exited, Math.max(0, deadline - performance.now()));
  const enclaveOutlived = (await exitWithin(enclave.exited, 0)) === undefined;
  await Promise.all([parent.stop(), enclave.stop()]);
  await vsock.stop();
  return {
    reports: reports(),
    enclaveConsole: enclave.console(),
    parentConsole: parent.console(),
    vsockLog: vsock.log(),
    strangers,
    parentExit,
    enclaveOutlived,
  };
}

function exitWithin<T>(exited: Promise<T>, milliseconds: number): Promise<T | undefined> {
  const limit = new AbortController();
  const late = sleep(milliseconds, undefined, { signal: limit.signal }).catch(() => undefined);
  return Promise.race([exited, late]).finally(() => limit.abort());
}

function parentEntries({ machine, init, folder, state, scenario }: RunOptions): readonly CpioEntry[] {
  const addon = join(folder, 'qv-native.node');
  buildNative({ outFile: addon });
  const addonPath = `rootfs${PARENT.repository}/shared/native/qv-native.node`;
  const repository = repositoryEntries()
    .map((entry) => ({ ...entry, path: `rootfs/${entry.path}` }))
    // Whatever somebody built there earlier: this one is of the sources as they are.
    .filter(({ path }) => path !== addonPath);
  return [
    ...systemEntries(machine, init),
    ...nodeEntries('/bin/node', [addon]),
    ...commandEntries(['/bin/node', `${PARENT.repository}/test/nitro/parent/main.ts`, scenario], {
      PATH: '/bin',
      HOME: '/tmp',
      NODE_NO_WARNINGS: '1',
    }),
    { kind: 'file', path: 'rootfs/etc/hosts', content: Buffer.from('127.0.0.1 localhost\n') },
    ...repository,
    { kind: 'file', path: addonPath, content: readFileSync(addon) },
    ...state,
  ];
}

function reportsIn(text: string): Partial<Reports> {
  // The last line may not be whole yet.
  const lines = text.split('\n').slice(0, -1);
  return Object.fromEntries(
    lines.map((line) => {
      const { name, facts } = JSON.parse(line) as { name: ReportName; facts: unknown };
      return [name, facts];
    }),
  );
}
