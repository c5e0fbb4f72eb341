/** Backups of a living deployment: what is in them, and that an older one in place of the database spends nothing twice. */
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { parsePolicy, policyBytes } from '@quantumvault/shared/policy/policy.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type JsonAnswer, qv, qvJson } from '../host/cli/call.ts';
import { readRecords } from '../stack/kms/record.ts';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectProblem } from '../support/codes.ts';
import { noteCode } from '../support/codes-seen.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { transfer } from '../support/wallet-kit.ts';
import { expectAudited, later, newBoot, type Operators, solWindow, versionOf } from './succession-kit.ts';

let stack: Stack;
let kit: HttpKit;
let operators: Operators;
let folder: string;
let firstPolicy: Record<string, unknown>;
let [windowed, changed]: HttpWallet[] = [];
const wallets = () => [windowed, changed] as [HttpWallet, HttpWallet];

const backUp = (): Promise<JsonAnswer> => qvJson('backup', '--config', stack.hostConfigFile, '--to', folder);
const verify = (...more: readonly string[]): Promise<JsonAnswer> =>
  qvJson('backup', 'verify', '--from', folder, '--scratch', stack.dir, ...more);

/** The host and its database are gone; what comes in their place is as old as the backup. */
async function restoreOlder(number: number, ...more: readonly string[]): Promise<JsonAnswer> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
  for (const suffix of ['', '-wal', '-shm']) rmSync(stack.databaseFile + suffix, { force: true });
  const answer = await qvJson(
    ...[
      'restore',
      '--from',
      folder,
      '--number',
      String(number),
      '--to',
      stack.hostConfigFile,
      ...operators.images,
      ...more,
    ],
  );
  expect(answer).toMatchObject({ ok: true, restored: true, database: stack.databaseFile, number });
  return answer;
}

const enable = (wallet: HttpWallet, body: unknown): Promise<Response> =>
  kit.http(`/v1/wallets/${wallet.address}/policy`, 'PUT', body);

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none', recordSealed: true });
  kit = httpKit(stack);
  operators = operatorsOf(stack);
  folder = join(stack.dir, 'backups');
  windowed = await kit.openWallet(solWindow('4500'));
  changed = await kit.openWallet((document) => {
    firstPolicy = document;
    return document;
  });
  for (const wallet of wallets()) expect((await kit.sign(wallet)).status).toBe(200);
  await adminCall(stack.adminSocket, 'publish', {});
});
afterAll(() => stack?.stop());

