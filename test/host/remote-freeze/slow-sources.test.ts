import { PACE, type Pace, SlowedError, SlowSources } from '@quantumvault/host/remote-freeze/slow-sources.ts';
import { sourceOf } from '@quantumvault/host/remote-freeze/source.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

let now: number;
let slept: number[];
const stopwatch = {
  now: () => now,
  sleep: async (milliseconds: number) => {
    slept.push(milliseconds);
  },
};
const make = (change: Partial<Pace> = {}) => new SlowSources({ ...PACE, ...change }, stopwatch);
const wrong = async (): Promise<never> => {
  throw new QvError('freeze_credentials_invalid');
};
const right = async () => 'frozen';
/** Undefined when it was judged. */
async function waitOf(attempt: Promise<unknown>): Promise<number | undefined> {
  try {
    await attempt;
    return undefined;
  } catch (error) {
    if (error instanceof SlowedError) return error.retryAfterSeconds;
    if (error instanceof QvError && error.code === 'freeze_credentials_invalid') return undefined;
    throw error;
  }
}

beforeEach(() => {
  now = 1_000_000;
  slept = [];
});

describe('a source that fails', () => {
  it('waits twice as long each time, up to the limit, and is told how long', async () => {
    const waits: number[] = [];
    for (const failures of [0, 1, 2, 3, 4, 5, 6, 7, 8, 20]) {
      const sources = make();
      slept = [0];
      for (let failure = 0; failure < failures; failure++) {
        now += 60_000;
        await expectCode(sources.attempt('a', wrong), 'freeze_credentials_invalid');
      }
      waits.push((await waitOf(sources.attempt('a', right))) ?? (slept.at(-1) ?? 0) / 1000);
    }
    expect(waits).toEqual([0, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  it('is refused without being judged when its wait is longer than a request may take', async () => {
    const sources = make();
    for (let failure = 0; failure < 3; failure++) await waitOf(sources.attempt('a', wrong));
    const refusal = await expectCode(
      sources.attempt('a', () => Promise.reject(new Error('judged'))),
      'source_slowed',
    );
    expect(refusal.facts.value).toBe('3 s');
  });

  it('has its turn when it has waited, also while others of it keep trying too early', async () => {
    const sources = make();
    for (let failure = 0; failure < 6; failure++) {
      await waitOf(sources.attempt('a', wrong));
      now += 60_000;
    }
    await waitOf(sources.attempt('a', wrong));
    // Trying too early costs nothing: the wait does not grow.
    const first = await waitOf(sources.attempt('a', right));
    for (let early = 0; early < 100; early++) expect(await waitOf(sources.attempt('a', right))).toBe(first);
    now += (first ?? 0) * 1000 - 2_000;
    expect(await sources.attempt('a', right)).toBe('frozen');
    expect(slept.at(-1)).toBe(2_000);
  });

  it('slows no other', async () => {
    const sources = make();
    for (let failure = 0; failure < 20; failure++) await waitOf(sources.attempt('a', wrong));
    expect(await sources.attempt('b', right)).toBe('frozen');
    expect(slept.every((milliseconds) => milliseconds <= PACE.turnMilliseconds)).toBe(true);
  });

  it('does not have many guesses judged at once', async () => {
    const sources = make();
    let judged = 0;
    const guess = async (): Promise<never> => {
      judged++;
      return wrong();
    };
    await Promise.allSettled(Array.from({ length: 1_000 }, () => sources.attempt('a', guess)));
    expect(judged).toBe(2);
  });

  it('is not made quick again by one right code, and is forgotten in the end', async () => {
    const sources = make();
    for (let failure = 0; failure < 10; failure++) {
      await waitOf(sources.attempt('a', wrong));
      now += 60_000;
    }
    expect(await sources.attempt('a', right)).toBe('frozen');
    now += PACE.rightMilliseconds;
    await waitOf(sources.attempt('a', wrong));
    expect(await waitOf(sources.attempt('a', right))).toBe(60);
    now += 60_000 + PACE.forgetMilliseconds + 1;
    await waitOf(sources.attempt('a', wrong));
    expect(await sources.attempt('a', right)).toBe('frozen');
    expect(slept.at(-1)).toBe(1_000);
  });

  it('that is right again and again keeps a distance', async () => {
    const sources = make();
    await Promise.all(Array.from({ length: 5 }, () => sources.attempt('a', right).catch(() => undefined)));
    expect((await waitOf(sources.attempt('a', right))) ?? slept.at(-1)).toBeGreaterThanOrEqual(PACE.rightMilliseconds);
  });

  it('only by wrong credentials: other faults are not its own', async () => {
    const sources = make();
    const fail = (): Promise<never> => Promise.reject(new QvError('store_unavailable'));
    for (let fault = 0; fault < 20; fault++) {
      await expectCode(sources.attempt('a', fail), 'store_unavailable');
      now += PACE.rightMilliseconds;
    }
    expect(await sources.attempt('a', right)).toBe('frozen');
    expect(slept).toEqual([]);
  });
});

describe('the table', () => {
  it('holds a bounded number of sources, the last ones', async () => {
    const sources = make({ sources: 100 });
    for (let source = 0; source < 1_000; source++) await waitOf(sources.attempt(`s${source}`, wrong));
    expect(sources.size).toBe(100);
    expect(await sources.attempt('s999', right)).toBe('frozen');
    expect(slept).toEqual([1_000]);
  });

  it('drops those that are over; those who were right at once', async () => {
    const sources = make();
    for (let source = 0; source < 50; source++) await sources.attempt(`s${source}`, right);
    now += PACE.rightMilliseconds + 1;
    await sources.attempt('new', right);
    expect(sources.size).toBe(1);
    now += PACE.rightMilliseconds + 1;
    for (let source = 0; source < 50; source++) await waitOf(sources.attempt(`s${source}`, wrong));
    now += 1_000 + PACE.forgetMilliseconds + 1;
    await waitOf(sources.attempt('other', wrong));
    expect(sources.size).toBe(1);
  });
});

describe('a source', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['::ffff:c000:0201', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:ffff::1', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::192.0.2.1', '64:ff9b:0:0::/64'],
    ['', ''],
  ])('%s is %s', (address, source) => expect(sourceOf(address)).toBe(source));
});
