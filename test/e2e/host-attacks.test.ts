/**
 * The whole appliance over HTTP. Somebody with the database alone edits, swaps and replays rows; clients send what
 * they should not; parts fail. Nothing signs that should not, and each refusal has its own code.
 */
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { addressBytes } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { party, transfer } from '../support/wallet-kit.ts';

let stack: Stack;
let kit: HttpKit;
let wallet: HttpWallet;
let database: DatabaseSync;

const rowOf = (own: HttpWallet) =>
  database.prepare('SELECT * FROM wallets WHERE wallet = ?').get(own.address) as Record<string, Uint8Array>;

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

describe('an honest client', () => {
  it('gets a signature of the wallet over its message, and a receipt', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 42n);
    const response = await kit.sign(wallet, { transaction });
    expect(response.status).toBe(200);
    const reply = (await response.json()) as { signature: string; lamportsOut: string; receipt: { leaf: string } };
    const message = new Uint8Array(transaction.serializeMessage());
    expect(nacl.sign.detached.verify(message, fromBase58(reply.signature, 64), addressBytes(wallet.address))).toBe(
      true,
    );
    expect(reply.lamportsOut).toBe('42');
    expect(decodeLeaf(fromBase64(reply.receipt.leaf))).toMatchObject({ kind: 'signed', wallet: wallet.address });
  });

  it('gets the same reply for the same id, 422 for another body, after a restart too', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 1n);
    const first = await (await kit.sign(wallet, { id: 'same', transaction })).text();
    expect(await (await kit.sign(wallet, { id: 'same', transaction })).text()).toBe(first);
    await expectProblem(await kit.sign(wallet, { id: 'same', lamports: 2n }), 'request_id_reused');
    await stack.restartHost();
    await kit.ready();
    expect(await (await kit.sign(wallet, { id: 'same', transaction })).text()).toBe(first);
  });

  it('is told the rule and the value that denied, with a receipt', async () => {
    const problem = await expectProblem(await kit.sign(wallet, { lamports: 1_000_001n }), 'policy_denied');
    expect(problem).toMatchObject({ rule: 'sol.maxPerTransaction', value: '1000001' });
    expect(decodeLeaf(fromBase64(problem.receipt?.leaf ?? ''))).toMatchObject({ kind: 'denied' });
  });

  it('finds every signature and denial in the log, in one chain', () => {
    const rows = database.prepare('SELECT boot, sequence, leaf FROM leaves ORDER BY boot, sequence').all();
    expect(rows.map(({ sequence }) => Number(sequence))).toEqual(rows.map((_, index) => index));
  });
});

describe('the database administrator', () => {
  const columns = [
    'owner',
    'salt',
    'execution_key',
    'sealed_seed',
    'policy',
    'policy_mac',
    'sealed_state',
    'state_version',
    'generation',
    'created_at',
    'row_mac',
  ];
  const restore = (own: HttpWallet, row: Record<string, Uint8Array>): void => {
    const names = Object.keys(row).filter((name) => name !== 'wallet');
    const assignments = names.map((name) => `${name} = ?`).join(', ');
    database
      .prepare(`UPDATE wallets SET ${assignments} WHERE wallet = ?`)
      .run(...names.map((name) => row[name] ?? null), own.address);
  };

  it.each(columns)('who edits %s is found out before the enclave is asked', async (column) => {
    const before = rowOf(wallet);
    const value = before[column] as unknown;
    const edited =
      value instanceof Uint8Array
        ? value.map((byte, index) => (index === 0 ? byte ^ 1 : byte))
        : typeof value === 'string'
          ? party().address
          : Number(value) + 1;
    database.prepare(`UPDATE wallets SET ${column} = ? WHERE wallet = ?`).run(edited as never, wallet.address);
    await expectProblem(await kit.sign(wallet), 'row_tampered');
    restore(wallet, before);
    expect((await kit.sign(wallet)).status).toBe(200);
  });

  it('who swaps whole rows or single blobs between wallets is found out', async () => {
    const other = await kit.openWallet();
    const before = rowOf(wallet);
    restore(wallet, rowOf(other));
    await expectProblem(await kit.sign(wallet), 'row_tampered');
    restore(wallet, before);
    for (const column of ['salt', 'execution_key', 'sealed_seed', 'policy', 'sealed_state']) {
      database
        .prepare(`UPDATE wallets SET ${column} = (SELECT ${column} FROM wallets WHERE wallet = ?) WHERE wallet = ?`)
        .run(other.address, wallet.address);
      await expectProblem(await kit.sign(wallet), 'row_tampered');
      restore(wallet, before);
    }
  });

  it('who replays a whole older row, MAC and all, gains nothing: the enclave knows which policy counts', async () => {
    const own = await kit.openWallet();
    const older = rowOf(own);
    const previous = older['policy'];
    const tight = kit.enablingBody(kit.documentFor(own, { epoch: 2, maxLamports: '10' }), own.owner, previous);
    expect((await kit.http(`/v1/wallets/${own.address}/policy`, 'PUT', tight)).status).toBe(200);
    restore(own, older);
    // The row MAC of the older row is genuine; it stops edits, not replays. The enclave stops the replay.
    await expectProblem(await kit.sign(own, { lamports: 500n }), 'policy_not_current');
  });

  it('who locks the database stalls nobody for long, and nothing is lost', async () => {
    const locker = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
    locker.exec('BEGIN EXCLUSIVE');
    const id = 'while-locked';
    const transaction = transfer(wallet.address, wallet.destination, 3n);
    await expectProblem(await kit.sign(wallet, { id, transaction }), 'store_unavailable');
    expect((await fetch(`${stack.url}/healthz`)).status).toBe(200);
    locker.exec('ROLLBACK');
    locker.close();
    await expect.poll(async () => (await kit.sign(wallet, { id, transaction })).status, { timeout: 10_000 }).toBe(200);
  });
});

