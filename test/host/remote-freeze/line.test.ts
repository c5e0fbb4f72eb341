/** What of a flood of right orders reaches the enclave. */
import type { FreezeReport } from '@quantumvault/host/freeze-report.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { PanicCodes } from '@quantumvault/host/remote-freeze/panic-codes.ts';
import { RemoteFreeze } from '@quantumvault/host/remote-freeze/remote-freeze.ts';
import { SlowSources } from '@quantumvault/host/remote-freeze/slow-sources.ts';
import { UsedSteps } from '@quantumvault/host/remote-freeze/used-steps.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { expect, test } from 'vitest';
import { until } from '../../support/temporary.ts';
import { key } from '../store-fixtures.ts';

test('no more than its share of the stop line, all in the end, in order, also when some fail', async () => {
  const store = { findPanicCode: async (hash) => ({ wallet: key(1), hash }) } as Partial<Store> as Store;
  const started: string[] = [];
  const waiting: (() => void)[] = [];
  const freeze = async (scope: string, reason: string): Promise<FreezeReport> => {
    started.push(reason);
    await new Promise<void>((resolve) => waiting.push(resolve));
    if (Number(reason) % 7 === 0) throw new Error('failed');
    return { scope } as FreezeReport;
  };
  const remote = new RemoteFreeze({
    store,
    freezes: { freeze },
    operators: undefined,
    usedSteps: new UsedSteps(store, silentLog),
    panicCodes: new PanicCodes(store),
    sources: new SlowSources(),
    now: () => timeMs(0),
  });
  const numbers = Array.from({ length: 200 }, (_, number) => String(number));
  const all = Promise.allSettled(
    numbers.map((reason) => remote.byPanicCode(`source ${reason}`, { code: new Uint8Array(16), reason })),
  );
  await until('the line is full', () => started.length === LIMITS.remoteFreezes);
  while (started.length < numbers.length || waiting.length > 0) {
    expect(waiting.length).toBeLessThanOrEqual(LIMITS.remoteFreezes);
    waiting.shift()?.();
    await new Promise(setImmediate);
  }
  const outcomes = await all;
  expect(started).toEqual(numbers);
  expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(29);
});
