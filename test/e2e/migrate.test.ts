/** `qv migrate` against a whole appliance: fifty rows of v2, with machines dying and people erring in between. */
import { spawn } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatorSignedJson } from '@quantumvault/host/admin/succession-json.ts';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64, toBase64 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack, untilReady } from '../stack/stack.ts';
import { expectCode, expectProblem } from '../support/codes.ts';
import { type HttpKit, httpKit } from '../support/http-kit.ts';
import { outsideKey } from '../support/import-kit.ts';
import { operatorsOf } from '../support/operators.ts';
import { type Exported, exportedLine, migrationOf } from '../support/qv-migrate.ts';
import { V2, type V2Row } from '../support/v2.ts';
import { party, transfer } from '../support/wallet-kit.ts';
import { expectAudited } from './succession-kit.ts';

type Members = Readonly<Record<string, unknown>>;

let stack: Stack;
let kit: HttpKit;
const [owner, requester] = [outsideKey(), party()];

beforeAll(async () => {
  stack = await startStack({ witnesses: 'none', migration: true });
  kit = httpKit(stack);
}, 60_000);
afterAll(() => stack?.stop());

const exported = (rows: readonly V2Row[], of = owner): Exported[] => rows.map((row) => ({ row, owner: of.address }));
const bots = (v2: V2, count: number): V2Row[] => Array.from({ length: count }, (_, at) => v2.bot(`user-${at % 20}`));
const migration = (v2: V2, rows: readonly Exported[]) => migrationOf(stack, v2, rows, requester.address);

/** Enables a first policy and has a transfer signed, which comes out as v2's own key would have signed it. */
async function expectSigns({ key }: V2Row): Promise<void> {
  const wallet = { address: key.address, owner, requester, destination: party().address };
  const enabled = await kit.http(
    `/v1/wallets/${key.address}/policy`,
    'PUT',
    kit.enablingBody(kit.documentFor(wallet), owner, undefined),
  );
  expect(enabled.status, await enabled.clone().text()).toBe(200);
  const transaction = transfer(key.address, wallet.destination, 1_000n);
  const signed = await kit.sign(wallet, { transaction });
  expect(signed.status).toBe(200);
  const { signature } = (await signed.json()) as { signature: string };
  expect(signature).toBe(toBase58(key.sign(new Uint8Array(transaction.serializeMessage()))));
}

const isStored = async ({ key }: V2Row): Promise<boolean> =>
  (await fetch(`${stack.url}/v1/wallets/${key.address}`)).status === 200;

