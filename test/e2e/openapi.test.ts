/** The OpenAPI document against the local stack: what a real enclave decides, and real proofs, in the documented forms. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { BootId } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import { parsePolicy, policyBytes } from '@quantumvault/shared/policy/policy.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Contract, type Sent } from '../host/openapi/contract.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { creationJson, enablingJson, signingRequest } from '../support/http-requests.ts';
import { importInto, importing, importJson, outsideKey } from '../support/import-kit.ts';
import { retiring, retiringJson } from '../support/retire-kit.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { creation, party, policyDocument, transfer, wireOf } from '../support/wallet-kit.ts';

const TOKEN = `qvt_${'a'.repeat(43)}`;
const contract = new Contract();
const [owner, requester, destination] = [party(), party(), party().address];
let stack: Stack;
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let wallet: ReturnType<typeof party>['address'];
let panicCode = '';

beforeAll(async () => {
  folder = await temporaryFolder();
  const sha256 = createHash('sha256').update(TOKEN).digest('hex');
  const apiTokensFile = join(folder.path, 'tokens.json');
  writeFileSync(apiTokensFile, JSON.stringify({ tokens: [{ name: 'auditor', role: 'auditor', sha256 }] }), {
    mode: 0o600,
  });
  stack = await startStack({ hostConfig: { apiTokensFile } });
}, 120_000);
afterAll(async () => {
  await stack?.stop();
  await folder?.remove();
});

async function call<T>(id: string, sent: Sent, status = 200): Promise<T> {
  const response = await contract.call(stack.url, id, sent);
  const text = await response.text();
  expect(response.status, text).toBe(status);
  return (response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text) as T;
}

let ids = 0;
function signed(lamports: readonly bigint[], body: Record<string, unknown> = {}): Sent & { readonly id: string } {
  const transactions = lamports.map((amount) => transfer(wallet, destination, amount));
  const [transaction] = transactions;
  if (transaction === undefined) throw new Error('nothing to sign');
  const id = `openapi-${ids++}`;
  const isBatch = lamports.length > 1;
  const batch = {
    purpose: 'qv/sign-batch/v1',
    transaction: undefined,
    transactions: transactions.map((one) => toBase64(wireOf(one))),
  };
  const facts = { deployment: stack.deployment, wallet, transaction, signer: requester, id };
  const request = signingRequest({ ...facts, body: { ...(isBatch && batch), ...body } });
  return { id, path: isBatch ? '/v1/sign/batch' : '/v1/sign', ...request };
}
const document = (epoch: number) => {
  const facts = { wallet, owner: owner.address, requesters: [requester.address], destinations: [destination], epoch };
  const written = policyDocument(facts);
  const sol = { ...(written['sol'] as object), window: { seconds: 3600, max: '2000000' } };
  return { ...written, sol, rate: { perMinute: 60, perDay: 5000 } };
};

it('a wallet and its policies', async () => {
  const made = await call<{ wallet: typeof wallet }>(
    'createWallet',
    { path: '/v1/wallets', body: creationJson(creation(stack.deployment, owner, [requester])) },
    201,
  );
  wallet = made.wallet;
  const draft = {
    policy: document(1),
    enableBefore: new Date(Date.now() + 600_000).toISOString().replace(/\.\d+/, ''),
  };
  await call('renderPolicyStatement', { path: `/v1/wallets/${wallet}/policy/statement`, body: draft });
  const deployment = stack.deployment;
  await call('enablePolicy', {
    path: `/v1/wallets/${wallet}/policy`,
    body: enablingJson({ deployment, document: document(1), signer: owner }),
  });
  const previous = policyBytes(parsePolicy(document(1)));
  const second = enablingJson({ deployment, document: document(2), signer: owner, previous });
  const enabled = await call<{ panicCode: string }>('enablePolicy', {
    path: `/v1/wallets/${wallet}/policy`,
    body: second,
  });
  panicCode = enabled.panicCode;
  await call('getWallet', { path: `/v1/wallets/${wallet}` });
  const again = enablingJson({ deployment, document: document(1), signer: owner });
  await call('enablePolicy', { path: `/v1/wallets/${wallet}/policy`, body: again }, 409);
});

it('a key that exists outside', async () => {
  const path = `/v1/attestation?nonce=${'ab'.repeat(16)}`;
  const { document } = await call<{ document: string }>('getAttestation', { path });
  const facts = { deployment: stack.deployment, owner, requesters: [requester.address] };
  const wanted = importing({ ...facts, key: outsideKey(), ...importInto(fromBase64(document)) });
  const sent = { path: '/v1/wallets/import', body: importJson(wanted) };
  expect((await call<{ wallet: string }>('importWallet', sent, 201)).wallet).toBe(wanted.wallet);
  const sealed = toBase64(new Uint8Array(wanted.sealed.length));
  const nonce = 'cd'.repeat(16);
  await call('importWallet', { ...sent, body: { ...importJson(wanted), nonce } }, 401);
  const another = importing({ ...facts, key: outsideKey(), boot: wanted.boot, importKey: wanted.importKey });
  await call('importWallet', { ...sent, body: { ...importJson(another), sealed } }, 403);
});

it('signatures, verdicts and denials', async () => {
  const request = signed([1_000n]);
  await call('sign', request);
  await call('getReceipt', { path: `/v1/receipts/${request.id}` });
  const verdict = await call<{ verdict: string }>('sign', signed([1_000n], { dryRun: true }));
  expect(verdict.verdict).toBe('allow');
  const tooMuch = await call<{ verdict: string }>('sign', signed([1_500_000n], { dryRun: true }));
  expect(tooMuch.verdict).toBe('deny');
  await call('sign', signed([1_500_000n]), 403);
  const batch = signed([1_000n, 2_000n]);
  await call('signBatch', batch);
  await call('getReceipt', { path: `/v1/receipts/${batch.id}?index=1` });
  await call('signBatch', signed([1_000n, 2_000n], { dryRun: true }));
  await call('signBatch', signed([1_000n, 1_500_000n]), 403);
  await call('sign', signed([1_000n], { transaction: 'AAAA' }), 400);
});

it('evidence and reads', async () => {
  const attested = await call<{ boot: string }>('getAttestation', { path: `/v1/attestation?nonce=${'ab'.repeat(32)}` });
  await call('listLogs', { path: '/v1/log/boots' });
  await call('getNewestCheckpoint', { path: '/v1/log/checkpoint' });
  await call('getCheckpoint', { path: `/v1/log/${attested.boot}/checkpoint` });
  await call('getTile', { path: `/v1/log/${attested.boot}/tile/entries/000.p/1` });
  await call('getNewestTile', { path: '/v1/log/tile/0/000.p/1' });
  const headers = { authorization: `Bearer ${TOKEN}` };
  await call('listWallets', { path: '/v1/wallets', headers });
  const { budgets } = await call<{ budgets: object[] }>('getBudgets', {
    path: `/v1/wallets/${wallet}/budgets`,
    headers,
  });
  expect(budgets.length).toBeGreaterThan(1);
  const { decisions } = await call<{ decisions: { kind: string }[] }>('listDecisions', {
    path: '/v1/decisions',
    headers,
  });
  const kinds = new Set(decisions.map(({ kind }) => kind));
  for (const kind of ['boot', 'wallet-created', 'wallet-imported', 'policy-enabled', 'signed', 'denied'])
    expect(kinds).toContain(kind);
  await call('getReadiness', { path: '/readyz' });
});

it('the stop button', async () => {
  const report = await call<{ enclaves: { held: boolean }[] }>('freeze', { path: '/v1/freeze', body: { panicCode } });
  expect(report.enclaves.map(({ held }) => held)).toEqual([true]);
  await call('sign', signed([1_000n]), 423);
  const headers = { authorization: `Bearer ${TOKEN}` };
  const { count } = await call<{ count: number }>('listFreezes', { path: '/v1/freezes', headers });
  expect(count).toBe(1);
  await call('listDecisions', { path: '/v1/decisions?kind=frozen', headers });
});

it('the end of a wallet, while a freeze holds', async () => {
  const { boot } = await call<{ boot: string }>('getAttestation', { path: `/v1/attestation?nonce=${'ab'.repeat(32)}` });
  const facts = { deployment: stack.deployment, boot: boot as BootId, wallet, owner };
  const path = `/v1/wallets/${wallet}/retire`;
  // Not with another policy than the one that is enabled.
  await call('retireWallet', { path, body: retiringJson(retiring(facts)) }, 409);
  const body = retiringJson(retiring({ ...facts, policy: policyBytes(parsePolicy(document(2))) }));
  const first = await call<{ receipt: object }>('retireWallet', { path, body });
  expect(await call<{ receipt: object }>('retireWallet', { path, body })).toEqual(first);
  await call('retireWallet', { path, body: retiringJson(retiring(facts)) }, 410);
  await call('sign', signed([1_000n]), 410);
  expect((await call<{ retired: boolean }>('getWallet', { path: `/v1/wallets/${wallet}` })).retired).toBe(true);
});
