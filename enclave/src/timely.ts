/** Time limits that owners write into their statements. */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/**
 * The limit is whole seconds, as the statement prints it, in the future, and not too far ahead: an old signature must
 * not lie around for years. @throws QvError field_malformed, statement_expired
 */
export function requireTimely(before: TimeMs, now: TimeMs, path: string): void {
  if (before % 1000 !== 0) throw new QvError('field_malformed', { path, value: 'not whole seconds' });
  if (before <= now || before > now + LIMITS.statementMaxAheadSeconds * 1000) {
    throw new QvError('statement_expired', { path });
  }
}
