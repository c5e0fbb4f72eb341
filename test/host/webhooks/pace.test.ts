/** How refusals are paced, and how verifications take turns. Time is the test's own. */
import { RefusalPace } from '@quantumvault/host/webhooks/refusal-pace.ts';
import { Turns } from '@quantumvault/host/webhooks/turns.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

function paced(perSecond: number) {
  let now = 1_000;
  const sleeps: { readonly until: number; readonly wake: () => void }[] = [];
  const pace = new RefusalPace(perSecond, {
    now: () => now,
    sleep: (milliseconds) => new Promise((wake) => sleeps.push({ until: now + milliseconds, wake })),
  });
  const pass = async (milliseconds: number): Promise<void> => {
    now += milliseconds;
    for (const { until, wake } of sleeps) if (until <= now) wake();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { pace, pass };
}

/** Asks so often, and counts what came. */
function ask(pace: RefusalPace, times: number, cost = 1) {
  const told = { yes: 0, no: 0 };
  for (let time = 0; time < times; time++)
    void pace.turn(cost).then((isTold) => {
      if (isTold) told.yes++;
      else told.no++;
    });
  return told;
}

describe('refusals', () => {
  it('within the pace are told at once', async () => {
    const { pace, pass } = paced(100);
    for (let second = 0; second < 10; second++) {
      const told = ask(pace, 25);
      await pass(0);
      expect(told.yes).toBe(25);
      await pass(250);
    }
    expect(pace.waiting).toBe(0);
  });

  it('beyond it wait for their turn, and where that is too far are not told at all', async () => {
    const { pace, pass } = paced(100);
    const told = ask(pace, 1_000);
    await pass(0);
    const most = LIMITS.webhookRefusalMilliseconds / 10;
    expect(told.yes).toBe(26);
    expect(told.no).toBe(1_000 - 26 - most);
    expect(pace.waiting).toBe(most);
    await pass(1_000);
    expect(told.yes).toBe(126);
    await pass(1_000);
    expect(told.yes).toBe(226);
    expect(pace.waiting).toBe(0);
  });

  it('that cost more take more of it', async () => {
    const { pace, pass } = paced(100);
    const told = ask(pace, 100, 5);
    await pass(0);
    expect(told.yes).toBe(6);
    await pass(1_000);
    expect(told.yes).toBe(26);
  });
});

describe('turns', () => {
  it('are so many at a time, in order, and given on when work fails', async () => {
    const turns = new Turns(2, 3);
    const running: number[] = [];
    const finish: ((fail: boolean) => void)[] = [];
    const work = (id: number) =>
      turns.run(() => {
        running.push(id);
        return new Promise<number>((resolve, reject) => {
          finish[id] = (fail) => (fail ? reject(new Error('failed')) : resolve(id));
        });
      });
    const all = [0, 1, 2, 3, 4].map(work);
    expect(running).toEqual([0, 1]);
    await expectCode(work(5), 'overloaded');
    finish[1]?.(true);
    await expect(all[1]).rejects.toThrow('failed');
    expect(running).toEqual([0, 1, 2]);
    for (const id of [0, 2]) finish[id]?.(false);
    expect(await Promise.all([all[0], all[2]])).toEqual([0, 2]);
    expect(running).toEqual([0, 1, 2, 3, 4]);
    for (const id of [3, 4]) finish[id]?.(false);
    expect(await Promise.all([all[3], all[4]])).toEqual([3, 4]);
    const last = work(6);
    expect(running).toContain(6);
    finish[6]?.(false);
    expect(await last).toBe(6);
  });
});
