/** What was searched, in what, for what, and how often it was found: for people and as JSON. */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { ProcessName } from './appliance.ts';
import type { Line } from './examination.ts';

export interface Measured extends Line {
  /** How execution keys are unwrapped. */
  readonly mode: string;
}

export interface Summary {
  /** Of each mode, with secrets of their own. */
  readonly runs: number;
  /** Signatures in each run. */
  readonly requests: number;
  readonly wallets: number;
}

const PROCESSES: readonly ProcessName[] = ['enclave', 'kms-agent', 'host'];
const SUMMED = ['looks', 'secrets', 'patterns', 'bytesRead', 'allowed', 'found'] as const;

/** Lines with the same key as one, in the order of their first ones. */
function added(lines: readonly Measured[], keyOf: (line: Measured) => string): readonly Measured[] {
  const sums = new Map<string, Measured>();
  for (const line of lines) {
    const sum = sums.get(keyOf(line));
    if (sum === undefined) sums.set(keyOf(line), { ...line });
    else for (const name of SUMMED) sum[name] += line[name];
  }
  return [...sums.values()];
}

function sorted(lines: readonly Measured[]): readonly Measured[] {
  const place = ({ process }: Measured): number => PROCESSES.indexOf(process);
  return [...lines].sort((a, b) => place(a) - place(b) || a.mode.localeCompare(b.mode));
}

/** Of what handles the secrets. */
function versions(): Readonly<Record<string, string>> {
  const { node = '', openssl = '', v8 = '' } = process.versions;
  const folder = dirname(createRequire(import.meta.url).resolve('sodium-native/package.json'));
  const addon = readFileSync(join(folder, 'prebuilds', `linux-${process.arch}`, 'sodium-native.node'), 'latin1');
  return { node, openssl, v8, libsodium: /\0(1\.0\.\d+)\0/.exec(addon)?.[1] ?? 'unknown' };
}

const COLUMNS: readonly (readonly [string, (line: Measured) => string])[] = [
  ['process', ({ process }) => process],
  ['keys unwrapped', ({ mode }) => mode],
  ['secret', ({ kind }) => kind],
  ['number', ({ secrets }) => count(secrets)],
  ['patterns', ({ patterns }) => count(patterns)],
  ['searches', ({ looks }) => count(looks)],
  ['MB searched', ({ bytesRead }) => count(Math.round(bytesRead / 1e6))],
  ['allowed', ({ allowed }) => count(allowed)],
  ['found', ({ found }) => count(found)],
];

const count = (number: number): string => number.toLocaleString('en');

/** Markdown. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map((row) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`);
  return [lines[0], `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...lines.slice(1)].join('\n');
}

/** One row for each kind of secret, the modes together: what SECURITY.md quotes. */
function shortTable(lines: readonly Measured[]): string {
  const kinds = [...new Set(lines.map(({ kind }) => kind))];
  const rows = kinds.map((kind) => {
    const of = added(
      lines.filter((line) => line.kind === kind),
      ({ process }) => process,
    );
    const found = PROCESSES.map((process) => count(of.find((line) => line.process === process)?.found ?? 0));
    const most = (name: 'secrets' | 'patterns'): string => count(Math.max(...of.map((line) => line[name])));
    const allowed = of.reduce((sum, line) => sum + line.allowed, 0);
    return [kind, most('secrets'), most('patterns'), ...found, count(allowed)];
  });
  return aligned([['secret', 'number', 'patterns', ...PROCESSES.map((name) => `in ${name}`), 'allowed'], ...rows]);
}

/** How much was read of each process, and how often. */
function searched(lines: readonly Measured[]): string {
  const all = lines.filter(({ kind }) => kind === 'recipient key');
  return added(all, ({ process }) => process)
    .map(({ process, looks, bytesRead }) => `${process} ${looks} times, ${count(Math.round(bytesRead / 1e6))} MB`)
    .join('; ');
}

/** @param file where all numbers go as JSON, if anywhere. @returns what is to be printed */
export function report(measured: readonly Measured[], summary: Summary, file: string | undefined): string {
  const lines = sorted(added(measured, ({ process, mode, kind }) => `${process} ${mode} ${kind}`));
  const of = versions();
  const date = new Date().toISOString();
  if (file !== undefined) {
    writeFileSync(file, `${JSON.stringify({ date, versions: of, ...summary, lines }, undefined, 2)}\n`);
  }
  const named = Object.entries(of).map(([name, version]) => `${name} ${version}`);
  const table = aligned([
    COLUMNS.map(([title]) => title),
    ...lines.map((line) => COLUMNS.map(([, show]) => show(line))),
  ]);
  return [`${date}: ${named.join(', ')}`, searched(lines), table, shortTable(lines)].join('\n\n');
}
