/** Who may follow a wallet's owner, against a host that would like to choose, and successors who cannot wait. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { leaseCodec, type OperatorSigned, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { verifyCertificate, verifySuccessionAck } from '@quantumvault/shared/evidence/verify.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verifyEd25519 } from '../shared/evidence/signed.ts';
import { expectCode } from '../support/codes.ts';
import { importInto, importing, outsideKey } from '../support/import-kit.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, signedBy } from '../support/operator-keys.ts';
import { retiring } from '../support/retire-kit.ts';
import { type Claiming, cancelling, claiming, type Naming, naming } from '../support/successor-kit.ts';
import { creation, type Party, party, secondsFromNow } from '../support/wallet-kit.ts';

const DAYS = 30;
let host: MaliciousHost;
let boot: BootId;
let heir: Party;

beforeAll(async () => {
  host = await MaliciousHost.start();
  await host.giveCredentials();
  boot = (await host.data.request('status', {})).boot as BootId;
  heir = party();
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

const factsOf = (wallet: KitWallet, change: number, owner = wallet.owner) => ({
  deployment: host.backend.deployment,
  boot,
  wallet: wallet.address,
  owner,
  change,
});
const named = (delayDays = DAYS) => ({ key: heir.address, delayDays });

/** Keeps the newest state, as a host does. */
async function stored<T extends { readonly state: { readonly blob: Uint8Array } }>(
  wallet: KitWallet,
  reply: Promise<T>,
): Promise<T> {
  const answer = await reply;
  wallet.blobs = { ...wallet.blobs, sealedState: answer.state.blob };
  return answer;
}

const name = (wallet: KitWallet, statement: Naming, data = host.data) =>
  stored(wallet, data.request('successorName', { ...statement, blobs: wallet.blobs }));
const claim = (wallet: KitWallet, statement: Claiming, data = host.data) =>
  stored(wallet, data.request('takeoverClaim', { ...statement, blobs: wallet.blobs }));
const cancel = (wallet: KitWallet, statement: Claiming, data = host.data) =>
  stored(wallet, data.request('takeoverCancel', { ...statement, blobs: wallet.blobs }));
const sign = (wallet: KitWallet, data = host.data) => data.request('sign', host.request(wallet));

/** A wallet whose successor is named, by its first change. */
async function withHeir(): Promise<KitWallet> {
  const wallet = await host.openWallet();
  await name(wallet, naming(factsOf(wallet, 1), named()));
  return wallet;
}

