/** What the addon asks of the kernel and of the allocator, counted in a build that counts. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Check } from '../checks.ts';
import { type Addon, assert } from './kit.ts';

interface Counted {
  readonly live: number;
  readonly allocations: number;
  readonly sends: number;
  readonly largestSend: number;
}

const PROGRAM = join(import.meta.dirname, 'counted.ts');

async function counted(addon: Addon): Promise<string> {
  const child = spawn(process.execPath, ['--expose-gc', PROGRAM, addon.countedPath], {
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  const said = await text(child.stderr);
  const found = /^counted (\{.*\})$/m.exec(said)?.[1];
  assert(found !== undefined, `nothing was counted: ${said}`);
  const { live, allocations, sends, largestSend } = JSON.parse(found) as Counted;
  assert(sends >= 128 && largestSend === LIMITS.writeBytes, `${sends} sends of at most ${largestSend} bytes`);
  assert(allocations >= 400, `${allocations} allocations`);
  assert(live === 0, `${live} of ${allocations} allocations were not freed`);
  return `${sends} sends of at most ${largestSend} bytes; all of ${allocations} allocations freed`;
}

export const KERNEL: readonly Check<Addon>[] = [
  { name: 'never more than 32 KiB in one call, and every allocation freed', run: counted, limitSeconds: 120 },
];
