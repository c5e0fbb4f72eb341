/** Owners whose wallets sign off-chain messages, over the enclave's own socket. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { ENVELOPES, type Envelope, enveloped, version0, version1 } from '../support/envelopes.ts';
import { MaliciousHost } from '../support/malicious-host.ts';
import { creation, enabling, party, secondsFromNow } from '../support/wallet-kit.ts';

let host: MaliciousHost;
beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
});
afterAll(() => host?.stop());

describe('the enclave takes', () => {
  it.each(Object.entries(ENVELOPES))('a wallet and a policy signed as %s, and signs under it', async (_, envelope) => {
    const owner = party();
    const own = await host.createWallet(enveloped(owner, envelope));
    const document = host.documentFor(own);
    const request = enabling(own.owner, own.blobs, { deployment: host.backend.deployment, document });
    const enabled = await host.data.request('policyEnable', request);
    const open = { ...own, policy: { bytes: request.policy, mac: enabled.mac } };
    expect((await host.data.request('sign', host.request(open))).signature).toHaveLength(64);
  });

  it('one statement in two envelopes as one: the same wallet, the same policy', async () => {
    const owner = party();
    const { deployment } = host.backend;
    const requesters = [party()];
    const facts = { nonce: new Uint8Array(16).fill(7), createBefore: secondsFromNow(600) };
    const wrapped = Object.values(ENVELOPES).map((envelope) => enveloped(owner, envelope));
    const created = await Promise.all(
      wrapped.map((signer) => host.data.request('walletCreate', creation(deployment, signer, requesters, facts))),
    );
    expect(new Set(created.map(({ wallet }) => wallet)).size).toBe(1);
    const [first] = created;
    if (first === undefined) throw new Error('nothing created');
    const destination = party().address;
    const [requester = owner] = requesters;
    const document = host.documentFor({
      address: first.wallet,
      owner,
      requester,
      destination,
      created: first,
      blobs: first.blobs,
    });
    const enableBefore = secondsFromNow(600);
    const enabled = [];
    for (const signer of wrapped) {
      const request = enabling(signer, first.blobs, { deployment, document, enableBefore });
      enabled.push(await host.data.request('policyEnable', request));
    }
    for (const reply of enabled) expect(reply.enableReceipt).toEqual(enabled[0]?.enableReceipt);
  });
});

describe('the enclave refuses', () => {
  const other = party().address;
  const wrong: Record<string, Envelope> = {
    'a second signer': (text, owner) => version1(text, owner, other),
    'another signer': (text) => version1(text, other),
    'another signer, version 0': (text) => version0(text, [other]),
    'an application': (text, owner) => version0(text, [owner], other),
    'another text': (text, owner) => version1(`${text} `, owner),
    'an envelope in an envelope': (text, owner) => version1(`\u00ff${text}`, owner),
  };
  it.each(Object.entries(wrong))('%s', async (_, envelope) => {
    const owner = party();
    const bad = enveloped(owner, envelope);
    const { deployment } = host.backend;
    await expectCode(
      host.data.request('walletCreate', creation(deployment, bad, [party()])),
      'statement_signature_invalid',
    );
    const own = await host.createWallet(owner);
    const request = enabling(bad, own.blobs, { deployment, document: host.documentFor(own) });
    await expectCode(host.data.request('policyEnable', request), 'statement_signature_invalid');
  });
});
