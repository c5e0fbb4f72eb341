/** `qv rotate wallet` and `qv rotate wallets` against a whole appliance: under load, and with something dying at every step. */

import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { measuredKey, type StackKmsKey } from '../stack/kms-keys.ts';
import { measurements } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import { EnclaveClients, expectAudited, later, newBoot, type Operators } from './succession-kit.ts';

/** Whose owners enable policies under load. */
const OWNERS = 2;

let stack: Stack;
let kit: HttpKit;
let operators: Operators;
const clients = new EnclaveClients();

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
}, 60_000);
afterAll(async () => {
  clients.close();
  await stack?.stop();
});

async function qv(...argv: readonly string[]) {
  const answer = await qvJson(...argv);
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}

const rotate = (wallet: HttpWallet, socket = stack.adminSocket) =>
  qv('rotate', 'wallet', wallet.address, '--admin', socket);
const rotateAll = (more: readonly string[] = [], socket = stack.adminSocket) =>
  qv('rotate', 'wallets', '--admin', socket, '--per-second', '1000', ...more);

function onDatabase<T>(work: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  try {
    return work(database);
  } finally {
    database.close();
  }
}

type Row = Record<string, Uint8Array | string | number | null>;
const rowOf = ({ address }: HttpWallet): Row =>
  onDatabase((database) => database.prepare('SELECT * FROM wallets WHERE wallet = ?').get(address)) as Row;

/** As a restored backup has it. */
function putBack({ address }: HttpWallet, row: Row): void {
  const columns = Object.keys(row).filter((column) => column !== 'wallet');
  onDatabase((database) =>
    database
      .prepare(`UPDATE wallets SET ${columns.map((column) => `${column} = ?`).join(', ')} WHERE wallet = ?`)
      .run(...columns.map((column) => row[column] ?? null), address),
  );
}

/** Whether key, salt and seed blob are others; all three or none. */
function isRenewed(before: Row, after: Row): boolean {
  const parts = ['salt', 'execution_key', 'sealed_seed'] as const;
  const changed = parts.map((part) => !equalBytes(before[part] as Uint8Array, after[part] as Uint8Array));
  expect(new Set(changed).size).toBe(1);
  return changed[0] as boolean;
}

