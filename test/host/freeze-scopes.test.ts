/** Freezes of one wallet or requester, with an enclave that the test can make late or lie. */
import { Latches } from '@quantumvault/host/freeze-latches.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { FreezeHarness, gate } from './freeze-harness.ts';
import { person } from './harness.ts';
import { NOW } from './store-fixtures.ts';

let host: FreezeHarness;
beforeEach(async () => {
  host = await new FreezeHarness().start();
});
afterEach(() => host.stop());

describe('a freeze of one scope', () => {
  it('stops that wallet, its stored replies and dry runs, and no other wallet', async () => {
    expect((await host.sign({ id: 'before' })).status).toBe(200);
    const other = host.wallet;
    await host.createWallet();
    await host.enablePolicy();
    const frozen = host.wallet;
    expect((await host.sign({ id: 'stored' })).status).toBe(200);
    const report = await host.freeze(host.walletScope());
    expect(report).toMatchObject({ scope: host.walletScope(), host: { held: true }, enclaves: [{ held: true }] });
    for (const options of [{}, { id: 'stored' }, { body: host.signBody({ dryRun: true }) }]) {
      const problem = await expectProblem(await host.sign(options), 'frozen');
      expect(problem.path).toBe(`wallet:${frozen}`);
    }
    expect(await host.frozenFlag(frozen)).toBe(true);
    expect(await host.frozenFlag(other)).toBe(false);
    expect((await host.get('/readyz')).status).toBe(200);
    host.wallet = other;
    expect((await host.sign()).status).toBe(200);
    expect((await host.sign({ id: 'before' })).status).toBe(200);
  });

  it('stops that requester; a wallet shows it once nobody is left to ask', async () => {
    await host.freeze(host.requesterScope());
    const problem = await expectProblem(await host.sign(), 'frozen');
    expect(problem.path).toBe(host.requesterScope());
    expect(await host.frozenFlag()).toBe(true);
    expect((await host.get('/readyz')).status).toBe(200);
    await host.freeze(`requester:${person().address}`);
    expect(await host.held()).toHaveLength(2);
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
    await host.freeze(host.requesterScope());
    open();
    expect((await expectProblem(await signing, 'frozen')).path).toBe(host.requesterScope());
    expect((await expectProblem(await host.sign({ id: 'raced' }), 'frozen')).path).toBe(host.requesterScope());
  });

  it('keeps the first reason and takes the newest id', async () => {
    await host.freeze(host.walletScope(), 'first');
    const first = await host.idOf(host.walletScope());
    await host.freeze(host.walletScope(), 'second');
    const second = await host.idOf(host.walletScope());
    expect(second).not.toBe(first);
    expect(await host.held()).toMatchObject([{ scope: host.walletScope(), reason: 'first', boot: host.enclave.boot }]);
    await until('the row has it', () => host.rowIds()[0]?.[1] === second);
    await expectCode(host.resume(host.walletScope(), first), 'freeze_unknown');
  });

  it('of a scope that is none is refused', async () => {
    for (const scope of ['wallet', 'wallet:', `wallet:${'1'.repeat(40)}`, `owner:${host.wallet}`, 'Fleet'])
      await expectCode(host.freeze(scope), 'field_malformed');
    expect(await host.held()).toEqual([]);
  });
});

describe('host and enclave agree', () => {
  it('a new boot is told all of them, before it gets credentials', async () => {
    for (const scope of [host.walletScope(), host.requesterScope()]) await host.freeze(scope);
    const before = host.enclave.requests.length;
    host.enclave.reboot();
    await until('it has credentials', () =>
      host.enclave.requests.slice(before).some(({ name }) => name === 'credentials'),
    );
    const since = host.enclave.requests.slice(before).map(({ name }) => name);
    expect(since.slice(0, since.indexOf('credentials')).filter((name) => name === 'freeze')).toHaveLength(2);
    expect([...host.enclave.freezes.keys()].toSorted()).toEqual([host.requesterScope(), host.walletScope()].toSorted());
    // The id of this boot counts from now on.
    await until('the host knows it', async () => (await host.held()).every(({ boot }) => boot === host.enclave.boot));
    await host.resume(host.walletScope(), await host.idOf(host.walletScope()));
    expect(await host.held()).toMatchObject([{ scope: host.requesterScope() }]);
  });

  it('with more than one answer lists, each is told once', async () => {
    const scopes = Array.from({ length: LIMITS.carriedFreezes + 6 }, () => `requester:${person().address}`);
    for (const scope of scopes) await host.freeze(scope);
    host.enclave.reboot();
    const count = host.enclave.count('freeze');
    await until('all are told', () => host.enclave.freezes.size === scopes.length);
    await new Promise((resolve) => setTimeout(resolve, 2_500));
    expect(host.enclave.count('freeze') - count).toBe(scopes.length);
  });

  it('what the enclave was told by somebody else holds in host and database', async () => {
    const freezeId = toHex(host.enclave.holdFreeze(host.walletScope()));
    await until('the host holds it', async () => (await host.held()).length === 1);
    expect(await host.idOf(host.walletScope())).toBe(freezeId);
    await until('the database holds it', () => host.rowIds()[0]?.[1] === freezeId);
    expect((await expectProblem(await host.sign(), 'frozen')).path).toBe(host.walletScope());
    await host.restartHost();
    await until('it is known again', async () => (await host.held()).length === 1);
    expect(host.enclave.count('freeze')).toBe(0);
  });

  it('an order that another host on the database took stops this one, too, and only once', async () => {
    const scope = host.walletScope();
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
        await host.resume(scope, await host.idOf(scope));
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
    await host.freeze(host.walletScope());
    const first = await host.idOf(host.walletScope());
    host.enclave.handlers.freeze = () => 'drop';
    expect((await host.freeze(host.walletScope())).enclaves).toMatchObject([
      { held: false, code: 'enclave_unavailable' },
    ]);
    // Until then the enclave would take the id of the first order.
    await expectCode(host.resume(host.walletScope(), first), 'freeze_unknown');
    expect(host.enclave.count('resume')).toBe(0);
    delete host.enclave.handlers.freeze;
    expect(await host.idOf(host.walletScope())).not.toBe(first);
  });

  it('an order of a scope that fits nowhere freezes the fleet', () => {
    const latches = new Latches();
    for (let count = 0; count < LIMITS.frozenScopes; count++) latches.order(`wallet:${count}`, 'x', NOW);
    expect(latches.order('wallet:one-more', 'x', NOW).record.scope).toBe('fleet');
    expect(latches.stopping({ wallet: host.wallet })).toBe('fleet');
    expect(latches.learn({ scope: 'wallet:another', reason: 'x', latchedAt: NOW }).record.scope).toBe('fleet');
  });
});
