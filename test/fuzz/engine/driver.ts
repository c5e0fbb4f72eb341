/**
 * The loop: takes an input of the corpus, changes it, runs it, keeps it when it reached something new. Without coverage
 * it only changes what it started with, and is then a function of its seed alone, which is how the tests run it.
 */
import type { Coverage } from './coverage.ts';
import { type Material, mutated } from './mutate.ts';
import { examine } from './oracle.ts';
import { Random, seedOf } from './random.ts';
import type { Target } from './target.ts';

export interface FuzzOptions {
  readonly seed: number;
  /** Ends after so many executions, or milliseconds, whichever comes first. */
  readonly executions?: number;
  readonly milliseconds?: number;
  readonly corpus: readonly Uint8Array[];
  readonly coverage?: Coverage;
  /** Default 1: the first finding ends it. */
  readonly findings?: number;
  /** Milliseconds of CPU that one execution may take; not looked at unless given, since tests assert no times. */
  readonly maxCpuMilliseconds?: number;
  readonly onProgress?: (progress: FuzzResult) => void;
}

export interface Finding {
  readonly input: Uint8Array;
  readonly what: string;
  readonly error: unknown;
}

export interface FuzzResult {
  readonly executions: number;
  readonly accepted: number;
  readonly milliseconds: number;
  /** By code, how often it refused. */
  readonly refused: ReadonlyMap<string, number>;
  readonly findings: readonly Finding[];
  /** What it started with, then what it has found. */
  readonly corpus: readonly Uint8Array[];
  /** Characters of the product's sources that ran; 0 without coverage. */
  readonly covered: number;
}

/** Between two looks at the coverage: as many as take four times as long as a look. */
const LEAST_BATCH = 64;
const MOST_BATCH = 2_048;
/** The whole oracle, which runs an input twice, is asked for every so many. */
const IN_FULL = 4;
const MAX_CORPUS = 3_000;
/** By one execution; the largest input has 64 KiB. */
const MAX_ALLOCATED = 64 * 1024 * 1024;
const PROGRESS_MILLISECONDS = 5_000;

export async function fuzz(target: Target, options: FuzzOptions): Promise<FuzzResult> {
  const run = new Run(target, options);
  await target.open?.();
  try {
    await run.work();
  } finally {
    await target.close?.();
  }
  return run.result;
}

class Run {
  readonly #target: Target;
  readonly #options: FuzzOptions;
  readonly #random: Random;
  readonly #material: Material;
  readonly #corpus: Uint8Array[];
  readonly #refused = new Map<string, number>();
  readonly #findings: Finding[] = [];
  readonly #kinds = new Set<string>();
  readonly #start = performance.now();
  #executions = 0;
  #accepted = 0;
  #told = 0;

