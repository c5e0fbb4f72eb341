/**
 * The whole appliance over HTTP. Somebody with the database alone edits, swaps and replays rows; clients send what
 * they should not; parts fail. Nothing signs that should not, and each refusal has its own code.
 */
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type Address, address, addressBytes } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy, policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { renderPolicyStatement } from '@quantumvault/shared/policy/statement.ts';
import { signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Transaction } from '@solana/web3.js';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import {
  creation,
  type Party,
  party,
  policyDocument,
  secondsFromNow,
  transfer,
  wireOf,
} from '../support/wallet-kit.ts';

interface Wallet {
  readonly address: Address;
  readonly owner: Party;
  readonly requester: Party;
  readonly destination: Address;
}

let stack: Stack;
let wallet: Wallet;
let database: DatabaseSync;
let counter = 0;

const http = (path: string, method: string, body: unknown): Promise<Response> =>
  fetch(stack.url + path, {
    method,
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });

function creationBody(owner: Party, requester: Party): Record<string, unknown> {
  const { deployment, nonce, requesters, createBefore, signature } = creation(stack.deployment, owner, [requester]);
  return {
    purpose: 'qv/create-wallet/v1',
    deployment,
    owner: owner.address,
    nonce: toHex(nonce),
    requesters,
    createBefore: formatTime(createBefore),
    signature: toBase64(signature),
  };
}

/** What the owner sends to enable a policy. `signer` is who really signs. */
function enablingBody(document: Record<string, unknown>, signer: Party, previous: Uint8Array | undefined) {
  const policy = parsePolicy(document);
  const enableBeforeMs = secondsFromNow(600);
  const previousHash = previous === undefined ? undefined : policyHash(previous);
  const facts = {
    policy,
    policyHash: policyHash(policyBytes(policy)),
    deployment: stack.deployment,
    previousHash,
    enableBeforeMs,
  };
  return {
    policy: document,
    previousHash: previousHash === undefined ? null : toHex(previousHash),
    enableBefore: formatTime(enableBeforeMs),
    signature: toBase64(signer.sign(utf8(renderPolicyStatement(facts)))),
  };
}

const documentFor = (own: Wallet, change: { epoch?: number; maxLamports?: string } = {}) =>
  policyDocument({
    wallet: own.address,
    owner: own.owner.address,
    requesters: [own.requester.address],
    destinations: [own.destination],
    ...change,
  });

async function openWallet(): Promise<Wallet> {
  const [owner, requester] = [party(), party()];
  const created = await http('/v1/wallets', 'POST', creationBody(owner, requester));
  expect(created.status).toBe(201);
  const reply = (await created.json()) as { wallet: string };
  const own = { address: address(reply.wallet), owner, requester, destination: party().address };
  const enabled = await http(
    `/v1/wallets/${own.address}/policy`,
    'PUT',
    enablingBody(documentFor(own), owner, undefined),
  );
  expect(enabled.status).toBe(200);
  return own;
}

interface SignOptions {
  readonly id?: string;
  readonly timestamp?: number;
  readonly transaction?: Transaction;
  readonly lamports?: bigint;
  readonly body?: Record<string, unknown>;
  readonly signer?: Party;
  readonly headers?: Record<string, string>;
  /** Sent in place of the body that was signed. */
  readonly sent?: (body: string) => string;
}

