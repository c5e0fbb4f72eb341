/** Freezes of one wallet or requester, and how each of them ends, with an enclave that the test can make late or lie. */
import { Latches } from '@quantumvault/host/freeze-latches.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { RowMac } from '@quantumvault/host/row-mac.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { Harness, person } from './harness.ts';
import { NOW } from './store-fixtures.ts';

let host: Harness;
beforeEach(async () => {
  host = await new Harness().start();
  await host.createWallet();
  await host.enablePolicy();
});
afterEach(() => host.stop());

const walletScope = () => `wallet:${host.wallet}`;
const requesterScope = () => `requester:${host.requester.address}`;
const freeze = (scope: string, reason = 'a test') => host.admin('freeze', { scope, reason });
const SIGNATURES = [{ key: person().address, signature: toBase64(new Uint8Array(64)) }];
const resume = (scope: string, freezeId: string) => host.admin('resume', { scope, freezeId, signatures: SIGNATURES });
const held = async () => (await host.admin('status', {})).freezes;
const idOf = async (scope: string): Promise<string> => {
  await until('its id is known', async () =>
    (await held()).some((each) => each.scope === scope && each.freezeId !== null),
  );
  return String((await held()).find((each) => each.scope === scope)?.freezeId);
};
const rowIds = () =>
  host.rows('freezes').map((row) => [row['scope'], row['freeze_id'] && toHex(row['freeze_id'] as Uint8Array)]);
const frozenFlag = async (wallet = host.wallet) =>
  ((await (await host.get(`/v1/wallets/${wallet}`)).json()) as { frozen: boolean }).frozen;

/** A latch that a handler waits at. */
function gate(): { open: () => void; wait: Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { open: resolve, wait: promise };
}

describe('a freeze of one scope', () => {
  it('stops that wallet, its stored replies and dry runs, and no other wallet', async () => {
    expect((await host.sign({ id: 'before' })).status).toBe(200);
    const other = host.wallet;
    await host.createWallet();
    await host.enablePolicy();
    const frozen = host.wallet;
    expect((await host.sign({ id: 'stored' })).status).toBe(200);
    const report = await freeze(walletScope());
    expect(report).toMatchObject({ scope: walletScope(), host: { held: true }, enclaves: [{ held: true }] });
    for (const options of [{}, { id: 'stored' }, { body: host.signBody({ dryRun: true }) }]) {
      const problem = await expectProblem(await host.sign(options), 'frozen');
      expect(problem.path).toBe(`wallet:${frozen}`);
    }
    expect(await frozenFlag(frozen)).toBe(true);
    expect(await frozenFlag(other)).toBe(false);
    expect((await host.get('/readyz')).status).toBe(200);
    host.wallet = other;
    expect((await host.sign()).status).toBe(200);
    expect((await host.sign({ id: 'before' })).status).toBe(200);
  });

  it('stops that requester; a wallet shows it once nobody is left to ask', async () => {
    await freeze(requesterScope());
    const problem = await expectProblem(await host.sign(), 'frozen');
    expect(problem.path).toBe(requesterScope());
    expect(await frozenFlag()).toBe(true);
    expect((await host.get('/readyz')).status).toBe(200);
    await freeze(`requester:${person().address}`);
    expect(await held()).toHaveLength(2);
  });

  it('that comes while a signature is under way holds that one back', async () => {
    const { open, wait } = gate();
    host.enclave.handlers.sign = async (body) => {
      const reply = await host.enclave.defaultHandler('sign')(body);
      await wait;
      return reply;
    };
    const signing = host.sign({ id: 'raced' });
    await until('it is under way', () => host.enclave.count('sign') === 1);
    await freeze(requesterScope());
    open();
    expect((await expectProblem(await signing, 'frozen')).path).toBe(requesterScope());
    expect((await expectProblem(await host.sign({ id: 'raced' }), 'frozen')).path).toBe(requesterScope());
  });

  it('keeps the first reason and takes the newest id', async () => {
    await freeze(walletScope(), 'first');
    const first = await idOf(walletScope());
    await freeze(walletScope(), 'second');
    const second = await idOf(walletScope());
    expect(second).not.toBe(first);
    expect(await held()).toMatchObject([{ scope: walletScope(), reason: 'first', boot: host.enclave.boot }]);
    await until('the row has it', () => rowIds()[0]?.[1] === second);
    await expectCode(resume(walletScope(), first), 'freeze_unknown');
  });

  it('of a scope that is none is refused', async () => {
    for (const scope of ['wallet', 'wallet:', `wallet:${'1'.repeat(40)}`, `owner:${host.wallet}`, 'Fleet'])
      await expectCode(freeze(scope), 'field_malformed');
    expect(await held()).toEqual([]);
  });
});

