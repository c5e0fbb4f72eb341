import { fromBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { policyBytes, policyHash } from '@quantumvault/shared/policy/policy.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectProblem, type Problem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { Harness, person } from './harness.ts';

interface Created {
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

const create = (body: unknown) => host.send('POST', '/v1/wallets', body);
const put = (body: unknown, wallet: string = host.wallet) => host.send('PUT', `/v1/wallets/${wallet}/policy`, body);

describe('creating a wallet', () => {
  it('answers certificate and receipt of the boot, and stores the row', async () => {
    const response = await create(host.creation());
    expect(response.status).toBe(201);
    const created = (await response.json()) as Created;
    const certificate = fromBase64(created.certificate.bytes);
    const signature = fromBase64(created.certificate.signature);
    expect(nacl.sign.detached.verify(certificate, signature, host.enclave.bootKey)).toBe(true);
    expect(decodeAs(walletCertificateCodec, certificate, 'certificate')).toMatchObject({
      wallet: created.wallet,
      owner: host.owner.address,
      requesters: [host.requester.address],
      boot: created.boot,
    });
    expect(host.rows('wallets').map(({ wallet }) => wallet)).toContain(created.wallet);
    const facts = await (await host.get(`/v1/wallets/${created.wallet}`)).json();
    expect(facts).toEqual({
      wallet: created.wallet,
      owner: host.owner.address,
      stateVersion: '1',
      policyHash: null,
      epoch: null,
      frozen: false,
      retired: false,
      succession: null,
      createdAt: expect.stringMatching(/Z$/),
    });
  });

  it('once for a statement: now, at the same time, after restarts of host and enclave', async () => {
    const body = host.creation();
    const both = await Promise.all([create(body), create(body)]);
    const [first, second] = await Promise.all(both.map((response) => response.text()));
    expect(both.map(({ status }) => status)).toEqual([201, 201]);
    expect((JSON.parse(second ?? '') as Created).wallet).toBe((JSON.parse(first ?? '') as Created).wallet);
    const asked = host.enclave.count('walletCreate');
    const kept = await (await create(body)).text();
    host.enclave.reboot();
    await host.restartHost();
    await host.ready();
    expect(await (await create(body)).text()).toBe(kept);
    expect(host.enclave.count('walletCreate')).toBe(asked);
  });

  it('refuses another statement with the same nonce', async () => {
    const body = host.creation();
    expect((await create(body)).status).toBe(201);
    // Another statement under the nonce of the first, rightly signed: what the owner's nonce is there to stop.
    const reused = host.creation({}, host.owner, { nonce: body.nonce, seconds: 1800 });
    expect((await expectProblem(await create(reused), 'nonce_reused')).path).toBe('nonce');
  });

  const wrong: [string, string | undefined, () => unknown, Problem['code']][] = [
    ['no JSON', undefined, () => 'x', 'json_malformed'],
    ['another purpose', 'purpose', () => host.creation({ purpose: 'qv/sign/v1' }), 'purpose_mismatch'],
    ['another deployment', 'deployment', () => host.creation({ deployment: 'other' }), 'deployment_mismatch'],
    ['an owner that is no address', 'owner', () => host.creation({ owner: '0' }), 'base58_malformed'],
    ['a nonce in capitals', 'nonce', () => host.creation({ nonce: 'AB'.repeat(16) }), 'hex_malformed'],
    ['a short nonce', 'nonce', () => host.creation({ nonce: 'ab' }), 'field_malformed'],
    ['no requesters', 'requesters', () => host.creation({ requesters: [] }), 'field_malformed'],
    [
      'one requester twice',
      'requesters',
      () => host.creation({ requesters: Array(2).fill(host.owner.address) }),
      'field_malformed',
    ],
    [
      '17 requesters',
      'requesters',
      () => host.creation({ requesters: Array.from({ length: 17 }, () => host.owner.address) }),
      'field_malformed',
    ],
    ['a requester that is a number', 'requesters[0]', () => host.creation({ requesters: [1] }), 'field_malformed'],
    [
      'a time with offset',
      'createBefore',
      () => host.creation({ createBefore: '2026-11-22T12:00:00+00:00' }),
      'field_malformed',
    ],
    ['a short signature', 'signature', () => host.creation({ signature: 'AAAA' }), 'field_malformed'],
    ['a signature in no base64', 'signature', () => host.creation({ signature: '?' }), 'base64_malformed'],
    ["another's signature", undefined, () => host.creation({}, person()), 'statement_signature_invalid'],
    [
      'a changed requester',
      undefined,
      () => host.creation({ requesters: [person().address] }),
      'statement_signature_invalid',
    ],
    [
      'an owner that is no point of the curve',
      undefined,
      () => host.creation({ owner: '4uQeVj5tqViQh7yWWGStvkEG1Zmhx6uasJtWCJziofM' }),
      'statement_signature_invalid',
    ],
    ['an unknown field', 'colour', () => host.creation({ colour: 'red' }), 'field_malformed'],
  ];
  it.each(wrong)('refuses %s before the enclave is asked', async (_, path, body, code) => {
    const asked = host.enclave.count('walletCreate');
    const problem = await expectProblem(await create(body()), code as never);
    expect(problem.path).toBe(path);
    expect(host.enclave.count('walletCreate')).toBe(asked);
  });

  it('refuses a body beyond the limit', async () => {
    await expectProblem(await create(host.creation({ deployment: 'x'.repeat(100_000) })), 'body_too_large');
  });

  it("passes on the enclave's refusal and stores nothing", async () => {
    const rows = host.rows('wallets').length;
    host.enclave.handlers.walletCreate = () => {
      throw new Refused({ code: 'statement_expired', path: 'createBefore' });
    };
    expect((await expectProblem(await create(host.creation()), 'statement_expired')).path).toBe('createBefore');
    delete host.enclave.handlers.walletCreate;
    expect(host.rows('wallets')).toHaveLength(rows);
  });

  it('creates nothing that it could not keep: no row key, no wallet', async () => {
    const bare = await new Harness().start({ initialise: false });
    const answer = await bare.send('POST', '/v1/wallets', bare.creation());
    expect(['not_initialised', 'enclave_unavailable', 'enclave_not_ready']).toContain(
      ((await answer.json()) as Problem).code,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    await expectProblem(await bare.send('POST', '/v1/wallets', bare.creation()), 'not_initialised');
    expect(bare.enclave.count('walletCreate')).toBe(0);
    const ready = await bare.get('/readyz');
    expect(await ready.json()).toMatchObject({ ready: false, failing: ['row-key'] });
    await bare.stop();
  });
});

describe('enabling a policy', () => {
  it('answers the enable receipt; the statement route prints what is signed; the facts change', async () => {
    await host.createWallet();
    const body = host.enabling();
    const { policy, enableBefore } = body;
    const printed = await host.send('POST', `/v1/wallets/${host.wallet}/policy/statement`, { policy, enableBefore });
    const { statement, policyHash: hash, previousHash } = (await printed.json()) as Record<string, string | null>;
    expect(previousHash).toBeNull();
    const signature = Buffer.from(host.owner.sign(Buffer.from(statement ?? ''))).toString('base64');
    const response = await put({ ...body, signature });
    expect(response.status).toBe(200);
    const reply = (await response.json()) as Record<string, unknown>;
    expect(reply).toMatchObject({ policyHash: hash, epoch: 1 });
    const receipt = reply['enableReceipt'] as { bytes: string; signature: string };
    const [bytes, by] = [fromBase64(receipt.bytes), fromBase64(receipt.signature)];
    expect(nacl.sign.detached.verify(bytes, by, host.enclave.bootKey)).toBe(true);
    const facts = await (await host.get(`/v1/wallets/${host.wallet}`)).json();
    expect(facts).toMatchObject({ policyHash: hash, epoch: 1, stateVersion: '2' });
    const next = host.policyJson({ epoch: 2 });
    const again = await host.send('POST', `/v1/wallets/${host.wallet}/policy/statement`, {
      policy: next,
      enableBefore,
    });
    expect(await again.json()).toMatchObject({ previousHash: hash });
  });

  it('gives the enclave what the owner signed', async () => {
    await host.createWallet();
    await host.enablePolicy();
    const previous = policyHash(policyBytes(host.policy));
    expect((await put(host.enabling(host.policyJson({ epoch: 2 }), previous))).status).toBe(200);
    const asked = host.enclave.requests.filter(({ name }) => name === 'policyEnable').at(-1)?.body;
    expect(asked).toMatchObject({ previousHash: previous });
  });

  const wrong: [string, string | undefined, () => unknown, Problem['code']][] = [
    ['an unknown field', 'colour', () => ({ ...host.enabling(), colour: 1 }), 'field_malformed'],
    ['no previous hash', 'previousHash', () => ({ ...host.enabling(), previousHash: undefined }), 'field_malformed'],
    [
      'a previous hash that is a number',
      'previousHash',
      () => ({ ...host.enabling(), previousHash: 1 }),
      'field_malformed',
    ],
    ['a short previous hash', 'previousHash', () => ({ ...host.enabling(), previousHash: 'ab' }), 'field_malformed'],
    ['a previous hash in no hex', 'previousHash', () => ({ ...host.enabling(), previousHash: 'xy' }), 'hex_malformed'],
    [
      'another previous hash than was signed',
      undefined,
      () => ({ ...host.enabling(), previousHash: toHex(new Uint8Array(32)) }),
      'statement_signature_invalid',
    ],
    ['a time that is none', 'enableBefore', () => ({ ...host.enabling(), enableBefore: 'soon' }), 'field_malformed'],
    [
      'a policy with an unknown field',
      'colour',
      () => ({ ...host.enabling(), policy: { ...host.policyJson(), colour: 1 } }),
      'policy_invalid',
    ],
    [
      "another's signature",
      undefined,
      () => host.enabling(host.policyJson(), undefined, person()),
      'statement_signature_invalid',
    ],
    [
      'another wallet',
      'policy.wallet',
      () => host.enabling(host.policyJson({ wallet: person().address })),
      'wallet_mismatch',
    ],
  ];
  it.each(wrong)('refuses %s before the enclave is asked', async (_, path, body, code) => {
    const asked = host.enclave.count('policyEnable');
    const problem = await expectProblem(await put(body()), code as never);
    expect(problem.path).toBe(path);
    expect(host.enclave.count('policyEnable')).toBe(asked);
  });

  it('refuses a policy of somebody who does not own the wallet, although rightly signed', async () => {
    const thief = person();
    const body = host.enabling(host.policyJson({ owner: thief.address }), undefined, thief);
    await expectProblem(await put(body), 'wallet_owner_mismatch');
    const { policy, enableBefore } = body;
    const asked = await host.send('POST', `/v1/wallets/${host.wallet}/policy/statement`, { policy, enableBefore });
    await expectProblem(asked, 'wallet_owner_mismatch');
  });

  it('refuses wallets that are not there or no address', async () => {
    const stranger = person().address;
    await expectProblem(await put(host.enabling(host.policyJson({ wallet: stranger })), stranger), 'wallet_unknown');
    await expectProblem(await put(host.enabling(), 'wallet'), 'base58_malformed');
    await expectProblem(await host.get('/v1/wallets/0'), 'base58_malformed');
    await expectProblem(await host.get(`/v1/wallets/${stranger}`), 'wallet_unknown');
  });

  it("passes on the enclave's refusal and keeps the old policy", async () => {
    const before = host.rows('wallets');
    host.enclave.handlers.policyEnable = () => {
      throw new Refused({ code: 'policy_previous_mismatch', path: 'previousHash' });
    };
    await expectProblem(await put(host.enabling(host.policyJson({ epoch: 9 }))), 'policy_previous_mismatch');
    delete host.enclave.handlers.policyEnable;
    expect(host.rows('wallets')).toEqual(before);
  });
});