/** Keeps every writer out until the answer is called. */
function lockDatabase(): () => void {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

const leaves = async (): Promise<bigint> => {
  const client = clients.to(stack.enclaveAddresses.data);
  return (await client.request('status', {})).leaves;
};

/** Resolves when the enclave has re-wrapped the wallet and no database knows. */
async function rotatedUnstored(wallet: HttpWallet): Promise<() => void> {
  const before = await leaves();
  const release = lockDatabase();
  void rotate(wallet).catch(() => undefined);
  while ((await leaves()) === before) await sleep(20);
  return release;
}

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

async function restartHost(): Promise<void> {
  await stack.restartHost();
  await untilReady(stack.url);
}

async function expectSigns(wallet: HttpWallet, of = kit, options = {}): Promise<void> {
  const response = await of.sign(wallet, options);
  expect([response.status, response.status === 200 ? '' : await response.text()]).toEqual([200, '']);
}

describe('qv rotate wallet', () => {
  it('renews key, salt and blobs of one wallet; the leaf says so, and a repeat renews them again', async () => {
    const [wallet, other] = [await kit.openWallet(), await kit.openWallet()];
    await expectSigns(wallet);
    const [before, others] = [rowOf(wallet), rowOf(other)];
    const answer = await rotate(wallet);
    expect(answer).toMatchObject({ ok: true, wallet: wallet.address, rotated: true });
    const after = rowOf(wallet);
    expect(isRenewed(before, after)).toBe(true);
    expect(after['policy_mac']).not.toEqual(before['policy_mac']);
    expect(after['policy']).toEqual(before['policy']);
    expect(Number(after['state_version'])).toBe(Number(before['state_version']) + 1);
    expect(rowOf(other)).toEqual(others);
    await expectSigns(wallet);
    expect((await rotate(wallet)).ok).toBe(true);
    expect(isRenewed(after, rowOf(wallet))).toBe(true);
    await expectSigns(wallet);
    await expectAudited(operators);
    expect((await operators.audit())['kinds']).toMatchObject({ rewrapped: 2 });
  });

  it('is refused for a wallet that nobody knows, and for no wallet', async () => {
    const stranger = { address: operators.images[0] } as unknown as HttpWallet;
    expect((await rotate(stranger)).ok).toBe(false);
    expect(await qv('rotate', 'wallet', '--admin', stack.adminSocket)).toMatchObject({
      error: { code: 'usage_invalid' },
    });
  });
});

describe('qv rotate wallets', () => {
  it('renews all under load: no request of any client fails, and nothing is lost or counted twice', async () => {
    const wallets: HttpWallet[] = [];
    while (wallets.length < 8) wallets.push(await kit.openWallet());
    const before = wallets.map(rowOf);
    const statuses = new Map<string, number>();
    let going = true;
    let [signed, enabled] = [0, 0];
    const trading = wallets.map(async (wallet, index) => {
      for (let round = 0; going; round++) {
        const dry = index % 4 === 3 && round % 3 === 0;
        const response = await kit.sign(wallet, dry ? { body: { dryRun: true } } : {});
        const outcome = response.status === 200 ? '200' : await response.text();
        // A policy that is enabled under a request replaces the one it came with, rotation or not.
        if (index < OWNERS && outcome.includes('policy_not_current')) continue;
        statuses.set(outcome, (statuses.get(outcome) ?? 0) + 1);
        if (response.status === 200 && !dry) signed++;
      }
    });
    // Owners do not wait, either.
    const owners = wallets.slice(0, OWNERS).map(async (wallet) => {
      let previous = rowOf(wallet)['policy'] as Uint8Array;
      for (let epoch = 2; going; epoch++) {
        const body = kit.enablingBody(kit.documentFor(wallet, { epoch }), wallet.owner, previous);
        const response = await kit.http(`/v1/wallets/${wallet.address}/policy`, 'PUT', body);
        const outcome = response.status === 200 ? '200' : await response.text();
        statuses.set(outcome, (statuses.get(outcome) ?? 0) + 1);
        previous = rowOf(wallet)['policy'] as Uint8Array;
        enabled++;
        await sleep(2_000);
      }
    });
    try {
      for (let round = 0; round < 3; round++) {
        const answer = await rotateAll();
        expect(answer).toMatchObject({ ok: true, failures: [] });
        expect(answer['rotated']).toBeGreaterThanOrEqual(wallets.length);
      }
    } finally {
      going = false;
      await Promise.all([...trading, ...owners]);
    }
    expect([...statuses.keys()]).toEqual(['200']);
    expect([signed > 10, enabled > 0]).toEqual([true, true]);
    for (const [index, wallet] of wallets.entries()) {
      expect(isRenewed(before[index] as Row, rowOf(wallet))).toBe(true);
      await expectSigns(wallet);
    }
    await expectAudited(operators);
  }, 120_000);

  it('goes on where it ended, with the time of the first run; leaves retired wallets and other enclaves’ alone', async () => {
    const wallet = await kit.openWallet();
    const first = await rotateAll();
    expect(first).toMatchObject({ ok: true, failures: [] });
    const count = Number(first['rotated']);
    const before = rowOf(wallet);
    const again = await rotateAll(['--before', String(first['before'])]);
    expect(again).toMatchObject({ ok: true, rotated: 0, recent: count, failures: [] });
    expect(isRenewed(before, rowOf(wallet))).toBe(false);
    expect(await rotateAll(['--older-than', '1'])).toMatchObject({ ok: true, rotated: 0, recent: count });
    expect(await rotateAll(['--older-than', '1', '--before', String(first['before'])])).toMatchObject({
      error: { code: 'usage_invalid' },
    });
    expect(await rotateAll(['--before', 'yesterday'])).toMatchObject({ error: { code: 'usage_invalid' } });
    expect(await rotateAll(['--per-second', '0'])).toMatchObject({ error: { code: 'usage_invalid' } });
  }, 60_000);

  it('names each wallet that failed, with its code, and goes on with the others', async () => {
    const wallet = await kit.openWallet();
    const kms = new KmsAdmin(stack.kmsAdmin);
    await kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'refuse', error: 'AccessDeniedException' } });
    const failed = await rotateAll();
    await kms.clearFaults();
    kms.close();
    expect(failed).toMatchObject({ ok: false, rotated: 0 });
    expect(failed['failures']).toContainEqual({ wallet: wallet.address, code: 'kms_refused' });
    await expectSigns(wallet);
    expect(await rotateAll(['--before', String(failed['before'])])).toMatchObject({ ok: true, failures: [] });
    await expectSigns(wallet);
  }, 60_000);
});

