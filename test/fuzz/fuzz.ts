/**
 * npm run fuzz -- [target …] [--seconds N] [--seed S] [--executions N] [--no-coverage] [--keep]
 * npm run fuzz -- --list | --make-corpus | <target> --replay <file>
 *
 * Runs targets one after the other, 60 seconds each unless told otherwise. What it finds is made small, written to
 * findings/<target>/ and printed; the exit status is then 1. `--keep` writes to corpus/<target>/ what reached new code.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { nameOf, readStored, SEED, store } from './engine/corpus.ts';
import { Coverage } from './engine/coverage.ts';
import { distilled, type FuzzResult, fuzz, minimised } from './engine/driver.ts';
import { examine } from './engine/oracle.ts';
import type { Target } from './engine/target.ts';
import { WHERE } from './targets/where.ts';

const MAX_CPU_MILLISECONDS = 250;
/** What is kept is committed. */
const KEPT_BYTES = 2_048;
const KEPT_INPUTS = 8;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    executions: { type: 'string' },
    'no-coverage': { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    'make-corpus': { type: 'boolean', default: false },
    replay: { type: 'string' },
  },
});

const names = Object.keys(WHERE);
const unknown = positionals.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`no such target: ${unknown.join(', ')}; --list shows all`);
  process.exit(2);
}
const chosen = positionals.length === 0 ? names : positionals;
const [only = '', ...more] = chosen;

if (values.list || values['make-corpus']) await withAll();
else if (more.length > 0) apart();
else await alone(only);
// Some targets keep libraries of their own busy.
process.exit();

async function withAll(): Promise<void> {
  const { TARGETS } = await import('./targets/index.ts');
  if (values['make-corpus']) makeCorpus(TARGETS);
  else for (const { name, covers } of TARGETS) console.log(`${name.padEnd(24)} ${covers.join(' ')}`);
}

/** Each target in a process of its own: what one has loaded makes another's coverage slower. */
function apart(): void {
  const options = process.argv.slice(2).filter((argument) => !chosen.includes(argument));
  for (const name of chosen) {
    const { status } = spawnSync(process.execPath, [import.meta.filename, name, ...options], { stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
}

async function alone(name: string): Promise<void> {
  const coverage = values['no-coverage'] || values.replay !== undefined ? undefined : new Coverage();
  // Before the target is loaded, or what runs while it is would not be counted.
  coverage?.start();
  const exported = Object.values((await import(`./targets/${WHERE[name]}.ts`)) as Readonly<Record<string, unknown>>);
  const target = (exported as readonly Partial<Target>[]).find((each) => each.name === name) as Target;
  if (values.replay !== undefined) await replay(target, values.replay);
  else await work(target, coverage);
  coverage?.stop();
}

function makeCorpus(targets: readonly Target[]): void {
  for (const { name, seeds } of targets)
    for (const [seed, bytes] of Object.entries(seeds())) store('corpus', name, `${SEED}${seed}`, bytes);
}

async function replay(target: Target, path: string): Promise<void> {
  await target.open?.();
  console.log(target.name, await examine(target, new Uint8Array(readFileSync(path)), true));
  await target.close?.();
}

async function work(target: Target, coverage: Coverage | undefined): Promise<void> {
  const seed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const stored = [...readStored('corpus', target.name), ...readStored('findings', target.name)].map(
    ({ bytes }) => bytes,
  );
  const result = await fuzz(target, {
    seed,
    corpus: [...stored, ...Object.values(target.seeds())],
    ...(coverage && { coverage }),
    milliseconds: values.executions === undefined ? Number(values.seconds) * 1000 : Number.POSITIVE_INFINITY,
    ...(values.executions !== undefined && { executions: Number(values.executions) }),
    findings: 5,
    maxCpuMilliseconds: MAX_CPU_MILLISECONDS,
    onProgress: (progress) => void (process.stderr.isTTY && process.stderr.write(`\r${line(target, progress, seed)}`)),
  });
  if (process.stderr.isTTY) process.stderr.write('\n');
  console.log(line(target, result, seed));
  for (const [code, count] of [...result.refused].sort(([, a], [, b]) => b - a)) console.log(`    ${code}: ${count}`);
  for (const finding of result.findings) {
    await target.open?.();
    const input = await minimised(target, finding);
    await target.close?.();
    const path = store('findings', target.name, nameOf(input), input);
    console.log(`  FOUND ${finding.what}\n    ${path} (${input.length} bytes)`);
    if (finding.error instanceof Error)
      console.log(`    ${finding.error.stack?.split('\n').slice(1, 6).join('\n    ')}`);
    process.exitCode = 1;
  }
  if (values.keep && coverage !== undefined) {
    const found = result.corpus.slice(stored.length).filter(({ length }) => length <= KEPT_BYTES);
    const kept = (await distilled(target, coverage, found, stored)).slice(0, KEPT_INPUTS);
    for (const input of kept) store('corpus', target.name, nameOf(input), input);
    console.log(`    kept ${kept.length}`);
  }
}

function line(
  { name }: Target,
  { executions, milliseconds, corpus, covered, accepted }: FuzzResult,
  seed: number,
): string {
  const rate = Math.round((executions / milliseconds) * 1000);
  const share = Math.round((accepted / Math.max(1, executions)) * 100);
  return `${name}: ${executions} executions, ${rate}/s, ${share} % accepted, corpus ${corpus.length}, ${covered} characters of source, seed ${seed}`;
}
