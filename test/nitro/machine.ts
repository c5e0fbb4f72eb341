/** The emulated Nitro machine: built once from Debian packages by machine/build.sh, then kept in the user's cache. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireProgram, unavailable } from '../support/requires.ts';
import { cacheFolder } from '../vm/debian.ts';

export interface NitroMachine {
  /** Words to put before the arguments of each program. */
  readonly qemu: readonly string[];
  readonly vhostDeviceVsock: readonly string[];
  readonly kernel: string;
  /** Modules of that kernel in the order in which they load. */
  readonly modules: readonly { readonly name: string; readonly file: string }[];
  /** Name and version of what it was made of. */
  readonly versions: readonly string[];
}

const RECIPE = join(import.meta.dirname, 'machine', 'build.sh');

/** In the order in which they load. Whatever is not among the files is built into the kernel. */
const MODULES = ['virtio_mmio', 'nsm', 'vsock', 'vmw_vsock_virtio_transport_common', 'vmw_vsock_virtio_transport'];

/**
 * Builds it, unless this recipe has been built. Takes minutes, and says so.
 * @returns undefined, after one line that says what is missing: skip the tests
 */
export function buildNitroMachine(): NitroMachine | undefined {
  if (process.arch !== 'x64') return unavailable('nitro', 'Nitro Enclaves are emulated on x64 alone so far');
  const needed = [requireProgram('cc', 'gcc'), requireProgram('setpriv', 'util-linux')];
  if (needed.includes(undefined)) return undefined;
  const folder = machineFolder();
  if (!existsSync(folder)) {
    if (requireProgram('debootstrap') === undefined) return undefined;
    const missing = build(folder);
    if (missing !== undefined) return unavailable('nitro', missing);
  }
  return machineIn(folder);
}

function machineIn(folder: string): NitroMachine {
  const loader = join(folder, 'lib', 'ld-linux-x86-64.so.2');
  // With the loader and the libraries they were built for: this machine's own may be older.
  const program = (name: string): string[] => [
    loader,
    '--library-path',
    join(folder, 'lib'),
    join(folder, 'bin', name),
  ];
  const files = readdirSync(join(folder, 'modules'));
  return {
    qemu: [...program('qemu-system-x86_64'), '-L', join(folder, 'firmware')],
    vhostDeviceVsock: program('vhost-device-vsock'),
    kernel: join(folder, 'vmlinuz'),
    modules: MODULES.filter((name) => files.includes(`${name}.ko`)).map((name) => ({
      name,
      file: join(folder, 'modules', `${name}.ko`),
    })),
    versions: readFileSync(join(folder, 'versions'), 'utf8').trim().split('\n'),
  };
}

/** Another recipe is another machine. Debian's versions of the day it was built are in its file `versions`. */
function machineFolder(): string {
  const hash = createHash('sha256').update(readFileSync(RECIPE)).digest('hex').slice(0, 16);
  return join(cacheFolder(), 'nitro', hash);
}

/** @returns why it cannot be built */
function build(folder: string): string | undefined {
  mkdirSync(join(folder, '..'), { recursive: true });
  process.stderr.write('building QEMU for Nitro Enclaves from Debian packages, once; this takes minutes\n');
  const done = spawnSync('nice', ['bash', RECIPE, folder], { stdio: ['ignore', 'inherit', 'pipe'], encoding: 'utf8' });
  if (done.status === 0) return undefined;
  const why = done.stderr.trim().split('\n').at(-1) ?? '';
  return `the emulated Nitro machine cannot be built: ${done.error?.message ?? why}`;
}