describe('a crash', () => {
  it('of the host between the enclave’s answer and the database: the next request of anybody mends it', async () => {
    const wallet = await kit.openWallet();
    const before = rowOf(wallet);
    const release = await rotatedUnstored(wallet);
    await killHost();
    release();
    expect(isRenewed(before, rowOf(wallet))).toBe(false);
    await restartHost();
    const responses = await Promise.all(Array.from({ length: 8 }, () => kit.sign(wallet)));
    expect(responses.map(({ status }) => status)).toEqual(Array(8).fill(200));
    expect(isRenewed(before, rowOf(wallet))).toBe(true);
    await expectAudited(operators);
  }, 60_000);

  it('of the host, likewise, and the order again: it is seen to be done', async () => {
    const wallet = await kit.openWallet();
    const before = rowOf(wallet);
    const time = new Date(Math.ceil(Date.now() / 1000) * 1000);
    await sleep(time.getTime() - Date.now());
    const release = await rotatedUnstored(wallet);
    await killHost();
    release();
    await restartHost();
    const count = await leaves();
    const iso = `${time.toISOString().slice(0, 19)}Z`;
    expect(await adminCall(stack.adminSocket, 'wallet-rotate', { wallet: wallet.address, before: iso })).toMatchObject({
      rotated: false,
    });
    expect(await leaves()).toBe(count);
    expect(isRenewed(before, rowOf(wallet))).toBe(true);
    await expectSigns(wallet);
  }, 60_000);

  it('of the host, likewise, and its owner is first: a policy, and then the end', async () => {
    const wallet = await kit.openWallet();
    const release = await rotatedUnstored(wallet);
    await killHost();
    release();
    await restartHost();
    const previous = rowOf(wallet)['policy'] as Uint8Array;
    const body = kit.enablingBody(kit.documentFor(wallet, { epoch: 2 }), wallet.owner, previous);
    expect((await kit.http(`/v1/wallets/${wallet.address}/policy`, 'PUT', body)).status).toBe(200);
    await expectSigns(wallet);
    await expectAudited(operators);
  }, 60_000);

  it('of the host, likewise, and the log is published first: what lies in the database is whole', async () => {
    const wallet = await kit.openWallet();
    const before = rowOf(wallet);
    const release = await rotatedUnstored(wallet);
    await killHost();
    release();
    await restartHost();
    await adminCall(stack.adminSocket, 'publish', {});
    await until('the row has the new keys', () => isRenewed(before, rowOf(wallet)), 15_000);
    await expectSigns(wallet);
    await expectAudited(operators);
  }, 60_000);

  it('of qv while it waits: the host ends what it began', async () => {
    const wallet = await kit.openWallet();
    const before = rowOf(wallet);
    const kms = new KmsAdmin(stack.kmsAdmin);
    await kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 1_000 } });
    const impatient = adminCall(stack.adminSocket, 'wallet-rotate', { wallet: wallet.address }, 300);
    await expect(impatient).rejects.toThrow();
    await until('the host has stored it', () => isRenewed(before, rowOf(wallet)), 15_000);
    await kms.clearFaults();
    kms.close();
    await expectSigns(wallet);
  }, 60_000);

  it('of host and enclave before anything was stored: nothing happened, and it is done by the next boot', async () => {
    const wallet = await kit.openWallet();
    const before = await operators.bootOf(stack);
    await adminCall(stack.adminSocket, 'publish', {});
    const row = rowOf(wallet);
    const release = await rotatedUnstored(wallet);
    await killHost();
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    release();
    await stack.restartEnclave();
    await stack.restartHost();
    await newBoot(stack, operators, before);
    await untilReady(stack.url);
    expect(isRenewed(row, rowOf(wallet))).toBe(false);
    // Another boot's: it takes a lease.
    expect(await rotate(wallet)).toMatchObject({ error: { code: 'wallet_held_elsewhere' } });
    expect(await rotateAll()).toMatchObject({ ok: true, rotated: 0 });
    expect(await operators.lease('after-both', before, stack)).toMatchObject({ ok: true });
    await expectSigns(wallet, kit, later());
    expect((await rotate(wallet)).ok).toBe(true);
    await expectSigns(wallet, kit, later());
    await expectAudited(operators);
  }, 120_000);

  it('of the enclave once all is stored: the boot that takes the wallet by lease signs under the new keys', async () => {
    const wallet = await kit.openWallet();
    expect((await rotate(wallet)).ok).toBe(true);
    const before = await operators.bootOf(stack);
    await adminCall(stack.adminSocket, 'publish', {});
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await stack.restartEnclave();
    await newBoot(stack, operators, before);
    await untilReady(stack.url);
    expect(await operators.lease('after-rotating', before, stack)).toMatchObject({ ok: true });
    await expectSigns(wallet, kit, later());
    await expectAudited(operators);
  }, 120_000);
});

