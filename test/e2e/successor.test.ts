/** `qv successor` against the local stack: hosts that lie, crashes at each step, and hand-overs in the middle. */
import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { address, addressBytes } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qvJson } from '../host/cli/call.ts';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectCode } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { outsideKey } from '../support/import-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { creation, party } from '../support/wallet-kit.ts';
import { EnclaveClients, expectAudited, later, newBoot } from './succession-kit.ts';

type Members = Record<string, unknown>;
type Act = 'name' | 'remove' | 'claim' | 'cancel';

let stack: Stack;
let kit: HttpKit;
let operators: ReturnType<typeof operatorsOf>;
const clients = new EnclaveClients();
const [owner, heir] = [outsideKey(), outsideKey()];
const requester = party();
const DAY_MS = 86_400_000;
const QV = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  for (const [name, { seed, address: key }] of Object.entries({ owner, heir }))
    writeFileSync(operators.file(`${name}.json`), JSON.stringify([...seed, ...addressBytes(key)]), { mode: 0o600 });
}, 60_000);
afterAll(async () => {
  clients.close();
  await stack?.stop();
});

/** With a policy and, but for `false`, a successor. */
async function openWallet(withHeir = true): Promise<HttpWallet> {
  const created = await kit.create(creation(stack.deployment, owner, [requester]));
  const { wallet } = (await created.json()) as { wallet: string };
  const own = { address: address(wallet), owner, requester, destination: party().address };
  const body = kit.enablingBody(kit.documentFor(own), owner, undefined);
  expect((await kit.http(`/v1/wallets/${wallet}/policy`, 'PUT', body)).status).toBe(200);
  if (withHeir) expect(await qv('name', own)).toMatchObject({ ok: true, change: 1 });
  return own;
}

async function qv(act: Act, wallet: HttpWallet, more: readonly string[] = [], url = stack.url): Promise<Members> {
  const signer = act === 'claim' ? ['--successor-key', 'heir.json'] : ['--owner-key', 'owner.json'];
  const [option = '', file = ''] = signer;
  const answer = await qvJson(
    ...['successor', act, '--url', url, ...operators.deployment, '--wallet', wallet.address],
    ...(act === 'name' ? ['--successor', heir.address, '--delay-days', '30'] : []),
    ...[option, operators.file(file), ...operators.images, ...more],
  );
  if (answer.error !== undefined) noteCode(answer.error.code);
  return answer;
}

const show = (wallet: HttpWallet) => qvJson('successor', 'show', '--url', stack.url, '--wallet', wallet.address);

