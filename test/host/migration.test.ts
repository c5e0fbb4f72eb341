/** Migrating rows on the admin socket: what the host asks, stores and leaves alone. The enclave here is a fake that believes all. */
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { fromBase64, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { decodeLeaf, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import { migrationRowCodec } from '@quantumvault/shared/evidence/migration.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { Refused } from '../support/fake-enclave.ts';
import { migrationRow } from '../support/migration-kit.ts';
import { V2 } from '../support/v2.ts';
import { Harness, person } from './harness.ts';

let host: Harness;
const v2 = new V2();
beforeAll(async () => {
  host = await new Harness().start();
});
afterAll(() => host.stop());

const statement = toHex(new Uint8Array(32).fill(7));

function rowOf(owner = host.owner.address) {
  const row = migrationRow(v2.bot(), owner, [person().address]);
  const parameters = { statement, row: toBase64(encodeAs(migrationRowCodec, row)), index: 0, proof: [] };
  return { ...row, parameters };
}

const migrate = (row: ReturnType<typeof rowOf>, more: { dryRun?: boolean } = {}) =>
  adminCall(host.path('admin.sock'), 'migration-row', { ...row.parameters, ...more });

const storedOf = (wallet: string) => host.rows('wallets').filter((row) => row['wallet'] === wallet);

describe('a row', () => {
  it('is stored with certificate and receipt, and then there', async () => {
    const row = rowOf();
    const answer = await migrate(row);
    if (answer.outcome !== 'migrated') throw new Error(answer.outcome);
    expect(decodeAs(walletCertificateCodec, fromBase64(answer.certificate.bytes), 'certificate')).toMatchObject({
      wallet: row.wallet,
      imported: true,
      migrated: true,
    });
    expect(decodeLeaf(fromBase64(answer.receipt.leaf)).kind).toBe('wallet-migrated');
    expect(await (await host.get(`/v1/wallets/${row.wallet}`)).json()).toMatchObject({
      owner: row.owner,
      policyHash: null,
    });
    const asked = host.enclave.count('walletMigrate');
    expect(await migrate(row)).toEqual({ outcome: 'there' });
    host.enclave.reboot();
    await host.restartHost();
    await host.ready();
    expect(await migrate(row)).toEqual({ outcome: 'there' });
    expect(await migrate(row, { dryRun: true })).toEqual({ outcome: 'there' });
    expect(host.enclave.count('walletMigrate')).toBe(asked);
  });

  it('at once is one wallet', async () => {
    const row = rowOf();
    const answers = await Promise.all([migrate(row), migrate(row), migrate(row)]);
    expect(answers.map(({ outcome }) => outcome)).toContain('migrated');
    expect(storedOf(row.wallet)).toHaveLength(1);
  });

  it('of a wallet that another owner has is refused, and the enclave is not asked', async () => {
    const row = rowOf();
    await migrate(row);
    const asked = host.enclave.count('walletMigrate');
    const other = {
      ...row,
      parameters: {
        ...row.parameters,
        row: toBase64(encodeAs(migrationRowCodec, { ...row, owner: person().address })),
      },
    };
    expect((await expectCode(migrate(other), 'wallet_exists')).facts.path).toBe('wallet');
    expect(host.enclave.count('walletMigrate')).toBe(asked);
  });

  it('of a dry run is asked about, and nothing is stored', async () => {
    const row = rowOf();
    expect(await migrate(row, { dryRun: true })).toEqual({ outcome: 'opens' });
    expect(storedOf(row.wallet)).toEqual([]);
  });

  it('is given up while the database is locked, and stored when it is asked for again', async () => {
    const row = rowOf();
    const unlock = host.lockDatabase();
    try {
      await expectCode(migrate(row), 'store_unavailable');
    } finally {
      unlock();
    }
    expect((await migrate(row)).outcome).toBe('migrated');
    expect(storedOf(row.wallet)).toHaveLength(1);
  });

  it.each<ErrorCode>([
    'migration_row_refused',
    'migration_row_unknown',
    'migration_not_begun',
    'migration_not_enabled',
  ])('that the enclave refuses (%s) is not stored', async (code) => {
    const row = rowOf();
    host.enclave.handlers.walletMigrate = () => {
      throw new Refused({ code });
    };
    await expectCode(migrate(row), code);
    await expectCode(migrate(row, { dryRun: true }), code);
    delete host.enclave.handlers.walletMigrate;
    await expectProblem(await host.get(`/v1/wallets/${row.wallet}`), 'wallet_unknown');
  });

  it('that the enclave answers without a wallet is a fault of the enclave', async () => {
    const row = rowOf();
    host.enclave.handlers.walletMigrate = () => ({});
    await expectCode(migrate(row), 'message_malformed');
    delete host.enclave.handlers.walletMigrate;
    expect((await migrate(row)).outcome).toBe('migrated');
  });

  it('that was edited in the database is not taken for one that is there', async () => {
    const row = rowOf();
    await migrate(row);
    const database = new DatabaseSync(host.database);
    database.prepare('UPDATE wallets SET salt = ? WHERE wallet = ?').run(new Uint8Array(32), row.wallet);
    database.close();
    await expectCode(migrate(row), 'row_tampered');
  });
});

describe('beginning and end', () => {
  const begin = (sealed: Uint8Array) =>
    adminCall(host.path('admin.sock'), 'migration-begin', {
      statement: { bytes: toBase64(new Uint8Array(8)), signatures: [] },
      sealed: toBase64(sealed),
    });

  it('are passed on to the enclave, a box of no possible length is not', async () => {
    const asked = host.enclave.count('migrationBegin');
    for (const length of [0, 95, 337]) await expectCode(begin(new Uint8Array(length)), 'field_malformed');
    expect(host.enclave.count('migrationBegin')).toBe(asked);
    // Without signatures it is no message; with one it is the enclave's to judge.
    await expectCode(begin(new Uint8Array(112)), 'message_malformed');
    expect(await adminCall(host.path('admin.sock'), 'migration-end', { statement })).toEqual({ ended: true });
    expect(host.enclave.count('migrationEnd')).toBe(1);
  });
});
