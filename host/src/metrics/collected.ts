/** Metrics whose value is asked for at each scrape. */
import { Counter, Gauge, type Registry } from 'prom-client';

export const flag = (holds: boolean): number => (holds ? 1 : 0);

export function gauge(registry: Registry, name: string, help: string, value: () => number | Promise<number>): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    async collect() {
      this.set(await value());
    },
  });
}

/** A counter that somebody else keeps. Where it begins anew, Prometheus takes the step back for the restart it is. */
export function absoluteCounter(registry: Registry, name: string, help: string, value: () => number | bigint): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(Number(value()));
    },
  });
}

/** One series for each of `labels`, whatever is counted. */
export function gaugeBy<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelName: string,
  labels: readonly L[],
  value: (label: L) => number,
): void {
  new Gauge({
    name,
    help,
    labelNames: [labelName],
    registers: [registry],
    collect() {
      for (const label of labels) this.set({ [labelName]: label }, value(label));
    },
  });
}