describe('qv successor', () => {
  it('names, claims, cancels and removes, over restarts of the host; the audit finds nothing wrong', async () => {
    const wallet = await openWallet(false);
    expect(await show(wallet)).toMatchObject({ exit: 0, change: 0, successor: null, takeover: null });
    const named = await qv('name', wallet);
    const successor = { key: heir.address, delayDays: 30 };
    expect(named).toMatchObject({
      ok: true,
      wallet: wallet.address,
      owner: owner.address,
      change: 1,
      successor,
      takeover: null,
      boot: await operators.bootOf(stack),
      statement: expect.stringContaining('Delay: 30 days\n'),
    });
    const claimed = await qv('claim', wallet);
    expect(claimed).toMatchObject({ ok: true, change: 2, statement: expect.stringContaining('qv/claim-wallet/v1: ') });
    const { claimedAt, dueAt } = claimed['takeover'] as { claimedAt: string; dueAt: string };
    expect(Date.parse(dueAt) - Date.parse(claimedAt)).toBe(30 * DAY_MS);
    await stack.restartHost();
    await untilReady(stack.url);
    // Something needs attention, and the exit code says so.
    expect(await show(wallet)).toMatchObject({ exit: 6, change: 2, successor, takeover: { claimedAt, dueAt } });
    expect((await kit.sign(wallet)).status).toBe(200);
    const running = { wallet: wallet.address, successor: heir.address, claimedAt, dueAt };
    expect((await operators.audit())['claims']).toMatchObject([running]);
    expect(await qv('claim', wallet)).toMatchObject({ exit: 1, error: { code: 'takeover_running' } });
    expect(await qv('cancel', wallet)).toMatchObject({ ok: true, change: 3, takeover: null });
    expect(await qv('cancel', wallet)).toMatchObject({ exit: 1, error: { code: 'takeover_not_running' } });
    expect(await qv('remove', wallet)).toMatchObject({ ok: true, change: 4, successor: null });
    expect(await qv('claim', wallet)).toMatchObject({ exit: 1, error: { code: 'successor_mismatch' } });
    expect(await show(wallet)).toMatchObject({ exit: 0, change: 4, successor: null, takeover: null });
    expect((await kit.sign(wallet)).status).toBe(200);
    await expectAudited(operators);
  }, 60_000);

  it('has statements signed elsewhere, by the owner and by the successor', async () => {
    const wallet = await openWallet(false);
    const elsewhere = async (act: Act, who: typeof owner) => {
      const role = who === heir ? 'successor' : 'owner';
      const named = act === 'name' ? ['--successor', heir.address, '--delay-days', '2'] : [];
      const child = spawn(
        process.execPath,
        [
          ...[QV, 'successor', act, '--json', '--url', stack.url, ...operators.deployment, '--wallet', wallet.address],
          ...[...named, `--${role}`, who.address, ...operators.images],
        ],
        { stdio: 'pipe', env: { PATH: process.env['PATH'], NODE_NO_WARNINGS: '1' } },
      );
      let said = '';
      child.stderr.on('data', (chunk: Buffer) => {
        said += String(chunk);
        const statement = /\n\n(qv\/.*)\n\nSignature/s.exec(said)?.[1];
        if (statement !== undefined) child.stdin.end(`${toBase64(who.sign(utf8(statement)))}\n`);
      });
      const answer = JSON.parse(await text(child.stdout)) as Members;
      expect(said).toContain(`The ${role} signs this text`);
      return answer;
    };
    expect(await elsewhere('name', owner)).toMatchObject({ ok: true, change: 1 });
    expect(await elsewhere('claim', heir)).toMatchObject({ ok: true, change: 2 });
    // Somebody else's signature is found before anything is sent.
    expect(await elsewhere('cancel', { ...owner, sign: heir.sign })).toMatchObject({
      ok: false,
      error: { code: 'statement_signature_invalid' },
    });
    expect(await elsewhere('cancel', owner)).toMatchObject({ ok: true, change: 3 });
  }, 120_000);

  it('believes no other image, asks for no key before, and takes no delay that is none', async () => {
    const wallet = await openWallet();
    const root = operators.images.slice(-2);
    const options = ['--url', stack.url, ...operators.deployment, '--wallet', wallet.address];
    const other = await qvJson(
      ...['successor', 'claim', ...options, '--successor-key', operators.file('no-such-key'), '--pcr0'],
      ...['ab'.repeat(48), ...root],
    );
    expect(other).toMatchObject({ exit: 1, error: { code: 'attestation_pcrs_not_allowed' } });
    for (const days of ['0', '366', '1.5', '-1', 'x']) {
      const named = ['--successor', heir.address, `--delay-days=${days}`, '--owner', owner.address];
      expect(await qvJson('successor', 'name', ...options, ...named, ...operators.images)).toMatchObject({
        exit: 2,
        error: { code: 'usage_invalid' },
      });
    }
    const foreign = await kit.openWallet();
    expect(await qv('name', foreign)).toMatchObject({ exit: 1, error: { code: 'wallet_owner_mismatch' } });
  }, 60_000);
});

function flipped(value: unknown, member: string): Members {
  const members = value as Members;
  const bytes = fromBase64(String(members[member]));
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  return { ...members, [member]: toBase64(bytes) };
}

/** Through a host that changes its answers under this path. */
function lied(ending: string, change: (body: Members) => Members) {
  const lying: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    if (!new URL(String(input)).pathname.endsWith(ending) || !response.ok) return response;
    return new Response(JSON.stringify(change((await response.json()) as Members)), { status: response.status });
  };
  return createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
    fetch: lying,
  });
}

