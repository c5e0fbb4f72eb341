/** Successors who become owners: not before the delay has passed, and what of the owner before still counts afterwards. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { verifySuccessionAck } from '@quantumvault/shared/evidence/verify.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verifyEd25519 } from '../shared/evidence/signed.ts';
import { CLOCK_OFFSET_FILE } from '../stack/nsm/root.ts';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, resumeSignatures, signedBy } from '../support/operator-keys.ts';
import { retiring } from '../support/retire-kit.ts';
import { type Claiming, cancelling, claiming, completing, naming } from '../support/successor-kit.ts';
import { creation, enabling, type Party, party, secondsFromNow } from '../support/wallet-kit.ts';
import { solWindow } from './succession-kit.ts';

const DAY_MS = 86_400_000;
let host: MaliciousHost;
let boot: BootId;
let heir: Party;
/** How far the module's clock is ahead of this machine's. */
let ahead = 0;
let rowKey: ReplyOf<'rowKeyCreate'>;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  boot = (await host.data.request('status', {})).boot as BootId;
  heir = party();
  rowKey = await host.data.request('rowKeyCreate', {});
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

const soon = (seconds = 600) => timeMs(secondsFromNow(seconds) + ahead);
const factsOf = (wallet: KitWallet, change: number, at = boot, owner = wallet.owner) => ({
  deployment: host.backend.deployment,
  boot: at,
  wallet: wallet.address,
  owner,
  change,
});

const setClock = (): void => writeFileSync(join(host.backend.dir, 'nsm-root', CLOCK_OFFSET_FILE), String(ahead));

/** Time goes by, for the security module, and for KMS where it judges documents of it. */
async function pass(milliseconds: number): Promise<void> {
  const { blob } = rowKey;
  // A recipient whose envelope did not open is not shown to KMS again: the next document has the new time.
  await host.kms.setFaults({
    operations: ['Decrypt'],
    fault: { kind: 'envelope', options: { flippedWrappedKey: true } },
  });
  await expectCode(host.data.request('rowKeyUnwrap', { blob }), 'kms_response_invalid');
  await host.kms.clearFaults();
  ahead += milliseconds;
  setClock();
  await host.data.request('attest', { nonce: new Uint8Array(32) });
}

function stored<T extends { readonly state: { readonly blob: Uint8Array } }>(wallet: KitWallet, answer: T): T {
  wallet.blobs = { ...wallet.blobs, sealedState: answer.state.blob };
  return answer;
}

const sign = (wallet: KitWallet, { data = host.data }: { data?: EnclaveClient } = {}) =>
  data.request('sign', host.request(wallet, { timestamp: Math.floor((Date.now() + ahead) / 1000) }));
const claim = async (wallet: KitWallet, change = 2) =>
  stored(
    wallet,
    await host.data.request('takeoverClaim', {
      ...claiming(factsOf(wallet, change), heir, { before: soon() }),
      blobs: wallet.blobs,
    }),
  );
const completion = (wallet: KitWallet, change: Partial<Claiming> = {}, number = 3) =>
  completing(factsOf(wallet, number), heir, { before: soon(), ...change });
const complete = (wallet: KitWallet, statement = completion(wallet), data = host.data) =>
  data.request('takeoverComplete', { ...statement, blobs: wallet.blobs });

/** As a host stores it: whose it is, and what it is sealed under. */
function takenOver(wallet: KitWallet, { state, rewrapped }: ReplyOf<'takeoverComplete'>): KitWallet {
  return { ...wallet, owner: heir, blobs: { ...rewrapped.keys, sealedState: state.blob } };
}

async function openWallet(more: (document: Record<string, unknown>) => Record<string, unknown> = (same) => same) {
  const [owner, requester, destination] = [party(), party(), party().address];
  const request = creation(host.backend.deployment, owner, [requester], { createBefore: soon() });
  const reply = await host.data.request('walletCreate', request);
  const created = { address: reply.wallet, owner, requester, destination, created: reply, blobs: reply.blobs };
  const wallet = await enable(created, more(host.documentFor(created)));
  const named = naming(factsOf(wallet, 1), { key: heir.address, delayDays: 1 }, { before: soon() });
  stored(wallet, await host.data.request('successorName', { ...named, blobs: wallet.blobs }));
  return wallet;
}