describe('a successor', () => {
  it('is named, claims and is cancelled, each on record and acknowledged; signing goes on', async () => {
    const wallet = await host.openWallet();
    const steps = [
      ['successor-named', () => naming(factsOf(wallet, 1), named()), wallet.owner],
      ['takeover-claimed', () => claiming(factsOf(wallet, 2), heir), heir],
      ['takeover-cancelled', () => cancelling(factsOf(wallet, 3), heir.address), wallet.owner],
    ] as const;
    const asks = { 'successor-named': name, 'takeover-claimed': claim, 'takeover-cancelled': cancel };
    for (const [kind, make, { address: actor }] of steps) {
      const statement = make();
      const ask = asks[kind] as typeof claim;
      const { ack, receipt, state } = await ask(wallet, statement as Claiming);
      const { deployment, nonce, change } = statement;
      const owner = wallet.owner.address;
      const expected = { deployment, boot, kind, wallet: wallet.address, owner, actor, change, nonce };
      const found = verifySuccessionAck(
        ack,
        receipt,
        { ...expected, successor: heir.address, delayDays: DAYS },
        verifyEd25519,
      );
      const leaf = decodeLeaf(receipt.leaf);
      expect(leaf).toMatchObject({ kind, actor, stateVersion: state.version, succession: found.succession });
      expect((await stored(wallet, sign(wallet) as never)) as object).toMatchObject({ receipt: expect.anything() });
      // The same statement: the same answer, with the newest state.
      const { leaves } = await host.data.request('status', {});
      const again = await ask(wallet, statement as Claiming);
      expect(again).toMatchObject({ ack, receipt });
      expect(again.state.version).toBeGreaterThan(state.version);
      expect((await host.data.request('status', {})).leaves).toBe(leaves);
    }
  });

  it('may be named with the creation, and the certificate says so', async () => {
    const [owner, requester] = [party(), party()];
    const { deployment } = host.backend;
    const request = creation(deployment, owner, [requester], { successor: named(7) });
    const created = await host.data.request('walletCreate', request);
    const expected = {
      deployment,
      boot,
      wallet: created.wallet,
      owner: owner.address,
      requesters: [requester.address],
      nonce: request.nonce,
    };
    verifyCertificate(created.certificate, created.receipt, { ...expected, successor: named(7) }, verifyEd25519);
    for (const successor of [undefined, named(8), { ...named(7), key: owner.address }])
      await expectCode(
        async () =>
          verifyCertificate(
            created.certificate,
            created.receipt,
            { ...expected, ...(successor && { successor }) },
            verifyEd25519,
          ),
        'evidence_mismatch',
      );
    const wallet = { address: created.wallet, owner, blobs: created.blobs } as KitWallet;
    const { receipt } = await claim(wallet, claiming(factsOf(wallet, 1), heir));
    expect(decodeLeaf(receipt.leaf).succession).toMatchObject({ change: 1, successor: named(7) });
    // Taken out of the request, the statement is another one; so is it where somebody else stands in it.
    const { successor: _, ...without } = creation(deployment, owner, [requester], { successor: named() });
    await expectCode(host.data.request('walletCreate', without), 'statement_signature_invalid');
    const other = { ...creation(deployment, owner, [requester]), successor: named() };
    await expectCode(host.data.request('walletCreate', other), 'statement_signature_invalid');
  });

  it('may be named with an import, whose repeat names the same one', async () => {
    const { deployment } = host.backend;
    const { document } = await host.data.request('attest', { nonce: new Uint8Array(32) });
    const facts = { deployment, owner: party(), requesters: [party().address], key: outsideKey() };
    const request = (successor = named()) => importing({ ...facts, ...importInto(document) }, { successor });
    const made = await host.data.request('walletImport', request());
    expect((await host.data.request('walletImport', request())).wallet).toBe(made.wallet);
    await expectCode(host.data.request('walletImport', request(named(1))), 'wallet_exists');
    const without = importing({ ...facts, ...importInto(document) });
    await expectCode(host.data.request('walletImport', without), 'wallet_exists');
    const wallet = { address: made.wallet, owner: facts.owner, blobs: made.blobs } as KitWallet;
    await claim(wallet, claiming(factsOf(wallet, 1), heir));
    // The state that a repeat would hand out knows nothing of the claim.
    await expectCode(host.data.request('walletImport', request()), 'wallet_exists');
  });

  it('is refused where he is not the one who is named, comes twice, or where nobody is', async () => {
    const wallet = await withHeir();
    const stranger = party();
    const before = (await host.data.request('status', {})).kmsCalls;
    await expectCode(claim(wallet, claiming(factsOf(wallet, 2), stranger)), 'successor_mismatch');
    // A stranger's statement is no reason to ask KMS.
    expect((await host.data.request('status', {})).kmsCalls).toBe(before);
    await expectCode(
      claim(wallet, claiming(factsOf(wallet, 2), stranger, { successor: heir.address })),
      'statement_signature_invalid',
    );
    await expectCode(cancel(wallet, cancelling(factsOf(wallet, 2), heir.address)), 'takeover_not_running');
    await claim(wallet, claiming(factsOf(wallet, 2), heir));
    await expectCode(claim(wallet, claiming(factsOf(wallet, 3), heir)), 'takeover_running');
    await expectCode(cancel(wallet, cancelling(factsOf(wallet, 3), stranger.address)), 'successor_mismatch');
    const nobody = await host.openWallet();
    await expectCode(claim(nobody, claiming(factsOf(nobody, 1), heir)), 'successor_mismatch');
  });

  it('is removed for good by his owner, also while his claim runs', async () => {
    const wallet = await withHeir();
    await claim(wallet, claiming(factsOf(wallet, 2), heir));
    const { receipt } = await name(wallet, naming(factsOf(wallet, 3), undefined));
    expect(decodeLeaf(receipt.leaf).succession).toEqual({ change: 3, owner: wallet.owner.address });
    await expectCode(claim(wallet, claiming(factsOf(wallet, 4), heir)), 'successor_mismatch');
  });

  it('claims again behind a cancellation, with the whole delay before him', async () => {
    const wallet = await withHeir();
    const first = await claim(wallet, claiming(factsOf(wallet, 2), heir));
    await cancel(wallet, cancelling(factsOf(wallet, 3), heir.address));
    const second = await claim(wallet, claiming(factsOf(wallet, 4), heir));
    const at = ({ receipt }: typeof first) => decodeLeaf(receipt.leaf).succession?.claimedAt ?? 0;
    expect(at(second)).toBe(decodeLeaf(second.receipt.leaf).time);
    expect(at(second)).toBeGreaterThanOrEqual(at(first));
  });
});

