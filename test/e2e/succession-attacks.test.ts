/** Two enclaves, and a host between them that would like both to sign for one wallet, or an old state to count again. */

import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, bootIdOf, type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, freezeAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type Lease,
  leaseCodec,
  type OperatorSigned,
  type Release,
  releaseCodec,
  releaseOrderCodec,
} from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, resumeSignatures, signedBy } from '../support/operator-keys.ts';
import { type Party, party } from '../support/wallet-kit.ts';

interface Enclave {
  readonly data: EnclaveClient;
  readonly control: EnclaveClient;
  readonly boot: BootId;
}

let host: MaliciousHost;
let people: readonly Party[];
let first: Enclave;
let second: Enclave;
let third: Enclave;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  people = operators(host.backend.dir);
  first = await enclaveOf(host.data, host.control);
  [second, third] = [await startEnclave('second'), await startEnclave('third')];
}, 60_000);
afterAll(() => host?.stop());

async function enclaveOf(data: EnclaveClient, control: EnclaveClient): Promise<Enclave> {
  const { boot } = await data.request('status', {});
  return { data, control, boot: boot as BootId };
}

async function startEnclave(name: string): Promise<Enclave> {
  const started = await host.backend.startEnclave(name);
  await host.tunnel(started.addresses.tunnel);
  const data = host.connect(started.addresses.data);
  await host.giveCredentials(data);
  return enclaveOf(data, host.connect(started.addresses.control));
}

const inAnHour = () => timeMs(Date.now() + 3_600_000);
const two = () => people.slice(0, 2);
const checkpointOf = async ({ data }: Enclave): Promise<Uint8Array> => (await data.request('checkpoint', {})).note;
const stateOf = ({ data }: Enclave, wallet: KitWallet) => data.request('stateGet', { wallet: wallet.address });
const sign = ({ data }: Enclave, wallet: KitWallet, change: Parameters<MaliciousHost['request']>[1] = {}) =>
  data.request('sign', host.request(wallet, change));

function order(change: Partial<Parameters<typeof encodeOrder>[0]> = {}, signers = people.slice(2)): OperatorSigned {
  const bytes = encodeOrder({ from: first.boot, to: second.boot, ...change });
  return { bytes, signatures: signedBy(bytes, ...signers) };
}

function encodeOrder({ from, to, ...rest }: { from: BootId; to: BootId; deployment?: string; notAfter?: number }) {
  const { deployment = host.backend.deployment, notAfter = inAnHour() } = rest;
  return encodeAs(releaseOrderCodec, {
    deployment,
    predecessor: from,
    successor: to,
    notAfter: timeMs(notAfter),
  });
}

async function lease(
  wallet: KitWallet,
  change: Partial<Lease> = {},
  signers: readonly Party[] = two(),
): Promise<OperatorSigned> {
  const bytes = encodeAs(leaseCodec, {
    deployment: host.backend.deployment,
    predecessor: first.boot,
    successor: second.boot,
    wallets: [{ wallet: wallet.address, version: 1n }],
    freezes: [],
    checkpoint: await checkpointOf(first),
    notAfter: inAnHour(),
    sumsProven: true,
    ...change,
  });
  return { bytes, signatures: signedBy(bytes, ...signers) };
}

const claim = (wallet: KitWallet) => ({ wallet: wallet.address, owner: wallet.owner.address, blobs: wallet.blobs });
const takeByLease = async ({ data }: Enclave, wallet: KitWallet, signed: OperatorSigned) =>
  data.request('take', { ...claim(wallet), lease: signed });

/** The kit's wallet with the state that an enclave has just sealed. */
function sealed(wallet: KitWallet, blob: Uint8Array): KitWallet {
  return { ...wallet, blobs: { ...wallet.blobs, sealedState: blob } };
}

