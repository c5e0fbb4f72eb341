/** Two ways of doing one thing, in turns within one run: what slows one slows the other, and the ratio stays. */

export interface Row {
  readonly name: string;
  readonly ours: () => Promise<void>;
  readonly baseline: string;
  readonly theirs: () => Promise<void>;
}

export interface Measured {
  readonly name: string;
  readonly baseline: string;
  readonly oursPerSecond: number;
  readonly baselinePerSecond: number;
  /** Of the medians: 0.5 means half as fast as the baseline. */
  readonly ratio: number;
}

const ROUNDS = 15;
const ROUND_MILLISECONDS = 200;

export async function measure({ name, ours, baseline, theirs }: Row): Promise<Measured> {
  const rates: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] };
  // The first round warms up and does not count.
  for (let round = 0; round <= ROUNDS; round++) {
    const [a, b] = [await ratePerSecond(ours), await ratePerSecond(theirs)];
    if (round === 0) continue;
    rates.ours.push(a);
    rates.theirs.push(b);
  }
  const [oursPerSecond, baselinePerSecond] = [median(rates.ours), median(rates.theirs)];
  return { name, baseline, oursPerSecond, baselinePerSecond, ratio: oursPerSecond / baselinePerSecond };
}

async function ratePerSecond(action: () => Promise<void>): Promise<number> {
  const start = performance.now();
  let count = 0;
  let elapsed = 0;
  while (elapsed < ROUND_MILLISECONDS) {
    await action();
    count++;
    elapsed = performance.now() - start;
  }
  return (count * 1000) / elapsed;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
