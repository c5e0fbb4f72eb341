/** What a process found out about itself, as one line that the test finds in the log of both. */

export interface Report {
  readonly attempts: Readonly<Record<string, string>>;
  /** Negative errnos, or 0. */
  readonly calls: Readonly<Record<string, number>>;
  readonly controls: Readonly<Record<string, number>>;
}

export function report(who: 'vault' | 'agent', found: Report): void {
  process.stderr.write(`report ${who} ${process.pid} ${JSON.stringify(found)}\n`);
}

/** System calls that neither process gets. */
export const OF_BOTH = [
  ...['ptrace', 'process_vm_readv', 'process_vm_writev', 'kcmp', 'perf_event_open', 'bpf', 'userfaultfd'],
  ...['io_uring_setup', 'keyctl', 'add_key', 'init_module', 'finit_module', 'delete_module', 'kexec_load', 'mount'],
  ...['umount2', 'pivot_root', 'chroot', 'unshare', 'setns', 'swapon', 'reboot', 'acct', 'syslog', 'personality'],
  ...['memfd_create', 'open_by_handle_at', 'mknodat', 'socket'],
];

/** What the kms-agent does not get, either. Those of the second list are not on every machine. */
export const OF_AGENT = [
  ...['execve', 'execveat', 'clone', 'bind', 'listen', 'accept4', 'openat', 'openat2', 'mkdirat', 'unlinkat'],
  ...['renameat2', 'linkat', 'symlinkat', 'fchmodat', 'truncate', 'mmap', 'shmget', 'clock_settime', 'io_uring_enter'],
  ...['fchmod', 'fchown', 'ftruncate', 'fsetxattr', 'removexattr', 'mq_open'],
];
export const OF_AGENT_ON_X64 = ['fork', 'vfork', 'open', 'creat', 'unlink', 'mkdir', 'utime', 'futimesat'];
