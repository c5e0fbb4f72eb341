/** Successors over HTTP, with the real host and a fake enclave; what the enclave refuses is tested in e2e. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Address } from '@quantumvault/shared/brands.ts';
import { fromBase64 } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, successionAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { policyBytes } from '@quantumvault/shared/policy/policy.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { expectProblem, type Problem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { retiring, retiringJson } from '../support/retire-kit.ts';
import {
  cancelling,
  claiming,
  completing,
  naming,
  type SuccessionFacts,
  successionJson,
} from '../support/successor-kit.ts';
import { creation, type Party, party } from '../support/wallet-kit.ts';
import { Harness } from './harness.ts';
import { SECRET, secretLine } from './webhooks/sources.ts';

type Members = Record<string, unknown>;
const alerts: { readonly id: string; readonly body: Members }[] = [];
const receiver = createServer((request, response) => {
  let text = '';
  request.on('data', (part) => {
    text += String(part);
  });
  request.on('end', () => {
    alerts.push({ id: String(request.headers['webhook-id']), body: JSON.parse(text) as Members });
    response.end();
  });
});

let host: Harness;
const heir = party();
beforeAll(async () => {
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
  const harness = new Harness();
  harness.moreConfig = () => ({
    alerts: [
      {
        url: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`,
        secretsFile: harness.writePrivate('alert-secrets', secretLine(SECRET)),
        events: ['succession'],
      },
    ],
  });
  host = await harness.start();
});
afterAll(async () => {
  await host.stop();
  receiver.close();
});
beforeEach(async () => {
  await host.createWallet();
  await host.enablePolicy();
});

const facts = (change: number, owner = host.owner as Party): SuccessionFacts => {
  const { boot, deployment } = host.enclave;
  return { deployment, boot, wallet: host.wallet, owner, change };
};
const post = (path: string, body: unknown, wallet: string = host.wallet) =>
  host.send('POST', `/v1/wallets/${wallet}/${path}`, body);
const name = (change: number, key: Address | undefined = heir.address, delayDays = 30) =>
  post('successor', successionJson('name', naming(facts(change), key && { key, delayDays })));
const remove = (change: number) => post('successor', successionJson('name', naming(facts(change), undefined)));
const claim = (change: number, by = heir) => post('takeover', successionJson('claim', claiming(facts(change), by)));
const cancel = (change: number) =>
  post('takeover/cancel', successionJson('cancel', cancelling(facts(change), heir.address)));
const told = async () => (await (await host.get(`/v1/wallets/${host.wallet}`)).json()) as Members;
const alertsOf = (wallet: string) => alerts.filter(({ body }) => (body['data'] as Members)['wallet'] === wallet);

describe('a successor', () => {
  it('is named, claims and is cancelled; the wallet says so, and whoever is to be alerted is told once', async () => {
    expect(await told()).toMatchObject({ succession: null });
    const named = await name(1);
    expect(named.status).toBe(200);
    const { ack, receipt, boot } = (await named.json()) as { ack: Members; receipt: Members; boot: string };
    expect(boot).toBe(host.enclave.boot);
    expect(decodeAs(successionAckCodec, fromBase64(String(ack['bytes'])), 'ack')).toMatchObject({
      kind: 'successor-named',
    });
    expect(decodeLeaf(fromBase64(String(receipt['leaf']))).kind).toBe('successor-named');
    const successor = { key: heir.address, delayDays: 30 };
    expect(await told()).toMatchObject({ succession: { change: 1, successor, takeover: null } });
    expect((await claim(2)).status).toBe(200);
    const { succession } = (await told()) as { succession: { takeover: { claimedAt: string; dueAt: string } } };
    const { claimedAt, dueAt } = succession.takeover;
    expect(Date.parse(dueAt) - Date.parse(claimedAt)).toBe(30 * 86_400_000);
    expect((await host.sign()).status).toBe(200);
    expect((await cancel(3)).status).toBe(200);
    expect(await told()).toMatchObject({ succession: { change: 3, successor, takeover: null } });
    expect((await remove(4)).status).toBe(200);
    expect(await told()).toMatchObject({ succession: { change: 4, successor: null, takeover: null } });
    await expect.poll(() => new Set(alertsOf(host.wallet).map(({ id }) => id)).size).toBe(4);
    const types = new Map(alertsOf(host.wallet).map(({ id, body }) => [id, body['type']]));
    expect([...types.values()].toSorted()).toEqual([
      'successor.named',
      'successor.named',
      'takeover.cancelled',
      'takeover.claimed',
    ]);
    const claimed = alertsOf(host.wallet).find(({ body }) => body['type'] === 'takeover.claimed');
    expect(claimed?.body['data']).toMatchObject({
      wallet: host.wallet,
      owner: host.owner.address,
      successor,
      takeover: { claimedAt, dueAt },
    });
  });

  it('is found in the history, and after a restart of the host', async () => {
    await name(1);
    await claim(2);
    const before = await told();
    await host.restartHost();
    await host.ready();
    expect((await told())['succession']).toEqual(before['succession']);
  });

  it('is told of when a reply was lost, by the leaf alone', async () => {
    const usual = host.enclave.defaultHandler('takeoverClaim');
    host.enclave.handlers.takeoverClaim = async (request) => {
      await usual(request);
      return 'drop' as const;
    };
    await name(1);
    await expectProblem(await claim(2), 'enclave_unavailable');
    delete host.enclave.handlers.takeoverClaim;
    const types = () => alertsOf(host.wallet).map(({ body }) => body['type']);
    await expect.poll(types, { timeout: 10_000 }).toContain('takeover.claimed');
    await expect.poll(async () => (await told())['succession']).toMatchObject({ change: 2 });
  });

  it('may stand in the statement that makes a wallet', async () => {
    const [owner, requester] = [party(), party()];
    const successor = { key: heir.address, delayDays: 7 };
    const request = creation(host.enclave.deployment, owner, [requester], { successor });
    const { nonce, createBefore, signature, ...plain } = request;
    const body = {
      purpose: 'qv/create-wallet/v1',
      ...plain,
      nonce: Buffer.from(nonce).toString('hex'),
      createBefore: new Date(createBefore).toISOString().replace('.000', ''),
      signature: Buffer.from(signature).toString('base64'),
    };
    expect((await host.send('POST', '/v1/wallets', body)).status).toBe(201);
    const asked = host.enclave.requests.findLast(({ name: asking }) => asking === 'walletCreate');
    expect(asked?.body).toMatchObject({ successor });
    const { successor: _, ...without } = body;
    await expectProblem(await host.send('POST', '/v1/wallets', without), 'statement_signature_invalid');
    for (const wrong of [{ key: heir.address, delayDays: 0 }, { key: heir.address }, { ...successor, more: 1 }, 7])
      await expectProblem(await host.send('POST', '/v1/wallets', { ...body, successor: wrong }), 'field_malformed');
  });

  it('becomes the owner: the row has him, and the blobs that are for him; who asks again is answered again', async () => {
    await name(1);
    await claim(2);
    const statement = successionJson('complete', completing(facts(3), heir));
    const row = () => host.rows('wallets').find(({ wallet }) => wallet === host.wallet);
    const before = row();
    const response = await post('takeover/complete', statement);
    expect(response.status).toBe(200);
    expect(await told()).toMatchObject({
      owner: heir.address,
      epoch: 1,
      succession: { change: 3, successor: null, takeover: null },
    });
    const after = row();
    expect(after?.['owner']).toBe(heir.address);
    for (const column of ['salt', 'execution_key', 'sealed_seed', 'row_mac'] as const)
      expect(after?.[column]).not.toEqual(before?.[column]);
    // The policy of before stays, for the next one to name.
    for (const column of ['policy', 'policy_mac'] as const) expect(after?.[column]).toEqual(before?.[column]);
    const asked = host.enclave.count('takeoverComplete');
    expect((await post('takeover/complete', statement)).status).toBe(200);
    expect(host.enclave.count('takeoverComplete')).toBe(asked + 1);
    // For the owner before it is somebody else's wallet.
    await expectProblem(await name(4), 'wallet_owner_mismatch');
    const changed = () => alertsOf(host.wallet).find(({ body }) => body['type'] === 'owner.changed');
    await expect.poll(changed).toBeDefined();
    expect(changed()?.body['data']).toMatchObject({ owner: host.owner.address, newOwner: heir.address });
  });

  const right = () => successionJson('claim', claiming(facts(2), heir));
  const wrong: [string, string | undefined, () => unknown, Problem['code']][] = [
    ['no JSON', undefined, () => 'x', 'json_malformed'],
    ['another purpose', 'purpose', () => ({ ...right(), purpose: 'qv/cancel-claim/v1' }), 'purpose_mismatch'],
    ['another deployment', 'deployment', () => ({ ...right(), deployment: 'other' }), 'deployment_mismatch'],
    ['another wallet', 'wallet', () => ({ ...right(), wallet: party().address }), 'wallet_mismatch'],
    [
      'another owner',
      'owner',
      () => successionJson('claim', claiming(facts(2), heir, { owner: party().address })),
      'wallet_owner_mismatch',
    ],
    ['another number', undefined, () => ({ ...right(), change: 3 }), 'statement_signature_invalid'],
    ['no number', 'change', () => ({ ...right(), change: 0 }), 'field_malformed'],
    ['a number that is none', 'change', () => ({ ...right(), change: '2' }), 'field_malformed'],
    ['another successor', undefined, () => ({ ...right(), successor: party().address }), 'statement_signature_invalid'],
    ['nobody', 'successor', () => ({ ...right(), successor: null }), 'field_malformed'],
    ['a short nonce', 'nonce', () => ({ ...right(), nonce: 'ab' }), 'field_malformed'],
    ['an unknown field', 'force', () => ({ ...right(), force: true }), 'field_malformed'],
  ];
  it.each(wrong)('is refused with %s before the enclave is asked', async (_, path, body, code) => {
    const asked = host.enclave.count('takeoverClaim');
    const problem = await expectProblem(await post('takeover', body()), code as never);
    expect(problem.path).toBe(path);
    expect(host.enclave.count('takeoverClaim')).toBe(asked);
  });

  it('is refused with what the enclave says', async () => {
    for (const code of ['succession_changed', 'successor_mismatch', 'takeover_running'] as const) {
      host.enclave.handlers.takeoverClaim = () => {
        throw new Refused({ code, path: 'change', value: '7' });
      };
      expect(await expectProblem(await claim(2), code)).toMatchObject({ value: '7' });
    }
    host.enclave.handlers.takeoverComplete = () => {
      throw new Refused({ code: 'takeover_too_early', value: '2027-01-01T00:00:00.000Z' });
    };
    const early = successionJson('complete', completing(facts(2), heir));
    const refused = await expectProblem(await post('takeover/complete', early), 'takeover_too_early');
    expect(refused.value).toBe('2027-01-01T00:00:00.000Z');
    delete host.enclave.handlers.takeoverComplete;
    for (const code of ['takeover_not_running', 'takeover_due'] as const) {
      host.enclave.handlers.takeoverCancel = () => {
        throw new Refused({ code });
      };
      await expectProblem(await cancel(2), code);
    }
    delete host.enclave.handlers.takeoverClaim;
    delete host.enclave.handlers.takeoverCancel;
    expect(await told()).toMatchObject({ succession: null });
  });

  it('of a retired wallet is nobody', async () => {
    const { boot, deployment } = host.enclave;
    const signed = retiring({
      deployment,
      boot,
      wallet: host.wallet,
      owner: host.owner as Party,
      policy: policyBytes(host.policy),
    });
    expect((await post('retire', retiringJson(signed))).status).toBe(200);
    const asked = host.enclave.count('takeoverClaim');
    await expectProblem(await claim(1), 'wallet_retired');
    expect(host.enclave.count('takeoverClaim')).toBe(asked);
  });
});
