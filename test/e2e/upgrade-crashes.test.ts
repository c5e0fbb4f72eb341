/**
 * An upgrade in which something dies at every step that leaves a trace: a host between what its enclave did and what the
 * database has of it, qv in the midst of moving, and either enclave between a release and its take. The same command
 * again goes on; where an enclave is gone, a lease of the next image's operators does.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { parseStrictJson } from '@quantumvault/shared/json.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { transfer } from '../stack/scenario.ts';
import { untilReady } from '../stack/stack.ts';
import { type OwnedWallet, PATIENCE_MILLISECONDS, Upgrade } from '../stack/upgrade/upgrade.ts';
import { expectCode } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { until } from '../support/temporary.ts';

const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

let upgrade: Upgrade;
let orders = 0;

beforeAll(async () => {
  upgrade = await Upgrade.start({ witnesses: 'none' });
  await upgrade.allow('old', 'next');
  await upgrade.startBeside();
  upgrade.pointFront(upgrade.second);
}, 240_000);
afterAll(() => upgrade?.stop());

/** Wallets of the old enclave. */
async function openOld(count: number, change?: Parameters<Upgrade['openWallet']>[1]): Promise<OwnedWallet[]> {
  const client = upgrade.clientOf(upgrade.stack.url, 'old');
  const wallets: OwnedWallet[] = [];
  while (wallets.length < count) wallets.push(await upgrade.openWallet(client, change));
  return wallets;
}

/** Through the one address; the boot that signed it. */
async function sign({ wallet, destination, requesterKey }: OwnedWallet): Promise<string> {
  const client = upgrade.clientOf(upgrade.front.url, 'old', 'next');
  const { wire } = transfer(wallet, destination, 1_000n);
  return (await client.sign({ wallet, transaction: wire, requester: requesterKey.signer })).leaf.boot;
}

async function expectAllSigned(wallets: readonly OwnedWallet[]): Promise<void> {
  const boot = await upgrade.bootOf(upgrade.second);
  for (const wallet of wallets) expect(await sign(wallet)).toBe(boot);
}

const expectAudited = async (): Promise<void> =>
  expect(await upgrade.audit()).toMatchObject({ ok: true, findings: [] });

async function newOrder(...wallets: readonly OwnedWallet[]): Promise<string> {
  const name = `order-${++orders}`;
  await upgrade.order(name, ...wallets.flatMap(({ wallet }) => ['--wallet', wallet]));
  return name;
}

const releaseOnly = (order: string) => upgrade.release(order);

/** What stands in the file of releases that an order led to. */
function releasesOf(order: string): { wallet: string; release: unknown; state: unknown }[] {
  const path = upgrade.file(`${order}.releases`);
  if (!existsSync(path)) return [];
  const [, ...lines] = readFileSync(path, 'utf8').split('\n').slice(0, -1);
  return lines.map((line) => parseStrictJson(utf8(line)) as never);
}

