/**
 * Amounts over time, as compactly as they go (8 bytes per time and amount), for exact sliding windows by the rule of
 * policy/state.ts: closed at both ends, and a time that lies ahead of now counts.
 */
import { LIMITS } from '../../limits.ts';

const LEAST = 16;
export const KEEP_MS = LIMITS.policyWindowSeconds * 1000;

/** A sum over one window that moves along: what enters is added, what has passed is taken off. */
interface Cursor {
  readonly column: number;
  readonly windowMs: number;
  head: number;
  sum: bigint;
  now: number;
}

export interface SeriesEntries {
  readonly times: Float64Array;
  readonly columns: readonly BigUint64Array[];
}

export class Series {
  #times: Float64Array;
  readonly #columns: BigUint64Array[];
  #start = 0;
  #end = 0;
  #cursors: Cursor[] = [];

  /**
   * @param columns how many amounts each time has
   * @param kept as `entries` gave them
   */
  constructor(columns: number, kept?: SeriesEntries) {
    this.#times = kept?.times ?? new Float64Array(LEAST);
    this.#columns = [...(kept?.columns ?? Array.from({ length: columns }, () => new BigUint64Array(LEAST)))];
    this.#end = kept?.times.length ?? 0;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The latest time, 0 before the first. */
  get last(): number {
    return this.length === 0 ? 0 : (this.#times[this.#end - 1] ?? 0);
  }

  /** Times never go back: one before the latest counts as the latest. What no window reaches any more is forgotten. */
  push(timeMs: number, amounts: readonly bigint[]): void {
    const at = Math.max(timeMs, this.last);
    this.#forget(at);
    if (this.#end === this.#times.length) this.#makeRoom();
    this.#times[this.#end] = at;
    for (const [index, column] of this.#columns.entries()) column[this.#end] = amounts[index] ?? 0n;
    this.#end++;
    for (const cursor of this.#cursors) cursor.sum += amounts[cursor.column] ?? 0n;
  }

  /** The sum of one column over the window that ends now. */
  sum(column: number, seconds: number, now: number): bigint {
    return this.#moved(column, seconds, now).sum;
  }

  /** How many there are in the window that ends now. */
  count(seconds: number, now: number): number {
    return this.#end - this.#moved(0, seconds, now).head;
  }

  /** All that is kept, in order: views. */
  entries(): SeriesEntries {
    const [start, end] = [this.#start, this.#end];
    return {
      times: this.#times.subarray(start, end),
      columns: this.#columns.map((column) => column.subarray(start, end)),
    };
  }

  /** The windows asked for are other ones from now on. */
  forgetWindows(): void {
    this.#cursors = [];
  }

  #moved(column: number, seconds: number, now: number): Cursor {
    const windowMs = seconds * 1000;
    let cursor = this.#cursors.find((known) => known.column === column && known.windowMs === windowMs);
    if (cursor === undefined) {
      cursor = { column, windowMs, head: this.#start, sum: 0n, now: Number.POSITIVE_INFINITY };
      this.#cursors.push(cursor);
    }
    const amounts = this.#columns[column];
    // Of a log in which time went back: begin again.
    if (now < cursor.now || cursor.head < this.#start) {
      cursor.head = this.#start;
      cursor.sum = 0n;
      for (let at = this.#start; at < this.#end; at++) cursor.sum += amounts?.[at] ?? 0n;
    }
    while (cursor.head < this.#end && now - (this.#times[cursor.head] ?? 0) > windowMs) {
      cursor.sum -= amounts?.[cursor.head] ?? 0n;
      cursor.head++;
    }
    cursor.now = now;
    return cursor;
  }

  #forget(now: number): void {
    while (this.#start < this.#end && now - (this.#times[this.#start] ?? 0) > KEEP_MS) this.#start++;
  }

  /** Moves to the front what is left, into larger arrays where that is more than three quarters. */
  #makeRoom(): void {
    const { length } = this;
    const room = length * 4 >= this.#times.length * 3 ? Math.max(LEAST, Math.ceil(length * 1.5)) : this.#times.length;
    const moved = <T extends Float64Array | BigUint64Array>(from: T, to: T): T => {
      to.set(from.subarray(this.#start, this.#end) as never);
      return to;
    };
    this.#times = moved(this.#times, new Float64Array(room));
    for (const [index, column] of this.#columns.entries())
      this.#columns[index] = moved(column, new BigUint64Array(room));
    for (const cursor of this.#cursors) cursor.head -= this.#start;
    this.#end = length;
    this.#start = 0;
  }
}
