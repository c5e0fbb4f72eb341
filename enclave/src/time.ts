/**
 * Trusted time: the timestamp of the last document of the security module plus the monotonic clock since (design 8).
 * The host can set the system clock of its own kernel and delay us, so neither is asked for a decision.
 */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** The module's clock and ours may drift apart by this much between two samples. */
const DRIFT_MS = 2_000;

export class TrustedTime {
  readonly #monotonicMs: () => number;
  #sample: { timestampMs: number; atMs: number } | undefined;
  #steppedBack = false;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /**
   * Takes the timestamp of a document asked for at `askedAtMs` of the monotonic clock. The document may have been
   * held back on its way, so its age counts from the asking: time is never later than the module's.
   */
  take(timestampMs: number, askedAtMs: number): void {
    const projected = this.#project(askedAtMs);
    this.#steppedBack = projected !== undefined && timestampMs < projected - DRIFT_MS;
    // A module that went back in time stops signing until it has caught up; the later time stays the base.
    if (this.#steppedBack) return;
    this.#sample = { timestampMs: Math.max(timestampMs, projected ?? 0), atMs: askedAtMs };
  }

  /** @throws QvError time_untrusted */
  now(): TimeMs {
    const atMs = this.#monotonicMs();
    const projected = this.#project(atMs);
    const age = atMs - (this.#sample?.atMs ?? Number.NEGATIVE_INFINITY);
    if (projected === undefined || this.#steppedBack || age > LIMITS.trustedTimeMaxAgeSeconds * 1000) {
      throw new QvError('time_untrusted');
    }
    return timeMs(Math.floor(projected));
  }

  /** The best time there is for a record that must not wait: projected from the last sample, however old. */
  lastTrusted(): TimeMs {
    return timeMs(Math.floor(this.#project(this.#monotonicMs()) ?? 0));
  }

  #project(atMs: number): number | undefined {
    return this.#sample === undefined ? undefined : this.#sample.timestampMs + Math.max(0, atMs - this.#sample.atMs);
  }
}
