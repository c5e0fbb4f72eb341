import { TrustedTime } from '@quantumvault/enclave/time.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';

function clock() {
  let monotonicMs = 1_000;
  const time = new TrustedTime(() => monotonicMs);
  const advance = (ms: number): void => {
    monotonicMs += ms;
  };
  return { time, advance, at: () => monotonicMs };
}

describe('trusted time', () => {
  it('does not exist before the first sample', async () => {
    await expectCode(() => clock().time.now(), 'time_untrusted');
  });

  it('is the sample plus the monotonic clock, and ends with its age', async () => {
    const { time, advance, at } = clock();
    time.take(1_700_000_000_000, at());
    advance(10_000);
    expect(time.now()).toBe(1_700_000_010_000);
    advance(LIMITS.trustedTimeMaxAgeSeconds * 1000 - 10_000);
    expect(time.now()).toBe(1_700_000_060_000);
    advance(1);
    await expectCode(() => time.now(), 'time_untrusted');
    expect(time.lastTrusted()).toBe(1_700_000_060_001);
  });

  it('counts the age of a document from when it was asked for', () => {
    const { time, advance, at } = clock();
    const asked = at();
    advance(5_000);
    time.take(1_700_000_000_000, asked);
    expect(time.now()).toBe(1_700_000_005_000);
  });

  it('stops when the module steps back, and goes on once it has caught up', async () => {
    const { time, advance, at } = clock();
    time.take(1_700_000_000_000, at());
    advance(1_000);
    time.take(1_699_999_990_000, at());
    await expectCode(() => time.now(), 'time_untrusted');
    advance(1_000);
    time.take(1_700_000_002_000, at());
    expect(time.now()).toBe(1_700_000_002_000);
  });

  it('never goes backwards within the tolerated drift', () => {
    const { time, advance, at } = clock();
    time.take(1_700_000_000_000, at());
    advance(10_000);
    const before = time.now();
    time.take(1_700_000_009_000, at());
    expect(time.now()).toBeGreaterThanOrEqual(before);
  });
});
