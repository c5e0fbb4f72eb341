/**
 * A throwaway virtual machine under software emulation: boots Debian's cloud kernel with AF_VSOCK loopback (CID 1),
 * runs one Node program in it and powers off. Everything is in its initramfs; it has no disk and no network.
 */
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type CpioEntry, cpioArchive, fileEntry } from './cpio.ts';
import { kernelModule, type VmMachine } from './machine.ts';

export interface GuestOptions {
  readonly machine: VmMachine;
  /** What there is beside Node, its libraries and busybox. */
  readonly entries: readonly CpioEntry[];
  /** Arguments of Node. */
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Default `/`. */
  readonly workingFolder?: string;
  /** Default 1536. */
  readonly memoryMebibytes?: number;
  /** Default 1. */
  readonly cpus?: number;
  /** Boot included; then it is killed. */
  readonly timeoutSeconds: number;
  /** Told each line as it comes, standard output and standard error alike. */
  readonly onLine?: (line: string) => void;
}

export interface GuestResult {
  /** The program's; undefined when the machine ended, or was ended, before the program did. */
  readonly status: number | undefined;
  readonly timedOut: boolean;
  /** Lines of the program that are not empty. */
  readonly lines: readonly string[];
  /** What the kernel and the guest's init said, for failures. */
  readonly console: string;
}

/** In the order in which they need each other. */
const VSOCK_MODULES = ['vsock', 'vmw_vsock_virtio_transport_common', 'vsock_loopback'];

/**
 * SIGILL, SIGABRT, SIGSEGV. On emulated processors Node now and then dies of these before it has run a line of ours, in
 * some three of a hundred boots; a fault of ours would be there again.
 */
const CRASHES: readonly (number | undefined)[] = [132, 134, 139];

/** Boots once more, and says so, when the program crashed. @throws Error when QEMU cannot be run */
export async function runGuest(options: GuestOptions): Promise<GuestResult> {
  const first = await bootGuest(options);
  if (!CRASHES.includes(first.status)) return first;
  console.warn(`the program in the guest crashed (status ${first.status}); once more\n${first.console}`);
  return bootGuest(options);
}

