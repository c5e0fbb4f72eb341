/** What happens when the parts behind the host fail: nothing unrecorded leaves, nothing decided is lost. */

import { silentLog } from '@quantumvault/host/log.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import { fromBase64, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectProblem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { rowMacOf } from '../support/row-keys.ts';
import { until } from '../support/temporary.ts';
import { Harness, type SignReply } from './harness.ts';

/** How long a caller waits. */
const IN_A_SECOND = { 'x-request-timeout-ms': '1000' };

let host: Harness;
beforeEach(async () => {
  host = await Harness.withWallet();
});
afterEach(() => host.stop());

const signDefault = (host: Harness) => host.enclave.defaultHandler('sign');

describe('a locked database', () => {
  it('holds the signature back; once it opens, the same id brings it, decided once', async () => {
    const unlock = host.lockDatabase();
    await expectProblem(await host.sign({ id: 'held' }), 'store_unavailable');
    const readyz = await host.get('/readyz');
    expect(readyz.status).toBe(200);
    unlock();
    await until('the backlog is written', async () => (await host.admin('status', {})).backlog === 0);
    const reply = (await (await host.sign({ id: 'held' })).json()) as SignReply;
    expect(host.enclave.count('sign')).toBe(1);
    const { sequence } = decodeLeaf(fromBase64(reply.receipt.leaf));
    expect(host.rows('leaves').map((row) => row['sequence'])).toContain(Number(sequence));
    expect(host.rows('wallets')[0]?.['state_version']).toBe(Number(host.enclave.stateVersion));
  });

  it('stalls no other request', async () => {
    const unlock = host.lockDatabase();
    const locked = Array.from({ length: 20 }, () => host.sign());
    const started = performance.now();
    for (let round = 0; round < 10; round++) expect((await host.get('/healthz')).status).toBe(200);
    expect(performance.now() - started).toBeLessThan(1_000);
    for (const response of await Promise.all(locked)) await expectProblem(response, 'store_unavailable');
    unlock();
  });

  it('keeps a denial until it can be written', async () => {
    const receipt = host.enclave.leaf({ kind: 'denied', rule: 'sol', value: '9' });
    host.enclave.handlers.sign = () => {
      throw new Refused({ code: 'policy_denied', path: 'sol', value: '9', receipt });
    };
    const unlock = host.lockDatabase();
    await expectProblem(await host.sign({ id: 'no' }), 'store_unavailable');
    unlock();
    await until('the denial is written', () => host.rows('replies').some(({ id }) => id === 'no'));
    await expectProblem(await host.sign({ id: 'no' }), 'policy_denied');
    expect(host.enclave.count('sign')).toBe(1);
  });

  it('loses no policy that the enclave enabled', async () => {
    const unlock = host.lockDatabase();
    const next = { ...host.policyJson(), epoch: 2 };
    const response = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling(next));
    await expectProblem(response, 'store_unavailable');
    unlock();
    await until('it is written', async () => {
      const facts = (await (await host.get(`/v1/wallets/${host.wallet}`)).json()) as { epoch: number };
      return facts.epoch === 2;
    });
  });

  it('asks the enclave for no policy that auditors could not read later', async () => {
    const next = { ...host.policyJson(), epoch: 2 };
    const enabling = host.enabling(next, policyHash(policyBytes(host.policy)));
    const enable = () => host.send('PUT', `/v1/wallets/${host.wallet}/policy`, enabling);
    const published = () => host.get(`/v1/log/policies/${toHex(policyHash(policyBytes(parsePolicy(next))))}`);
    const unlock = host.lockDatabase();
    await expectProblem(await enable(), 'store_unavailable');
    expect(host.enclave.count('policyEnable')).toBe(1);
    unlock();
    await expectProblem(await published(), 'log_unknown');
    // Decided, perhaps, and the answer is lost.
    host.enclave.handlers.policyEnable = () => 'drop';
    await expectProblem(await enable(), 'enclave_unavailable');
    expect((await published()).status).toBe(200);
  });

  it('keeps no policy that cannot follow the one of the wallet', async () => {
    host.enclave.handlers.policyEnable = () => {
      throw new Refused({ code: 'policy_previous_mismatch' });
    };
    const current = policyHash(policyBytes(host.policy));
    for (const [policy, previous] of [
      [{ ...host.policyJson(), epoch: 2 }, undefined],
      [{ ...host.policyJson(), epoch: 1, fees: { maxLamports: '1' } }, current],
    ] as const) {
      const response = await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling(policy, previous));
      await expectProblem(response, 'policy_previous_mismatch');
      const hash = toHex(policyHash(policyBytes(parsePolicy(policy))));
      await expectProblem(await host.get(`/v1/log/policies/${hash}`), 'log_unknown');
    }
  });

  it('finishes its backlog when the host stops', async () => {
    const unlock = host.lockDatabase();
    await expectProblem(await host.sign({ id: 'last' }), 'store_unavailable');
    unlock();
    await host.host.close();
    expect(host.rows('replies').map(({ id }) => id)).toContain('last');
    await host.startHost();
  });
});

