/** Signals between webhooks and signing requests: repeats, a slow database, and which signal an id means. */
import { silentLog } from '@quantumvault/host/log.ts';
import type { UnsealedSignal } from '@quantumvault/host/row-mac.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { SignalRecord, Store } from '@quantumvault/host/store/store.ts';
import { citedSignal } from '@quantumvault/host/webhooks/cited.ts';
import { Signals } from '@quantumvault/host/webhooks/signals.ts';
import { type Address, type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { SignalRule } from '@quantumvault/shared/policy/parse.ts';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { expectCode } from '../../support/codes.ts';
import { FIRST_BLOB, holding, rowMacOf } from '../../support/row-keys.ts';
import { temporaryFolder, until } from '../../support/temporary.ts';
import { bytes, hashOf, key, NOW, signal } from '../store-fixtures.ts';

const rowMac = rowMacOf(new Uint8Array(32).fill(42));
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let store: Store;
let signals: Signals;
let now = NOW;
/** What the database does instead of its work. */
let fault: (() => Promise<never>) | undefined;
const puts = vi.fn();

beforeEach(async () => {
  folder = await temporaryFolder();
  store = await openSqliteStore({ path: `${folder.path}/signals.db`, log: silentLog });
  now = NOW;
  fault = undefined;
  puts.mockReset();
  signals = open();
});
afterEach(async () => {
  await signals.close();
  await store.close();
  await folder.remove();
});

function open(change: { perSource?: number } = {}): Signals {
  const putSignal: Store['putSignal'] = (insert) => {
    puts(insert);
    return fault === undefined ? store.putSignal(insert) : fault();
  };
  const deps = { store: { ...store, putSignal }, keys: holding(rowMac), log: silentLog, now: () => now };
  return new Signals({ ...deps, ...change });
}

const unsealed = (id: string, change: Partial<SignalRecord> = {}): UnsealedSignal => {
  const { mac: _, ...rest } = signal(id, change);
  return rest;
};
const refuses = () => Promise.reject(new QvError('store_unavailable'));
const hangs = () => new Promise<never>(() => {});

describe('a signal', () => {
  it('is accepted once, and found as it was accepted', async () => {
    const first = await signals.accept(unsealed('a'), { once: false });
    expect(first).toMatchObject({ isRepeat: false, isStored: true });
    const again = await signals.accept(unsealed('a', { at: timeMs(NOW + 1000) }), { once: false });
    expect(again).toEqual({ signal: first.signal, isRepeat: true, isStored: true });
    expect(await signals.find('a', ['alpha'])).toEqual(first.signal);
    await expectCode(signals.accept(unsealed('a', { bodyHash: hashOf('other') }), { once: false }), 'signal_id_reused');
    await expectCode(signals.find('b', ['alpha']), 'signal_missing');
    now = timeMs(NOW + 100_000);
    await expectCode(signals.find('a', ['alpha']), 'signal_missing');
    await signals.deleteExpired();
    expect(await store.findSignals('a', ['alpha'], NOW)).toEqual([]);
  });

  it('is not found as one of a source that was not named, and of two sources not at all', async () => {
    await signals.accept(unsealed('a'), { once: false });
    await signals.accept(unsealed('a', { source: 'beta' }), { once: false });
    expect((await signals.find('a', ['beta', 'gamma'])).source).toBe('beta');
    await expectCode(signals.find('a', ['alpha', 'beta']), 'signal_ambiguous');
  });

  it('that somebody put into the database is none, nor a repeat', async () => {
    await store.putSignal({ signal: signal('a'), limit: 10 });
    await expectCode(signals.find('a', ['alpha']), 'row_tampered');
    await expectCode(signals.accept(unsealed('a'), { once: false }), 'row_tampered');
  });

  it('finds no room beside too many of its source', async () => {
    signals = open({ perSource: 20 });
    const all = Array.from({ length: 30 }, (_, at) => signals.accept(unsealed(`s-${at}`), { once: false }));
    const stored = (await Promise.allSettled(all)).filter(({ status }) => status === 'fulfilled');
    expect(stored).toHaveLength(20);
    await expectCode(signals.accept(unsealed('more'), { once: false }), 'signals_full');
    await signals.accept(unsealed('more', { source: 'beta' }), { once: false });
    now = timeMs(NOW + 100_000);
    const later = { receivedAt: now, expiresAt: timeMs(now + 1000) };
    expect(await signals.accept(unsealed('more', later), { once: false })).toMatchObject({ isStored: true });
  });
});

describe('while the database does not answer', () => {
  it('what is sent once is acknowledged, can be cited, is a repeat when it repeats, and is written later', async () => {
    fault = refuses;
    const accepted = await signals.accept(unsealed('a'), { once: true });
    expect(accepted).toMatchObject({ isRepeat: false, isStored: false });
    expect(await signals.accept(unsealed('a'), { once: true })).toMatchObject({ isRepeat: true });
    const like = unsealed('b', { receivedAt: timeMs(NOW + 1000) });
    expect((await signals.accept(like, { once: true, repeatSeconds: 60 })).signal.id).toBe('a');
    const other = unsealed('a', { bodyHash: hashOf('other') });
    await expectCode(signals.accept(other, { once: true }), 'signal_id_reused');
    expect(signals.unwritten).toBe(1);
    expect(await signals.find('a', ['alpha'])).toEqual(accepted.signal);
    await expectCode(signals.find('a', ['beta']), 'signal_missing');
    await store.putSignal({ signal: rowMac.sealSignal(unsealed('a', { source: 'beta' })), limit: 10 });
    await expectCode(signals.find('a', ['alpha', 'beta']), 'signal_ambiguous');
    fault = undefined;
    await until('it is written', () => signals.unwritten === 0);
    expect(await signals.find('a', ['alpha'])).toEqual(accepted.signal);
    expect(await signals.accept(unsealed('a'), { once: true })).toMatchObject({ isRepeat: true, isStored: true });
  });

  it('that waited while another row key took the place of its own is written under that one', async () => {
    let mac = rowMac;
    await store.createMeta('row-key', FIRST_BLOB);
    const keys = { ...holding(rowMac), require: () => mac };
    const putSignal: Store['putSignal'] = (insert) => (fault === undefined ? store.putSignal(insert) : fault());
    const later = new Signals({ store: { ...store, putSignal }, keys, log: silentLog, now: () => now });
    fault = refuses;
    const { signal: waiting } = await later.accept(unsealed('a'), { once: true });
    const next = new Uint8Array(100).fill(4);
    await store.beginRowKey({ current: FIRST_BLOB, next, step: next });
    await store.finishRowKey(FIRST_BLOB, next);
    mac = rowMacOf(new Uint8Array(32).fill(43), next);
    // Nobody could edit it here, whatever its MAC is of.
    expect(await later.find('a', ['alpha'])).toEqual(waiting);
    fault = undefined;
    await until('it is written', () => later.unwritten === 0);
    expect(mac.verifySignal(await later.find('a', ['alpha'])).mac).not.toEqual(waiting.mac);
    await later.close();
  });

  it('that is so also when it just hangs: after a second, not after the database’s own patience', async () => {
    fault = hangs;
    const accepted = await signals.accept(unsealed('a'), { once: true });
    expect(accepted.isStored).toBe(false);
    expect(signals.unwritten).toBe(1);
    fault = undefined;
  });

  it('what its sender repeats is refused, so that it does', async () => {
    fault = refuses;
    await expectCode(signals.accept(unsealed('a'), { once: false }), 'store_unavailable');
    expect(signals.unwritten).toBe(0);
  });

  it('only so many are kept', async () => {
    fault = refuses;
    for (let at = 0; at < LIMITS.signalsUnwritten; at++) await signals.accept(unsealed(`s-${at}`), { once: true });
    await expectCode(signals.accept(unsealed('more'), { once: true }), 'store_unavailable');
    expect(signals.unwritten).toBe(LIMITS.signalsUnwritten);
    fault = undefined;
    await until('all are written', () => signals.unwritten === 0);
    expect((await signals.find('s-1023', ['alpha'])).id).toBe('s-1023');
  });

  it('what turns out to repeat a stored one is no second signal, and its id leads to that one', async () => {
    const [body, repeatSeconds] = [{ bodyHash: hashOf('same') }, 60];
    await signals.accept(unsealed('first', body), { once: true, repeatSeconds });
    fault = refuses;
    const later = { ...body, receivedAt: timeMs(NOW + 1000) };
    const told = await signals.accept(unsealed('told', later), { once: true, repeatSeconds });
    expect(told).toMatchObject({ isRepeat: false, isStored: false });
    fault = undefined;
    await until('it is written', () => signals.unwritten === 0);
    const { facts } = await expectCode(signals.find('told', ['beta', 'alpha']), 'signal_missing');
    expect(facts).toEqual({ path: 'signal', value: 'a repeat of first' });
    expect((await expectCode(signals.find('told', ['beta']), 'signal_missing')).facts).toEqual({ path: 'signal' });
    expect((await signals.find('first', ['alpha'])).id).toBe('first');
  });

  it('a write that went through unnoticed is no second signal, and the end writes what waits', async () => {
    fault = async () => {
      await store.putSignal(puts.mock.lastCall?.[0]);
      throw new QvError('store_unavailable');
    };
    await signals.accept(unsealed('a'), { once: true });
    fault = refuses;
    await signals.accept(unsealed('b', { bodyHash: hashOf('b') }), { once: true });
    fault = undefined;
    await signals.close();
    expect(signals.unwritten).toBe(0);
    for (const id of ['a', 'b']) expect(await store.findSignals(id, ['alpha'], NOW)).toHaveLength(1);
    // No new one is promised then.
    fault = refuses;
    await expectCode(signals.accept(unsealed('c'), { once: true }), 'store_unavailable');
  });
});

describe('what a request cites', () => {
  const rules = (...sources: SignalRule['sources']): SignalRule => ({
    ...{ required: true, sources, maxAgeSeconds: 60, signaturesPerSignal: 1 },
  });
  const named = { name: 'alpha', key: key(3) as Address };
  const byHost = { name: 'alpha', hostVerified: true as const };
  const cite = (rule: SignalRule | undefined, freshAt = NOW) => citedSignal(signals, rule, 'a' as RequestId, freshAt);

  it('goes to the enclave with its signature where the policy names a key, else without', async () => {
    await signals.accept(unsealed('a'), { once: false });
    expect(await cite(rules(named))).toEqual({
      message: {
        ...{ source: 'alpha', id: 'a', timestamp: String(NOW / 1000) },
        body: bytes(20, 1),
        signature: bytes(64, 2),
      },
      json: { source: 'alpha', id: 'a', verifiedBy: 'enclave' },
    });
    const host = await cite(rules(byHost));
    expect(host.message).not.toHaveProperty('signature');
    expect(host.json.verifiedBy).toBe('host');
  });

  it('is missing where the policy names no source of it, and stale where it is too old for the policy', async () => {
    await signals.accept(unsealed('a'), { once: false });
    await expectCode(cite(undefined), 'signal_missing');
    await expectCode(cite(rules({ ...byHost, name: 'beta' })), 'signal_missing');
    const refused = await expectCode(cite(rules(byHost), timeMs(NOW + 60_001)), 'signal_stale');
    expect(refused.facts).toEqual({ path: 'signal', value: '60 s' });
    expect((await cite(rules(byHost), timeMs(NOW + 60_000))).json.id).toBe('a');
    expect((await citedSignal(signals, rules(byHost), 'a' as RequestId, undefined)).json.id).toBe('a');
  });
});
