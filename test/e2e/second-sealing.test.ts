/**
 * Execution keys that are sealed for a second KMS key, in another account and Region: either opens. The host is the test,
 * so it can leave out, exchange and change what it stores.
 */

import { readFileSync } from 'node:fs';
import { parseEnclaveConfig } from '@quantumvault/enclave/config.ts';
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { codeOf, ERRORS } from '@quantumvault/shared/errors.ts';
import { walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import type { SecondSealing } from '@quantumvault/shared/protocol/message-parts.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KmsAdmin } from '../stack/kms/admin.ts';
import { measuredKey, REGION, SECOND_REGION, type StackKmsKey } from '../stack/kms-keys.ts';
import type { StackEnclave } from '../stack/stack.ts';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { moveWallet } from '../support/move-wallet.ts';

let host: MaliciousHost;
let first: KmsAdmin;
let second: KmsAdmin;
let wallet: KitWallet;
let other: KitWallet;
const keys = (): { current: StackKmsKey; second: StackKmsKey } =>
  host.backend.measuredKeys as { current: StackKmsKey; second: StackKmsKey };

beforeAll(async () => {
  host = await MaliciousHost.start({ kms: { second: true } });
  await host.giveCredentials();
  first = new KmsAdmin(host.backend.kmsAdmin, REGION);
  second = new KmsAdmin(host.backend.kmsAdmin, SECOND_REGION);
  wallet = await host.openWallet();
  other = await host.openWallet();
});
afterEach(async () => {
  for (const admin of [first, second]) {
    await admin.setReachable(true);
    await admin.clearFaults();
  }
  for (const key of [keys().current, keys().second]) await host.backend.kmsKeys.enable(key);
});
afterAll(async () => {
  first?.close();
  second?.close();
  await host?.stop();
});

const sign = (of = wallet, data = host.data) => data.request('sign', host.request(of));
const sealing = ({ blobs }: KitWallet): SecondSealing => {
  if (blobs.second === undefined) throw new Error('no second sealing');
  return blobs.second;
};
const flipped = (bytes: Uint8Array, at: number): Uint8Array =>
  bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));

/** A further start of the image, without wallets. */
async function anotherBoot(name: string): Promise<{ data: EnclaveClient; enclave: StackEnclave }> {
  const enclave = await host.backend.startEnclave(name);
  await host.tunnel(enclave.addresses.tunnel);
  const data = host.connect(enclave.addresses.data);
  await host.giveCredentials(data);
  return { data, enclave };
}

