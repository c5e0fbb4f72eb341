/** Claims of successors where witnesses prove the log: a crash does not begin the delay anew. */
import { createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { party } from '../support/wallet-kit.ts';
import { expectAudited, newBoot } from './succession-kit.ts';

let stack: Stack;
beforeAll(async () => {
  stack = await startStack();
}, 60_000);
afterAll(() => stack?.stop());

it('a lease of a proven log goes on with the count of the claim', async () => {
  const operators = operatorsOf(stack);
  const [owner, heir] = [party(), party()];
  const client = createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
  });
  const { wallet } = await client.createWallet({
    owner: ownerFromSigner(owner),
    requesters: [party().address],
    successor: { key: heir.address, delayDays: 30 },
  });
  await client.claimWallet({ successor: ownerFromSigner(heir), wallet });
  const told = async () => {
    const response = await fetch(`${stack.url}/v1/wallets/${wallet}`);
    return ((await response.json()) as { succession: unknown }).succession;
  };
  const before = await told();
  expect(before).toMatchObject({ change: 1, takeover: { claimedAt: expect.any(String) } });
  await expectAudited(operators);
  const boot = await operators.bootOf(stack);
  await stack.restartEnclave();
  await newBoot(stack, operators, boot);
  await httpKit(stack).ready();
  expect(await operators.lease('lease', boot, stack)).toMatchObject({ ok: true, taken: 1 });
  expect(await told()).toEqual(before);
  await client.cancelClaim({ owner: ownerFromSigner(owner), wallet });
  await expectAudited(operators);
}, 120_000);
