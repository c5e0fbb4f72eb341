/** What the terminal shows: colours only where somebody sees them, and no byte that could drive it. */
import { styleText } from 'node:util';

export type Tone = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
/** Colours a text, or leaves it as it is. */
export type Style = (tone: Tone | readonly Tone[], text: string) => string;

export const plain: Style = (_tone, text) => text;

/** Colours when `stream` is a terminal; NO_COLOR and FORCE_COLOR are respected, as Node does it. */
export function styleFor(stream: NodeJS.WritableStream): Style {
  return (tone, text) => styleText(typeof tone === 'string' ? tone : [...tone], text, { stream });
}

/** Text from elsewhere as one line of printable characters: an escape sequence in it would reach the terminal. */
export function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this removes
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}

/** `label  value` lines with the values under each other. */
export function table(rows: readonly (readonly [string, string])[], style: Style, indent = '  '): readonly string[] {
  const width = Math.max(0, ...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${indent}${style('dim', label.padEnd(width))}  ${value}`);
}

export const tick = (style: Style): string => style('green', '✓');
export const cross = (style: Style): string => style('red', '✗');
