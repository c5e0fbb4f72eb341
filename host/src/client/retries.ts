/**
 * When a refused or lost request is repeated. The same bytes are sent again, with the same id, so that a repeat never
 * signs or spends twice: what was decided is told again.
 */
import { ERRORS, type ErrorCode, type QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** No failure: work that is under way elsewhere, or a wallet on its way from one enclave to another. */
const PASSING: ReadonlySet<ErrorCode> = new Set(['request_in_flight', 'wallet_in_transit']);

/** The retries of one request. */
export class Retries {
  readonly #attempts: number;
  #failures = 0;
  #inFlight = 0;
  #inFlightMilliseconds = 0;

  /** @param attempts in all, the first included */
  constructor(attempts: number) {
    this.#attempts = attempts;
  }

  /**
   * How long to wait before the next try, in milliseconds; undefined when there is none.
   * @param waitSeconds what the other side asked for. It is waited for or given up, never come back before.
   */
  next(failure: QvError, waitSeconds = 0): number | undefined {
    if (!ERRORS[failure.code].retryable) return undefined;
    const asked = waitSeconds * 1000;
    if (asked > LIMITS.clientRetryAfterMaxMilliseconds) return undefined;
    if (PASSING.has(failure.code)) return this.#whileInFlight(asked);
    this.#failures++;
    return this.#failures < this.#attempts ? asked + backoffMilliseconds(this.#failures) : undefined;
  }

  /**
   * An attempt whose connection broke may still be at work, which takes as long as it takes and is no failure: it is
   * asked for until any enclave would have answered.
   */
  #whileInFlight(asked: number): number | undefined {
    if (this.#attempts === 1 || this.#inFlightMilliseconds > LIMITS.clientInFlightMilliseconds) return undefined;
    const wait = asked + backoffMilliseconds(++this.#inFlight);
    this.#inFlightMilliseconds += wait;
    return wait;
  }
}

/** Half of it at random, so that clients refused together do not come back together. */
function backoffMilliseconds(failures: number): number {
  const full = Math.min(LIMITS.clientBackoffMilliseconds * 2 ** (failures - 1), LIMITS.clientBackoffMaxMilliseconds);
  return full / 2 + (Math.random() * full) / 2;
}

/** Retry-After in whole seconds or as a date (RFC 9110 section 10.2.3); undefined when it is absent or neither. */
export function retryAfterSeconds(headers: Headers): number | undefined {
  const value = headers.get('retry-after')?.trim() ?? '';
  if (/^[0-9]{1,9}$/.test(value)) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - Date.now()) / 1000));
}

/** @throws whatever `signal` was aborted with */
export async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
  });
  signal?.throwIfAborted();
}
