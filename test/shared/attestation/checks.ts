/**
 * The named checks of the verifier: `// check <name>: <why>` above one statement each. Removing that statement must
 * make a test fail; mutate.ts does so for every one.
 */
import { readdirSync, readFileSync } from 'node:fs';

const SOURCES = new URL('../../../shared/src/attestation/', import.meta.url);
const MARKER = /^( *)\/\/ check ([a-z0-9-]+): (.*)$/;

export interface NamedCheck {
  readonly name: string;
  readonly why: string;
  readonly file: string;
}

export function namedChecks(): readonly NamedCheck[] {
  return readdirSync(SOURCES)
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => {
      const lines = readFileSync(new URL(file, SOURCES), 'utf8').split('\n');
      return lines.flatMap((line) => {
        const [, , name, why] = MARKER.exec(line) ?? [];
        return name === undefined || why === undefined ? [] : [{ name, why, file }];
      });
    });
}

/** The source without the statement under the marker; the formatter's indentation shows where it ends. */
export function withoutCheck(source: string, name: string): string {
  const lines = source.split('\n');
  const marker = lines.findIndex((line) => MARKER.exec(line)?.[2] === name);
  if (marker === -1) return source;
  const indent = indentOf(lines[marker]);
  let end = marker + 2;
  while (end < lines.length && (indentOf(lines[end]) > indent || /^ *[)}\]]/.test(lines[end] ?? ''))) {
    if (indentOf(lines[end]) < indent) break;
    end++;
  }
  return lines.toSpliced(marker + 1, end - marker - 1).join('\n');
}

function indentOf(line = ''): number {
  return line.length - line.trimStart().length;
}
