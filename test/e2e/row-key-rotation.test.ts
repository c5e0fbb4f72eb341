/** The row key replaced on a whole appliance: real enclaves, KMS and hosts, under load, killed, and lied to. */
import { mkdirSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { until } from '../support/temporary.ts';
import { expectAudited } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
let operators: ReturnType<typeof operatorsOf>;
let wallets: HttpWallet[];

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none', logLevel: 'warn' });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  wallets = [await kit.openWallet(), await kit.openWallet(), await kit.openWallet()];
}, 60_000);
afterAll(() => stack?.stop());

const rotate = (...more: string[]) => qvJson('rotate', 'row-key', '--admin', stack.adminSocket, ...more);

function sql(text: string, ...values: (string | Uint8Array)[]): Record<string, unknown>[] {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  try {
    return database.prepare(text).all(...values) as Record<string, unknown>[];
  } finally {
    database.close();
  }
}
const blobOf = (name: string) =>
  sql('SELECT value FROM meta WHERE name = ?', name)[0]?.['value'] as Uint8Array | undefined;

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

/** Signs with every wallet until it is stopped. What was answered with anything that no dead host explains. */
function startLoad() {
  let isOver = false;
  const wrong: string[] = [];
  let signed = 0;
  const loops = wallets.map(async (own) => {
    while (!isOver) {
      const response = await kit.sign(own).catch(() => undefined);
      const text = await response?.text().catch(() => undefined);
      if (response?.status === 200) signed++;
      else if (response !== undefined && response.status !== 503) wrong.push(`${response.status} ${text}`);
      if (response?.status !== 200) await sleep(20);
    }
  });
  const stop = async () => {
    isOver = true;
    await Promise.all(loops);
    return { wrong, signed };
  };
  return { stop, count: () => signed };
}

async function expectAllSign(): Promise<void> {
  for (const own of wallets) expect((await kit.sign(own)).status).toBe(200);
}

describe('the row key', () => {
  it('is replaced while wallets sign, by an enclave that makes and opens it', async () => {
    const before = blobOf('row-key');
    const load = startLoad();
    await until('they sign', () => load.count() > 5);
    for (let round = 0; round < 3; round++)
      expect(await rotate()).toMatchObject({ ok: true, begun: true, state: 'current' });
    const { wrong, signed } = await load.stop();
    expect(wrong).toEqual([]);
    expect(signed).toBeGreaterThan(5);
    expect(Buffer.compare(blobOf('row-key') ?? Buffer.of(), before ?? Buffer.of())).not.toBe(0);
    await stack.restartHost();
    await untilReady(stack.url);
    await expectAllSign();
    await expectAudited(operators);
  }, 60_000);

  it('is replaced although the host is killed, again and again', async () => {
    const load = startLoad();
    for (const pause of [0, 5, 20, 60, 150]) {
      await adminCall(stack.adminSocket, 'row-key-rotate', {});
      await sleep(pause);
      await killHost();
      await stack.restartHost();
      await untilReady(stack.url);
    }
    await until('it ends by itself', async () => (await rotate('--status'))['state'] === 'current', 30_000);
    const { wrong } = await load.stop();
    expect(wrong).toEqual([]);
    expect(blobOf('row-key-next')).toBeUndefined();
    await expectAllSign();
    await expectAudited(operators);
  }, 120_000);

  it('is followed by another host on the database, which was started before', async () => {
    const second = await stack.startEnclave('enclave-2');
    const other = await stack.startHost('host-2', second);
    await untilReady(other.url);
    const there = httpKit({ url: other.url, deployment: stack.deployment });
    const load = startLoad();
    const made: HttpWallet[] = [];
    let isOver = false;
    const making = (async () => {
      while (!isOver) made.push(await there.openWallet());
    })();
    for (let round = 0; round < 3; round++) expect(await rotate()).toMatchObject({ ok: true, state: 'current' });
    expect(await qvJson('rotate', 'row-key', '--admin', other.adminSocket)).toMatchObject({
      ok: true,
      state: 'current',
    });
    isOver = true;
    await making;
    expect((await load.stop()).wrong).toEqual([]);
    await expectAllSign();
    expect(made.length).toBeGreaterThan(0);
    for (const own of made) expect((await there.sign(own)).status).toBe(200);
    for (const { address } of made) expect((await fetch(`${stack.url}/v1/wallets/${address}`)).status).toBe(200);
    await other.process.stop();
  }, 120_000);

  it('is not exchanged for one that the enclave does not open, or that was replaced', async () => {
    const current = blobOf('row-key') ?? new Uint8Array();
    expect(await rotate()).toMatchObject({ ok: true });
    const next = blobOf('row-key') ?? new Uint8Array();
    const put = (value: Uint8Array) => sql("UPDATE meta SET value = ? WHERE name = 'row-key' RETURNING name", value);
    for (const [planted, code] of [
      [current, 'row_key_retired'],
      [next.map((byte, at) => (at === next.length - 1 ? byte ^ 1 : byte)), 'k'],
    ] as const) {
      put(planted);
      // A host that runs keeps the key that it has, and is refused whatever it wants to store.
      expect([409, 503]).toContain((await kit.sign(wallets[0] as HttpWallet)).status);
      await stack.restartHost();
      await until(
        'it says why',
        async () => String((await rotate('--status'))['fault'] ?? '').startsWith(code),
        20_000,
      );
      expect((await kit.sign(wallets[0] as HttpWallet)).status).not.toBe(200);
      put(next);
      await untilReady(stack.url);
      await expectAllSign();
    }
  }, 60_000);

  it('half replaced in a backup, is replaced where that is restored', async () => {
    const { address } = wallets[0] as HttpWallet;
    const seed = sql('SELECT sealed_seed FROM wallets WHERE wallet = ?', address)[0]?.['sealed_seed'] as Uint8Array;
    const put = (value: Uint8Array) =>
      sql('UPDATE wallets SET sealed_seed = ? WHERE wallet = ? RETURNING wallet', value, address);
    put(seed.map((byte) => byte ^ 1));
    expect(await rotate()).toMatchObject({ exit: 6, state: 'edited', edited: [address] });
    put(seed);
    const folder = operators.file('backups');
    mkdirSync(folder);
    expect(await qvJson('backup', '--config', stack.hostConfigFile, '--to', folder)).toMatchObject({ ok: true });
    expect(blobOf('row-key-next')).toBeDefined();
    await stack.host.stop();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${stack.databaseFile}${suffix}`, { force: true });
    const restored = await qvJson('restore', '--from', folder, '--to', stack.hostConfigFile, ...operators.images);
    expect(restored).toMatchObject({ ok: true });
    await stack.restartHost();
    await untilReady(stack.url);
    await until('it ends', async () => (await rotate('--status'))['state'] === 'current', 20_000);
    await expectAllSign();
    await expectAudited(operators);
  }, 60_000);
});