describe('a wallet', () => {
  it('is made with both, and its certificate says so', () => {
    expect(sealing(wallet).sealed).toHaveLength(72);
    expect(sealing(wallet).sealed).not.toEqual(sealing(other).sealed);
    const { kmsKeyArn, secondKmsKeyArn } = decodeAs(
      walletCertificateCodec,
      wallet.created.certificate.bytes,
      'certificate',
    );
    expect([kmsKeyArn, secondKmsKeyArn]).toEqual([keys().current.keyArn, keys().second.keyArn]);
  });

  it('has a context of its own there, of wallet and owner, attested', async () => {
    await second.clearCalls();
    const made = await host.createWallet();
    const calls = (await second.calls()).filter(({ operation }) => operation === 'GenerateDataKey');
    expect(calls).toMatchObject([
      {
        keyArn: keys().second.keyArn,
        outcome: 'ok',
        encryptionContext: {
          'qv:purpose': 'execution-key-second',
          'qv:wallet': made.address,
          'qv:owner': made.owner.address,
          'qv:v': '1',
        },
      },
    ]);
    expect(calls[0]?.moduleId).not.toBeNull();
    // Nothing was asked that would have shown a key to who asks.
    const operations = new Set([...(await first.calls()), ...(await second.calls())].map((call) => call.operation));
    expect(
      [...operations].filter(
        (name) => !['GenerateDataKey', 'Decrypt', 'PutKeyPolicy', 'CreateKey', 'EnableKey'].includes(name),
      ),
    ).toEqual([]);
  });

  it('signs by the first key, and the second is not asked', async () => {
    await second.clearCalls();
    await sign();
    expect(await second.calls()).toEqual([]);
  });

  it.each([
    ['disabled', () => host.backend.kmsKeys.disable(keys().current)],
    ['not to be reached', () => first.setReachable(false)],
    ['throttled', () => first.setFaults({ fault: { kind: 'refuse', error: 'ThrottlingException' } })],
    ['forbidden', () => first.setFaults({ fault: { kind: 'refuse', error: 'AccessDeniedException' } })],
  ] as const)('goes on signing when the first key is %s', async (_, takeAway) => {
    await takeAway();
    expect((await sign()).signature).toBeDefined();
    expect((await sign(other)).signature).toBeDefined();
  });

  it('both gone: a refusal that a repeat mends, and nothing has changed', async () => {
    const state = async () => (await host.data.request('stateGet', { wallet: wallet.address })).state;
    const before = await state();
    await first.setReachable(false);
    await second.setReachable(false);
    const request = host.request(wallet);
    const error = await expectCode(host.data.request('sign', request), 'kms_unavailable');
    expect(ERRORS[error.code].retryable).toBe(true);
    expect(await state()).toEqual(before);
    await second.setReachable(true);
    expect((await host.data.request('sign', request)).signature).toBeDefined();
  });

  it('is not made without the second key, and is made once that is back', async () => {
    for (const takeAway of [() => second.setReachable(false), () => host.backend.kmsKeys.disable(keys().second)]) {
      await takeAway();
      const { wallets } = await host.data.request('status', {});
      const error = await host.createWallet().then(
        () => undefined,
        (caught: unknown) => caught as { code: keyof typeof ERRORS; facts: { path?: string } },
      );
      expect(error?.facts.path).toBe('kms.second');
      expect(error && ERRORS[error.code].retryable).toBe(true);
      expect((await host.data.request('status', {})).wallets).toBe(wallets);
      await second.setReachable(true);
      await host.backend.kmsKeys.enable(keys().second);
    }
    await host.createWallet();
  });

  it('is not made without the first key either', async () => {
    await host.backend.kmsKeys.disable(keys().current);
    await expectCode(host.createWallet(), 'kms_refused');
  });

  it('that was re-wrapped is sealed for both again, and the old sealing counts no more', async () => {
    const rewrapped = await host.openWallet();
    const answer = await host.data.request('walletRewrap', {
      wallet: rewrapped.address,
      owner: rewrapped.owner.address,
      blobs: rewrapped.blobs,
      policy: rewrapped.policy.bytes,
    });
    const { keys: fresh, mac } = answer.rewrapped;
    const moved: KitWallet = {
      ...rewrapped,
      blobs: { ...fresh, sealedState: answer.state.blob },
      policy: { ...rewrapped.policy, ...(mac && { mac }) },
    };
    expect(sealing(moved)).not.toEqual(sealing(rewrapped));
    await host.backend.kmsKeys.disable(keys().current);
    expect((await sign(moved)).signature).toBeDefined();
    const mixed = { ...moved, blobs: { ...moved.blobs, second: sealing(rewrapped) } };
    await expectCode(sign(mixed), 'wallet_keys_replaced');
  });
});

describe('a wallet of before there was a second key', () => {
  it('opens by the first alone, and by either once it was re-wrapped', async () => {
    const image = await host.backend.measureImage('before', (config) => {
      delete config.kms['second'];
    });
    const enclave = await host.backend.startEnclave('before', image);
    await host.tunnel(enclave.addresses.tunnel);
    const data = host.connect(enclave.addresses.data);
    await host.giveCredentials(data);
    const owned = await moveWallet(host, await host.openWallet(), host.data, data);
    const request = { wallet: owned.address, owner: owned.owner.address, policy: owned.policy.bytes };
    const plain = await data.request('walletRewrap', { ...request, blobs: owned.blobs });
    expect(plain.rewrapped.keys.second).toBeUndefined();
    const withKeys = (of: KitWallet, { rewrapped: { keys: fresh, mac }, state }: typeof plain): KitWallet => ({
      ...of,
      blobs: { ...fresh, sealedState: state.blob },
      policy: { ...of.policy, ...(mac && { mac }) },
    });
    const old = await moveWallet(host, withKeys(owned, plain), data, host.data);
    await host.backend.kmsKeys.disable(keys().current);
    await expectCode(sign(old), 'kms_refused');
    await expectCode(host.data.request('walletRewrap', { ...request, blobs: old.blobs }), 'kms_refused');
    await host.backend.kmsKeys.enable(keys().current);
    const renewed = withKeys(old, await host.data.request('walletRewrap', { ...request, blobs: old.blobs }));
    expect(sealing(renewed).sealed).toHaveLength(72);
    await host.backend.kmsKeys.disable(keys().current);
    expect((await sign(renewed)).signature).toBeDefined();
    data.close();
  });
});

