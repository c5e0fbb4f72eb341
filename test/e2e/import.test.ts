/** `qv import` against a whole appliance, with the network and the machines in between failing and lying. */
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { createClient, ownerFromSigner } from '@quantumvault/host/client/client.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { address } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pcrSetOf } from '../stack/scenario.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { type ImportInto, importInto, type OutsideKey, outsideKey, sealedBox } from '../support/import-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { qvImport } from '../support/qv-import.ts';
import { creation, party, transfer } from '../support/wallet-kit.ts';
import { expectAudited } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
const owner = outsideKey();
const requester = party();

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none' });
  kit = httpKit(stack);
}, 60_000);
afterAll(() => stack?.stop());

const run = (key: OutsideKey, more: readonly string[] = []) =>
  qvImport(stack, { key, owner, requester: requester.address, more });

/** Enables a first policy and has a transfer signed, which comes out as the key itself would have signed it. */
async function expectSigns(key: OutsideKey): Promise<HttpWallet> {
  const wallet = { address: key.address, owner, requester, destination: party().address };
  const enabling = kit.enablingBody(kit.documentFor(wallet), owner, undefined);
  const enabled = await kit.http(`/v1/wallets/${key.address}/policy`, 'PUT', enabling);
  expect(enabled.status, await enabled.clone().text()).toBe(200);
  const transaction = transfer(key.address, wallet.destination, 1_000n);
  const signed = await kit.sign(wallet, { transaction });
  expect(signed.status).toBe(200);
  const { signature } = (await signed.json()) as { signature: string };
  // Ed25519 is deterministic.
  expect(signature).toBe(toBase58(key.sign(new Uint8Array(transaction.serializeMessage()))));
  return wallet;
}

describe('qv import', () => {
  it('brings a keypair file in, which then signs under its policy; log and audit say that it came from outside', async () => {
    const key = outsideKey();
    const answer = await run(key);
    expect(answer).toMatchObject({
      ok: true,
      wallet: key.address,
      owner: owner.address,
      requesters: [requester.address],
      imported: true,
      kmsKeyArn: stack.kmsKeyArn,
      warnings: [expect.stringContaining('UNSAFE')],
      statement: expect.stringContaining(`Wallet: ${key.address}\n`),
    });
    await expectSigns(key);
    // The same key again: refused, and nothing about the wallet has changed.
    const again = await run(key);
    expect(again).toMatchObject({ ok: false, exit: 1, error: { code: 'wallet_exists' } });
    const facts = (await (await fetch(`${stack.url}/v1/wallets/${key.address}`)).json()) as { epoch: number };
    expect(facts.epoch).toBe(1);
    await expectAudited(operatorsOf(stack));
  });

  it('brings a mnemonic in, at the path that wallets use', async () => {
    // The best-known of all mnemonics, and the address that wallets show for it.
    const written = `${'abandon '.repeat(11)}about\n`;
    const wallet = address('HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk');
    const key = { ...outsideKey(), address: wallet };
    const answer = await qvImport(stack, { key, owner, requester: requester.address, written });
    expect(answer).toMatchObject({ ok: true, wallet });
  });

  it('takes the signature of an owner whose key is elsewhere', async () => {
    const key = outsideKey();
    let shown = '';
    const wanted = { key, owner, requester: requester.address };
    const signElsewhere = (statement: string): string => {
      shown = statement;
      return toBase64(owner.sign(new TextEncoder().encode(statement)));
    };
    expect(await qvImport(stack, { ...wanted, signElsewhere })).toMatchObject({ ok: true, wallet: key.address });
    expect(shown).toContain(`Wallet: ${key.address}\n`);
    expect(shown).toContain(`Owner: ${owner.address}\n`);
    await expectSigns(key);
    const other = { ...wanted, key: outsideKey(), signElsewhere: () => toBase64(new Uint8Array(64)) };
    expect(await qvImport(stack, other)).toMatchObject({ exit: 1, error: { code: 'statement_signature_invalid' } });
    const none = { ...wanted, key: outsideKey(), signElsewhere: () => 'no' };
    expect(await qvImport(stack, none)).toMatchObject({ exit: 2, error: { code: 'base58_malformed' } });
  });

  it('reads no key for an image that is not expected', async () => {
    // What is on the descriptor would be refused as well, were it looked at.
    const wanted = { key: outsideKey(), owner, requester: requester.address, written: '[1, 2, 3]' };
    expect(await qvImport(stack, wanted)).toMatchObject({ exit: 2, error: { code: 'key_malformed' } });
    const images = ['--pcr0', 'ab'.repeat(48)];
    const refused = await qvImport(stack, { ...wanted, images });
    expect(refused).toMatchObject({ exit: 1, error: { code: 'attestation_pcrs_not_allowed' } });
  });

  it('believes no other KMS key, no broken pair, and no two owners', async () => {
    const key = outsideKey();
    const other = await run(key, ['--pcr0', 'ab'.repeat(48), '--kms-key', `${stack.kmsKeyArn}0`]);
    // Of several allowed images one fits; then the key service's key does not.
    expect(other).toMatchObject({ exit: 1, error: { code: 'evidence_mismatch', path: 'certificate.kmsKeyArn' } });
    const wrong = await qvImport(stack, {
      key: { ...outsideKey(), seed: outsideKey().seed },
      owner,
      requester: requester.address,
    });
    expect(wrong).toMatchObject({ ok: false, error: { code: 'key_pair_mismatch' } });
    const bothOwners = await run(key, ['--owner', owner.address]);
    expect(bothOwners).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
  });
});

