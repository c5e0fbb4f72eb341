/**
 * Signing beside a flood of webhooks that must not count: the rate before, during and after, and the host's memory.
 * Alone: `node .toolchain/run.mjs node test/bench/webhooks.ts`.
 */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { keyed, SECRET, secretLine, symmetric, TEXT_SECRET } from '../host/webhooks/sources.ts';
import { loadWallet, startLoad } from '../load/signing-load.ts';
import { type FloodReport, floodSources, KNOWN } from '../load/webhook-flood.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { temporaryFolder } from '../support/temporary.ts';

const FLOOD = 50_000;
const CONNECTIONS = 128;
const LOOPS = 16;
const QUIET_SECONDS = 15;
const MEGABYTE = 1024 * 1024;

export interface WebhookRun {
  readonly webhooks: number;
  readonly floodSeconds: number;
  readonly answers: FloodReport['answers'];
  /** Signatures per second before, during and after. */
  readonly before: number;
  readonly during: number;
  readonly after: number;
  /** Of the mean of before and after. */
  readonly kept: number;
  /** After so many webhooks. */
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
  try {
    await sleep(5_000);
    const before = await signaturesPerSecond(() => sleep(QUIET_SECONDS * 1000));
    let report: (FloodReport & { readonly memory: Record<string, number> }) | undefined;
    const during = await signaturesPerSecond(async () => {
      report = await floodFromOutside(stack);
    });
    const after = await signaturesPerSecond(() => sleep(QUIET_SECONDS * 1000));
    const { seconds = 0, answers = {}, memory = {} } = report ?? {};
    const megabytes = Object.entries(memory).map(([at, bytes]) => [at, Math.round(bytes / MEGABYTE)]);
    return {
      ...{ webhooks: FLOOD, floodSeconds: seconds, answers, before, during, after },
      kept: during / ((before + after) / 2),
      megabytes: Object.fromEntries(megabytes),
    };
  } finally {
    await load.stop();
  }
}

/** From a process of its own: this one is busy asking for signatures. */
async function floodFromOutside(stack: Stack): Promise<FloodReport & { readonly memory: Record<string, number> }> {
  const main = join(import.meta.dirname, '..', 'load', 'webhook-flood-main.ts');
  const args = [main, stack.url, FLOOD, CONNECTIONS, stack.host.pid].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  return JSON.parse(await text(child.stdout)) as FloodReport & { readonly memory: Record<string, number> };
}

if (import.meta.main) console.log(JSON.stringify(await webhookRun(), undefined, 2));