describe('a planned hand-over', () => {
  it('moves a wallet: one signs before, the other after, nobody both', async () => {
    const wallet = await host.openWallet();
    await sign(first, wallet, { lamports: 5n });
    await expectCode(sign(second, wallet), 'wallet_held_elsewhere');
    const given = await first.data.request('release', { order: order(), wallet: wallet.address });
    await expectCode(sign(first, wallet), 'wallet_held_elsewhere');
    const moved = sealed(wallet, given.state.blob);
    const taken = await second.data.request('take', { ...claim(moved), release: given.release });
    const now = sealed(wallet, taken.state.blob);
    expect((await sign(second, now)).signature).toHaveLength(64);
    await expectCode(sign(first, now), 'wallet_held_elsewhere');
    const release = decodeAs<Release>(releaseCodec, given.release.bytes, 'release');
    expect([release.predecessor, release.successor]).toEqual([first.boot, second.boot]);
    expect(decodeLeaf(given.receipt.leaf)).toMatchObject({ kind: 'release', successor: second.boot });
    expect(decodeLeaf(taken.receipt.leaf)).toMatchObject({
      kind: 'release',
      stateVersion: release.version + 1n,
      predecessor: { boot: first.boot },
    });
    // Asked again, both say the same again.
    expect(await first.data.request('release', { order: order(), wallet: wallet.address })).toEqual(given);
  });

  it('is not done for an order of nobody, for others, for another time or another deployment', async () => {
    const wallet = await host.openWallet();
    const stranger = { ...order({}, []), signatures: signedBy(order().bytes, wallet.owner) };
    for (const [signed, code] of [
      [stranger, 'operators_too_few'],
      [{ ...order(), bytes: order({ to: third.boot }).bytes }, 'operators_too_few'],
      [order({ from: third.boot }), 'succession_mismatch'],
      [order({ to: first.boot }), 'succession_mismatch'],
      [order({ deployment: 'another' }), 'succession_mismatch'],
      [order({ notAfter: Date.now() - 5_000 }), 'succession_expired'],
      [order({ notAfter: Date.now() + 48 * 3_600_000 }), 'succession_expired'],
    ] as const) {
      await expectCode(first.data.request('release', { order: signed, wallet: wallet.address }), code);
    }
    expect((await sign(first, wallet)).signature).toHaveLength(64);
  });

  it('cannot be had twice: not by another, not with an older state, not back again', async () => {
    const wallet = await host.openWallet();
    const before = (await sign(first, wallet)).state?.blob as Uint8Array;
    await sign(first, wallet);
    const given = await first.data.request('release', { order: order(), wallet: wallet.address });
    const release = given.release;
    // For somebody else; with a state of before; under a key that is not the holder's.
    const moved = sealed(wallet, given.state.blob);
    await expectCode(third.data.request('take', { ...claim(moved), release }), 'succession_mismatch');
    await expectCode(second.data.request('take', { ...claim(sealed(wallet, before)), release }), 'state_too_old');
    const { publicKey, secretKey } = nacl.sign.keyPair();
    const content = decodeAs<Release>(releaseCodec, release.bytes, 'release');
    const forged = encodeAs(releaseCodec, { ...content, predecessor: bootIdOf(publicKey) });
    const forgery = { bytes: forged, signature: nacl.sign.detached(forged, secretKey) as never };
    await expectCode(second.data.request('take', { ...claim(moved), release: forgery }), 'wallet_held_elsewhere');
    await expectCode(
      second.data.request('take', { ...claim(moved), release: { ...release, signature: forgery.signature } }),
      'evidence_signature_invalid',
    );
    const taken = await second.data.request('take', { ...claim(moved), release });
    // Back to the first and on to the third: the second's memory of it stays.
    const back = await second.data.request('release', {
      order: order({ from: second.boot, to: third.boot }),
      wallet: wallet.address,
    });
    const there = await third.data.request('take', {
      ...claim(sealed(wallet, back.state.blob)),
      release: back.release,
    });
    expect((await sign(third, sealed(wallet, there.state.blob))).signature).toHaveLength(64);
    await expectCode(second.data.request('take', { ...claim(moved), release }), 'state_too_old');
    await expectCode(sign(second, sealed(wallet, taken.state.blob)), 'wallet_held_elsewhere');
    await expectCode(sign(first, moved), 'wallet_held_elsewhere');
  });
});

describe('what is taken over', () => {
  it('has to open: blobs that do not, or are another wallet’s, come into nobody’s memory', async () => {
    const [wallet, other] = [await host.openWallet(), await host.openWallet()];
    const { state } = await stateOf(first, wallet);
    const signed = await lease(wallet);
    const flip = (bytes: Uint8Array) => bytes.map((byte, index) => (index === bytes.length - 1 ? byte ^ 1 : byte));
    const moved = sealed(wallet, state.blob);
    const { salt, executionKey, sealedSeed } = moved.blobs;
    for (const [change, code] of [
      [{ salt: flip(salt) }, 'state_invalid'],
      [{ salt: other.blobs.salt }, 'state_invalid'],
      [{ executionKey: flip(executionKey) }, 'key_blob_invalid'],
      [{ executionKey: other.blobs.executionKey }, 'key_blob_invalid'],
      [{ sealedSeed: flip(sealedSeed) }, 'sealed_seed_invalid'],
      [{ sealedSeed: other.blobs.sealedSeed }, 'sealed_seed_invalid'],
      [{ sealedState: other.blobs.sealedState }, 'state_invalid'],
    ] as const)
      await expectCode(takeByLease(second, { ...moved, blobs: { ...moved.blobs, ...change } }, signed), code);
    await takeByLease(second, moved, signed);
    // From here on these count.
    const others = { ...moved, blobs: { ...moved.blobs, sealedSeed: other.blobs.sealedSeed } };
    await expectCode(takeByLease(second, others, signed), 'wallet_keys_replaced');
  });
});