async function bootGuest(options: GuestOptions): Promise<GuestResult> {
  const folder = mkdtempSync(join(tmpdir(), 'qv-guest-'));
  try {
    const token = randomBytes(8).toString('hex');
    const initramfs = join(folder, 'initramfs');
    const consoleFile = join(folder, 'console');
    writeFileSync(initramfs, cpioArchive([...baseEntries(options, token), ...options.entries]));
    writeFileSync(consoleFile, '');
    const ended = await runQemu(options, qemuArguments(options, initramfs, consoleFile), token);
    return { ...ended, console: readFileSync(consoleFile, 'latin1') };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function qemuArguments(options: GuestOptions, initramfs: string, consoleFile: string): string[] {
  // One: on several emulated processors V8's own threads crash each other now and then, whatever they run.
  const { machine, memoryMebibytes = 1536, cpus = 1 } = options;
  return [
    ...['-M', 'q35', '-accel', 'tcg,thread=multi', '-m', `${memoryMebibytes}M`, '-smp', String(cpus)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-monitor', 'none', '-no-reboot'],
    // The first port is the kernel's and init's, the second the program's alone.
    ...['-serial', `file:${consoleFile}`, '-serial', 'stdio'],
    ...['-kernel', machine.kernel.image, '-initrd', initramfs],
    ...['-append', 'console=ttyS0 quiet reboot=t panic=-1 random.trust_cpu=on no_timer_check'],
  ];
}

type Ended = Omit<GuestResult, 'console'>;

/** setpriv has the kernel kill QEMU when this process dies, however it dies. */
function runQemu(options: GuestOptions, args: readonly string[], token: string): Promise<Ended> {
  const command = ['--pdeathsig', 'KILL', '--', options.machine.qemu, ...args];
  const qemu = spawn('setpriv', command, { stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: string[] = [];
  let status: number | undefined;
  let timedOut = false;
  let complaints = '';
  qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  const timer = setTimeout(() => {
    timedOut = true;
    qemu.kill('SIGKILL');
  }, options.timeoutSeconds * 1000);
  const reader = createInterface({ input: qemu.stdout });
  reader.on('line', (text) => {
    const line = text.endsWith('\r') ? text.slice(0, -1) : text;
    // Only init knows the token: no line of the program can be taken for its exit.
    if (line.startsWith(`${token} `)) {
      status = Number(line.slice(token.length + 1));
      return;
    }
    // Init begins a line for its own; what ended its last line leaves an empty one.
    if (line === '') return;
    lines.push(line);
    options.onLine?.(line);
  });
  return new Promise((resolve, reject) => {
    qemu.once('error', reject);
    qemu.once('close', (code) => {
      clearTimeout(timer);
      if (code !== 0 && !timedOut) reject(new Error(`QEMU ended with ${code}: ${complaints.trim()}`));
      else resolve({ status, timedOut, lines });
    });
  });
}

function baseEntries({ machine, args, env = {}, workingFolder = '/' }: GuestOptions, token: string): CpioEntry[] {
  const programs = [machine.busybox, process.execPath];
  const libraries = new Set(programs.flatMap(librariesOf));
  return [
    ...['dev', 'proc', 'sys', 'tmp', 'run'].map((path): CpioEntry => ({ kind: 'folder', path })),
    { kind: 'device', path: 'dev/console', type: 'character', major: 5, minor: 1 },
    fileEntry('bin/busybox', machine.busybox, 0o755),
    { kind: 'symlink', path: 'bin/sh', target: 'busybox' },
    fileEntry('bin/node', process.execPath, 0o755),
    ...[...libraries].map((path) => fileEntry(path.slice(1), path, 0o755)),
    ...VSOCK_MODULES.map(
      (name): CpioEntry => ({ kind: 'file', path: `modules/${name}.ko`, content: kernelModule(machine.kernel, name) }),
    ),
    { kind: 'file', path: 'etc/passwd', content: Buffer.from('root:x:0:0::/:/bin/sh\n') },
    { kind: 'file', path: 'etc/hosts', content: Buffer.from('127.0.0.1 localhost\n') },
    { kind: 'file', path: 'init', mode: 0o755, content: Buffer.from(initScript({ args, env, workingFolder, token })) },
  ];
}

/** Shared libraries by their paths here, which are their paths in the guest; none of a static program. */
export function librariesOf(program: string): string[] {
  const { stdout } = spawnSync('ldd', [program], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> |^\t)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

interface InitOptions {
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly workingFolder: string;
  readonly token: string;
}

function initScript({ args, env, workingFolder, token }: InitOptions): string {
  const variables = Object.entries({ PATH: '/bin', HOME: '/tmp', NODE_NO_WARNINGS: '1', ...env });
  const insmod = VSOCK_MODULES.map((name) => `b insmod /modules/${name}.ko`);
  return `#!/bin/sh
b() { /bin/busybox "$@" || { echo "failed: $*"; /bin/busybox reboot -f; }; }
b mount -t proc proc /proc
b mount -t sysfs sys /sys
b mount -t devtmpfs dev /dev
b mount -t tmpfs tmp /tmp
b mount -t tmpfs run /run
${insmod.join('\n')}
b ip link set lo up
b stty -F /dev/ttyS1 raw -echo
ulimit -l unlimited
cd ${quoted(workingFolder)}
{
  ${variables.map(([name, value]) => `${name}=${quoted(value)} `).join('')} /bin/node ${args.map(quoted).join(' ')} </dev/null
  echo $? > /run/status
} 2>&1 | /bin/busybox cat > /dev/ttyS1
printf '\\n%s %s\\n' ${token} "$(/bin/busybox cat /run/status)" > /dev/ttyS1
/bin/busybox dmesg | /bin/busybox grep -E 'segfault|traps:|Out of memory|hung task|BUG:'
/bin/busybox poweroff -f
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