  constructor(target: Target, options: FuzzOptions) {
    this.#target = target;
    this.#options = options;
    this.#random = new Random(seedOf(target.name, options.seed));
    this.#corpus = [...options.corpus];
    if (this.#corpus.length === 0) throw new Error(`${target.name} has nothing to start from`);
    this.#material = { random: this.#random, other: () => this.#pick(), dictionary: target.dictionary ?? [] };
  }

  get result(): FuzzResult {
    return {
      executions: this.#executions,
      accepted: this.#accepted,
      milliseconds: performance.now() - this.#start,
      refused: this.#refused,
      findings: this.#findings,
      corpus: this.#corpus,
      covered: this.#options.coverage?.size ?? 0,
    };
  }

  async work(): Promise<void> {
    const { coverage } = this.#options;
    coverage?.take();
    for (const input of this.#corpus) if (!this.#isOver) await this.#execute(input, true);
    coverage?.add(coverage.take());
    let size = LEAST_BATCH;
    while (!this.#isOver) {
      const batch: Uint8Array[] = [];
      const begun = performance.now();
      while (batch.length < size && !this.#isOver) {
        const input = mutated(this.#pick(), this.#target.mutators ?? [], this.#material, this.#target.maxBytes);
        batch.push(input);
        await this.#execute(input, this.#executions % IN_FULL === 0);
      }
      if (coverage !== undefined) {
        const ran = performance.now();
        const reached = coverage.take();
        const isTooOften = performance.now() - ran > (ran - begun) / 4;
        size = Math.min(MOST_BATCH, Math.max(LEAST_BATCH, isTooOften ? size * 2 : size >> 1));
        await this.#keepNew(coverage, batch, reached);
      }
      this.#tell();
    }
  }

  get #isOver(): boolean {
    const {
      executions = Number.POSITIVE_INFINITY,
      milliseconds = Number.POSITIVE_INFINITY,
      findings = 1,
    } = this.#options;
    if (this.#findings.length >= findings || this.#executions >= executions) return true;
    return performance.now() - this.#start >= milliseconds;
  }

  /** One of the newest half of the times: what was found last leads on. */
  #pick(): Uint8Array {
    const { length } = this.#corpus;
    const newest = Math.min(length, 16);
    const at = this.#random.once(2) ? length - 1 - this.#random.below(newest) : this.#random.below(length);
    return this.#corpus[at] ?? new Uint8Array();
  }

  async #execute(input: Uint8Array, twice: boolean): Promise<void> {
    this.#executions++;
    const started = performance.now();
    const outcome = await examine(this.#target, input, twice);
    const { maxCpuMilliseconds } = this.#options;
    if (maxCpuMilliseconds !== undefined && performance.now() - started > maxCpuMilliseconds) await this.#time(input);
    if (outcome.kind === 'accepted') this.#accepted++;
    else if (outcome.kind === 'refused') this.#refused.set(outcome.code, (this.#refused.get(outcome.code) ?? 0) + 1);
    else this.#report(input, outcome.what, outcome.error);
  }

  /** Slow by the clock may be somebody else's load: the least CPU time of three runs counts. */
  async #time(input: Uint8Array): Promise<void> {
    const limit = this.#options.maxCpuMilliseconds ?? 0;
    let least = Number.POSITIVE_INFINITY;
    for (let attempt = 0; attempt < 3; attempt++) {
      const before = process.cpuUsage();
      await examine(this.#target, input, false);
      const { user, system } = process.cpuUsage(before);
      least = Math.min(least, (user + system) / 1000);
    }
    if (least > limit) this.#report(input, `slow: ${Math.round(least)} ms of CPU for ${input.length} bytes`, undefined);
  }

  /** What one execution allocates, where something new ran: a collection in between can only make it less. */
  async #weigh(input: Uint8Array): Promise<void> {
    if (this.#options.maxCpuMilliseconds === undefined) return;
    const allocated = (): number => {
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const before = allocated();
    await examine(this.#target, input, false);
    const bytes = allocated() - before;
    if (bytes > MAX_ALLOCATED) this.#report(input, `${bytes} bytes allocated for ${input.length}`, undefined);
  }

  #report(input: Uint8Array, what: string, error: unknown): void {
    // One of each kind: numbers aside, the same words are the same fault.
    const kind = what.replaceAll(/\d+/g, '#');
    if (this.#kinds.has(kind)) return;
    this.#kinds.add(kind);
    this.#findings.push({ input, what, error });
  }

  /** Searches by halves for the inputs that reached something new. */
  async #keepNew(
    coverage: Coverage,
    batch: readonly Uint8Array[],
    reached: ReturnType<Coverage['take']>,
  ): Promise<void> {
    if (!coverage.isNew(reached)) return;
    const [only, ...more] = batch;
    if (only === undefined) return;
    if (more.length === 0) {
      coverage.add(reached);
      if (this.#corpus.length < MAX_CORPUS) this.#corpus.push(only);
      await this.#weigh(only);
      return;
    }
    const half = Math.ceil(batch.length / 2);
    for (const part of [batch.slice(0, half), batch.slice(half)]) {
      for (const input of part) await examine(this.#target, input, false);
      await this.#keepNew(coverage, part, coverage.take());
    }
  }

  #tell(): void {
    const { onProgress } = this.#options;
    if (onProgress === undefined || performance.now() - this.#told < PROGRESS_MILLISECONDS) return;
    this.#told = performance.now();
    onProgress(this.result);
  }
}

/** A smaller input with the same violation: pieces removed, then bytes made zero, while it stays the same. */
export async function minimised(target: Target, finding: Finding, attempts = 2_000): Promise<Uint8Array> {
  const kind = (what: string): string => what.replaceAll(/\d+/g, '#');
  const isSame = async (input: Uint8Array): Promise<boolean> => {
    const outcome = await examine(target, input, true);
    return outcome.kind === 'violation' && kind(outcome.what) === kind(finding.what);
  };
  let best = finding.input;
  let left = attempts;
  if (!(await isSame(best))) return best;
  for (let size = best.length >> 1; size >= 1 && left > 0; size >>= 1) {
    for (let at = 0; at < best.length && left > 0; ) {
      const shorter = new Uint8Array(Buffer.concat([best.subarray(0, at), best.subarray(at + size)]));
      left--;
      if (await isSame(shorter)) best = shorter;
      else at += size;
    }
  }
  return best;
}

/** The inputs of a corpus that together reach all that it reaches: the shortest first, those that add nothing left out. */
export async function distilled(
  target: Target,
  coverage: Coverage,
  corpus: readonly Uint8Array[],
  known: readonly Uint8Array[],
) {
  const kept: Uint8Array[] = [];
  coverage.forget();
  coverage.take();
  await target.open?.();
  try {
    for (const input of known) await examine(target, input, false);
    coverage.add(coverage.take());
    for (const input of [...corpus].sort((a, b) => a.length - b.length)) {
      await examine(target, input, false);
      const reached = coverage.take();
      if (!coverage.isNew(reached)) continue;
      coverage.add(reached);
      kept.push(input);
    }
  } finally {
    await target.close?.();
  }
  return kept;
}