describe('fifty rows', () => {
  it('are planned, signed, sealed, opened, migrated and verified; each then signs as v2 did', async () => {
    const v2 = new V2({ encoding: 'hex', separator: ':', order: ['iv', 'tag', 'ciphertext'], botKey: 'base58' });
    const rows = bots(v2, 50);
    const ordered = migration(v2, exported(rows));
    expect(await ordered.plan()).toMatchObject({ ok: true, rows: 50, users: 20, owners: 1, faults: [] });
    const unsigned = await ordered.run();
    expect(unsigned).toMatchObject({ ok: false, error: { code: 'usage_invalid' } });
    expect(await ordered.seal()).toMatchObject({ ok: true, sealed: true });
    // One operator is not enough, whatever is sealed.
    expect(await ordered.sign(1)).toMatchObject({ ok: true });
    expect(await ordered.run()).toMatchObject({ ok: false, error: { code: 'operators_too_few' } });
    expect(await ordered.sign(1)).toMatchObject({ ok: true, signatures: [{ holds: true }] });
    expect(await ordered.sign(2)).toMatchObject({ ok: true, signatures: [{ holds: true }, { holds: true }] });

    const leaves = async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.leaves;
    const before = await leaves();
    const dry = await ordered.run('--dry-run');
    expect(dry).toMatchObject({ ok: true, dryRun: true, counts: { opens: 50, migrated: 0, failed: 0 } });
    expect(await leaves()).toBe(before);
    expect(dry['warning']).toBeUndefined();

    const done = await ordered.run();
    expect(done).toMatchObject({ ok: true, counts: { migrated: 50, failed: 0, left: 0 }, published: true });
    expect(done['warning']).toContain('stays as exposed');
    const [first] = done['rows'] as { receipt: { leaf: string } }[];
    expect(decodeLeaf(fromBase64(first?.receipt.leaf ?? '')).kind).toBe('wallet-migrated');
    // The same in the file, certificates included.
    expect((JSON.parse(readFileSync(ordered.report, 'utf8')) as { rows: unknown }).rows).toEqual(done['rows']);

    expect(await ordered.run()).toMatchObject({ ok: true, counts: { migrated: 0, there: 50 } });
    expect(await ordered.verify()).toMatchObject({
      ok: true,
      wallets: 50,
      faults: [],
      staticSalt: 'nowhere in the database',
    });
    for (const row of rows.slice(0, 3)) await expectSigns(row);
    await expectAudited(operatorsOf(stack));
  }, 90_000);

  it('of another list, with other parameters, or at another rate than there is, are refused by each command', async () => {
    const v2 = new V2();
    const rows = bots(v2, 3);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const other = migration(v2, exported(rows.slice(1)));
    const wrong = [...other.inputs, '--admin', stack.adminSocket];
    const { qvJson } = await import('../host/cli/call.ts');
    expect(await qvJson('migrate', 'run', ordered.file, ...wrong)).toMatchObject({
      error: { code: 'evidence_mismatch', path: 'rows' },
    });
    const key = ['--operator-key', ordered.operators.key(3)];
    expect(await qvJson('migrate', 'sign', ordered.file, ...other.inputs, ...key, ...ordered.enclave())).toMatchObject({
      error: { code: 'evidence_mismatch', path: 'rows' },
    });
    writeFileSync(ordered.parameters, JSON.stringify({ ...v2.parameters(), salt: 'ab' }));
    expect(await ordered.run()).toMatchObject({ error: { code: 'evidence_mismatch', path: 'parameters' } });
    writeFileSync(ordered.parameters, JSON.stringify(v2.parameters()));
    expect(await ordered.run('--per-second', '0')).toMatchObject({ error: { code: 'usage_invalid' } });
    expect(await ordered.sign(3, '--pcr0', 'ab'.repeat(48))).toMatchObject({ ok: true });
    const elsewhere = ordered.enclave().map((word) => (word === stack.deployment ? 'other' : word));
    expect(await qvJson('migrate', 'sign', ordered.file, ...ordered.inputs, ...key, ...elsewhere)).toMatchObject({
      error: { code: 'evidence_mismatch', path: 'deployment' },
    });
  }, 30_000);
});

