/**
 * Rows of v2 are migrated, opened in dry runs and refused at each step; in between the memory of enclave, kms-agent and
 * host is searched for the v2 server's secret and every key on the way from it to a bot's seed. Nothing may be found but
 * the key that the secret yields, in guarded pages of the enclave, once, and only while the migration is under way.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { operatorSignedJson } from '@quantumvault/host/admin/succession-json.ts';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import type { MigrationRow } from '@quantumvault/shared/evidence/migration.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildNative } from '../../shared/native/build.ts';
import { expectCode } from '../support/codes.ts';
import { Migration, migrationRow } from '../support/migration-kit.ts';
import { operators } from '../support/operator-keys.ts';
import { requireProgram } from '../support/requires.ts';
import { V2, type V2Options } from '../support/v2.ts';
import { party, secondsFromNow } from '../support/wallet-kit.ts';
import { Appliance, type ProcessName } from './appliance.ts';
import { Examination } from './examination.ts';
import type { Occurrence } from './ledger.ts';

const compiler = requireProgram('cc', 'gcc libc6-dev');
const ALL: readonly ProcessName[] = ['enclave', 'kms-agent', 'host'];
const ROWS = 12;
const FORMS: readonly [string, V2Options][] = [
  ['as bytes', {}],
  ['under scrypt, in base58', { serverKey: 'scrypt', botKey: 'base58' }],
  ['in hex', { userKey: 'hex', botKey: 'hex' }],
  ['in base64, of seeds', { userKey: 'base64', botKey: 'base64', botKeyBytes: 32 }],
];

describe.skipIf(compiler === undefined)('a migration from v2', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-memory-'));
  let appliance: Appliance;
  let examination: Examination;
  /** Under way. */
  let current: V2 | undefined;

  beforeAll(async () => {
    const addon = join(folder, 'qv-native.node');
    buildNative({ outFile: addon });
    appliance = await Appliance.start({ addon, migration: true });
    examination = new Examination(appliance, isAllowed);
  });
  afterAll(async () => {
    await appliance?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  function isAllowed({ secret, isGuarded, forms, parts }: Occurrence, process: ProcessName): boolean {
    if (process !== 'enclave' || !isGuarded || forms.join() !== 'raw' || !parts.includes('whole')) return false;
    return (
      ['boot key', 'import key'].includes(secret.kind) || (secret.kind === 'v2 server key' && isCurrent(secret.of))
    );
  }
  const nameOf = new Map<V2, string>();
  const isCurrent = (of: string): boolean => current !== undefined && nameOf.get(current) === of;

  /** Nothing is there; but the key of the migration that is under way, which shows that it would be found. */
  async function clean(processes: readonly ProcessName[] = ['enclave']): Promise<void> {
    for (const process of processes) {
      const { leaks, allowed } = await examination.look(process);
      expect.soft(leaks).toEqual([]);
      const held = allowed.filter(({ secret }) => secret.kind === 'v2 server key').length;
      expect(held).toBe(process === 'enclave' && current !== undefined ? 1 : 0);
    }
  }

  function learn(v2: V2, name: string): void {
    nameOf.set(v2, name);
    examination.ledger.add(...v2.secrets.map(({ kind, bytes }) => ({ kind, of: name, bytes: new Uint8Array(bytes) })));
  }

  async function begin(v2: V2, rows: readonly MigrationRow[], notAfter = secondsFromNow(600)): Promise<Migration> {
    const { stack } = appliance;
    const by = operators(stack.dir).slice(0, 2);
    const facts = { deployment: stack.deployment, ...(await appliance.attested()), v2, rows, operators: by };
    const ordered = new Migration(facts, { notAfter });
    const { statement, sealed } = ordered.begin();
    const json = { statement: operatorSignedJson(statement), sealed: toBase64(sealed) };
    await adminCall(stack.adminSocket, 'migration-begin', json);
    current = v2;
    return ordered;
  }

  function migrate(ordered: Migration, at: number, dryRun = false) {
    const { statementHash, row, index, proof } = ordered.row(at);
    const [statement, hashes] = [toHex(statementHash), proof.map((hash) => toBase64(hash))];
    const parameters = { statement, row: toBase64(row), index, proof: hashes, dryRun };
    return adminCall(appliance.stack.adminSocket, 'migration-row', parameters);
  }

  async function end(ordered: Migration): Promise<void> {
    await adminCall(appliance.stack.adminSocket, 'migration-end', { statement: toHex(ordered.hash) });
    current = undefined;
  }

  it.each(FORMS)('with keys %s leaves none of them behind', async (name, options) => {
    const v2 = new V2(options);
    const own = { owner: party(), requester: party(), destination: party().address };
    const bots = Array.from({ length: ROWS }, (_, at) => v2.bot(`user-${at % 4}`));
    const rowOf = (at: number, change: Partial<MigrationRow> = {}): MigrationRow => {
      const bot = bots[at];
      if (bot === undefined) throw new Error('no such row');
      return migrationRow(bot, own.owner.address, [own.requester.address], change);
    };
    const spoiled = (bytes: Uint8Array): Uint8Array =>
      bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte));
    const good = bots.map((_, at) => rowOf(at));
    const bad = [
      rowOf(0, { encryptedUserKey: spoiled(rowOf(0).encryptedUserKey) }),
      rowOf(1, { encryptedBotKey: spoiled(rowOf(1).encryptedBotKey) }),
      rowOf(2, { wallet: party().address }),
      rowOf(3, { userId: 'another' }),
    ];
    learn(v2, name);
    const ordered = await begin(v2, [...good, ...bad]);
    await clean();
    for (let at = 0; at < ROWS; at++) await migrate(ordered, at, true);
    await clean();
    for (let at = ROWS; at < ROWS + bad.length; at++)
      for (const dryRun of [true, false]) await expectCode(migrate(ordered, at, dryRun), 'migration_row_refused');
    await clean();
    await appliance.kms.setFaults({
      operations: ['GenerateDataKey'],
      fault: { kind: 'refuse', error: 'AccessDeniedException' },
    });
    await expectCode(migrate(ordered, 0), 'kms_refused');
    await appliance.kms.clearFaults();
    await Promise.all(bots.map((_, at) => migrate(ordered, at)));
    await clean(ALL);
    for (const { key } of bots.slice(0, 2)) {
      const wallet = { address: key.address, ...own };
      appliance.wallets.push(wallet);
      await appliance.enable(wallet);
      for (let count = 0; count < 10; count++) await appliance.sign(wallet);
    }
    await clean();
    await end(ordered);
    await clean(ALL);
  });

  it('that is refused, whose time is up, or that a freeze stops, leaves nothing either', async () => {
    const refused = new V2();
    learn(refused, 'refused');
    const row = migrationRow(refused.bot(), party().address, [party().address]);
    const { stack } = appliance;
    const facts = { deployment: stack.deployment, ...(await appliance.attested()), v2: refused, rows: [row] };
    const [one, other] = [1, 2].map(
      (seconds) =>
        new Migration(
          { ...facts, operators: operators(stack.dir).slice(0, 2) },
          { notAfter: secondsFromNow(600 + seconds) },
        ),
    );
    if (one === undefined || other === undefined) throw new Error('no migrations');
    const { statement } = one.begin();
    // The box of another statement: it opens, and is refused.
    const json = { statement: operatorSignedJson(statement), sealed: toBase64(other.begin().sealed) };
    await expectCode(adminCall(stack.adminSocket, 'migration-begin', json), 'migration_refused');
    await clean();

    const late = new V2();
    const lateRow = migrationRow(late.bot(), party().address, [party().address]);
    learn(late, 'late');
    const ordered = await begin(late, [lateRow], secondsFromNow(8));
    await clean();
    const over = async (): Promise<ErrorCode | undefined> =>
      migrate(ordered, 0, true).then(
        () => undefined,
        (error: { code: ErrorCode }) => error.code,
      );
    await expect.poll(over, { timeout: 20_000 }).toBe('migration_not_begun');
    current = undefined;
    await clean();

    const stopped = new V2();
    learn(stopped, 'stopped');
    await begin(stopped, [migrationRow(stopped.bot(), party().address, [party().address])]);
    await clean();
    await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'trial' });
    current = undefined;
    await clean(ALL);
  });
});
