/** What rows and acknowledgements say of a freeze, read so that nothing unreadable ever unfreezes. */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { FLEET, isFreezeScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, type FreezeAck, freezeAckCodec, printableFact } from '@quantumvault/shared/evidence/leaf.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { REASON_CHARACTERS } from './freeze-report.ts';
import type { FreezeRecord } from './store/store.ts';

/** Whatever a record says, it says that somebody froze something: unreadable parts never unfreeze. */
export function readable({ scope, reason, latchedAt, boot, freezeId }: FreezeRecord, now: TimeMs): FreezeRecord {
  const isKnown = boot !== undefined && BOOT.test(boot) && freezeId?.length === 16;
  return {
    scope: isFreezeScope(scope) ? scope : FLEET,
    reason: printableFact(reason, REASON_CHARACTERS),
    latchedAt: isInstant(latchedAt) ? latchedAt : now,
    // The id of a row whose scope nobody can read is not the fleet's.
    ...(isKnown && isFreezeScope(scope) && { boot, freezeId }),
  };
}

const BOOT = /^[1-9A-HJ-NP-Za-km-z]{32,44}$/;

/** What an acknowledgement says, if it is one. Its signature is for whoever gets it to verify. */
export function readAck(ack: Uint8Array, leaf: Uint8Array): (FreezeAck & { readonly sequence: bigint }) | undefined {
  try {
    return { ...decodeAs(freezeAckCodec, ack, 'ack'), sequence: decodeLeaf(leaf).sequence };
  } catch {
    return undefined;
  }
}

/** Whether a calendar has a name for it (ECMA-262, time values). */
const isInstant = (time: number): boolean => Number.isInteger(time) && time >= 0 && time <= 8.64e15;

/** Whole milliseconds since performance.now() was that. */
export const since = (started: number): number => Math.round(performance.now() - started);

/** RFC 3339 with milliseconds. */
export function instant(time: TimeMs): string {
  return new Date(timeMs(time)).toISOString();
}
