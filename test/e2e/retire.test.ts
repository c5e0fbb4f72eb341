/** `qv wallet retire` against a whole appliance, with the network and the machines in between failing and lying. */

import { writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { Log } from '@quantumvault/host/log.ts';
import { address, addressBytes } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { outsideKey } from '../support/import-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { creation, party } from '../support/wallet-kit.ts';
import { expectAudited, later, newBoot } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
let operators: ReturnType<typeof operatorsOf>;
const owner = outsideKey();
const requester = party();

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  writeFileSync(operators.file('owner.json'), JSON.stringify([...owner.seed, ...addressBytes(owner.address)]), {
    mode: 0o600,
  });
}, 60_000);
afterAll(() => stack?.stop());

/** A wallet with a policy, of the owner whose key is in a file. */
async function openWallet(): Promise<HttpWallet> {
  const created = await kit.create(creation(stack.deployment, owner, [requester]));
  const { wallet } = (await created.json()) as { wallet: string };
  const own = { address: address(wallet), owner, requester, destination: party().address };
  const body = kit.enablingBody(kit.documentFor(own), owner, undefined);
  expect((await kit.http(`/v1/wallets/${wallet}/policy`, 'PUT', body)).status).toBe(200);
  return own;
}

async function qvRetire(wallet: HttpWallet, more: readonly string[] = ['--yes'], images = operators.images) {
  const whose = ['--wallet', wallet.address, '--owner-key', operators.file('owner.json')];
  const answer = await qvJson(
    ...['wallet', 'retire', '--url', stack.url],
    ...operators.deployment,
    ...whose,
    ...images,
    ...more,
  );
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}

const facts = async (wallet: HttpWallet) =>
  (await (await fetch(`${stack.url}/v1/wallets/${wallet.address}`)).json()) as Record<string, unknown>;

describe('qv wallet retire', () => {
  it('ends a wallet for good, over restarts of the host; the log says so and the audit finds nothing wrong', async () => {
    const wallet = await openWallet();
    const request = { id: 'signed-before' };
    expect((await kit.sign(wallet, request)).status).toBe(200);
    const answer = await qvRetire(wallet);
    expect(answer).toMatchObject({
      ok: true,
      wallet: wallet.address,
      owner: owner.address,
      policyHash: (await facts(wallet))['policyHash'],
      boot: await operators.bootOf(stack),
      statement: expect.stringContaining(`Wallet: ${wallet.address}\n`),
      consequences: expect.arrayContaining([expect.stringContaining('cannot be destroyed')]),
    });
    expect(await facts(wallet)).toMatchObject({ retired: true });
    await expectProblem(await kit.sign(wallet), 'wallet_retired');
    await expectProblem(await kit.sign(wallet, { body: { dryRun: true } }), 'wallet_retired');
    await stack.restartHost();
    await untilReady(stack.url);
    await expectProblem(await kit.sign(wallet), 'wallet_retired');
    expect(await qvRetire(wallet)).toMatchObject({ exit: 1, error: { code: 'wallet_retired' } });
    await expectAudited(operators);
  });

  it('asks first, believes no other image, and ends nobody else’s wallet', async () => {
    const wallet = await openWallet();
    const asked = await qvJson(
      ...['wallet', 'retire', '--url', stack.url, '--wallet', wallet.address],
      ...['--owner-key', operators.file('owner.json'), ...operators.deployment, '--pcr0', 'ab'.repeat(48)],
    );
    expect(asked).toMatchObject({ ok: false, error: { code: 'attestation_root_untrusted' } });
    const root = operators.images.slice(-2);
    const other = await qvRetire(wallet, ['--yes'], ['--pcr0', 'ab'.repeat(48), ...root]);
    expect(other).toMatchObject({ exit: 1, error: { code: 'attestation_pcrs_not_allowed' } });
    // There is nobody to ask.
    expect(await qvRetire(wallet, [])).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    const foreign = await kit.openWallet();
    expect(await qvRetire(foreign)).toMatchObject({ exit: 1, error: { code: 'wallet_owner_mismatch' } });
    for (const own of [wallet, foreign]) expect((await kit.sign(own)).status).toBe(200);
  });
});

type Members = Record<string, unknown>;

function flipped(base64: unknown): string {
  const bytes = fromBase64(String(base64));
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return toBase64(bytes);
}

/** Through a host that changes its answers under this path. */
function retireVia(wallet: HttpWallet, ending: string, change: (body: Members) => Members) {
  const lying: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!new URL(String(input)).pathname.endsWith(ending) || !response.ok) return response;
    return new Response(JSON.stringify(change((await response.json()) as Members)), { status: response.status });
  };
  const client = createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
    fetch: lying,
  });
  return client.retireWallet({ owner: ownerFromSigner(owner), wallet: wallet.address });
}

const inner = (value: unknown, member: string): Members => {
  const members = value as Members;
  return { ...members, [member]: flipped(members[member]) };
};