describe('a host that changes the second sealing', () => {
  const changes = (): readonly (readonly [string, SecondSealing | undefined])[] => {
    const { ciphertext, sealed } = sealing(wallet);
    return [
      ['left out', undefined],
      ['another wallet’s', sealing(other)],
      ['another wallet’s ciphertext', { ciphertext: sealing(other).ciphertext, sealed }],
      ['another wallet’s seal', { ciphertext, sealed: sealing(other).sealed }],
      ['the first ciphertext', { ciphertext: wallet.blobs.executionKey, sealed }],
      ['a changed ciphertext', { ciphertext: flipped(ciphertext, 40), sealed }],
      ['no ciphertext', { ciphertext: new Uint8Array(1), sealed }],
      ...[0, 24, 40, 71].map((at) => [`a changed seal at ${at}`, { ciphertext, sealed: flipped(sealed, at) }] as const),
    ];
  };
  const changed = (second: SecondSealing | undefined, of = wallet): KitWallet => {
    const { second: _, ...rest } = of.blobs;
    return { ...of, blobs: { ...rest, ...(second && { second }) } };
  };

  it('is refused by the holder, before any key is asked for', async () => {
    await first.clearCalls();
    await second.clearCalls();
    for (const [, second] of changes()) await expectCode(sign(changed(second)), 'wallet_keys_replaced');
    expect([...(await first.calls()), ...(await second.calls())]).toEqual([]);
    expect((await sign()).signature).toBeDefined();
  });

  it('gets no key into use where nobody knows the wallet yet', async () => {
    const { data } = await anotherBoot('next');
    await host.backend.kmsKeys.disable(keys().current);
    for (const [, spoilt] of changes()) {
      // What the first key's word is, or that nothing opens.
      const moving = moveWallet(host, changed(spoilt), host.data, data);
      expect(['kms_refused', 'key_blob_invalid']).toContain(await moving.then(() => 'taken', codeOf));
    }
    await host.backend.kmsKeys.enable(keys().current);
    const moved = await moveWallet(host, wallet, host.data, data);
    await host.backend.kmsKeys.disable(keys().current);
    expect((await sign(moved, data)).signature).toBeDefined();
    wallet = other;
    data.close();
  });
});

describe('restored where only the second key is', () => {
  it('a new boot takes the wallet over, signs, and hands out the row key', async () => {
    const owned = await host.openWallet();
    const { blob } = await host.data.request('rowKeyCreate', {});
    const { rowKey } = await host.data.request('rowKeyUnwrap', { blob });
    await first.setReachable(false);
    const { data } = await anotherBoot('elsewhere');
    expect((await data.request('rowKeyUnwrap', { blob })).rowKey).toEqual(rowKey);
    const moved = await moveWallet(host, owned, host.data, data);
    expect((await sign(moved, data)).signature).toBeDefined();
    // Changed, it is refused, or opens by the other sealing to the same key; never to another one.
    for (let at = 0; at < blob.length; at += 11) {
      const said = await data.request('rowKeyUnwrap', { blob: flipped(blob, at) }).then(
        (reply) => reply.rowKey,
        (error: unknown) => codeOf(error),
      );
      expect([rowKey, 'kms_unavailable', 'key_blob_invalid']).toContainEqual(said);
    }
    data.close();
  });

  it('the image without a second key opens by the first what was made with both', async () => {
    const owned = await host.openWallet();
    const { blob } = await host.data.request('rowKeyCreate', {});
    const image = await host.backend.measureImage('single', (config) => {
      delete config.kms['second'];
    });
    expect(parseEnclaveConfig(new Uint8Array(readFileSync(image.configFile))).kms.keys).toHaveLength(1);
    const enclave = await host.backend.startEnclave('single', image);
    await host.tunnel(enclave.addresses.tunnel);
    const data = host.connect(enclave.addresses.data);
    await host.giveCredentials(data);
    const moved = await moveWallet(host, owned, host.data, data);
    expect((await sign(moved, data)).signature).toBeDefined();
    await data.request('rowKeyUnwrap', { blob });
    await host.backend.kmsKeys.disable(keys().current);
    await expectCode(sign(moved, data), 'kms_refused');
    data.close();
  });
});

describe('the first key lost for good', () => {
  it('the second takes its place in another image, which signs for the wallets of before, and renews them', async () => {
    const owned = await host.openWallet();
    const { blob } = await host.data.request('rowKeyCreate', {});
    const { rowKey } = await host.data.request('rowKeyUnwrap', { blob });
    const { current, second: promoted } = keys();
    const image = await host.backend.measureImage('promoted', (config) => {
      const { rootCertificates } = config.kms;
      config.kms = { ...measuredKey(promoted), rootCertificates };
    });
    const enclave = await host.backend.startEnclave('promoted', image);
    await host.tunnel(enclave.addresses.tunnel);
    const data = host.connect(enclave.addresses.data);
    await host.giveCredentials(data);
    await host.backend.kmsKeys.disable(current);
    const moved = await moveWallet(host, owned, host.data, data);
    expect((await sign(moved, data)).signature).toBeDefined();
    expect((await data.request('rowKeyUnwrap', { blob })).rowKey).toEqual(rowKey);
    const { rewrapped } = await data.request('walletRewrap', {
      wallet: moved.address,
      owner: moved.owner.address,
      blobs: moved.blobs,
      policy: moved.policy.bytes,
    });
    expect(rewrapped.keys.second).toBeUndefined();
    const { kmsKeys = [] } = await data.request('status', {});
    expect(kmsKeys.map(({ use }) => use)).toEqual(['current']);
    data.close();
  });
});
