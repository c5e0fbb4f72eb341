/**
 * The stop button on the whole appliance: each scope stops exactly its scope, ends only by whom the enclave takes it
 * from, holds whatever else fails, and outlives restarts.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { createPrivateKey, createPublicKey, sign as signEd25519 } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { writeFrame } from '@quantumvault/shared/frames.ts';
import { encodeRequest } from '@quantumvault/shared/protocol/messages.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type JsonAnswer, qvJson } from '../host/cli/call.ts';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { type Party, party, transfer } from '../support/wallet-kit.ts';

/** Not everybody's machine has it. */
const hasLimits = spawnSync('prlimit', ['--version']).error === undefined;
let stack: Stack;
let kit: HttpKit;
let kms: KmsAdmin;

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
  kms = new KmsAdmin(stack.kmsAdmin);
});
afterAll(async () => {
  kms?.close();
  await stack?.stop();
});

const admin = () => ['--admin', stack.adminSocket];
const because = ['--reason', 'drill'];
const kill = (...scope: string[]) => qvJson('kill', ...scope, ...because, ...admin());
const operator = (index: number) => join(stack.dir, 'operators', `${index}.pem`);
const keys = (...indexes: number[]) => indexes.flatMap((index) => ['--operator-key', operator(index)]);
const held = async () => (await adminCall(stack.adminSocket, 'status', {})).freezes;
const idIn = (answer: JsonAnswer): string => String((answer['enclaves'] as { freezeId: string }[])[0]?.freezeId);

/** Ends whatever holds of these scopes, so that the next test starts open. */
async function resume(scope: string[], ...how: string[]): Promise<JsonAnswer> {
  const statement = await qvJson('resume', 'statement', ...scope, ...admin());
  return await qvJson('resume', ...scope, '--freeze', String(statement['freezeId']), ...how, ...admin());
}

const statementOf = async (...scope: string[]): Promise<string> =>
  String((await qvJson('resume', 'statement', ...scope, ...admin()))['statement']);
const signedBy = (signer: Party, statement: string): string =>
  `${signer.address}:${toBase64(signer.sign(utf8(statement)))}`;

/** As an operator would elsewhere, over whatever text. */
function signedByOperator(index: number, statement: string): string {
  const key = createPrivateKey(readFileSync(operator(index)));
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  const signature = signEd25519(null, utf8(statement), key);
  return `${addressOf(Uint8Array.from(spki.subarray(-32)))}:${toBase64(Uint8Array.from(signature))}`;
}