describe('a host that lies', () => {
  it.each<[string, (body: Members) => Members, ErrorCode]>([
    ['another wallet', (body) => ({ ...body, wallet: party().address }), 'evidence_mismatch'],
    [
      'another acknowledgement',
      (body) => ({ ...body, ack: inner(body['ack'], 'bytes') }),
      'evidence_signature_invalid',
    ],
    ['another receipt', (body) => ({ ...body, receipt: inner(body['receipt'], 'leaf') }), 'evidence_signature_invalid'],
  ])('in its answer, with %s, is found out', async (_, change, code) => {
    await expectCode(retireVia(await openWallet(), '/retire', change), code);
  });

  it('who answers with the end of another wallet, is found out', async () => {
    const [first, second] = [await openWallet(), await openWallet()];
    let kept: Members = {};
    await retireVia(first, '/retire', (body) => {
      kept = body;
      return body;
    });
    const { ack, receipt } = kept;
    await expectCode(
      retireVia(second, '/retire', (body) => ({ ...body, ack, receipt })),
      'evidence_mismatch',
    );
  });

  it('about the policy, has the owner sign for one that is not enabled: nothing ends', async () => {
    const wallet = await openWallet();
    const lie = (body: Members): Members => ({ ...body, policyHash: '00'.repeat(32) });
    await expectCode(retireVia(wallet, wallet.address, lie), 'policy_not_current');
    expect((await kit.sign(wallet)).status).toBe(200);
  });
});

/** Keeps every other writer out until the answer is called. */
const silent = (): void => undefined;
const log = { info: silent, warn: silent, error: silent, debug: silent } as unknown as Log;

function lockDatabase(): () => void {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

/** Of the enclave's own log, as it is now: what the host last heard of it may be a second old. */
async function leaves(): Promise<bigint> {
  const address = parseTransportAddress(stack.enclaveAddresses.data);
  const enclave = new EnclaveClient({ address, transport: unixTransport, log });
  enclave.connect();
  try {
    return (await enclave.request('status', {})).leaves;
  } finally {
    enclave.close();
  }
}

/** Resolves when the enclave has ended the wallet and no database knows. */
async function retiredUnstored(wallet: HttpWallet): Promise<() => void> {
  const before = await leaves();
  const release = lockDatabase();
  void qvRetire(wallet).catch(() => undefined);
  while ((await leaves()) === before) await sleep(20);
  return release;
}

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

describe('a crash', () => {
  it('of the host between the enclave’s answer and the database: it is ended, and asking again says and stores so', async () => {
    const wallet = await openWallet();
    const release = await retiredUnstored(wallet);
    await killHost();
    release();
    await stack.restartHost();
    await untilReady(stack.url);
    await expectProblem(await kit.sign(wallet), 'wallet_retired');
    expect(await qvRetire(wallet)).toMatchObject({ exit: 1, error: { code: 'wallet_retired' } });
    expect(await facts(wallet)).toMatchObject({ retired: true });
    await expectAudited(operators);
  }, 60_000);

  it('of the enclave, later: the boot that takes the wallet by lease does not sign for it', async () => {
    const wallet = await openWallet();
    expect(await qvRetire(wallet)).toMatchObject({ ok: true });
    const other = await openWallet();
    const before = await operators.bootOf(stack);
    await adminCall(stack.adminSocket, 'publish', {});
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await stack.restartEnclave();
    await newBoot(stack, operators, before);
    expect(await operators.lease('after-retiring', before, stack)).toMatchObject({ ok: true });
    expect((await kit.sign(other, later())).status).toBe(200);
    await expectProblem(await kit.sign(wallet, later()), 'wallet_retired');
    // Nor where a database forgets.
    const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
    expect(database.prepare('SELECT retired FROM wallets WHERE wallet = ?').get(wallet.address)).toEqual({
      retired: 1,
    });
    database.close();
    expect(await qvRetire(wallet)).toMatchObject({ exit: 1, error: { code: 'wallet_retired' } });
    await expectAudited(operators);
  }, 120_000);
});

describe('a crash of host and enclave', () => {
  it('before anything was stored: the owner has no acknowledgement, nothing ended, and the next boot ends it', async () => {
    const wallet = await openWallet();
    const before = await operators.bootOf(stack);
    await adminCall(stack.adminSocket, 'publish', {});
    const release = await retiredUnstored(wallet);
    await killHost();
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    release();
    await stack.restartEnclave();
    await stack.restartHost();
    await newBoot(stack, operators, before);
    expect(await operators.lease('after-both', before, stack)).toMatchObject({ ok: true });
    expect(await facts(wallet)).toMatchObject({ retired: false });
    expect((await kit.sign(wallet, later())).status).toBe(200);
    expect(await qvRetire(wallet)).toMatchObject({ ok: true, boot: await operators.bootOf(stack) });
    await expectProblem(await kit.sign(wallet, later()), 'wallet_retired');
    await expectAudited(operators);
  }, 120_000);
});

describe('a planned restart', () => {
  it('hands over the others, and leaves the retired wallet where it is', async () => {
    const [wallet, other] = [await openWallet(), await openWallet()];
    expect(await qvRetire(wallet)).toMatchObject({ ok: true });
    const second = await stack.startEnclave('enclave-2');
    const secondHost = await stack.startHost('host-2', second);
    await untilReady(secondHost.url);
    const [from, to] = [await operators.bootOf(stack), await operators.bootOf(secondHost)];
    expect(await operators.order('order', from, to, secondHost.url)).toMatchObject({ ok: true });
    const releases = operators.file('releases');
    const applied = await qvJson(
      ...['release', 'apply', operators.file('order'), '--admin', stack.adminSocket, '--out', releases],
    );
    expect(applied).toMatchObject({ ok: true, failures: [] });
    expect(applied['retired']).toBeGreaterThanOrEqual(1);
    const taken = await qvJson('release', 'take', releases, '--admin', secondHost.adminSocket);
    expect(taken).toMatchObject({ ok: true, failures: [] });
    const there = httpKit({ url: secondHost.url, deployment: stack.deployment });
    expect((await there.sign(other, later())).status).toBe(200);
    for (const host of [kit, there]) await expectProblem(await host.sign(wallet, later()), 'wallet_retired');
    await expectAudited(operators);
  }, 60_000);
});