describe('a backup of a running host', () => {
  it('holds, and costs little when little has changed', async () => {
    const first = await backUp();
    expect(first).toMatchObject({ ok: true, number: 1, deployment: stack.deployment, wallets: 2 });
    const verified = await verify(...operators.images, '--wallet', wallets()[0].address);
    expect(verified).toMatchObject({ ok: true, number: 1, steps: Array(6).fill({ status: 'pass' }) });
    const plain = await verify();
    expect(plain['steps']).toMatchObject([...Array(5).fill({ status: 'pass' }), { name: 'audit', status: 'skipped' }]);
    const [log] = first['logs'] as { boot: string; size: string }[];
    expect(log).toMatchObject({ boot: await operators.bootOf(stack) });
    expect(Number(log?.size)).toBeGreaterThan(5);
  });

  it('is judged by the images that it is expected to be of', async () => {
    const answer = await verify('--pcr0', 'ab'.repeat(48), ...operators.images.slice(2));
    expect(answer).toMatchObject({
      ok: false,
      exit: 1,
      error: { step: 'audit', code: 'attestation_pcrs_not_allowed' },
    });
    expect(await verify('--allow-debug')).toMatchObject({ error: { code: 'usage_invalid' } });
    expect(await verify('--number', 'one')).toMatchObject({ error: { code: 'usage_invalid' } });
    const keep = await qvJson('backup', '--config', stack.hostConfigFile, '--to', folder, '--keep', '0');
    expect(keep).toMatchObject({ error: { code: 'usage_invalid' } });
    const missing = await verify('--wallet', wallets()[0].owner.address);
    expect(missing).toMatchObject({ ok: false, error: { step: 'wallets', code: 'wallet_unknown' } });
    const { exit, stdout } = await qv('backup', 'verify', '--from', folder, '--number', '77');
    expect([exit, stdout.includes('NOT verified')]).toEqual([1, true]);
  });

  it('holds no secret of anybody: keys that KMS unwrapped, credentials, operators’ keys', async () => {
    const database = readFileSync(stack.databaseFile);
    const inBackup = filesBelow(folder).map((path) => readFileSync(path));
    const holds = (bytes: Uint8Array): boolean => inBackup.some((content) => content.includes(Buffer.from(bytes)));
    const records = readRecords(stack.sealedFile);
    expect(records.length).toBeGreaterThan(2);
    for (const { secret, contentKey } of records) expect([holds(secret), holds(contentKey)]).toEqual([false, false]);
    const credentials = JSON.parse(readFileSync(stack.credentialsFile, 'utf8')) as { secretAccessKey: string };
    expect(holds(Buffer.from(credentials.secretAccessKey))).toBe(false);
    for (const operator of [1, 2, 3]) {
      const pem = readFileSync(operators.key(operator), 'utf8').split('\n')[1] ?? '';
      expect(holds(Buffer.from(pem))).toBe(false);
      expect(holds(Buffer.from(pem, 'base64').subarray(-32))).toBe(false);
    }
    expect(holds(readFileSync(stack.hostConfigFile))).toBe(false);
    // The search does find what is there: a row, as it is in the database.
    const row = Buffer.from(wallets()[0].address);
    expect([database.includes(row) || readFileSync(`${stack.databaseFile}-wal`).includes(row), holds(row)]).toEqual([
      true,
      true,
    ]);
  });

  it('is refused when a row is older than the log, or a leaf is gone or edited', async () => {
    const edits: [string, string][] = [
      ['state_too_old', 'UPDATE wallets SET state_version = 1'],
      ['log_entry_missing', 'DELETE FROM leaves WHERE sequence = 2'],
      ['log_truncated', 'DELETE FROM leaves WHERE sequence >= 3'],
      ['log_root_mismatch', 'UPDATE leaves SET leaf = (SELECT leaf FROM leaves WHERE sequence = 1) WHERE sequence = 2'],
      ['backup_damaged', 'UPDATE logs SET size = size - 1'],
    ];
    const edited = join(stack.dir, 'edited.db');
    const config = join(stack.dir, 'edited.json');
    const own = JSON.parse(readFileSync(stack.hostConfigFile, 'utf8'));
    writeFileSync(config, JSON.stringify({ ...own, store: { sqlite: edited } }), { mode: 0o600 });
    const to = join(stack.dir, 'edited');
    for (const [code, sql] of edits) {
      const source = new DatabaseSync(stack.databaseFile, { timeout: 2_000 });
      source.exec(`VACUUM INTO '${edited}'`);
      source.close();
      const database = new DatabaseSync(edited);
      database.exec(sql);
      database.close();
      expect(await qvJson('backup', '--config', config, '--to', to)).toMatchObject({ ok: true });
      const answer = await qvJson('backup', 'verify', '--from', to, '--scratch', stack.dir);
      expect(answer).toMatchObject({ ok: false, error: { step: 'logs', code } });
      noteCode(code);
      rmSync(edited);
    }
  });

  it('is not put over a database that is there', async () => {
    const answer = await qvJson('restore', '--from', folder, '--to', stack.hostConfigFile);
    expect(answer).toMatchObject({
      ok: false,
      exit: 1,
      error: { code: 'restore_not_empty', path: stack.databaseFile },
    });
  });
});

