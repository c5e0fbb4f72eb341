/**
 * Which source characters of the product have run, from V8's own block coverage through the inspector of this process: a
 * millisecond for each look, so that it looks once for many executions and searches among them only when one was new.
 */
import { Session } from 'node:inspector';
import { fileURLToPath } from 'node:url';

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

interface Script {
  readonly url: string;
  readonly functions: readonly { readonly ranges: readonly Range[] }[];
}

const PRODUCT = /^file:\/\/.*\/(?:shared|enclave|host)\/src\/[^?]*\.ts/;

/** Characters that ran, by file. */
export type Covered = ReadonlyMap<string, readonly (readonly [start: number, end: number])[]>;

export class Coverage {
  readonly #session = new Session();
  /** One byte for each character: 1 when it has run. */
  readonly #ran = new Map<string, Uint8Array>();

  constructor() {
    this.#session.connect();
    this.#post('Profiler.enable');
  }

  /** To be called before what is to be covered is loaded: functions that ran already are not counted. */
  start(): void {
    this.#post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  stop(): void {
    this.#post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }

  /** What ran since the last look. */
  take(): Covered {
    const { result } = this.#post('Profiler.takePreciseCoverage') as { readonly result: readonly Script[] };
    const covered = new Map<string, [number, number][]>();
    for (const { url, functions } of result) {
      if (!PRODUCT.test(url)) continue;
      const spans = functions.flatMap(({ ranges }) => spansOf(ranges));
      if (spans.length > 0) covered.set(url, [...(covered.get(url) ?? []), ...spans]);
    }
    return covered;
  }

  /** Whether something in it has not run before. */
  isNew(covered: Covered): boolean {
    for (const [url, spans] of covered) {
      const ran = this.#ran.get(url);
      if (ran === undefined) return true;
      for (const [start, end] of spans) {
        if (end > ran.length) return true;
        const unseen = ran.indexOf(0, start);
        if (unseen !== -1 && unseen < end) return true;
      }
    }
    return false;
  }

  add(covered: Covered): void {
    for (const [url, spans] of covered) {
      const length = Math.max(0, ...spans.map(([, end]) => end));
      let ran = this.#ran.get(url) ?? new Uint8Array(length);
      if (ran.length < length) {
        const longer = new Uint8Array(length);
        longer.set(ran);
        ran = longer;
      }
      for (const [start, end] of spans) ran.fill(1, start, end);
      this.#ran.set(url, ran);
    }
  }

  forget(): void {
    this.#ran.clear();
  }

  /** Characters of the product that have run. */
  get size(): number {
    let sum = 0;
    for (const ran of this.#ran.values()) for (const byte of ran) sum += byte;
    return sum;
  }

  /** Files with characters that ran. */
  get files(): readonly string[] {
    return [...this.#ran.keys()].map((url) => fileURLToPath(url));
  }

  #post(method: string, parameters?: object): object {
    let answer: object = {};
    this.#session.post(method, parameters, (error: Error | null, result?: object) => {
      if (error !== null) throw error;
      answer = result ?? {};
    });
    return answer;
  }
}

/** Ranges nest: an inner one says what is otherwise than in the outer one. */
function spansOf(ranges: readonly Range[]): [number, number][] {
  const [whole, ...inner] = ranges;
  if (whole === undefined || whole.count === 0) return [];
  const base = whole.startOffset;
  const ran = new Uint8Array(whole.endOffset - base).fill(1);
  for (const { startOffset, endOffset, count } of inner)
    ran.fill(count > 0 ? 1 : 0, startOffset - base, endOffset - base);
  const spans: [number, number][] = [];
  for (let at = ran.indexOf(1); at !== -1; ) {
    const end = ran.indexOf(0, at);
    spans.push([base + at, base + (end === -1 ? ran.length : end)]);
    at = end === -1 ? -1 : ran.indexOf(1, end);
  }
  return spans;
}
