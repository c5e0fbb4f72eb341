/** `npm run bench`: measures, prints a table, keeps the numbers with the machine they are of. Asserts nothing. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import type { FreezeLoadReport } from '../load/freeze-load.ts';
import { attestationRow } from './attestation.ts';
import { freezeRun } from './freeze.ts';
import { appendRow, auditRuns } from './log.ts';
import { type Measured, measure } from './measure.ts';
import { metricsRow } from './metrics.ts';
import { policyRow } from './policy.ts';
import { webhookRun } from './webhooks.ts';
import { withWitnessRow } from './witnesses.ts';

const rows: Measured[] = [];
for (const row of [attestationRow(), policyRow(), appendRow(), metricsRow()]) rows.push(await measure(row));
rows.push(await withWitnessRow(measure));
const audits = auditRuns();
const freezes = await freezeRun();
const webhooks = await webhookRun();

const machine = {
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: availableParallelism(),
  memoryBytes: totalmem(),
  node: process.versions.node,
  openssl: process.versions.openssl,
};
console.log(`${machine.cores} cores, ${machine.cpu}, Node ${machine.node}\n`);
console.log(
  table([
    ['what', 'per second', 'beside', 'per second', 'ratio'],
    ...rows.map(({ name, oursPerSecond, baseline, baselinePerSecond, ratio }) => [
      name,
      oursPerSecond.toFixed(1),
      baseline,
      baselinePerSecond.toFixed(1),
      ratio.toFixed(2),
    ]),
  ]),
);

console.log(
  `\n${table([
    ['one log', 'leaves', 'seconds', 'leaves per second', 'peak MB', 'heap MB', 'buffers MB'],
    ...audits.map(({ what, leaves, seconds, leavesPerSecond, ...megabytes }) => [
      what,
      String(leaves),
      seconds.toFixed(2),
      leavesPerSecond.toFixed(0),
      String(megabytes.peakMegabytes),
      String(megabytes.heapMegabytes),
      String(megabytes.bufferMegabytes),
    ]),
  ])}`,
);

console.log(
  `\n${table([
    [`${freezes.freezes} freezes under 64 connections`, 'p50 ms', 'p99 ms', 'max ms'],
    ...(['toAcknowledgement', 'toLastSignature'] as const).map((what) => [
      what === 'toAcknowledgement' ? 'from order to acknowledgement' : 'from order to the last signature',
      ...[freezes[what].p50, freezes[what].p99, freezes[what].max].map((value) => value.toFixed(1)),
    ]),
  ])}\n${freezes.released.length + freezes.late.length} of ${freezes.signatures} signatures after a freeze`,
);

console.log(
  `\n${table([
    [
      `signing beside ${webhooks.webhooks} webhooks that do not count`,
      'per second',
      'kept',
      'MB after 5000',
      'at the end',
    ],
    [
      `in ${webhooks.seconds.toFixed(0)} s`,
      `${webhooks.flooded.toFixed(1)} of ${webhooks.quiet.toFixed(1)}`,
      webhooks.kept.toFixed(2),
      String(Object.values(webhooks.megabytes)[0]),
      String(Object.values(webhooks.megabytes).at(-1)),
    ],
  ])}`,
);

const folder = join(import.meta.dirname, '..', '..', '.qv');
mkdirSync(folder, { recursive: true });
const file = join(folder, 'bench.json');
writeFileSync(
  file,
  `${JSON.stringify({ time: new Date().toISOString(), machine, rows, audits, freezes: summary(freezes), webhooks }, undefined, 2)}\n`,
);
console.log('\nKept in .qv/bench.json');

/** Without the list of what should not have been released: it is empty. */
function summary({ freezes, signatures, toAcknowledgement, toLastSignature }: FreezeLoadReport) {
  return { freezes, signatures, toAcknowledgement, toLastSignature };
}

function table(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  return lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')).join('\n');
}