describe('a database that somebody else administers', () => {
  it('keeps no owner from cancelling: he says himself whose claim it is, and which change', async () => {
    const wallet = await openWallet();
    expect(await qv('claim', wallet)).toMatchObject({ ok: true, change: 2 });
    const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
    const forget = database.prepare(
      "DELETE FROM history WHERE wallet = ? AND kind IN ('takeover-claimed', 'successor-named')",
    );
    expect(forget.run(wallet.address).changes).toBe(2);
    database.close();
    expect(await show(wallet)).toMatchObject({ exit: 0, change: 0, successor: null });
    expect(await qv('cancel', wallet)).toMatchObject({ exit: 1, error: { code: 'takeover_not_running' } });
    const named = ['--successor', heir.address];
    expect(await qv('cancel', wallet, named)).toMatchObject({
      exit: 1,
      error: { code: 'succession_changed', value: '3' },
    });
    expect(await qv('cancel', wallet, [...named, '--change', '03'])).toMatchObject({ exit: 2 });
    expect(await qv('cancel', wallet, [...named, '--change', '3'])).toMatchObject({
      ok: true,
      change: 3,
      takeover: null,
    });
  });

  it('keeps him from it neither where the host says nothing of the wallet any more', async () => {
    const wallet = await openWallet();
    expect(await qv('claim', wallet)).toMatchObject({ ok: true, change: 2 });
    const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
    const found = database
      .prepare(`SELECT boot, sequence, leaf FROM leaves JOIN history USING (boot, sequence)
        WHERE history.wallet = ? AND history.kind = 'takeover-claimed'`)
      .get(wallet.address);
    const edit = database.prepare('UPDATE leaves SET leaf = ? WHERE boot = ? AND sequence = ?');
    const { boot = null, sequence = null, leaf = null } = found ?? {};
    expect(edit.run(new Uint8Array(1), boot, sequence).changes).toBe(1);
    expect(await show(wallet)).toMatchObject({ exit: 1, error: { code: 'row_tampered' } });
    const said = ['--successor', heir.address, '--change', '3'];
    expect(await qv('cancel', wallet, said)).toMatchObject({ ok: true, change: 3, takeover: null });
    edit.run(leaf, boot, sequence);
    database.close();
  });
});

describe('a host that lies', () => {
  it.each<[string, (body: Members) => Members, ErrorCode]>([
    ['another wallet', (body) => ({ ...body, wallet: party().address }), 'evidence_mismatch'],
    [
      'another acknowledgement',
      (body) => ({ ...body, ack: flipped(body['ack'], 'bytes') }),
      'evidence_signature_invalid',
    ],
    [
      'another receipt',
      (body) => ({ ...body, receipt: flipped(body['receipt'], 'leaf') }),
      'evidence_signature_invalid',
    ],
  ])('in its answer, with %s, is found out', async (_, change, code) => {
    const wallet = await openWallet();
    const client = lied('/takeover', change);
    await expectCode(client.claimWallet({ successor: ownerFromSigner(heir), wallet: wallet.address }), code);
  });

  it('who says that a claim was cancelled when it was not, has to show the enclave’s word', async () => {
    const [wallet, other] = [await openWallet(), await openWallet()];
    for (const each of [wallet, other]) expect(await qv('claim', each)).toMatchObject({ ok: true });
    let kept: Members = {};
    const honest = lied('/cancel', (body) => {
      kept = body;
      return body;
    });
    await honest.cancelClaim({ owner: ownerFromSigner(owner), wallet: other.address });
    const lying = lied('/cancel', (body) => ({ ...kept, wallet: body['wallet'] }));
    await expectCode(lying.cancelClaim({ owner: ownerFromSigner(owner), wallet: wallet.address }), 'evidence_mismatch');
  });

  it('about the succession, has a statement signed that no enclave takes', async () => {
    const wallet = await openWallet();
    const stale = lied(wallet.address, (body) => ({ ...body, succession: null }));
    const named = { owner: ownerFromSigner(owner), wallet: wallet.address, successor: null };
    await expectCode(stale.nameSuccessor(named), 'succession_changed');
    // The refusal says which number is right.
    await stale.nameSuccessor({ ...named, change: 2 });
    const hidden = lied(wallet.address, (body) => ({ ...body, owner: party().address }));
    await expectCode(
      hidden.claimWallet({ successor: ownerFromSigner(heir), wallet: wallet.address }),
      'wallet_owner_mismatch',
    );
  });
});

