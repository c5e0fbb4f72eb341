/** Faults that were found by attacking the enclave, each of which must not come back. */
import { type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { MaliciousHost } from '../support/malicious-host.ts';
import { creation, enabling, party, secondsFromNow, TOKEN_PROGRAM, tokenTransfer } from '../support/wallet-kit.ts';

let host: MaliciousHost;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

describe('creation', () => {
  it('survives many that fail at once: nothing is left unhandled', async () => {
    const { boot } = await host.data.request('status', {});
    await host.kms.setFaults({
      operations: ['GenerateDataKey'],
      fault: { kind: 'refuse', error: 'AccessDeniedException' },
    });
    const requests = Array.from({ length: 3 * LIMITS.pendingWalletCreations }, () =>
      creation(host.backend.deployment, party(), [party()]),
    );
    const outcomes = await Promise.allSettled(requests.map((request) => host.data.request('walletCreate', request)));
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true);
    expect((await host.data.request('status', {})).boot).toBe(boot);
  });

  it('takes whole seconds only, so that one statement is one wallet', async () => {
    const request = creation(host.backend.deployment, party(), [party()]);
    await host.data.request('walletCreate', request);
    const shifted = { ...request, createBefore: timeMs(request.createBefore + 999) };
    await expectCode(host.data.request('walletCreate', shifted), 'field_malformed');
  });

  it('looks at its time limit again when KMS was slow', async () => {
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 3_000 } });
    const request = creation(host.backend.deployment, party(), [party()], { createBefore: secondsFromNow(2) });
    await expectCode(host.data.request('walletCreate', request), 'statement_expired');
  });

  it('keeps nonces by owner: nobody uses up another one’s', async () => {
    const first = creation(host.backend.deployment, party(), [party()]);
    await host.data.request('walletCreate', first);
    const second = creation(host.backend.deployment, party(), [party()], { nonce: first.nonce });
    expect((await host.data.request('walletCreate', second)).wallet).toBeTypeOf('string');
  });
});

describe('enabling', () => {
  it('looks at its time limit again when KMS was slow', async () => {
    const wallet = await host.createWallet();
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 3_000 } });
    const facts = {
      deployment: host.backend.deployment,
      document: host.documentFor(wallet),
      enableBefore: secondsFromNow(2),
    };
    await expectCode(
      host.data.request('policyEnable', enabling(wallet.owner, wallet.blobs, facts)),
      'statement_expired',
    );
  });

  it('answers a repeat with the newest state, not with that of the first time', async () => {
    const wallet = await host.createWallet();
    const request = enabling(wallet.owner, wallet.blobs, {
      deployment: host.backend.deployment,
      document: host.documentFor(wallet),
    });
    const first = await host.data.request('policyEnable', request);
    const signed = await host.data.request(
      'sign',
      host.request({ ...wallet, policy: { bytes: request.policy, mac: first.mac } }),
    );
    const repeated = await host.data.request('policyEnable', request);
    expect(repeated.state).toEqual(signed.state);
    expect({ ...repeated, state: undefined }).toEqual({ ...first, state: undefined });
  });
});

describe('a dry run', () => {
  it('with long values and many rules fits its reply, and disturbs nobody', async () => {
    const wallet = await host.createWallet();
    const mint = party().address;
    const token = {
      mint,
      tokenProgram: TOKEN_PROGRAM,
      decimals: 6,
      maxPerTransaction: '5000000000000',
      destinations: [wallet.destination],
    };
    const document = { ...host.documentFor(wallet), tokens: [token] };
    const request = enabling(wallet.owner, wallet.blobs, { deployment: host.backend.deployment, document });
    const enabled = await host.data.request('policyEnable', request);
    const open = { ...wallet, policy: { bytes: request.policy, mac: enabled.mac } };
    const dryRun = { body: { dryRun: true } };
    const long = tokenTransfer(wallet.address, wallet.destination, mint, 100_000_000_000n);
    expect((await host.data.request('sign', host.request(open, { ...dryRun, transaction: long }))).allow).toBe(true);
    const many = tokenTransfer(wallet.address, party().address, mint, 1n);
    for (let index = 0; index < 20; index++)
      many.add(...tokenTransfer(wallet.address, wallet.destination, mint, 1n).instructions);
    const denied = await host.data.request('sign', host.request(open, { ...dryRun, transaction: many }));
    expect(denied.allow).toBe(false);
    expect(denied.rules?.some(({ outcome }) => outcome === 'deny')).toBe(true);
    expect(host.data.connection).toBe(1);
  });
});

describe('a flood of attestations', () => {
  it('does not move trusted time', async () => {
    const before = (await host.data.request('status', {})).time ?? 0;
    const nonce = new Uint8Array(32);
    const burst = Array.from({ length: 30 }, () => host.data.request('attest', { nonce }).catch(() => undefined));
    expect((await Promise.all(burst)).some((answer) => answer !== undefined)).toBe(true);
    const { time = 0 } = await host.data.request('status', {});
    expect(Math.abs(time - Date.now())).toBeLessThan(2_000);
    expect(time).toBeGreaterThanOrEqual(before);
    const wallet = await host.openWallet();
    const signed = await host.data.request('sign', host.request(wallet, { id: 'after-flood' as RequestId }));
    expect(signed.signature).toHaveLength(64);
  });
});
