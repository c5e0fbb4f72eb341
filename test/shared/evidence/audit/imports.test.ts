/** Imported keys in the log: what an owner may repeat, and what would be a second holder of one wallet. */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, BuiltWallet, Deployment, recordImport } from '../../../support/log-builder.ts';
import { auditOf, codesOf, findingOf } from './audits.ts';

let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;

beforeEach(async () => {
  deployment = new Deployment();
  log = await deployment.start();
  wallet = new BuiltWallet(log);
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

describe('an imported wallet', () => {
  test('lives like any other, through audits and hand-overs', async () => {
    recordImport(log, wallet);
    wallet.enable();
    wallet.sign();
    const seen = await expectHonest();
    const successor = await next();
    wallet.moveTo(successor);
    wallet.sign();
    await expectHonest();
    expect((await auditOf(deployment)).kinds).toMatchObject({ 'wallet-imported': 1, release: 2, signed: 2 });
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
  });

  test('may be imported again before it has a policy, there and by a later boot', async () => {
    recordImport(log, wallet);
    recordImport(log, wallet);
    const seen = await expectHonest();
    const successor = await next();
    recordImport(successor, wallet);
    wallet.enable();
    wallet.sign();
    await expectHonest();
    // What an earlier audit kept of it is enough to tell.
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
  });

  test('lacks nothing of what its kind says', async () => {
    recordImport(log, wallet);
    log.rewrite(log.size - 1, ({ actor: _, ...leaf }) => leaf);
    await expectOnly('log_entry_incomplete');
  });

  test('begins at version 1', async () => {
    recordImport(log, wallet, { stateVersion: 2n });
    await expectOnly('log_version_gap');
  });
});

describe('a wallet of v2', () => {
  const migrated = (into: BuiltLog, change = {}) =>
    recordImport(into, wallet, { kind: 'wallet-migrated', signers: [wallet.owner], ...change });

  test('lives like an imported one, and may be migrated again before it has a policy, there and by a later boot', async () => {
    migrated(log);
    migrated(log);
    const seen = await expectHonest();
    const successor = await next();
    migrated(successor);
    wallet.enable();
    wallet.sign();
    await expectHonest();
    expect((await auditOf(deployment)).kinds).toMatchObject({ 'wallet-migrated': 3, signed: 1 });
    expect((await auditOf(deployment, seen && { seen })).findings).toEqual([]);
  });

  test('names the operators who signed', async () => {
    migrated(log, { signers: undefined });
    await expectOnly('log_entry_incomplete');
  });

  test('begins at version 1', async () => {
    migrated(log, { stateVersion: 2n });
    await expectOnly('log_version_gap');
  });

  test('is not migrated once it has a policy', async () => {
    migrated(log);
    wallet.enable();
    migrated(await next());
    await expectOnly('log_wallet_forked');
  });

  test('is nobody else’s', async () => {
    migrated(log);
    migrated(log, { actor: new BuiltWallet(log).owner });
    await expectOnly('log_wallet_forked');
  });
});

describe('a second holder', () => {
  test('by an import after a policy was enabled', async () => {
    recordImport(log, wallet);
    wallet.enable();
    recordImport(log, wallet);
    await expectOnly('log_wallet_forked');
  });

  test('by an import into a later boot, after a policy was enabled', async () => {
    recordImport(log, wallet);
    wallet.enable();
    const seen = await expectHonest();
    recordImport(await next(), wallet);
    await expectOnly('log_wallet_forked');
    await expectOnly('log_wallet_forked', seen);
  });

  test('by an import for another owner', async () => {
    recordImport(log, wallet);
    recordImport(log, wallet, { actor: new BuiltWallet(log).owner });
    await expectOnly('log_wallet_forked');
  });

  test('by an import of a wallet that was born inside', async () => {
    const born = log.wallet(false);
    recordImport(log, born);
    await expectOnly('log_wallet_forked');
  });

  test('by a creation of a wallet that was imported', async () => {
    recordImport(log, wallet);
    log.record({ kind: 'wallet-created', wallet: wallet.address, actor: wallet.owner, stateVersion: 1n });
    await expectOnly('log_wallet_forked');
  });

  test('by the boot before, which goes on with what its owner has taken elsewhere', async () => {
    recordImport(log, wallet);
    const successor = await next();
    recordImport(successor, wallet);
    const seen = await expectHonest();
    wallet.log = log;
    wallet.enable();
    findingOf(await auditOf(deployment, seen && { seen }), 'log_wallet_not_held');
  });
});
