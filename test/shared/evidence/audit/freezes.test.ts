/** Freezes and repeats as an enclave that breaks its own rules would write them, in a log that is otherwise whole. */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
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

describe('freezes', () => {
  test.each(['fleet', 'wallet', 'requester'])('signed under one of %s', async (kind) => {
    const subject = { fleet: '', wallet: `:${wallet.address}`, requester: `:${wallet.requester}` }[kind];
    log.freeze(`${kind}${subject}`);
    wallet.sign();
    await expectOnly('log_signed_frozen');
  });

  test('signed under one of two that overlap', async () => {
    const id = log.freeze();
    log.freeze(`wallet:${wallet.address}`);
    log.resume(id);
    wallet.sign();
    await expectOnly('log_signed_frozen');
  });

  test('resumed by the id of an order that a later one replaced', async () => {
    const id = log.freeze();
    log.freeze();
    log.resume(id);
    await expectOnly('log_resume_invalid');
  });

  test('signed under one that came again with another wallet', async () => {
    const second = await deployment.start({ follows: log.predecessor() });
    const other = log.wallet();
    const id = log.freeze();
    wallet.moveTo(second);
    second.resume(id);
    wallet.sign();
    other.moveTo(second);
    wallet.sign();
    await expectOnly('log_signed_frozen', second);
  });

  test('a repeat under one', async () => {
    const leaf = wallet.sign();
    log.freeze();
    wallet.repeat(leaf);
    await expectOnly('log_signed_frozen');
  });

  test.each(['follows', 'release', 'lease'])('signed under one that came with %s', async (by) => {
    const second = await deployment.start(by === 'follows' ? {} : { follows: log.predecessor() });
    log.freeze();
    const held = by === 'follows' ? second.wallet() : wallet;
    if (by === 'follows') second.record({ kind: 'follows', predecessor: log.predecessor() });
    else if (by === 'release') wallet.moveTo(second);
    else wallet.leaseTo(second);
    held.sign();
    await expectOnly('log_signed_frozen', second);
  });

  test('one that is left out by continuing an older state', async () => {
    const before = log.predecessor();
    log.freeze();
    const second = await deployment.start({ follows: before });
    expect(findingOf(await auditOf(deployment), 'log_freeze_lost')).toMatchObject({ boot: second.boot });
  });

  test('one that came with a wallet after an older state was continued is not lost', async () => {
    const before = log.predecessor();
    log.freeze();
    const second = await deployment.start({ follows: before });
    wallet.moveTo(second);
    expect((await auditOf(deployment)).findings).toEqual([]);
    // And it holds there.
    wallet.sign();
    await expectOnly('log_signed_frozen', second);
  });

  test('one that came only after others had signed without it is lost', async () => {
    const before = log.predecessor();
    const id = log.freeze();
    const second = await deployment.start({ follows: before });
    second.wallet().sign();
    wallet.moveTo(second);
    const found = async () => (await auditOf(deployment)).findings.map(({ code, boot }) => [code, boot]);
    expect(await found()).toEqual([['log_freeze_lost', second.boot]]);
    // Also when it is resumed there.
    second.resume(id);
    expect(await found()).toEqual([['log_freeze_lost', second.boot]]);
  });

  test('one that came in time, was resumed and came again is not lost', async () => {
    const before = log.predecessor();
    const later = log.wallet();
    const id = log.freeze();
    const second = await deployment.start({ follows: before });
    wallet.moveTo(second);
    second.resume(id);
    wallet.sign();
    later.moveTo(second);
    expect((await auditOf(deployment)).findings).toEqual([]);
  });

  test('signed under one that the state continued from still had', async () => {
    log.resume(log.freeze());
    const second = await deployment.start({ follows: log.predecessor(log.size - 1) });
    second.wallet().sign();
    await expectOnly('log_signed_frozen', second);
  });

  test('one that was resumed before does not travel', async () => {
    const before = log.predecessor();
    log.resume(log.freeze());
    const second = await deployment.start({ follows: before });
    second.wallet().sign();
    expect((await auditOf(deployment)).findings).toEqual([]);
  });

  test('resumed by another id or scope, or twice', async () => {
    const id = log.freeze();
    log.resume(nacl.randomBytes(16));
    await expectOnly('log_resume_invalid');
    log.resume(id, `wallet:${wallet.address}`);
    log.resume(id);
    log.resume(id);
    expect(codesOf(await auditOf(deployment))).toEqual(Array(3).fill('log_resume_invalid'));
  });

  test('two of one id', async () => {
    const freezeId = log.freeze();
    log.record({ kind: 'frozen', freezeId, scope: 'fleet', reason: '' });
    await expectOnly('log_entry_unexpected');
  });
});

describe('repeats', () => {
  test.each<[string, Partial<LeafFacts>]>([
    ['another request', { requestId: 'other' }],
    ['another message', { messageHash: leafHash(utf8('other')) }],
    ['another signature', { signatureHash: leafHash(utf8('other')) }],
    ['what is no signature', { repeats: 1n }],
    ['what is yet to come', { repeats: 99n }],
  ])('of %s', async (_, change) => {
    wallet.repeat(wallet.sign(), change);
    await expectOnly('log_repeat_false');
  });

  test('of another wallet’s request', async () => {
    const leaf = wallet.sign();
    const other = log.wallet({ requesters: [wallet.requester] });
    other.repeat({ ...leaf, wallet: other.address, ...(other.policyHash && { policyHash: other.policyHash }) });
    await expectOnly('log_repeat_false');
  });

  test('of a repeat', async () => {
    const first = wallet.sign();
    wallet.repeat(wallet.repeat(first));
    await expectOnly('log_repeat_false');
  });

  test('after the time for them', async () => {
    const first = wallet.sign();
    const keep = LIMITS.requestMaxAgeSeconds + LIMITS.requestMaxFutureSeconds + LIMITS.auditRepeatSlackSeconds;
    deployment.now = timeMs(first.time + keep * 1000 + 1);
    wallet.repeat(first);
    await expectOnly('log_repeat_false');
  });

  test('that pass a limit, which a repeat is judged by too', async () => {
    const first = wallet.sign();
    wallet.repeat(first, { amounts: { lamportsOut: 1_000_001n, feeLamports: 1n } });
    await expectOnly('log_limit_exceeded');
  });
});
