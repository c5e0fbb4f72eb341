/**
 * The whole appliance with three KMS keys: the current one, its replica in another Region, and a second one in another
 * account. What an operator sees when they are taken away, what is left after a crash, and a restore where only the
 * second key is.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { parseExposition, sampleValue } from '../host/metrics/exposition.ts';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { REGION, REPLICA_REGION, SECOND_REGION } from '../stack/kms-keys.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import { creation, party } from '../support/wallet-kit.ts';
import { expectAudited, later, newBoot, type Operators } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
let operators: Operators;
let wallet: HttpWallet;
const regions: Record<'first' | 'replica' | 'second', KmsAdmin | undefined> = {
  first: undefined,
  replica: undefined,
  second: undefined,
};
type Place = keyof typeof regions;

const reach = async (isReachable: boolean, ...places: readonly Place[]): Promise<void> => {
  for (const place of places) await regions[place]?.setReachable(isReachable);
};
const rows = <T>(work: (database: DatabaseSync) => T): T => {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 2_000 });
  try {
    return work(database);
  } finally {
    database.close();
  }
};

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none', kms: { replica: true, second: true } });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  regions.first = new KmsAdmin(stack.kmsAdmin, REGION);
  regions.replica = new KmsAdmin(stack.kmsAdmin, REPLICA_REGION);
  regions.second = new KmsAdmin(stack.kmsAdmin, SECOND_REGION);
  wallet = await kit.openWallet();
}, 60_000);
afterEach(async () => {
  await reach(true, 'first', 'replica', 'second');
  for (const admin of Object.values(regions)) await admin?.clearFaults();
});
afterAll(async () => {
  for (const admin of Object.values(regions)) admin?.close();
  await stack?.stop();
});

describe('keys that are taken away', () => {
  it('all there: doctor has no word against any of the three ways', async () => {
    const found = await qvJson('doctor', '--config', stack.hostConfigFile);
    const kms = (found['checks'] as { check: string; health: string; found: string }[]).filter(
      ({ check }) => check === 'kms',
    );
    expect(kms.filter(({ found: text }) => text.includes('takes connections'))).toHaveLength(3);
    expect(new Set(kms.map(({ health }) => health))).toEqual(new Set(['ok']));
    const { enclave, walletsWithoutSecond } = await adminCall(stack.adminSocket, 'status', {});
    expect(enclave?.kmsKeys.map(({ use }) => use)).toEqual(['current', 'replica', 'second']);
    expect(walletsWithoutSecond).toBe(0);
  });

  it('one after the other: signing goes on until none is left, and after that', async () => {
    for (const places of [['first'], ['first', 'replica'], ['replica'], ['replica', 'second']] as const) {
      await reach(false, ...places);
      expect((await kit.sign(wallet)).status).toBe(200);
      await reach(true, 'first', 'replica', 'second');
    }
    await reach(false, 'first', 'replica', 'second');
    const request = { id: 'none-left' };
    await expectProblem(await kit.sign(wallet, request), 'kms_unavailable');
    await reach(true, 'first', 'replica', 'second');
    expect((await kit.sign(wallet, request)).status).toBe(200);
    await expectAudited(operators);
  });

  it('is told by metrics, by key', async () => {
    await reach(false, 'first');
    const { keyArn: key } = stack.measuredKeys.current;
    const metric = async (name: string) => {
      const { text } = await adminCall(stack.adminSocket, 'metrics', {});
      return sampleValue(parseExposition(text), name, { key, use: 'current' });
    };
    const before = (await metric('qv_kms_key_failures_total')) ?? 0;
    await until(
      'it is asked, and does not answer',
      async () => {
        expect((await kit.sign(wallet)).status).toBe(200);
        // A connection that was there still may end with a failure that is none to avoid the key for; the next does not.
        const failures = (await metric('qv_kms_key_failures_total')) ?? 0;
        return failures > before && (await metric('qv_kms_key_avoided')) === 1;
      },
      20_000,
    );
  }, 30_000);
});

describe('a crash while a wallet is made', () => {
  it.each([
    ['the enclave', 'first'],
    ['the enclave', 'second'],
    ['the host', 'second'],
  ] as const)(
    'of %s, when the %s key has not answered: no wallet, and the same statement makes one',
    async (who, place) => {
      const { enclave } = stack.processes;
      const before = await operators.bootOf(stack);
      const request = creation(stack.deployment, party(), [party()]);
      await regions[place]?.clearCalls();
      await regions[place]?.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'hang' } });
      const lost = kit.create(request).catch(() => undefined);
      await until('KMS is asked', async () =>
        ((await regions[place]?.calls()) ?? []).some((c) => c.operation === 'GenerateDataKey'),
      );
      if (who === 'the enclave') {
        enclave.kill('SIGKILL');
        await enclave.exited;
        await regions[place]?.clearFaults();
        await stack.restartEnclave();
        await lost;
        await newBoot(stack, operators, before);
      } else {
        stack.host.kill('SIGKILL');
        await stack.host.exited;
        await lost;
        await regions[place]?.clearFaults();
        await stack.restartHost();
      }
      await untilReady(stack.url);
      expect(rows((database) => database.prepare('SELECT count(*) AS n FROM creations').get()?.['n'])).toBe(made);
      const created = await kit.create(request);
      expect(created.status).toBe(201);
      made++;
      const { wallet: address } = (await created.json()) as { wallet: string };
      const row = rows((database) => database.prepare('SELECT * FROM wallets WHERE wallet = ?').get(address));
      expect([row?.['second_key'], row?.['second_sealed']]).toEqual([expect.any(Uint8Array), expect.any(Uint8Array)]);
      await expectAudited(operators);
    },
    60_000,
  );
  let made = 1;
});

describe('a restore where only the second key is', () => {
  it('brings wallets back that sign by it, and a row key', async () => {
    const folder = join(stack.dir, 'backups');
    const fresh = await kit.openWallet();
    expect((await kit.sign(fresh)).status).toBe(200);
    await adminCall(stack.adminSocket, 'publish', {});
    expect(await qvJson('backup', '--config', stack.hostConfigFile, '--to', folder)).toMatchObject({ ok: true });
    const predecessor = await operators.bootOf(stack);
    // The first account is gone, with its Regions, host and enclave.
    await reach(false, 'first', 'replica');
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    for (const suffix of ['', '-wal', '-shm']) rmSync(stack.databaseFile + suffix, { force: true });
    const restored = await qvJson('restore', '--from', folder, '--to', stack.hostConfigFile, ...operators.images);
    expect(restored).toMatchObject({ ok: true, restored: true });
    await stack.restartEnclave();
    await stack.restartHost();
    await newBoot(stack, operators, predecessor);
    await untilReady(stack.url);
    expect(await operators.lease('moved', predecessor, stack, '--wallet', fresh.address)).toMatchObject({ taken: 1 });
    expect((await kit.sign(fresh, later())).status).toBe(200);
    await expectAudited(operators);
    // New wallets have to wait for the first key.
    await expectProblem(await kit.create(creation(stack.deployment, party(), [party()])), 'kms_unavailable');
  }, 90_000);
});

describe('a database that somebody edited', () => {
  it('a second sealing that is changed, or taken out, is found by the host’s MAC', async () => {
    await reach(true, 'first', 'replica');
    const edited = await kit.openWallet();
    for (const sql of [
      'UPDATE wallets SET second_sealed = zeroblob(72) WHERE wallet = ?',
      'UPDATE wallets SET second_key = NULL, second_sealed = NULL WHERE wallet = ?',
    ]) {
      rows((database) => database.prepare(sql).run(edited.address));
      await expectProblem(await kit.sign(edited), 'row_tampered');
    }
  });
});
