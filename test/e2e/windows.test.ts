/** Budgets over time, with a malicious host: sliding windows, rates, concurrency, changes of policy. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { enabling } from '../support/wallet-kit.ts';

let host: MaliciousHost;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
});
afterAll(() => host?.stop());

/** A wallet whose policy has these further members. */
async function walletWith(change: (document: Record<string, unknown>) => Record<string, unknown>): Promise<KitWallet> {
  const wallet = await host.createWallet();
  const document = change(host.documentFor(wallet));
  const request = enabling(wallet.owner, wallet.blobs, { deployment: host.backend.deployment, document });
  const enabled = await host.data.request('policyEnable', request);
  return { ...wallet, policy: { bytes: request.policy, mac: enabled.mac } };
}

const solWindow = (seconds: number, max: string) => (document: Record<string, unknown>) => ({
  ...document,
  sol: { ...(document['sol'] as object), window: { seconds, max } },
});
const sign = (wallet: KitWallet, change = {}) => host.data.request('sign', host.request(wallet, change));

describe('a window', () => {
  it('with room for 10 yields exactly 10 of 200 parallel requests', async () => {
    const wallet = await walletWith(solWindow(3600, '10000'));
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, () => sign(wallet)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(10);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') {
        const error = await expectCode(Promise.reject(outcome.reason), 'policy_denied');
        expect(error.facts).toEqual({ path: 'sol.window', value: '11000' });
      }
    }
  });

  it('is not emptied by older rows, repeats or dry runs, and a repeat at its limit still answers', async () => {
    const wallet = await walletWith(solWindow(3600, '2500'));
    const first = host.request(wallet);
    const signed = await host.data.request('sign', first);
    expect((await host.data.request('sign', first)).signature).toEqual(signed.signature);
    await sign(wallet, { body: { dryRun: true } });
    await sign(wallet);
    await expectCode(sign(wallet), 'policy_denied');
    // The state as it was at creation, before anything was spent.
    await expectCode(sign(wallet, { blobs: wallet.created.blobs }), 'policy_denied');
    expect((await host.data.request('sign', first)).signature).toEqual(signed.signature);
    const rules = (await sign(wallet, { body: { dryRun: true } })).rules;
    expect(rules?.find(({ rule }) => rule === 'sol.window')).toMatchObject({ outcome: 'deny', value: '3000' });
  });

  it('counts a signature that the host withholds and reports as failed', async () => {
    const wallet = await walletWith(solWindow(3600, '1500'));
    // The host got the signature; that it tells the requester otherwise changes nothing here.
    await sign(wallet, { id: 'withheld' });
    await expectCode(sign(wallet, { id: 'second-try' }), 'policy_denied');
  });

  it('survives a change of policy, also into one that had no window before', async () => {
    const wallet = await walletWith((document) => document);
    await sign(wallet);
    await sign(wallet);
    const document = solWindow(3600, '2500')(host.documentFor(wallet, { epoch: 2 }));
    const request = enabling(wallet.owner, wallet.blobs, {
      deployment: host.backend.deployment,
      document,
      previous: wallet.policy.bytes,
    });
    const enabled = await host.data.request('policyEnable', request);
    await expectCode(sign({ ...wallet, policy: { bytes: request.policy, mac: enabled.mac } }), 'policy_denied');
  });

  it('slides', async () => {
    const wallet = await walletWith(solWindow(1, '1000'));
    await sign(wallet);
    await expectCode(sign(wallet), 'policy_denied');
    await expect
      .poll(
        () =>
          sign(wallet).then(
            () => true,
            () => false,
          ),
        { timeout: 10_000, interval: 200 },
      )
      .toBe(true);
  });
});

describe('a rate', () => {
  it('counts signatures, not requests', async () => {
    const wallet = await walletWith((document) => ({ ...document, rate: { perMinute: 3, perDay: 100 } }));
    await expectCode(sign(wallet, { lamports: 1_000_001n }), 'policy_denied');
    for (let index = 0; index < 3; index++) await sign(wallet);
    const error = await expectCode(sign(wallet), 'policy_denied');
    expect(error.facts.path).toBe('rate.perMinute');
  });
});

describe('fees', () => {
  it('have a window of their own', async () => {
    const wallet = await walletWith((document) => ({
      ...document,
      fees: { maxLamports: '100000', window: { seconds: 60, max: '12000' } },
    }));
    await sign(wallet);
    await sign(wallet);
    expect((await expectCode(sign(wallet), 'policy_denied')).facts.path).toBe('fees.window');
  });
});

describe('what is left', () => {
  it('is told of the enabled policy alone, and telling it changes nothing', async () => {
    const wallet = await walletWith(solWindow(3600, '2500'));
    const ask = (policy = wallet.policy.bytes) =>
      host.data.request('budgets', { wallet: wallet.created.wallet, policy });
    const sol = async () => (await ask()).budgets.find(({ rule }) => rule === 'sol.window');
    expect(await sol()).toEqual({ rule: 'sol.window', seconds: 3600, limit: 2500n, spent: 0n });
    await sign(wallet);
    const before = (await host.data.request('stateGet', { wallet: wallet.created.wallet })).state;
    const { time, budgets } = await ask();
    expect(budgets.find(({ rule }) => rule === 'sol.window')).toMatchObject({ limit: 2500n, spent: 1000n });
    for (const { freesAt } of budgets) expect(freesAt ?? time).toBeGreaterThanOrEqual(time);
    expect((await host.data.request('stateGet', { wallet: wallet.created.wallet })).state).toEqual(before);
    await sign(wallet);
    await expectCode(sign(wallet), 'policy_denied');
    expect(await sol()).toMatchObject({ spent: 2000n });

    const edited = Uint8Array.from(wallet.policy.bytes);
    edited[edited.length - 1] = (edited.at(-1) ?? 0) ^ 1;
    await expectCode(ask(edited), 'policy_not_current');
    const other = await walletWith(solWindow(3600, '9999'));
    await expectCode(ask(other.policy.bytes), 'policy_not_current');
    const unknown = { wallet: wallet.owner.address, policy: wallet.policy.bytes };
    await expectCode(host.data.request('budgets', unknown), 'wallet_held_elsewhere');
  });
});
