/** What an enclave that breaks its own rules would write, in a log that is otherwise whole: each found by its meaning. */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { Leaf } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import nacl from 'tweetnacl';
import { beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, type BuiltWallet, Deployment, type LeafFacts } from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf } from './audits.ts';

let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;

beforeEach(async () => {
  deployment = new Deployment();
  log = await deployment.start();
  wallet = log.wallet();
});

/** Nothing else is found, and it is found at the last leaf. */
async function expectOnly(code: ErrorCode, at: BuiltLog = log): Promise<void> {
  const report = await auditOf(deployment);
  expect(findingOf(report, code)).toMatchObject({ boot: at.boot, sequence: BigInt(at.size - 1) });
  expect(codesOf(report)).toEqual([code]);
}

const factsOf = ({ boot: _, sequence: __, previous: ___, time: ____, ...facts }: Leaf): LeafFacts => facts;

describe('leaves', () => {
  test.each<[LeafFacts['kind'], keyof LeafFacts]>([
    ['signed', 'amounts'],
    ['signed', 'signatureHash'],
    ['signed', 'stateVersion'],
    ['signed', 'actor'],
    ['denied', 'rule'],
    ['wallet-created', 'actor'],
    ['policy-enabled', 'policyHash'],
    ['frozen', 'freezeId'],
  ])('%s without %s', async (kind, field) => {
    const made: Record<string, () => void> = {
      signed: () => wallet.sign(),
      denied: () => wallet.deny(),
      'wallet-created': () => log.wallet(false),
      'policy-enabled': () => wallet.enable(),
      frozen: () => log.freeze(),
    };
    made[kind]?.();
    const { [field]: _, ...without } = factsOf(log.leaves.at(-1) as Leaf);
    log.rewrite(log.size - 1, ({ boot, sequence, previous, time }) => ({
      ...(without as LeafFacts),
      boot,
      sequence,
      time,
      ...(previous && { previous }),
    }));
    await expectOnly('log_entry_incomplete');
  });

  test('a release that is both given and received, and a scope that is none', async () => {
    const facts = { kind: 'release', wallet: wallet.address, stateVersion: 2n } as const;
    log.record({ ...facts, successor: log.boot, predecessor: log.predecessor() });
    findingOf(await auditOf(deployment), 'log_entry_incomplete');
    for (const scope of ['everybody', `wallet:${'z'.repeat(44)}`])
      log.record({ kind: 'frozen', freezeId: nacl.randomBytes(16), scope, reason: '' });
    expect(codesOf(await auditOf(deployment)).filter((code) => code === 'log_entry_incomplete')).toHaveLength(3);
  });

  test('time that goes back', async () => {
    deployment.now -= 1001;
    wallet.sign();
    await expectOnly('log_time_backwards');
  });

  test('a second leaf 0, or none', async () => {
    log.record(factsOf(log.leaves[0] as Leaf));
    await expectOnly('log_entry_unexpected');
    log.rewrite(0, (leaf) => (leaf.sequence === 0n ? { ...leaf, kind: 'key-failed' } : leaf));
    findingOf(await auditOf(deployment), 'log_entry_unexpected');
  });

  test('a second predecessor', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    second.record({ kind: 'follows', predecessor: log.predecessor() });
    await expectOnly('log_entry_unexpected', second);
  });

  test('boots that follow each other', async () => {
    const second = await deployment.start();
    const predecessor = { boot: log.boot, checkpoint: log.checkpoint({ claimedSize: BigInt(log.size + 1) }) };
    log.record({ kind: 'follows', predecessor: second.predecessor() });
    log.rewrite(log.size - 1, (leaf) => ({
      ...leaf,
      predecessor: { boot: second.boot, checkpoint: second.checkpoint({ claimedSize: 2n }) },
    }));
    second.record({ kind: 'follows', predecessor });
    findingOf(await auditOf(deployment), 'log_chain_cycle');
  });
});

