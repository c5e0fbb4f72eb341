/**
 * One history: every boot comes from another one, and all of them from the first. Wallets may come back to the first boot,
 * so it may name a later one; a circle is then where that history began.
 */
import type { BootId } from '../../brands.ts';
import type { BootState } from './boot-state.ts';
import type { Checklist } from './report.ts';

type States = ReadonlyMap<BootId, BootState>;

export function requireOneRoot(states: States, checklist: Checklist): void {
  const beginnings = new Map<BootId, BootId | undefined>();
  for (const boot of states.keys()) findBeginning(boot, states, beginnings);
  const first = [...new Set(beginnings.values())].filter((boot) => boot !== undefined);
  const startOf = (boot: BootId): number => states.get(boot)?.firstTime ?? 0;
  for (const boot of first.sort((a, b) => startOf(a) - startOf(b)).slice(1))
    checklist.add('chain', 'log_root_repeated', { boot }, 'no other boot of this history comes before it');
}

/** Walks back to where a boot comes from; undefined where a log on the way is not shown, which was found before. */
function findBeginning(boot: BootId, states: States, known: Map<BootId, BootId | undefined>): void {
  const path: BootId[] = [];
  const onPath = new Set<BootId>();
  let beginning: BootId | undefined;
  for (let at: BootId | undefined = boot; at !== undefined; ) {
    if (known.has(at)) {
      beginning = known.get(at);
      break;
    }
    const state: BootState | undefined = states.get(at);
    if (state === undefined) break;
    if (onPath.has(at)) {
      beginning = oldest(path.slice(path.indexOf(at)), states);
      break;
    }
    path.push(at);
    onPath.add(at);
    if (state.origin === undefined) beginning = at;
    at = state.origin;
  }
  for (const passed of path) known.set(passed, beginning);
}

function oldest(circle: readonly BootId[], states: States): BootId | undefined {
  return circle.toSorted((a, b) => (states.get(a)?.firstTime ?? 0) - (states.get(b)?.firstTime ?? 0))[0];
}
