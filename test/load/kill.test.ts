/**
 * kill -9 of host or enclave, fifty times, while signatures are asked for. Afterwards: no budget exceeded, no freeze
 * lost, no acknowledged signature unrecorded, no wallet stuck. The audit says so, from the log alone.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import { type Answered, type LoadWallet, loadWallet, signOnce, startLoad } from './signing-load.ts';

const KILLS = 50;
/** Every so often it is the enclave, which takes a lease. */
const ENCLAVE_EVERY = 5;
const LOOPS = 8;
/** Four transfers in three seconds, and not one more. */
const WINDOW = { seconds: 3, max: '4000' };

let stack: Stack;
let operators: ReturnType<typeof operatorsOf>;
let plain: LoadWallet;
let windowed: LoadWallet;
let frozen: LoadWallet;

beforeAll(async () => {
  stack = await startStack({ logLevel: 'error' });
  operators = operatorsOf(stack);
  plain = await loadWallet(stack);
  windowed = await loadWallet(stack, (policy) => ({ ...policy, sol: { ...policy.sol, window: WINDOW } }));
  frozen = await loadWallet(stack);
  await adminCall(stack.adminSocket, 'freeze', { scope: `wallet:${frozen.address}`, reason: 'for good' });
}, 60_000);
afterAll(() => stack?.stop());

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
  await stack.restartHost();
}

/** Its wallets are leased by the next one. */
async function killEnclave(round: number): Promise<void> {
  const before = await operators.bootOf(stack);
  stack.processes.enclave.kill('SIGKILL');
  await stack.processes.enclave.exited;
  await stack.restartEnclave();
  await until('the next boot', async () => (await operators.bootOf(stack).catch(() => before)) !== before, 20_000);
  await untilReady(stack.url);
  const applied = await operators.lease(`lease-${round}`, before, stack);
  expect(applied, JSON.stringify(applied)).toMatchObject({ ok: true });
}

const signs = async (wallet: LoadWallet): Promise<boolean> => (await signOnce(stack, wallet)).status === 200;

it('killed at any moment, the appliance loses nothing and is not stuck', async () => {
  const answered: Answered[] = [];
  for (let round = 1; round <= KILLS; round++) {
    const load = startLoad(stack, [plain, windowed, plain, frozen], LOOPS);
    await sleep(50 + Math.random() * 400);
    if (round % ENCLAVE_EVERY === 0) await killEnclave(round);
    else await killHost();
    await untilReady(stack.url);
    await until('the wallet signs again', () => signs(plain), 20_000);
    expect((await signOnce(stack, frozen)).status).toBe(423);
    await load.stop();
    answered.push(...load.answered);
  }
  await until('the wallet with a window signs again', () => signs(windowed), 20_000);
  const signatures = answered.flatMap(({ signature }) => (signature === undefined ? [] : [signature]));
  expect(signatures.length).toBeGreaterThan(KILLS);
  const chain = join(stack.dir, 'acknowledged');
  writeFileSync(chain, signatures.join('\n'));
  const witnesses = stack.witnesses.flatMap(({ key }) => ['--witness', key]);
  const audit = await qvJson(
    ...['verify', 'log', stack.url, ...operators.images, ...witnesses, '--witness-threshold', '2', '--chain', chain],
  );
  expect(audit['findings']).toEqual([]);
  expect(audit).toMatchObject({ ok: true });
}, 600_000);
