/** How a freeze ends, and what the database says of it, with an enclave that the test can make late or lie. */
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { rowMacOf } from '../support/row-keys.ts';
import { until } from '../support/temporary.ts';
import { FreezeHarness, gate, SIGNATURES } from './freeze-harness.ts';

let host: FreezeHarness;
beforeEach(async () => {
  host = await new FreezeHarness().start();
});
afterEach(() => host.stop());

describe('a resume', () => {
  it.each([['fleet'], ['wallet'], ['requester']])('of %s clears host, enclave and database', async (kind) => {
    const scope = { fleet: 'fleet', wallet: host.walletScope(), requester: host.requesterScope() }[kind] ?? '';
    await host.freeze(scope);
    const report = await host.resume(scope, await host.idOf(scope));
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
    await host.freeze(host.walletScope());
    await expectCode(host.resume(host.walletScope(), '00'.repeat(16)), 'freeze_unknown');
    await expectCode(host.resume(host.requesterScope(), await host.idOf(host.walletScope())), 'freeze_unknown');
    host.enclave.handlers.resume = () => {
      throw new Error('refuse');
    };
    await expectCode(host.resume(host.walletScope(), await host.idOf(host.walletScope())), 'internal');
    expect(await host.held()).toHaveLength(1);
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
    await host.freeze(host.walletScope());
    await expectCode(host.resume(host.walletScope(), await host.idOf(host.walletScope())), code);
    await expectProblem(await host.sign(), 'frozen');
    await until('it is frozen', () => host.enclave.freezes.has(host.walletScope()));
  });

  it('overtaken by a later order leaves that one, in all three places', async () => {
    await host.freeze(host.walletScope());
    const first = await host.idOf(host.walletScope());
    const { open, wait } = gate();
    const usual = host.enclave.defaultHandler('resume');
    host.enclave.handlers.resume = async (body) => {
      const reply = await usual(body);
      await wait;
      return reply;
    };
    const resuming = host.resume(host.walletScope(), first);
    await until('it is under way', () => host.enclave.count('resume') === 1);
    await host.freeze(host.walletScope());
    open();
    expect(await resuming).toMatchObject({ host: { cleared: false, code: 'frozen' }, database: { cleared: false } });
    const second = await host.idOf(host.walletScope());
    expect(second).not.toBe(first);
    expect(host.enclave.freezes.get(host.walletScope())?.map(toHex)).toEqual([second]);
    await until('the row has it', () => host.rowIds()[0]?.[1] === second);
    await expectProblem(await host.sign(), 'frozen');
  });

  it('while the enclave has not answered a later order leaves that one', async () => {
    await host.freeze(host.walletScope());
    const first = await host.idOf(host.walletScope());
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
    const resuming = host.resume(host.walletScope(), first);
    await until('it is under way', () => host.enclave.count('resume') === 1);
    const ordering = host.freeze(host.walletScope());
    await until('it is ordered', () => host.enclave.count('freeze') === 2);
    resumed.open();
    expect(await resuming).toMatchObject({ host: { cleared: false, code: 'frozen' } });
    await expectProblem(await host.sign(), 'frozen');
    ordered.open();
    expect(await ordering).toMatchObject({ enclaves: [{ held: true }] });
    expect(await host.idOf(host.walletScope())).not.toBe(first);
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
    const scopes = [host.walletScope(), host.requesterScope()];
    const operations = Array.from({ length: 120 }, async (_, index) => {
      await new Promise((resolve) => setTimeout(resolve, index * 10 + Math.random() * 20));
      const scope = scopes[index % 2] ?? '';
      const freezeId = toHex(host.enclave.freezes.get(scope)?.[0] ?? new Uint8Array(16));
      if (Math.random() < 0.4) await host.freeze(scope);
      else await host.admin('resume', { scope, freezeId, signatures: SIGNATURES });
      return index;
    });
    const done = (await Promise.allSettled(operations)).filter(({ status }) => status === 'fulfilled');
    expect(done.length).toBeGreaterThan(0);
    expect(host.enclave.count('resume')).toBeGreaterThan(0);
    const same = async (): Promise<boolean> => {
      const byHost = (await host.held()).map(({ scope, freezeId }) => `${scope} ${freezeId}`);
      const byEnclave = [...host.enclave.freezes].map(([scope, ids]) => `${scope} ${ids.map(toHex)}`);
      const byDatabase = host.rowIds().map((row) => row.join(' '));
      return [byEnclave, byDatabase].every((each) => each.toSorted().join() === byHost.toSorted().join());
    };
    await until('they agree', same);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(await same()).toBe(true);
    // The order that comes last stays, whatever is still under way.
    await host.freeze(host.walletScope());
    await until('they agree', same);
    await expectProblem(await host.sign(), 'frozen');
  }, 30_000);

  it('of one of several ids leaves the others', async () => {
    await host.freeze(host.walletScope());
    const own = await host.idOf(host.walletScope());
    const carried = new Uint8Array(16).fill(77);
    host.enclave.freezes.get(host.walletScope())?.push(carried);
    expect(await host.resume(host.walletScope(), own)).toMatchObject({ host: { cleared: false, code: 'frozen' } });
    await expectProblem(await host.sign(), 'frozen');
    expect(await host.resume(host.walletScope(), toHex(carried))).toMatchObject({ host: { cleared: true } });
    expect((await host.sign()).status).toBe(200);
  });

  it('with a locked database counts; the row goes when it can, and stays away', async () => {
    await host.freeze(host.walletScope());
    const id = await host.idOf(host.walletScope());
    await until('the row has it', () => host.rowIds()[0]?.[1] === id);
    const unlock = host.lockDatabase();
    expect(await host.resume(host.walletScope(), id)).toMatchObject({
      host: { cleared: true },
      database: { cleared: false, code: 'store_unavailable' },
    });
    unlock();
    await until('the row is gone', () => host.rows('freezes').length === 0);
    expect(await host.held()).toEqual([]);
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
      insert.run(host.walletScope(), 'kept', 5, null, null);
      insert.run(host.requesterScope(), '\u001b', -1, 'nonsense', new Uint8Array(3));
      insert.run(`wallet:${'1'.repeat(40)}`, 'hand-written', 6, host.enclave.boot, new Uint8Array(16));
    });
    await host.restartHost();
    await until('the fleet is frozen', () => host.enclave.phase === 'frozen');
    const listed = await host.held();
    expect(listed.map(({ scope }) => scope)).toEqual(['fleet', host.requesterScope(), host.walletScope()].toSorted());
    expect(listed.find(({ scope }) => scope === host.walletScope())).toMatchObject({
      reason: 'kept',
      at: '1970-01-01T00:00:00.005Z',
    });
    await until('all of them are told', () => host.enclave.freezes.size === 3);
    await until('its row is replaced', () => host.rowIds().every(([scope]) => scope !== `wallet:${'1'.repeat(40)}`));
    await host.resume('fleet', await host.idOf('fleet'));
    await host.restartHost();
    await until('the enclave serves', async () => (await host.admin('status', {})).enclave?.phase === 'serving');
    expect(await host.held()).toHaveLength(2);
  });

  it('that does not say what holds keeps a new boot without credentials, until it does', async () => {
    await host.freeze(host.walletScope());
    await host.idOf(host.walletScope());
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
    mark(rowMacOf(host.enclave.rowKey).seal({ ...row, frozen: true }).rowMac);
    await expectProblem(await host.sign(), 'frozen');
    expect(await host.frozenFlag()).toBe(true);
    expect(await host.held()).toEqual([]);
  });
});
