/** What a change of who may follow a wallet's owner has to be, by what the leaves before it have said. */
import type { Address } from '../../brands.ts';
import type { OwnerSuccession, SuccessionKind, Successor } from '../leaf.ts';
import type { LeafOf } from './kinds.ts';

const DAY_MS = 86_400_000;

/** When the delay of a claim has passed, in milliseconds since 1970; undefined while none runs. */
export function dueAt({ successor, claimedAt }: OwnerSuccession): number | undefined {
  return claimedAt === undefined || successor === undefined ? undefined : claimedAt + successor.delayDays * DAY_MS;
}

/** What it leaves behind. */
export function successionAfter({ kind, actor, succession }: LeafOf<SuccessionKind>): OwnerSuccession {
  return kind === 'owner-changed' ? { change: succession.change, owner: actor } : succession;
}

/** @param known undefined of a wallet that never named one. What is wrong, for people. */
export function successionFaults(
  owner: Address | undefined,
  known: OwnerSuccession | undefined,
  leaf: LeafOf<SuccessionKind>,
): readonly string[] {
  const { actor, time, succession } = leaf;
  const faults: string[] = [];
  const require = (holds: boolean, fault: string): void => {
    if (!holds) faults.push(fault);
  };
  require(owner === undefined || succession.owner === owner, `it names ${succession.owner} as owner`);
  const next = (known?.change ?? 0) + 1;
  require(succession.change === next, `change ${succession.change}, where ${next} had to follow`);
  const due = known && dueAt(known);
  const isInTime = due === undefined || time < due;
  if (leaf.kind === 'successor-named') {
    require(actor === succession.owner, `named by ${actor}, who is not its owner`);
    require(succession.claimedAt === undefined, 'a claim runs on under a successor who was named behind it');
    require(isInTime, 'the delay of the claim had passed');
    return faults;
  }
  require(isSame(known?.successor, succession.successor), 'of another successor than the owner named');
  if (leaf.kind === 'takeover-claimed') {
    require(actor === succession.successor?.key, `claimed by ${actor}, who is not the successor`);
    require(known?.claimedAt === undefined, 'a claim ran already');
    require(succession.claimedAt === time, 'it begins at another time than the leaf’s');
    return faults;
  }
  if (leaf.kind === 'owner-changed') {
    require(actor === succession.successor?.key, `taken over by ${actor}, who is not the successor`);
    require(known?.claimedAt !== undefined, 'no claim ran');
    require(succession.claimedAt === known?.claimedAt, 'by another claim than ran');
    require(!isInTime, 'the delay of the claim had not passed');
    return faults;
  }
  require(actor === succession.owner, `cancelled by ${actor}, who is not its owner`);
  require(known?.claimedAt !== undefined, 'no claim ran');
  require(succession.claimedAt === undefined, 'the claim runs on');
  require(isInTime, 'the delay of the claim had passed');
  return faults;
}

/**
 * What a boot found in the state that it leased: all that was on record, where nothing was lost. A claim's delay may
 * begin again with the lease, never earlier.
 */
export function leasedFaults(
  known: OwnerSuccession | undefined,
  found: OwnerSuccession | undefined,
  leasedAt: number,
  isLost: boolean,
): readonly string[] {
  if (known === undefined) return found === undefined || isLost ? [] : ['a succession that nobody set'];
  if (found === undefined) return ['the succession is gone'];
  if (isLost) {
    const isKnown = found.owner === known.owner || found.owner === known.successor?.key;
    return found.change >= known.change && isKnown ? [] : ['another succession than is on record'];
  }
  const { claimedAt } = found;
  const agrees =
    found.change === known.change &&
    found.owner === known.owner &&
    isSame(found.successor, known.successor) &&
    (claimedAt === known.claimedAt || (known.claimedAt !== undefined && claimedAt === leasedAt));
  return agrees ? [] : ['another succession than is on record'];
}

function isSame(a: Successor | undefined, b: Successor | undefined): boolean {
  return a?.key === b?.key && a?.delayDays === b?.delayDays;
}
