/**
 * One signature counts once. Whoever has seen a signed request can send the same bytes again for as long as they are
 * fresh: were each time counted, he would use up the share of a requester whose key he does not have.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { RateLimited } from './rate-limited.ts';

interface Counted {
  readonly counting: Promise<void>;
  readonly until: number;
  repeats: number;
}

/** By then the same bytes are refused as stale, wherever in the window their time was. */
const KEPT_MILLISECONDS = (LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds) * 1000;

export class CountedRequests {
  readonly #nowMs: () => number;
  readonly #counted = new Map<string, Counted>();

  /** @param nowMs any monotonic clock, in milliseconds */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /**
   * Runs `count` for the first of equal requests; a few repeats pass without being counted, for what is not decided yet
   * may be asked again. One that `count` refused was not counted, and is a first one when it comes again.
   * @param signed names signer and signed bytes
   * @throws RateLimited, and what `count` throws
   */
  async once(signed: string, count: () => Promise<void>): Promise<void> {
    this.#forget();
    const known = this.#counted.get(signed);
    if (known !== undefined) {
      if (known.repeats >= LIMITS.requestRepeats) {
        throw new RateLimited('repeats', `${LIMITS.requestRepeats} of one request`, LIMITS.overloadRetrySeconds);
      }
      known.repeats++;
      return await known.counting;
    }
    const counting = count();
    this.#counted.set(signed, { counting, until: this.#nowMs() + KEPT_MILLISECONDS, repeats: 0 });
    try {
      await counting;
    } catch (error) {
      this.#counted.delete(signed);
      throw error;
    }
  }

  /** In the order in which they came, those that are over, and those beyond what is remembered. */
  #forget(): void {
    const now = this.#nowMs();
    for (const [signed, { until }] of this.#counted) {
      if (until > now && this.#counted.size < LIMITS.rateLimitRequests) return;
      this.#counted.delete(signed);
    }
  }
}
