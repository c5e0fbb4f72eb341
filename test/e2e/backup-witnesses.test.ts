/** An older backup in place of the database, where witnesses know more than it does. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { expectAudited, later, newBoot, type Operators, solWindow, versionOf } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
let operators: Operators;
let folder: string;
let windowed: HttpWallet;

beforeAll(async () => {
  stack = await startStack();
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  folder = join(stack.dir, 'backups');
  windowed = await kit.openWallet(solWindow('3500'));
  expect((await kit.sign(windowed)).status).toBe(200);
  await adminCall(stack.adminSocket, 'publish', {});
  const taken = await qvJson('backup', '--config', stack.hostConfigFile, '--to', folder);
  expect(taken).toMatchObject({ ok: true, number: 1, wallets: 1 });
});
afterAll(() => stack?.stop());

async function restore(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
  for (const suffix of ['', '-wal', '-shm']) rmSync(stack.databaseFile + suffix, { force: true });
  const witnesses = stack.witnesses.flatMap(({ key }) => ['--witness', key]);
  expect(
    await qvJson(
      ...['restore', '--from', folder, '--to', stack.hostConfigFile, ...operators.images],
      ...[...witnesses, '--witness-threshold', '2'],
    ),
  ).toMatchObject({ ok: true, restored: true });
}

it('the enclave that lives gives its leaves again, the witnesses find their log in them, and it signs on', async () => {
  expect((await kit.sign(windowed)).status).toBe(200);
  const newest = versionOf(stack, windowed);
  await restore();
  expect(versionOf(stack, windowed)).toBe(newest - 1);
  await stack.restartHost();
  await untilReady(stack.url);
  await expect.poll(() => versionOf(stack, windowed), { timeout: 10_000 }).toBe(newest);
  expect((await kit.sign(windowed)).status).toBe(200);
  expect(await expectProblem(await kit.sign(windowed), 'policy_denied')).toMatchObject({ value: '4000' });
  await adminCall(stack.adminSocket, 'publish', {});
  await expectAudited(operators);
});

it('of an enclave that is gone, too, the witnesses say that there was more, and windows count as full', async () => {
  const predecessor = await operators.bootOf(stack);
  await restore();
  await stack.restartEnclave();
  await stack.restartHost();
  await newBoot(stack, operators, predecessor);
  await untilReady(stack.url);
  const request = await operators.request('lease', predecessor, stack);
  expect(request).toMatchObject({ ok: true, witnesses: { isLast: false }, leases: [{ sumsProven: false }] });
  for (const operator of [1, 2]) expect(await operators.sign('lease', operator)).toMatchObject({ ok: true });
  expect(await operators.apply('lease', stack)).toMatchObject({ ok: true, taken: 1 });
  const denied = await expectProblem(await kit.sign(windowed, later()), 'policy_denied');
  expect(denied).toMatchObject({ rule: 'sol.window', value: 'full since a lease' });
});