describe('versions', () => {
  test('that are passed over', async () => {
    wallet.version++;
    wallet.sign();
    await expectOnly('log_version_gap');
  });

  test('that come twice', async () => {
    wallet.sign();
    wallet.version--;
    wallet.sign();
    await expectOnly('log_version_gap');
  });

  test('that do not begin at 1', async () => {
    log.record({ kind: 'wallet-created', wallet: log.wallet(false).address, actor: wallet.owner, stateVersion: 1n });
    await expectOnly('log_wallet_forked');
    log.rewrite(log.size - 2, (leaf) => ({ ...leaf, stateVersion: 2n }));
    findingOf(await auditOf(deployment), 'log_version_gap');
  });

  test('raised by a repeat', async () => {
    const leaf = wallet.sign();
    wallet.repeat(leaf, { stateVersion: wallet.version + 1n });
    await expectOnly('log_version_gap');
  });

  test('of a wallet that was never created', async () => {
    const other = await new Deployment().start();
    const stranger = other.wallet();
    stranger.log = log;
    stranger.enable();
    await expectOnly('log_wallet_not_held');
  });
});

describe('wallets that move', () => {
  let second: BuiltLog;
  beforeEach(async () => {
    second = await deployment.start({ follows: log.predecessor() });
  });

  test('used by two boots', async () => {
    wallet.log = second;
    wallet.sign();
    await expectOnly('log_wallet_not_held', second);
  });

  test('used after they were released', async () => {
    wallet.moveTo(second);
    wallet.log = log;
    wallet.sign();
    const report = await auditOf(deployment);
    expect(findingOf(report, 'log_wallet_not_held')).toMatchObject({ boot: log.boot });
    findingOf(report, 'log_wallet_forked');
  });

  test('taken without a release, by one for another boot, or before it', async () => {
    const take = (log: BuiltLog, from: BuiltLog, size?: number) =>
      log.record({
        kind: 'release',
        wallet: wallet.address,
        stateVersion: wallet.version + 1n,
        predecessor: from.predecessor(size),
      });
    take(second, log);
    await expectOnly('log_wallet_not_held', second);
    const third = await deployment.start({ follows: log.predecessor() });
    wallet.moveTo(third);
    findingOf(await auditOf(deployment), 'log_wallet_forked');
  });

  test('released by a leaf that the checkpoint does not cover', async () => {
    const predecessor = log.predecessor();
    const facts = { kind: 'release', wallet: wallet.address, stateVersion: wallet.version } as const;
    log.record({ ...facts, successor: second.boot });
    second.record({ ...facts, stateVersion: wallet.version + 1n, predecessor });
    await expectOnly('log_wallet_not_held', second);
  });

  test('taken at another version than released', async () => {
    wallet.moveTo(second);
    second.rewrite(second.size - 1, (leaf) => ({ ...leaf, stateVersion: wallet.version + 1n }));
    await expectOnly('log_version_gap', second);
    log.rewrite(log.size - 1, (leaf) => ({ ...leaf, stateVersion: wallet.version + 1n }));
    findingOf(await auditOf(deployment), 'log_forked');
  });

  test('leased at an older version', async () => {
    wallet.sign();
    wallet.leaseTo(second, wallet.version - 1n);
    const report = await auditOf(deployment);
    expect(findingOf(report, 'log_version_gap')).toMatchObject({ boot: second.boot });
    findingOf(report, 'log_wallet_forked');
  });

  test('leased, and used by the old boot all the same', async () => {
    const version = wallet.version;
    wallet.leaseTo(second);
    wallet.log = log;
    wallet.sign();
    wallet.log = second;
    wallet.version = version;
    wallet.sign();
    expect(findingOf(await auditOf(deployment), 'log_wallet_forked')).toMatchObject({ wallet: wallet.address });
  });

  test('leased twice', async () => {
    const third = await deployment.start({ follows: second.predecessor() });
    wallet.leaseTo(second);
    wallet.log = log;
    wallet.leaseTo(third);
    await expectOnly('log_wallet_forked', third);
  });

  test('leased from a boot that never had it', async () => {
    const third = await deployment.start({ follows: second.predecessor() });
    wallet.log = second;
    wallet.leaseTo(third);
    await expectOnly('log_wallet_not_held', third);
  });
});

