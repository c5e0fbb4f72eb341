/** qv log export: rows of a verified log, CSV that spreadsheets do not run, and no file on failure. */
import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { csvCell, tableHead, tableRow } from '@quantumvault/host/cli/leaf-table.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LEAF_COLUMNS, leafRecord } from '@quantumvault/shared/evidence/leaf-record.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, type BuiltWallet, Deployment } from '../../support/log-builder.ts';
import { filesOf, LogServer } from '../../support/log-server.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { trustOptions } from '../../support/trust-files.ts';
import { TOKEN_PROGRAM } from '../../support/wallet-kit.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

let temporary: Awaited<ReturnType<typeof temporaryFolder>>;
let server: LogServer;
let deployment: Deployment;
let log: BuiltLog;
let wallet: BuiltWallet;
let trust: string[];
let folder: string;
let out: string;
let counter = 0;

const QV = join(import.meta.dirname, '..', '..', '..', 'host', 'src', 'cli', 'qv.ts');
const DAY = ['--from', '2026-11-20', '--to', '2026-11-20'];
const base = (): string[] => ['log', 'export', server.url, ...trust];
const toFile = (...argv: readonly string[]): Promise<JsonAnswer> => qvJson(...base(), '--out', out, ...argv);

beforeAll(async () => {
  temporary = await temporaryFolder();
  server = await new LogServer().start();
  deployment = new Deployment({ witnesses: 1 });
  log = await deployment.start();
  wallet = log.wallet(false);
  wallet.enable({
    tokens: [
      {
        mint: wallet.owner,
        tokenProgram: TOKEN_PROGRAM,
        decimals: 6,
        maxPerTransaction: String(2n ** 64n - 1n),
        destinations: [wallet.owner],
      },
    ],
  });
  wallet.sign({ tokens: [{ mint: wallet.owner, amount: 2n ** 64n - 1n }] });
  wallet.deny('=cmd', '-formula');
  wallet.sign({ requestId: '-2', advanceMs: 24 * 3600 * 1000 });
  wallet.sign({ requestId: 'next-day' });
  trust = trustOptions(temporary.path, deployment);
});
afterAll(async () => {
  await server?.stop();
  await temporary?.remove();
});
beforeEach(() => {
  server.reset(filesOf(deployment.serve()));
  folder = join(temporary.path, `out-${counter++}`);
  mkdirSync(folder);
  out = join(folder, 'export');
});

/** RFC 4180, read back. */
function cells(text: string): string[][] {
  const rows: string[][] = [[]];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/y;
  for (let at = 0; at < text.length; at = pattern.lastIndex) {
    pattern.lastIndex = at;
    const [, quoted, plain, end] = pattern.exec(text) ?? [];
    if (end === undefined) throw new Error(`no CSV at ${at}: ${text.slice(at, at + 40)}`);
    rows.at(-1)?.push(quoted === undefined ? (plain ?? '') : quoted.replaceAll('""', '"'));
    if (end === '\r\n') rows.push([]);
  }
  rows.pop();
  return rows;
}