describe('rows that are not right', () => {
  it('are told by the enclave one by one, and the others are migrated', async () => {
    const v2 = new V2();
    const [good, tagged, moved, foreign] = [v2.bot('a'), v2.bot('a'), v2.bot('b'), new V2().bot('a')];
    const spoiled = Buffer.from(tagged.encryptedBotKey);
    spoiled[spoiled.length - 1] = (spoiled.at(-1) ?? 0) ^ 1;
    const rows: Exported[] = [
      ...exported([good]),
      { row: { ...tagged, id: 'tag' }, owner: owner.address, change: { botKey: v2.column(spoiled) } },
      { row: { ...moved, id: 'moved' }, owner: owner.address, change: { userId: 'a' } },
      { row: { ...foreign, id: 'foreign' }, owner: owner.address },
    ];
    const ordered = migration(v2, rows);
    await ordered.prepare();
    const answer = await ordered.run();
    expect(answer).toMatchObject({ ok: false, exit: 1, counts: { migrated: 1, failed: 3 } });
    const failed = (answer['rows'] as { id: string; code?: string; path?: string }[]).filter(({ code }) => code);
    expect(failed.map(({ id, code, path }) => [id, code, path])).toEqual([
      ['foreign', 'migration_row_refused', 'userKey'],
      ['moved', 'migration_row_refused', 'botKey'],
      ['tag', 'migration_row_refused', 'botKey'],
    ]);
    const verified = await ordered.verify();
    expect(verified).toMatchObject({ ok: false, exit: 1 });
    const faults = verified['faults'] as { code: string }[];
    expect(faults.map(({ code }) => code)).toEqual(['wallet_unknown', 'wallet_unknown', 'wallet_unknown']);
  });

  it('do not come to be signed: malformed, repeated, or none', async () => {
    const v2 = new V2();
    const [one, two] = [v2.bot('a'), v2.bot('b')];
    const ordered = migration(v2, [...exported([one, two]), { row: { ...one, id: 'copy' }, owner: party().address }]);
    const planned = await ordered.plan();
    expect(planned).toMatchObject({ ok: false, exit: 1, rows: 1, faults: [{ line: 1 }, { line: 3, id: 'copy' }] });
    expect(planned['statement']).toBeUndefined();
    // What is right is kept, and planned.
    const good = join(stack.dir, 'good.jsonl');
    expect(await ordered.plan('--write-good', good)).toMatchObject({ ok: false });
    expect(readFileSync(good, 'utf8')).toBe(`${exportedLine({ row: two, owner: owner.address })}\n`);
    copyFileSync(good, ordered.list);
    await ordered.prepare();
    expect(await ordered.run()).toMatchObject({ ok: true, counts: { migrated: 1 } });
    writeFileSync(ordered.list, '{"id": 1}\n');
    expect(await ordered.run()).toMatchObject({ error: { code: 'migration_rows_faulty', path: 'line 1' } });
    writeFileSync(ordered.list, '');
    expect(await ordered.plan()).toMatchObject({ ok: false, rows: 0 });
  });

  it('whose wallet is another owner’s are refused, and his stays his', async () => {
    const v2 = new V2();
    const row = v2.bot('a');
    const first = migration(v2, exported([row]));
    await first.prepare();
    expect(await first.run()).toMatchObject({ ok: true });
    const thief = migration(v2, exported([row], outsideKey()));
    await thief.prepare();
    const answer = await thief.run();
    expect(answer).toMatchObject({ counts: { failed: 1 }, rows: [{ code: 'wallet_exists' }] });
    expect(await thief.verify()).toMatchObject({ faults: [{ code: 'wallet_owner_mismatch' }] });
    await expectSigns(row);
  });
});

describe('the v2 secret', () => {
  it('is sealed for one statement and one boot, and never spelled wrongly', async () => {
    const v2 = new V2();
    const ordered = migration(v2, exported([v2.bot()]));
    expect(await ordered.plan()).toMatchObject({ ok: true });
    expect(await ordered.seal('zz'.repeat(32))).toMatchObject({ error: { code: 'key_malformed' } });
    expect(await ordered.seal('ab')).toMatchObject({ error: { code: 'key_malformed' } });
    expect(await ordered.seal(`${v2.secret.toString('hex')}\n`)).toMatchObject({ ok: true });
    expect(await ordered.seal(v2.secret.toString('hex'), '--secret-file', '/etc/hosts')).toMatchObject({
      error: { code: 'usage_invalid' },
    });
    expect(await ordered.sign(1)).toMatchObject({ ok: true });
    expect(await ordered.sign(2)).toMatchObject({ ok: true });
    // Of another statement.
    const other = migration(v2, exported([v2.bot()]));
    await other.prepare();
    const swapped = JSON.parse(readFileSync(ordered.file, 'utf8')) as Record<string, unknown>;
    const { sealed } = JSON.parse(readFileSync(other.file, 'utf8')) as Record<string, unknown>;
    writeFileSync(ordered.file, JSON.stringify({ ...swapped, sealed }));
    expect(await ordered.run()).toMatchObject({ error: { code: 'migration_refused', path: 'sealed' } });
  });

  it.each<[string, 'base64' | 'text']>([
    ['base64', 'base64'],
    ['text whose bytes count', 'text'],
  ])('may be %s', async (_, encoding) => {
    const secret = encoding === 'text' ? Buffer.from('a passphrase of the environment') : Buffer.alloc(32, 9);
    const v2 = new V2({ secret });
    const ordered = migration(v2, exported([v2.bot()]));
    writeFileSync(ordered.parameters, JSON.stringify({ ...v2.parameters(), serverSecret: { encoding } }));
    expect(await ordered.plan()).toMatchObject({ ok: true });
    expect(await ordered.sign(1)).toMatchObject({ ok: true });
    expect(await ordered.sign(2)).toMatchObject({ ok: true });
    expect(await ordered.seal(encoding === 'text' ? secret : secret.toString('base64'))).toMatchObject({ ok: true });
    expect(await ordered.run()).toMatchObject({ ok: true, counts: { migrated: 1 } });
  });

  it('of another installation opens no row', async () => {
    const v2 = new V2();
    const ordered = migration(v2, exported(bots(v2, 2)));
    await ordered.prepare();
    await ordered.seal(Buffer.alloc(32, 1).toString('hex'));
    expect(await ordered.run('--dry-run')).toMatchObject({
      ok: false,
      counts: { opens: 0, failed: 2 },
      rows: [{ code: 'migration_row_refused', path: 'userKey' }, {}],
    });
  });
});

