/** System calls as a compromised process would make them: by number, past Node and the C library. */
import { join } from 'node:path';

export interface SystemCalls {
  call(number: number, ...values: (number | Uint8Array)[]): number;
  readonly numbers: Readonly<Record<string, number>>;
}

/** The addon of ../kit, beside the bundle. Before the process closes its doors. */
export function loadSystemCalls(): SystemCalls {
  const module = { exports: {} };
  process.dlopen(module, join(__dirname, 'system-calls.node'));
  return module.exports as SystemCalls;
}

const path = (name: string): Uint8Array => Buffer.from(`${name}\0`);
const AT_FDCWD = -100;
const [READ_WRITE, READ_EXECUTE, PRIVATE_ANONYMOUS] = [3, 5, 0x22];
const [CREATE_AND_WRITE, WRITE] = [0o101, 1];
/** Not harmful where they are not refused: empty, of nothing, or of this process itself. */
const HARMLESS: Readonly<Record<string, readonly (number | Uint8Array)[]>> = {
  socket: [2, 1, 0],
  clone: [17],
  openat: [AT_FDCWD, path('/tmp/qv-must-not-be-there'), CREATE_AND_WRITE, 0o600],
  open: [path('/dev/null'), WRITE],
  mmap: [0, 4096, READ_EXECUTE, PRIVATE_ANONYMOUS, -1, 0],
};

/** By name: the kernel's answer to each, as a negative errno or 0. Only for a process whose filter is in place. */
export function callAll({ call, numbers }: SystemCalls, names: readonly string[]): Record<string, number> {
  const answers = names.map((name) => [name, call(numbers[name] ?? -1, ...(HARMLESS[name] ?? []))] as const);
  return Object.fromEntries(answers.map(([name, answer]) => [name, Math.min(answer, 0)]));
}

/** What must go on working, and sockets by family: negative errnos, or 0. */
export function callControls({ call, numbers }: SystemCalls, megabytes: number): Record<string, number> {
  const number = (name: string): number => numbers[name] ?? -1;
  const socket = (family: number, type = 1): number => Math.min(call(number('socket'), family, type, 0), 0);
  return {
    getpid: Math.min(call(number('getpid')), 0),
    unix: socket(1),
    inet6: socket(10),
    netlink: socket(16, 3),
    packet: socket(17, 3),
    alg: socket(38, 5),
    memory: Math.min(call(number('mmap'), 0, megabytes << 20, READ_WRITE, PRIVATE_ANONYMOUS, -1, 0), 0),
  };
}