describe('the wrong owner', () => {
  it('cannot enable a policy for a wallet of another, nor change one', async () => {
    const thief = party();
    const stolen = { ...kit.documentFor(wallet, { epoch: 5 }), owner: thief.address, requesters: [thief.address] };
    const previous = rowOf(wallet)['policy'];
    const path = `/v1/wallets/${wallet.address}/policy`;
    await expectProblem(
      await kit.http(path, 'PUT', kit.enablingBody(stolen, thief, previous)),
      'wallet_owner_mismatch',
    );
    const forged = kit.enablingBody(kit.documentFor(wallet, { epoch: 5 }), thief, previous);
    await expectProblem(await kit.http(path, 'PUT', forged), 'statement_signature_invalid');
    await expectProblem(
      await kit.http(path, 'PUT', kit.enablingBody(kit.documentFor(wallet, { epoch: 1 }), wallet.owner, previous)),
      'policy_epoch_not_increasing',
    );
    await expectProblem(
      await kit.http(path, 'PUT', kit.enablingBody(kit.documentFor(wallet, { epoch: 5 }), wallet.owner, undefined)),
      'policy_previous_mismatch',
    );
    const other = await kit.openWallet();
    await expectProblem(await kit.http(`/v1/wallets/${other.address}/policy`, 'PUT', forged), 'wallet_mismatch');
    await expectProblem(
      await kit.http(
        `/v1/wallets/${party().address}/policy`,
        'PUT',
        kit.enablingBody({ ...kit.documentFor(wallet), wallet: party().address }, wallet.owner, undefined),
      ),
      'wallet_mismatch',
    );
  });
});