describe('a verified export', () => {
  test('as CSV: a header, a row per leaf of the period, every field', async () => {
    const answer = await toFile(...DAY, '--format', 'csv');
    expect(answer).toMatchObject({
      ok: true,
      out,
      format: 'csv',
      rows: '6',
      verified: true,
      from: '2026-11-20T00:00:00Z',
      to: '2026-11-21T00:00:00Z',
      leaves: '7',
    });
    const [head, ...rows] = cells(readFileSync(out, 'utf8'));
    expect(head).toEqual([...LEAF_COLUMNS, 'verified']);
    expect(rows.map((row) => row.length)).toEqual(Array(6).fill(LEAF_COLUMNS.length + 1));
    const column = (name: string): string[] => rows.map((row) => row[head?.indexOf(name) ?? -1] ?? '');
    expect(column('sequence')).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(column('kind')).toEqual(['boot', 'wallet-created', 'policy-enabled', 'signed', 'denied', 'signed']);
    expect(column('requestId').slice(4)).toEqual(["'-formula", "'-2"]);
    expect(column('rule')[4]).toBe("'=cmd");
    expect(column('tokens')[3]).toBe(JSON.stringify([{ mint: wallet.owner, amount: '18446744073709551615' }]));
    expect(new Set(column('verified'))).toEqual(new Set(['true']));
    expect(statSync(out).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['export']);
  });

  test('as JSON lines, with texts as they are', async () => {
    await toFile(...DAY, '--format', 'jsonl');
    const rows = readFileSync(out, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(rows).toHaveLength(6);
    for (const [index, row] of rows.entries()) {
      expect(Object.keys(row)).toEqual([...LEAF_COLUMNS, 'verified']);
      const leaf = log.leaves[index];
      if (leaf === undefined) throw new Error('no leaf');
      expect(row).toEqual({ ...leafRecord(leaf, leafHash(log.entries[index] as Uint8Array)), verified: true });
    }
    expect(rows[4]).toMatchObject({ requestId: '-formula', rule: '=cmd' });
  });

  test('on standard output: rows alone; what was verified goes to standard error', async () => {
    const { exit, stdout, stderr } = await qv(...base(), ...DAY);
    expect(exit).toBe(0);
    expect(stdout).toMatch(/^boot,sequence,/);
    expect(cells(stdout)).toHaveLength(7);
    expect(stderr).toContain('✓ Verified: every check of qv verify log passes.');
    expect(stderr).toMatch(/Rows +6, csv, on standard output/);
  });

  test('a reader that has gone is no fault, and nothing is left behind', async () => {
    const scratch = join(folder, 'scratch');
    mkdirSync(scratch);
    const environment = { ...process.env, TMPDIR: scratch };
    const child = spawn(process.execPath, [QV, ...base(), ...DAY], {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: environment,
    });
    child.stdout.destroy();
    expect(await new Promise((resolve) => child.once('close', resolve))).toBe(0);
    expect(readdirSync(scratch)).toEqual([]);
  });

  test('stopped by a signal, it leaves nothing behind', async () => {
    const waiting = new Promise<void>((resolve) => {
      server.handlers.set(`${log.boot}/checkpoint`, () => resolve());
    });
    const child = spawn(process.execPath, [QV, ...base(), ...DAY, '--out', out], { stdio: 'ignore' });
    await waiting;
    expect(readdirSync(folder)).toHaveLength(1);
    child.kill('SIGTERM');
    expect(await new Promise((resolve) => child.once('close', (_code, signal) => resolve(signal)))).toBe('SIGTERM');
    expect(readdirSync(folder)).toEqual([]);
  });

  test('people read where it is', async () => {
    const { exit, stdout } = await qv(...base(), ...DAY, '--out', out);
    expect(exit).toBe(0);
    expect(stdout).toContain(out);
    expect(stdout).toContain('before 2026-11-21T00:00:00Z');
  });

  test.each([
    [['--from', '2026-11-20', '--to', '2026-11-22'], '7'],
    [['--from', '2026-11-21', '--to', '2026-11-21'], '1'],
    [['--from', '2026-11-20T12:00:01Z', '--to', '2026-11-20T12:00:03Z'], '2'],
    [['--from', '2020-01-01', '--to', '2020-12-31'], '0'],
  ])('%j: %s rows', async (period, rows) => {
    expect(await toFile(...period)).toMatchObject({ ok: true, rows });
  });

  test('replaces what was there, and only then', async () => {
    writeFileSync(out, 'before');
    await toFile(...DAY);
    expect(readFileSync(out, 'utf8')).not.toContain('before');
  });
});

describe('a log that does not hold: exit 1, and no rows anywhere', () => {
  beforeEach(() => {
    const served = deployment.serve();
    const tampered = served.logs.get(log.boot);
    if (tampered === undefined) throw new Error('no log');
    tampered.entries.splice(4, 1);
    tampered.note = log.checkpoint({ entries: tampered.entries });
    server.reset(filesOf(served));
  });

  test('into a file', async () => {
    writeFileSync(out, 'before');
    expect(await toFile(...DAY)).toMatchObject({
      ok: false,
      exit: 1,
      out: null,
      rows: '0',
      verified: false,
      error: { code: 'log_entry_missing' },
    });
    expect(readFileSync(out, 'utf8')).toBe('before');
    expect(readdirSync(folder)).toEqual(['export']);
  });

  test('on standard output', async () => {
    const { exit, stdout } = await qv(...base(), ...DAY);
    expect(exit).toBe(1);
    expect(stdout).not.toContain('boot,sequence');
    expect(stdout).toContain('log_entry_missing');
    expect(stdout).toContain('Nothing was written.');
  });

  test('a host that ends in the middle', async () => {
    server.handlers.set(`${log.boot}/tile/entries/000.p/6`, (_request, response) => response.writeHead(500).end());
    expect(await toFile(...DAY)).toMatchObject({ ok: false, error: { code: 'response_malformed' } });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('unverified', () => {
  test('says so in every row, in the summary, and needs no measurements', async () => {
    const argv = ['log', 'export', server.url, '--unverified', ...DAY];
    const answer = await qvJson(...argv, '--out', out);
    expect(answer).toMatchObject({
      ok: true,
      verified: false,
      rows: '6',
      warnings: [expect.stringContaining('UNVERIFIED')],
    });
    const [head, ...rows] = cells(readFileSync(out, 'utf8'));
    expect(rows.map((row) => row[head?.indexOf('verified') ?? -1])).toEqual(Array(6).fill('false'));
    const { stderr } = await qv(...argv);
    expect(stderr).toContain('UNVERIFIED: nothing was judged');
    expect(stderr).not.toContain('✓');
  });

  test('what is no leaf is refused', async () => {
    const served = deployment.serve();
    served.logs.get(log.boot)?.entries.splice(2, 1, utf8('none'));
    server.reset(filesOf(served));
    expect(await qvJson('log', 'export', server.url, '--unverified', ...DAY, '--out', out)).toMatchObject({
      ok: false,
    });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('unusable: exit 2', () => {
  test.each<[string, readonly string[]]>([
    ['no period', []],
    ['a period that ends before it begins', ['--from', '2026-11-21', '--to', '2026-11-20']],
    ['a period of nothing', ['--from', '2026-11-21T00:00:00Z', '--to', '2026-11-21T00:00:00Z']],
    ['a day that no month has', ['--from', '2026-02-30', '--to', '2026-11-20']],
    ['another zone', ['--from', '2026-11-20T00:00:00+01:00', '--to', '2026-11-21']],
    ['another format', [...DAY, '--format', 'xlsx']],
  ])('%s', async (_, argv) => {
    expect(await toFile(...argv)).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    expect(readdirSync(folder)).toEqual([]);
  });

  test('rows and --json on one standard output; nothing to compare with', async () => {
    expect(await qvJson(...base(), ...DAY)).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    expect(await qvJson('log', 'export', server.url, ...DAY, '--out', out)).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid' },
    });
    expect(existsSync(out)).toBe(false);
  });

  test('places that cannot be written: no folder, a device, a folder', async () => {
    for (const place of ['/does/not/exist/x', '/dev/null', folder])
      expect(await qvJson(...base(), ...DAY, '--out', place)).toMatchObject({
        exit: 2,
        error: { code: 'output_unwritable' },
      });
    chmodSync(folder, 0o700);
  });
});

describe('CSV', () => {
  test.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@SUM(A1)', "'@SUM(A1)"],
    ['\tx', "'\tx"],
    ['\rx', '"\'\rx"'],
    ["'x", "''x"],
    ['a,b', '"a,b"'],
    ['a"b', '"a""b"'],
    ['=a,"b"', '"\'=a,""b"""'],
    ['', '""'],
    [null, ''],
    [true, 'true'],
    [[{ mint: 'm', amount: '1' }], '"[{""mint"":""m"",""amount"":""1""}]"'],
  ])('%j is %s', (value, cell) => expect(csvCell(value)).toBe(cell));

  test('whatever a text is, it reads back, and no cell is a formula', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const [[cell = '', end] = []] = cells(`${csvCell(text)},end\r\n`);
        expect(end).toBe('end');
        expect(cell).not.toMatch(/^[=+\-@\t\r\n]/);
        expect(cell.replace(/^'/, '')).toBe(text);
      }),
    );
  });

  test('rows have the columns of the header', () => {
    const leaf = log.leaves[3];
    if (leaf === undefined) throw new Error('no leaf');
    const record = leafRecord(leaf, leafHash(new Uint8Array()));
    expect(cells(tableHead('csv'))[0]?.length).toBe(cells(tableRow('csv', record, true))[0]?.length);
    expect(tableHead('jsonl')).toBe('');
  });
});