describe('host and enclave agree', () => {
  it('a new boot is told all of them, before it gets credentials', async () => {
    for (const scope of [walletScope(), requesterScope()]) await freeze(scope);
    const before = host.enclave.requests.length;
    host.enclave.reboot();
    await until('it has credentials', () =>
      host.enclave.requests.slice(before).some(({ name }) => name === 'credentials'),
    );
    const since = host.enclave.requests.slice(before).map(({ name }) => name);
    expect(since.slice(0, since.indexOf('credentials')).filter((name) => name === 'freeze')).toHaveLength(2);
    expect([...host.enclave.freezes.keys()].toSorted()).toEqual([requesterScope(), walletScope()].toSorted());
    // The id of this boot counts from now on.
    await until('the host knows it', async () => (await held()).every(({ boot }) => boot === host.enclave.boot));
    await resume(walletScope(), await idOf(walletScope()));
    expect(await held()).toMatchObject([{ scope: requesterScope() }]);
  });

  it('with more than one answer lists, each is told once', async () => {
    const scopes = Array.from({ length: LIMITS.carriedFreezes + 6 }, () => `requester:${person().address}`);
    for (const scope of scopes) await freeze(scope);
    host.enclave.reboot();
    const count = host.enclave.count('freeze');
    await until('all are told', () => host.enclave.freezes.size === scopes.length);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(host.enclave.count('freeze') - count).toBe(scopes.length);
  });

  it('what the enclave was told by somebody else holds in host and database', async () => {
    const freezeId = toHex(host.enclave.holdFreeze(walletScope()));
    await until('the host holds it', async () => (await held()).length === 1);
    expect(await idOf(walletScope())).toBe(freezeId);
    await until('the database holds it', () => rowIds()[0]?.[1] === freezeId);
    expect((await expectProblem(await host.sign(), 'frozen')).path).toBe(walletScope());
    await host.restartHost();
    await until('it is known again', async () => (await held()).length === 1);
    expect(host.enclave.count('freeze')).toBe(0);
  });

  it('an order that another host on the database took stops this one, too, and only once', async () => {
    const scope = walletScope();
    const store = await openSqliteStore({ path: host.database, log: silentLog });
    try {
      const other = person().address as string as BootId;
      const latch = (fill: number) =>
        store.latchFreeze({
          scope,
          reason: 'there',
          latchedAt: NOW,
          ...(fill > 0 && { boot: other, freezeId: new Uint8Array(16).fill(fill) }),
        });
      for (const fill of [1, 0]) {
        await latch(fill);
        await until('this enclave holds it', () => host.enclave.freezes.has(scope));
        expect((await expectProblem(await host.sign(), 'frozen')).path).toBe(scope);
        await resume(scope, await idOf(scope));
      }
      // The same again, after the other host wrote its row once more: it was resumed here.
      await latch(1);
      await new Promise((resolve) => setTimeout(resolve, 2_500));
      expect((await host.sign()).status).toBe(200);
      await latch(2);
      await until('this enclave holds the later one', () => host.enclave.freezes.has(scope));
    } finally {
      await store.close();
    }
  });

  it('an order that the enclave did not take is given again, under an id of its own', async () => {
    await freeze(walletScope());
    const first = await idOf(walletScope());
    host.enclave.handlers.freeze = () => 'drop';
    expect((await freeze(walletScope())).enclaves).toMatchObject([{ held: false, code: 'enclave_unavailable' }]);
    // Until then the enclave would take the id of the first order.
    await expectCode(resume(walletScope(), first), 'freeze_unknown');
    expect(host.enclave.count('resume')).toBe(0);
    delete host.enclave.handlers.freeze;
    expect(await idOf(walletScope())).not.toBe(first);
  });

  it('an order of a scope that fits nowhere freezes the fleet', () => {
    const latches = new Latches();
    for (let count = 0; count < LIMITS.frozenScopes; count++) latches.order(`wallet:${count}`, 'x', NOW);
    expect(latches.order('wallet:one-more', 'x', NOW).record.scope).toBe('fleet');
    expect(latches.stopping({ wallet: host.wallet })).toBe('fleet');
    expect(latches.learn({ scope: 'wallet:another', reason: 'x', latchedAt: NOW }).record.scope).toBe('fleet');
  });
});

