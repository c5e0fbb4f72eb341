import { type Held, Holdings } from '@quantumvault/enclave/holdings.ts';
import { encodeState, type WalletState } from '@quantumvault/enclave/state.ts';
import type { WalletKeys } from '@quantumvault/enclave/vault.ts';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { NOTHING_SPENT } from '@quantumvault/shared/policy/state.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { party } from '../support/wallet-kit.ts';

const boot = party().address as string as BootId;
const [wallet, owner, requester] = [party().address, party().address, party().address];
const state: WalletState = {
  wallet,
  owner,
  version: 5n,
  holder: boot,
  epoch: 0,
  firstRequesters: [requester],
  logPosition: 1n,
  spent: NOTHING_SPENT,
};
const blobs = {
  salt: new Uint8Array(32),
  executionKey: new Uint8Array(1),
  sealedSeed: new Uint8Array(72),
  sealedState: new Uint8Array(1),
};

/** Keys to which the row's state opens as `stored`. Everything else about keys is tested with the vault. */
const opening = (stored: WalletState | undefined, seedOpens = true) =>
  ({ openState: () => stored && encodeState(stored), seedOpens: () => seedOpens }) as unknown as WalletKeys;

function holding(): Holdings {
  const holdings = new Holdings(boot);
  holdings.add(state, { blob: blobs.sealedState, version: state.version }, blobs);
  return holdings;
}

describe('the holder compares a row’s state with its memory', () => {
  it('and takes an equal or older one: memory counts', () => {
    const holdings = holding();
    expect(holdings.compare(opening(state), blobs, wallet, owner).state).toBe(state);
    expect(holdings.compare(opening({ ...state, version: 1n }), blobs, wallet, owner).state).toBe(state);
  });

  it('and refuses one that its memory does not reach, or that is not of this wallet, owner or boot', async () => {
    const compare =
      (stored: WalletState | undefined, seedOpens = true) =>
      () =>
        holding().compare(opening(stored, seedOpens), blobs, wallet, owner);
    await expectCode(compare({ ...state, version: 6n }), 'state_ahead');
    await expectCode(compare({ ...state, wallet: party().address }), 'state_invalid');
    await expectCode(compare({ ...state, owner: party().address }), 'state_invalid');
    await expectCode(compare({ ...state, holder: party().address as string as BootId }), 'wallet_held_elsewhere');
    await expectCode(compare(undefined), 'state_invalid');
    await expectCode(compare(undefined, false), 'wallet_keys_mismatch');
    await expectCode(() => new Holdings(boot).compare(opening(state), blobs, wallet, owner), 'state_invalid');
  });

  it('and opens nothing of a row with other key blobs', async () => {
    const unopened = { openState: () => expect.fail('it was opened') } as unknown as WalletKeys;
    const changes = [
      { salt: new Uint8Array(32).fill(1) },
      { executionKey: new Uint8Array(2) },
      { sealedSeed: new Uint8Array(71) },
    ];
    for (const change of changes) {
      const others = { ...blobs, ...change };
      await expectCode(() => holding().compare(unopened, others, wallet, owner), 'wallet_keys_replaced');
      await expectCode(() => holding().requireKeys(wallet, others), 'wallet_keys_replaced');
      new Holdings(boot).requireKeys(wallet, others);
    }
  });
});

describe('the number of wallets', () => {
  it('is bounded, wallets under way included', async () => {
    const holdings = new Holdings(boot);
    const places = Array.from({ length: LIMITS.walletsPerEnclave }, () => holdings.reserve());
    await expectCode(() => holdings.reserve(), 'wallets_full');
    places[0]?.release();
    holdings.reserve();
    await expectCode(() => holdings.reserve(), 'wallets_full');
  });
});

describe('a wallet that is re-wrapped', () => {
  const keys = { salt: new Uint8Array(32).fill(9), executionKey: new Uint8Array(9), sealedSeed: new Uint8Array(72) };
  const at = timeMs(1_795_383_600_000);
  const sealed = { blob: new Uint8Array(90), version: 6n };

  it('is told about to whoever asks, also when it has left, and only its new blobs count', async () => {
    const holdings = holding();
    const held = holdings.get(wallet) as Held;
    expect(holdings.newest(wallet)).toEqual({ state: { blob: blobs.sealedState, version: 5n } });
    const mac = new Uint8Array(32).fill(3);
    holdings.rewrap(held, { ...state, version: 6n }, sealed, { keys, mac, at });
    holdings.requireKeys(wallet, keys);
    await expectCode(() => holdings.requireKeys(wallet, blobs), 'wallet_keys_replaced');
    const told = { state: sealed, rewrapped: { keys, mac, at } };
    expect(holdings.newest(wallet)).toEqual(told);
    holdings.give(wallet, undefined);
    expect(holdings.newest(wallet)).toEqual(told);
  });

  it('goes on telling a new owner after it was re-wrapped once more', () => {
    const holdings = holding();
    const held = holdings.get(wallet) as Held;
    const next = party().address;
    holdings.rewrap(held, { ...state, owner: next, version: 6n }, sealed, { keys, at, owner: next });
    holdings.rewrap(held, { ...state, owner: next, version: 7n }, sealed, { keys: blobs, at });
    expect(holdings.newest(wallet)?.rewrapped?.owner).toBe(next);
  });
});

describe('an import that is repeated', () => {
  const imported = { ...blobs, sealedSeed: new Uint8Array(72).fill(1) };
  const began: WalletState = { ...state, version: 1n };
  const withImport = (change: Partial<WalletState> = {}) => {
    const holdings = new Holdings(boot);
    holdings.add({ ...began, ...change }, { blob: blobs.sealedState, version: 1n }, blobs, { imported });
    return holdings;
  };

  it('gives what was given, to the same owner, until a policy was enabled', async () => {
    expect(new Holdings(boot).unusedImport(wallet, owner)).toBeUndefined();
    expect(withImport().unusedImport(wallet, owner)).toBe(imported);
    await expectCode(() => withImport().unusedImport(wallet, party().address), 'wallet_exists');
    await expectCode(() => holding().unusedImport(wallet, owner), 'wallet_exists');
  });

  it('never brings back a wallet that left', async () => {
    const holdings = withImport();
    holdings.give(wallet, undefined);
    await expectCode(() => holdings.unusedImport(wallet, owner), 'wallet_held_elsewhere');
  });
});
