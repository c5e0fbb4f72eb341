/**
 * The whole memory of another process, as it is at one moment: stopped, read through /proc/<pid>/mem, continued. That
 * needs the same user and a process that is dumpable, or root.
 *
 * Read is every page that is there: of private mappings, shared anonymous ones and files mapped writable, whatever
 * their permissions, so also the guarded pages that the process itself cannot read now. Left out are pages that come
 * unchanged from a file that is not mapped writable, what the kernel maps (vvar, vsyscall), and pages never touched.
 * Not part of any mapping, and not read: registers of stopped threads, and what the kernel holds (sockets, pipes).
 */
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';

export const PAGE_BYTES = 4096;
/** Of an entry in /proc/<pid>/pagemap (proc(5)), its high half. */
const PRESENT = 0x8000_0000;
const SWAPPED = 0x4000_0000;
const FROM_FILE_OR_SHARED = 0x2000_0000;

export interface Mapping {
  readonly start: number;
  readonly end: number;
  /** As in /proc/<pid>/maps: `rw-p`. */
  readonly permissions: string;
  /** File, `[heap]`, or nothing for anonymous memory. */
  readonly name: string;
}

/** Bytes that follow each other in the process, at `offset` of the snapshot's. */
export interface Run {
  readonly address: number;
  readonly offset: number;
  readonly length: number;
}

export interface Snapshot {
  readonly bytes: Buffer;
  readonly runs: readonly Run[];
  readonly mappings: readonly Mapping[];
}

/** Private, anonymous, and not even readable: how guarded memory looks while nobody uses it. */
export function isGuarded({ permissions, name }: Mapping): boolean {
  return permissions === '---p' && name === '';
}

/** @throws Error EACCES or EPERM when that process may not be read */
export async function readMemory(pid: number): Promise<Snapshot> {
  process.kill(pid, 'SIGSTOP');
  try {
    await stopped(pid);
    return read(pid);
  } finally {
    process.kill(pid, 'SIGCONT');
  }
}

/** A stop reaches threads one after the other. */
async function stopped(pid: number): Promise<void> {
  const deadline = performance.now() + 5_000;
  const isStopped = (task: string): boolean =>
    /^\d+ \(.*\) [tT] /s.test(readFileSync(`/proc/${pid}/task/${task}/stat`, 'latin1'));
  while (!readdirSync(`/proc/${pid}/task`).every(isStopped)) {
    if (performance.now() > deadline) throw new Error(`process ${pid} did not stop`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function read(pid: number): Snapshot {
  const mappings = mappingsOf(pid);
  const pagemap = openSync(`/proc/${pid}/pagemap`, 'r');
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  try {
    const runs: Run[] = [];
    let total = 0;
    for (const { start, length } of mappings.flatMap((mapping) => pagesOf(pagemap, mapping))) {
      const last = runs.at(-1);
      // Neighbours are one run also across mappings: what lies over the border is found.
      if (last !== undefined && last.address + last.length === start) {
        runs[runs.length - 1] = { ...last, length: last.length + length };
      } else {
        runs.push({ address: start, offset: total, length });
      }
      total += length;
    }
    const bytes = Buffer.allocUnsafeSlow(total);
    for (const run of runs) readRun(memory, run, bytes);
    return { bytes, runs, mappings };
  } finally {
    closeSync(memory);
    closeSync(pagemap);
  }
}

function readRun(memory: number, { address, offset, length }: Run, into: Buffer): void {
  for (let done = 0; done < length; ) {
    const count = readSync(memory, into, offset + done, length - done, address + done);
    if (count === 0) throw new Error(`memory ends at ${(address + done).toString(16)}`);
    done += count;
  }
}

const LINE = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \d+\s*(.*)$/;

export function mappingsOf(pid: number): Mapping[] {
  const lines = readFileSync(`/proc/${pid}/maps`, 'latin1').split('\n').slice(0, -1);
  return lines.flatMap((line) => {
    const [, start = '', end = '', permissions = '', name = ''] = LINE.exec(line) ?? [];
    if (start === '') throw new Error(`not a line of /proc/${pid}/maps: ${line}`);
    // The kernel's own, the same in every process.
    if (/^\[v(var|syscall|dso)/.test(name)) return [];
    return [{ start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), permissions, name }];
  });
}

function pagesOf(pagemap: number, { start, end, permissions, name }: Mapping): { start: number; length: number }[] {
  const count = (end - start) / PAGE_BYTES;
  const entries = Buffer.alloc(count * 8);
  const got = readSync(pagemap, entries, 0, entries.length, (start / PAGE_BYTES) * 8);
  if (got !== entries.length) throw new Error('the page map ends early');
  const isOnlyRead = name.startsWith('/') && permissions[1] !== 'w';
  const found: { start: number; length: number }[] = [];
  let from = -1;
  for (let page = 0; page <= count; page++) {
    const flags = page < count ? entries.readUInt32LE(page * 8 + 4) : 0;
    const isThere = (flags & (PRESENT | SWAPPED)) !== 0 && !(isOnlyRead && (flags & FROM_FILE_OR_SHARED) !== 0);
    if (isThere && from < 0) from = page;
    if (!isThere && from >= 0) {
      found.push({ start: start + from * PAGE_BYTES, length: (page - from) * PAGE_BYTES });
      from = -1;
    }
  }
  return found;
}

/** Where a byte of the snapshot stands in the process. */
export function addressOf({ runs }: Snapshot, offset: number): number {
  const run = runs.find((candidate) => candidate.offset <= offset && offset < candidate.offset + candidate.length);
  if (run === undefined) throw new Error(`no byte ${offset}`);
  return run.address + offset - run.offset;
}

/** The mapping at an address of the snapshot. */
export function mappingAt({ mappings }: Snapshot, address: number): Mapping {
  const found = mappings.find(({ start, end }) => start <= address && address < end);
  if (found === undefined) throw new Error(`no mapping at ${address.toString(16)}`);
  return found;
}