describe('an older backup in place of the database', () => {
  it('is brought up to date by the enclave that lives, which spends nothing twice', async () => {
    const [windowed, changed] = wallets();
    const inBackup = versionOf(stack, windowed);
    expect((await kit.sign(windowed)).status).toBe(200);
    const request = { id: 'after', transaction: transfer(windowed.address, windowed.destination, 1_000n) };
    const signed = (await (await kit.sign(windowed, request)).json()) as { signature: string };
    const document = kit.documentFor(changed, { epoch: 2 });
    const enabling = kit.enablingBody(document, changed.owner, policyBytes(parsePolicy(firstPolicy)));
    expect((await enable(changed, enabling)).status).toBe(200);
    const young = await kit.openWallet();
    await expectAudited(operators);
    const newest = versionOf(stack, windowed);
    expect(newest).toBe(inBackup + 2);

    const copy = operators.file('policies');
    await adminCall(stack.adminSocket, 'publish', {});
    expect(await qvJson('log', 'fetch', stack.url, '--dir', copy)).toMatchObject({ ok: true });
    expect(await restoreOlder(1, '--log', copy)).toMatchObject({ policiesAdded: 2 });
    expect(statSync(stack.databaseFile).mode & 0o777).toBe(0o600);
    expect(versionOf(stack, windowed)).toBe(inBackup);
    await stack.restartHost();
    await untilReady(stack.url);
    // Leaves and states, asked of the enclave again: nothing is missing in the log, and no row is behind it.
    await expect.poll(() => versionOf(stack, windowed), { timeout: 10_000 }).toBe(newest);
    await expectAudited(operators);

    // Three of four and a half are spent, whatever the backup says; and what was signed is signed again, not anew.
    expect(await (await kit.sign(windowed, request)).json()).toMatchObject({ signature: signed.signature });
    expect((await kit.sign(windowed)).status).toBe(200);
    const denied = await expectProblem(await kit.sign(windowed), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: '5000' });
    await expectAudited(operators);

    // A policy of after the backup is known to the enclave by its hash: the owner's request brings it again.
    await expectProblem(await kit.sign(changed), 'policy_not_current');
    expect((await enable(changed, enabling)).status).toBe(200);
    expect((await kit.sign(changed)).status).toBe(200);
    // And a wallet of after the backup is gone for good.
    await expectProblem(await kit.sign(young), 'wallet_unknown');
    await expectAudited(operators);
  });

  it('is no way around budgets where the enclave is gone, too', async () => {
    const [windowed] = wallets();
    await adminCall(stack.adminSocket, 'publish', {});
    expect(await backUp()).toMatchObject({ ok: true, number: 2 });
    const before = versionOf(stack, windowed);
    const seen = operators.file('seen');
    const copy = operators.file('copy');
    // The window is full; a signature that counts for no window makes the state newer than in the backup.
    const other = wallets()[1];
    expect((await kit.sign(other)).status).toBe(200);
    // A host answers within a second of the last time as it answered then.
    await adminCall(stack.adminSocket, 'publish', {});
    expect(await qvJson('log', 'fetch', stack.url, '--dir', copy)).toMatchObject({ ok: true });
    expect(await qvJson('verify', 'log', stack.url, ...operators.images, '--keep', seen)).toMatchObject({ ok: true });
    const predecessor = await operators.bootOf(stack);

    await restoreOlder(2);
    await stack.restartEnclave();
    await stack.restartHost();
    const successor = await newBoot(stack, operators, predecessor);
    await untilReady(stack.url);
    expect(successor).not.toBe(predecessor);
    expect(versionOf(stack, windowed)).toBe(before);
    await expectProblem(await kit.sign(other, later()), 'wallet_held_elsewhere');

    // By the restored log a wallet goes on, and every window counts as spent.
    expect(await operators.lease('older', predecessor, stack, '--wallet', windowed.address)).toMatchObject({
      taken: 1,
    });
    const denied = await expectProblem(await kit.sign(windowed, later()), 'policy_denied');
    expect(denied).toMatchObject({ rule: 'sol.window', value: 'full since a lease' });

    // By a log that somebody kept, the state of the one that signed since is too old to be taken.
    expect(await operators.requestBy(copy, 'newer', predecessor, stack, '--wallet', other.address)).toMatchObject({
      ok: true,
    });
    for (const operator of [1, 2]) expect(await operators.sign('newer', operator)).toMatchObject({ ok: true });
    const applied = await operators.apply('newer', stack);
    expect(applied).toMatchObject({
      ok: false,
      taken: 0,
      failures: [{ wallet: other.address, code: 'state_too_old' }],
    });
    noteCode('state_too_old');
    await expectProblem(await kit.sign(other, later()), 'wallet_held_elsewhere');

    // In itself the restored log holds; whoever kept what he saw knows that there was more.
    await expectAudited(operators);
    const audit = await qvJson('verify', 'log', stack.url, ...operators.images, '--since', seen);
    expect(audit['findings']).toContainEqual(expect.objectContaining({ code: 'log_rewound' }));
  });
});

const filesBelow = (path: string): readonly string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((name) => join(path, name))
    .filter((file) => statSync(file).isFile());
