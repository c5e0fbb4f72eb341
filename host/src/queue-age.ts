/**
 * Says when requests wait too long for the enclave: those that come then would wait as long and be told so later, at the
 * cost of everything that is done before.
 */
import { LIMITS } from '@quantumvault/shared/limits.ts';

export class QueueAge {
  /** Since when each of them waits, the oldest first. */
  readonly #since = new Map<symbol, number>();
  readonly #monotonicMs: () => number;

  constructor(monotonicMs: () => number = () => performance.now()) {
    this.#monotonicMs = monotonicMs;
  }

  get isOld(): boolean {
    if (this.#since.size < LIMITS.queueAgeRequests) return false;
    const [oldest] = this.#since.values();
    return oldest !== undefined && this.#monotonicMs() - oldest > LIMITS.queueAgeMilliseconds;
  }

  async wait<T>(work: () => Promise<T>): Promise<T> {
    const key = Symbol();
    this.#since.set(key, this.#monotonicMs());
    try {
      return await work();
    } finally {
      this.#since.delete(key);
    }
  }
}
