/** `qv rotate row-key` against a whole host, while it signs, makes, ends and freezes. The enclave is a fake one. */
import { mkdirSync, rmSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { Address, BootId } from '@quantumvault/shared/brands.ts';
import { policyBytes } from '@quantumvault/shared/policy/policy.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../../support/codes.ts';
import { retiring, retiringJson } from '../../support/retire-kit.ts';
import { until } from '../../support/temporary.ts';
import { type JsonAnswer, qv, qvJson } from '../cli/call.ts';
import { Harness } from '../harness.ts';
import { parseExposition, sampleValue } from '../metrics/exposition.ts';
import { keyed, SECRET, secretLine, symmetric } from '../webhooks/sources.ts';

let host: Harness;
const alpha = keyed();
const admin = (): string[] => ['--admin', host.path('admin.sock')];
const rotate = (...more: string[]): Promise<JsonAnswer> => qvJson('rotate', 'row-key', ...admin(), ...more);
const current = () =>
  host.sql((database) => database.prepare("SELECT name, value FROM meta WHERE name LIKE 'row-key%'").all());

beforeEach(async () => {
  host = new Harness();
  host.moreConfig = () => ({
    webhooks: [
      {
        name: 'alpha',
        kind: 'standard',
        secretsFile: host.writePrivate('secrets', secretLine(SECRET)),
        keys: [alpha.address],
        keepSeconds: 600,
      },
    ],
  });
  await host.start();
});
afterEach(() => host.stop());

async function openWallet(): Promise<Address> {
  const wallet = await host.createWallet();
  await host.enablePolicy();
  return wallet;
}

const sign = (wallet: Address, id?: string) =>
  host.sign({ ...(id !== undefined && { id }), body: host.signBody({ wallet }) });

/** So many replies that the replacement takes a while; under the row key, by the host itself. */
async function signMany(wallet: Address, count: number): Promise<void> {
  for (let at = 0; at < count; at += 20)
    await Promise.all(Array.from({ length: 20 }, async () => expect((await sign(wallet)).status).toBe(200)));
}

async function retire(wallet: Address): Promise<Response> {
  const policy = policyBytes(host.policy);
  const facts = { deployment: 'test', boot: host.enclave.boot as BootId, wallet, owner: host.owner, policy };
  return await host.send('POST', `/v1/wallets/${wallet}/retire`, retiringJson(retiring(facts as never)));
}

describe('qv rotate row-key', () => {
  it('replaces it, says so to people and machines, and again', async () => {
    const wallet = await openWallet();
    const first = await rotate('--status');
    expect(first).toMatchObject({ ok: true, state: 'current', since: null, replaces: null, resealed: 0, fault: null });
    const answer = await rotate();
    // The wallet and its creation.
    expect(answer).toMatchObject({
      ok: true,
      exit: 0,
      begun: true,
      state: 'current',
      resealed: 2,
      edited: [],
      fault: null,
    });
    expect(answer['key']).not.toBe(first['key']);
    expect((await sign(wallet)).status).toBe(200);
    const { exit, stdout } = await qv('rotate', 'row-key', ...admin());
    expect([exit, stdout]).toEqual([0, expect.stringContaining('All is under this row key.')]);
    expect(stdout).toMatch(/3 sealed anew/);
    expect(host.enclave.count('rowKeyCreate')).toBe(3);
    expect(host.logLines.filter((line) => line.includes('the row key replacement is done'))).toHaveLength(2);
    await host.restartHost();
    await host.ready();
    expect((await sign(wallet)).status).toBe(200);
    const samples = parseExposition((await host.admin('metrics', {})).text);
    expect(sampleValue(samples, 'qv_row_key_replacing')).toBe(0);
    expect(Math.abs((sampleValue(samples, 'qv_enclave_boot_timestamp_seconds') ?? 0) - Date.now() / 1000)).toBeLessThan(
      60,
    );
    expect(sampleValue(samples, 'qv_row_key_since_timestamp_seconds')).toBeGreaterThan(1.7e9);
    expect(await rotate('--status')).toMatchObject({
      state: 'current',
      replaces: null,
      since: expect.stringMatching(/^20/),
    });
  });

  it('without a row key, or an enclave, begins nothing', async () => {
    const young = await new Harness().start({ initialise: false });
    try {
      const there = ['--admin', young.path('admin.sock')];
      await until('the enclave serves', async () => (await young.admin('status', {})).enclave?.phase === 'serving');
      expect(await qvJson('rotate', 'row-key', ...there)).toMatchObject({
        ok: false,
        error: { code: 'not_initialised' },
      });
      expect(await qvJson('rotate', 'row-key', '--status', ...there)).toMatchObject({
        exit: 6,
        state: 'unknown',
        key: null,
      });
    } finally {
      await young.stop();
    }
    await host.enclave.close();
    host.enclave.hangUp();
    await until('the host notices', async () => (await host.admin('status', {})).enclave === null);
    expect(await rotate()).toMatchObject({ ok: false, exit: 4, error: { code: 'enclave_unavailable' } });
    expect(current()).toHaveLength(1);
  });

  it('refuses nobody meanwhile: signing, making, importing, enabling, freezing, ending, signals', async () => {
    const wallets = [await openWallet(), await openWallet(), await openWallet()];
    await signMany(wallets[0] as Address, 100);
    let isOver = false;
    const refused: unknown[] = [];
    let signed = 0;
    const note = async (what: string, answer: Promise<Response>, status: number): Promise<void> => {
      const response = await answer;
      if (response.status !== status) refused.push([what, response.status, await response.text()]);
      else await response.body?.cancel();
    };
    const load = wallets.map(async (wallet) => {
      for (; !isOver; signed++) await note('sign', sign(wallet), 200);
    });
    const others = (async () => {
      for (let round = 0; !isOver; round++) {
        await note('create', host.send('POST', '/v1/wallets', host.creation()), 201);
        await note('import', host.send('POST', '/v1/wallets/import', host.importing()), 201);
        const wallet = await openWallet();
        await note('signal', host.send('POST', '/v1/webhooks/alpha', ...deliver(`round-${round}`)), 200);
        await note('sign', sign(wallet, `once-${round}`), 200);
        // A stored reply, under whichever key.
        await note('repeat', sign(wallet, `once-${round}`), 200);
        await host.admin('freeze', { scope: `wallet:${wallet}`, reason: 'during it' });
        await note('frozen', sign(wallet), 423);
        const ended = await openWallet();
        await note('retire', retire(ended), 200);
        await note('retired', sign(ended), 410);
      }
    })();
    for (let round = 0; round < 4; round++)
      expect(await rotate()).toMatchObject({ ok: true, begun: true, state: 'current' });
    isOver = true;
    await Promise.all([...load, others]);
    expect(refused).toEqual([]);
    expect(signed).toBeGreaterThan(20);
    expect(await rotate()).toMatchObject({ ok: true });
    await host.restartHost();
    await host.ready();
    for (const wallet of wallets) expect((await sign(wallet)).status).toBe(200);
    for (const { wallet } of host.rows('wallets'))
      expect((await host.get(`/v1/wallets/${String(wallet)}`)).status).toBe(200);
    expect(host.logLines.filter((line) => line.includes('row_tampered'))).toEqual([]);
  }, 60_000);

  it('goes on without the enclave, once it is begun, and by itself after a restart', async () => {
    const wallet = await openWallet();
    await signMany(wallet, 200);
    const { begun } = await host.admin('row-key-rotate', {});
    expect(begun).toBe(true);
    await host.enclave.close();
    host.enclave.hangUp();
    await host.restartHost();
    // Neither key opens without an enclave, so nothing is believed; nothing is lost either.
    expect(await rotate('--status')).toMatchObject({ exit: 6, state: 'unknown' });
    await host.startEnclave();
    await host.ready();
    await until('it ends', async () => (await rotate('--status'))['state'] === 'current');
    expect(current().map(({ name }) => name)).toEqual(['row-key', 'row-key-step']);
    expect((await sign(wallet)).status).toBe(200);
  });

  it('is held up by a row that a database administrator edited during it, and says which', async () => {
    const [wallet, other] = [await openWallet(), await openWallet()];
    const seed = host.rows('wallets').find((row) => row['wallet'] === wallet)?.['sealed_seed'] as Uint8Array;
    const put = (value: Uint8Array) =>
      host.sql((database) =>
        database.prepare('UPDATE wallets SET sealed_seed = ? WHERE wallet = ?').run(value, wallet),
      );
    put(seed.map((byte) => byte ^ 1));
    const held = await rotate();
    expect(held).toMatchObject({ ok: false, exit: 6, state: 'edited', edited: [wallet], editedCount: 1 });
    expect((await qv('rotate', 'row-key', '--status', ...admin())).stdout).toContain(`${wallet}`);
    expect((await qv('status', ...admin())).stdout).toContain('held up');
    await expectProblem(await sign(wallet), 'row_tampered');
    expect((await sign(other)).status).toBe(200);
    expect(sampleValue(parseExposition((await host.admin('metrics', {})).text), 'qv_row_key_edited')).toBe(1);
    expect(await rotate('--leave-edited')).toMatchObject({ ok: true, state: 'current', begun: false });
    await expectProblem(await sign(wallet), 'row_tampered');
    expect((await sign(other)).status).toBe(200);
    // Too late to mend.
    put(seed);
    await expectProblem(await sign(wallet), 'row_tampered');
  });

  it('in a backup that was taken in the middle, is there half, and ends where that is restored', async () => {
    const wallet = await openWallet();
    await signMany(wallet, 200);
    const edited = host.rows('wallets')[0]?.['sealed_seed'] as Uint8Array;
    host.sql((database) => database.prepare('UPDATE wallets SET sealed_seed = ?').run(edited.map((byte) => byte ^ 1)));
    // Held up, and so in the middle for as long as it takes.
    expect(await rotate()).toMatchObject({ state: 'edited' });
    host.sql((database) => database.prepare('UPDATE wallets SET sealed_seed = ?').run(edited));
    const config = host.writePrivate('backed-up.json', JSON.stringify(host.configJson()));
    mkdirSync(host.path('backups'));
    expect(await qvJson('backup', '--config', config, '--to', host.path('backups'))).toMatchObject({ ok: true });
    expect(await qvJson('backup', 'verify', '--from', host.path('backups'))).toMatchObject({ ok: true });
    await host.host.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${host.database}${suffix}`, { force: true });
    expect(await qvJson('restore', '--from', host.path('backups'), '--to', config)).toMatchObject({ ok: true });
    const restored = new DatabaseSync(host.database);
    expect(restored.prepare("SELECT count(*) AS n FROM meta WHERE name LIKE 'row-key%'").get()).toEqual({ n: 3 });
    restored.close();
    await host.startHost();
    await host.ready();
    await until('it ends', async () => (await rotate('--status'))['state'] === 'current');
    expect((await sign(wallet)).status).toBe(200);
    expect(current()).toHaveLength(2);
  }, 30_000);

  it('makes a backup of before it refused where the old key is known to be replaced, until an operator says otherwise', async () => {
    const wallet = await openWallet();
    const config = host.writePrivate('backed-up.json', JSON.stringify(host.configJson()));
    mkdirSync(host.path('backups'));
    expect(await qvJson('backup', '--config', config, '--to', host.path('backups'))).toMatchObject({ ok: true });
    expect(await rotate()).toMatchObject({ ok: true });
    await host.host.close();
    for (const suffix of ['', '-wal', '-shm']) rmSync(`${host.database}${suffix}`, { force: true });
    expect(await qvJson('restore', '--from', host.path('backups'), '--to', config)).toMatchObject({ ok: true });
    await host.startHost();
    await until('it says why', async () => (await rotate('--status'))['fault'] === 'row_key_retired');
    expect(sampleValue(parseExposition((await host.admin('metrics', {})).text), 'qv_row_key_fault')).toBe(1);
    const { problems } = await qvJson('status', ...admin());
    expect(problems).toContainEqual(expect.stringContaining('a later one has replaced'));
    const examined = await qvJson('doctor', '--config', config);
    expect(examined['checks']).toContainEqual(expect.objectContaining({ code: 'row_key_retired', health: 'failed' }));
    await expectProblem(await sign(wallet), 'row_key_retired');
    await expectCode(host.admin('row-key-rotate', {}), 'row_key_retired');
    rmSync(host.path('retired-row-keys'));
    await host.restartHost();
    await host.ready();
    expect((await sign(wallet)).status).toBe(200);
    expect(await rotate()).toMatchObject({ ok: true });
  }, 30_000);
});

function deliver(id: string): [unknown, Record<string, string>] {
  const { body, headers } = symmetric({ id });
  return [body, headers];
}