describe('qv migrate verify', () => {
  it('finds a database in which something is not as it has to be', async () => {
    const v2 = new V2();
    const rows = bots(v2, 2);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    expect(await ordered.run()).toMatchObject({ ok: true });
    const [first, second] = rows.map(({ key }) => key.address);
    const file = join(stack.dir, 'edited');
    /** The same database with one thing changed. */
    async function verifyEdited(edit: (database: DatabaseSync) => void, ...more: readonly string[]) {
      rmSync(file, { force: true });
      const source = new DatabaseSync(stack.databaseFile);
      source.exec(`VACUUM INTO '${file}'`);
      source.close();
      const database = new DatabaseSync(file);
      database.exec('PRAGMA foreign_keys = OFF');
      edit(database);
      database.close();
      const { qvJson } = await import('../host/cli/call.ts');
      const images = more.length > 0 ? more : ordered.operators.images;
      const trust = [...ordered.operators.deployment, ...images];
      return qvJson('migrate', 'verify', ...ordered.inputs, '--database', file, '--scratch', stack.dir, ...trust);
    }
    const change = (sql: string, ...values: (string | Uint8Array)[]) =>
      verifyEdited((database) => void database.prepare(sql).run(...values));
    const fault = (code: ErrorCode, path: string) => ({
      ok: false,
      faults: expect.arrayContaining([expect.objectContaining({ code, path })]),
    });

    expect(await verifyEdited(() => undefined)).toMatchObject({
      ok: true,
      faults: [],
      staticSalt: 'nowhere in the database',
    });
    for (const planted of [
      v2.salt,
      Buffer.from(v2.salt.toString('hex')),
      Buffer.from(`x${v2.salt.toString('base64')}`),
    ])
      expect(await change("INSERT INTO meta VALUES ('planted', ?)", planted)).toMatchObject({
        ok: false,
        faults: [],
        staticSalt: 'found',
      });
    const same = 'UPDATE wallets SET salt = (SELECT salt FROM wallets WHERE wallet = ?) WHERE wallet = ?';
    expect(await change(same, first ?? '', second ?? '')).toMatchObject(fault('evidence_mismatch', 'salt'));
    const key = same.replaceAll('salt', 'execution_key');
    expect(await change(key, first ?? '', second ?? '')).toMatchObject(fault('evidence_mismatch', 'executionKey'));
    expect(await change('DELETE FROM creations WHERE wallet = ?', first ?? '')).toMatchObject(
      fault('evidence_mismatch', 'certificate'),
    );
    const swap = 'UPDATE creations SET reply = (SELECT reply FROM creations WHERE wallet = ?) WHERE wallet = ?';
    expect(await change(swap, first ?? '', second ?? '')).toMatchObject(
      fault('evidence_mismatch', 'certificate.wallet'),
    );
    expect(await change('DELETE FROM leaves WHERE sequence = 0')).toMatchObject(fault('evidence_mismatch', 'boot'));
    const root = ordered.operators.images.slice(2);
    expect(await verifyEdited(() => undefined, '--pcr0', 'ab'.repeat(48), ...root)).toMatchObject({
      ok: false,
      faults: [{ code: 'attestation_pcrs_not_allowed' }, {}],
    });
  }, 60_000);
});

