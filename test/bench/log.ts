/** What the log costs: the enclave for each leaf, and whoever audits a million of them. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { append, type Frontier } from '@quantumvault/shared/tlog/tree.ts';
import type { Row } from './measure.ts';

const LEAVES = 1_000_000;
const FEW_LEAVES = 1_000;
/** In one go, so that every length of carry occurs. */
const APPENDED = 64;

/** A frontier has one hash per bit set in its size; which hashes does not matter here. */
function frontierOf(size: number): Frontier {
  const hashes = [...size.toString(2)].filter((bit) => bit === '1').map((_, at) => hash(new Uint8Array(32).fill(at)));
  return { size: BigInt(size), hashes };
}

/** Appending is O(log n) at most: a thousand times the leaves must not show. */
export function appendRow(): Row {
  const leaf = new Uint8Array(32).fill(7) as Hash;
  const appendMany = (size: number) => {
    const start = frontierOf(size);
    return async () => {
      let frontier = start;
      for (let index = 0; index < APPENDED; index++) frontier = append(frontier, leaf);
    };
  };
  return {
    name: `${APPENDED} leaves appended at ${LEAVES}`,
    ours: appendMany(LEAVES),
    baseline: `at ${FEW_LEAVES}`,
    theirs: appendMany(FEW_LEAVES),
  };
}

export interface AuditRun {
  readonly what: string;
  readonly leaves: number;
  readonly seconds: number;
  readonly leavesPerSecond: number;
  /** Of the whole process. */
  readonly peakMegabytes: number;
  /** JavaScript objects, and buffers outside of the heap, at the end. */
  readonly heapMegabytes: number;
  readonly bufferMegabytes: number;
}

/** Each in a process of its own, because the peak of memory is one of a process. The log is a file of some 340 MB. */
export function auditRuns(): readonly AuditRun[] {
  const folder = mkdtempSync(join(tmpdir(), 'qv-bench-log-'));
  try {
    run(folder, 'write');
    return ['hash', 'full', 'incremental'].map((what) => JSON.parse(run(folder, what)) as AuditRun);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function run(folder: string, what: string): string {
  const program = join(import.meta.dirname, 'log-audit.ts');
  // A small heap: the peak is then what is needed, rather than what nobody has collected yet.
  const heap = what === 'write' ? [] : ['--max-old-space-size=64', '--max-semi-space-size=4'];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...heap, program, folder, what, String(LEAVES)], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${what}: ${stderr}`);
  return stdout;
}