describe('a host', () => {
  it('has no older statement count behind a newer one', async () => {
    const wallet = await withHeir();
    const other = party();
    // Held back: the owner believes it was lost, and signs another one.
    const kept = naming(factsOf(wallet, 2), { key: other.address, delayDays: 1 });
    const again = naming(factsOf(wallet, 2), undefined);
    await name(wallet, again);
    await expectCode(name(wallet, kept), 'succession_changed');
    const refused = await expectCode(name(wallet, naming(factsOf(wallet, 9), undefined)), 'succession_changed');
    expect(refused.facts).toMatchObject({ path: 'change', value: '3' });
    await name(wallet, naming(factsOf(wallet, 3), named()));
    const claimed = claiming(factsOf(wallet, 4), heir);
    await claim(wallet, claimed);
    await cancel(wallet, cancelling(factsOf(wallet, 5), heir.address));
    // Neither the claim nor the removal of before counts again.
    await expectCode(claim(wallet, claimed), 'succession_changed');
    await expectCode(name(wallet, again), 'succession_changed');
  });

  it('changes no word of a statement', async () => {
    const wallet = await withHeir();
    const elsewhere = await withHeir();
    const right = claiming(factsOf(wallet, 2), heir);
    const elsewhereBoot = party().address as string as BootId;
    const attempts: [Partial<Claiming>, ErrorCode][] = [
      [{ wallet: elsewhere.address }, 'statement_signature_invalid'],
      [{ owner: party().address }, 'statement_signature_invalid'],
      [{ change: 3 }, 'statement_signature_invalid'],
      [{ nonce: new Uint8Array(16) }, 'statement_signature_invalid'],
      [{ before: secondsFromNow(900) }, 'statement_signature_invalid'],
      [{ successor: party().address }, 'statement_signature_invalid'],
      [{ boot: elsewhereBoot }, 'statement_signature_invalid'],
      [{ deployment: 'another' }, 'deployment_mismatch'],
    ];
    for (const [change, code] of attempts) await expectCode(claim(wallet, { ...right, ...change }), code);
    // Signed as they are, and wrong all the same.
    const signed: [Partial<Claiming>, ErrorCode][] = [
      [{ boot: elsewhereBoot }, 'wallet_held_elsewhere'],
      [{ owner: party().address }, 'wallet_owner_mismatch'],
      [{ change: 0 }, 'field_malformed'],
      [{ change: 1 }, 'succession_changed'],
      [{ before: secondsFromNow(-1) }, 'statement_expired'],
      [{ before: secondsFromNow(3 * 86_400) }, 'statement_expired'],
      [{ before: timeMs(secondsFromNow(60) + 1) }, 'field_malformed'],
    ];
    for (const [change, code] of signed)
      await expectCode(async () => claim(wallet, claiming(factsOf(wallet, 2), heir, change)), code);
    // A name statement is no claim, and a claim no cancellation.
    const text = naming(factsOf(wallet, 2), undefined);
    await expectCode(claim(wallet, { ...right, signature: text.signature }), 'statement_signature_invalid');
    await expectCode(cancel(wallet, right), 'statement_signature_invalid');
    await expectCode(claim({ ...wallet, blobs: elsewhere.blobs }, right), 'wallet_keys_replaced');
    await claim(wallet, right);
  });

  it.each([
    ['no days', 0],
    ['more than a year', 366],
  ])('takes no delay of %s', async (_, delayDays) => {
    const wallet = await host.openWallet();
    await expectCode(async () => name(wallet, naming(factsOf(wallet, 1), named(delayDays))), 'field_malformed');
    const right = naming(factsOf(wallet, 1), named());
    await expectCode(name(wallet, { ...right, successor: named(delayDays) }), 'field_malformed');
  });

  it('takes neither the owner nor the wallet itself for a successor', async () => {
    const wallet = await host.openWallet();
    const right = naming(factsOf(wallet, 1), named());
    for (const key of [wallet.owner.address, wallet.address])
      await expectCode(name(wallet, { ...right, successor: { ...named(), key } }), 'field_malformed');
  });

  it('that tampers with any blob on its way gets a refusal', async () => {
    const wallet = await withHeir();
    const statement = claiming(factsOf(wallet, 2), heir);
    const flip = (bytes: Uint8Array) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
    for (const field of ['salt', 'executionKey', 'sealedState'] as const) {
      const blobs = { ...wallet.blobs, [field]: flip(wallet.blobs[field]) };
      const outcome = await host.data.request('takeoverClaim', { ...statement, blobs }).then(
        () => 'done',
        (error: unknown) => codeOf(error),
      );
      expect(['key_blob_invalid', 'wallet_keys_mismatch', 'state_invalid', 'wallet_keys_replaced']).toContain(outcome);
    }
    await claim(wallet, statement);
  });

  it('has a time limit looked at again when KMS was slow', async () => {
    const wallet = await withHeir();
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 3_000 } });
    const late = claiming(factsOf(wallet, 2), heir, { before: secondsFromNow(2) });
    await expectCode(claim(wallet, late), 'statement_expired');
  });
});

