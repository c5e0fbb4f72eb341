/** Several KMS keys behind one enclave: replicas in other Regions, and keys that are being replaced. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { KmsKeyState } from '@quantumvault/shared/protocol/message-parts.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { measuredKey, REGION, REPLICA_REGION, type StackKmsKey } from '../stack/kms-keys.ts';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { moveWallet } from '../support/move-wallet.ts';

const sign = (host: MaliciousHost, wallet: KitWallet, data = host.data) => data.request('sign', host.request(wallet));

/** Calls and failures by what the keys are for. */
async function counts(data: EnclaveClient): Promise<Record<string, readonly [number, number]>> {
  const { kmsKeys = [] } = await data.request('status', {});
  const of = ({ use, calls, failures }: KmsKeyState) => [use, [Number(calls), Number(failures)]] as const;
  return Object.fromEntries(kmsKeys.map(of));
}

describe('a replica in another Region', () => {
  let host: MaliciousHost;
  let [here, there]: KmsAdmin[] = [];
  let wallet: KitWallet;

  beforeAll(async () => {
    host = await MaliciousHost.start({ kms: { replica: true } });
    await host.giveCredentials();
    here = new KmsAdmin(host.backend.kmsAdmin, REGION);
    there = new KmsAdmin(host.backend.kmsAdmin, REPLICA_REGION);
    wallet = await host.openWallet();
  });
  afterEach(async () => {
    for (const admin of [here, there]) {
      await admin?.setReachable(true);
      await admin?.clearFaults();
    }
    const { current, replica } = host.backend.measuredKeys;
    for (const key of [current, replica]) if (key !== undefined) await host.backend.kmsKeys.enable(key);
  });
  afterAll(async () => {
    for (const admin of [here, there]) admin?.close();
    await host?.stop();
  });

  it('is not asked while the first Region answers', async () => {
    await sign(host, wallet);
    expect((await counts(host.data))['replica']).toEqual([0, 0]);
  });

  it('opens what the first Region’s key made, when that Region is not to be reached', async () => {
    await here?.setReachable(false);
    await sign(host, wallet);
    const after = await counts(host.data);
    expect(after['replica']).toEqual([1, 0]);
    // Which it then is not for the next ones, either.
    await Promise.all([sign(host, wallet), sign(host, wallet)]);
    expect((await counts(host.data))['current']).toEqual(after['current']);
  });

  it('and when the key there is disabled, waits for deletion, or may not be used', async () => {
    const { current } = host.backend.measuredKeys;
    await host.backend.kmsKeys.disable(current);
    await sign(host, wallet);
    await host.backend.kmsKeys.enable(current);
    for (const error of ['AccessDeniedException', 'KMSInvalidStateException', 'ThrottlingException'] as const) {
      await here?.setFaults({ fault: { kind: 'refuse', error } });
      await sign(host, wallet);
    }
  });

  it('makes no new keys: a wallet is not made while the current key is not to be had', async () => {
    await here?.setReachable(false);
    await expectCode(host.createWallet(), 'kms_unavailable');
    await here?.setReachable(true);
    await host.createWallet();
  });

  it('both gone: a refusal that a repeat mends, and nothing has changed', async () => {
    const { state } = await host.data.request('stateGet', { wallet: wallet.address });
    for (const admin of [here, there]) await admin?.setReachable(false);
    const request = host.request(wallet);
    await expectCode(host.data.request('sign', request), 'kms_unavailable');
    expect((await host.data.request('stateGet', { wallet: wallet.address })).state).toEqual(state);
    for (const admin of [here, there]) await admin?.setReachable(true);
    expect((await host.data.request('sign', request)).signature).toBeDefined();
  });

  it('both refuse: a refusal, too', async () => {
    const { current, replica } = host.backend.measuredKeys;
    for (const key of [current, replica] as StackKmsKey[]) await host.backend.kmsKeys.disable(key);
    await expectCode(sign(host, wallet), 'kms_refused');
  });

  it('a wrong answer of the first is no reason to ask the second', async () => {
    await here?.setFaults({ operations: ['Decrypt'], fault: { kind: 'keyId', keyId: 'arn:aws:kms:x:1:key/x' } });
    const before = (await counts(host.data))['replica'];
    await expectCode(sign(host, wallet), 'kms_response_invalid');
    expect((await counts(host.data))['replica']).toEqual(before);
  });

  it('a host whose tunnels lead to the wrong endpoints brings nobody a wrong key', async () => {
    const { addresses } = await host.backend.startEnclave('swapped');
    const [one, other] = host.backend.kmsKeys.tunnels;
    if (other === undefined) throw new Error('one tunnel');
    await host.tunnel(addresses.tunnel, [
      { tunnel: one.tunnel, endpoint: other.endpoint },
      { tunnel: other.tunnel, endpoint: one.endpoint },
    ]);
    const swapped = host.connect(addresses.data);
    await host.giveCredentials(swapped);
    const moving = moveWallet(host, await host.openWallet(), host.data, swapped);
    await expect(moving).rejects.toMatchObject({ code: expect.stringMatching(/^kms_(?:refused|unavailable)$/) });
    swapped.close();
  });

  it('is nobody’s who answers in its place', async () => {
    // The replica's Region answers with the ARN of the key that it was made from.
    await here?.setReachable(false);
    const { current } = host.backend.measuredKeys;
    await there?.setFaults({ operations: ['Decrypt'], fault: { kind: 'keyId', keyId: current.keyArn } });
    await expectCode(sign(host, wallet), 'kms_response_invalid');
  });
});