describe('each scope', () => {
  let wallet: HttpWallet;
  let other: HttpWallet;
  beforeAll(async () => {
    wallet = await kit.openWallet();
    other = await kit.openWallet();
  });

  it('wallet: stops that wallet, stored replies included; its owner resumes it', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 7n);
    expect((await kit.sign(wallet, { id: 'stored', transaction })).status).toBe(200);
    const scope = ['--wallet', wallet.address];
    const killed = await kill(...scope);
    expect(killed).toMatchObject({ ok: true, allHold: true });
    for (const response of [await kit.sign(wallet), await kit.sign(wallet, { id: 'stored', transaction })])
      expect((await expectProblem(response, 'frozen')).path).toBe(`wallet:${wallet.address}`);
    expect((await kit.sign(other)).status).toBe(200);
    expect((await fetch(`${stack.url}/readyz`)).status).toBe(200);
    const shown = await (await fetch(`${stack.url}/v1/wallets/${wallet.address}`)).json();
    expect(shown).toMatchObject({ frozen: true });

    const statement = await statementOf(...scope);
    for (const how of [
      ['--signed', signedBy(party(), statement)],
      ['--signed', signedBy(wallet.requester, statement)],
      ['--signed', signedBy(wallet.owner, `${statement}\n`)],
      keys(1, 2, 3),
    ])
      expect(await resume(scope, ...how)).toMatchObject({ error: { code: 'statement_signature_invalid' } });
    await expectProblem(await kit.sign(wallet), 'frozen');

    expect(await resume(scope, '--signed', signedBy(wallet.owner, statement))).toMatchObject({ ok: true });
    expect((await kit.sign(wallet)).status).toBe(200);
    expect((await kit.sign(wallet, { id: 'stored', transaction })).status).toBe(200);
    expect(await held()).toEqual([]);
  });

  it('requester: stops that requester; two of three operators resume it', async () => {
    const scope = ['--requester', wallet.requester.address];
    expect(await kill(...scope)).toMatchObject({ ok: true });
    const problem = await expectProblem(await kit.sign(wallet), 'frozen');
    expect(problem.path).toBe(`requester:${wallet.requester.address}`);
    expect((await kit.sign(other)).status).toBe(200);
    const statement = await statementOf(...scope);
    for (const how of [
      keys(1),
      keys(1, 1),
      ['--signed', signedBy(wallet.owner, statement), ...keys(2)],
      ['--signed', signedByOperator(1, statement), '--signed', signedByOperator(1, statement)],
    ])
      expect(await resume(scope, ...how)).toMatchObject({ error: { code: 'operators_too_few' } });
    expect(await resume(scope, ...keys(1, 3))).toMatchObject({ ok: true, allCleared: true });
    expect((await kit.sign(wallet)).status).toBe(200);
  });

  it('fleet: stops everybody; operators resume it', async () => {
    expect(await kill('--all')).toMatchObject({ ok: true });
    for (const one of [wallet, other]) expect((await expectProblem(await kit.sign(one), 'frozen')).path).toBe('fleet');
    expect((await fetch(`${stack.url}/readyz`)).status).toBe(503);
    expect(await resume(['--all'], '--signed', signedBy(wallet.owner, await statementOf('--all')))).toMatchObject({
      error: { code: 'operators_too_few' },
    });
    expect(await resume(['--all'], ...keys(2, 3))).toMatchObject({ ok: true });
    await kit.ready();
    expect((await kit.sign(wallet)).status).toBe(200);
  });

  it('is proven live, kill and resume alike', async () => {
    const pcrs = join(stack.dir, 'witness-pcrs.json');
    const trust = [
      '--url',
      stack.url,
      '--pcrs',
      pcrs,
      '--unsafe-trusted-root',
      join(stack.dir, 'nsm-root', 'root.pem'),
    ];
    const results = (answer: JsonAnswer) => (answer['checks'] as { result: string }[]).map(({ result }) => result);
    expect(results(await kill('--all', ...trust))).toEqual(['holds', 'holds']);
    expect(results(await resume(['--all'], ...keys(1, 2), ...trust))).toEqual(['holds', 'holds']);
    await kit.ready();
  });

  it('a signature for another scope, id, boot or deployment ends nothing', async () => {
    const scope = ['--requester', wallet.requester.address];
    await kill(...scope);
    const good = await statementOf(...scope);
    const boot = String((await qvJson('resume', 'statement', ...scope, ...admin()))['boot']);
    for (const bad of [
      good.replace(wallet.requester.address, other.requester.address),
      good.replace(`requester:${wallet.requester.address}`, 'fleet'),
      good.replace(/Freeze: .*/, `Freeze: ${'0'.repeat(32)}`),
      good.replace(boot, party().address),
      good.replace(stack.deployment, 'other'),
    ]) {
      expect(bad).not.toBe(good);
      const signatures = [1, 2].flatMap((index) => ['--signed', signedByOperator(index, bad)]);
      expect(await resume(scope, ...signatures)).toMatchObject({ error: { code: 'operators_too_few' } });
    }
    const unknown = await qvJson('resume', ...scope, '--freeze', '0'.repeat(32), ...keys(1, 2), ...admin());
    expect(unknown).toMatchObject({ error: { code: 'freeze_unknown' } });
    await expectProblem(await kit.sign(wallet), 'frozen');
    expect(await resume(scope, ...keys(1, 2))).toMatchObject({ ok: true });
  });

  it('signatures of an earlier freeze end no later one', async () => {
    const scope = ['--wallet', wallet.address];
    const first = idIn(await kill(...scope));
    const signed = signedBy(wallet.owner, await statementOf(...scope));
    // Ordered again before it was used, and again after.
    const second = idIn(await kill(...scope));
    const replay = (id: string) => qvJson('resume', ...scope, '--freeze', id, '--signed', signed, ...admin());
    expect(await replay(first)).toMatchObject({ error: { code: 'freeze_unknown' } });
    expect(await replay(second)).toMatchObject({ error: { code: 'statement_signature_invalid' } });
    // Past the command, which asks what holds before it sends anything.
    const [key = '', signature = ''] = signed.split(':');
    const raw = { scope: `wallet:${wallet.address}`, freezeId: first, signatures: [{ key, signature }] };
    await expect(adminCall(stack.adminSocket, 'resume', raw)).rejects.toMatchObject({ code: 'freeze_unknown' });
    await expectProblem(await kit.sign(wallet), 'frozen');
    expect(await resume(scope, '--signed', signedBy(wallet.owner, await statementOf(...scope)))).toMatchObject({
      ok: true,
    });
    expect((await kit.sign(wallet)).status).toBe(200);
  });
});