async function enable(
  wallet: Omit<KitWallet, 'policy'> & Partial<Pick<KitWallet, 'policy'>>,
  document: Record<string, unknown>,
): Promise<KitWallet> {
  const { deployment } = host.backend;
  const previous = wallet.policy && { previous: wallet.policy.bytes };
  const request = enabling(wallet.owner, wallet.blobs, { deployment, document, enableBefore: soon(), ...previous });
  const enabled = await host.data.request('policyEnable', request);
  const blobs = { ...wallet.blobs, sealedState: enabled.state.blob };
  return { ...wallet, blobs, policy: { bytes: request.policy, mac: enabled.mac } };
}

/** Claimed, and the delay has passed. */
async function dueWallet(more?: Parameters<typeof openWallet>[0]): Promise<KitWallet> {
  const wallet = await openWallet(more);
  await claim(wallet);
  await pass(DAY_MS);
  return wallet;
}

const retire = (wallet: KitWallet) => {
  const { deployment } = host.backend;
  const facts = { deployment, boot, wallet: wallet.address, owner: wallet.owner, policy: wallet.policy.bytes };
  return host.data.request('walletRetire', { ...retiring(facts, { retireBefore: soon() }), blobs: wallet.blobs });
};

describe('a successor', () => {
  it('becomes the owner when the delay has passed, and not a moment before', async () => {
    const wallet = await openWallet();
    await expectCode(complete(wallet, completion(wallet, {}, 2)), 'takeover_not_running');
    const claimed = await claim(wallet);
    const at = decodeLeaf(claimed.receipt.leaf).time;
    const early = await expectCode(complete(wallet), 'takeover_too_early');
    expect(early.facts.value).toBe(new Date(at + DAY_MS).toISOString());
    await pass(DAY_MS - 60_000);
    await expectCode(complete(wallet), 'takeover_too_early');
    // Signing has gone on all the time, under the owner's policy.
    expect((await sign(wallet)).signature).toHaveLength(64);
    await pass(60_000);
    const statement = completion(wallet);
    const done = await complete(wallet, statement);
    const { deployment, nonce } = statement;
    const owner = wallet.owner.address;
    const expected = { deployment, boot, wallet: wallet.address, owner, actor: heir.address, change: 3, nonce };
    const ack = verifySuccessionAck(
      done.ack,
      done.receipt,
      { ...expected, kind: 'owner-changed', successor: heir.address, delayDays: 1 },
      verifyEd25519,
    );
    expect(ack.succession.claimedAt).toBe(at);
    const leaf = decodeLeaf(done.receipt.leaf);
    expect(leaf).toMatchObject({ kind: 'owner-changed', actor: heir.address, stateVersion: done.state.version });
    // The answer once more, with the newest state, and no leaf more; also by stateGet.
    const { leaves } = await host.data.request('status', {});
    expect(await complete(wallet, statement)).toEqual(done);
    expect((await host.data.request('status', {})).leaves).toBe(leaves);
    const newest = await host.data.request('stateGet', { wallet: wallet.address });
    expect(newest).toMatchObject({ state: done.state, rewrapped: { owner: heir.address } });
    expect(done.rewrapped.keys.executionKey).not.toEqual(wallet.blobs.executionKey);
  });

  it('finds no policy of before that counts, and enables the next one; windows go on', async () => {
    const window = solWindow('1500');
    const wallet = await dueWallet(window);
    stored(wallet, (await sign(wallet)) as { state: NonNullable<ReplyOf<'sign'>['state']> });
    const mine = takenOver(wallet, await complete(wallet));
    for (const each of [wallet, mine]) await expectCode(sign(each), 'wallet_owner_mismatch');
    const document = (epoch: number) => window(host.documentFor(mine, { epoch }));
    await expectCode(
      enable({ ...wallet, blobs: mine.blobs }, { ...document(2), owner: wallet.owner.address }),
      'wallet_owner_mismatch',
    );
    // The epoch rises, and the one of before is named.
    await expectCode(enable(mine, document(1)), 'policy_epoch_not_increasing');
    const { policy: _, ...without } = mine;
    await expectCode(enable(without, document(2)), 'policy_previous_mismatch');
    const opened = await enable(mine, document(2));
    // 1,000 of 1,500 lamports were spent under the owner before.
    const denied = await expectCode(sign(opened), 'policy_denied');
    expect(denied.facts.path).toBe('sol.window');
    const third = await enable(opened, host.documentFor(opened, { epoch: 3 }));
    expect((await sign(third)).signature).toHaveLength(64);
  });

  it('who was the owner before finds no policy either, not even his own', async () => {
    const wallet = await dueWallet();
    const back = wallet.owner;
    const his = takenOver(wallet, await complete(wallet));
    const named = naming(factsOf(his, 4), { key: back.address, delayDays: 1 }, { before: soon() });
    stored(his, await host.data.request('successorName', { ...named, blobs: his.blobs }));
    const claimed = claiming(factsOf(his, 5), back, { before: soon() });
    stored(his, await host.data.request('takeoverClaim', { ...claimed, blobs: his.blobs }));
    await pass(DAY_MS);
    const statement = completing(factsOf(his, 6), back, { before: soon() });
    const done = await host.data.request('takeoverComplete', { ...statement, blobs: his.blobs });
    const mine = { ...takenOver(his, done), owner: back };
    // The state names that policy for the next one to follow it, so that a host gets a MAC for it.
    const { address: owned, blobs, policy } = mine;
    const asked = { wallet: owned, owner: back.address, blobs, policy: policy.bytes };
    const { rewrapped, state } = await host.data.request('walletRewrap', asked);
    const mac = rewrapped.mac as Uint8Array;
    const renewed = { ...mine, blobs: { ...rewrapped.keys, sealedState: state.blob }, policy: { ...policy, mac } };
    await expectCode(sign(renewed), 'wallet_without_policy');
    const opened = await enable(renewed, host.documentFor(renewed, { epoch: 2 }));
    expect((await sign(opened)).signature).toHaveLength(64);
  });

  it('leaves the owner before nothing to say, and has no successor yet', async () => {
    const wallet = await dueWallet();
    const mine = takenOver(wallet, await complete(wallet));
    const before = { ...mine, owner: wallet.owner };
    const name = (each: KitWallet, change: number) => {
      const facts = factsOf(each, change);
      const statement = naming(facts, { key: party().address, delayDays: 9 }, { before: soon() });
      return host.data.request('successorName', { ...statement, blobs: mine.blobs });
    };
    await expectCode(name(before, 4), 'wallet_owner_mismatch');
    await expectCode(retire(before), 'wallet_owner_mismatch');
    const again = claiming(factsOf(mine, 4), heir, { before: soon() });
    await expectCode(host.data.request('takeoverClaim', { ...again, blobs: mine.blobs }), 'successor_mismatch');
    const { receipt } = await name(mine, 4);
    expect(decodeLeaf(receipt.leaf).succession).toMatchObject({ change: 4, owner: heir.address });
  });

  it('is not kept from it by what comes too late, but by the end of the wallet', async () => {
    const wallet = await dueWallet();
    const facts = factsOf(wallet, 3);
    const late = cancelling(facts, heir.address, { before: soon() });
    await expectCode(host.data.request('takeoverCancel', { ...late, blobs: wallet.blobs }), 'takeover_due');
    for (const successor of [undefined, { key: party().address, delayDays: 1 }])
      await expectCode(
        host.data.request('successorName', {
          ...naming(facts, successor, { before: soon() }),
          blobs: wallet.blobs,
        }),
        'takeover_due',
      );
    // He is the owner still, and may do what owners do.
    await retire(wallet);
    await expectCode(complete(wallet), 'wallet_retired');
  });

  it('clears no freeze; afterwards his word ends it, and not that of the owner before', async () => {
    const wallet = await openWallet();
    const scope = walletScope(wallet.address);
    const { ack } = await host.control.request('freeze', { scope, reason: 'a test' });
    const { freezeId } = decodeAs(freezeAckCodec, ack.bytes, 'ack');
    await claim(wallet);
    await pass(DAY_MS);
    const mine = takenOver(wallet, await complete(wallet));
    const opened = await enable(mine, host.documentFor(mine, { epoch: 2 }));
    await expectCode(sign(opened), 'frozen');
    const facts = { deployment: host.backend.deployment, boot, scope, freezeId: toHex(freezeId) };
    const resume = (by: Party) =>
      host.data.request('resume', { scope, freezeId, signatures: resumeSignatures(facts, by) });
    await expectCode(resume(wallet.owner), 'statement_signature_invalid');
    await resume(heir);
    expect((await sign(opened)).signature).toHaveLength(64);
  });

  it('overtakes what waits for KMS: each signature is on record before him, or refused', async () => {
    const wallet = await dueWallet();
    const racing = Array.from({ length: 20 }, () =>
      sign(wallet).then(
        ({ receipt }) => (receipt === undefined ? 0n : decodeLeaf(receipt.leaf).sequence),
        (error: unknown) => codeOf(error),
      ),
    );
    const { receipt } = await complete(wallet);
    const end = decodeLeaf(receipt.leaf).sequence;
    for (const outcome of await Promise.all(racing)) {
      if (typeof outcome === 'bigint') expect(outcome).toBeLessThan(end);
      else expect(['wallet_owner_mismatch', 'wallet_keys_replaced']).toContain(outcome);
    }
  });
});

