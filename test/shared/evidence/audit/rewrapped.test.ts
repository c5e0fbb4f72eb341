/** Re-wrapped wallets in the log: a change of the state like any other, and nothing but that. */

import { hash } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import {
  type BuiltLog,
  type BuiltWallet,
  Deployment,
  recordRetired,
  recordRewrapped,
} from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf } from './audits.ts';

let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;

beforeEach(async () => {
  deployment = new Deployment();
  log = await deployment.start();
  wallet = log.wallet();
});

async function expectHonest(): Promise<Uint8Array | undefined> {
  const report = await auditOf(deployment);
  expect(report.findings).toEqual([]);
  return report.seen;
}

async function expectOnly(code: ErrorCode, seen?: Uint8Array): Promise<void> {
  const report = await auditOf(deployment, seen && { seen });
  findingOf(report, code);
  expect(codesOf(report)).toEqual([code]);
}

const next = (): Promise<BuiltLog> => deployment.start({ follows: log.predecessor() });

describe('a re-wrapped wallet', () => {
  test('signs before and after, has policies enabled, moves and ends; without a policy, too', async () => {
    wallet.sign();
    recordRewrapped(wallet);
    recordRewrapped(wallet);
    wallet.sign();
    const seen = await expectHonest();
    wallet.enable();
    recordRewrapped(wallet);
    recordRewrapped(log.wallet(false));
    wallet.moveTo(await next());
    recordRewrapped(wallet);
    wallet.sign();
    recordRetired(wallet);
    await expectHonest();
    expect((await auditOf(deployment)).kinds).toMatchObject({ rewrapped: 5 });
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
  });

  test('has its windows counted on', async () => {
    const document = { sol: { maxPerTransaction: '1000', window: { seconds: 3600, max: '1500' }, destinations: [] } };
    const limited = log.wallet(document);
    limited.sign({ lamports: 1000n });
    recordRewrapped(limited);
    limited.sign({ lamports: 1000n });
    await expectOnly('log_window_exceeded');
  });

  test('goes on after a lease that lost the enabling of its policy: the leaf names the one that counts', async () => {
    wallet.policyHash = deployment.addPolicy(wallet.document());
    wallet.version++;
    wallet.leaseTo(await next());
    recordRewrapped(wallet);
    wallet.sign();
    await expectHonest();
  });

  test('that skips a version, or repeats one, is evidence', async () => {
    recordRewrapped(wallet, { stateVersion: wallet.version });
    await expectOnly('log_version_gap');
  });

  test('names the policy that is enabled', async () => {
    recordRewrapped(wallet, { policyHash: hash(new Uint8Array(32)) });
    await expectOnly('log_policy_mismatch');
  });

  test('was not retired before', async () => {
    recordRetired(wallet);
    const seen = await expectHonest();
    recordRewrapped(wallet);
    await expectOnly('log_signed_retired');
    await expectOnly('log_signed_retired', seen);
  });

  test('was held by that boot', async () => {
    const second = await next();
    wallet.moveTo(second);
    log.record({
      kind: 'rewrapped',
      wallet: wallet.address,
      stateVersion: wallet.version + 1n,
      ...(wallet.policyHash && { policyHash: wallet.policyHash }),
    });
    findingOf(await auditOf(deployment), 'log_wallet_not_held');
  });

  test('lacks nothing of what its kind says', async () => {
    recordRewrapped(wallet);
    log.rewrite(log.size - 1, ({ stateVersion: _, ...leaf }) => leaf);
    await expectOnly('log_entry_incomplete');
  });
});
