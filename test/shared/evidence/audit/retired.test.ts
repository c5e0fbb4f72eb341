/** Retired wallets in the log: what an owner ended signs nothing any more, whoever holds it. */

import { hash } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, type BuiltWallet, Deployment, recordRetired } from '../../../support/log-builder.ts';
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

describe('a retired wallet', () => {
  test('is one whose owner said so, with or without a policy; others go on', async () => {
    wallet.sign();
    const other = log.wallet();
    recordRetired(wallet);
    other.sign();
    recordRetired(log.wallet(false));
    await expectHonest();
    expect((await auditOf(deployment)).kinds).toMatchObject({ retired: 2 });
  });

  test('may be denied something, and leased', async () => {
    recordRetired(wallet);
    wallet.deny();
    const seen = await expectHonest();
    wallet.leaseTo(await next());
    await expectHonest();
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
  });

  test('that signs is evidence, also in an audit that goes on from an earlier one', async () => {
    recordRetired(wallet);
    const seen = await expectHonest();
    wallet.sign();
    await expectOnly('log_signed_retired');
    await expectOnly('log_signed_retired', seen);
  });

  test('that repeats an earlier signature is evidence', async () => {
    const leaf = wallet.sign();
    recordRetired(wallet);
    wallet.repeat(leaf);
    await expectOnly('log_signed_retired');
  });

  test('that has a policy enabled, or is retired again, is evidence', async () => {
    recordRetired(wallet);
    wallet.enable();
    await expectOnly('log_signed_retired');
  });

  test('that is retired again is evidence', async () => {
    recordRetired(wallet);
    recordRetired(wallet);
    await expectOnly('log_signed_retired');
  });

  test('that signs under a later boot is evidence, also in an audit that goes on from an earlier one', async () => {
    recordRetired(wallet);
    const seen = await expectHonest();
    wallet.leaseTo(await next());
    wallet.sign();
    await expectOnly('log_signed_retired');
    await expectOnly('log_signed_retired', seen);
  });

  test('is a change of its state like any other', async () => {
    recordRetired(wallet, { stateVersion: wallet.version });
    await expectOnly('log_version_gap');
  });

  test('names owner and policy', async () => {
    recordRetired(wallet, { actor: wallet.requester });
    await expectOnly('log_policy_mismatch');
  });

  test('names the policy that is enabled', async () => {
    recordRetired(wallet, { policyHash: hash(new Uint8Array(32)) });
    await expectOnly('log_policy_mismatch');
  });

  test('lacks nothing of what its kind says', async () => {
    recordRetired(wallet);
    log.rewrite(log.size - 1, ({ actor: _, ...leaf }) => leaf);
    await expectOnly('log_entry_incomplete');
  });
});