describe('a resume', () => {
  it.each([['fleet'], ['wallet'], ['requester']])('of %s clears host, enclave and database', async (kind) => {
    const scope = { fleet: 'fleet', wallet: walletScope(), requester: requesterScope() }[kind] ?? '';
    await freeze(scope);
    const report = await resume(scope, await idOf(scope));
    expect(report).toMatchObject({ scope, host: { cleared: true }, database: { cleared: true } });
    const asked = host.enclave.requests.find(({ name }) => name === 'resume');
    expect(asked?.body).toMatchObject({ scope, signatures: [{ key: SIGNATURES[0]?.key }] });
    expect(host.rows('freezes')).toEqual([]);
    await host.ready();
    expect((await host.sign()).status).toBe(200);
    await host.restartHost();
    await host.ready();
    expect((await host.sign()).status).toBe(200);
    expect([...host.enclave.freezes]).toEqual([]);
  });

  it('that names another id, or that the enclave refuses, changes nothing', async () => {
    await freeze(walletScope());
    await expectCode(resume(walletScope(), '00'.repeat(16)), 'freeze_unknown');
    await expectCode(resume(requesterScope(), await idOf(walletScope())), 'freeze_unknown');
    host.enclave.handlers.resume = () => {
      throw new Error('refuse');
    };
    await expectCode(resume(walletScope(), await idOf(walletScope())), 'internal');
    expect(await held()).toHaveLength(1);
    await expectProblem(await host.sign(), 'frozen');
  });

  it.each<
    [string, (reply: ReplyOf<'resume'>) => ReplyOf<'resume'>, 'evidence_signature_invalid' | 'evidence_mismatch']
  >([
    [
      'whose word is not signed',
      ({ ack, receipt }) => ({ ack: { ...ack, signature: new Uint8Array(64) as typeof ack.signature }, receipt }),
      'evidence_signature_invalid',
    ],
    [
      'whose record is of something else',
      ({ ack }) => ({ ack, receipt: host.enclave.leaf({ kind: 'frozen', scope: 'fleet' }) }),
      'evidence_mismatch',
    ],
  ])('%s is not believed; the enclave is frozen again', async (_, change, code) => {
    const usual = host.enclave.defaultHandler('resume');
    host.enclave.handlers.resume = async (body) => change((await usual(body)) as ReplyOf<'resume'>);
    await freeze(walletScope());
    await expectCode(resume(walletScope(), await idOf(walletScope())), code);
    await expectProblem(await host.sign(), 'frozen');
    await until('it is frozen', () => host.enclave.freezes.has(walletScope()));
  });

  it('overtaken by a later order leaves that one, in all three places', async () => {
    await freeze(walletScope());
    const first = await idOf(walletScope());
    const { open, wait } = gate();
    const usual = host.enclave.defaultHandler('resume');
    host.enclave.handlers.resume = async (body) => {
      const reply = await usual(body);
      await wait;
      return reply;
    };
    const resuming = resume(walletScope(), first);
    await until('it is under way', () => host.enclave.count('resume') === 1);
    await freeze(walletScope());
    open();
    expect(await resuming).toMatchObject({ host: { cleared: false, code: 'frozen' }, database: { cleared: false } });
    const second = await idOf(walletScope());
    expect(second).not.toBe(first);
    expect(host.enclave.freezes.get(walletScope())?.map(toHex)).toEqual([second]);
    await until('the row has it', () => rowIds()[0]?.[1] === second);
    await expectProblem(await host.sign(), 'frozen');
  });

  it('while the enclave has not answered a later order leaves that one', async () => {
    await freeze(walletScope());
    const first = await idOf(walletScope());
    const resumed = gate();
    const ordered = gate();
    const usualResume = host.enclave.defaultHandler('resume');
    host.enclave.handlers.resume = async (body) => {
      await resumed.wait;
      return await usualResume(body);
    };
    const usualFreeze = host.enclave.defaultHandler('freeze');
    host.enclave.handlers.freeze = async (body) => {
      await ordered.wait;
      return await usualFreeze(body);
    };
    const resuming = resume(walletScope(), first);
    await until('it is under way', () => host.enclave.count('resume') === 1);
    const ordering = freeze(walletScope());
    await until('it is ordered', () => host.enclave.count('freeze') === 2);
    resumed.open();
    expect(await resuming).toMatchObject({ host: { cleared: false, code: 'frozen' } });
    await expectProblem(await host.sign(), 'frozen');
    ordered.open();
    expect(await ordering).toMatchObject({ enclaves: [{ held: true }] });
    expect(await idOf(walletScope())).not.toBe(first);
    expect(host.rows('freezes')).toHaveLength(1);
  });

  it('and orders in any order leave host, enclave and database with the same freezes', async () => {
    for (const name of ['freeze', 'resume', 'freezesGet'] as const) {
      const usual = host.enclave.defaultHandler(name) as (body: unknown) => unknown;
      host.enclave.handlers[name] = (async (body: unknown) => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
        const reply = await usual(body);
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
        return reply;
      }) as never;
    }
    const scopes = [walletScope(), requesterScope()];
    const operations = Array.from({ length: 120 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * 10 + Math.random() * 20));
      const scope = scopes[index % 2] ?? '';
      const freezeId = toHex(host.enclave.freezes.get(scope)?.[0] ?? new Uint8Array(16));
      if (Math.random() < 0.4) await freeze(scope);
      else await host.admin('resume', { scope, freezeId, signatures: SIGNATURES });
      return index;
    });
    const done = (await Promise.allSettled(operations)).filter(({ status }) => status === 'fulfilled');
    expect(done.length).toBeGreaterThan(0);
    expect(host.enclave.count('resume')).toBeGreaterThan(0);
    const same = async (): Promise<boolean> => {
      const byHost = (await held()).map(({ scope, freezeId }) => `${scope} ${freezeId}`);
      const byEnclave = [...host.enclave.freezes].map(([scope, ids]) => `${scope} ${ids.map(toHex)}`);
      const byDatabase = rowIds().map((row) => row.join(' '));
      return [byEnclave, byDatabase].every((each) => each.toSorted().join() === byHost.toSorted().join());
    };
    await until('they agree', same);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(await same()).toBe(true);
    // The order that comes last stays, whatever is still under way.
    await freeze(walletScope());
    await until('they agree', same);
    await expectProblem(await host.sign(), 'frozen');
  }, 30_000);

  it('of one of several ids leaves the others', async () => {
    await freeze(walletScope());
    const own = await idOf(walletScope());
    const carried = new Uint8Array(16).fill(77);
    host.enclave.freezes.get(walletScope())?.push(carried);
    expect(await resume(walletScope(), own)).toMatchObject({ host: { cleared: false, code: 'frozen' } });
    await expectProblem(await host.sign(), 'frozen');
    expect(await resume(walletScope(), toHex(carried))).toMatchObject({ host: { cleared: true } });
    expect((await host.sign()).status).toBe(200);
  });

  it('with a locked database counts; the row goes when it can, and stays away', async () => {
    await freeze(walletScope());
    const id = await idOf(walletScope());
    await until('the row has it', () => rowIds()[0]?.[1] === id);
    const unlock = host.lockDatabase();
    expect(await resume(walletScope(), id)).toMatchObject({
      host: { cleared: true },
      database: { cleared: false, code: 'store_unavailable' },
    });
    unlock();
    await until('the row is gone', () => host.rows('freezes').length === 0);
    expect(await held()).toEqual([]);
  });

  it('is checked before anybody is asked', async () => {
    const good = { scope: 'fleet', freezeId: '00'.repeat(16), signatures: SIGNATURES };
    const ask = (change: object) => host.admin('resume', { ...good, ...change });
    await expectCode(ask({ scope: 'everything' }), 'field_malformed');
    await expectCode(ask({ freezeId: '00' }), 'field_malformed');
    await expectCode(ask({ freezeId: 'XX' }), 'hex_malformed');
    await expectCode(ask({ signatures: [] }), 'field_malformed');
    await expectCode(ask({ signatures: Array.from({ length: 33 }, () => SIGNATURES[0]) }), 'field_malformed');
    await expectCode(ask({ signatures: [{ ...SIGNATURES[0], key: 'x' }] }), 'base58_malformed');
    await expectCode(ask({ signatures: [{ ...SIGNATURES[0], signature: 'AAAA' }] }), 'field_malformed');
    await expectCode(ask({ signatures: [{ ...SIGNATURES[0], more: 1 }] }), 'field_malformed');
    await expectCode(ask({ more: 1 }), 'field_malformed');
    expect(host.enclave.count('resume')).toBe(0);
    // All operators' signatures fit one line.
    await expectCode(ask({ signatures: Array.from({ length: 32 }, () => SIGNATURES[0]) }), 'freeze_unknown');
    await host.enclave.close();
    await until('the host notices', async () => (await host.admin('status', {})).enclave === null);
    await expectCode(ask({}), 'enclave_unavailable');
  });
});

