/**
 * Says when the event loop is late: then every request waits for all others, freezes included, and refusing some early
 * helps everybody. The mean over an interval, because one pause of the garbage collector is no overload.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { LIMITS } from '@quantumvault/shared/limits.ts';

const RESOLUTION_MILLISECONDS = 10;
const NANOSECONDS = 1e6;

export class LoopLoad {
  readonly #limitMilliseconds: number;
  readonly #delay = monitorEventLoopDelay({ resolution: RESOLUTION_MILLISECONDS });
  readonly #timer: NodeJS.Timeout;
  #isLate = false;

  constructor(
    limitMilliseconds: number = LIMITS.loopDelayMilliseconds,
    intervalMilliseconds: number = LIMITS.loopDelayIntervalMilliseconds,
  ) {
    this.#limitMilliseconds = limitMilliseconds;
    this.#delay.enable();
    this.#timer = setInterval(() => this.#sample(), intervalMilliseconds).unref();
  }

  get isLate(): boolean {
    return this.#isLate;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#delay.disable();
  }

  #sample(): void {
    // Without a single sample (NaN) nothing is known, and nothing is late.
    this.#isLate = this.#delay.mean / NANOSECONDS - RESOLUTION_MILLISECONDS > this.#limitMilliseconds;
    this.#delay.reset();
  }
}
