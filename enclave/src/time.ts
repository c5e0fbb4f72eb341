/**
 * Trusted time: the timestamp of the last document of the security module plus the monotonic clock since (design 8).
 * The host can set the system clock of its own kernel and delay us, so neither is asked for a decision.
 *
 * Each sample is a new base, so the drift of the two clocks never adds up. A base starts when its document arrived,
 * after it was made: this time is never later than the module's.
 */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** A document that took longer says too little about when it was made. */
const ROUND_TRIP_MS = 2_000;
/** Two samples may disagree by their round trips, and by what the clocks drift apart between them. */
const DISAGREEMENT_MS = 3_000;

interface Sample {
  readonly timestampMs: number;
  readonly receivedAtMs: number;
}

export class TrustedTime {
  readonly #monotonicMs: () => number;
  #sample: Sample | undefined;
  #steppedBack = false;
  /** The latest time given out: it never goes back, whatever a new base says. */
  #latest = 0;

  constructor(monotonicMs: () => number) {
    this.#monotonicMs = monotonicMs;
  }

  /** Takes the timestamp of a document; both other times are of the monotonic clock. */
  take(timestampMs: number, askedAtMs: number, receivedAtMs: number): void {
    if (receivedAtMs - askedAtMs > ROUND_TRIP_MS) return;
    const projected = this.#project(receivedAtMs);
    // A module whose time went back stops signing until it has caught up; the base stays.
    this.#steppedBack = projected !== undefined && timestampMs < projected - DISAGREEMENT_MS;
    if (!this.#steppedBack) this.#sample = { timestampMs, receivedAtMs };
  }

  /** Of the last sample; undefined while there is none. */
  get ageSeconds(): number | undefined {
    return this.#sample && Math.floor((this.#monotonicMs() - this.#sample.receivedAtMs) / 1000);
  }

  /** @throws QvError time_untrusted */
  now(): TimeMs {
    const atMs = this.#monotonicMs();
    const projected = this.#project(atMs);
    const age = atMs - (this.#sample?.receivedAtMs ?? Number.NEGATIVE_INFINITY);
    if (projected === undefined || this.#steppedBack || age > LIMITS.trustedTimeMaxAgeSeconds * 1000) {
      throw new QvError('time_untrusted');
    }
    this.#latest = Math.max(this.#latest, Math.floor(projected));
    return timeMs(this.#latest);
  }

  /**
   * The best time there is for a record that must not wait: projected from the last sample, however old. It counts as
   * given out: the next leaf must not be earlier than this one.
   */
  lastTrusted(): TimeMs {
    this.#latest = Math.max(this.#latest, Math.floor(this.#project(this.#monotonicMs()) ?? 0));
    return timeMs(this.#latest);
  }

  #project(atMs: number): number | undefined {
    return this.#sample && this.#sample.timestampMs + Math.max(0, atMs - this.#sample.receivedAtMs);
  }
}