describe('an older row', () => {
  it('put back beside a living enclave, as an older backup would: the enclave says what counts', async () => {
    const wallet = await kit.openWallet();
    const old = rowOf(wallet);
    expect((await rotate(wallet)).ok).toBe(true);
    await expectSigns(wallet);
    const newest = rowOf(wallet);
    await stack.host.stop();
    putBack(wallet, old);
    await restartHost();
    await expectSigns(wallet);
    expect(isRenewed(newest, rowOf(wallet))).toBe(false);
    await expectAudited(operators);
  }, 60_000);

  it('with key blobs that are edited is refused as edited; the others go on', async () => {
    const [wallet, other] = [await kit.openWallet(), await kit.openWallet()];
    const { salt } = rowOf(other);
    const { salt: own } = rowOf(wallet);
    const set = (value: Row[string]) =>
      onDatabase((database) =>
        database.prepare('UPDATE wallets SET salt = ? WHERE wallet = ?').run(value ?? null, wallet.address),
      );
    set(salt ?? null);
    expect(await rotate(wallet)).toMatchObject({ error: { code: 'row_tampered' } });
    expect((await rotate(other)).ok).toBe(true);
    set(own ?? null);
    expect((await rotate(wallet)).ok).toBe(true);
  });
});

describe('a planned hand-over in the middle', () => {
  it('of a wallet whose new keys no database knows: they travel with its release', async () => {
    const wallet = await kit.openWallet();
    const before = rowOf(wallet);
    const release = await rotatedUnstored(wallet);
    await killHost();
    release();
    await restartHost();
    const second = await stack.startEnclave('enclave-2');
    const secondHost = await stack.startHost('host-2', second);
    await untilReady(secondHost.url);
    const [from, to] = [await operators.bootOf(stack), await operators.bootOf(secondHost)];
    expect(await operators.order('order', from, to, secondHost.url)).toMatchObject({ ok: true });
    const releases = operators.file('releases');
    expect(
      await qv('release', 'apply', operators.file('order'), '--admin', stack.adminSocket, '--out', releases),
    ).toMatchObject({ ok: true, failures: [] });
    expect(isRenewed(before, rowOf(wallet))).toBe(true);
    expect(await qv('release', 'take', releases, '--admin', secondHost.adminSocket)).toMatchObject({
      ok: true,
      failures: [],
    });
    const there = httpKit({ url: secondHost.url, deployment: stack.deployment });
    await expectSigns(wallet, there, later());
    expect(await rotate(wallet)).toMatchObject({ error: { code: 'wallet_held_elsewhere' } });
    // A backup from before all that: the new holder has the blobs, and MACs the policy with the next rotation.
    putBack(wallet, before);
    const refused = await there.sign(wallet, later());
    expect(await refused.json()).toMatchObject({ code: 'policy_mac_invalid' });
    expect(isRenewed(before, rowOf(wallet))).toBe(true);
    expect((await rotate(wallet, secondHost.adminSocket)).ok).toBe(true);
    await expectSigns(wallet, there, later());
    await expectAudited(operators);
  }, 90_000);
});

