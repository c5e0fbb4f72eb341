/** One alert, and the body in which it is sent: {"type", "timestamp", "data"}, as Standard Webhooks has it. */
import { createHash } from 'node:crypto';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { instant } from '../freeze-record.ts';
import type { AlertEvent } from './config.ts';

export const ALERT_TYPES = {
  'freeze.latched': 'freeze',
  'freeze.ended': 'freeze',
  'denials.burst': 'denials',
  'trouble.began': 'trouble',
  'trouble.ended': 'trouble',
  'tampering.found': 'tampering',
  'successor.named': 'succession',
  'takeover.claimed': 'succession',
  'takeover.cancelled': 'succession',
  'owner.changed': 'succession',
} as const satisfies Record<string, AlertEvent>;
export type AlertType = keyof typeof ALERT_TYPES;

export interface Alert {
  /** The same for one thing that happened, however often it is told: receivers drop what they have. */
  readonly id: string;
  readonly type: AlertType;
  readonly at: TimeMs;
  readonly body: string;
}

export function alertOf(
  deployment: string,
  type: AlertType,
  at: TimeMs,
  data: Readonly<Record<string, unknown>>,
  /** What it is about: with type and deployment it makes the id. */
  subject: string,
): Alert {
  const hash = createHash('sha256')
    .update(JSON.stringify([deployment, type, subject]))
    .digest('hex');
  const body = JSON.stringify({ type, timestamp: instant(at), data: { deployment, ...data } });
  return { id: `alert_${hash.slice(0, 32)}`, type, at, body };
}