describe('a host', () => {
  it('has no other word, blob, wallet or successor count', async () => {
    const [wallet, other] = [await dueWallet(), await dueWallet()];
    const right = completion(wallet);
    for (const change of [
      { wallet: other.address },
      { owner: party().address },
      { change: 4 },
      { nonce: new Uint8Array(16) },
      { successor: party().address },
    ])
      await expectCode(complete(wallet, { ...right, ...change }), 'statement_signature_invalid');
    const stranger = party();
    const theirs = completing(factsOf(wallet, 3), stranger, { before: soon() });
    await expectCode(complete(wallet, theirs), 'successor_mismatch');
    // The owner's own claim, or the successor's earlier one, is none of it.
    const claimed = claiming(factsOf(wallet, 3), heir, { before: soon() });
    await expectCode(complete(wallet, claimed), 'statement_signature_invalid');
    await expectCode(complete({ ...wallet, blobs: other.blobs }, right), 'wallet_keys_replaced');
    const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
    for (const field of ['salt', 'executionKey', 'sealedSeed'] as const)
      await expectCode(
        complete({ ...wallet, blobs: { ...wallet.blobs, [field]: flip(wallet.blobs[field]) } }, right),
        'wallet_keys_replaced',
      );
    const sealedState = flip(wallet.blobs.sealedState);
    await expectCode(complete({ ...wallet, blobs: { ...wallet.blobs, sealedState } }, right), 'state_invalid');
    await complete(wallet, right);
  });

  it('whose KMS fails in the middle has changed nothing', async () => {
    const wallet = await dueWallet();
    for (const operation of ['Decrypt', 'GenerateDataKey']) {
      await host.kms.setFaults({ operations: [operation], fault: { kind: 'refuse', error: 'KMSInternalException' } });
      expect(await complete(wallet).then(() => 'done', codeOf)).toMatch(/^kms_/);
      await host.kms.clearFaults();
      expect((await sign(wallet)).signature).toHaveLength(64);
    }
    await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'otherSecret' } });
    expect(await complete(wallet).then(() => 'done', codeOf)).not.toBe('done');
    await host.kms.clearFaults();
    expect((await sign(wallet)).signature).toHaveLength(64);
    await complete(wallet);
  });

  it('whose clock goes back ends nothing early: nothing is decided', async () => {
    const wallet = await dueWallet();
    ahead -= DAY_MS;
    setClock();
    await host.data.request('attest', { nonce: new Uint8Array(32) });
    await expectCode(complete(wallet, completion(wallet, { before: soon(86_400 + 600) })), 'time_untrusted');
    ahead += DAY_MS;
    setClock();
    await host.data.request('attest', { nonce: new Uint8Array(32) });
    await complete(wallet);
  });
});