describe('a lease', () => {
  it('moves a wallet whose holder is gone, with every window full', async () => {
    const wallet = await host.openWallet({ rate: { perMinute: 10, perDay: 100 } });
    await sign(first, wallet);
    const { state } = await stateOf(first, wallet);
    const taken = await takeByLease(second, sealed(wallet, state.blob), await lease(wallet));
    expect(decodeLeaf(taken.receipt.leaf)).toMatchObject({ kind: 'lease', predecessor: { boot: first.boot } });
    const error = await expectCode(sign(second, sealed(wallet, taken.state.blob)), 'policy_denied');
    expect(error.facts).toEqual({ path: 'rate.perMinute', value: 'full since a lease' });
  });

  it('lets no signal count again, not even one that is dated ahead', async () => {
    const source = { name: 'tv', hostVerified: true };
    const signals = { required: true, sources: [source], maxAgeSeconds: 60, signaturesPerSignal: 1 };
    const wallet = await host.openWallet({ signals });
    const timestamp = String(Math.floor(Date.now() / 1000) + 25);
    const signal = { source: 'tv', id: 'ahead' as RequestId, timestamp, body: new Uint8Array(1) };
    const send = ({ data }: Enclave, of: KitWallet) =>
      data.request('sign', { ...host.request(of, { body: { signal: 'ahead' } }), signal });
    expect((await send(first, wallet)).signature).toHaveLength(64);
    const { state } = await stateOf(first, wallet);
    const taken = await takeByLease(second, sealed(wallet, state.blob), await lease(wallet));
    const error = await expectCode(send(second, sealed(wallet, taken.state.blob)), 'policy_denied');
    expect(error.facts.path).toBe('signals.remembered');
  });

  it('without windows in the policy signs at once', async () => {
    const wallet = await host.openWallet();
    const { state } = await stateOf(first, wallet);
    const taken = await takeByLease(second, sealed(wallet, state.blob), await lease(wallet));
    expect((await sign(second, sealed(wallet, taken.state.blob))).signature).toHaveLength(64);
  });

  it('counts with M distinct operators over exactly these bytes, in time, for this boot and wallet', async () => {
    const wallet = await host.openWallet();
    const [one, other] = people as [Party, Party];
    const good = await lease(wallet);
    const elsewhere = await host.openWallet();
    for (const [signed, code] of [
      [await lease(wallet, {}, [one]), 'operators_too_few'],
      [await lease(wallet, {}, [one, one]), 'operators_too_few'],
      [await lease(wallet, {}, [one, wallet.owner]), 'operators_too_few'],
      [
        { ...good, signatures: [...signedBy(good.bytes, one), ...signedBy(new Uint8Array(1), other)] },
        'operators_too_few',
      ],
      [await lease(wallet, { successor: third.boot }), 'succession_mismatch'],
      [await lease(wallet, { predecessor: second.boot }), 'succession_mismatch'],
      [await lease(wallet, { deployment: 'another' }), 'succession_mismatch'],
      [await lease(elsewhere), 'succession_mismatch'],
      // The enclave's time may lag behind ours by a round trip to its module.
      [await lease(wallet, { notAfter: timeMs(Date.now() - 5_000) }), 'succession_expired'],
      [await lease(wallet, { checkpoint: await checkpointOf(third) }), 'log_note_unsigned'],
      [await lease(wallet, { wallets: [{ wallet: wallet.address, version: 99n }] }), 'state_too_old'],
      [
        await lease(wallet, { predecessor: third.boot, checkpoint: await checkpointOf(third) }),
        'wallet_held_elsewhere',
      ],
    ] as const) {
      await expectCode(takeByLease(second, wallet, signed), code);
    }
    expect((await sign(first, wallet)).signature).toHaveLength(64);
  });

  it('replayed, does not bring an old state back', async () => {
    const wallet = await host.openWallet();
    const { state } = await stateOf(first, wallet);
    const old = sealed(wallet, state.blob);
    const signed = await lease(wallet);
    const taken = await takeByLease(second, old, signed);
    const now = sealed(wallet, taken.state.blob);
    expect(await takeByLease(second, old, signed)).toEqual(taken);
    await sign(second, now);
    await expectCode(takeByLease(second, old, signed), 'succession_mismatch');
    const given = await second.data.request('release', {
      order: order({ from: second.boot, to: third.boot }),
      wallet: wallet.address,
    });
    await expectCode(takeByLease(second, old, signed), 'state_too_old');
    await third.data.request('take', { ...claim(sealed(wallet, given.state.blob)), release: given.release });
    await expectCode(takeByLease(third, old, await lease(wallet, { successor: third.boot })), 'succession_mismatch');
  });

  it('shown to a predecessor that lives ends its right', async () => {
    const wallet = await host.openWallet();
    const signed = await lease(wallet);
    await expectCode(third.data.request('leaseShow', { lease: signed }), 'succession_mismatch');
    const few = await lease(wallet, {}, people.slice(0, 1));
    await expectCode(first.data.request('leaseShow', { lease: few }), 'operators_too_few');
    expect(await first.data.request('leaseShow', { lease: signed })).toEqual({ given: 1 });
    await expectCode(sign(first, wallet), 'wallet_held_elsewhere');
    expect(await first.data.request('leaseShow', { lease: signed })).toEqual({ given: 0 });
  });

  it('knows no requests of before: a replay gives the same signature, and is counted', async () => {
    const wallet = await host.openWallet();
    const request = host.request(wallet, { id: 'before-lease' });
    const before = await first.data.request('sign', request);
    const { state } = await stateOf(first, wallet);
    const taken = await takeByLease(second, sealed(wallet, state.blob), await lease(wallet));
    const blobs = { ...wallet.blobs, sealedState: taken.state.blob };
    const again = await second.data.request('sign', { ...request, blobs });
    expect(again.signature).toEqual(before.signature);
    expect(again.state?.version).toBe(taken.state.version + 1n);
  });
});

