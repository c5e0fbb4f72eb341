/** Successors, and what the log says of them, as JSON carries them. */
import { address, type TimeMs } from '@quantumvault/shared/brands.ts';
import type { Leaf, LeafKind, Successor } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { instant } from './freeze-record.ts';

const DAY_MS = 86_400_000;

/** `{"key": base58, "delayDays": 1 to LIMITS.successorDelayDays}` @throws QvError field_malformed, base58_malformed */
export function successorField(parent: JsonFields, key: string): Successor {
  const fields = new JsonFields(parent.required(key), parent.path(key));
  const successor = {
    key: address(fields.text('key'), fields.path('key')),
    delayDays: fields.integer('delayDays', LIMITS.successorDelayDays),
  };
  fields.end();
  if (successor.delayDays === 0) throw fields.fault('delayDays', 'no days');
  return successor;
}

export interface SuccessionJson {
  /** Of the last change; the next statement names one more. */
  readonly change: number;
  readonly successor: Successor | null;
  /** Of the claim that runs; null while none does. */
  readonly takeover: { readonly claimedAt: string; readonly dueAt: string } | null;
}

/** A leaf, or an acknowledgement of one. */
type SaysSuccession = Pick<Leaf, 'succession'> & { readonly kind?: LeafKind };

/** Null of a wallet whose owner never named anybody. */
export function successionJson({ succession, kind }: SaysSuccession): SuccessionJson | null {
  if (succession === undefined) return null;
  const { change, successor, claimedAt } = succession;
  // It says whose claim it went by; of the new owner nobody is the successor yet.
  if (kind === 'owner-changed') return { change, successor: null, takeover: null };
  const dueAt = claimedAt && successor && ((claimedAt + successor.delayDays * DAY_MS) as TimeMs);
  const takeover = claimedAt && dueAt ? { claimedAt: instant(claimedAt), dueAt: instant(dueAt) } : null;
  return { change, successor: successor ?? null, takeover };
}
