import { TrustedTime } from '@quantumvault/enclave/time.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';

const START = 1_700_000_000_000;

function clock() {
  let monotonicMs = 1_000;
  const time = new TrustedTime(() => monotonicMs);
  const advance = (ms: number): void => {
    monotonicMs += ms;
  };
  /** A document made now, whose way here and back took this long. */
  const sample = (timestampMs: number, roundTripMs = 0): void =>
    time.take(timestampMs, monotonicMs - roundTripMs, monotonicMs);
  return { time, advance, sample };
}

describe('trusted time', () => {
  it('does not exist before the first sample', async () => {
    await expectCode(() => clock().time.now(), 'time_untrusted');
  });

  it('is the sample plus the monotonic clock, and ends with its age', async () => {
    const { time, advance, sample } = clock();
    sample(START);
    advance(10_000);
    expect(time.now()).toBe(START + 10_000);
    advance(LIMITS.trustedTimeMaxAgeSeconds * 1000 - 10_000);
    expect(time.now()).toBe(START + 60_000);
    advance(1);
    await expectCode(() => time.now(), 'time_untrusted');
    expect(time.lastTrusted()).toBe(START + 60_001);
  });

  it('takes no document that was long on its way', async () => {
    const { time, sample } = clock();
    sample(START, 2_001);
    await expectCode(() => time.now(), 'time_untrusted');
    sample(START, 2_000);
    expect(time.now()).toBe(START);
  });

  it('stops when the module steps back, and goes on once it has caught up', async () => {
    const { time, advance, sample } = clock();
    sample(START);
    advance(1_000);
    sample(START - 10_000);
    await expectCode(() => time.now(), 'time_untrusted');
    advance(1_000);
    sample(START + 2_000);
    expect(time.now()).toBe(START + 2_000);
  });

  it('never goes backwards, though a new sample may be a little earlier', () => {
    const { time, advance, sample } = clock();
    sample(START);
    advance(10_000);
    const before = time.now();
    sample(START + 9_000);
    expect(time.now()).toBe(before);
    advance(2_000);
    expect(time.now()).toBe(START + 11_000);
  });

  it('never goes back behind the time of a record that did not wait', async () => {
    const { time, advance, sample } = clock();
    sample(START);
    advance(10_000);
    const frozen = time.lastTrusted();
    // Its document was longer on the way.
    sample(START + 9_000);
    expect(time.now()).toBe(frozen);
    advance(LIMITS.trustedTimeMaxAgeSeconds * 1000 + 1);
    await expectCode(() => time.now(), 'time_untrusted');
    const late = time.lastTrusted();
    sample(late - 2_000);
    expect(time.lastTrusted()).toBe(late);
    expect(time.now()).toBe(late);
  });

  it('does not add up drift: a clock that runs 100 ppm fast or slow for a month is trusted throughout', () => {
    for (const rate of [1.0001, 0.9999]) {
      const { time, advance, sample } = clock();
      const stepMs = LIMITS.trustedTimeSampleSeconds * 1000;
      for (let moduleMs = START; moduleMs < START + 31 * 86_400_000; moduleMs += stepMs) {
        sample(moduleMs);
        expect(Math.abs(time.now() - moduleMs)).toBeLessThan(100);
        advance(stepMs * rate);
      }
    }
  });

  it('is never later than the module by more than the clocks disagree, whatever the round trips', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 0, max: 4_000 })), {
      minLength: 1,
    });
    fc.assert(
      fc.property(steps, (list) => {
        const { time, advance, sample } = clock();
        let moduleMs = START;
        sample(moduleMs);
        for (const [wait, roundTrip] of list) {
          advance(wait + roundTrip);
          moduleMs += wait + roundTrip;
          // Made somewhere on its way: here at the very beginning, the worst case.
          sample(moduleMs - roundTrip, roundTrip);
          let now: number | undefined;
          try {
            now = time.now();
          } catch {
            now = undefined;
          }
          if (now !== undefined) expect(now).toBeLessThanOrEqual(moduleMs);
        }
      }),
    );
  });
});