describe('freezes and ends', () => {
  it('a claim is made while a freeze holds, and clears none', async () => {
    const wallet = await withHeir();
    await host.control.request('freeze', { scope: walletScope(wallet.address), reason: 'a test' });
    await claim(wallet, claiming(factsOf(wallet, 2), heir));
    await expectCode(sign(wallet), 'frozen');
    await cancel(wallet, cancelling(factsOf(wallet, 3), heir.address));
    await expectCode(sign(wallet), 'frozen');
  });

  it('a retired wallet has no successor any more', async () => {
    const wallet = await withHeir();
    const { deployment } = host.backend;
    const facts = { deployment, boot, wallet: wallet.address, owner: wallet.owner, policy: wallet.policy.bytes };
    await host.data.request('walletRetire', { ...retiring(facts), blobs: wallet.blobs });
    await expectCode(claim(wallet, claiming(factsOf(wallet, 2), heir)), 'wallet_retired');
    await expectCode(name(wallet, naming(factsOf(wallet, 2), undefined)), 'wallet_retired');
  });
});

describe('another boot', () => {
  let second: EnclaveClient;
  let successor: BootId;

  beforeAll(async () => {
    const started = await host.backend.startEnclave('second');
    await host.tunnel(started.addresses.tunnel);
    second = host.connect(started.addresses.data);
    await host.giveCredentials(second);
    successor = (await second.request('status', {})).boot as BootId;
  });

  const claimedAtOf = (leaf: Uint8Array) => decodeLeaf(leaf).succession?.claimedAt;

  async function released(wallet: KitWallet): Promise<void> {
    const bytes = encodeAs(releaseOrderCodec, {
      deployment: host.backend.deployment,
      predecessor: boot,
      successor,
      notAfter: timeMs(Date.now() + 3_600_000),
    });
    const order = { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 1)) };
    const { release } = await stored(wallet, host.data.request('release', { order, wallet: wallet.address }));
    const taking = { wallet: wallet.address, owner: wallet.owner.address, blobs: wallet.blobs, release };
    await stored(wallet, second.request('take', taking));
  }

  async function leaseOf(wallet: KitWallet, version: bigint): Promise<OperatorSigned> {
    const bytes = encodeAs(leaseCodec, {
      deployment: host.backend.deployment,
      predecessor: boot,
      successor,
      wallets: [{ wallet: wallet.address, version }],
      freezes: [],
      checkpoint: (await host.data.request('checkpoint', {})).note,
      notAfter: timeMs(Date.now() + 3_600_000),
      sumsProven: true,
    });
    return { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 2)) };
  }

  it('that takes a wallet by release goes on counting the delay, and takes no statement for the one before', async () => {
    const wallet = await withHeir();
    const { receipt } = await claim(wallet, claiming(factsOf(wallet, 2), heir));
    const kept = cancelling(factsOf(wallet, 3), heir.address);
    await released(wallet);
    await expectCode(cancel(wallet, kept), 'wallet_held_elsewhere');
    await expectCode(cancel(wallet, kept, second), 'wallet_held_elsewhere');
    const there = { ...factsOf(wallet, 3), boot: successor };
    await expectCode(claim(wallet, claiming(there, heir), second), 'takeover_running');
    const answer = await cancel(wallet, cancelling(there, heir.address), second);
    expect(decodeLeaf(answer.receipt.leaf).succession?.change).toBe(3);
    expect(claimedAtOf(receipt.leaf)).toBe(decodeLeaf(receipt.leaf).time);
  });

  it('that leases a wallet without witnesses begins the delay anew, and says so', async () => {
    const wallet = await withHeir();
    const claimed = await claim(wallet, claiming(factsOf(wallet, 2), heir));
    const before = wallet.blobs;
    const cancelled = await cancel(wallet, cancelling(factsOf(wallet, 3), heir.address));
    // Operators who are shown a log that ends before the cancellation lease a state in which the claim runs.
    const lease = await leaseOf(wallet, claimed.state.version);
    const taking = { wallet: wallet.address, owner: wallet.owner.address, blobs: before, lease };
    const taken = await stored(wallet, second.request('take', taking));
    const leaf = decodeLeaf(taken.receipt.leaf);
    expect(leaf.succession).toMatchObject({ change: 2, claimedAt: leaf.time, successor: named() });
    expect(leaf.time).toBeGreaterThanOrEqual(decodeLeaf(cancelled.receipt.leaf).time);
    const there = { ...factsOf(wallet, 3), boot: successor };
    await cancel(wallet, cancelling(there, heir.address), second);
    await claim(wallet, claiming({ ...there, change: 4 }, heir), second);
  });

  it('leases no state of before a change that the log shows', async () => {
    const wallet = await withHeir();
    const before = wallet.blobs;
    const { state } = await claim(wallet, claiming(factsOf(wallet, 2), heir));
    const taking = { wallet: wallet.address, owner: wallet.owner.address, lease: await leaseOf(wallet, state.version) };
    await expectCode(second.request('take', { ...taking, blobs: before }), 'state_too_old');
    await second.request('take', { ...taking, blobs: wallet.blobs });
  });
});