/** Keeps every writer of the database out until the answer is called. */
function lockDatabase(): () => void {
  const database = new DatabaseSync(upgrade.stack.databaseFile, { timeout: 2_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

async function restartSecondHost(): Promise<void> {
  await upgrade.second.restart();
  await untilReady(upgrade.second.url, PATIENCE_MILLISECONDS);
  upgrade.pointFront(upgrade.second);
}

describe('clients', { timeout: 240_000 }, () => {
  it('believe no image that they do not name, whichever host passes its signature on', async () => {
    const [own] = (await openOld(1)) as [OwnedWallet];
    const { wallet, destination, requesterKey } = own;
    const { wire } = transfer(wallet, destination, 1_000n);
    const request = { wallet, transaction: wire, requester: requesterKey.signer };
    // The host that they ask runs the next image, and the wallet is still the old one's.
    const next = upgrade.clientOf(upgrade.front.url, 'next');
    await expectCode(next.sign(request), 'attestation_pcrs_not_allowed');
    const both = upgrade.clientOf(upgrade.front.url, 'old', 'next');
    expect((await both.sign(request)).leaf.boot).toBe(await upgrade.bootOf(upgrade.stack));
    expect(await upgrade.move(await newOrder(own))).toMatchObject({ ok: true, taken: 1 });
    const old = upgrade.clientOf(upgrade.front.url, 'old');
    await expectCode(old.sign(request), 'attestation_pcrs_not_allowed');
    expect((await both.sign(request)).leaf.boot).toBe(await upgrade.bootOf(upgrade.second));
  });
});

describe('a host dies', { timeout: 240_000 }, () => {
  it('the old one, between the enclave’s release and what the database has of it', async () => {
    const wallets = await openOld(3);
    const order = await newOrder(...wallets);
    const unlock = lockDatabase();
    const stuck = await upgrade.move(order);
    expect(stuck).toMatchObject({ ok: false, released: 0, taken: 0 });
    for (const { code } of stuck['failures'] as { code: string }[]) expect(code).toBe('store_unavailable');
    upgrade.stack.host.kill('SIGKILL');
    unlock();
    await upgrade.stack.restartHost();
    await untilReady(upgrade.stack.url, PATIENCE_MILLISECONDS);
    // Released in the enclave, and nobody has it: until the step is repeated nothing is signed, and nothing is lost.
    expect(await upgrade.move(order)).toMatchObject({ ok: true, released: 3, taken: 3, failures: [] });
    await expectAllSigned(wallets);
    await expectAudited();
  });

  it('either one, between release and take', async () => {
    const wallets = await openOld(2);
    const order = await newOrder(...wallets);
    expect(await releaseOnly(order)).toMatchObject({ ok: true, released: 2 });
    upgrade.stack.host.kill('SIGKILL');
    upgrade.second.process.kill('SIGKILL');
    await upgrade.stack.restartHost();
    await restartSecondHost();
    expect(await upgrade.move(order)).toMatchObject({ ok: true, released: 0, before: 2, taken: 2 });
    await expectAllSigned(wallets);
  });

  it('the new one, between the enclave’s take and what the database has of it', async () => {
    const wallets = await openOld(2, (policy) => ({
      ...policy,
      sol: { ...policy.sol, window: { seconds: 3600, max: '2500' } },
    }));
    for (const wallet of wallets) await sign(wallet);
    const order = await newOrder(...wallets);
    expect(await releaseOnly(order)).toMatchObject({ ok: true, released: 2 });
    const unlock = lockDatabase();
    for (const { wallet, release, state } of releasesOf(order)) {
      const taking = adminCall(upgrade.second.adminSocket, 'take', { wallet, release, state } as never, 10_000);
      await expect(taking).rejects.toMatchObject({ code: 'store_unavailable' });
    }
    upgrade.second.process.kill('SIGKILL');
    unlock();
    await restartSecondHost();
    expect(await upgrade.move(order)).toMatchObject({ ok: true, failures: [] });
    await expectAllSigned(wallets);
    // What was spent before is spent, whoever died: 1000 before, 1000 after, and no more than 2500.
    for (const wallet of wallets) {
      const denied = await expectCode(sign(wallet), 'policy_denied');
      expect(denied.facts).toMatchObject({ path: 'sol.window', value: '3000' });
    }
    await expectAudited();
  });
});

describe('qv dies', { timeout: 240_000 }, () => {
  it('in the midst of moving: the same command goes on', async () => {
    const wallets = await openOld(12);
    const order = await newOrder(...wallets);
    const [from, to] = [upgrade.stack.adminSocket, upgrade.second.adminSocket];
    const out = upgrade.file(`${order}.releases`);
    const argv = ['release', 'apply', upgrade.file(order), '--admin', from, '--out', out, '--take', to];
    const child = spawn(process.execPath, [QV, ...argv], { stdio: 'ignore' });
    await until('it has begun', () => releasesOf(order).length > 0, PATIENCE_MILLISECONDS);
    child.kill('SIGKILL');
    const answer = await upgrade.move(order);
    expect(answer).toMatchObject({ ok: true, failures: [] });
    expect(Number(answer['released']) + Number(answer['before'])).toBe(12);
    await expectAllSigned(wallets);
    await expectAudited();
  });
});

describe('a host that tampers with a release in transit', { timeout: 240_000 }, () => {
  it('is refused, whatever it changes, and the release itself still counts', async () => {
    const [wallet, other] = (await openOld(2)) as [OwnedWallet, OwnedWallet];
    const order = await newOrder(wallet, other);
    expect(await releaseOnly(order)).toMatchObject({ ok: true, released: 2 });
    const own = releasesOf(order).find((line) => line.wallet === wallet.wallet) as unknown as {
      wallet: string;
      release: { bytes: string; signature: string };
      state: { blob: string; version: string };
    };
    const flipped = (text: string): string => {
      const bytes = Buffer.from(text, 'base64');
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      return bytes.toString('base64');
    };
    const refused = async (change: Record<string, unknown>): Promise<void> => {
      const call = adminCall(upgrade.second.adminSocket, 'take', { ...own, ...change } as never, 10_000);
      const error = await call.then(
        () => undefined,
        (thrown: { code: string }) => thrown,
      );
      expect(error?.code).toMatch(
        /^(?:evidence_signature_invalid|message_malformed|cbor_malformed|succession_mismatch|state_)/,
      );
      noteCode(error?.code ?? '');
    };
    await refused({ release: { ...own.release, bytes: flipped(own.release.bytes) } });
    await refused({ release: { ...own.release, signature: flipped(own.release.signature) } });
    await refused({ wallet: other.wallet });
    await refused({ state: { blob: flipped(own.state.blob), version: String(Number(own.state.version) + 1) } });
    expect(await upgrade.move(order)).toMatchObject({ ok: true, failures: [] });
    await expectAllSigned([wallet, other]);
  });
});

describe('an enclave dies', { timeout: 240_000 }, () => {
  /** By three of the next image's four operators. */
  async function lease(name: string, from: string, ...more: readonly string[]) {
    const { url, adminSocket } = upgrade.second;
    const request = await qvJson(
      ...['lease', 'request', '--url', url, '--log', url, '--from', from, '--deployment', upgrade.stack.deployment],
      ...['--out', upgrade.file(name), ...upgrade.images('old', 'next'), ...more],
    );
    expect(request).toMatchObject({ ok: true });
    for (const operator of [1, 2, 3]) {
      const signed = await qvJson(
        ...['lease', 'sign', upgrade.file(name), '--operator-key', upgrade.next.operatorPem(operator)],
        ...['--journal', upgrade.file(`journal-next-${operator}`), '--terminated', 'nitro-cli shows it no more'],
      );
      expect(signed).toMatchObject({ ok: true, signed: true });
    }
    return await qvJson('lease', 'apply', upgrade.file(name), '--admin', adminSocket);
  }

  async function nextBootAfter(before: string): Promise<string> {
    const { second } = upgrade;
    await until(
      'the next boot',
      async () => (await upgrade.bootOf(second).catch(() => before)) !== before,
      PATIENCE_MILLISECONDS,
    );
    await untilReady(second.url, PATIENCE_MILLISECONDS);
    return await upgrade.bootOf(second);
  }

  it('the new one, when it has taken one wallet, and another one is released to it', async () => {
    const [taken, released, held] = (await openOld(3)) as [OwnedWallet, OwnedWallet, OwnedWallet];
    const before = await upgrade.bootOf(upgrade.second);
    expect(await upgrade.move(await newOrder(taken))).toMatchObject({ ok: true, taken: 1 });
    expect(await releaseOnly(await newOrder(released))).toMatchObject({ ok: true, released: 1 });
    await adminCall(upgrade.second.adminSocket, 'publish', {});
    upgrade.secondEnclave.process.kill('SIGKILL');
    await upgrade.restartSecondEnclave();
    await nextBootAfter(before);
    // What the old one still holds is ordered anew.
    expect(await upgrade.move(await newOrder(held))).toMatchObject({ ok: true, released: 1, taken: 1 });
    // What the dead one had taken, all wallets of the cases above included, is leased from it.
    expect(await lease('from-dead', before)).toMatchObject({ ok: true, failures: [] });
    // What was released to it and never taken is still the old one's to lose, by name.
    const old = await upgrade.bootOf(upgrade.stack);
    expect(await lease('untaken', old, '--wallet', released.wallet)).toMatchObject({ ok: true, taken: 1 });
    await expectAllSigned([taken, released, held]);
    await expectAudited();
  });

  it('the old one, when one wallet is released and another one is not: operators of the next image lease it', async () => {
    const [released, held] = (await openOld(2)) as [OwnedWallet, OwnedWallet];
    const old = await upgrade.bootOf(upgrade.stack);
    const order = await newOrder(released);
    expect(await releaseOnly(order)).toMatchObject({ ok: true, released: 1 });
    upgrade.stack.processes.enclave.kill('SIGKILL');
    await upgrade.stack.processes.enclave.exited;
    const file = upgrade.file(`${order}.releases`);
    expect(await qvJson('release', 'take', file, '--admin', upgrade.second.adminSocket)).toMatchObject({
      ok: true,
      taken: 1,
    });
    const { url, adminSocket } = upgrade.second;
    const request = await qvJson(
      ...['lease', 'request', '--url', url, '--log', url, '--from', old, '--deployment', upgrade.stack.deployment],
      ...['--out', upgrade.file('by-old'), ...upgrade.images('old', 'next')],
    );
    expect(request).toMatchObject({ ok: true });
    for (const operator of [1, 2, 3])
      await qvJson(
        ...['lease', 'sign', upgrade.file('by-old'), '--operator-key', upgrade.oldOperatorPem(operator)],
        ...['--journal', upgrade.file(`journal-old-${operator}`), '--terminated', 'nitro-cli shows it no more'],
      );
    // All three of those that were measured into the image whose wallets these are.
    expect(await qvJson('lease', 'apply', upgrade.file('by-old'), '--admin', adminSocket)).toMatchObject({
      ok: false,
      failures: [{ wallet: held.wallet, code: 'operators_too_few' }],
    });
    expect(await lease('by-next', old)).toMatchObject({ ok: true, taken: 1 });
    await expectAllSigned([released, held]);
    await expectAudited();
  });
});
