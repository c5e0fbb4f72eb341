/** What qv's exit code means, in one table: scripts branch on it. Numbers never change. */
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';

export const EXIT = {
  ok: { code: 0, meaning: 'Done, and every check holds.' },
  failed: { code: 1, meaning: 'A check failed, or the other side refused.' },
  usage: { code: 2, meaning: 'The command line or an input file is unusable; nothing was done.' },
  denied: { code: 3, meaning: 'The policy denies the transaction.' },
  unavailable: { code: 4, meaning: 'The host, enclave or key service does not answer, or is overloaded; try again.' },
  fault: { code: 5, meaning: 'An unexpected fault of qv or of the host.' },
  warning: { code: 6, meaning: 'Nothing failed, but something needs attention (qv doctor).' },
} as const satisfies Record<string, { code: number; meaning: string }>;

export type Exit = keyof typeof EXIT;

const UNUSABLE = [400, 413, 415, 422];
const BUSY = [429, 503, 504];

/** Every error code has exactly one exit code. */
export function exitOf(code: ErrorCode): Exit {
  const { status, retryable } = ERRORS[code] as { status: number; retryable: boolean };
  if (code === 'policy_denied') return 'denied';
  if (code === 'internal') return 'fault';
  if (code === 'config_invalid' || UNUSABLE.includes(status)) return 'usage';
  return retryable && BUSY.includes(status) ? 'unavailable' : 'failed';
}
