/**
 * Guessing gets slower with each failure, for the source it comes from and for nobody else: a lock on a login would
 * let anybody take its owner's stop button away. An attempt is charged before it is judged and refunded when it was
 * right, so that a thousand guesses at once are not all judged before the first of them has failed.
 */
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { STOPWATCH, type Stopwatch } from '../stopwatch.ts';

export interface Pace {
  /** After the first failure; doubled after each further one, up to `maxMilliseconds`. */
  readonly milliseconds: number;
  readonly maxMilliseconds: number;
  /** After an attempt that was right. */
  readonly rightMilliseconds: number;
  /** The longest wait inside of a request. */
  readonly turnMilliseconds: number;
  readonly forgetMilliseconds: number;
  readonly sources: number;
}

export const PACE: Pace = {
  milliseconds: LIMITS.slowedMilliseconds,
  maxMilliseconds: LIMITS.slowedMaxMilliseconds,
  rightMilliseconds: LIMITS.slowedRightMilliseconds,
  turnMilliseconds: LIMITS.slowedTurnMilliseconds,
  forgetMilliseconds: LIMITS.slowedForgetMilliseconds,
  sources: LIMITS.slowedSources,
};

/** The source has to wait longer than a request may take. */
export class SlowedError extends QvError {
  readonly retryAfterSeconds: number;

  constructor(milliseconds: number) {
    const seconds = Math.ceil(milliseconds / 1000);
    super('source_slowed', { value: `${seconds} s` });
    this.name = 'SlowedError';
    this.retryAfterSeconds = seconds;
  }
}

interface Charges {
  failures: number;
  /** When the next attempt may be judged. */
  free: number;
}

export class SlowSources {
  readonly #pace: Pace;
  readonly #stopwatch: Stopwatch;
  /** The one charged longest ago comes first. */
  readonly #charged = new Map<string, Charges>();

  constructor(pace: Pace = PACE, stopwatch: Stopwatch = STOPWATCH) {
    this.#pace = pace;
    this.#stopwatch = stopwatch;
  }

  get size(): number {
    return this.#charged.size;
  }

  /**
   * Judges in the source's turn. Only `freeze_credentials_invalid` counts as its failure.
   * @throws QvError source_slowed (SlowedError) without judging; whatever `judge` throws
   */
  async attempt<T>(source: string, judge: () => Promise<T>): Promise<T> {
    const now = this.#stopwatch.now();
    const known = this.#known(source, now);
    const turn = Math.max(now, known.free);
    const wait = turn - now;
    if (wait > this.#pace.turnMilliseconds) throw new SlowedError(wait);
    const charge = Math.min(this.#pace.milliseconds * 2 ** known.failures, this.#pace.maxMilliseconds);
    known.failures++;
    known.free = turn + charge;
    this.#remember(source, known, now);
    let failed = false;
    try {
      if (wait > 0) await this.#stopwatch.sleep(wait);
      return await judge();
    } catch (error) {
      failed = codeOf(error) === 'freeze_credentials_invalid';
      throw error;
    } finally {
      if (!failed) this.#refund(known, charge, turn);
    }
  }

  #known(source: string, now: number): Charges {
    const known = this.#charged.get(source);
    return known === undefined || this.#isOver(known, now) ? { failures: 0, free: 0 } : known;
  }

  /** Its own charge and no more: who has one right code must not make guesses at another login cheap again. */
  #refund(known: Charges, charge: number, turn: number): void {
    known.failures--;
    known.free = Math.max(known.free - charge, turn + this.#pace.rightMilliseconds);
  }

  /**
   * A full table forgets the source charged longest ago. Keeping newcomers out instead, or slowing them together,
   * would let whoever has many addresses slow everybody else.
   */
  #remember(source: string, known: Charges, now: number): void {
    this.#charged.delete(source);
    for (const [other, charges] of this.#charged) {
      if (this.#charged.size < this.#pace.sources && !this.#isOver(charges, now)) break;
      this.#charged.delete(other);
    }
    this.#charged.set(source, known);
  }

  #isOver({ failures, free }: Charges, now: number): boolean {
    return now > free + (failures === 0 ? 0 : this.#pace.forgetMilliseconds);
  }
}
