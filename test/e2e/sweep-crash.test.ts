/** `qv wallet sweep` with everything around it ending: itself at each step, the host, the enclave. */
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { FakeSolana } from '../support/fake-solana.ts';
import type { HttpWallet } from '../support/http-kit.ts';
import { ataOf, TOKEN_RENT } from '../support/solana-ledger.ts';
import { type SweepKit, sweepKit } from '../support/sweep-kit.ts';
import { expectAudited, newBoot } from './succession-kit.ts';

const SOL = 1_000_000_000n;
const FEE = 5_000n;

let stack: Stack;
let solana: FakeSolana;
let kit: SweepKit;

beforeAll(async () => {
  solana = await new FakeSolana().start();
  stack = await startStack({ witnesses: 'none' });
  kit = sweepKit(stack, solana);
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await solana?.stop();
});
beforeEach(() => solana.calm());

interface Filled extends HttpWallet {
  readonly mint: ReturnType<FakeSolana['mint']>;
}

async function filled(): Promise<Filled> {
  const wallet = await kit.openWallet();
  const mint = solana.mint();
  solana.give(wallet.address, SOL);
  solana.token({ mint, owner: wallet.address, units: 1_234n });
  return { ...wallet, mint };
}

/** Two transactions, whatever was killed: nothing went twice, and nothing stayed. */
function expectSwept({ address, destination, mint }: Filled): void {
  expect([solana.accounts.has(address), solana.accounts.has(ataOf(address, mint))]).toEqual([false, false]);
  expect(solana.units(destination, mint)).toBe(1_234n);
  // The rent came back, and is in the destination's new token account.
  expect(solana.lamports(ataOf(destination, mint))).toBe(TOKEN_RENT);
  expect(solana.lamports(destination)).toBe(SOL - 2n * FEE);
}

/**
 * Resolves when `method` is asked for the nth time: nothing came of it where `before`, and else no answer comes. qv waits
 * for one until it is killed.
 */
function reached(method: string, nth: number, when: 'before' | 'after'): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const stop = async (): Promise<void> => {
    resolve();
    await new Promise(() => undefined);
  };
  const isIt = (asked: string): boolean => asked === method && ++count === nth;
  if (when === 'before')
    solana.before = async (asked) => {
      if (isIt(asked)) await stop();
      return undefined;
    };
  else
    solana.after = async (asked, reply) => {
      if (isIt(asked)) await stop();
      return reply;
    };
  return promise;
}

describe('qv killed', () => {
  it.each<[string, string, number, 'before' | 'after']>([
    ['while it looks', 'getBalance', 1, 'before'],
    ['with the policy enabled, before the first signature', 'getLatestBlockhash', 1, 'before'],
    ['with tokens signed for, before they are sent', 'sendTransaction', 1, 'before'],
    ['with tokens sent', 'sendTransaction', 1, 'after'],
    ['while it waits for tokens', 'getSignatureStatuses', 2, 'after'],
    ['between tokens and SOL', 'getBalance', 2, 'after'],
    ['with SOL signed for, before it is sent', 'sendTransaction', 2, 'before'],
    ['with SOL sent', 'sendTransaction', 2, 'after'],
    ['before it says what is left', 'getBalance', 3, 'after'],
  ])(
    '%s: another call does the rest, and nothing twice',
    async (_, method, nth, when) => {
      const wallet = await filled();
      const there = reached(method, nth, when);
      const { child, answer } = kit.start(wallet, '--retire');
      answer.catch(() => undefined);
      await there;
      child.kill('SIGKILL');
      await expect(answer).rejects.toThrow();
      solana.calm();
      expect(await kit.sweep(wallet, '--retire')).toMatchObject({ ok: true, left: [] });
      expectSwept(wallet);
      expect(await kit.facts(wallet.address)).toMatchObject({ retired: true });
    },
    60_000,
  );

  it('leaves logs that an audit finds nothing wrong with', async () => {
    await expectAudited(kit.operators);
  });
});

describe('the host killed', () => {
  it.each(['getLatestBlockhash', 'getSignatureStatuses'])(
    'at %s: qv ends, and after a restart another call does the rest',
    async (method) => {
      const wallet = await filled();
      let isKilled = false;
      solana.before = async (asked) => {
        if (asked !== method || isKilled) return undefined;
        isKilled = true;
        stack.host.kill('SIGKILL');
        await stack.host.exited;
        return undefined;
      };
      expect(await kit.sweep(wallet)).toMatchObject({ ok: false, exit: 4, error: { code: 'host_unreachable' } });
      await stack.restartHost();
      await untilReady(stack.url);
      solana.calm();
      expect(await kit.sweep(wallet)).toMatchObject({ ok: true, left: [] });
      expectSwept(wallet);
      await expectAudited(kit.operators);
    },
    60_000,
  );
});

describe('the enclave killed', () => {
  it('in the middle: the boot that takes the wallet by a lease, after which windows are full, signs the rest', async () => {
    const wallet = await filled();
    const before = await kit.operators.bootOf(stack);
    let isKilled = false;
    solana.before = async (asked) => {
      if (asked !== 'getSignatureStatuses' || isKilled) return undefined;
      isKilled = true;
      await adminCall(stack.adminSocket, 'publish', {});
      stack.processes.enclave.kill('SIGKILL');
      await stack.processes.enclave.exited;
      return undefined;
    };
    const answer = await kit.sweep(wallet);
    expect(answer).toMatchObject({ ok: false });
    solana.calm();
    await stack.restartEnclave();
    await newBoot(stack, kit.operators, before);
    expect(await kit.sweep(wallet)).toMatchObject({ exit: 1, error: { code: 'wallet_held_elsewhere' } });
    expect(await kit.operators.lease('in-the-middle', before, stack)).toMatchObject({ ok: true });
    expect(await kit.sweep(wallet, '--retire')).toMatchObject({ ok: true, left: [] });
    expectSwept(wallet);
    await expectAudited(kit.operators);
  }, 120_000);
});
