/** Execution keys that are kept: found only as long as they may be, and wiped when they may not. */
import { KeptKeys } from '@quantumvault/enclave/kept-keys.ts';
import type { Vault } from '@quantumvault/enclave/vault.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

const wallet = (name: string): Address => name as Address;
const [A, B, C] = ['A', 'B', 'C'].map(wallet) as [Address, Address, Address];

/** Which slots hold a key. */
class Slots {
  readonly full = new Set<number>();
  readonly vault = { forget: (slot: number) => void this.full.delete(slot) } as unknown as Vault;

  fill = (slot: number | undefined): void => {
    if (slot !== undefined) this.full.add(slot);
  };
}

describe('kept keys', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  afterEach(() => void vi.useRealTimers());
  const now = (): number => performance.now();

  function keys({ timeToLiveSeconds = 10, count = 2, frozen = new Set<Address>() } = {}) {
    const slots = new Slots();
    const kept = new KeptKeys(slots.vault, { timeToLiveSeconds, count }, now, (one) => !frozen.has(one));
    const keep = (one: Address, key = `${one} key`): void => kept.keep(one, key, kept.asOfNow(), slots.fill);
    return { slots, kept, keep, frozen };
  }

  it('are found by wallet and very key until their time is over, however often they are used', () => {
    const { slots, kept, keep } = keys();
    keep(A);
    for (let second = 0; second < 10; second++) {
      expect(slots.full.has(kept.find(A, 'A key') ?? -1)).toBe(true);
      expect(kept.find(A, 'other key')).toBeUndefined();
      expect(kept.find(B, 'A key')).toBeUndefined();
      vi.advanceTimersByTime(999);
    }
    vi.advanceTimersByTime(10);
    expect(kept.find(A, 'A key')).toBeUndefined();
    expect(slots.full.size).toBe(0);
  });

  it('are wiped in time also when nobody asks', () => {
    const { slots, keep } = keys();
    keep(A);
    vi.advanceTimersByTime(4_000);
    keep(B);
    vi.advanceTimersByTime(6_001);
    expect(slots.full.size).toBe(1);
    vi.advanceTimersByTime(4_000);
    expect(slots.full.size).toBe(0);
  });

  it('are so many and no more: the oldest makes room', () => {
    const { slots, kept, keep } = keys();
    for (const one of [A, B, C]) keep(one);
    expect([kept.size, slots.full.size]).toEqual([2, 2]);
    expect([A, B, C].map((one) => kept.find(one, `${one} key`) !== undefined)).toEqual([false, true, true]);
  });

  it('are one for each wallet, the newest', () => {
    const { slots, kept, keep } = keys();
    keep(A, 'first');
    keep(A, 'second');
    expect([slots.full.size, kept.find(A, 'first'), kept.find(A, 'second') !== undefined]).toEqual([
      1,
      undefined,
      true,
    ]);
  });

  it('are wiped when their wallet is forgotten, or all are', () => {
    const { slots, kept, keep } = keys();
    keep(A);
    keep(B);
    kept.forget(A);
    expect([kept.find(A, 'A key'), slots.full.size]).toEqual([undefined, 1]);
    kept.forget();
    expect([kept.size, slots.full.size]).toEqual([0, 0]);
  });

  it('are not kept when they were ordered wiped while KMS was asked, nor while their wallet is frozen', () => {
    const { slots, kept, keep, frozen } = keys();
    const asOf = kept.asOfNow();
    kept.forget();
    kept.keep(A, 'A key', asOf, slots.fill);
    frozen.add(B);
    keep(B);
    expect([kept.size, slots.full.size]).toEqual([0, 0]);
  });

  it('are not kept when they did not open, or when what opened them forgets them', () => {
    const { slots, kept } = keys();
    const refuse = (slot: number | undefined): void => {
      slots.fill(slot);
      throw new Error('does not open');
    };
    expect(() => kept.keep(A, 'A key', kept.asOfNow(), refuse)).toThrow('does not open');
    expect([kept.size, slots.full.size]).toEqual([0, 0]);
    kept.keep(A, 'A key', kept.asOfNow(), (slot) => {
      slots.fill(slot);
      kept.forget(A);
    });
    expect([kept.size, slots.full.size]).toEqual([0, 0]);
  });

  it('are none where the configuration has none', () => {
    const slots = new Slots();
    const kept = new KeptKeys(slots.vault, undefined, now, () => true);
    let given: number | undefined = -1;
    kept.keep(A, 'A key', kept.asOfNow(), (slot) => {
      given = slot;
    });
    expect([given, kept.find(A, 'A key'), kept.size]).toEqual([undefined, undefined, 0]);
  });

  it('whatever happens, are in exactly the slots that are full, within their time and their number', () => {
    const names = fc.constantFrom(...['A', 'B', 'C', 'D', 'E'].map(wallet));
    const step = fc.oneof(
      fc.record({ keep: names }),
      fc.record({ forget: fc.option(names, { nil: undefined }) }),
      fc.record({ wait: fc.integer({ min: 0, max: 6_000 }) }),
      fc.record({ find: names }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 4 }), (steps, count) => {
        const { slots, kept, keep } = keys({ timeToLiveSeconds: 5, count });
        const born = new Map<Address, number>();
        for (const one of steps) {
          if ('keep' in one) {
            keep(one.keep);
            born.set(one.keep, now());
          } else if ('forget' in one) kept.forget(one.forget);
          else if ('wait' in one) vi.advanceTimersByTime(one.wait);
          else if (kept.find(one.find, `${one.find} key`) !== undefined) {
            expect(now() - (born.get(one.find) ?? 0)).toBeLessThan(5_000);
          }
          expect(slots.full.size).toBe(kept.size);
          expect(kept.size).toBeLessThanOrEqual(count);
        }
        vi.advanceTimersByTime(5_001);
        expect(slots.full.size).toBe(0);
      }),
    );
  });
});
