/** Times as people read them: RFC 3339 in UTC, whole seconds, in exactly one spelling (`2026-11-22T12:00:00Z`). */
import { type TimeMs, timeMs } from './brands.ts';

const FORM = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/;

/** Undefined for anything that formatTime would not print. */
export function parseTime(text: string): TimeMs | undefined {
  if (!FORM.test(text)) return undefined;
  const milliseconds = Date.parse(text);
  if (!Number.isSafeInteger(milliseconds) || milliseconds < 0) return undefined;
  // Date.parse accepts 30 February; printing does not give it back.
  return formatTime(timeMs(milliseconds)) === text ? timeMs(milliseconds) : undefined;
}

/** Rounds down to the second. */
export function formatTime(time: TimeMs): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`;
}
