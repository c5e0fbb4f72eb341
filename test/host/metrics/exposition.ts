/** The Prometheus text format, as much of it as a host writes. */

export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)/gy;

/** @throws Error for a line that is not of the format */
export function parseExposition(text: string): readonly Sample[] {
  return text
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const [, name, labels = '', value] = LINE.exec(line) ?? [];
      if (name === undefined || value === undefined) throw new Error(`no sample: ${line}`);
      return { name, labels: parseLabels(labels), value: numberOf(value) };
    });
}

function parseLabels(text: string): Record<string, string> {
  const matches = [...text.matchAll(LABEL)];
  if (matches.map(([whole]) => whole).join('') !== text) throw new Error(`no labels: ${text}`);
  return Object.fromEntries(matches.map(([, name = '', value = '']) => [name, value]));
}

function numberOf(text: string): number {
  const names: Record<string, number> = { Nan: Number.NaN, NaN: Number.NaN, '+Inf': Infinity, '-Inf': -Infinity };
  const value = names[text] ?? Number(text);
  if (Number.isNaN(value) && !/^nan$/i.test(text)) throw new Error(`no number: ${text}`);
  return value;
}

/** The sum over all samples of this name that have these labels; undefined when there is none. */
export function sampleValue(
  samples: readonly Sample[],
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = Object.entries(labels);
  const found = samples.filter(
    (sample) => sample.name === name && wanted.every(([key, v]) => sample.labels[key] === v),
  );
  return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
}
