/** A successor becomes the owner through the host: crashes at each step, a host that lies, and backups in the middle. */
import { copyFileSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { type Client, createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import type { Hash } from '@quantumvault/shared/brands.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { CLOCK_OFFSET_FILE } from '../stack/nsm/root.ts';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { outsideKey } from '../support/import-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { party } from '../support/wallet-kit.ts';
import { EnclaveClients, expectAudited, later, newBoot } from './succession-kit.ts';

const DAY_MS = 86_400_000;
let stack: Stack;
let kit: HttpKit;
let operators: ReturnType<typeof operatorsOf>;
let kms: KmsAdmin;
const clients = new EnclaveClients();
const [owner, heir] = [outsideKey(), outsideKey()];
const requester = party();
/** How far the module's clock is ahead of this machine's. */
let ahead = 0;

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  kms = new KmsAdmin(stack.kmsAdmin);
}, 60_000);
afterAll(async () => {
  clients.close();
  kms?.close();
  await stack?.stop();
});

/** Whose clock is the module's. */
function client(change: (path: string, body: Members) => Members = (_, body) => body): Client {
  const passing: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!response.ok) return response;
    const body = (await response.json()) as Members;
    return new Response(JSON.stringify(change(new URL(String(input)).pathname, body)), { status: response.status });
  };
  return createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
    nowMs: () => Date.now() + ahead,
    fetch: passing,
  });
}
type Members = Record<string, unknown>;

function setClock(milliseconds: number): void {
  ahead = milliseconds;
  writeFileSync(join(stack.dir, 'nsm-root', CLOCK_OFFSET_FILE), String(ahead));
}

/** A day, for the security module and for KMS where it judges documents of it. */
async function passADay(): Promise<void> {
  const enclave = clients.to(stack.enclaveAddresses.data);
  const { blob } = await enclave.request('rowKeyCreate', {});
  // A recipient whose envelope did not open is not shown to KMS again: the next document has the new time.
  const fault = { kind: 'envelope', options: { flippedWrappedKey: true } } as const;
  await kms.setFaults({ operations: ['Decrypt'], fault });
  await expectCode(enclave.request('rowKeyUnwrap', { blob }), 'kms_response_invalid');
  await kms.clearFaults();
  setClock(ahead + DAY_MS);
  // Those that anybody may ask for are rationed.
  await vi.waitFor(() => enclave.request('attest', { nonce: new Uint8Array(32) }), { timeout: 15_000, interval: 200 });
}

const wallet = async (): Promise<HttpWallet> => {
  const made = await client().createWallet({
    owner: ownerFromSigner(owner),
    requesters: [requester.address],
    successor: { key: heir.address, delayDays: 1 },
  });
  const own = { address: made.wallet, owner, requester, destination: party().address };
  await client().enablePolicy({ owner: ownerFromSigner(owner), policy: kit.documentFor(own) });
  return own;
};

async function dueWallet(): Promise<HttpWallet> {
  const own = await wallet();
  await claim(own);
  await passADay();
  return own;
}

const claim = (own: HttpWallet) => client().claimWallet({ successor: ownerFromSigner(heir), wallet: own.address });
const complete = (own: HttpWallet, by = client()) =>
  by.completeTakeover({ successor: ownerFromSigner(heir), wallet: own.address });
const told = async (own: HttpWallet) =>
  (await (await fetch(`${stack.url}/v1/wallets/${own.address}`)).json()) as Members;

/** The new owner's first policy, and a signature under it. */
async function opens(own: HttpWallet): Promise<void> {
  const mine = { ...own, owner: heir };
  const { policyHash } = await told(own);
  const previousHash = fromHex(String(policyHash)) as Hash;
  const policy = kit.documentFor(mine, { epoch: 2 });
  await client().enablePolicy({ owner: ownerFromSigner(heir), policy, previousHash });
  // The host goes by this machine's clock, the enclave by the module's: a request fits both only where they agree.
  if (ahead === 0) expect((await kit.sign(mine, later())).status).toBe(200);
}