describe('another KMS key', () => {
  it('replaces the old one: an image that knows both, a rotation, and no call names the old one any more', async () => {
    const own = await startStack({ witnesses: 'none' });
    try {
      const ops = operatorsOf(own);
      const here = httpKit(own);
      const wallets: HttpWallet[] = [];
      while (wallets.length < 4) wallets.push(await here.openWallet());
      for (const wallet of wallets) await expectSigns(wallet, here);
      const old: StackKmsKey = own.measuredKeys.current;
      const key = await own.kmsKeys.create();
      const image = await own.measureImage('next', (config) => {
        config.kms = { ...config.kms, ...measuredKey(key), previous: [measuredKey(old)] };
      });
      const next = await own.startEnclave('enclave-2', image);
      const nextHost = await own.startHost('host-2', next);
      await untilReady(nextHost.url);
      const [from, to] = [await ops.bootOf(own), await ops.bootOf(nextHost)];
      writeFileSync(ops.file('next.json'), JSON.stringify(measurements(image.pcrs)));
      const both = ['--pcrs', ops.file('next.json')];
      expect(await ops.order('order', from, to, nextHost.url, ...both)).toMatchObject({ ok: true });
      const releases = ops.file('releases');
      await qv('release', 'apply', ops.file('order'), '--admin', own.adminSocket, '--out', releases);
      expect(await qv('release', 'take', releases, '--admin', nextHost.adminSocket)).toMatchObject({
        ok: true,
        failures: [],
      });
      const there = httpKit({ url: nextHost.url, deployment: own.deployment });
      // Under the old key until they are rotated.
      await own.kmsKeys.disable(old);
      expect((await there.sign(wallets[0] as HttpWallet, later())).status).not.toBe(200);
      await own.kmsKeys.enable(old);
      for (const wallet of wallets) await expectSigns(wallet, there, later());
      expect(await rotateAll([], nextHost.adminSocket)).toMatchObject({
        ok: true,
        rotated: wallets.length,
        failures: [],
      });
      expect(await qv('rotate', 'row-key', '--admin', nextHost.adminSocket)).toMatchObject({ ok: true });
      await own.kmsKeys.disable(old);
      const kms = new KmsAdmin(own.kmsAdmin);
      await kms.clearCalls();
      // A host that starts anew asks for the row key.
      await nextHost.process.stop();
      await nextHost.restart();
      await untilReady(nextHost.url);
      const anew = httpKit({ url: nextHost.url, deployment: own.deployment });
      for (const wallet of wallets) await expectSigns(wallet, anew, later());
      const calls = await kms.calls(64);
      kms.close();
      expect(calls.length).toBeGreaterThan(0);
      expect(calls.filter(({ keyArn }) => keyArn === old.keyArn)).toEqual([]);
      expect(new Set(calls.map(({ keyArn }) => keyArn))).toEqual(new Set([key.keyArn]));
    } finally {
      await own.stop();
    }
  }, 120_000);
});

describe('a second KMS key', () => {
  it('that is new to wallets: a rotation seals theirs for it, too, and either key opens them', async () => {
    const own = await startStack({ witnesses: 'none', kms: { second: true } });
    try {
      const ops = operatorsOf(own);
      const image = await own.measureImage('plain', (config) => {
        const { second: _, ...kms } = config.kms;
        config.kms = kms;
      });
      const plain = await own.startEnclave('enclave-plain', image);
      const plainHost = await own.startHost('host-plain', plain);
      await untilReady(plainHost.url);
      const before = httpKit({ url: plainHost.url, deployment: own.deployment });
      const wallets = [await before.openWallet(), await before.openWallet()];
      const secondOf = ({ address }: HttpWallet): Uint8Array | null => {
        const database = new DatabaseSync(own.databaseFile, { timeout: 5_000 });
        try {
          const row = database.prepare('SELECT second_key FROM wallets WHERE wallet = ?').get(address);
          return (row?.['second_key'] ?? null) as Uint8Array | null;
        } finally {
          database.close();
        }
      };
      expect(wallets.map(secondOf)).toEqual([null, null]);
      const [from, to] = [await ops.bootOf(plainHost), await ops.bootOf(own)];
      expect(await ops.order('order', from, to, own.url)).toMatchObject({ ok: true });
      const releases = ops.file('releases');
      await qv('release', 'apply', ops.file('order'), '--admin', plainHost.adminSocket, '--out', releases);
      expect(await qv('release', 'take', releases, '--admin', own.adminSocket)).toMatchObject({
        ok: true,
        failures: [],
      });
      expect(await rotateAll([], own.adminSocket)).toMatchObject({ ok: true, rotated: 2, failures: [] });
      const sealed = wallets.map(secondOf);
      expect(sealed).not.toContain(null);
      const here = httpKit(own);
      const { current, second } = own.measuredKeys;
      for (const key of [current, second] as StackKmsKey[]) {
        await own.kmsKeys.disable(key);
        for (const wallet of wallets) await expectSigns(wallet, here, later());
        await own.kmsKeys.enable(key);
      }
      // Another rotation, another sealing.
      expect((await rotate(wallets[0] as HttpWallet, own.adminSocket)).ok).toBe(true);
      expect(secondOf(wallets[0] as HttpWallet)).not.toEqual(sealed[0]);
      await own.kmsKeys.disable(current);
      await expectSigns(wallets[0] as HttpWallet, here, later());
    } finally {
      await own.stop();
    }
  }, 120_000);
});
