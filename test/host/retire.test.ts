/** POST /v1/wallets/:wallet/retire: what the host checks, asks, marks and refuses. The enclave here is a fake. */
import type { BootId } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, retireAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { policyBytes } from '@quantumvault/shared/policy/policy.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectProblem, type Problem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { retiring, retiringJson } from '../support/retire-kit.ts';
import { type Party, party } from '../support/wallet-kit.ts';
import { Harness } from './harness.ts';

let host: Harness;
beforeAll(async () => {
  host = await new Harness().start();
});
afterAll(() => host.stop());
beforeEach(async () => {
  await host.createWallet();
  await host.enablePolicy();
});

interface Retired {
  readonly wallet: string;
  readonly boot: string;
  readonly ack: { readonly bytes: string; readonly signature: string };
  readonly receipt: { readonly leaf: string; readonly signature: string };
}

function statement(change: Parameters<typeof retiring>[1] = {}, owner = host.owner as Party) {
  const { boot, deployment } = host.enclave;
  const facts = { deployment, boot, wallet: host.wallet, owner, policy: policyBytes(host.policy) };
  return retiringJson(retiring(facts, change));
}

const post = (body: unknown, wallet: string = host.wallet) => host.send('POST', `/v1/wallets/${wallet}/retire`, body);
const facts = async () => (await (await host.get(`/v1/wallets/${host.wallet}`)).json()) as Record<string, unknown>;
const marked = () => host.rows('wallets').find(({ wallet }) => wallet === host.wallet)?.['retired'];

