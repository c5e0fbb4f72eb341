/**
 * In which order logs are read: each as far as it goes, and where a leaf names another log's state, that log first.
 * Boots may hand wallets to each other back and forth, so the order is one of leaves and not of logs.
 */
import type { BootId } from '../../brands.ts';
import type { BootRun } from './boot-run.ts';
import type { Checklist } from './report.ts';

interface Frame {
  readonly run: BootRun;
  readonly until: number;
  /** The one below only would rather wait for it. */
  readonly isSoft: boolean;
}

/** Frames beyond this give back what they have read ahead. */
const KEEPS_BUNDLES = 16;

export async function readAll(runs: ReadonlyMap<BootId, BootRun>, checklist: Checklist): Promise<void> {
  for (const run of runs.values()) await readOne(run, runs, checklist);
}

async function readOne(first: BootRun, runs: ReadonlyMap<BootId, BootRun>, checklist: Checklist): Promise<void> {
  const stack: Frame[] = [{ run: first, until: Number.POSITIVE_INFINITY, isSoft: false }];
  const depth = new Map<BootRun, number>([[first, 0]]);
  for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
    const wait = await top.run.advance(top.until);
    const other = wait && runs.get(wait.boot);
    if (wait === undefined || other === undefined) {
      stack.pop();
      depth.delete(top.run);
      continue;
    }
    const below = depth.get(other);
    if (below === undefined) {
      if (stack.length > KEEPS_BUNDLES) top.run.suspend();
      depth.set(other, stack.length);
      stack.push({ run: other, until: wait.size, isSoft: wait.isSoft });
    } else if (wait.isSoft) top.run.giveUpSoft();
    else if (!giveWay(stack, below, depth)) {
      const place = { boot: top.run.state.boot, sequence: BigInt(top.run.state.size) };
      checklist.add('chain', 'log_chain_cycle', place, `it waits for ${wait.boot}, which waits for it`);
      top.run.giveUp();
    }
  }
}

/** Whoever in the circle waits without need goes on. */
function giveWay(stack: Frame[], from: number, depth: Map<BootRun, number>): boolean {
  const soft = stack.findIndex(({ isSoft }, index) => index > from && isSoft);
  if (soft < 0) return false;
  stack[soft - 1]?.run.giveUpSoft();
  for (const { run } of stack.splice(soft)) depth.delete(run);
  return true;
}
