/** POST /v1/wallets/import: what the host checks, asks, stores and repeats. The enclave here is a fake that believes all. */
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Problem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { Harness, person } from './harness.ts';

interface Imported {
  readonly wallet: string;
  readonly boot: string;
  readonly certificate: { readonly bytes: string; readonly signature: string };
  readonly receipt: { readonly leaf: string; readonly signature: string };
}

let host: Harness;
beforeAll(async () => {
  host = await new Harness().start();
});
afterAll(() => host.stop());

const post = (body: unknown) => host.send('POST', '/v1/wallets/import', body);

describe('importing a wallet', () => {
  it('answers certificate and receipt, which say so, and stores the row', async () => {
    const body = host.importing();
    const response = await post(body);
    expect(response.status).toBe(201);
    const imported = (await response.json()) as Imported;
    expect(imported).toMatchObject({ wallet: body.wallet, boot: host.enclave.boot });
    expect(decodeAs(walletCertificateCodec, fromBase64(imported.certificate.bytes), 'certificate')).toMatchObject({
      wallet: body.wallet,
      imported: true,
    });
    expect(decodeLeaf(fromBase64(imported.receipt.leaf)).kind).toBe('wallet-imported');
    expect(await (await host.get(`/v1/wallets/${body.wallet}`)).json()).toMatchObject({
      owner: host.owner.address,
      stateVersion: '1',
      policyHash: null,
    });
  });

  it('once for a statement: now, at the same time, after restarts of host and enclave', async () => {
    const body = host.importing();
    const both = await Promise.all([post(body), post(body)]);
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    const kept = await (await post(body)).text();
    for (const reply of both) expect(((await reply.json()) as Imported).wallet).toBe(body.wallet);
    const asked = host.enclave.count('walletImport');
    host.enclave.reboot();
    await host.restartHost();
    await host.ready();
    expect(await (await post(body)).text()).toBe(kept);
    expect(host.enclave.count('walletImport')).toBe(asked);
  });

  it('refuses a nonce of another statement, also of a creation', async () => {
    const body = host.importing();
    expect((await post(body)).status).toBe(201);
    const other = host.importing({}, host.owner, { nonce: body.nonce });
    expect((await expectProblem(await post(other), 'nonce_reused')).path).toBe('nonce');
    const creation = host.creation({}, host.owner, { nonce: body.nonce });
    await expectProblem(await host.send('POST', '/v1/wallets', creation), 'nonce_reused');
  });

  it('refuses a wallet that has a row, whoever asks, before the enclave is asked', async () => {
    const wallet = await host.createWallet();
    const asked = host.enclave.count('walletImport');
    const problem = await expectProblem(await post(host.importing({}, host.owner, { wallet })), 'wallet_exists');
    expect(problem.path).toBe('wallet');
    expect(host.enclave.count('walletImport')).toBe(asked);
  });

  it('gives two imports of one key one row', async () => {
    const wallet = person().address;
    const bodies = [host.importing({}, host.owner, { wallet }), host.importing({}, host.owner, { wallet })];
    const replies = await Promise.all(bodies.map(post));
    expect(replies.map(({ status }) => status).sort()).toEqual([201, 409]);
    const refused = replies.find(({ status }) => status === 409) as Response;
    await expectProblem(refused, 'wallet_exists');
    expect(host.rows('wallets').filter((row) => row['wallet'] === wallet)).toHaveLength(1);
  });

  const wrong: [string, string | undefined, () => unknown, Problem['code']][] = [
    ['no JSON', undefined, () => 'x', 'json_malformed'],
    [
      'the purpose of a creation',
      'purpose',
      () => host.importing({ purpose: 'qv/create-wallet/v1' }),
      'purpose_mismatch',
    ],
    ['another deployment', 'deployment', () => host.importing({ deployment: 'other' }), 'deployment_mismatch'],
    ['a wallet that is no address', 'wallet', () => host.importing({ wallet: '0' }), 'base58_malformed'],
    ['a boot that is no key', 'boot', () => host.importing({ boot: '0' }), 'base58_malformed'],
    ['a short import key', 'importKey', () => host.importing({ importKey: 'ab' }), 'field_malformed'],
    ['a short box', 'sealed', () => host.importing({ sealed: 'AAAA' }), 'field_malformed'],
    ['a box in no base64', 'sealed', () => host.importing({ sealed: '?' }), 'base64_malformed'],
    ['a short nonce', 'nonce', () => host.importing({ nonce: 'ab' }), 'field_malformed'],
    ['no requesters', 'requesters', () => host.importing({ requesters: [] }), 'field_malformed'],
    [
      'another wallet than was signed',
      undefined,
      () => host.importing({ wallet: person().address }),
      'statement_signature_invalid',
    ],
    [
      'another boot than was signed',
      undefined,
      () => host.importing({ boot: person().address }),
      'statement_signature_invalid',
    ],
    [
      'another import key than was signed',
      undefined,
      () => host.importing({ importKey: '00'.repeat(32) }),
      'statement_signature_invalid',
    ],
    ["another's signature", undefined, () => host.importing({}, person()), 'statement_signature_invalid'],
    ['an unknown field', 'seed', () => host.importing({ seed: 'x' }), 'field_malformed'],
  ];
  it.each(wrong)('refuses %s before the enclave is asked', async (_, path, body, code) => {
    const asked = host.enclave.count('walletImport');
    const problem = await expectProblem(await post(body()), code as never);
    expect(problem.path).toBe(path);
    expect(host.enclave.count('walletImport')).toBe(asked);
  });

  it('is stored by the same request once the database takes it', async () => {
    const body = host.importing();
    const unlock = host.lockDatabase();
    try {
      await expectProblem(await post(body), 'store_unavailable');
    } finally {
      unlock();
    }
    expect((await post(body)).status).toBe(201);
    expect(host.rows('wallets').filter((row) => row['wallet'] === body.wallet)).toHaveLength(1);
  });

  it("passes on the enclave's refusal and stores nothing", async () => {
    const rows = host.rows('wallets').length;
    host.enclave.handlers.walletImport = () => {
      throw new Refused({ code: 'import_refused', path: 'sealed' });
    };
    expect((await expectProblem(await post(host.importing()), 'import_refused')).path).toBe('sealed');
    delete host.enclave.handlers.walletImport;
    expect(host.rows('wallets')).toHaveLength(rows);
  });
});
