/** Lines over time as inline SVG, drawn here: the page needs no script. */
import { type Html, html } from './html.ts';

export interface Line {
  /** Also its class, by which the style sheet colours it: `first` or `second`. */
  readonly className: 'first' | 'second';
  readonly label: string;
  /** The oldest first; undefined leaves a gap. */
  readonly values: readonly (number | undefined)[];
}

const [WIDTH, HEIGHT] = [600, 120];

/** @param slots how many values the whole width is for; fewer stand at the right */
export function plot(title: string, unit: string, slots: number, lines: readonly Line[]): Html {
  const top = niceAbove(Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const said = lines.map(({ label, values }) => `${label} ${spoken(values.at(-1))} ${unit}`).join(', ');
  return html`<figure>
<figcaption>${title}, ${unit} <span class="top">top of the scale: ${spoken(top)}</span></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${title} over the last hour; now ${said}">
<path class="grid" d="M0 ${HEIGHT / 2}H${WIDTH}M0 0.5H${WIDTH}M0 ${HEIGHT - 0.5}H${WIDTH}"/>
${lines.map(({ className, values }) => html`<path class="line ${className}" d="${pathOf(values, slots, top)}"/>`)}
</svg>
<p class="legend">${lines.map(({ className, label, values }) => html`<span class="${className}">${label}: ${spoken(values.at(-1))}</span> `)}</p>
</figure>`;
}

export function pathOf(values: readonly (number | undefined)[], slots: number, top: number): string {
  const step = WIDTH / Math.max(1, slots - 1);
  const first = WIDTH - step * (values.length - 1);
  let pen = 'M';
  let path = '';
  for (const [index, value] of values.entries()) {
    if (value === undefined) {
      pen = 'M';
      continue;
    }
    const y = HEIGHT - 1 - (value / top) * (HEIGHT - 2);
    path += `${pen}${(first + index * step).toFixed(1)} ${y.toFixed(1)}`;
    // A value by itself would be a line without length.
    if (pen === 'M') path += 'h0.5';
    pen = 'L';
  }
  return path;
}

/** 1, 2 or 5 times a power of ten, so that the scale does not jump with each value. */
export function niceAbove(value: number): number {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}

function spoken(value: number | undefined): string {
  if (value === undefined) return 'none';
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toFixed(1)));
}
