/** Until when an order or a lease may be used: the same option for both. */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parseTime } from '@quantumvault/shared/rfc3339.ts';
import type { Arguments, OptionSpec } from '../command.ts';

const HOUR_MS = 3_600_000;
const DEFAULT_HOURS = 4;

export const NOT_AFTER: OptionSpec = {
  value: '<time>',
  help: `until when it counts, RFC 3339 in UTC, at most 24 hours ahead; ${DEFAULT_HOURS} hours from now unless given`,
};

/** @throws QvError usage_invalid, succession_expired */
export function notAfter(args: Arguments): TimeMs {
  const text = args.optional('not-after');
  if (text === undefined) return timeMs((Math.floor(Date.now() / 1000) + DEFAULT_HOURS * 3600) * 1000);
  const time = parseTime(text);
  if (time === undefined)
    throw new QvError('usage_invalid', { value: '--not-after is no time like 2026-11-23T12:00:00Z' });
  requireUsable(time);
  return time;
}

/** As the enclave will judge it. @throws QvError succession_expired */
export function requireUsable(time: TimeMs): void {
  const ahead = time - Date.now();
  if (ahead < 0 || ahead > LIMITS.leaseMaxAheadSeconds * 1000)
    throw new QvError('succession_expired', { path: 'notAfter' });
}

/** For people: when, and how far that is from now. */
export function untilText(time: TimeMs): string {
  const hours = (time - Date.now()) / HOUR_MS;
  return `${new Date(time).toISOString()} (${hours < 0 ? 'past' : `in ${hours.toFixed(1)} hours`})`;
}
