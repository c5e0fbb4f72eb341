/** What this machine must have for a guest: an emulator, a static busybox, and Debian's small kernel. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram, unavailable } from '../support/requires.ts';
import { cloudKernel, type DebianKernel } from './debian.ts';

export interface VmMachine {
  readonly qemu: string;
  readonly busybox: string;
  readonly kernel: DebianKernel;
}

/** @returns undefined, after one line that says what is missing: skip the tests */
export function requireVm(): VmMachine | undefined {
  if (process.arch !== 'x64') return unavailable('vm', 'guests are emulated on x64 alone so far');
  const qemu = requireProgram('qemu-system-x86_64', 'qemu-system-x86');
  const busybox = requireProgram('busybox', 'busybox-static');
  if (qemu === undefined || busybox === undefined) return undefined;
  try {
    return { qemu, busybox, kernel: cloudKernel() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return unavailable('linux-image-cloud', `the Debian package linux-image-cloud cannot be had: ${reason}`);
  }
}

const FOLDERS = ['kernel/net/vmw_vsock'];

/** The bytes of a module of that kernel. @throws Error when it has none */
export function kernelModule({ release, modules }: DebianKernel, name: string): Buffer {
  for (const folder of FOLDERS) {
    const file = join(modules, folder, `${name}.ko`);
    if (existsSync(file)) return readFileSync(file);
    // Debian compresses modules from trixie on.
    if (existsSync(`${file}.xz`)) return unpacked(`${file}.xz`);
  }
  throw new Error(`Linux ${release} has no module ${name}`);
}

function unpacked(file: string): Buffer {
  const { status, stdout, error } = spawnSync('xz', ['-dc', file], { maxBuffer: 64 << 20 });
  if (status !== 0) throw new Error(`xz could not unpack ${file}${error === undefined ? '' : `: ${error.message}`}`);
  return stdout;
}
