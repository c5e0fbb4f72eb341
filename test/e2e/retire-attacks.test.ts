/** Retired wallets against a host that would like one more signature, from this boot or from the next. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { type BootId, type RequestId, timeMs } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { walletScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, freezeAckCodec, retireAckCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { leaseCodec, type OperatorSigned, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { verifyRetireAck } from '@quantumvault/shared/evidence/verify.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { formatVerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { verifyEd25519 } from '../shared/evidence/signed.ts';
import { witnessSigner } from '../shared/tlog/keys.ts';
import { expectCode } from '../support/codes.ts';
import { importInto, importing, outsideKey } from '../support/import-kit.ts';
import { type KitWallet, MaliciousHost } from '../support/malicious-host.ts';
import { operators, resumeSignatures, signedBy } from '../support/operator-keys.ts';
import { retiring } from '../support/retire-kit.ts';
import { enabling, party, secondsFromNow } from '../support/wallet-kit.ts';

type Statement = Omit<RequestOf<'walletRetire'>, 'blobs'>;

let host: MaliciousHost;
let boot: BootId;

beforeAll(async () => {
  host = await MaliciousHost.start({ unwrappedKeys: { timeToLiveSeconds: 300, count: 8 } });
  await host.giveCredentials();
  boot = (await host.data.request('status', {})).boot as BootId;
});
afterAll(() => host?.stop());
afterEach(() => host.kms.clearFaults());

const statementOf = (wallet: KitWallet, change: Partial<Statement> = {}, owner = wallet.owner): Statement =>
  retiring(
    { deployment: host.backend.deployment, boot, wallet: wallet.address, owner, policy: wallet.policy.bytes },
    change,
  );
const retire = (wallet: KitWallet, statement = statementOf(wallet), data = host.data) =>
  data.request('walletRetire', { ...statement, blobs: wallet.blobs });
const sealed = (wallet: KitWallet, sealedState: Uint8Array): KitWallet => ({
  ...wallet,
  blobs: { ...wallet.blobs, sealedState },
});
const sign = (wallet: KitWallet, change: Parameters<MaliciousHost['request']>[1] = {}, data = host.data) =>
  data.request('sign', host.request(wallet, change));
const kmsCalls = async (): Promise<bigint> => (await host.data.request('status', {})).kmsCalls ?? 0n;

/** Everything that could come to a signature, or move the wallet to somebody who gives one. */
async function expectEnded(wallet: KitWallet): Promise<void> {
  await expectCode(sign(wallet), 'wallet_retired');
  await expectCode(sign(wallet, { body: { dryRun: true } }), 'wallet_retired');
  await expectCode(host.data.request('signBatch', host.batch(wallet, [1n, 2n])), 'wallet_retired');
  const { deployment } = host.backend;
  const next = { ...host.documentFor(wallet, { epoch: 2 }) };
  const request = enabling(wallet.owner, wallet.blobs, {
    deployment,
    document: next,
    previous: policyHash(wallet.policy.bytes),
  });
  await expectCode(host.data.request('policyEnable', request), 'wallet_retired');
  const bytes = encodeAs(releaseOrderCodec, {
    deployment,
    predecessor: boot,
    successor: party().address as string as BootId,
    notAfter: timeMs(Date.now() + 3_600_000),
  });
  const order = { bytes, signatures: signedBy(bytes, ...operators(host.backend.dir).slice(0, 1)) };
  await expectCode(host.data.request('release', { order, wallet: wallet.address }), 'wallet_retired');
  await expectCode(retire(wallet), 'wallet_retired');
}