function sign(own: Wallet, options: SignOptions = {}): Promise<Response> {
  const id = options.id ?? `r-${counter++}`;
  const timestamp = String(options.timestamp ?? Math.floor(Date.now() / 1000));
  const transaction = options.transaction ?? transfer(own.address, own.destination, options.lamports ?? 1_000n);
  const body = JSON.stringify({
    purpose: 'qv/sign/v1',
    audience: stack.deployment,
    wallet: own.address,
    transaction: toBase64(wireOf(transaction)),
    ...options.body,
  });
  const signature = (options.signer ?? own.requester).sign(signedContent(id, timestamp, utf8(body)));
  return fetch(`${stack.url}/v1/sign`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1a,${toBase64(signature)}`,
      ...options.headers,
    },
    body: options.sent?.(body) ?? body,
  });
}

const rowOf = (own: Wallet) =>
  database.prepare('SELECT * FROM wallets WHERE wallet = ?').get(own.address) as Record<string, Uint8Array>;

async function ready(): Promise<void> {
  await expect.poll(async () => (await fetch(`${stack.url}/readyz`)).status, { timeout: 15_000 }).toBe(200);
}

beforeAll(async () => {
  stack = await startStack();
  database = new DatabaseSync(stack.databaseFile);
  database.exec('PRAGMA busy_timeout = 2000');
  wallet = await openWallet();
});
afterAll(async () => {
  database?.close();
  await stack?.stop();
});

describe('an honest client', () => {
  it('gets a signature of the wallet over its message, and a receipt', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 42n);
    const response = await sign(wallet, { transaction });
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
    const first = await (await sign(wallet, { id: 'same', transaction })).text();
    expect(await (await sign(wallet, { id: 'same', transaction })).text()).toBe(first);
    await expectProblem(await sign(wallet, { id: 'same', lamports: 2n }), 'request_id_reused');
    await stack.restartHost();
    await ready();
    expect(await (await sign(wallet, { id: 'same', transaction })).text()).toBe(first);
  });

  it('is told the rule and the value that denied, with a receipt', async () => {
    const problem = await expectProblem(await sign(wallet, { lamports: 1_000_001n }), 'policy_denied');
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
  const restore = (own: Wallet, row: Record<string, Uint8Array>): void => {
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
    await expectProblem(await sign(wallet), 'row_tampered');
    restore(wallet, before);
    expect((await sign(wallet)).status).toBe(200);
  });

  it('who swaps whole rows or single blobs between wallets is found out', async () => {
    const other = await openWallet();
    const before = rowOf(wallet);
    restore(wallet, rowOf(other));
    await expectProblem(await sign(wallet), 'row_tampered');
    restore(wallet, before);
    for (const column of ['salt', 'execution_key', 'sealed_seed', 'policy', 'sealed_state']) {
      database
        .prepare(`UPDATE wallets SET ${column} = (SELECT ${column} FROM wallets WHERE wallet = ?) WHERE wallet = ?`)
        .run(other.address, wallet.address);
      await expectProblem(await sign(wallet), 'row_tampered');
      restore(wallet, before);
    }
  });

  it('who replays a whole older row, MAC and all, gains nothing: the enclave knows which policy counts', async () => {
    const own = await openWallet();
    const older = rowOf(own);
    const previous = older['policy'];
    const tight = enablingBody(documentFor(own, { epoch: 2, maxLamports: '10' }), own.owner, previous);
    expect((await http(`/v1/wallets/${own.address}/policy`, 'PUT', tight)).status).toBe(200);
    restore(own, older);
    // The row MAC of the older row is genuine; it stops edits, not replays. The enclave stops the replay.
    await expectProblem(await sign(own, { lamports: 500n }), 'policy_not_current');
  });

  it('who locks the database stalls nobody for long, and nothing is lost', async () => {
    const locker = new DatabaseSync(stack.databaseFile);
    locker.exec('BEGIN EXCLUSIVE');
    const id = 'while-locked';
    const transaction = transfer(wallet.address, wallet.destination, 3n);
    await expectProblem(await sign(wallet, { id, transaction }), 'store_unavailable');
    expect((await fetch(`${stack.url}/healthz`)).status).toBe(200);
    locker.exec('ROLLBACK');
    locker.close();
    await expect.poll(async () => (await sign(wallet, { id, transaction })).status, { timeout: 10_000 }).toBe(200);
  });
});

describe('the wrong owner', () => {
  it('cannot enable a policy for a wallet of another, nor change one', async () => {
    const thief = party();
    const stolen = { ...documentFor(wallet, { epoch: 5 }), owner: thief.address, requesters: [thief.address] };
    const previous = rowOf(wallet)['policy'];
    const path = `/v1/wallets/${wallet.address}/policy`;
    await expectProblem(await http(path, 'PUT', enablingBody(stolen, thief, previous)), 'wallet_owner_mismatch');
    const forged = enablingBody(documentFor(wallet, { epoch: 5 }), thief, previous);
    await expectProblem(await http(path, 'PUT', forged), 'statement_signature_invalid');
    await expectProblem(
      await http(path, 'PUT', enablingBody(documentFor(wallet, { epoch: 1 }), wallet.owner, previous)),
      'policy_epoch_not_increasing',
    );
    await expectProblem(
      await http(path, 'PUT', enablingBody(documentFor(wallet, { epoch: 5 }), wallet.owner, undefined)),
      'policy_previous_mismatch',
    );
    const other = await openWallet();
    await expectProblem(await http(`/v1/wallets/${other.address}/policy`, 'PUT', forged), 'wallet_mismatch');
    await expectProblem(
      await http(
        `/v1/wallets/${party().address}/policy`,
        'PUT',
        enablingBody({ ...documentFor(wallet), wallet: party().address }, wallet.owner, undefined),
      ),
      'wallet_mismatch',
    );
  });
});

describe('a request', () => {
  it('that is malformed gets its own code, and changes nothing', async () => {
    const before = database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address);
    await expectProblem(await sign(wallet, { headers: { 'webhook-id': 'a b' } }), 'request_id_malformed');
    await expectProblem(await sign(wallet, { headers: { 'webhook-timestamp': '1.5' } }), 'request_timestamp_malformed');
    await expectProblem(
      await sign(wallet, { headers: { 'webhook-signature': 'v1a,AAAA' } }),
      'request_signature_malformed',
    );
    await expectProblem(
      await sign(wallet, { headers: { 'webhook-signature': 'v2,AAAA' } }),
      'request_signature_malformed',
    );
    await expectProblem(await sign(wallet, { headers: { 'content-type': 'text/plain' } }), 'media_type_unsupported');
    await expectProblem(await sign(wallet, { sent: (body) => `${body},` }), 'json_malformed');
    await expectProblem(
      await sign(wallet, { sent: (body) => body.replace('{', '{"purpose":"qv/sign/v1",') }),
      'json_malformed',
    );
    await expectProblem(await sign(wallet, { body: { extra: true } }), 'field_malformed');
    await expectProblem(await sign(wallet, { body: { purpose: 'qv/create-wallet/v1' } }), 'purpose_mismatch');
    await expectProblem(await sign(wallet, { body: { audience: 'elsewhere' } }), 'audience_mismatch');
    await expectProblem(await sign(wallet, { body: { transaction: '***' } }), 'base64_malformed');
    await expectProblem(await sign(wallet, { body: { wallet: '0OIl' } }), 'base58_malformed');
    await expectProblem(await sign(wallet, { body: { wallet: party().address } }), 'wallet_unknown');
    await expectProblem(await sign(wallet, { body: { transaction: 'AAAA' } }), 'transaction_truncated');
    await expectProblem(
      await sign(wallet, { body: { padding: 'x'.repeat(LIMITS.requestBodyBytes) } }),
      'body_too_large',
    );
    await expectProblem(await sign(wallet, { timestamp: 1 }), 'request_stale');
    await expectProblem(await sign(wallet, { signer: party() }), 'request_signature_invalid');
    await expectProblem(await sign(wallet, { signer: wallet.owner }), 'request_signature_invalid');
    expect(database.prepare('SELECT state_version FROM wallets WHERE wallet = ?').get(wallet.address)).toEqual(before);
  });

  it('that was a dry run is never one that signs', async () => {
    const verdict = await (await sign(wallet, { body: { dryRun: true } })).json();
    expect(verdict).toMatchObject({ verdict: 'allow', lamportsOut: '1000' });
    expect(verdict).not.toHaveProperty('signature');
    const stripped = await sign(wallet, { body: { dryRun: true }, sent: (body) => body.replace(',"dryRun":true', '') });
    await expectProblem(stripped, 'request_signature_invalid');
  });
});

describe('what the host depends on', () => {
  it('KMS, when it refuses, is named; afterwards requests work', async () => {
    const kms = new KmsAdmin(stack.kmsAdmin);
    await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'refuse', error: 'AccessDeniedException' } });
    await expectProblem(await sign(wallet), 'kms_refused');
    await kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'drop', when: 'before' } });
    await expectProblem(await sign(wallet), 'kms_unavailable');
    await kms.clearFaults();
    expect((await sign(wallet)).status).toBe(200);
    kms.close();
  });

  it('the enclave, when it is gone, is named; the next boot does not sign for the last one’s wallets', async () => {
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    await expectProblem(await sign(wallet), 'enclave_unavailable');
    await expect.poll(async () => (await fetch(`${stack.url}/readyz`)).status, { timeout: 10_000 }).toBe(503);
    await stack.restartEnclave();
    await ready();
    await expectProblem(await sign(wallet), 'wallet_held_elsewhere');
    wallet = await openWallet();
    expect((await sign(wallet)).status).toBe(200);
  });
});

describe('a freeze', () => {
  it('holds in host, enclave and database, for stored replies too, and survives both restarts', async () => {
    const transaction = transfer(wallet.address, wallet.destination, 9n);
    expect((await sign(wallet, { id: 'before-freeze', transaction })).status).toBe(200);
    const report = await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'drill' });
    expect(report).toMatchObject({ host: { held: true }, enclave: { held: true }, database: { held: true } });
    await expectProblem(await sign(wallet), 'frozen');
    await expectProblem(await sign(wallet, { id: 'before-freeze', transaction }), 'frozen');
    await stack.restartHost();
    await expect.poll(async () => (await sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    // The database forgets, the enclave does not.
    database.exec('DELETE FROM freezes');
    await stack.restartHost();
    await expect.poll(async () => (await sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    // The enclave restarts, the host told the database again meanwhile.
    await expect
      .poll(() => database.prepare('SELECT count(*) AS n FROM freezes').get(), { timeout: 5_000 })
      .toEqual({ n: 1 });
    await stack.restartEnclave();
    await expect.poll(async () => (await sign(wallet)).status, { timeout: 15_000 }).toBe(423);
    await expect
      .poll(
        async () =>
          ((await (await fetch(`${stack.url}/readyz`)).json()) as { enclave: { phase: string } }).enclave.phase,
        { timeout: 10_000 },
      )
      .toBe('frozen');
  });
});