describe('a request', () => {
  it('that is malformed gets its own code, and changes nothing', async () => {
    const before = database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address);
    await expectProblem(await kit.sign(wallet, { headers: { 'webhook-id': 'a b' } }), 'request_id_malformed');
    await expectProblem(
      await kit.sign(wallet, { headers: { 'webhook-timestamp': '1.5' } }),
      'request_timestamp_malformed',
    );
    await expectProblem(
      await kit.sign(wallet, { headers: { 'webhook-signature': 'v1a,AAAA' } }),
      'request_signature_malformed',
    );
    await expectProblem(
      await kit.sign(wallet, { headers: { 'webhook-signature': 'v2,AAAA' } }),
      'request_signature_malformed',
    );
    await expectProblem(
      await kit.sign(wallet, { headers: { 'content-type': 'text/plain' } }),
      'media_type_unsupported',
    );
    await expectProblem(await kit.sign(wallet, { sent: (body) => `${body},` }), 'json_malformed');
    await expectProblem(
      await kit.sign(wallet, { sent: (body) => body.replace('{', '{"purpose":"qv/sign/v1",') }),
      'json_malformed',
    );
    await expectProblem(await kit.sign(wallet, { body: { extra: true } }), 'field_malformed');
    await expectProblem(await kit.sign(wallet, { body: { purpose: 'qv/create-wallet/v1' } }), 'purpose_mismatch');
    await expectProblem(await kit.sign(wallet, { body: { audience: 'elsewhere' } }), 'audience_mismatch');
    await expectProblem(await kit.sign(wallet, { body: { transaction: '***' } }), 'base64_malformed');
    await expectProblem(await kit.sign(wallet, { body: { wallet: '0OIl' } }), 'base58_malformed');
    await expectProblem(await kit.sign(wallet, { body: { wallet: party().address } }), 'wallet_unknown');
    await expectProblem(await kit.sign(wallet, { body: { transaction: 'AAAA' } }), 'transaction_truncated');
    await expectProblem(
      await kit.sign(wallet, { body: { padding: 'x'.repeat(LIMITS.requestBodyBytes) } }),
      'body_too_large',
    );
    await expectProblem(await kit.sign(wallet, { timestamp: 1 }), 'request_stale');
    await expectProblem(await kit.sign(wallet, { signer: party() }), 'request_signature_invalid');
    await expectProblem(await kit.sign(wallet, { signer: wallet.owner }), 'request_signature_invalid');
    expect(database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address)).toEqual(before);
  });

  it('that was a dry run is never one that signs', async () => {
    const verdict = await (await kit.sign(wallet, { body: { dryRun: true } })).json();
    expect(verdict).toMatchObject({ verdict: 'allow', lamportsOut: '1000' });
    expect(verdict).not.toHaveProperty('signature');
    const stripped = await kit.sign(wallet, {
      body: { dryRun: true },
      sent: (body) => body.replace(',"dryRun":true', ''),
    });
    await expectProblem(stripped, 'request_signature_invalid');
  });
});

describe('what the host depends on', () => {
  it('KMS, when it refuses, is named; afterwards requests work', async () => {
    const kms = new KmsAdmin(stack.kmsAdmin);
    await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'refuse', error: 'AccessDeniedException' } });
    await expectProblem(await kit.sign(wallet), 'kms_refused');
    await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'drop', when: 'before' } });
    await expectProblem(await kit.sign(wallet), 'kms_unavailable');
    await kms.clearFaults();
    expect((await kit.sign(wallet)).status).toBe(200);
    kms.close();
  });

  it('the enclave, when it is gone, is named; the next boot does not sign for the last one’s wallets', async () => {
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await expectProblem(await kit.sign(wallet), 'enclave_unavailable');
    await expect.poll(async () => (await fetch(`${stack.url}/readyz`)).status, { timeout: 10_000 }).toBe(503);
    await stack.restartEnclave();
    await kit.ready();
    await expectProblem(await kit.sign(wallet), 'wallet_held_elsewhere');
    wallet = await kit.openWallet();
    expect((await kit.sign(wallet)).status).toBe(200);
  });
});

describe('a freeze', () => {
  it('holds in host, enclave and database, for stored replies too, and survives both restarts', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 9n);
    expect((await kit.sign(wallet, { id: 'before-freeze', transaction })).status).toBe(200);
    const report = await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'drill' });
    expect(report).toMatchObject({ host: { held: true }, enclaves: [{ held: true }], database: { held: true } });
    await expectProblem(await kit.sign(wallet), 'frozen');
    await expectProblem(await kit.sign(wallet, { id: 'before-freeze', transaction }), 'frozen');
    await stack.restartHost();
    await expect.poll(async () => (await kit.sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    // The database forgets, the enclave does not.
    database.exec('DELETE FROM freezes');
    await stack.restartHost();
    await expect.poll(async () => (await kit.sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    // The enclave restarts, the host told the database again meanwhile.
    await expect
      .poll(() => database.prepare('SELECT count(*) AS n FROM freezes').get(), { timeout: 5_000 })
      .toEqual({ n: 1 });
    await stack.restartEnclave();
    await expect.poll(async () => (await kit.sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    await expect
      .poll(
        async () =>
          ((await (await fetch(`${stack.url}/readyz`)).json()) as { enclave: { phase: string } }).enclave.phase,
        { timeout: 10_000 },
      )
      .toBe('frozen');
  });
});