describe('retiring', () => {
  it('ends signing, dry runs, policies and hand-overs, with the newest state and with older ones', async () => {
    const wallet = await host.openWallet();
    const id = 'before-the-end' as RequestId;
    const signedBefore = host.request(wallet, { id });
    await host.data.request('sign', signedBefore);
    const statement = statementOf(wallet);
    const retired = await retire(wallet, statement);
    const expected = {
      deployment: host.backend.deployment,
      boot,
      wallet: wallet.address,
      owner: wallet.owner.address,
      policyHash: policyHash(wallet.policy.bytes),
      nonce: statement.nonce,
    };
    const ack = verifyRetireAck(retired.ack, retired.receipt, expected, verifyEd25519);
    const leaf = decodeLeaf(retired.receipt.leaf);
    expect(leaf).toMatchObject({ kind: 'retired', wallet: wallet.address, actor: wallet.owner.address });
    expect(leaf.stateVersion).toBe(retired.state.version);
    expect(ack.time).toBe(leaf.time);
    // An old state in the row does not bring it back, nor a repeat of what was signed.
    await expectEnded(wallet);
    await expectEnded(sealed(wallet, retired.state.blob));
    await expectCode(host.data.request('sign', signedBefore), 'wallet_retired');
    // The same statement: the same answer, byte for byte, and no further leaf.
    const { leaves } = await host.data.request('status', {});
    expect(await retire(wallet, statement)).toEqual(retired);
    expect((await host.data.request('status', {})).leaves).toBe(leaves);
    expect((await host.data.request('stateGet', { wallet: wallet.address })).state).toEqual(retired.state);
  });

  it('ends a wallet that never had a policy', async () => {
    const created = await host.createWallet();
    const wallet = { ...created, policy: { bytes: new Uint8Array(1), mac: new Uint8Array(32) } };
    const statement = retiring({
      deployment: host.backend.deployment,
      boot,
      wallet: wallet.address,
      owner: wallet.owner,
    });
    const retired = await retire(wallet, statement);
    expect(decodeAs(retireAckCodec, retired.ack.bytes, 'ack').policyHash).toBeUndefined();
    const { deployment } = host.backend;
    const request = enabling(wallet.owner, wallet.blobs, { deployment, document: host.documentFor(wallet) });
    await expectCode(host.data.request('policyEnable', request), 'wallet_retired');
  });

  it('ends an imported wallet, which is not imported again', async () => {
    const { deployment } = host.backend;
    const { document } = await host.data.request('attest', { nonce: new Uint8Array(32) });
    const facts = {
      deployment,
      owner: party(),
      requesters: [party().address],
      key: outsideKey(),
      ...importInto(document),
    };
    const made = await host.data.request('walletImport', importing(facts));
    const statement = retiring({ deployment, boot, wallet: made.wallet, owner: facts.owner });
    await host.data.request('walletRetire', { ...statement, blobs: made.blobs });
    await expectCode(host.data.request('walletImport', importing(facts)), 'wallet_exists');
  });

  it('repeats no enabling either', async () => {
    const wallet = await host.createWallet();
    const { deployment } = host.backend;
    const request = enabling(wallet.owner, wallet.blobs, { deployment, document: host.documentFor(wallet) });
    const enabled = await host.data.request('policyEnable', request);
    const opened = {
      ...sealed({ ...wallet, policy: { bytes: request.policy, mac: enabled.mac } }, enabled.state.blob),
    };
    await retire(opened);
    await expectCode(host.data.request('policyEnable', request), 'wallet_retired');
  });

  it('is not done for other owners, boots, policies, deployments and times, or without a signature', async () => {
    const wallet = await host.openWallet();
    const other = await host.openWallet();
    const attempts: [Statement, ErrorCode][] = [
      [statementOf(wallet, {}, party()), 'wallet_owner_mismatch'],
      [{ ...statementOf(wallet), owner: party().address }, 'statement_signature_invalid'],
      [{ ...statementOf(wallet), wallet: other.address }, 'statement_signature_invalid'],
      [{ ...statementOf(wallet), nonce: new Uint8Array(16) }, 'statement_signature_invalid'],
      [{ ...statementOf(wallet), retireBefore: secondsFromNow(900) }, 'statement_signature_invalid'],
      [{ ...statementOf(wallet), boot: party().address as string as BootId }, 'statement_signature_invalid'],
      [statementOf(wallet, { boot: party().address as string as BootId }), 'wallet_held_elsewhere'],
      [statementOf(wallet, { deployment: 'another' }), 'deployment_mismatch'],
      [statementOf(wallet, { policyHash: policyHash(other.policy.bytes) }), 'policy_not_current'],
      [statementOf(wallet, { retireBefore: secondsFromNow(-1) }), 'statement_expired'],
      [statementOf(wallet, { retireBefore: secondsFromNow(3 * 86_400) }), 'statement_expired'],
      [statementOf(wallet, { retireBefore: timeMs(secondsFromNow(60) + 1) }), 'field_malformed'],
    ];
    for (const [statement, code] of attempts) await expectCode(retire(wallet, statement), code);
    const { policyHash: _, ...without } = statementOf(wallet);
    await expectCode(retire(wallet, without as Statement), 'statement_signature_invalid');
    await expectCode(retire({ ...wallet, blobs: other.blobs }), 'wallet_keys_replaced');
    expect((await sign(wallet)).signature).toHaveLength(64);
  });

  it('looks at its time limit again when KMS was slow', async () => {
    const wallet = await host.openWallet();
    await host.kms.setFaults({ operations: ['Decrypt'], fault: { kind: 'latency', milliseconds: 3_000 } });
    // Another key than the one that is kept is asked of KMS.
    for (let index = 0; index < 8; index++) await host.createWallet();
    await host.control.request('freeze', {
      scope: 'requester:11111111111111111111111111111111',
      reason: 'forgets keys',
    });
    await expectCode(retire(wallet, statementOf(wallet, { retireBefore: secondsFromNow(2) })), 'statement_expired');
    expect((await sign(wallet)).signature).toHaveLength(64);
  });

  it('forgets a key that was kept, and keeps none', async () => {
    const wallet = await host.openWallet();
    await sign(wallet);
    const before = await kmsCalls();
    const statement = statementOf(wallet);
    await retire(wallet, statement);
    expect(await kmsCalls()).toBe(before);
    for (const asked of [1n, 2n]) {
      await retire(wallet, statement);
      expect(await kmsCalls()).toBe(before + asked);
    }
  });

  it('is done while a freeze holds; resuming does not undo it', async () => {
    const wallet = await host.openWallet();
    const scope = walletScope(wallet.address);
    const { ack } = await host.control.request('freeze', { scope, reason: 'a test' });
    const { freezeId } = decodeAs(freezeAckCodec, ack.bytes, 'ack');
    await retire(wallet);
    await expectCode(sign(wallet), 'frozen');
    const facts = { deployment: host.backend.deployment, boot, scope, freezeId: toHex(freezeId) };
    await host.data.request('resume', { scope, freezeId, signatures: resumeSignatures(facts, wallet.owner) });
    await expectEnded(wallet);
  });

  it('overtakes a signature that waits for KMS', async () => {
    const wallet = await host.openWallet();
    await retireAndRace(wallet);
  });

  /** Signatures under way: each is either on record before the end, or refused. */
  async function retireAndRace(wallet: KitWallet): Promise<void> {
    const racing = Array.from({ length: 20 }, () =>
      sign(wallet).then(
        ({ receipt }) => (receipt === undefined ? 0n : decodeLeaf(receipt.leaf).sequence),
        (error: unknown) => codeOf(error),
      ),
    );
    const { receipt } = await retire(wallet);
    const end = decodeLeaf(receipt.leaf).sequence;
    for (const outcome of await Promise.all(racing)) {
      if (typeof outcome === 'bigint') expect(outcome).toBeLessThan(end);
      else expect(outcome).toBe('wallet_retired');
    }
  }
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

  it('that takes a retired wallet by lease does not sign either; a state from before is too old', async () => {
    const wallet = await host.openWallet();
    const { state } = await retire(wallet);
    const ended = sealed(wallet, state.blob);
    await expectCode(sign(ended, {}, second), 'wallet_retired');
    const lease = await leaseOf(wallet, state.version);
    const taking = { wallet: wallet.address, owner: wallet.owner.address, lease };
    await expectCode(second.request('take', { ...taking, blobs: wallet.blobs }), 'state_too_old');
    const taken = await second.request('take', { ...taking, blobs: ended.blobs });
    const there = sealed(wallet, taken.state.blob);
    await expectCode(sign(there, {}, second), 'wallet_retired');
    await expectCode(sign(there, { body: { dryRun: true } }, second), 'wallet_retired');
    await expectCode(second.request('signBatch', host.batch(there, [1n])), 'wallet_retired');
    const statement = statementOf(wallet, { boot: successor });
    await expectCode(retire(there, statement, second), 'wallet_retired');
    // Shown to the boot before: what it would have let out yet stays in.
    await host.data.request('leaseShow', { lease });
    await expectCode(sign(there), 'wallet_retired');
  });
});

describe('with witnesses', () => {
  it('what is held back never leaves', async () => {
    const keys = [0, 1].map((index) => witnessSigner(`w${index}.example`, 1n));
    const measured = { threshold: 2, keys: keys.map(({ key }) => formatVerifierKey(key)) };
    const other = await MaliciousHost.start({ witnesses: measured });
    try {
      await other.giveCredentials();
      const wallet = await other.openWallet();
      const { boot: there, leaves } = await other.data.request('status', {});
      const held = other.data.request('sign', other.request(wallet)).then(
        () => 'signed',
        (error: unknown) => codeOf(error),
      );
      await expect.poll(async () => (await other.data.request('status', {})).leaves).toBe(leaves + 1n);
      const facts = {
        deployment: other.backend.deployment,
        boot: there as BootId,
        wallet: wallet.address,
        owner: wallet.owner,
        policy: wallet.policy.bytes,
      };
      await other.data.request('walletRetire', { ...retiring(facts), blobs: wallet.blobs });
      expect(await held).toBe('wallet_retired');
    } finally {
      await other.stop();
    }
  });
});