describe('another KMS key', () => {
  let host: MaliciousHost;
  let next: EnclaveClient;
  let key: StackKmsKey;
  const old = (): StackKmsKey => host.backend.measuredKeys.current;

  beforeAll(async () => {
    host = await MaliciousHost.start();
    await host.giveCredentials();
    key = await host.backend.kmsKeys.create();
    const image = await host.backend.measureImage('next', (config) => {
      config.kms = { ...config.kms, ...measuredKey(key), previous: [measuredKey(old())] };
    });
    const { addresses } = await host.backend.startEnclave('next', image);
    await host.tunnel(addresses.tunnel);
    next = host.connect(addresses.data);
    await host.giveCredentials(next);
  });
  afterAll(async () => {
    next?.close();
    await host?.stop();
  });

  it('is another image, whose certificates name it', async () => {
    expect((await next.request('status', {})).kmsKeyArn).toBe(key.keyArn);
    expect((await host.data.request('status', {})).kmsKeyArn).toBe(old().keyArn);
  });

  it('wallets of before sign on, under the key of before, while new ones are made under the new one', async () => {
    const moved = await moveWallet(host, await host.openWallet(), host.data, next);
    expect((await sign(host, moved, next)).signature).toBeDefined();
    const before = await counts(next);
    await sign(host, moved, next);
    await sign(host, moved, next);
    const after = await counts(next);
    // Which key opens it is remembered: the current one is not asked for it each time.
    expect(after['current']).toEqual(before['current']);
    expect(after['previous']?.[0]).toBe((before['previous']?.[0] ?? 0) + 2);
    expect([after['current']?.[1], after['previous']?.[1]]).toEqual([0, 0]);
  });

  it('a wallet whose only key is disabled does not sign, whatever the other keys do', async () => {
    const moved = await moveWallet(host, await host.openWallet(), host.data, next);
    await host.backend.kmsKeys.disable(old());
    await expectCode(sign(host, moved, next), 'kms_refused');
    await host.backend.kmsKeys.enable(old());
    expect((await sign(host, moved, next)).signature).toBeDefined();
  });

  it('an image that does not know the old key opens nothing of it', async () => {
    const image = await host.backend.measureImage('later', (config) => {
      config.kms = { ...config.kms, ...measuredKey(key) };
    });
    const { addresses } = await host.backend.startEnclave('later', image);
    await host.tunnel(addresses.tunnel);
    const later = host.connect(addresses.data);
    await host.giveCredentials(later);
    await expectCode(moveWallet(host, await host.openWallet(), host.data, later), 'key_blob_invalid');
    later.close();
  });
});
