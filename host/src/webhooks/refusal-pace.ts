/**
 * Saying no costs nearly as much as saying yes, and anybody may ask for it as often as he likes: so refusals are told at
 * a bounded pace, for all webhooks together. Within it they are told at once. Beyond it they wait, which holds back
 * whoever waits for them before he asks again, and costs a timer; and where that would take too long the connection is
 * closed without an answer. Repeats of a signal are told at the same pace; a webhook that brings a new one never waits.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { STOPWATCH, type Stopwatch } from '../stopwatch.ts';

/** So much of the pace may be used at once. */
const BURST_MILLISECONDS = 250;

export class RefusalPace {
  readonly #perSecond: number;
  readonly #stopwatch: Stopwatch;
  /** When everything that was charged will have been worked off (a leaky bucket, as GCRA has it). */
  #free = 0;
  #waiting = 0;

  constructor(perSecond: number = LIMITS.webhookRefusalsPerSecond, stopwatch: Stopwatch = STOPWATCH) {
    this.#perSecond = perSecond;
    this.#stopwatch = stopwatch;
  }

  /** Refusals that wait to be told. */
  get waiting(): number {
    return this.#waiting;
  }

  /** @param cost in units of the pace. Resolves when the refusal may be told; false when it may not be told at all. */
  async turn(cost: number): Promise<boolean> {
    const now = this.#stopwatch.now();
    const free = Math.max(now, this.#free);
    const wait = free - now - BURST_MILLISECONDS;
    if (wait > LIMITS.webhookRefusalMilliseconds) return false;
    this.#free = free + (cost * 1000) / this.#perSecond;
    if (wait <= 0) return true;
    this.#waiting++;
    try {
      await this.#stopwatch.sleep(wait);
    } finally {
      this.#waiting--;
    }
    return true;
  }
}