describe('policies', () => {
  test('that are not shown, or not the ones named', async () => {
    deployment.policies.clear();
    const report = await auditOf(deployment);
    expect(findingOf(report, 'log_policy_unknown')).toMatchObject({ wallet: wallet.address, sequence: 2n });
    deployment.policies.set(toHex(wallet.policyHash as Hash), utf8('another'));
    findingOf(await auditOf(deployment), 'log_policy_unknown');
  });

  test('that are missing are one finding, however much was signed', async () => {
    for (let index = 0; index < 5; index++) wallet.sign();
    deployment.policies.clear();
    expect(codesOf(await auditOf(deployment))).toEqual(['log_policy_unknown']);
  });

  test('that are not enabled, or no more', async () => {
    const old = wallet.policyHash as Hash;
    wallet.enable();
    wallet.sign({ change: { policyHash: old } });
    await expectOnly('log_policy_mismatch');
    const bare = log.wallet(false);
    bare.sign({ change: { policyHash: old } });
    expect(codesOf(await auditOf(deployment))).toEqual(['log_policy_mismatch', 'log_policy_mismatch']);
  });

  test('of another wallet or owner, with an older epoch, or enabled by another', async () => {
    const other = log.wallet();
    for (const change of [{ wallet: other.address }, { owner: other.owner }, { epoch: 1 }]) {
      wallet.enable(change);
      await expectOnly('log_policy_mismatch');
      log.entries.pop();
      log.leaves.pop();
      wallet.version--;
    }
    wallet.enable({ epoch: 9 });
    log.rewrite(log.size - 1, (leaf) => ({ ...leaf, actor: other.owner }));
    await expectOnly('log_policy_mismatch');
  });

  test('for other requesters', async () => {
    wallet.sign({ change: { actor: wallet.owner } });
    await expectOnly('log_requester_unknown');
  });

  test('at other times', async () => {
    const until = deployment.now + 1000;
    wallet.enable({ validUntil: new Date(until).toISOString().replace('.000', '') });
    deployment.now = until - 1;
    wallet.sign({ advanceMs: 1 });
    wallet.sign();
    await expectOnly('log_policy_not_valid');
  });

  test.each([
    ['lamports', { lamports: 1_000_001n }],
    ['fee', { fee: 100_001n }],
  ])('one transaction of more %s', async (_, facts) => {
    wallet.sign(facts);
    await expectOnly('log_limit_exceeded');
  });

  test('tokens that the policy does not list', async () => {
    wallet.sign({ tokens: [{ mint: wallet.owner, amount: 1n }] });
    await expectOnly('log_limit_exceeded');
  });

  test('a window, by one lamport at its last millisecond', async () => {
    wallet.enable({ sol: { maxPerTransaction: '9', window: { seconds: 60, max: '10' }, destinations: [] } });
    wallet.sign({ lamports: 5n, advanceMs: 60_000 });
    wallet.sign({ lamports: 6n });
    await expectOnly('log_window_exceeded');
  });

  test('a window that a new policy makes longer', async () => {
    wallet.enable({ sol: { maxPerTransaction: '9', window: { seconds: 1, max: '10' }, destinations: [] } });
    wallet.sign({ lamports: 5n, advanceMs: LIMITS.policyWindowSeconds * 1000 - 1000 });
    wallet.enable({
      sol: { maxPerTransaction: '9', window: { seconds: LIMITS.policyWindowSeconds, max: '10' }, destinations: [] },
    });
    wallet.sign({ lamports: 6n });
    await expectOnly('log_window_exceeded');
  });

  test('a window that is full for a wallet that moved', async () => {
    wallet.enable({ sol: { maxPerTransaction: '9', window: { seconds: 60, max: '10' }, destinations: [] } });
    wallet.sign({ lamports: 5n });
    const second = await deployment.start({ follows: log.predecessor() });
    wallet.moveTo(second);
    wallet.sign({ lamports: 6n });
    await expectOnly('log_window_exceeded', second);
  });

  test('a rate', async () => {
    wallet.enable({ rate: { perMinute: 2, perDay: 3 } });
    for (let index = 0; index < 3; index++) wallet.sign();
    await expectOnly('log_rate_exceeded');
  });
});