describe('another boot', () => {
  it('goes on counting behind a release, and takes over what was taken over', async () => {
    const wallet = await openWallet();
    await claim(wallet);
    const taken = await openWallet();
    await claim(taken);
    await pass(DAY_MS);
    const mine = takenOver(taken, await complete(taken));
    const started = await host.backend.startEnclave('second');
    await host.tunnel(started.addresses.tunnel);
    const second = host.connect(started.addresses.data);
    await host.giveCredentials(second);
    const successor = (await second.request('status', {})).boot as BootId;
    for (const each of [wallet, mine]) {
      const bytes = encodeAs(releaseOrderCodec, {
        deployment: host.backend.deployment,
        predecessor: boot,
        successor,
        notAfter: soon(3_600),
      });
      const order = { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 1)) };
      const { release } = stored(each, await host.data.request('release', { order, wallet: each.address }));
      const taking = { wallet: each.address, blobs: each.blobs, release };
      const stranger = { ...taking, owner: party().address };
      await expectCode(second.request('take', stranger), 'key_blob_invalid');
      stored(each, await second.request('take', { ...taking, owner: each.owner.address }));
    }
    const statement = completing(factsOf(wallet, 3, successor), heir, { before: soon() });
    const done = await complete(wallet, statement, second);
    expect(decodeLeaf(done.receipt.leaf)).toMatchObject({ kind: 'owner-changed', boot: successor });
    const facts = factsOf(mine, 4, successor);
    const named = naming(facts, { key: party().address, delayDays: 2 }, { before: soon() });
    await second.request('successorName', { ...named, blobs: mine.blobs });
  });
});