function client(fetching: typeof fetch = fetch) {
  return createClient({
    url: stack.url,
    deployment: stack.deployment,
    trust: { pcrSets: [pcrSetOf(stack.pcrs)], unsafeTrustedRootDer: stack.nsmRootDer },
    attempts: 10,
    fetch: fetching,
  });
}

/** Through a network that changes what passes. */
function importVia(fetching: typeof fetch, key = outsideKey()) {
  let sealedFor = 0;
  const result = client(fetching).importWallet({
    owner: ownerFromSigner(owner),
    wallet: key.address,
    requesters: [requester.address],
    seal: ({ statementHash, importKey }) => {
      sealedFor++;
      return sealedBox(concatBytes(statementHash, key.seed), importKey);
    },
  });
  return { result, sealedFor: () => sealedFor };
}

type Members = Record<string, unknown>;

const request =
  (change: (body: Members) => Members): typeof fetch =>
  (input, init) =>
    init?.method === 'POST'
      ? fetch(input, {
          ...init,
          body: JSON.stringify(change(JSON.parse(new TextDecoder().decode(init.body as Uint8Array)))),
        })
      : fetch(input, init);

const reply =
  (path: string, change: (body: Members) => Members): typeof fetch =>
  async (input, init) => {
    const response = await fetch(input, init);
    if (!new URL(String(input)).pathname.endsWith(path) || !response.ok) return response;
    return new Response(JSON.stringify(change((await response.json()) as Members)), { status: response.status });
  };

function flipped(base64: unknown, at = -1): string {
  const bytes = fromBase64(String(base64));
  const index = at < 0 ? bytes.length - 1 : at;
  bytes[index] = (bytes[index] ?? 0) ^ 1;
  return toBase64(bytes);
}

