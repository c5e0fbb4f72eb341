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

/** Control characters, and those that reorder or break lines. */
const UNPRINTABLE =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this finds
  /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/**
 * Text from elsewhere as one line of printable characters: an escape sequence in it would reach the terminal. For
 * everything that a host, a file or a document says, with no exception for what its reader has checked.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, '?');
}

/** JSON on one line that is safe to look at, too: JSON itself leaves DEL, C1 and direction marks as they are. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    UNPRINTABLE,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** What anything printed is reduced to at the end: colours and line breaks are the only control sequences. */
export function onlyColours(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the sequences that styleText writes
  const parts = text.split(/(\u001b\[[0-9;]*m|\n)/);
  // The odd ones are what was split at.
  return parts.map((part, index) => (index % 2 === 1 ? part : printable(part))).join('');
}

/** A table of what somebody else says. */
export function printableTable(rows: readonly (readonly [string, string])[], style: Style): readonly string[] {
  return table(
    rows.map(([label, value]) => [printable(label), printable(value)] as const),
    style,
  );
}

/** `label  value` lines with the values under each other. */
export function table(rows: readonly (readonly [string, string])[], style: Style, indent = '  '): readonly string[] {
  const width = Math.max(0, ...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${indent}${style('dim', label.padEnd(width))}  ${value}`);
}

export const tick = (style: Style): string => style('green', '✓');
export const cross = (style: Style): string => style('red', '✗');
