/** What is fuzzed: one decoder, what it may answer, and where inputs come from. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { Mutator } from './mutate.ts';

export interface Target {
  /** Also the name of its folder in corpus/ and findings/. */
  readonly name: string;
  /** What it is for: `file#function` for each reader of bytes or text from outside; targets.test.ts asks for all of them. */
  readonly covers: readonly string[];
  /** Inputs to start from, by name. They are written to corpus/ by `npm run fuzz -- --make-corpus`, so always the same. */
  readonly seeds: () => Readonly<Record<string, Uint8Array>>;
  /** Those that know the format; bytewise ones are always used, too. */
  readonly mutators?: readonly Mutator[];
  /** Values of the format that chance would not find. */
  readonly dictionary?: readonly Uint8Array[];
  /** No input is longer: somewhat above the limit of what is fuzzed, so that the limit is fuzzed, too. */
  readonly maxBytes: number;
  /** The only codes it may refuse with. */
  readonly codes: readonly ErrorCode[];
  /**
   * Decodes `input` and asserts what has to hold (`must`); returns what it decoded. What it throws is a refusal if it is a
   * QvError, else a finding. Nothing it keeps may depend on earlier inputs.
   */
  readonly run: (input: Uint8Array) => unknown;
  /** In the short test. */
  readonly executions: number;
  /** Of an accepted input: bytes and members of the result for each byte of input, beside a constant. Default 64. */
  readonly growth?: number;
  /** False where the result may differ between two runs of the same input. Default true. */
  readonly deterministic?: boolean;
  /** Called once before the first run and after the last. */
  readonly open?: () => Promise<void>;
  readonly close?: () => Promise<void>;
}

/** Whether the input under way has been accepted. */
const run = { isAccepted: false };

/** Around what was decoded: a QvError behind it, of an encoder for one, is no refusal of the input but a violation. */
export function accept<T>(value: T): T {
  run.isAccepted = true;
  return value;
}

export function beginRun(): void {
  run.isAccepted = false;
}

export const isAccepted = (): boolean => run.isAccepted;

/** Something that must never happen did. */
export class Violation extends Error {
  constructor(what: string) {
    super(what);
    this.name = 'Violation';
  }
}

export function must(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Violation(what);
}

export function mustEqualBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (Buffer.compare(actual, expected) !== 0) throw new Violation(what);
}
