/** The guests of this test: a parent and an enclave, on one vsock of their own, kernel to kernel. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { until } from '../support/temporary.ts';
import { type CpioEntry, cpioArchive, fileEntry } from '../vm/cpio.ts';
import { librariesOf } from '../vm/guest.ts';
import { ENCLAVE_CID, INSTANCE_ID, MODULE_ID, PARENT_CID } from './layout.ts';
import type { NitroMachine } from './machine.ts';

/** The guests' first process, a static program. @returns its path */
export function buildInit(folder: string): string {
  return compiled(folder, 'init', ['-static']);
}

/**
 * The board of an enclave has one clock that its kernel can measure the others by, the PIT, and on a machine that does
 * other things, too, that fails and the boot hangs: so the kernel is told.
 */
function timeStampKilohertz(folder: string): string {
  const done = spawnSync(compiled(folder, 'tsc-khz', []), { encoding: 'utf8' });
  if (!/^[1-9][0-9]{4,8}\n$/.test(done.stdout))
    throw new Error(`the time stamp counter cannot be measured: ${done.stdout}`);
  return done.stdout.trim();
}

function compiled(folder: string, name: string, flags: readonly string[]): string {
  const out = join(folder, name);
  const args = [...flags, '-O2', '-Wall', '-Wextra', '-Werror', '-o', out, join(import.meta.dirname, `${name}.c`)];
  const done = spawnSync('cc', args, { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${name}.c does not compile: ${done.stderr}`);
  return out;
}

/** Init and modules: what AWS's own first ramdisk holds. */
export function systemEntries(machine: NitroMachine, init: string): CpioEntry[] {
  return [
    fileEntry('init', init, 0o755),
    { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
    ...machine.modules.map(({ name, file }, index) =>
      fileEntry(`modules/${String(index).padStart(2, '0')}-${name}.ko`, file),
    ),
  ];
}

/** Node at `path` of the application's root, with the libraries it needs at their usual paths, and empty folders. */
export function nodeEntries(path: string, programs: readonly string[] = []): CpioEntry[] {
  const libraries = new Set([process.execPath, ...programs].flatMap(librariesOf));
  return [
    ...['dev', 'proc', 'sys', 'run', 'var'].map((name): CpioEntry => ({ kind: 'folder', path: `rootfs/${name}` })),
    { kind: 'folder', path: 'rootfs/tmp', mode: 0o1777 },
    fileEntry(`rootfs${path}`, process.execPath, 0o755),
    ...[...libraries].map((library) => fileEntry(`rootfs${library}`, library, 0o755)),
  ];
}

/** What init starts, one argument and one variable a line. */
export function commandEntries(args: readonly string[], env: Readonly<Record<string, string>>): CpioEntry[] {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const lines = (list: readonly string[]): Buffer => Buffer.from(list.map((each) => `${each}\n`).join(''));
  return [
    { kind: 'file', path: 'cmd', content: lines(args) },
    { kind: 'file', path: 'env', content: lines(variables) },
  ];
}

export interface RunningGuest {
  /** Everything its console has shown. */
  console(): string;
  /** Resolves with QEMU's exit status or signal. */
  readonly exited: Promise<number | NodeJS.Signals>;
  stop(): Promise<void>;
}

export interface VsockDaemon {
  readonly parentSocket: string;
  readonly enclaveSocket: string;
  /** Where this machine, CID 2, can call the enclave. */
  readonly enclaveCalls: string;
  log(): string;
  stop(): Promise<void>;
}

const callsOf = (folder: string, cid: number): string => join(folder, `${cid}.vsock`);

/** The device behind both guests' vsock. No kernel but theirs takes part. */
export async function startVsock(machine: NitroMachine, folder: string): Promise<VsockDaemon> {
  const device = (cid: number): string[] => [
    '--vm',
    // The default buffer hangs a connection for ever when a guest writes more than 32 KiB at once.
    `guest-cid=${cid},socket=${join(folder, `${cid}.sock`)},uds-path=${callsOf(folder, cid)},tx-buffer-size=32768`,
  ];
  const log = join(folder, 'vsock.log');
  const process = startProgram(machine.vhostDeviceVsock, [...device(PARENT_CID), ...device(ENCLAVE_CID)], log);
  const [parentSocket, enclaveSocket] = [join(folder, `${PARENT_CID}.sock`), join(folder, `${ENCLAVE_CID}.sock`)];
  await until('vhost-device-vsock listens', () => {
    if (process.child.exitCode !== null) throw new Error(`vhost-device-vsock ended: ${readFileSync(log, 'latin1')}`);
    return existsSync(parentSocket) && existsSync(enclaveSocket);
  });
  return {
    parentSocket,
    enclaveSocket,
    enclaveCalls: callsOf(folder, ENCLAVE_CID),
    log: () => readFileSync(log, 'latin1'),
    stop: process.stop,
  };
}

export interface EnclaveOptions {
  readonly eif: string;
  /** PCR3 is its hash. */
  readonly roleArn: string;
  readonly vsockSocket: string;
  readonly folder: string;
}

/** Boots the image as a Nitro Enclave: PCRs measured by QEMU, a virtual security module behind /dev/nsm. */
export function startEnclave(machine: NitroMachine, options: EnclaveOptions): RunningGuest {
  const board = `nitro-enclave,acpi=on,vsock=c,id=${MODULE_ID},parent-role=${options.roleArn},parent-id=${INSTANCE_ID}`;
  return startGuest(machine, join(options.folder, 'enclave.console'), [
    ...['-M', board, '-kernel', options.eif, '-m', '1G', '-smp', '2'],
    ...['-chardev', `socket,id=c,path=${options.vsockSocket}`],
    // With two CPUs the security module sometimes dies at boot without this.
    ...['-global', 'virtio-mmio.ioeventfd=off'],
    // Not measured, as it is about this emulator alone.
    ...['-append', `reboot=t panic=-1 quiet tsc_early_khz=${timeStampKilohertz(options.folder)}`],
  ]);
}

export interface ParentOptions {
  readonly entries: readonly CpioEntry[];
  readonly vsockSocket: string;
  readonly folder: string;
  /** Filled with what the guest writes to /dev/vport*: its report. */
  readonly report: string;
}

/** An ordinary machine beside it, whose root file system is its initramfs. */
export function startParent(machine: NitroMachine, options: ParentOptions): RunningGuest {
  const initramfs = join(options.folder, 'parent.initramfs');
  writeFileSync(initramfs, cpioArchive(options.entries));
  return startGuest(machine, join(options.folder, 'parent.console'), [
    ...['-M', 'q35,memory-backend=m', '-object', 'memory-backend-memfd,id=m,size=1536M,share=on'],
    ...['-m', '1536M', '-smp', '2', '-kernel', machine.kernel, '-initrd', initramfs],
    ...['-append', 'console=ttyS0 quiet reboot=t panic=-1 random.trust_cpu=on no_timer_check'],
    ...['-chardev', `socket,id=c,path=${options.vsockSocket}`, '-device', 'vhost-user-vsock-pci,chardev=c'],
    ...['-device', 'virtio-serial-pci', '-chardev', `file,id=r,path=${options.report}`],
    ...['-device', 'virtserialport,chardev=r,name=report'],
  ]);
}

function startGuest(machine: NitroMachine, console: string, args: readonly string[]): RunningGuest {
  writeFileSync(console, '');
  const common = ['-accel', 'tcg,thread=multi', '-nodefaults', '-display', 'none', '-no-reboot'];
  const serial = ['-serial', `file:${console}`];
  const guest = startProgram(machine.qemu, [...args, ...common, ...serial], `${console}.qemu`);
  return {
    console: () => readFileSync(console, 'latin1') + readFileSync(`${console}.qemu`, 'latin1'),
    exited: guest.exited,
    stop: guest.stop,
  };
}

interface Program {
  readonly child: ChildProcess;
  readonly exited: Promise<number | NodeJS.Signals>;
  stop(): Promise<void>;
}

/** setpriv has the kernel kill it when this process dies, however it dies. */
function startProgram([file = '', ...words]: readonly string[], args: readonly string[], log: string): Program {
  const output = openSync(log, 'w');
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', file, ...words, ...args], {
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  const exited = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? signal ?? 1));
  });
  return {
    child,
    exited,
    stop: async () => {
      child.kill('SIGKILL');
      await exited;
    },
  };
}
