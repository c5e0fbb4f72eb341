/**
 * Signing beside a flood of webhooks that must not count: its rate in turns with and without, and the host's memory.
 * Alone: `node .toolchain/run.mjs node test/bench/webhooks.ts`.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { keyed, SECRET, secretLine, symmetric, TEXT_SECRET } from '../host/webhooks/sources.ts';
import { residentBytes } from '../load/resident-bytes.ts';
import { loadWallet, startLoad } from '../load/signing-load.ts';
import { type FloodReport, floodSources, KNOWN } from '../load/webhook-flood.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { median } from './measure.ts';

/** In turns with quiet: what else the machine does slows both. */
const SLICES = 10;
const SLICE = 5_000;
const CONNECTIONS = 128;
const LOOPS = 16;
const WARM_SECONDS = 15;
const QUIET_SECONDS = 8;
const MEGABYTE = 1024 * 1024;

export interface WebhookRun {
  readonly webhooks: number;
  /** How long they took. */
  readonly seconds: number;
  readonly answers: FloodReport['answers'];
  /** Signatures per second, medians. */
  readonly quiet: number;
  readonly flooded: number;
  /** Median over the slices: the rate in one, of the mean of those before and after it. */
  readonly kept: number;
  /** Of the host, after so many webhooks. */
  readonly megabytes: Readonly<Record<string, number>>;
}

export async function webhookRun(): Promise<WebhookRun> {
  const folder = await temporaryFolder();
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder.path, name), content, { mode: 0o600 });
    return join(folder.path, name);
  };
  const webhooks = floodSources(file('secrets', secretLine(SECRET)), file('text', TEXT_SECRET), keyed().address);
  const stack = await startStack({ witnesses: 'none', logLevel: 'error', hostConfig: { webhooks } });
  try {
    return await measured(stack);
  } finally {
    await stack.stop();
    await folder.remove();
  }
}

async function measured(stack: Stack): Promise<WebhookRun> {
  const { body, headers } = symmetric(KNOWN);
  await fetch(`${stack.url}/v1/webhooks/alpha`, { method: 'POST', body, headers });
  const wallets = await Promise.all(Array.from({ length: 4 }, () => loadWallet(stack)));
  const load = startLoad(stack, wallets, LOOPS);
  const signaturesPerSecond = async (during: () => Promise<unknown>): Promise<number> => {
    const [start, first] = [performance.now(), load.answered.length];
    await during();
    const signed = load.answered.slice(first).filter(({ status }) => status === 200).length;
    return signed / ((performance.now() - start) / 1000);
  };
  const quietly = () => signaturesPerSecond(() => sleep(QUIET_SECONDS * 1000));
  const reports: FloodReport[] = [];
  const megabytes: Record<string, number> = {};
  const flooded: number[] = [];
  try {
    await sleep(WARM_SECONDS * 1000);
    const quiet = [await quietly()];
    for (let slice = 1; slice <= SLICES; slice++) {
      flooded.push(await signaturesPerSecond(async () => reports.push(await floodFromOutside(stack))));
      megabytes[slice * SLICE] = Math.round(residentBytes(stack.host.pid) / MEGABYTE);
      quiet.push(await quietly());
    }
    const ratios = flooded.map((rate, slice) => rate / (((quiet[slice] ?? 0) + (quiet[slice + 1] ?? 0)) / 2));
    return {
      webhooks: SLICES * SLICE,
      seconds: reports.reduce((sum, { seconds }) => sum + seconds, 0),
      answers: summed(reports),
      ...{ quiet: median(quiet), flooded: median(flooded), kept: median(ratios), megabytes },
    };
  } finally {
    await load.stop();
  }
}

function summed(reports: readonly FloodReport[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { answers } of reports)
    for (const [status, times] of Object.entries(answers)) sums[status] = (sums[status] ?? 0) + times;
  return sums;
}

/** From a process of its own: this one is busy asking for signatures. */
async function floodFromOutside(stack: Stack): Promise<FloodReport> {
  const main = join(import.meta.dirname, '..', 'load', 'webhook-flood-main.ts');
  const args = [main, stack.url, SLICE, CONNECTIONS].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(await text(child.stdout)) as FloodReport;
}

if (import.meta.main) console.log(JSON.stringify(await webhookRun(), undefined, 2));
