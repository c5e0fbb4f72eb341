/** What every Store has to do. A database's own test file calls this with a way to open it. */
import type { HistoryQuery, SignalRecord, Store } from '@quantumvault/host/store/store.ts';
import { type Address, type BootId, bootIdOf, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { BOOT, bytes, hashOf, insert, key, leaf, NOW, row, signal, signed } from './store-fixtures.ts';
import { rowKeySuite } from './store-suite-row-keys.ts';

export function storeSuite(open: () => Promise<Store>): void {
  let store: Store;
  const wallet = key(1);
  beforeEach(async () => {
    store = await open();
    expect(await store.insertWallet(insert(wallet, 1, 0))).toBe('inserted');
  });
  afterEach(() => store.close());
  rowKeySuite(() => store);

  it('gives back a row as it was put', async () => {
    expect(await store.getWallet(wallet)).toEqual(row(wallet));
    expect(await store.getWallet(key(99))).toBeUndefined();
    expect(await store.getCreation(key(2), bytes(16, 1))).toEqual(insert(wallet, 1, 0).creation);
    expect(await store.getCreation(key(2), bytes(16, 2))).toBeUndefined();
  });

  it('knows the first leaf of a boot that is not there', async () => {
    const other = bootIdOf(bytes(32, 10));
    expect(await store.firstMissingLeaf(BOOT, 0n)).toBe(1n);
    expect(await store.firstMissingLeaf(other, 0n)).toBe(0n);
    for (const sequence of [1, 2, 4, 5, 7]) await store.putLeaves([leaf(sequence)]);
    expect(await store.firstMissingLeaf(BOOT, 0n)).toBe(3n);
    expect(await store.firstMissingLeaf(BOOT, 4n)).toBe(6n);
    expect(await store.firstMissingLeaf(BOOT, 9n)).toBe(9n);
    await store.putLeaves([leaf(3)]);
    expect(await store.firstMissingLeaf(BOOT, 2n)).toBe(6n);
    await store.putLeaves([{ ...leaf(2), boot: other }]);
    expect(await store.firstMissingLeaf(other, 0n)).toBe(0n);
  });

  it('makes one wallet per nonce of an owner, and keeps the leaf of a second try', async () => {
    expect(await store.insertWallet(insert(key(11), 1, 1))).toBe('exists');
    expect(await store.getWallet(key(11))).toBeUndefined();
    expect(await store.insertWallet(insert(wallet, 2, 2))).toBe('exists');
    expect(await store.getLeaves(BOOT, 0n, 10)).toEqual([leaf(0), leaf(1), leaf(2)]);
  });

  it('writes state, leaf and reply of a signature together', async () => {
    const update = signed(wallet, 2);
    expect(await store.applySigned(update)).toBe('applied');
    expect(await store.getWallet(wallet)).toMatchObject({
      sealedState: update.sealedState,
      stateVersion: 2n,
      rowMac: update.rowMac,
      generation: 0,
    });
    expect(await store.getReply(wallet, key(8), 'id-2', NOW)).toEqual(update.reply);
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual(update.leaves);
    const batch = { ...signed(wallet, 5), leaves: [3, 4, 5].map((sequence) => leaf(sequence)) };
    expect(await store.applySigned(batch)).toBe('applied');
    expect(await store.getLeaves(BOOT, 3n, 10)).toEqual(batch.leaves);
  });

  it('writes a state by itself, or with its leaf, and says which versions there are', async () => {
    const { reply: _, leaves: moved, ...state } = signed(wallet, 4);
    expect(await store.applySigned(state)).toBe('applied');
    expect(await store.applySigned(state)).toBe('older');
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual([]);
    expect(await store.applySigned({ ...state, stateVersion: 5n, leaves: moved })).toBe('applied');
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual(moved);
    expect(await store.getStateVersions([key(99), wallet])).toEqual(new Map([[wallet, 5n]]));
    expect(await store.getStateVersions([])).toEqual(new Map());
  });

  it('finds what was decided, newest first, a bounded number of leaves at a time', async () => {
    const [mine, other, actor] = [key(1), key(11), key(8)];
    const put = (sequence: number, at: number, kind: 'signed' | 'denied', about: Address, by = actor) =>
      store.putLeaves([{ ...leaf(sequence), about: { at: timeMs(NOW + at), kind, wallet: about, actor: by } }]);
    await put(1, 1_000, 'signed', mine);
    await put(2, 1_000, 'denied', mine);
    await put(3, 3_000, 'signed', other);
    // Late, as what is recovered is.
    await put(4, 2_000, 'signed', mine, key(7));
    // Once is once.
    await put(4, 2_000, 'signed', mine, key(7));
    const sequences = async (query: Omit<HistoryQuery, 'count'>, count = 9) => {
      const { leaves, next } = await store.findHistory({ ...query, count });
      expect(leaves).toEqual(leaves.map(({ sequence }) => leaf(Number(sequence))));
      return [leaves.map(({ sequence }) => Number(sequence)), next] as const;
    };
    expect(await sequences({})).toEqual([[3, 4, 2, 1], undefined]);
    expect(await sequences({ wallet: mine })).toEqual([[4, 2, 1], undefined]);
    expect(await sequences({ actor })).toEqual([[3, 2, 1], undefined]);
    expect(await sequences({ wallet: mine, actor })).toEqual([[2, 1], undefined]);
    expect(await sequences({ kind: 'denied' })).toEqual([[2], undefined]);
    expect(await sequences({ from: timeMs(NOW + 1_000), to: timeMs(NOW + 3_000) })).toEqual([[4, 2, 1], undefined]);
    const [page, next] = await sequences({ wallet: mine }, 2);
    expect(page).toEqual([4, 2]);
    expect(await sequences({ wallet: mine, ...(next && { before: next }) }, 2)).toEqual([[1], undefined]);
    const many = Array.from({ length: LIMITS.decisionsScanned }, (_, at) => ({
      ...leaf(100 + at),
      about: { at: timeMs(NOW + 9_000 + at), kind: 'signed' as const, wallet: mine, actor },
    }));
    await store.putLeaves(many);
    const [none, further] = await sequences({ kind: 'denied' });
    expect(none).toEqual([]);
    expect(await sequences({ kind: 'denied', ...(further && { before: further }) })).toEqual([[2], undefined]);
  });

  it('lists wallets in ascending order, from behind any', async () => {
    const others = [11, 12, 13].map(key);
    for (const [at, other] of others.entries()) await store.insertWallet(insert(other, at + 2, at + 1));
    const all = [wallet, ...others].sort();
    expect(await store.listWallets(undefined, 3)).toEqual(all.slice(0, 3));
    expect(await store.listWallets(all[2], 3)).toEqual(all.slice(3));
    expect(await store.listWallets(all[3], 3)).toEqual([]);
  });

  it('never goes back to an older state, and keeps the older leaf and reply', async () => {
    expect(await store.applySigned(signed(wallet, 5))).toBe('applied');
    expect(await store.applySigned(signed(wallet, 3))).toBe('older');
    expect(await store.applySigned(signed(wallet, 5, 6, 'again'))).toBe('older');
    expect(await store.getWallet(wallet)).toMatchObject({ stateVersion: 5n, sealedState: bytes(90, 5) });
    expect((await store.getLeaves(BOOT, 0n, 10)).map(({ sequence }) => sequence)).toEqual([0n, 3n, 5n, 6n]);
    expect(await store.getReply(wallet, key(8), 'id-3', NOW)).toBeDefined();
  });

  it('writes nothing when the row is of another generation or gone', async () => {
    expect(await store.applySigned({ ...signed(wallet, 2), generation: 1 })).toBe('changed');
    expect(await store.applySigned(signed(key(99), 2))).toBe('changed');
    expect(await store.getReply(wallet, key(8), 'id-2', NOW)).toBeUndefined();
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual([]);
  });

  it('enables a policy on the row that was read, and on no other', async () => {
    const from = row(wallet);
    const to = {
      ...from,
      policy: bytes(300, 1),
      policyMac: bytes(32, 2),
      sealedState: bytes(90, 9),
      stateVersion: 2n,
      generation: 1,
      rowMac: bytes(32, 3),
    };
    expect(await store.enablePolicy({ from, to, leaf: leaf(1) })).toBe('applied');
    expect(await store.getWallet(wallet)).toEqual(to);
    expect(await store.enablePolicy({ from, to, leaf: leaf(2) })).toBe('changed');
    expect(await store.applySigned(signed(wallet, 3))).toBe('changed');
    expect(await store.enablePolicy({ from: { ...to, stateVersion: 1n }, to, leaf: leaf(3) })).toBe('changed');
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual([leaf(1), leaf(2), leaf(3)]);
  });

  it('keeps what is sealed for a second key, and counts the wallets without', async () => {
    expect(await store.countWithoutSecond()).toBe(1);
    const second = { ciphertext: bytes(180, 11), sealed: bytes(72, 12) };
    const given = insert(key(90), 90, 90);
    await store.insertWallet({ ...given, row: { ...given.row, second } });
    expect(await store.getWallet(key(90))).toEqual({ ...given.row, second });
    expect(await store.countWithoutSecond()).toBe(1);
    const from = row(wallet);
    await store.retireWallet({ from, to: { ...from, retired: true, generation: 1 }, leaf: leaf(91) });
    expect(await store.countWithoutSecond()).toBe(0);
  });

  it('replaces the keys of a wallet and what is under them if its row is as it was read; leaves are written in any case', async () => {
    const from = row(wallet);
    const to = {
      ...from,
      salt: bytes(32, 13),
      executionKey: bytes(180, 14),
      sealedSeed: bytes(72, 15),
      second: { ciphertext: bytes(180, 16), sealed: bytes(72, 17) },
      sealedState: bytes(90, 9),
      stateVersion: 2n,
      rotatedAt: NOW,
      generation: 1,
      rowMac: bytes(32, 4),
    };
    for (const [at, stale] of [
      { ...from, stateVersion: 9n },
      { ...from, generation: 9 },
    ].entries())
      expect(await store.replaceWalletKeys({ from: stale, to, leaves: [leaf(at + 1)] })).toBe('changed');
    expect(await store.getWallet(wallet)).toEqual(from);
    expect(await store.replaceWalletKeys({ from, to, leaves: [leaf(3)] })).toBe('applied');
    expect(await store.getWallet(wallet)).toEqual(to);
    expect(await store.replaceWalletKeys({ from, to, leaves: [] })).toBe('changed');
    // What was sealed under the keys of before is older.
    expect(await store.applySigned({ ...signed(wallet, 1, 4), generation: 1 })).toBe('older');
    expect(await store.getWallet(wallet)).toEqual(to);
    expect(await store.getLeaves(BOOT, 1n, 10)).toHaveLength(4);
  });

  it('retires a wallet if its row is as it was read; the leaf is written in any case', async () => {
    const from = row(wallet);
    const to = {
      ...from,
      retired: true,
      sealedState: bytes(90, 9),
      stateVersion: 2n,
      generation: 1,
      rowMac: bytes(32, 4),
    };
    expect(await store.retireWallet({ from: { ...from, stateVersion: 9n }, to, leaf: leaf(1) })).toBe('changed');
    expect(await store.retireWallet({ from: { ...from, generation: 9 }, to, leaf: leaf(2) })).toBe('changed');
    expect(await store.getWallet(wallet)).toEqual(from);
    expect(await store.retireWallet({ from, to, leaf: leaf(3) })).toBe('applied');
    expect(await store.getWallet(wallet)).toEqual(to);
    expect(await store.retireWallet({ from, to, leaf: leaf(3) })).toBe('changed');
    expect(await store.getLeaves(BOOT, 1n, 10)).toEqual([leaf(1), leaf(2), leaf(3)]);
  });

  it('refuses a second leaf in the place of a first, with all that came along', async () => {
    await expectCode(store.applySigned({ ...signed(wallet, 2), leaves: [leaf(1), leaf(0, 77)] }), 'store_conflict');
    await expectCode(store.putLeaves([leaf(0, 77)]), 'store_conflict');
    expect(await store.getWallet(wallet)).toEqual(row(wallet));
    await store.putLeaves([leaf(0)]);
    expect(await store.getLeaves(BOOT, 0n, 10)).toEqual([leaf(0)]);
  });

  it('one refused write does not take the others of its group along', async () => {
    const outcomes = await Promise.allSettled([
      store.putLeaves([leaf(1)]),
      store.putLeaves([leaf(0, 77)]),
      store.putLeaves([leaf(2)]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(await store.getLeaves(BOOT, 0n, 10)).toEqual([leaf(0), leaf(1), leaf(2)]);
  });

  it('keeps replies until they expire, per wallet, requester and id', async () => {
    const { reply } = signed(wallet, 2);
    await store.putLeaves([leaf(1)], reply);
    expect(await store.getReply(wallet, key(8), reply.id, NOW)).toEqual(reply);
    expect(await store.getReply(wallet, key(7), reply.id, NOW)).toBeUndefined();
    expect(await store.getReply(wallet, key(8), 'other', NOW)).toBeUndefined();
    expect(await store.getReply(wallet, key(8), reply.id, reply.expiresAt)).toBeUndefined();
    await store.deleteExpiredReplies(timeMs(reply.expiresAt - 1));
    expect(await store.getReply(wallet, key(8), reply.id, NOW)).toEqual(reply);
    await store.deleteExpiredReplies(reply.expiresAt);
    expect(await store.getReply(wallet, key(8), reply.id, NOW)).toBeUndefined();
  });

  it('an id used anew after its reply expired has the new reply', async () => {
    const { reply } = signed(wallet, 2);
    await store.putLeaves([leaf(1)], reply);
    const next = { ...reply, bodyHash: hashOf('next'), reply: '{}', expiresAt: timeMs(reply.expiresAt + 5000) };
    await store.putLeaves([leaf(2)], next);
    expect(await store.getReply(wallet, key(8), reply.id, timeMs(reply.expiresAt + 1))).toEqual(next);
  });

  it('creates each piece of meta once', async () => {
    expect(await store.getMeta('row-key')).toBeUndefined();
    const outcomes = await Promise.all([1, 2, 3].map((value) => store.createMeta('row-key', bytes(5, value))));
    expect(outcomes.filter(Boolean)).toHaveLength(1);
    const kept = await store.getMeta('row-key');
    expect(await store.createMeta('row-key', bytes(5, 9))).toBe(false);
    expect(await store.getMeta('row-key')).toEqual(kept);
  });

  it('keeps the first reason and time of a freeze, and the newest boot and id', async () => {
    await store.latchFreeze({ scope: 'fleet', reason: 'first', latchedAt: NOW, boot: BOOT, freezeId: bytes(16, 1) });
    await store.latchFreeze({ scope: 'fleet', reason: 'second', latchedAt: timeMs(NOW + 1) });
    expect(await store.getFreezes()).toEqual([{ scope: 'fleet', reason: 'first', latchedAt: NOW }]);
    const other = bootIdOf(bytes(32, 10));
    await store.latchFreeze({ scope: 'fleet', reason: 'third', latchedAt: NOW, boot: other, freezeId: bytes(16, 2) });
    await store.latchFreeze({ scope: 'x', reason: 'y', latchedAt: NOW });
    expect(await store.getFreezes()).toEqual([
      { scope: 'fleet', reason: 'first', latchedAt: NOW, boot: other, freezeId: bytes(16, 2) },
      { scope: 'x', reason: 'y', latchedAt: NOW },
    ]);
  });

  it('clears a freeze of this id and no other', async () => {
    const record = { scope: 'fleet', reason: 'a', latchedAt: NOW, boot: BOOT, freezeId: bytes(16, 1) };
    await store.latchFreeze(record);
    await store.clearFreeze('fleet', bytes(16, 2));
    await store.clearFreeze('fleet', undefined);
    await store.clearFreeze('wallet', bytes(16, 1));
    expect(await store.getFreezes()).toEqual([record]);
    await store.clearFreeze('fleet', bytes(16, 1));
    expect(await store.getFreezes()).toEqual([]);
    await store.latchFreeze({ scope: 'fleet', reason: 'a', latchedAt: NOW });
    await store.clearFreeze('fleet', bytes(16, 1));
    expect(await store.getFreezes()).toHaveLength(1);
    await store.clearFreeze('fleet', undefined);
    expect(await store.getFreezes()).toEqual([]);
  });

  it('finds the decision about a request, however often its id was used', async () => {
    const about = (sequence: number, isSigned: boolean, change: { id?: string; by?: number; of?: number } = {}) => {
      const { id = 'a', by = 8, of = 1 } = change;
      return { ...leaf(sequence), request: { id, wallet: key(of), requester: key(by), isSigned } };
    };
    for (let sequence = 1; sequence <= 70; sequence++) await store.putLeaves([about(sequence, false)]);
    expect(await store.findDecisions('a', undefined, undefined)).toEqual([leaf(70)]);
    for (const record of [about(71, true), about(72, true), about(73, false)]) await store.putLeaves([record]);
    expect(await store.findDecisions('a', undefined, undefined)).toEqual([leaf(71)]);
    // Others use the same id, and so much that nobody wants to read all of it.
    for (let by = 10; by < 20; by++) await store.putLeaves([about(70 + by, false, { by, of: by })]);
    await store.putLeaves([about(99, true, { id: 'b' })]);
    expect(await store.findDecisions('a', undefined, undefined)).toHaveLength(2);
    expect(await store.findDecisions('a', key(1), undefined)).toEqual([leaf(71)]);
    expect(await store.findDecisions('a', undefined, key(8))).toEqual([leaf(71)]);
    expect(await store.findDecisions('a', key(12), key(12))).toEqual([leaf(82)]);
    expect(await store.findDecisions('a', key(12), key(8))).toEqual([]);
    expect(await store.findDecisions('b', undefined, undefined)).toEqual([leaf(99)]);
    expect(await store.findDecisions('', undefined, undefined)).toEqual([]);
    // Of leaves that name neither there is one, too.
    await store.putLeaves([
      {
        ...leaf(100),
        request: { id: 'c', wallet: undefined, requester: undefined, isSigned: true },
      },
    ]);
    expect(await store.findDecisions('c', undefined, undefined)).toEqual([leaf(100)]);
  });

  it('keeps of every tile the widest, and of every log the newest checkpoint', async () => {
    const other = bootIdOf(bytes(32, 10));
    await store.putTiles(BOOT, [
      { level: 0, index: 0n, hashes: bytes(96, 1) },
      { level: 0, index: 1n, hashes: bytes(64, 2) },
    ]);
    await store.putTiles(BOOT, [{ level: 0, index: 0n, hashes: bytes(32, 9) }]);
    await store.putTiles(BOOT, [{ level: 0, index: 1n, hashes: bytes(96, 3) }]);
    expect(await store.getTile(BOOT, 0, 0n)).toEqual(bytes(96, 1));
    expect(await store.getTile(BOOT, 0, 1n)).toEqual(bytes(96, 3));
    expect(await store.getTile(BOOT, 1, 0n)).toBeUndefined();
    expect(await store.getTile(other, 0, 0n)).toBeUndefined();

    expect(await store.getLogs()).toEqual([]);
    const log = (boot: BootId, size: bigint, content = Number(size)) => ({
      boot,
      size,
      checkpoint: bytes(50, content),
    });
    for (const record of [log(other, 3n), log(BOOT, 7n), log(other, 5n), log(BOOT, 6n)]) await store.publishLog(record);
    expect(await store.getLogs()).toEqual([log(other, 5n), log(BOOT, 7n)]);
    // The same tree with more cosignatures.
    await store.publishLog(log(BOOT, 7n, 8));
    expect(await store.getLogs()).toEqual([log(other, 5n), log(BOOT, 7n, 8)]);
  });

  it('keeps every policy that was ever enabled, by its hash', async () => {
    const from = row(wallet);
    const to = { ...from, policy: bytes(300, 1), policyMac: bytes(32, 2), generation: 1, stateVersion: 2n };
    await store.enablePolicy({ from, to, leaf: leaf(1) });
    const next = { ...to, policy: bytes(300, 2), generation: 2, stateVersion: 3n };
    await store.enablePolicy({ from: to, to: next, leaf: leaf(2) });
    // Replaced before it was written; it counted all the same.
    expect(await store.enablePolicy({ from, to: { ...to, policy: bytes(300, 3) }, leaf: leaf(3) })).toBe('changed');
    for (const content of [1, 2, 3]) {
      expect(await store.getPolicy(policyHash(bytes(300, content)))).toEqual(bytes(300, content));
    }
    expect(await store.getPolicy(hashOf('none'))).toBeUndefined();
    for (let round = 0; round < 2; round++) await store.putPolicy(bytes(300, 4));
    expect(await store.getPolicy(policyHash(bytes(300, 4)))).toEqual(bytes(300, 4));
  });

  it('takes each time step of a login once, and none before it', async () => {
    const used = [];
    for (const step of [100, 100, 99, 101, 100]) used.push(await store.useTotpStep('ann', step));
    expect(used).toEqual([true, false, false, true, false]);
    expect(await store.useTotpStep('bob', 99)).toBe(true);
    const both = await Promise.all([store.useTotpStep('ann', 102), store.useTotpStep('ann', 102)]);
    expect(both.toSorted()).toEqual([false, true]);
  });

  it('keeps one panic code per wallet, the last', async () => {
    const [first, second] = [hashOf('first'), hashOf('second')];
    await store.putPanicCode({ wallet, hash: first });
    expect(await store.findPanicCode(first)).toEqual({ wallet, hash: first });
    await store.putPanicCode({ wallet, hash: second });
    expect(await store.findPanicCode(second)).toEqual({ wallet, hash: second });
    expect(await store.findPanicCode(first)).toBeUndefined();
  });

  it('keeps each signal once, by source and id', async () => {
    const first = signal('a');
    const put = (record: SignalRecord) => store.putSignal({ signal: record, limit: 10 });
    expect(await put(first)).toEqual({ outcome: 'stored' });
    const { signature: _, ...unsigned } = signal('b', { source: 'tv' });
    expect(await put(unsigned)).toEqual({ outcome: 'stored' });
    expect(await store.findSignals('b', ['tv'], NOW)).toEqual([unsigned]);
    // Its repeat, at another time, changes nothing.
    expect(await put(signal('a', { at: timeMs(NOW + 5), receivedAt: timeMs(NOW + 5) }))).toEqual({
      outcome: 'duplicate',
      kept: first,
    });
    expect(await put(signal('a', { bodyHash: hashOf('other') }))).toEqual({ outcome: 'conflict' });
    expect(await put(signal('a', { source: 'beta' }))).toEqual({ outcome: 'stored' });
    expect(await store.findSignals('a', ['alpha'], NOW)).toEqual([first]);
    expect(await store.findSignals('a', ['tv', 'alpha', 'beta'], NOW)).toHaveLength(2);
    expect(await store.findSignals('a', ['tv'], NOW)).toEqual([]);
    expect(await store.findSignals('a', [], NOW)).toEqual([]);
    const many = await Promise.all(Array.from({ length: 20 }, () => put(signal('c'))));
    expect(many.filter(({ outcome }) => outcome === 'stored')).toHaveLength(1);
  });

  it('takes the same body within a window for the same signal, whatever its id', async () => {
    const first = signal('a');
    const put = (id: string, after: number, window: number, change: Partial<SignalRecord> = {}) => {
      const record = signal(id, { receivedAt: timeMs(NOW + after), ...change });
      return store.putSignal({ signal: record, sameBodySince: timeMs(NOW + after - window), limit: 10 });
    };
    expect(await put('a', 0, 60)).toEqual({ outcome: 'stored' });
    expect(await put('b', 59, 60)).toEqual({ outcome: 'duplicate', kept: first });
    expect(await put('b', 59, 60, { source: 'beta' })).toEqual({ outcome: 'stored' });
    expect(await put('b', 59, 60, { bodyHash: hashOf('other') })).toEqual({ outcome: 'stored' });
    expect(await put('c', 60, 60)).toEqual({ outcome: 'stored' });
  });

  it('forgets signals when they expire, and has room for others then', async () => {
    const put = (id: string, after = 0) => {
      const receivedAt = timeMs(NOW + after);
      const record = signal(id, { receivedAt, expiresAt: timeMs(receivedAt + 1000) });
      return store.putSignal({ signal: record, limit: 2 });
    };
    expect(await put('a')).toEqual({ outcome: 'stored' });
    expect(await put('b')).toEqual({ outcome: 'stored' });
    expect(await put('c')).toEqual({ outcome: 'full' });
    expect(await put('a')).toMatchObject({ outcome: 'duplicate' });
    expect(await store.findSignals('a', ['alpha'], timeMs(NOW + 999))).toHaveLength(1);
    expect(await store.findSignals('a', ['alpha'], timeMs(NOW + 1000))).toEqual([]);
    await store.deleteExpiredSignals(timeMs(NOW + 999));
    expect(await store.findSignals('b', ['alpha'], NOW)).toHaveLength(1);
    // An id whose signal has expired is as good as new, deleted or not.
    expect(await put('a', 1000)).toEqual({ outcome: 'stored' });
    await store.deleteExpiredSignals(timeMs(NOW + 1000));
    expect(await store.findSignals('b', ['alpha'], NOW)).toEqual([]);
    expect(await store.findSignals('a', ['alpha'], timeMs(NOW + 1000))).toHaveLength(1);
  });

  it('answers nothing after it was closed', async () => {
    await store.close();
    await expectCode(store.ping(), 'store_unavailable');
  });
}
