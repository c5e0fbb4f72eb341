/**
 * Whether the leaves of one log stand where they say: of this boot, numbered without gap, each naming the hash of the
 * one before, in order of time. It tells apart what was dropped, repeated, moved, edited or brought from elsewhere.
 */
import type { BootId, Hash } from '../../brands.ts';
import type { ErrorCode } from '../../errors.ts';
import { LIMITS } from '../../limits.ts';
import type { Leaf } from '../leaf.ts';
import { sameBytes } from './same-bytes.ts';

type Add = (code: ErrorCode, sequence: number, detail: string) => void;

export class PlaceCheck {
  readonly #boot: BootId;
  readonly #add: Add;
  /** The number that the next leaf should have. */
  #next: number;
  #lastTime: number;
  /** Passed over so far. They may still come: then they were moved. */
  readonly #missing = new Set<number>();
  /** The entry before was out of place, so that what names its hash says nothing new. */
  #disturbed = false;
  /** The entry before could not be read as a leaf of this log: it may stand for one, or be one too many. */
  #isStranger = false;

  constructor(boot: BootId, next: number, lastTime: number, add: Add) {
    this.#boot = boot;
    this.#next = next;
    this.#lastTime = lastTime;
    this.#add = add;
  }

  /** @param at its place in the tree */
  malformed(at: number, detail: string): void {
    this.#add('log_entry_malformed', at, detail);
    this.#stranger();
  }

  /**
   * @param previous the hash of the entry before
   * @returns whether the leaf is one of this log and new, so that what it says counts
   */
  check(leaf: Leaf, at: number, previous: Hash | undefined): boolean {
    if (leaf.boot !== this.#boot) {
      this.#add('log_entry_foreign', at, `a leaf of ${leaf.boot}`);
      this.#stranger();
      return false;
    }
    const before = this.#disturbed;
    const number = this.#number(Number(leaf.sequence), at);
    const isNext = number === true;
    if (isNext && !before && !isPrevious(leaf, previous))
      this.#add('log_entry_edited', Math.max(at - 1, 0), 'the leaf behind it names another hash');
    if (isNext && !before && leaf.time < this.#lastTime)
      this.#add('log_time_backwards', at, `${this.#lastTime - leaf.time} ms before the one ahead of it`);
    this.#disturbed = !isNext;
    this.#lastTime = leaf.time;
    return number !== 'repeated';
  }

  /** Nothing more comes. */
  end(): void {
    let first: number | undefined;
    for (const sequence of [...this.#missing].sort((a, b) => a - b)) {
      first ??= sequence;
      if (this.#missing.has(sequence + 1)) continue;
      this.#dropped(first, sequence);
      first = undefined;
    }
  }

  /** True where the number is the next one. */
  #number(sequence: number, at: number): boolean | 'repeated' {
    const next = this.#next;
    const isReplaced = this.#isStranger && sequence === next + 1;
    this.#isStranger = false;
    if (sequence === next || isReplaced) {
      this.#next = sequence + 1;
      return true;
    }
    if (sequence > next) {
      this.#passOver(next, sequence);
      this.#next = sequence + 1;
      return false;
    }
    if (this.#missing.delete(sequence)) {
      this.#add('log_entry_reordered', at, `leaf ${sequence} stands behind leaf ${next - 1}`);
      return false;
    }
    this.#add('log_entry_duplicated', at, `leaf ${sequence} again`);
    return 'repeated';
  }

  #passOver(from: number, to: number): void {
    if (to - from + this.#missing.size > LIMITS.auditFindings) this.#dropped(from, to - 1);
    else for (let sequence = from; sequence < to; sequence++) this.#missing.add(sequence);
  }

  #dropped(first: number, last: number): void {
    this.#add('log_entry_missing', first, first === last ? 'it is not there' : `up to ${last} are not there`);
  }

  #stranger(): void {
    this.#disturbed = true;
    this.#isStranger = true;
  }
}

function isPrevious({ previous }: Leaf, expected: Hash | undefined): boolean {
  if (previous === undefined || expected === undefined) return previous === expected;
  return sameBytes(previous, expected);
}
