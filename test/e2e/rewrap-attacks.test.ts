/** Re-wrapping, against a host that sends what it likes: old blobs, others' blobs, at any moment. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { leaseCodec, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { importInto, importing, outsideKey } from '../support/import-kit.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, resumeSignatures, signedBy } from '../support/operator-keys.ts';
import { retiring } from '../support/retire-kit.ts';
import { enabling, party } from '../support/wallet-kit.ts';

type Rewrapping = ReplyOf<'walletRewrap'>;

let host: MaliciousHost;
let boot: BootId;
beforeAll(async () => {
  host = await MaliciousHost.start({ unwrappedKeys: { timeToLiveSeconds: 300, count: 4 } });
  await host.giveCredentials();
  boot = (await host.data.request('status', {})).boot as BootId;
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

const asking = (wallet: KitWallet) => ({
  wallet: wallet.address,
  owner: wallet.owner.address,
  blobs: wallet.blobs,
  policy: wallet.policy.bytes,
});
const rewrap = (wallet: KitWallet, data: EnclaveClient = host.data) => data.request('walletRewrap', asking(wallet));
const sign = (wallet: KitWallet, change: Parameters<MaliciousHost['request']>[1] = {}, data = host.data) =>
  data.request('sign', host.request(wallet, change));
const stateOf = (wallet: KitWallet) => host.data.request('stateGet', { wallet: wallet.address });

/** What the host stores of it. */
function moved(wallet: KitWallet, { rewrapped, state }: Pick<Rewrapping, 'rewrapped' | 'state'>): KitWallet {
  const { keys, mac } = rewrapped;
  return {
    ...wallet,
    blobs: { ...keys, sealedState: state.blob },
    policy: { ...wallet.policy, mac: mac ?? wallet.policy.mac },
  };
}