describe('an enclave that fails', () => {
  it('is unavailable while it is gone, and used again when it is back', async () => {
    await host.enclave.close();
    await expectProblem(await host.sign(), 'enclave_unavailable');
    await until('the host notices', async () => (await host.get('/readyz')).status === 503);
    expect(await (await host.get('/readyz')).json()).toEqual({
      ready: false,
      failing: ['enclave'],
      enclave: { phase: 'unreachable' },
    });
    await expectProblem(await host.get(`/v1/attestation?nonce=${'ab'.repeat(16)}`), 'enclave_unavailable');
    await host.startEnclave();
    await host.ready();
    expect((await host.sign()).status).toBe(200);
  });

  it('answering too late: 504, and the decision is kept for the next try', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async (body) => {
      await promise;
      return signDefault(host)(body);
    };
    await expectProblem(await host.sign({ id: 'slow', headers: IN_A_SECOND }), 'deadline_exceeded');
    resolve();
    await until('the late decision is stored', () => host.rows('replies').some(({ id }) => id === 'slow'));
    expect((await host.sign({ id: 'slow' })).status).toBe(200);
    expect(host.enclave.count('sign')).toBe(1);
  });

  it('denying too late: the denial is kept as well', async () => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const receipt = host.enclave.leaf({ kind: 'denied', rule: 'sol', value: '9' });
    host.enclave.handlers.sign = async () => {
      await promise;
      throw new Refused({ code: 'policy_denied', path: 'sol', value: '9', receipt });
    };
    await expectProblem(await host.sign({ id: 'slow', headers: IN_A_SECOND }), 'deadline_exceeded');
    resolve();
    await until('the late denial is stored', () => host.rows('replies').some(({ id }) => id === 'slow'));
    await expectProblem(await host.sign({ id: 'slow' }), 'policy_denied');
  });

  it('without its key service: the row key is asked for less and less often, since each refusal is a leaf', async () => {
    host.enclave.handlers.rowKeyUnwrap = () => {
      throw new Refused({ code: 'kms_unavailable' });
    };
    await host.restartHost();
    const before = host.enclave.count('rowKeyUnwrap');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    expect(host.enclave.count('rowKeyUnwrap') - before).toBeLessThan(7);
    delete host.enclave.handlers.rowKeyUnwrap;
    await host.ready();
  });

  it('sending nonsense: its connection is dropped, the request fails, the next one works', async () => {
    host.enclave.handlers.sign = () => ({ raw: Uint8Array.of(0xff, 0xff, 0xff, 0xff) });
    await expectProblem(await host.sign(), 'enclave_unavailable');
    delete host.enclave.handlers.sign;
    await host.ready();
    await until('it signs again', async () => (await host.sign()).status === 200);
  });

  it.each(['booting', 'ready'] as const)('that is only %s is not ready', async (phase) => {
    host.enclave.phase = phase;
    await until('the host notices', async () => (await host.get('/readyz')).status === 503);
    expect(await (await host.get('/readyz')).json()).toMatchObject({ failing: ['enclave'], enclave: { phase } });
  });

  it('of another deployment is not used', async () => {
    const said = host.enclave.defaultHandler('status');
    host.enclave.handlers.status = async (body) =>
      ({ ...((await said(body)) as object), deployment: 'other' }) as never;
    await until('the host notices', async () => (await host.get('/readyz')).status === 503);
  });

  it('started anew: its boot record joins the log, credentials are given again', async () => {
    const before = host.enclave.count('credentials');
    host.enclave.reboot();
    await until('the new boot is known', async () => {
      const reply = await host.get(`/v1/attestation?nonce=${'ab'.repeat(16)}`);
      if (reply.status !== 200) return false;
      // Never the new one's document under the name of the old one: to a client that is an attack.
      expect(((await reply.json()) as { boot: string }).boot).toBe(host.enclave.boot);
      return true;
    });
    expect(host.enclave.count('credentials')).toBeGreaterThan(before);
    await until('its leaf 0 is stored', () =>
      host.rows('leaves').some(({ boot, sequence }) => boot === host.enclave.boot && sequence === 0),
    );
  });
});

