/** Signals: a source's key is verified in the enclave, uses are counted in the wallet's state, nothing authorises. */
import type { RequestId } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { SignalMessage } from '@quantumvault/shared/protocol/message-parts.ts';
import { signedContent } from '@quantumvault/shared/protocol/sign-request.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { enabling, party } from '../support/wallet-kit.ts';

let host: MaliciousHost;
let wallet: KitWallet;
const alpha = party();

/** As the source signs it, unless `signer` is another one. */
function signal(
  id: string,
  change: Partial<SignalMessage> & { ageSeconds?: number } = {},
  signer = alpha,
): SignalMessage {
  const timestamp = String(Math.floor(Date.now() / 1000) - (change.ageSeconds ?? 0));
  const body = utf8('{"side":"buy"}');
  const signature = signer.sign(signedContent(id, timestamp, body));
  const { ageSeconds: _, ...rest } = change;
  return { source: 'alpha', id: id as RequestId, timestamp, body, signature, ...rest };
}

/** A request whose signed body names `named`, brought together with `brought`. */
function send(named: string | undefined, brought: SignalMessage | undefined, own = wallet) {
  const request = host.request(own, named === undefined ? {} : { body: { signal: named } });
  return host.data.request('sign', { ...request, ...(brought && { signal: brought }) });
}

async function walletWith(signals: Record<string, unknown>): Promise<KitWallet> {
  const created = await host.createWallet();
  const document = { ...host.documentFor(created), signals };
  const request = enabling(created.owner, created.blobs, { deployment: host.backend.deployment, document });
  const enabled = await host.data.request('policyEnable', request);
  return { ...created, policy: { bytes: request.policy, mac: enabled.mac } };
}

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  wallet = await walletWith({
    required: true,
    sources: [
      { name: 'alpha', key: alpha.address },
      { name: 'tv-main', hostVerified: true },
    ],
    maxAgeSeconds: 60,
    signaturesPerSignal: 2,
  });
});
afterAll(() => host?.stop());

describe('a policy that requires a signal', () => {
  it('lets a signed one trigger as often as it says, and counts in the enclave', async () => {
    for (let use = 0; use < 2; use++) expect((await send('s-1', signal('s-1'))).signature).toHaveLength(64);
    const error = await expectCode(send('s-1', signal('s-1')), 'policy_denied');
    expect(error.facts).toEqual({ path: 'signals.signaturesPerSignal', value: '3' });
  });

  it('counts under concurrency too: twenty requests, two signatures', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => send('s-2', signal('s-2'))));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2);
  });

  it('denies without one, and one that is old or of a source it does not name', async () => {
    expect((await expectCode(send(undefined, undefined), 'policy_denied')).facts.path).toBe('signals.required');
    const old = signal('s-3', { ageSeconds: 90 });
    expect((await expectCode(send('s-3', old), 'policy_denied')).facts.path).toBe('signals.maxAgeSeconds');
    const unknown = signal('s-4', { source: 'beta' });
    expect((await expectCode(send('s-4', unknown), 'policy_denied')).facts.path).toBe('signals.sources');
  });

  it('believes no signal that its source did not sign, whatever the host says', async () => {
    await expectCode(send('s-5', signal('s-5', {}, party())), 'signal_signature_invalid');
    const { signature: _, ...unsigned } = signal('s-6');
    await expectCode(send('s-6', unsigned), 'signal_signature_invalid');
    await expectCode(send('s-7', { ...signal('s-7'), body: utf8('{"side":"sell"}') }), 'signal_signature_invalid');
    const later = { ...signal('s-8'), timestamp: String(Math.floor(Date.now() / 1000) + 1) };
    await expectCode(send('s-8', later), 'signal_signature_invalid');
  });

  it('takes only the signal that the requester named in what he signed', async () => {
    await expectCode(send('s-9', signal('s-10')), 'signal_missing');
    await expectCode(send('s-9', undefined), 'signal_missing');
    await expectCode(send(undefined, signal('s-9')), 'signal_missing');
  });

  it('takes the host’s word where the owner said so, and counts it all the same', async () => {
    const { signature: _, ...unsigned } = signal('tv-1', { source: 'tv-main' });
    for (let use = 0; use < 2; use++) expect((await send('tv-1', unsigned)).signature).toHaveLength(64);
    await expectCode(send('tv-1', unsigned), 'policy_denied');
  });

  it('answers a repeat of a request without spending the signal again', async () => {
    const request = { ...host.request(wallet, { body: { signal: 's-11' } }), signal: signal('s-11') };
    const first = await host.data.request('sign', request);
    expect((await host.data.request('sign', request)).signature).toEqual(first.signature);
    expect((await send('s-11', signal('s-11'))).signature).toHaveLength(64);
    await expectCode(send('s-11', signal('s-11')), 'policy_denied');
  });
});

describe('a policy without signals', () => {
  it('denies a request that brings one', async () => {
    const plain = await host.openWallet();
    expect((await expectCode(send('s-1', signal('s-1'), plain), 'policy_denied')).facts.path).toBe('signals');
  });
});