describe('re-wrapping', () => {
  it('changes key, salt, every blob and the MAC, and nothing that the wallet may do; the leaf says so', async () => {
    const wallet = await host.openWallet();
    const before = await sign(wallet, { lamports: 7n });
    const answer = await rewrap(wallet);
    const { keys, mac } = answer.rewrapped;
    for (const name of ['salt', 'executionKey', 'sealedSeed'] as const)
      expect(equalBytes(keys[name], wallet.blobs[name])).toBe(false);
    expect(keys.sealedSeed).toHaveLength(wallet.blobs.sealedSeed.length);
    expect(mac).not.toEqual(wallet.policy.mac);
    expect(answer.state.version).toBe((before.state?.version ?? 0n) + 1n);
    expect(decodeLeaf(answer.receipt.leaf)).toMatchObject({
      kind: 'rewrapped',
      wallet: wallet.address,
      stateVersion: answer.state.version,
      policyHash: policyHash(wallet.policy.bytes),
      time: answer.rewrapped.at,
    });
    expect(await stateOf(wallet)).toEqual({ state: answer.state, rewrapped: answer.rewrapped });
    const after = moved(wallet, answer);
    expect((await sign(after)).state?.version).toBe(answer.state.version + 1n);
    expect((await host.data.request('signBatch', host.batch(after, [1n, 2n]))).state).toBeDefined();
  });

  it('is done twice, and again; each time only the last blobs count', async () => {
    const first = await host.openWallet();
    const second = moved(first, await rewrap(first));
    const third = moved(second, await rewrap(second));
    for (const old of [first, second]) {
      await expectCode(sign(old), 'wallet_keys_replaced');
      await expectCode(sign(old, { body: { dryRun: true } }), 'wallet_keys_replaced');
      await expectCode(host.data.request('signBatch', host.batch(old, [1n])), 'wallet_keys_replaced');
      await expectCode(rewrap(old), 'wallet_keys_replaced');
    }
    // Not one of the old beside the new, either.
    const { salt, executionKey, sealedSeed } = first.blobs;
    for (const part of [{ salt }, { executionKey }, { sealedSeed }])
      await expectCode(sign({ ...third, blobs: { ...third.blobs, ...part } }), 'wallet_keys_replaced');
    // An old state under the new keys, or a new one of the old keys: nothing opens.
    for (const { blobs } of [first, second])
      await expectCode(sign({ ...third, blobs: { ...third.blobs, sealedState: blobs.sealedState } }), 'state_invalid');
    await expectCode(sign({ ...third, policy: first.policy }), 'policy_mac_invalid');
    expect((await sign(third)).signature).toHaveLength(64);
  });

  it('gives the same bytes for what was signed before, and spends nothing again', async () => {
    const wallet = await host.openWallet({ sol: { maxPerTransaction: '5', destinations: [] } });
    const open = await host.openWallet();
    const request = host.request(open, { id: 'before-the-rotation' as RequestId });
    const signed = await host.data.request('sign', request);
    const after = moved(open, await rewrap(open));
    const { blobs, policy } = after;
    const again = await host.data.request('sign', { ...request, blobs, policy });
    expect(again.signature).toEqual(signed.signature);
    expect(decodeLeaf((again.receipt as NonNullable<typeof again.receipt>).leaf).repeats).toBeDefined();
    // What a policy denies it denies afterwards.
    const strict = moved(wallet, await rewrap(wallet));
    await expectCode(sign(strict, { lamports: 6n }), 'policy_denied');
  });

  it('is not done with blobs of another wallet or owner, for a policy that does not count, or for nobody’s wallet', async () => {
    const [wallet, other] = [await host.openWallet(), await host.openWallet()];
    await expectCode(rewrap({ ...wallet, blobs: other.blobs }), 'wallet_keys_replaced');
    await expectCode(rewrap({ ...wallet, owner: other.owner }), 'wallet_owner_mismatch');
    await expectCode(rewrap({ ...wallet, address: other.address }), 'policy_not_current');
    await expectCode(rewrap({ ...wallet, policy: other.policy }), 'policy_not_current');
    const { policy: _, ...without } = asking(wallet);
    await expectCode(host.data.request('walletRewrap', without), 'policy_not_current');
    const stranger = { ...wallet, address: party().address };
    await expectCode(rewrap(stranger), 'key_blob_invalid');
    const { sealedState } = other.blobs;
    await expectCode(rewrap({ ...wallet, blobs: { ...wallet.blobs, sealedState } }), 'state_invalid');
    expect((await sign(wallet)).signature).toHaveLength(64);
    const bare = await host.createWallet();
    const unset = { ...bare, policy: wallet.policy };
    await expectCode(rewrap(unset), 'policy_not_current');
  });

  it('is done to a wallet without a policy, whose owner enables one afterwards', async () => {
    const bare = await host.createWallet();
    const { address: wallet, owner, blobs } = bare;
    const answer = await host.data.request('walletRewrap', { wallet, owner: owner.address, blobs });
    expect(answer.rewrapped.mac).toBeUndefined();
    expect(decodeLeaf(answer.receipt.leaf).policyHash).toBeUndefined();
    const there = { ...bare, blobs: { ...answer.rewrapped.keys, sealedState: answer.state.blob } };
    const open = await host.enable(there, host.documentFor(there));
    expect((await sign(open)).signature).toHaveLength(64);
    // The host that lost all of it is told the MAC that counts.
    const newest = await stateOf(open);
    expect(newest.rewrapped?.mac).toEqual(open.policy.mac);
    expect(
      (await sign(moved(open, { ...newest, rewrapped: newest.rewrapped as Rewrapping['rewrapped'] }))).state,
    ).toBeDefined();
  });

  it('does not undo a repeat of enabling: the same statement gives state and MAC as they are now', async () => {
    const bare = await host.createWallet();
    const { deployment } = host.backend;
    const request = enabling(bare.owner, bare.blobs, { deployment, document: host.documentFor(bare) });
    const enabled = await host.data.request('policyEnable', request);
    const policy = { bytes: request.policy, mac: enabled.mac };
    const before = { ...bare, policy, blobs: { ...bare.blobs, sealedState: enabled.state.blob } };
    const after = moved(before, await rewrap(before));
    await expectCode(host.data.request('policyEnable', request), 'wallet_keys_replaced');
    const again = await host.data.request('policyEnable', { ...request, blobs: after.blobs });
    expect(again.mac).toEqual(after.policy.mac);
    expect(again.enableReceipt).toEqual(enabled.enableReceipt);
    expect(again.state.blob).toEqual(after.blobs.sealedState);
  });

  it('is done while a freeze holds, of the wallet or of the fleet, and clears none', async () => {
    const wallet = await host.openWallet();
    const scope = walletScope(wallet.address);
    const { ack } = await host.control.request('freeze', { scope, reason: 'a test' });
    const after = moved(wallet, await rewrap(wallet));
    await expectCode(sign(after), 'frozen');
    const { freezeId } = decodeAs(freezeAckCodec, ack.bytes, 'ack');
    const facts = { deployment: host.backend.deployment, boot, scope, freezeId: toHex(freezeId) };
    await host.data.request('resume', { scope, freezeId, signatures: resumeSignatures(facts, wallet.owner) });
    expect((await sign(after)).signature).toHaveLength(64);
  });

  it('is not done to a retired wallet, nor when it is retired meanwhile', async () => {
    const wallet = await host.openWallet();
    const { deployment } = host.backend;
    const facts = { deployment, boot, wallet: wallet.address, owner: wallet.owner, policy: wallet.policy.bytes };
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 1_500 } });
    const racing = rewrap(wallet).catch(codeOf);
    const retired = await host.data.request('walletRetire', { ...retiring(facts), blobs: wallet.blobs });
    expect(await racing).toBe('wallet_retired');
    await host.kms.clearFaults();
    const ended = { ...wallet, blobs: { ...wallet.blobs, sealedState: retired.state.blob } };
    await expectCode(rewrap(ended), 'wallet_retired');
    expect((await stateOf(wallet)).rewrapped).toBeUndefined();
  });

  it('leaves an imported wallet that is imported again where it is', async () => {
    const { deployment } = host.backend;
    const { document } = await host.data.request('attest', { nonce: new Uint8Array(32) });
    const [owner, key] = [party(), outsideKey()];
    const facts = { deployment, owner, requesters: [party().address], key, ...importInto(document) };
    const made = await host.data.request('walletImport', importing(facts));
    await host.data.request('walletRewrap', { wallet: made.wallet, owner: owner.address, blobs: made.blobs });
    await expectCode(host.data.request('walletImport', importing(facts)), 'wallet_exists');
  });

  it('overtaken by another one of the same wallet, is refused: one set of blobs counts', async () => {
    const wallet = await host.openWallet();
    const outcomes = await Promise.all([1, 2, 3].map(() => rewrap(wallet).catch(codeOf)));
    const done = outcomes.filter((outcome): outcome is Rewrapping => typeof outcome !== 'string');
    expect(done).toHaveLength(1);
    expect(outcomes.filter((outcome) => outcome === 'wallet_keys_replaced')).toHaveLength(2);
    expect((await sign(moved(wallet, done[0] as Rewrapping))).signature).toHaveLength(64);
  });

  it('has signatures under way signed before it, or refused unsigned', async () => {
    const wallet = await host.openWallet();
    const racing = Array.from({ length: 20 }, () =>
      sign(wallet).then(
        ({ receipt }) => decodeLeaf((receipt as NonNullable<typeof receipt>).leaf).sequence,
        (error: unknown) => codeOf(error),
      ),
    );
    const answer = await rewrap(wallet);
    const at = decodeLeaf(answer.receipt.leaf).sequence;
    for (const outcome of await Promise.all(racing)) {
      if (typeof outcome === 'bigint') expect(outcome).toBeLessThan(at);
      else expect(outcome).toBe('wallet_keys_replaced');
    }
    expect((await sign(moved(wallet, answer))).signature).toHaveLength(64);
  });

  it('takes no more slots than there are, and gives each back', async () => {
    const wallets: KitWallet[] = [];
    while (wallets.length < LIMITS.pendingWalletCreations + 4) wallets.push(await host.openWallet());
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 800 } });
    const outcomes = await Promise.all(wallets.map((wallet) => rewrap(wallet).then(() => 'done', codeOf)));
    expect(outcomes.filter((outcome) => outcome === 'done')).toHaveLength(LIMITS.pendingWalletCreations);
    expect(outcomes.filter((outcome) => outcome === 'overloaded')).toHaveLength(4);
    await host.kms.clearFaults();
    const refused = wallets.filter((_, index) => outcomes[index] === 'overloaded');
    for (const wallet of refused) expect((await rewrap(wallet)).state.version).toBe(3n);
  });
});

