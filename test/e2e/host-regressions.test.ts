/** Faults that were found by attacking the host, each of which must not come back. Over the whole appliance. */
import { connect } from 'node:net';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { creation, party, transfer } from '../support/wallet-kit.ts';

let stack: Stack;
let kit: HttpKit;
let wallet: HttpWallet;
let database: DatabaseSync;

beforeAll(async () => {
  stack = await startStack();
  kit = httpKit(stack);
  database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('PRAGMA busy_timeout = 2000');
  wallet = await kit.openWallet();
});
afterAll(async () => {
  database?.close();
  await stack?.stop();
});

const gaps = (): number => {
  const row = database.prepare('SELECT count(*) AS stored, max(sequence) + 1 AS next FROM leaves GROUP BY boot').get();
  return Number(row?.['next']) - Number(row?.['stored']);
};

describe('a busy wallet', () => {
  it('goes on signing however large its state has grown, and takes a new policy then', async () => {
    const own = await kit.openWallet();
    for (let batch = 0; batch < 12; batch++) {
      const replies = await Promise.all(Array.from({ length: 50 }, () => kit.sign(own)));
      expect(replies.map(({ status }) => status)).toEqual(Array<number>(50).fill(200));
    }
    const row = database.prepare('SELECT policy, sealed_state FROM wallets WHERE wallet = ?').get(own.address);
    expect(row?.['sealed_state']).toHaveProperty(
      'length',
      expect.toSatisfy((length: number) => length > 15_000),
    );
    const next = kit.enablingBody(kit.documentFor(own, { epoch: 2 }), own.owner, row?.['policy'] as Uint8Array);
    expect((await kit.http(`/v1/wallets/${own.address}/policy`, 'PUT', next)).status).toBe(200);
    expect((await kit.sign(own)).status).toBe(200);
  }, 60_000);
});

describe('the log', () => {
  it('has no gap after the host was killed under load', async () => {
    for (let round = 0; round < 3; round++) {
      const requests = Array.from({ length: 40 }, () => kit.sign(wallet).catch(() => undefined));
      await new Promise((resolve) => setTimeout(resolve, 25));
      stack.host.kill('SIGKILL');
      await Promise.all(requests);
      await stack.restartHost();
      await kit.ready();
    }
    expect((await kit.sign(wallet)).status).toBe(200);
    await expect.poll(gaps, { timeout: 15_000 }).toBe(0);
  }, 60_000);
});

describe('the database administrator', () => {
  it('who edits a stored reply, or puts a denial in its place, is found out', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 1n);
    expect((await kit.sign(wallet, { id: 'stored', transaction })).status).toBe(200);
    const edit = (sql: string, ...values: (string | number)[]) =>
      database.prepare(`UPDATE replies SET ${sql} WHERE id = 'stored'`).run(...values);
    const before = database.prepare("SELECT reply FROM replies WHERE id = 'stored'").get()?.['reply'] as string;
    for (const reply of [
      '{}',
      'garbage',
      '',
      before.replace('signature', 'sIgnature'),
      `${'0'.repeat(64)}${before.slice(64)}`,
    ]) {
      edit('reply = ?', reply);
      await expectProblem(await kit.sign(wallet, { id: 'stored', transaction }), 'row_tampered');
    }
    edit('reply = ?', before);
    edit('status = 403');
    await expectProblem(await kit.sign(wallet, { id: 'stored', transaction }), 'row_tampered');
    edit('status = 200');
    expect((await kit.sign(wallet, { id: 'stored', transaction })).status).toBe(200);
  });

  it('who swaps the answers to two creations gives nobody another one’s wallet', async () => {
    const bodies = [party(), party()].map((owner) => creation(stack.deployment, owner, [party()]));
    const send = (index: number) => kit.create(bodies[index] as ReturnType<typeof creation>);
    expect([(await send(0)).status, (await send(1)).status]).toEqual([201, 201]);
    const [first, second] = bodies.map(({ owner }) =>
      database.prepare('SELECT * FROM creations WHERE owner = ?').get(owner),
    );
    database
      .prepare('UPDATE creations SET reply = ?, wallet = ? WHERE owner = ?')
      .run(second?.['reply'] ?? '', second?.['wallet'] ?? '', first?.['owner'] ?? '');
    await expectProblem(await send(0), 'row_tampered');
    expect((await send(1)).status).toBe(201);
  });
});

describe('the stop button', () => {
  it('works although many connections to the admin socket only wait', async () => {
    const idle = Array.from({ length: LIMITS.adminConnections + 4 }, () => connect(stack.adminSocket));
    for (const socket of idle) socket.on('error', () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const status = await adminCall(stack.adminSocket, 'status', {});
    expect(status.enclave?.phase).toBe('serving');
    // Of a stranger, who is stopped for nobody else.
    const order = { scope: `requester:${party().address}`, reason: 'drill' };
    const report = await adminCall(stack.adminSocket, 'freeze', order);
    expect(report).toMatchObject({ host: { held: true }, enclaves: [{ held: true }], database: { held: true } });
    for (const socket of idle) socket.destroy();
  });

  it('works although somebody wrote nonsense into the freezes of the database', async () => {
    database
      .prepare('INSERT INTO freezes (scope, reason, latched_at) VALUES (?, ?, ?)')
      .run('everything', `\u001b]0;${'x'.repeat(400)}`, 9e15);
    await stack.restartHost();
    // A row that nobody can read is still a freeze, and reaches the enclave.
    await expect
      .poll(async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.phase, { timeout: 15_000 })
      .toBe('frozen');
    // Rows are checked before anything is said of them, and their key comes a moment later.
    await expect.poll(async () => (await adminCall(stack.adminSocket, 'status', {})).rowKey).toBe(true);
    await expectProblem(await kit.sign(wallet), 'frozen');
    const report = await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'drill' });
    expect(report).toMatchObject({ host: { held: true }, enclaves: [{ held: true }], database: { held: true } });
  });
});
