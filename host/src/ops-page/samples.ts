/** What the status page plots: rates and latencies of the last hour, from the host's own counters, in memory alone. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { HostMetrics } from '../metrics/metrics.ts';

/** Of the time since the sample before. */
export interface Sample {
  readonly allowedPerMinute: number;
  readonly deniedPerMinute: number;
  /** Of signing requests, in milliseconds; undefined when there was none. */
  readonly medianMilliseconds: number | undefined;
  readonly slowMilliseconds: number | undefined;
}

interface Value {
  readonly value: number;
  readonly labels: Readonly<Record<string, string | number | undefined>>;
  readonly metricName?: string;
}

interface Counted {
  readonly atMilliseconds: number;
  readonly allowed: number;
  readonly denied: number;
  /** Requests so far that took no longer than so many seconds, ascending. */
  readonly buckets: readonly (readonly [seconds: number, count: number])[];
}

/** Of the slowest so many. */
const SLOW = 0.95;

export class Samples {
  readonly #registry: HostMetrics['registry'];
  readonly #samples: Sample[] = [];
  readonly #timer: NodeJS.Timeout;
  #last: Counted | undefined;

  constructor({ registry }: Pick<HostMetrics, 'registry'>, milliseconds: number = LIMITS.opsSampleMilliseconds) {
    this.#registry = registry;
    this.#timer = setInterval(() => void this.take().catch(() => undefined), milliseconds).unref();
  }

  /** The oldest first; at most LIMITS.opsSamples. */
  get all(): readonly Sample[] {
    return this.#samples;
  }

  async take(): Promise<void> {
    const counted = await this.#count();
    const last = this.#last;
    this.#last = counted;
    if (last === undefined || counted.atMilliseconds <= last.atMilliseconds) return;
    this.#samples.push(between(last, counted));
    if (this.#samples.length > LIMITS.opsSamples) this.#samples.shift();
  }

  async #count(): Promise<Counted> {
    const verdicts = (await this.#valuesOf('qv_verdicts_total')).filter(({ labels }) => labels['mode'] !== 'dry_run');
    const sum = (verdict: string): number =>
      verdicts.reduce((total, { value, labels }) => total + (labels['verdict'] === verdict ? value : 0), 0);
    const buckets = (await this.#valuesOf('qv_sign_stage_seconds'))
      .filter(({ metricName, labels }) => metricName?.endsWith('_bucket') && labels['stage'] === 'total')
      .map(
        ({ labels, value }) =>
          [labels['le'] === '+Inf' ? Number.POSITIVE_INFINITY : Number(labels['le']), value] as const,
      )
      .sort(([a], [b]) => a - b);
    return { atMilliseconds: performance.now(), allowed: sum('allow'), denied: sum('deny'), buckets };
  }

  async #valuesOf(name: string): Promise<readonly Value[]> {
    const metric = await this.#registry.getSingleMetric(name)?.get();
    return (metric?.values ?? []) as readonly Value[];
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function between(last: Counted, next: Counted): Sample {
  const minutes = (next.atMilliseconds - last.atMilliseconds) / 60_000;
  const counts = next.buckets.map(([seconds, count], index): [number, number] => [
    seconds,
    count - (last.buckets[index]?.[1] ?? 0),
  ]);
  return {
    allowedPerMinute: (next.allowed - last.allowed) / minutes,
    deniedPerMinute: (next.denied - last.denied) / minutes,
    medianMilliseconds: quantile(counts, 0.5),
    slowMilliseconds: quantile(counts, SLOW),
  };
}

/** Between the bounds of its bucket by its place in it, as Prometheus' histogram_quantile does. */
export function quantile(buckets: readonly (readonly [number, number])[], part: number): number | undefined {
  const total = buckets.at(-1)?.[1] ?? 0;
  if (total <= 0) return undefined;
  const rank = part * total;
  let [below, counted] = [0, 0];
  for (const [seconds, count] of buckets) {
    if (count >= rank) {
      // Of what is slower than the last bound no more is known.
      if (seconds === Number.POSITIVE_INFINITY) return below * 1000;
      const inside = count - counted;
      return (below + (inside === 0 ? 1 : (rank - counted) / inside) * (seconds - below)) * 1000;
    }
    [below, counted] = [seconds, count];
  }
  return below * 1000;
}
