/** What was searched, in what, for what, and how often it was found: for people and as JSON. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Line } from './examination.ts';

export interface Measured extends Line {
  /** How execution keys are unwrapped. */
  readonly mode: string;
  readonly run: number;
}

export interface Summary {
  readonly runs: number;
  readonly requests: number;
  readonly wallets: number;
}

const measured: Measured[] = [];

export function addLines(mode: string, run: number, lines: readonly Line[]): void {
  measured.push(...lines.map((line) => ({ ...line, mode, run })));
}

/** Runs of the same mode as one line. */
function added(): readonly Measured[] {
  const lines = new Map<string, Measured>();
  for (const line of measured) {
    const key = `${line.process} ${line.mode} ${line.kind}`;
    const sum = lines.get(key);
    if (sum === undefined) lines.set(key, { ...line });
    else {
      for (const name of ['looks', 'secrets', 'patterns', 'bytesRead', 'allowed', 'found'] as const) {
        sum[name] += line[name];
      }
    }
  }
  const byProcess = (line: Measured): number => ['enclave', 'kms-agent', 'host'].indexOf(line.process);
  return [...lines.values()].sort((a, b) => byProcess(a) - byProcess(b) || a.mode.localeCompare(b.mode));
}

const COLUMNS: readonly (readonly [string, (line: Measured) => string])[] = [
  ['process', ({ process }) => process],
  ['keys unwrapped', ({ mode }) => mode],
  ['secret', ({ kind }) => kind],
  ['number', ({ secrets }) => secrets.toLocaleString('en')],
  ['patterns', ({ patterns }) => patterns.toLocaleString('en')],
  ['searches', ({ looks }) => String(looks)],
  ['MB searched', ({ bytesRead }) => Math.round(bytesRead / 1e6).toLocaleString('en')],
  ['allowed', ({ allowed }) => String(allowed)],
  ['found', ({ found }) => String(found)],
];

/** Of what handles the secrets. */
function versions(): Readonly<Record<string, string>> {
  const { node = '', openssl = '', v8 = '' } = process.versions;
  const package_ = dirname(createRequire(import.meta.url).resolve('sodium-native/package.json'));
  const addon = readFileSync(join(package_, 'prebuilds', `linux-${process.arch}`, 'sodium-native.node'), 'latin1');
  return { node, openssl, v8, libsodium: /\0(1\.0\.\d+)\0/.exec(addon)?.[1] ?? 'unknown' };
}

/** Versions, and a table in Markdown. */
export function table(): string {
  const rows = [COLUMNS.map(([title]) => title), ...added().map((line) => COLUMNS.map(([, show]) => show(line)))];
  const widths = COLUMNS.map((_, index) => Math.max(...rows.map((row) => (row[index] ?? '').length)));
  const text = rows.map((row) => `| ${row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  const of = Object.entries(versions()).map(([name, version]) => `${name} ${version}`);
  return [`${new Date().toISOString()}, ${of.join(', ')}`, '', text[0], rule, ...text.slice(1)].join('\n');
}

/** @param file where JSON goes, if anywhere */
export function writeReport(file: string | undefined, summary: Summary): void {
  if (file === undefined) return;
  const report = { date: new Date().toISOString(), versions: versions(), ...summary, lines: added() };
  writeFileSync(file, `${JSON.stringify(report, undefined, 2)}\n`);
}