describe('a host that lies', () => {
  /** Between qv and the host; what it answers to rows is changed on its way. */
  async function between(change: (result: Members) => unknown): Promise<{ path: string; close: () => void }> {
    const path = join(stack.dir, `between-${++proxies}.sock`);
    const server = createServer((socket) => {
      const up = createConnection(stack.adminSocket);
      socket.pipe(up);
      socket.on('error', () => up.destroy());
      up.on('error', () => socket.destroy());
      for (const each of [socket, up]) each.on('close', () => (each === up ? socket : up).destroy());
      let line = '';
      up.on('data', (chunk: Buffer) => {
        line += chunk;
        if (!line.endsWith('\n')) return;
        const reply = JSON.parse(line) as { result?: Members };
        line = '';
        const result = reply.result?.['outcome'] === undefined ? reply.result : change(reply.result);
        socket.write(`${JSON.stringify({ ...reply, result })}\n`);
      });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return { path, close: () => server.close() };
  }
  let proxies = 0;

  it.each<[string, (result: Members, other: Members) => unknown, ErrorCode]>([
    ['with another wallet’s certificate', (_, other) => other, 'evidence_mismatch'],
    [
      'with a certificate that nobody signed',
      (result) => ({ ...result, certificate: unsigned(result) }),
      'evidence_signature_invalid',
    ],
  ])('and answers %s is found out', async (_, change, code) => {
    const v2 = new V2();
    const [first, second] = [migration(v2, exported([v2.bot()])), migration(v2, exported([v2.bot()]))];
    await first.prepare();
    const [row] = (await first.run())['rows'] as Members[];
    const { certificate, receipt } = row as Members;
    const other = { outcome: 'migrated', certificate, receipt } as Members;
    await second.prepare();
    const { path, close } = await between((result) => change(result, other));
    const { qvJson } = await import('../host/cli/call.ts');
    const answer = await qvJson('migrate', 'run', second.file, ...second.inputs, '--admin', path);
    close();
    expect(answer).toMatchObject({ ok: false, counts: { migrated: 0, failed: 1 }, rows: [{ code }] });
  });

  const unsigned = ({ certificate }: Members) => ({
    ...(certificate as object),
    signature: toBase64(new Uint8Array(64)),
  });
});

describe('a host that is asked otherwise', () => {
  const row = { statement: '00'.repeat(32), row: 'AA==', index: 0, proof: [] as string[] };

  it.each<[string, string, Record<string, unknown>, ErrorCode]>([
    ['a statement that is none', 'migration-begin', { statement: {}, sealed: 'AA==' }, 'field_malformed'],
    ['a row that is none', 'migration-row', row, 'message_malformed'],
    ['an empty row', 'migration-row', { ...row, row: '' }, 'field_malformed'],
    ['a hash of another length', 'migration-row', { ...row, statement: '00' }, 'field_malformed'],
    [
      'a proof that is too long',
      'migration-row',
      { ...row, proof: Array(18).fill(toBase64(new Uint8Array(32))) },
      'field_malformed',
    ],
    ['a proof of numbers', 'migration-row', { ...row, proof: [1] }, 'field_malformed'],
    ['an index that is none', 'migration-row', { ...row, index: -1 }, 'field_malformed'],
    ['more than it takes', 'migration-end', { statement: '00'.repeat(32), all: true }, 'field_malformed'],
  ])('%s gets a refusal', async (_, command, parameters, code) => {
    await expectCode(adminCall(stack.adminSocket, command as 'migration-end', parameters as never), code);
  });

  it('has nothing to do for what is not under way', async () => {
    expect(await adminCall(stack.adminSocket, 'migration-end', { statement: '00'.repeat(32) })).toEqual({
      ended: true,
    });
  });
});

/** Keeps every other writer out until the answer is called. */
function lockDatabase(): () => void {
  const database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  database.exec('BEGIN IMMEDIATE');
  return () => {
    database.exec('ROLLBACK');
    database.close();
  };
}

/** By the enclave's own word: what the host says of it may be a second old. */
async function held(): Promise<number> {
  const address = parseTransportAddress(stack.enclaveAddresses.control);
  const enclave = new EnclaveClient({ address, transport: unixTransport, log: silentLog });
  enclave.connect();
  try {
    return (await enclave.request('status', {})).wallets;
  } finally {
    enclave.close();
  }
}

const storedOf = async (rows: readonly V2Row[]): Promise<number> =>
  (await Promise.all(rows.map(isStored))).filter((isThere) => isThere).length;

async function restartHost(): Promise<void> {
  await stack.restartHost();
  await untilReady(stack.url);
}

async function killHost(): Promise<void> {
  stack.host.kill('SIGKILL');
  await stack.host.exited;
}

async function killEnclave(): Promise<void> {
  stack.processes.enclave.kill('SIGKILL');
  await stack.processes.enclave.exited;
}

type Ordered = ReturnType<typeof migrationOf>;

/** Runs in a process of its own, so that it can be killed, and does not wait for the end. */
function startRun(ordered: Ordered, ...more: readonly string[]) {
  const qv = join(import.meta.dirname, '..', '..', 'host', 'src', 'cli', 'qv.ts');
  const argv = ['migrate', 'run', ordered.file, ...ordered.inputs, '--admin', stack.adminSocket, '--json', ...more];
  const child = spawn(process.execPath, [qv, ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
  return { child, ended: text(child.stdout).then((out) => (out === '' ? undefined : JSON.parse(out))) };
}

/** All of them are there, each once, and every log holds. */
async function expectAllThere(ordered: Ordered, rows: readonly V2Row[]): Promise<void> {
  expect(await ordered.verify()).toMatchObject({ ok: true, wallets: rows.length, faults: [] });
  const [first, last] = [rows[0], rows.at(-1)];
  if (first !== undefined) await expectSigns(first);
  if (last !== undefined && last !== first) await expectSigns(last);
  await expectAudited(operatorsOf(stack));
}

describe('a crash', () => {
  it('of qv in the middle: run again, it goes on where it stopped', async () => {
    const v2 = new V2();
    const rows = bots(v2, 12);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const { child, ended } = startRun(ordered, '--per-second', '4');
    while ((await storedOf(rows)) < 2) await sleep(20);
    child.kill('SIGKILL');
    await ended;
    const answer = await ordered.run();
    expect(answer).toMatchObject({ ok: true });
    const { migrated, there } = answer['counts'] as Record<string, number>;
    expect((migrated ?? 0) + (there ?? 0)).toBe(12);
    expect(there).toBeGreaterThanOrEqual(1);
    await expectAllThere(ordered, rows);
  }, 60_000);

  it('of the host between the enclave’s answer and the database: the same wallet again', async () => {
    const v2 = new V2();
    const rows = bots(v2, 2);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const before = await held();
    const release = lockDatabase();
    const { child, ended } = startRun(ordered, '--per-second', '1000');
    while ((await held()) < before + 1) await sleep(20);
    await killHost();
    child.kill('SIGKILL');
    await ended;
    release();
    await restartHost();
    for (const row of rows) expect(await isStored(row)).toBe(false);
    expect(await ordered.run()).toMatchObject({ ok: true, counts: { migrated: 2 } });
    await expectAllThere(ordered, rows);
  }, 60_000);

  it('of the host in the middle: qv waits for the next one, and all are there', async () => {
    const v2 = new V2();
    const rows = bots(v2, 12);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const { ended } = startRun(ordered, '--per-second', '6');
    while ((await storedOf(rows)) < 2) await sleep(20);
    await killHost();
    await restartHost();
    await ended;
    const answer = await ordered.run();
    expect(answer).toMatchObject({ ok: true, counts: { failed: 0, left: 0 } });
    await expectAllThere(ordered, rows);
  }, 90_000);

  it('of the enclave in the middle: the rest is refused until the secret is sealed to the next boot', async () => {
    const v2 = new V2();
    const rows = bots(v2, 12);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const { ended } = startRun(ordered, '--per-second', '2');
    while ((await storedOf(rows)) < 3) await sleep(20);
    await killEnclave();
    await stack.restartEnclave();
    const interrupted = (await ended) as { ok: boolean; stopped?: string; counts: Record<string, number> };
    expect(interrupted.ok).toBe(false);
    expect(interrupted.stopped).toBeDefined();
    await expect.poll(async () => (await adminCall(stack.adminSocket, 'status', {})).enclave?.phase).toBe('serving');
    // The old statement and the old box are for a boot that is gone.
    expect(await ordered.run()).toMatchObject({ error: { code: 'migration_refused', path: 'boot' } });
    expect(await ordered.sign(3)).toMatchObject({ error: { code: 'succession_mismatch' } });
    expect(await ordered.seal()).toMatchObject({ error: { code: 'succession_mismatch' } });
    await ordered.prepare();
    const answer = await ordered.run();
    expect(answer).toMatchObject({ ok: true });
    const { migrated, there } = answer['counts'] as Record<string, number>;
    expect([(migrated ?? 0) + (there ?? 0), Number(there) >= 2]).toEqual([12, true]);
    // Those of the boot that is gone wait for a lease, like any other wallet.
    expect(await ordered.verify()).toMatchObject({ ok: true, wallets: 12, faults: [] });
    await expectAudited(operatorsOf(stack));
  }, 90_000);

  it('of both between the enclave’s answer and the database: the next boot migrates the row anew', async () => {
    const v2 = new V2();
    const rows = bots(v2, 1);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const before = await held();
    const release = lockDatabase();
    const { child, ended } = startRun(ordered);
    while ((await held()) === before) await sleep(20);
    await killHost();
    await killEnclave();
    child.kill('SIGKILL');
    await ended;
    release();
    await stack.restartEnclave();
    await restartHost();
    for (const row of rows)
      await expectProblem(await fetch(`${stack.url}/v1/wallets/${row.key.address}`), 'wallet_unknown');
    await ordered.prepare();
    expect(await ordered.run()).toMatchObject({ ok: true, counts: { migrated: 1 } });
    await expectAllThere(ordered, rows);
  }, 60_000);

  it.each(['qv', 'host', 'qv', 'host'])(
    'of %s at a random moment: run again, and all are there once',
    async (what) => {
      const v2 = new V2();
      const rows = bots(v2, 10);
      const ordered = migration(v2, exported(rows));
      await ordered.prepare();
      const { child, ended } = startRun(ordered, '--per-second', '40');
      await sleep(250 + Math.random() * 500);
      if (what === 'host') await killHost();
      child.kill('SIGKILL');
      await ended;
      if (what === 'host') await restartHost();
      const answer = await ordered.run();
      expect(answer).toMatchObject({ ok: true, counts: { failed: 0, left: 0 } });
      await expectAllThere(ordered, rows);
    },
    60_000,
  );

  it('between beginning and the first row, or at the end, leaves nothing to mend', async () => {
    const v2 = new V2();
    const rows = bots(v2, 1);
    const ordered = migration(v2, exported(rows));
    await ordered.prepare();
    const { statement, sealed } = JSON.parse(readFileSync(ordered.file, 'utf8')) as {
      statement: OperatorSignedJson;
      sealed: string;
    };
    await adminCall(stack.adminSocket, 'migration-begin', { statement, sealed });
    await killHost();
    await restartHost();
    // The enclave still has it, and another migration has to wait.
    const other = migration(v2, exported([v2.bot()]));
    await other.prepare();
    expect(await other.run()).toMatchObject({ error: { code: 'migration_under_way' } });
    expect(await ordered.run()).toMatchObject({ ok: true });
    // It ended with that run.
    expect(await other.run()).toMatchObject({ ok: true });
    await expectAllThere(ordered, rows);
  }, 60_000);
});