describe('many at once', () => {
  it('a hundred signatures for one wallet, answered in any order, end in the newest state and a good row', async () => {
    host.enclave.handlers.sign = async (body) => {
      const reply = await signDefault(host)(body);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30));
      return reply;
    };
    const responses = await Promise.all(Array.from({ length: 100 }, () => host.sign()));
    expect(new Set(responses.map(({ status }) => status))).toEqual(new Set([200]));
    expect(host.rows('wallets')[0]?.['state_version']).toBe(Number(host.enclave.stateVersion));
    expect(host.rows('leaves').length).toBe(103);
    expect((await host.get(`/v1/wallets/${host.wallet}`)).status).toBe(200);
  });

  it('a policy enabled in the midst of signatures: both are kept, and the row is good', async () => {
    host.enclave.handlers.sign = async (body) => {
      const reply = await signDefault(host)(body);
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 40));
      return reply;
    };
    const signing = Array.from({ length: 40 }, () => host.sign());
    const next = { ...host.policyJson(), epoch: 2 };
    const enabling = host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling(next));
    const signatures = await Promise.all(signing);
    expect(new Set(signatures.map(({ status }) => status))).toEqual(new Set([200]));
    expect((await enabling).status).toBe(200);
    const facts = await (await host.get(`/v1/wallets/${host.wallet}`)).json();
    expect(facts).toMatchObject({ epoch: 2, stateVersion: String(host.enclave.stateVersion) });
  });

  it('beyond what may be in flight: 503, at once', async () => {
    host.enclaveTimeoutMilliseconds = 15_000;
    await host.restartHost();
    await host.ready();
    const { promise, resolve } = Promise.withResolvers<void>();
    host.enclave.handlers.sign = async (body) => {
      await promise;
      return signDefault(host)(body);
    };
    // Signed beforehand, because that alone takes seconds.
    const prepared = Array.from({ length: 300 }, () => host.signRequest());
    const statuses: number[] = [];
    const asked = prepared.map(async ({ body, headers }) => {
      statuses.push((await host.send('POST', '/v1/sign', body, headers)).status);
    });
    await until('the host sheds', () => statuses.length >= 300 - 256);
    expect(new Set(statuses)).toEqual(new Set([503]));
    // Busy is not dead.
    expect((await host.get('/readyz')).status).toBe(200);
    resolve();
    await Promise.all(asked);
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(200);
    expect(statuses.every((status) => status === 200 || status === 503)).toBe(true);
  });
});

describe('a crash between decision and record', () => {
  it('is survived: the next reply brings a newer state', async () => {
    // The host never saw version 3: as if it had died after the enclave signed.
    await signDefault(host)({ id: 'lost', body: utf8('{}') } as never);
    expect((await host.sign()).status).toBe(200);
    expect(host.rows('wallets')[0]?.['state_version']).toBe(Number(host.enclave.stateVersion));
  });

  it('leaves rows that a new process opens and verifies', async () => {
    await host.sign();
    await host.host.close();
    const store = await openSqliteStore({ path: host.database, log: silentLog });
    const row = await store.getWallet(host.wallet);
    const mac = rowMacOf(host.enclave.rowKey);
    expect(row !== undefined && mac.verify(row).stateVersion).toBe(host.enclave.stateVersion);
    await store.close();
    await host.startHost();
    await host.ready();
    expect((await host.sign({ body: host.signBody({ transaction: toBase64(new Uint8Array(9)) }) })).status).toBe(200);
  });
});