describe('a freeze holds although', () => {
  let wallet: HttpWallet;
  beforeAll(async () => {
    wallet = await kit.openWallet();
  });
  beforeEach(async () => {
    if ((await held()).length > 0) await resume(['--all'], ...keys(1, 2));
    await untilReady(stack.url);
  });

  /** Host and enclave long before any time limit, whatever else is stuck. */
  async function expectPrompt(answer: JsonAnswer): Promise<void> {
    expect(answer).toMatchObject({ host: { held: true }, enclaves: [{ held: true }] });
    const { elapsedMilliseconds } = (answer['enclaves'] as { elapsedMilliseconds: number }[])[0] ?? {};
    expect(elapsedMilliseconds).toBeLessThan(2_000);
    expect(await adminCall(stack.adminSocket, 'status', {})).toMatchObject({ freezes: [{ scope: 'fleet' }] });
  }

  it('the database is locked', async () => {
    const locker = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
    locker.exec('BEGIN EXCLUSIVE');
    try {
      const answer = await kill('--all');
      expect(answer).toMatchObject({ exit: 1, code: 'freeze_not_held', database: { held: false } });
      await expectPrompt(answer);
    } finally {
      locker.exec('ROLLBACK');
      locker.close();
    }
    await expect.poll(() => rows().map(({ scope }) => scope), { timeout: 5_000 }).toEqual(['fleet']);
    await expectProblem(await kit.sign(wallet), 'frozen');
  });

  it.skipIf(!hasLimits)('the host’s disk is full', async () => {
    const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(stack.host.pid), `--fsize=${bytes}`]);
    limit('1:unlimited');
    try {
      const answer = await kill('--all');
      expect(answer).toMatchObject({ exit: 1, code: 'freeze_not_held', database: { held: false } });
      await expectPrompt(answer);
    } finally {
      limit('unlimited:unlimited');
    }
    await expect.poll(() => rows().map(({ scope }) => scope), { timeout: 10_000 }).toEqual(['fleet']);
  });

  it('KMS hangs, and requests wait for it until the queue is full', async () => {
    await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'hang' } });
    // More than the host's whole window to the enclave.
    const waiting = Array.from({ length: 300 }, () => kit.sign(wallet));
    await expect.poll(async () => (await kit.sign(wallet)).status, { timeout: 10_000 }).toBe(503);
    await expectPrompt(await kill('--all'));
    await kms.clearFaults();
    const codes = await Promise.all(
      waiting.map(async (answer) => ((await (await answer).json()) as { code?: string }).code),
    );
    expect(codes.filter((code) => code === undefined)).toEqual([]);
    // Ending it works as well, once the enclave answers what it was asked before.
    expect(await resume(['--all'], ...keys(1, 2))).toMatchObject({ ok: true });
    await kit.ready();
  }, 60_000);

  it('somebody’s connection to the enclave is never read', async () => {
    const data = createConnection({ path: stack.enclaveAddresses.data.replace('unix:', ''), allowHalfOpen: true });
    data.on('error', () => undefined);
    data.pause();
    for (let id = 0; id < 5_000; id++) writeFrame(data, encodeRequest(id, 'freezesGet', {}));
    await expectPrompt(await kill('--all'));
    await expectProblem(await kit.sign(wallet), 'frozen');
    data.destroy();
  });

  it('the enclave does not answer: the other places hold, and it signs nothing when it is back', async () => {
    stack.processes.enclave.kill('SIGSTOP');
    const answer = await kill('--all');
    expect(answer).toMatchObject({
      exit: 1,
      host: { held: true },
      enclaves: [{ held: false }],
      database: { held: true },
    });
    await expectProblem(await kit.sign(wallet), 'frozen');
    stack.processes.enclave.kill('SIGCONT');
    await expect
      .poll(async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.phase, { timeout: 15_000 })
      .toBe('frozen');
  }, 30_000);
});

