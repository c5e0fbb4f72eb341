/**
 * Removes each named check in turn and prints the first test that then fails; exits 1 when a check is missed by none.
 * `node test/shared/attestation/mutate.ts [name…]`, or with `--write` to put the results into the README's table.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type NamedCheck, namedChecks } from './checks.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const README = new URL('../../../shared/src/attestation/README.md', import.meta.url);
const VITEST = 'node_modules/vitest/vitest.mjs';
const CONFIG = 'test/shared/attestation/mutate.config.ts';
const TIMEOUT_MILLISECONDS = 120_000;
const folder = mkdtempSync(join(tmpdir(), 'qv-mutate-'));
const output = join(folder, 'report.json');

interface VitestReport {
  readonly numTotalTests: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[];
  }[];
}

/** The first test that fails without the check, or undefined when none does. */
async function failingTest(name: string): Promise<string | undefined> {
  rmSync(output, { force: true });
  const child = spawn(process.execPath, [VITEST, 'run', '--config', CONFIG, '--root', ROOT, '--outputFile', output], {
    cwd: ROOT,
    env: { ...process.env, QV_REMOVE_CHECK: name },
    stdio: 'ignore',
    timeout: TIMEOUT_MILLISECONDS,
    killSignal: 'SIGKILL',
  });
  await once(child, 'exit');
  if (!existsSync(output)) return 'the tests, which never end';
  const report = JSON.parse(readFileSync(output, 'utf8')) as VitestReport;
  for (const file of report.testResults) {
    const label = file.name.slice(file.name.lastIndexOf('/') + 1);
    const failed = file.assertionResults.find(({ status }) => status === 'failed');
    if (failed !== undefined) return `${label}: ${failed.fullName}`;
    if (file.status === 'failed' && file.assertionResults.length === 0) return `${label}: does not load`;
  }
  return undefined;
}

function row({ name, why, file }: NamedCheck, test: string): string {
  const cell = (text: string): string => text.replaceAll('|', '\\|');
  return `| \`${name}\` | ${file} | ${cell(why)} | ${cell(test)} |`;
}

function writeTable(rows: readonly string[]): void {
  const [before = '', after = ''] = readFileSync(README, 'utf8').split(/<!-- checks -->[\s\S]*<!-- end of checks -->/);
  const table = ['| check | in | why | missed by |', '| --- | --- | --- | --- |', ...rows].join('\n');
  writeFileSync(README, `${before}<!-- checks -->\n${table}\n<!-- end of checks -->${after}`);
}

const arguments_ = process.argv.slice(2);
const wanted = arguments_.filter((argument) => argument !== '--write');
const checks = namedChecks().filter(({ name }) => wanted.length === 0 || wanted.includes(name));
const rows: string[] = [];
const survivors: string[] = [];
const unchanged = await failingTest('');
if (unchanged !== undefined) throw new Error(`with every check in place this fails already: ${unchanged}`);
for (const check of checks) {
  const test = await failingTest(check.name);
  if (test === undefined) survivors.push(check.name);
  rows.push(row(check, test ?? 'NONE'));
  console.log(`${test === undefined ? 'SURVIVES' : 'missed'}  ${check.name}  ${test ?? ''}`);
}
rmSync(folder, { recursive: true });
if (arguments_.includes('--write')) writeTable(rows);
console.log(
  `${checks.length} checks removed, ${survivors.length} survivors${survivors.map((name) => ` ${name}`).join('')}`,
);
process.exitCode = survivors.length === 0 ? 0 : 1;
