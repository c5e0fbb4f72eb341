/** Budgets as metrics: of the wallets that the configuration names, as the enclave told, and not on a scrape's time. */

import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { EnclaveSession } from '@quantumvault/host/enclave/session.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { BudgetMetrics } from '@quantumvault/host/metrics/budgets.ts';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import type { RowMac } from '@quantumvault/host/row-mac.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { type Address, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { describe, expect, it } from 'vitest';
import { holding } from '../../support/row-keys.ts';
import { until } from '../../support/temporary.ts';
import { Harness } from '../harness.ts';
import { parseExposition, sampleValue } from './exposition.ts';

const RULE = 'tokens[1].window';
const scrape = async (metrics: HostMetrics) => parseExposition(await metrics.text());

/** An enclave that speaks of wallet `a` alone. */
function setUp(everyMilliseconds: number) {
  const said = { limit: 1_000n, spent: 250n, isSilent: false };
  const asked: string[] = [];
  const enclave = {
    request: async (_: string, { wallet }: { wallet: string }) => {
      asked.push(wallet);
      if (wallet !== 'a' || said.isSilent) throw new QvError('wallet_held_elsewhere');
      return { time: timeMs(0), budgets: [{ rule: RULE, seconds: 60, limit: said.limit, spent: said.spent }] };
    },
  } as unknown as EnclaveClient;
  const store = { getWallet: async () => ({ policy: new Uint8Array(1), policyMac: new Uint8Array(1) }) };
  const rowKeys = holding({ verify: (row: unknown) => row } as unknown as RowMac);
  const session = { rowKeys } as unknown as EnclaveSession;
  const metrics = new HostMetrics();
  const deps = { store: store as unknown as Store, session, enclave, log: silentLog };
  new BudgetMetrics(metrics, ['a', 'b'] as Address[], deps, everyMilliseconds);
  return { metrics, said, asked };
}

describe('rounds', () => {
  it('begin with a scrape, which does not wait for them', async () => {
    const { metrics, asked } = setUp(60_000);
    expect(asked).toEqual([]);
    expect(sampleValue(await scrape(metrics), 'qv_budget_limit')).toBeUndefined();
    await until('both were asked about', () => asked.length === 2);
    const samples = await scrape(metrics);
    expect(sampleValue(samples, 'qv_budget_limit', { wallet: 'a', rule: RULE })).toBe(1_000);
    expect(sampleValue(samples, 'qv_budget_remaining', { wallet: 'a', rule: RULE })).toBe(750);
    expect(sampleValue(samples, 'qv_budget_limit', { wallet: 'b' })).toBeUndefined();
  });

  it('are no more than one in their time, however often somebody scrapes', async () => {
    const { metrics, asked } = setUp(60_000);
    for (let count = 0; count < 20; count++) await scrape(metrics);
    await until('both were asked about', () => asked.length === 2);
    await scrape(metrics);
    expect(asked).toEqual(['a', 'b']);
  });

  it('find less than nothing to be nothing, and forget what the enclave does not tell any more', async () => {
    const { metrics, said } = setUp(0);
    said.spent = 5_000n;
    await until('it is spent', async () => sampleValue(await scrape(metrics), 'qv_budget_remaining') === 0);
    said.isSilent = true;
    await until('it is gone', async () => sampleValue(await scrape(metrics), 'qv_budget_remaining') === undefined);
  });
});

it('a live host shows those of the wallets that its configuration names', async () => {
  const host = await new Harness().start();
  try {
    await host.createWallet();
    await host.enablePolicy();
    const live = async () => parseExposition((await host.admin('metrics', {})).text);
    expect(sampleValue(await live(), 'qv_budget_limit')).toBeUndefined();
    const budgets = [{ rule: 'sol.window', seconds: 60, limit: 9n, spent: 1n }];
    host.enclave.handlers.budgets = () => ({ time: timeMs(Date.now()), budgets });
    host.moreConfig = () => ({ metrics: { host: '127.0.0.1', port: 0, budgets: [host.wallet] } });
    await host.restartHost();
    await host.ready();
    const { wallet } = host;
    await until('it is shown', async () => sampleValue(await live(), 'qv_budget_limit', { wallet }) !== undefined);
    expect(host.enclave.count('budgets')).toBe(1);
  } finally {
    await host.stop();
  }
});