describe('without the host', () => {
  let wallet: HttpWallet;
  const direct = (...scope: string[]) => qvJson('kill', ...scope, ...because, '--config', stack.hostConfigFile);
  const ordersOnDisk = () => readdirSync(join(stack.dir, 'freezes'));
  beforeAll(async () => {
    if ((await held()).length > 0) await resume(['--all'], ...keys(1, 2));
    await untilReady(stack.url);
    wallet = await kit.openWallet();
  });

  it('killed: the enclave holds, the next start knows, and the freeze ends by its one id', async () => {
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    const killed = await direct('--wallet', wallet.address);
    expect(killed).toMatchObject({ ok: true, enclaves: [{ held: true }], marker: { held: true } });
    expect(ordersOnDisk()).toHaveLength(1);
    await stack.restartHost();
    expect((await held()).map(({ scope }) => scope)).toEqual([`wallet:${wallet.address}`]);
    await expect.poll(ordersOnDisk, { timeout: 5_000 }).toEqual([]);
    expect(rows()).toHaveLength(1);
    await untilReady(stack.url);
    await expectProblem(await kit.sign(wallet), 'frozen');
    const scope = ['--wallet', wallet.address];
    const statement = await statementOf(...scope);
    expect(statement).toContain(`Freeze: ${idIn(killed)}`);
    expect(await resume(scope, '--signed', signedBy(wallet.owner, statement))).toMatchObject({ ok: true });
    expect((await kit.sign(wallet)).status).toBe(200);
    expect(rows()).toEqual([]);
  }, 60_000);

  it('stopped: the enclave holds within seconds, and the host when it goes on', async () => {
    stack.host.kill('SIGSTOP');
    const killed = await direct('--all');
    expect(killed).toMatchObject({ ok: true, enclaves: [{ held: true }], marker: { held: true } });
    stack.host.kill('SIGCONT');
    await expect.poll(async () => (await kit.sign(wallet)).status, { timeout: 5_000 }).toBe(423);
    await expect.poll(ordersOnDisk, { timeout: 5_000 }).toEqual([]);
    expect(await held()).toMatchObject([{ scope: 'fleet' }]);
    await expect.poll(async () => (await resume(['--all'], ...keys(1, 2))).ok, { timeout: 5_000 }).toBe(true);
    await untilReady(stack.url);
    // Nothing left on disk freezes again what was resumed.
    await stack.restartHost();
    await untilReady(stack.url);
    expect((await kit.sign(wallet)).status).toBe(200);
  }, 60_000);
});

describe('restarts', () => {
  const restartEnclave = async () => {
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await stack.restartEnclave();
  };
  const enclaveScopes = async () =>
    (await adminCall(stack.adminSocket, 'status', {})).enclave?.freezes?.held.map(({ scope }) => scope);

  it('of the enclave, killed between freeze and signature: the next boot has it before it can sign', async () => {
    const wallet = await kit.openWallet();
    const scope = `requester:${wallet.requester.address}`;
    const first = idIn(await kill('--requester', wallet.requester.address));
    const statement = await statementOf('--requester', wallet.requester.address);
    await restartEnclave();
    await expect.poll(enclaveScopes, { timeout: 15_000 }).toEqual([scope]);
    await untilReady(stack.url);
    await expectProblem(await kit.sign(wallet), 'frozen');
    // What operators signed for the boot that is gone ends nothing in this one.
    const [one = '', two = ''] = [1, 2].map((index) => signedByOperator(index, statement));
    const old = ['--signed', one, '--signed', two];
    const again = await qvJson(
      'resume',
      '--requester',
      wallet.requester.address,
      '--freeze',
      first,
      ...old,
      ...admin(),
    );
    expect(again).toMatchObject({ error: { code: 'freeze_unknown' } });
    expect(await resume(['--requester', wallet.requester.address], ...old)).toMatchObject({
      error: { code: 'operators_too_few' },
    });
    expect(await resume(['--requester', wallet.requester.address], ...keys(1, 2))).toMatchObject({ ok: true });
  }, 60_000);

  it('of the enclave, dead when it was ordered', async () => {
    const wallet = await kit.openWallet();
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    expect(await kill('--requester', wallet.requester.address)).toMatchObject({
      code: 'freeze_not_held',
      host: { held: true },
      enclaves: [{ held: false, code: 'enclave_unavailable' }],
      database: { held: true },
    });
    await restartEnclave();
    await expect.poll(enclaveScopes, { timeout: 15_000 }).toEqual([`requester:${wallet.requester.address}`]);
  }, 60_000);

  it('of both, at once', async () => {
    const before = (await held()).map(({ scope }) => scope);
    expect(before).toHaveLength(1);
    const extra = party().address;
    await kill('--wallet', extra);
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    await restartEnclave();
    await stack.restartHost();
    const scopes = [...before, `wallet:${extra}`].toSorted();
    await expect.poll(async () => (await enclaveScopes())?.toSorted(), { timeout: 15_000 }).toEqual(scopes);
    expect((await held()).map(({ scope }) => scope).toSorted()).toEqual(scopes);
    expect(new Set((await held()).map(({ boot }) => boot)).size).toBe(1);
  }, 60_000);
});

function rows(): { scope: string }[] {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  try {
    return database.prepare('SELECT scope FROM freezes').all() as { scope: string }[];
  } finally {
    database.close();
  }
}