describe('retiring a wallet', () => {
  it('answers acknowledgement and receipt, marks the row, and refuses whatever is asked of it from then on', async () => {
    const before = host.signRequest();
    expect((await host.send('POST', '/v1/sign', before.body, before.headers)).status).toBe(200);
    expect(await facts()).toMatchObject({ retired: false });
    const response = await post(statement());
    expect(response.status).toBe(200);
    const retired = (await response.json()) as Retired;
    expect(retired).toMatchObject({ wallet: host.wallet, boot: host.enclave.boot });
    expect(decodeAs(retireAckCodec, fromBase64(retired.ack.bytes), 'ack')).toMatchObject({ wallet: host.wallet });
    expect(decodeLeaf(fromBase64(retired.receipt.leaf)).kind).toBe('retired');
    expect(await facts()).toMatchObject({ retired: true, frozen: false });
    expect(marked()).toBe(1);
    const asked = host.enclave.requests.length;
    const refused = await expectProblem(await host.sign(), 'wallet_retired');
    expect(refused).toMatchObject({ status: 410, retryable: false, path: 'wallet' });
    await expectProblem(await host.sign({ body: host.signBody({ dryRun: true }) }), 'wallet_retired');
    // A stored reply is a signature, too.
    await expectProblem(await host.send('POST', '/v1/sign', before.body, before.headers), 'wallet_retired');
    const batch = { ...host.signBody(), purpose: 'qv/sign-batch/v1', transactions: [host.signBody().transaction] };
    const { transaction: _, ...body } = batch;
    const { body: text, headers } = host.signRequest({ body });
    await expectProblem(await host.send('POST', '/v1/sign/batch', text, headers), 'wallet_retired');
    const policy = host.policyJson({ epoch: 2 });
    await expectProblem(
      await host.send('PUT', `/v1/wallets/${host.wallet}/policy`, host.enabling(policy)),
      'wallet_retired',
    );
    const draft = { policy, enableBefore: '2100-01-01T00:00:00Z' };
    await expectProblem(
      await host.send('POST', `/v1/wallets/${host.wallet}/policy/statement`, draft),
      'wallet_retired',
    );
    expect(host.enclave.requests.slice(asked).map(({ name }) => name)).not.toContain('sign');
    await host.restartHost();
    await host.ready();
    await expectProblem(await host.sign(), 'wallet_retired');
  });

  it('asks the enclave again for the same statement, which has the answer, whoever lost it', async () => {
    const body = statement();
    expect((await post(body)).status).toBe(200);
    const asked = host.enclave.count('walletRetire');
    expect((await post(body)).status).toBe(200);
    expect(host.enclave.count('walletRetire')).toBe(asked + 1);
  });

  it('says that it was done when the boot that did it is gone', async () => {
    const body = statement();
    expect((await post(body)).status).toBe(200);
    host.enclave.handlers.walletRetire = () => {
      throw new Refused({ code: 'wallet_held_elsewhere', path: 'boot' });
    };
    await expectProblem(await post(body), 'wallet_retired');
    await host.createWallet();
    await host.enablePolicy();
    // Of one that is not retired that is no answer.
    await expectProblem(await post(statement()), 'wallet_held_elsewhere');
    delete host.enclave.handlers.walletRetire;
  });

  it('is done while a freeze holds, and stays when that ends', async () => {
    const scope = `wallet:${host.wallet}`;
    await host.admin('freeze', { scope, reason: 'a test' });
    await expectProblem(await host.sign(), 'frozen');
    expect((await post(statement())).status).toBe(200);
    expect(await facts()).toMatchObject({ retired: true, frozen: true });
    await expectProblem(await host.sign(), 'wallet_retired');
  });

  it('is written down by the same request once the database takes it, and refuses at once', async () => {
    const body = statement();
    const unlock = host.lockDatabase();
    try {
      await expectProblem(await post(body), 'store_unavailable');
    } finally {
      unlock();
    }
    expect((await post(body)).status).toBe(200);
    await expect.poll(marked, { timeout: 10_000 }).toBe(1);
    await expectProblem(await host.sign(), 'wallet_retired');
  });

  it('holds back what the enclave signed before and the host has not released yet', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const usual = host.enclave.defaultHandler('sign');
    host.enclave.handlers.sign = async (request) => {
      const reply = await usual(request);
      await held;
      return reply;
    };
    const asked = host.enclave.count('sign');
    const under = host.sign();
    await expect.poll(() => host.enclave.count('sign')).toBe(asked + 1);
    expect((await post(statement())).status).toBe(200);
    release();
    await expectProblem(await under, 'wallet_retired');
    delete host.enclave.handlers.sign;
  });

  const wrong: [string, string | undefined, () => unknown, Problem['code']][] = [
    ['no JSON', undefined, () => 'x', 'json_malformed'],
    ['another purpose', 'purpose', () => ({ ...statement(), purpose: 'qv/create-wallet/v1' }), 'purpose_mismatch'],
    ['another deployment', 'deployment', () => statement({ deployment: 'other' }), 'deployment_mismatch'],
    ['another wallet', 'wallet', () => statement({ wallet: party().address }), 'wallet_mismatch'],
    ['another owner', undefined, () => ({ ...statement(), owner: party().address }), 'statement_signature_invalid'],
    ['a stranger who signs for himself', 'owner', () => statement({}, party()), 'wallet_owner_mismatch'],
    [
      "another's signature",
      undefined,
      () => ({ ...statement(), nonce: '00'.repeat(16) }),
      'statement_signature_invalid',
    ],
    ['a boot that is no key', 'boot', () => ({ ...statement(), boot: '0' as unknown as BootId }), 'base58_malformed'],
    ['a short nonce', 'nonce', () => ({ ...statement(), nonce: 'ab' }), 'field_malformed'],
    ['a nonce in no hex', 'nonce', () => ({ ...statement(), nonce: 'xy' }), 'hex_malformed'],
    ['no policy hash', 'policyHash', () => ({ ...statement(), policyHash: undefined }), 'field_malformed'],
    ['a number as policy hash', 'policyHash', () => ({ ...statement(), policyHash: 1 }), 'field_malformed'],
    ['a short policy hash', 'policyHash', () => ({ ...statement(), policyHash: 'ab' }), 'field_malformed'],
    [
      'a policy that is not enabled',
      'policyHash',
      () => statement({ policyHash: undefined as never }),
      'policy_not_current',
    ],
    ['an unknown field', 'force', () => ({ ...statement(), force: true }), 'field_malformed'],
  ];
  it.each(wrong)('refuses %s before the enclave is asked', async (_, path, body, code) => {
    const asked = host.enclave.count('walletRetire');
    const problem = await expectProblem(await post(body()), code as never);
    expect(problem.path).toBe(path);
    expect(host.enclave.count('walletRetire')).toBe(asked);
    expect(marked()).toBe(0);
  });

  it("passes on the enclave's refusal and marks nothing", async () => {
    host.enclave.handlers.walletRetire = () => {
      throw new Refused({ code: 'statement_expired', path: 'retireBefore' });
    };
    await expectProblem(await post(statement()), 'statement_expired');
    delete host.enclave.handlers.walletRetire;
    expect(marked()).toBe(0);
    expect((await host.sign()).status).toBe(200);
  });
});