describe('a key that is kept', () => {
  it('is not kept beyond the end of its blobs', async () => {
    const calls = async (): Promise<bigint> => (await host.data.request('status', {})).kmsCalls ?? 0n;
    const wallet = await host.openWallet();
    await sign(wallet);
    const before = await calls();
    const after = moved(wallet, await rewrap(wallet));
    // The old one was here: a data key, and the proof that it opens.
    expect(await calls()).toBe(before + 2n);
    await sign(after);
    expect(await calls()).toBe(before + 3n);
    await sign(after);
    expect(await calls()).toBe(before + 3n);
  });
});

describe('a key service that lies or fails', () => {
  it.each([
    ['GenerateDataKey', { kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
    ['GenerateDataKey', { kind: 'noEnvelope' }, 'kms_response_invalid'],
    ['Decrypt', { kind: 'otherSecret' }, 'sealed_seed_invalid'],
    ['Decrypt', { kind: 'refuse', error: 'AccessDeniedException' }, 'kms_refused'],
    ['GenerateDataKey', { kind: 'otherSecret' }, 'sealed_seed_invalid'],
  ] as const)('at %s (%o) changes nothing', async (operation, fault, code) => {
    const wallet = await host.openWallet();
    // So that the old key is here, and the fault meets the new one.
    await sign(wallet);
    const before = await stateOf(wallet);
    await host.kms.setFaults({ operations: [operation], fault });
    await expectCode(rewrap(wallet), code);
    await host.kms.clearFaults();
    expect(await stateOf(wallet)).toEqual(before);
    expect((await sign(wallet)).signature).toHaveLength(64);
    const after = moved(wallet, await rewrap(wallet));
    expect((await sign(after)).signature).toHaveLength(64);
  });
});

describe('a re-wrapped wallet on its way to another boot', () => {
  let second: EnclaveClient;
  let successor: BootId;

  beforeAll(async () => {
    const started = await host.backend.startEnclave('second');
    await host.tunnel(started.addresses.tunnel);
    second = host.connect(started.addresses.data);
    await host.giveCredentials(second);
    successor = (await second.request('status', {})).boot as BootId;
  });

  const inAnHour = () => timeMs(Date.now() + 3_600_000);

  it('by release: the answer brings what the state is sealed under, also to a host that lost it', async () => {
    const wallet = await host.openWallet();
    await rewrap(wallet);
    const bytes = encodeAs(releaseOrderCodec, {
      deployment: host.backend.deployment,
      predecessor: boot,
      successor,
      notAfter: inAnHour(),
    });
    const order = { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 1)) };
    const given = await host.data.request('release', { order, wallet: wallet.address });
    const there = moved(wallet, given as Rewrapping);
    const claim = { wallet: wallet.address, owner: wallet.owner.address, release: given.release };
    // The state with the old blobs opens nowhere.
    const { sealedState } = there.blobs;
    await expectCode(second.request('take', { ...claim, blobs: { ...wallet.blobs, sealedState } }), 'state_invalid');
    const taken = await second.request('take', { ...claim, blobs: there.blobs });
    const now = { ...there, blobs: { ...there.blobs, sealedState: taken.state.blob } };
    expect((await sign(now, {}, second)).signature).toHaveLength(64);
    // Gone from here, and still told.
    expect((await stateOf(wallet)).rewrapped).toEqual(given.rewrapped);
    await expectCode(rewrap(there), 'wallet_held_elsewhere');
    // A database from before that has other blobs: the new holder tells those that count, and MACs the policy anew.
    await expectCode(sign(wallet, {}, second), 'wallet_keys_replaced');
    const told = await second.request('stateGet', { wallet: wallet.address });
    expect(told.rewrapped?.keys).toEqual(given.rewrapped?.keys);
    expect(told.state.version).toBe(taken.state.version + 1n);
    const restored = moved(wallet, told as Rewrapping);
    await expectCode(sign(restored, {}, second), 'policy_mac_invalid');
    // And once more there.
    const again = moved(restored, await rewrap(restored, second));
    expect((await sign(again, {}, second)).signature).toHaveLength(64);
    await expectCode(sign(now, {}, second), 'wallet_keys_replaced');
  });

  it('by lease: a state from before the re-wrapping is too old where the log shows it', async () => {
    const wallet = await host.openWallet();
    const before = await stateOf(wallet);
    const answer = await rewrap(wallet);
    const lease = async (version: bigint) => {
      const bytes = encodeAs(leaseCodec, {
        deployment: host.backend.deployment,
        predecessor: boot,
        successor,
        wallets: [{ wallet: wallet.address, version }],
        freezes: [],
        checkpoint: (await host.data.request('checkpoint', {})).note,
        notAfter: inAnHour(),
        sumsProven: true,
      });
      return { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 2)) };
    };
    const claim = { wallet: wallet.address, owner: wallet.owner.address, lease: await lease(answer.state.version) };
    const old = { ...wallet.blobs, sealedState: before.state.blob };
    await expectCode(second.request('take', { ...claim, blobs: old }), 'state_too_old');
    const there = moved(wallet, answer);
    const taken = await second.request('take', { ...claim, blobs: there.blobs });
    const now = { ...there, blobs: { ...there.blobs, sealedState: taken.state.blob } };
    expect((await sign(now, { lamports: 1n }, second)).signature).toHaveLength(64);
    await expectCode(second.request('take', { ...claim, blobs: old }), 'wallet_keys_replaced');
  });

  it('by lease to an older state, where nobody saw the re-wrapping: it goes on under the old blobs', async () => {
    const wallet = await host.openWallet();
    const before = await stateOf(wallet);
    const checkpoint = (await host.data.request('checkpoint', {})).note;
    await rewrap(wallet);
    const bytes = encodeAs(leaseCodec, {
      deployment: host.backend.deployment,
      predecessor: boot,
      successor,
      wallets: [{ wallet: wallet.address, version: before.state.version }],
      freezes: [],
      checkpoint,
      notAfter: inAnHour(),
      sumsProven: true,
    });
    const lease = { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 2)) };
    const blobs = { ...wallet.blobs, sealedState: before.state.blob };
    const taken = await second.request('take', { wallet: wallet.address, owner: wallet.owner.address, blobs, lease });
    const now = { ...wallet, blobs: { ...blobs, sealedState: taken.state.blob } };
    expect((await sign(now, {}, second)).signature).toHaveLength(64);
  });
});