describe('the database', () => {
  it('a row without an id is told again; one that nobody can read is a freeze of the fleet', async () => {
    host.sql((database) => {
      const insert = database.prepare(
        'INSERT INTO freezes (scope, reason, latched_at, boot, freeze_id) VALUES (?, ?, ?, ?, ?)',
      );
      insert.run(walletScope(), 'kept', 5, null, null);
      insert.run(requesterScope(), '\u001b', -1, 'nonsense', new Uint8Array(3));
      insert.run(`wallet:${'1'.repeat(40)}`, 'hand-written', 6, host.enclave.boot, new Uint8Array(16));
    });
    await host.restartHost();
    await until('the fleet is frozen', () => host.enclave.phase === 'frozen');
    const listed = await held();
    expect(listed.map(({ scope }) => scope)).toEqual(['fleet', requesterScope(), walletScope()].toSorted());
    expect(listed.find(({ scope }) => scope === walletScope())).toMatchObject({
      reason: 'kept',
      at: '1970-01-01T00:00:00.005Z',
    });
    await until('all of them are told', () => host.enclave.freezes.size === 3);
    await until('its row is replaced', () => rowIds().every(([scope]) => scope !== `wallet:${'1'.repeat(40)}`));
    await resume('fleet', await idOf('fleet'));
    await host.restartHost();
    await until('the enclave serves', async () => (await host.admin('status', {})).enclave?.phase === 'serving');
    expect(await held()).toHaveLength(2);
  });

  it('that does not say what holds keeps a new boot without credentials, until it does', async () => {
    await freeze(walletScope());
    await idOf(walletScope());
    await host.host.close();
    host.sql((database) => database.exec('ALTER TABLE freezes RENAME TO hidden'));
    host.enclave.reboot();
    const before = host.enclave.requests.length;
    await host.startHost();
    await until('the enclave was asked', () =>
      host.enclave.requests.slice(before).some(({ name }) => name === 'freezesGet'),
    );
    await new Promise((resolve) => setTimeout(resolve, 500));
    const names = () => host.enclave.requests.slice(before).map(({ name }) => name);
    expect(names()).not.toContain('credentials');
    host.sql((database) => database.exec('ALTER TABLE hidden RENAME TO freezes'));
    await until('it has credentials', () => names().includes('credentials'));
    expect(names().indexOf('freeze')).toBeGreaterThan(-1);
    expect(names().indexOf('freeze')).toBeLessThan(names().indexOf('credentials'));
  });

  it('a wallet row that is marked frozen stops that wallet by itself, if the mark is genuine', async () => {
    const store = await openSqliteStore({ path: host.database, log: silentLog });
    const row = await store.getWallet(host.wallet);
    await store.close();
    if (row === undefined) throw new Error('no row');
    const mark = host.sql((database) => {
      database.exec('UPDATE wallets SET frozen = 1');
      return (mac: Uint8Array) => host.sql((again) => again.prepare('UPDATE wallets SET row_mac = ?').run(mac));
    });
    await expectProblem(await host.sign(), 'row_tampered');
    mark(new RowMac(Uint8Array.from(host.enclave.rowKey)).seal({ ...row, frozen: true }).rowMac);
    await expectProblem(await host.sign(), 'frozen');
    expect(await frozenFlag()).toBe(true);
    expect(await held()).toEqual([]);
  });
});