describe('freezes', () => {
  const freeze = async ({ control }: Enclave, scope: string) => {
    const { ack } = await control.request('freeze', { scope, reason: 'test' });
    return decodeAs(freezeAckCodec, ack.bytes, 'ack').freezeId;
  };
  const facts = (enclave: Enclave, scope: string, freezeId: Uint8Array) => ({
    deployment: host.backend.deployment,
    boot: enclave.boot,
    scope,
    freezeId: toHex(freezeId),
  });
  const resume = ({ data }: Enclave, scope: string, freezeId: Uint8Array, signatures: ReturnType<typeof signedBy>) =>
    data.request('resume', { scope, freezeId, signatures });

  it('of one wallet stops that wallet; its owner ends it, and nobody else, and not with an old word', async () => {
    const [wallet, other] = [await host.openWallet(), await host.openWallet()];
    const scope = `wallet:${wallet.address}`;
    const id = await freeze(first, scope);
    expect((await expectCode(sign(first, wallet), 'frozen')).facts.path).toBe(scope);
    expect((await sign(first, other)).signature).toHaveLength(64);
    const word = resumeSignatures(facts(first, scope, id), wallet.owner);
    await expectCode(
      resume(first, scope, id, resumeSignatures(facts(first, scope, id), ...people)),
      'statement_signature_invalid',
    );
    await expectCode(
      resume(first, scope, id, resumeSignatures(facts(second, scope, id), wallet.owner)),
      'statement_signature_invalid',
    );
    await expectCode(resume(first, `wallet:${other.address}`, id, word), 'freeze_unknown');
    const later = await freeze(first, scope);
    await expectCode(resume(first, scope, id, word), 'freeze_unknown');
    const { receipt } = await resume(first, scope, later, resumeSignatures(facts(first, scope, later), wallet.owner));
    expect(decodeLeaf(receipt.leaf)).toMatchObject({ kind: 'resumed', scope, actor: wallet.owner.address });
    expect((await sign(first, wallet)).signature).toHaveLength(64);
    await expectCode(resume(first, scope, later, word), 'freeze_unknown');
  });

  it('of one requester, and of the fleet, are ended by two operators', async () => {
    const wallet = await host.openWallet();
    const scope = `requester:${wallet.requester.address}`;
    const id = await freeze(first, scope);
    expect((await expectCode(sign(first, wallet), 'frozen')).facts.path).toBe(scope);
    const [one] = people as [Party];
    const words = (...signers: readonly Party[]) => resumeSignatures(facts(first, scope, id), ...signers);
    await expectCode(resume(first, scope, id, words(one)), 'operators_too_few');
    await expectCode(resume(first, scope, id, words(one, one)), 'operators_too_few');
    await expectCode(resume(first, scope, id, words(one, wallet.owner)), 'operators_too_few');
    const { receipt } = await resume(first, scope, id, words(...people.slice(1)));
    expect(decodeLeaf(receipt.leaf).signers).toEqual(people.slice(1).map(({ address }) => address));
    expect((await sign(first, wallet)).signature).toHaveLength(64);
    const fleet = await freeze(first, 'fleet');
    await expectCode(sign(first, wallet), 'frozen');
    await resume(first, 'fleet', fleet, resumeSignatures(facts(first, 'fleet', fleet), ...two()));
    expect((await sign(first, wallet)).signature).toHaveLength(64);
  });

  it('travel with a wallet, and an old word of the successor’s does not end them', async () => {
    const wallet = await host.openWallet();
    const scope = `requester:${wallet.requester.address}`;
    // The successor had a freeze of that scope, and operators ended it.
    const ended = await freeze(second, scope);
    const word = resumeSignatures(facts(second, scope, ended), ...two());
    await resume(second, scope, ended, word);
    const held = await freeze(first, scope);
    const given = await first.data.request('release', { order: order(), wallet: wallet.address });
    const moved = sealed(wallet, given.state.blob);
    // A release of the host's own making, with the freeze that was ended: nothing of it may count.
    const { publicKey, secretKey } = nacl.sign.keyPair();
    const content = decodeAs<Release>(releaseCodec, given.release.bytes, 'release');
    const freezes = [{ scope, freezeId: ended }];
    const bytes = encodeAs(releaseCodec, { ...content, predecessor: bootIdOf(publicKey), freezes });
    const forgery = { bytes, signature: nacl.sign.detached(bytes, secretKey) as never };
    await expectCode(second.data.request('take', { ...claim(moved), release: forgery }), 'wallet_held_elsewhere');
    const taken = await second.data.request('take', { ...claim(moved), release: given.release });
    const now = sealed(wallet, taken.state.blob);
    await expectCode(sign(second, now), 'frozen');
    await expectCode(resume(second, scope, ended, word), 'freeze_unknown');
    await resume(second, scope, held, resumeSignatures(facts(second, scope, held), ...two()));
    expect((await sign(second, now)).signature).toHaveLength(64);
    const fromFirst = resumeSignatures(facts(first, scope, held), ...two());
    await resume(first, scope, held, fromFirst);
  });

  it('that operators know of are in force before a leased wallet can sign', async () => {
    const wallet = await host.openWallet();
    const scope = `wallet:${wallet.address}`;
    const freezeId = await freeze(first, scope);
    const { state } = await stateOf(first, wallet);
    const signed = await lease(wallet, { successor: third.boot, freezes: [{ scope, freezeId }] });
    const taken = await takeByLease(third, sealed(wallet, state.blob), signed);
    await expectCode(sign(third, sealed(wallet, taken.state.blob)), 'frozen');
    const { freezes } = await third.data.request('freezesGet', {});
    expect(freezes.map((held) => [held.scope, toHex(held.freezeId)])).toContainEqual([scope, toHex(freezeId)]);
  });

  it('of more scopes than a release carries: what its owner ends stays his to end', async () => {
    const wallet = await host.openWallet();
    const scope = `wallet:${wallet.address}`;
    const own = await freeze(third, scope);
    const away = order({ from: first.boot, to: third.boot });
    const before = await first.data.request('release', { order: away, wallet: wallet.address });
    const there = await third.data.request('take', {
      ...claim(sealed(wallet, before.state.blob)),
      release: before.release,
    });
    for (let count = 0; count < LIMITS.carriedFreezes; count++) await freeze(third, `requester:${party().address}`);
    const back = order({ from: third.boot, to: second.boot });
    const { release } = await third.data.request('release', { order: back, wallet: wallet.address });
    expect(there.state.version).toBe(decodeAs<Release>(releaseCodec, release.bytes, 'release').version);
    const { freezes } = decodeAs<Release>(releaseCodec, release.bytes, 'release');
    expect(freezes.map((held) => held.scope)).toEqual(['fleet', scope]);
    expect(toHex(freezes[1]?.freezeId as Uint8Array)).toBe(toHex(own));
  });
});