/** Keeps every other writer out until the answer is called. */
function lockDatabase(): () => void {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

/** Resolves when the enclave has done it and no database knows. */
async function doneUnstored(act: Act, wallet: HttpWallet): Promise<() => void> {
  const enclave = clients.to(stack.enclaveAddresses.data);
  const leaves = async () => (await enclave.request('status', {})).leaves;
  const before = await leaves();
  const release = lockDatabase();
  void qv(act, wallet).catch(() => undefined);
  while ((await leaves()) === before) await sleep(20);
  return release;
}

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

async function killEnclave(): Promise<void> {
  stack.processes.enclave.kill('SIGKILL');
  await stack.processes.enclave.exited;
}

const AFTER = {
  name: { change: 1, takeover: null },
  claim: { change: 2, takeover: { claimedAt: expect.any(String) } },
  cancel: { change: 3, takeover: null },
} as const;
const STEPS = Object.keys(AFTER) as (keyof typeof AFTER)[];

/** With everything done that comes before that step. */
async function before(act: Act): Promise<HttpWallet> {
  const wallet = await openWallet(act !== 'name');
  if (act === 'cancel') expect(await qv('claim', wallet)).toMatchObject({ ok: true });
  return wallet;
}

describe('a crash of the host between the enclave’s answer and the database', () => {
  it.each(STEPS)(
    'at %s loses nothing: the log brings it back',
    async (act) => {
      const wallet = await before(act);
      const release = await doneUnstored(act, wallet);
      await killHost();
      release();
      await stack.restartHost();
      await untilReady(stack.url);
      await expect.poll(() => show(wallet), { timeout: 15_000 }).toMatchObject(AFTER[act]);
      expect((await kit.sign(wallet)).status).toBe(200);
      expect(await qv('remove', wallet)).toMatchObject({ ok: true, change: AFTER[act].change + 1 });
      await expectAudited(operators);
    },
    60_000,
  );
});

describe('a crash of host and enclave before anything was stored', () => {
  it.each(STEPS)(
    'at %s: nobody has an acknowledgement, and the next boot does it',
    async (act) => {
      const wallet = await before(act);
      const boot = await operators.bootOf(stack);
      await adminCall(stack.adminSocket, 'publish', {});
      const release = await doneUnstored(act, wallet);
      await killHost();
      await killEnclave();
      release();
      await stack.restartEnclave();
      await stack.restartHost();
      await newBoot(stack, operators, boot);
      expect(await operators.lease(`both-at-${act}`, boot, stack)).toMatchObject({ ok: true });
      expect((await kit.sign(wallet, later())).status).toBe(200);
      expect(await show(wallet)).toMatchObject({ change: AFTER[act].change - 1 });
      expect(await qv(act, wallet)).toMatchObject({ ok: true, ...AFTER[act] });
      await expectAudited(operators);
    },
    120_000,
  );
});

describe('a crash of the enclave while a claim runs', () => {
  it('begins the delay anew with the lease, since nobody can say that the owner had not cancelled', async () => {
    const wallet = await before('cancel');
    const boot = await operators.bootOf(stack);
    const dueBefore = ((await show(wallet))['takeover'] as { dueAt: string }).dueAt;
    await adminCall(stack.adminSocket, 'publish', {});
    await killEnclave();
    await stack.restartEnclave();
    await newBoot(stack, operators, boot);
    expect(await operators.lease('while-claimed', boot, stack)).toMatchObject({ ok: true });
    const { takeover, change } = (await show(wallet)) as unknown as { takeover: { dueAt: string }; change: number };
    expect(change).toBe(2);
    expect(Date.parse(takeover.dueAt)).toBeGreaterThan(Date.parse(dueBefore));
    expect(await qv('cancel', wallet)).toMatchObject({ ok: true, change: 3 });
    await expectAudited(operators);
  }, 120_000);
});

describe('a planned restart while a claim runs', () => {
  it('hands the claim over as it is', async () => {
    const wallet = await before('cancel');
    const { takeover } = await show(wallet);
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
    const taken = await qvJson('release', 'take', releases, '--admin', secondHost.adminSocket);
    expect(taken).toMatchObject({ ok: true, failures: [] });
    expect(await show(wallet)).toMatchObject({ change: 2, takeover });
    // The boot that had it takes no statement any more, and the one that has it goes on with the count.
    expect(await qv('cancel', wallet)).toMatchObject({ exit: 1, error: { code: 'wallet_held_elsewhere' } });
    const there = await qv('cancel', wallet, [], secondHost.url);
    expect(there).toMatchObject({ ok: true, change: 3, takeover: null });
    await expectAudited(operators);
  }, 60_000);
});
