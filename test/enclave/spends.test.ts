import { fits, packSignals, packSpends, unpackSignals, unpackSpends } from '@quantumvault/enclave/spends.ts';
import { decodeState, encodeState } from '@quantumvault/enclave/state.ts';
import { type Address, type BootId, hash, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { NOTHING_SPENT, reserve, type Spend, type SpendState } from '@quantumvault/shared/policy/state.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { party } from '../support/wallet-kit.ts';

const MINTS: readonly Address[] = Array.from({ length: 6 }, () => party().address);
const u64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const spend: fc.Arbitrary<Spend> = fc.record({
  at: fc.integer({ min: 0, max: 4e12 }).map(timeMs),
  count: fc.integer({ min: 1, max: 0xffff_ffff }),
  lamportsOut: u64,
  feeLamports: u64,
  tokens: fc
    .uniqueArray(fc.tuple(fc.constantFrom(...MINTS), u64), { selector: ([mint]) => mint })
    .map((pairs) => new Map(pairs)),
});

describe('packed spends', () => {
  it('come back as they were', () => {
    fc.assert(
      fc.property(fc.array(spend, { maxLength: 20 }), (spends) => {
        expect(unpackSpends(packSpends({ ...NOTHING_SPENT, spends })).spends).toEqual(spends);
      }),
    );
  });

  it('are refused when cut or arbitrary, never misread into a crash', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const spends = unpackSpends(bytes);
          expect(unpackSpends(packSpends(spends)).spends).toEqual(spends.spends);
        } catch (error) {
          expect(error).toBeInstanceOf(QvError);
        }
      }),
    );
  });

  it('are refused with a mint that is not listed, or a length that does not fit', async () => {
    const packed = packSpends({
      ...NOTHING_SPENT,
      spends: [
        { at: timeMs(1), count: 1, lamportsOut: 1n, feeLamports: 1n, tokens: new Map([[MINTS[0] as Address, 5n]]) },
      ],
    });
    await expectCode(() => unpackSpends(packed.subarray(0, packed.length - 1)), 'state_invalid');
    await expectCode(() => unpackSpends(new Uint8Array(0)), 'state_invalid');
    const wrong = Uint8Array.from(packed);
    wrong[packed.length - 9] = 1;
    await expectCode(() => unpackSpends(wrong), 'state_invalid');
  });

  it('stay within the sealed state however many there are, and never forget an amount', () => {
    let state: SpendState = NOTHING_SPENT;
    const spends = 2_000;
    for (let index = 0; index < spends; index++) {
      const tokens = new Map(MINTS.map((mint) => [mint, 1n]));
      state = reserve(state, { lamportsOut: 1n, feeLamports: 2n, tokens }, timeMs(1e12 + index * 1000), fits);
      expect(fits(state.spends)).toBe(true);
    }
    expect(packSpends(state).length).toBeLessThanOrEqual(LIMITS.packedSpendBytes);
    const sum = (of: (entry: Spend) => bigint) => state.spends.reduce((total, entry) => total + of(entry), 0n);
    expect(sum(({ lamportsOut }) => lamportsOut)).toBe(BigInt(spends));
    expect(sum(({ tokens }) => tokens.get(MINTS[5] as Address) ?? 0n)).toBe(BigInt(spends));
    expect(sum(({ count }) => BigInt(count))).toBe(BigInt(spends));
  });
});

describe('packed signals', () => {
  it('come back as they were, as many as are remembered', () => {
    let state: SpendState = NOTHING_SPENT;
    const amounts = { lamportsOut: 0n, feeLamports: 0n, tokens: new Map() };
    for (let index = 0; index < LIMITS.signalUses + 20; index++) {
      const signal = { source: 'alpha', id: `s-${index}`, at: timeMs(1e12 + index), verifiedBy: 'enclave' } as const;
      state = reserve(state, { ...amounts, signal }, timeMs(1e12), fits);
    }
    const packed = packSignals(state);
    expect(packed.length).toBeLessThanOrEqual(LIMITS.packedSignalBytes);
    expect(unpackSignals(packed)).toEqual({ signals: state.signals, signalFloor: state.signalFloor });
  });

  it('are refused when cut', async () => {
    for (const length of [0, 7, 9, 35]) await expectCode(() => unpackSignals(new Uint8Array(length)), 'state_invalid');
    await expectCode(() => unpackSignals(new Uint8Array(8).fill(0xff)), 'state_invalid');
  });
});

describe('the largest state', () => {
  it('fits its sealed form', () => {
    let state: SpendState = NOTHING_SPENT;
    for (let index = 0; index < 700; index++) {
      const signal = { source: 'alpha', id: `s-${index}`, at: timeMs(1e12 + index), verifiedBy: 'enclave' } as const;
      const tokens = new Map([[MINTS[index % 6] as Address, 1n]]);
      state = reserve(state, { lamportsOut: 1n, feeLamports: 1n, tokens, signal }, timeMs(1e12 + index), fits);
    }
    const encoded = encodeState({
      wallet: party().address,
      owner: party().address,
      version: 700n,
      holder: party().address as string as BootId,
      epoch: 1,
      policyHash: hash(new Uint8Array(32)),
      firstRequesters: Array.from({ length: LIMITS.requesters }, () => party().address),
      logPosition: 1n,
      spent: state,
      retiredAt: timeMs(1e12),
    });
    // A nonce of 24 bytes and a tag of 16 come on top.
    expect(encoded.length + 40).toBeLessThanOrEqual(LIMITS.sealedStateBytes);
    expect(decodeState(encoded).spent).toEqual(state);
  });
});