describe('a host in between that lies', () => {
  it.each<[string, (body: Members) => Members, ErrorCode]>([
    ['the owner', (body) => ({ ...body, owner: party().address }), 'statement_signature_invalid'],
    ['the wallet', (body) => ({ ...body, wallet: party().address }), 'statement_signature_invalid'],
    ['the requesters', (body) => ({ ...body, requesters: [party().address] }), 'statement_signature_invalid'],
    ['the nonce', (body) => ({ ...body, nonce: '00'.repeat(16) }), 'statement_signature_invalid'],
    ['the boot', (body) => ({ ...body, boot: party().address }), 'statement_signature_invalid'],
    ['the import key', (body) => ({ ...body, importKey: '00'.repeat(32) }), 'statement_signature_invalid'],
    ['the time', (body) => ({ ...body, importBefore: '2030-01-01T00:00:00Z' }), 'statement_signature_invalid'],
    ['the signature', (body) => ({ ...body, signature: flipped(body['signature']) }), 'statement_signature_invalid'],
    ['the first byte of the box', (body) => ({ ...body, sealed: flipped(body['sealed'], 0) }), 'import_refused'],
    ['the last byte of the box', (body) => ({ ...body, sealed: flipped(body['sealed']) }), 'import_refused'],
  ])('about %s, is refused', async (_, change, code) => {
    const key = outsideKey();
    await expectCode(importVia(request(change), key).result, code);
    // And nothing came of it.
    await expectProblem(await fetch(`${stack.url}/v1/wallets/${key.address}`), 'wallet_unknown');
  });

  it.each<[string, (body: Members) => Members, ErrorCode]>([
    ['another wallet', (body) => ({ ...body, wallet: party().address }), 'evidence_mismatch'],
    [
      'another certificate',
      (body) => ({ ...body, certificate: inner(body['certificate'], 'bytes') }),
      'evidence_signature_invalid',
    ],
    ['another receipt', (body) => ({ ...body, receipt: inner(body['receipt'], 'leaf') }), 'evidence_signature_invalid'],
  ])('in its answer, with %s, gives no wallet', async (_, change, code) => {
    await expectCode(importVia(reply('/v1/wallets/import', change)).result, code);
  });

  it('who answers with a wallet that was born inside, and its own certificate, is found out', async () => {
    const made = await kit.create(creation(stack.deployment, owner, [requester]));
    const { certificate, receipt } = (await made.json()) as Members;
    const swapped = reply('/v1/wallets/import', (body) => ({ ...body, certificate, receipt }));
    expect((await expectCode(importVia(swapped).result, 'evidence_mismatch')).facts.path).toBe('certificate.wallet');
  });

  it('an import key of his own in the document is no attestation, and nothing is sealed', async () => {
    const mine = nacl.box.keyPair().publicKey;
    const swap = reply('/v1/attestation', (body) => {
      const document = fromBase64(String(body['document']));
      const { importKey }: ImportInto = importInto(document);
      const at = Buffer.from(document).indexOf(Buffer.from(importKey));
      expect(at).toBeGreaterThan(0);
      document.set(mine, at);
      return { ...body, document: toBase64(document) };
    });
    const attempt = importVia(swap);
    await expectCode(attempt.result, 'attestation_signature_invalid');
    expect(attempt.sealedFor()).toBe(0);
  });
});

const inner = (value: unknown, member: string): Members => {
  const members = value as Members;
  return { ...members, [member]: flipped(members[member]) };
};

/** Keeps every other writer out until the answer is called. */
function lockDatabase(): () => void {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

const held = async (): Promise<number> => (await adminCall(stack.adminSocket, 'status', {})).enclave?.wallets ?? 0;

/** Resolves when the enclave has taken a key in that no database has: its row waits for the lock. */
async function importedUnstored(key: OutsideKey): Promise<() => void> {
  const before = await held();
  const release = lockDatabase();
  void run(key).catch(() => undefined);
  while ((await held()) === before) await sleep(20);
  return release;
}

async function restartHost(): Promise<void> {
  await stack.restartHost();
  await untilReady(stack.url);
}

describe('a crash', () => {
  it('of the host between the enclave’s answer and the database: importing again gives the same wallet', async () => {
    const key = outsideKey();
    const release = await importedUnstored(key);
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    release();
    await restartHost();
    await expectProblem(await fetch(`${stack.url}/v1/wallets/${key.address}`), 'wallet_unknown');
    expect(await run(key)).toMatchObject({ ok: true, wallet: key.address });
    await expectSigns(key);
    await expectAudited(operatorsOf(stack));
  }, 60_000);

  it('of the enclave there: the boot that comes next takes the key in, and only that one signs', async () => {
    const key = outsideKey();
    const release = await importedUnstored(key);
    stack.host.kill('SIGKILL');
    await stack.host.exited;
    stack.processes.enclave.kill('SIGKILL');
    await stack.processes.enclave.exited;
    release();
    await stack.restartEnclave();
    await restartHost();
    expect(await run(key)).toMatchObject({ ok: true, wallet: key.address });
    await expectSigns(key);
    await expectAudited(operatorsOf(stack));
  }, 60_000);

  it('after the row was written, before the answer arrived: it says that the key is there, and it signs', async () => {
    const key = outsideKey();
    let isLost = false;
    const losing: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method !== 'POST' || isLost || !response.ok) return response;
      isLost = true;
      throw new TypeError('the connection broke');
    };
    // The SDK repeats the same bytes, and gets the answer that was kept.
    expect((await importVia(losing, key).result).wallet).toBe(key.address);
    expect(isLost).toBe(true);
    expect(await run(key)).toMatchObject({ exit: 1, error: { code: 'wallet_exists' } });
    await expectSigns(key);
  });
});