/** Resolves when the enclave has done it and no database knows. */
async function completedUnstored(own: HttpWallet): Promise<() => void> {
  const enclave = clients.to(stack.enclaveAddresses.data);
  const leaves = async () => (await enclave.request('status', {})).leaves;
  const before = await leaves();
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  void complete(own).catch(() => undefined);
  while ((await leaves()) === before) await sleep(20);
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

/** What the enclave put on record without the host, it has to fetch first. */
const publish = () => vi.waitFor(() => adminCall(stack.adminSocket, 'publish', {}), { timeout: 15_000, interval: 200 });

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

/** Dead, and the next one is up, at this machine's time. */
async function nextEnclave(): Promise<void> {
  stack.processes.enclave.kill('SIGKILL');
  await stack.processes.enclave.exited;
  setClock(0);
  await stack.restartEnclave();
}

describe('a successor', () => {
  it('becomes the owner, in the row as well; the policy of before counts no more, and the audit agrees', async () => {
    const own = await dueWallet();
    const done = await complete(own);
    expect(done.ack).toMatchObject({ kind: 'owner-changed', succession: { change: 2, owner: owner.address } });
    expect(await told(own)).toMatchObject({
      owner: heir.address,
      epoch: 1,
      succession: { change: 2, successor: null, takeover: null },
    });
    await opens(own);
    const enabled = await told(own);
    expect(enabled).toMatchObject({ owner: heir.address, epoch: 2 });
    // Asked again by who lost the answer: there is nothing to take over any more.
    await expectCode(complete(own), 'takeover_not_running');
    await expectAudited(operators);
  }, 60_000);

  it('finds out a host that lies to him', async () => {
    const own = await dueWallet();
    const other = await dueWallet();
    let kept: Members = {};
    const keeps = client((path, body) => {
      if (path.endsWith('/complete')) kept = body;
      return body;
    });
    await complete(other, keeps);
    const lies = client((path, body) => (path.endsWith('/complete') ? { ...kept, wallet: body['wallet'] } : body));
    await expectCode(complete(own, lies), 'evidence_mismatch');
    // It was done all the same.
    expect(await told(own)).toMatchObject({ owner: heir.address });
  }, 60_000);
});

describe('a crash', () => {
  it('of the host between the enclave’s answer and the database loses nothing', async () => {
    const own = await dueWallet();
    const release = await completedUnstored(own);
    await killHost();
    release();
    await stack.restartHost();
    await untilReady(stack.url);
    await expect.poll(() => told(own), { timeout: 15_000 }).toMatchObject({ owner: heir.address });
    await opens(own);
    await expectAudited(operators);
  }, 60_000);

  it('of nobody, but a database that was locked meanwhile: it is written as soon as that is over', async () => {
    const own = await dueWallet();
    const release = await completedUnstored(own);
    release();
    await expect.poll(() => told(own), { timeout: 15_000 }).toMatchObject({ owner: heir.address });
    await opens(own);
    await expectAudited(operators);
  }, 60_000);

  it('of host and enclave before anything was stored: nothing has happened, and the delay begins anew', async () => {
    const own = await dueWallet();
    const boot = await operators.bootOf(stack);
    await publish();
    const release = await completedUnstored(own);
    await killHost();
    release();
    await nextEnclave();
    await stack.restartHost();
    await newBoot(stack, operators, boot);
    expect(await operators.lease('both', boot, stack)).toMatchObject({ ok: true });
    const { succession, owner: still } = (await told(own)) as { owner: string; succession: Members };
    expect(still).toBe(owner.address);
    expect(succession['takeover']).toMatchObject({ claimedAt: expect.any(String) });
    expect((await kit.sign(own, later())).status).toBe(200);
    await expectCode(complete(own), 'takeover_too_early');
    await passADay();
    await complete(own);
    await opens(own);
    await expectAudited(operators);
  }, 120_000);

  it('of the enclave later: the boot that leases the wallet has it for the new owner', async () => {
    const own = await dueWallet();
    await complete(own);
    const boot = await operators.bootOf(stack);
    await publish();
    await nextEnclave();
    await newBoot(stack, operators, boot);
    expect(await operators.lease('after', boot, stack)).toMatchObject({ ok: true });
    await expectProblem(await kit.sign(own, later()), 'wallet_owner_mismatch');
    await opens(own);
    await expectAudited(operators);
  }, 120_000);
});

describe('a database from before, beside the enclave that lives', () => {
  it('is brought up to date: the wallet is the successor’s', async () => {
    const own = await dueWallet();
    await killHost();
    const files = ['', '-wal', '-shm'].map((end) => `${stack.databaseFile}${end}`).filter((file) => existsSync(file));
    for (const file of files) copyFileSync(file, `${file}.before`);
    await stack.restartHost();
    await untilReady(stack.url);
    await complete(own);
    await killHost();
    for (const end of ['', '-wal', '-shm']) rmSync(`${stack.databaseFile}${end}`, { force: true });
    for (const file of files) copyFileSync(`${file}.before`, file);
    await stack.restartHost();
    await untilReady(stack.url);
    await expect.poll(() => told(own), { timeout: 15_000 }).toMatchObject({ owner: heir.address });
    await opens(own);
    await expectAudited(operators);
  }, 60_000);
});
