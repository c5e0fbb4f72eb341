/** An auditor with qv and nothing else, against the whole appliance: all is well, or what is not is found and named. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { qv, qvJson } from '../host/cli/call.ts';
import { measurements } from '../stack/scenario.ts';
import { type Stack, startStack } from '../stack/stack.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { transfer } from '../support/wallet-kit.ts';

let stack: Stack;
let kit: HttpKit;
let wallet: HttpWallet;
let database: DatabaseSync;
let trust: readonly string[];
const onChain: string[] = [];

interface Audit {
  readonly exit: number;
  readonly ok: boolean;
  readonly leaves: string;
  readonly findings: readonly { code: string; boot?: string; sequence?: string }[];
  readonly boots: readonly unknown[];
}

/** What the newest boot's log was before more was decided. */
let rewound: { readonly boot: string; readonly size: number; readonly checkpoint: Uint8Array };

const boots = (): readonly string[] =>
  database
    .prepare('SELECT boot FROM logs ORDER BY number')
    .all()
    .map(({ boot }) => String(boot));

const file = (name: string): string => join(stack.dir, name);

async function audit(source: string, ...more: string[]): Promise<Audit> {
  return (await qvJson('verify', 'log', source, ...trust, ...more)) as unknown as Audit;
}

async function signed(id: string, change: Parameters<HttpKit['sign']>[1] = {}): Promise<void> {
  const response = await kit.sign(wallet, { id, ...change });
  expect(response.status).toBe(200);
  onChain.push(((await response.json()) as { signature: string }).signature);
}

const receiptFile = async (id: string): Promise<string> => {
  const path = file(`${id}.json`);
  writeFileSync(path, await (await fetch(`${stack.url}/v1/receipts/${id}`)).text());
  return path;
};

beforeAll(async () => {
  stack = await startStack();
  kit = httpKit(stack);
  database = new DatabaseSync(stack.databaseFile, { timeout: 5_000 });
  writeFileSync(file('pcrs.json'), JSON.stringify(measurements(stack.pcrs)));
  writeFileSync(file('root.pem'), stack.nsmRootPem);
  trust = [
    ...['--pcrs', file('pcrs.json'), '--unsafe-trusted-root', file('root.pem'), '--witness-threshold', '2'],
    ...stack.witnesses.flatMap(({ key }) => ['--witness', key]),
  ];
  wallet = await kit.openWallet();
});
afterAll(async () => {
  database?.close();
  await stack?.stop();
});

describe('an honest appliance', () => {
  it('passes a full audit: signatures, denials, repeats, policies, several wallets', async () => {
    for (let index = 0; index < 5; index++) await signed(`a-${index}`);
    const transaction = transfer(wallet.address, wallet.destination, 9n);
    await signed('same', { transaction });
    await kit.sign(wallet, { id: 'denied', lamports: 1_000_001n });
    await kit.openWallet();
    const found = await audit(stack.url, '--keep', file('kept'));
    expect(found).toMatchObject({ ok: true, exit: 0, findings: [] });
    expect(Number(found.leaves)).toBe(12);
  });

  it('passes the next one, which reads only what is new', async () => {
    await signed('b-1');
    const found = await audit(stack.url, '--since', file('kept'), '--keep', file('kept'));
    expect(found).toMatchObject({ ok: true, leaves: '1' });
  });

  it('has a leaf for every signature on chain, and for no other', async () => {
    writeFileSync(file('chain'), `# of the wallet\n${onChain.join('\n')}\n`);
    expect(await audit(stack.url, '--chain', file('chain'))).toMatchObject({ ok: true });
    const stranger = toBase58(crypto.getRandomValues(new Uint8Array(64)));
    writeFileSync(file('chain-2'), `${onChain[0]}\n${stranger}\n`);
    const found = await audit(stack.url, '--chain', file('chain-2'));
    expect(found).toMatchObject({ ok: false, exit: 1 });
    expect(found.findings.map(({ code }) => code)).toEqual(['log_signature_unrecorded']);
  });

  it('gives receipts that verify by themselves, and stand in the log', async () => {
    for (const id of ['a-0', 'denied']) {
      const path = await receiptFile(id);
      expect(await qvJson('verify', 'receipt', path, ...trust)).toMatchObject({ ok: true });
      expect(await audit(stack.url, '--receipt', path)).toMatchObject({ ok: true });
    }
  });

  it('passes from a copy, and its decisions can be exported from there', async () => {
    const copy = file('copy');
    expect((await qv('log', 'fetch', stack.url, '--dir', copy)).exit).toBe(0);
    expect(await audit(copy)).toMatchObject({ ok: true });
    const period = ['--from', '2020-01-01', '--to', '2100-01-01'];
    const exported = await qv('log', 'export', copy, ...trust, ...period, '--format', 'csv', '--out', file('all.csv'));
    expect(exported.exit).toBe(0);
    // A head, and one line for each decision.
    expect(readFileSync(file('all.csv'), 'utf8').trim().split('\r\n').length).toBeGreaterThan(13);
  });

  it('passes across a restarted enclave, whose log continues the last one’s', async () => {
    await stack.restartEnclave();
    await expect
      .poll(async () => (await (await fetch(`${stack.url}/v1/log/boots`)).text()).split('"boot"').length, {
        timeout: 15_000,
      })
      .toBe(3);
    await kit.ready();
    const next = await kit.openWallet();
    expect((await kit.sign(next)).status).toBe(200);
    const found = await audit(stack.url, '--since', file('kept'), '--keep', file('kept'));
    expect(found).toMatchObject({ ok: true });
    expect(found.boots).toHaveLength(2);
    expect(await audit(stack.url)).toMatchObject({ ok: true });
    wallet = next;
  });

  it('passes with a freeze, after which nothing was signed', async () => {
    const [, boot = ''] = boots();
    const early = database.prepare('SELECT size, checkpoint FROM logs WHERE boot = ?').get(boot);
    rewound = { boot, size: Number(early?.['size']), checkpoint: early?.['checkpoint'] as Uint8Array };
    await signed('before-freeze');
    await adminCall(stack.adminSocket, 'freeze', { scope: 'fleet', reason: 'drill' });
    expect((await kit.sign(wallet)).status).toBe(423);
    expect(await audit(stack.url, '--since', file('kept'))).toMatchObject({ ok: true });
  });
});

describe('an operator who hides something', () => {
  it('is found: a denial taken out of the database', async () => {
    const receipt = await receiptFile('denied');
    const [boot = ''] = boots();
    const row = database.prepare('SELECT * FROM leaves WHERE boot = ? AND request_id = ?').get(boot, 'denied');
    const next = database
      .prepare('SELECT leaf FROM leaves WHERE boot = ? AND sequence = ?')
      .get(boot, Number(row?.['sequence']) + 1);
    database
      .prepare('UPDATE leaves SET leaf = ? WHERE boot = ? AND sequence = ?')
      .run(next?.['leaf'] ?? '', boot, row?.['sequence'] ?? 0);
    const found = await audit(stack.url, '--receipt', receipt);
    expect(found).toMatchObject({ ok: false, exit: 1 });
    const codes = found.findings.map(({ code }) => code);
    expect(codes).toEqual(expect.arrayContaining(['log_entry_missing', 'log_root_mismatch', 'log_receipt_absent']));
    database
      .prepare('UPDATE leaves SET leaf = ? WHERE boot = ? AND sequence = ?')
      .run(row?.['leaf'] ?? '', boot, row?.['sequence'] ?? 0);
    expect(await audit(stack.url, '--receipt', receipt)).toMatchObject({ ok: true });
  });

  it('is found: a whole boot taken away', async () => {
    const [first = ''] = boots();
    const row = database.prepare('SELECT * FROM logs WHERE boot = ?').get(first) ?? {};
    database.prepare('DELETE FROM logs WHERE boot = ?').run(first);
    const found = await audit(stack.url, '--since', file('kept'));
    expect(found).toMatchObject({ ok: false, exit: 1 });
    expect(found.findings.map(({ code }) => code)).toContain('log_boot_hidden');
    const names = Object.keys(row);
    const insert = `INSERT INTO logs (${names.join(', ')}) VALUES (${names.map(() => '?').join(', ')})`;
    database.prepare(insert).run(...Object.values(row));
    expect(await audit(stack.url, '--since', file('kept'))).toMatchObject({ ok: true });
  });

  it('is found: a log rewound to an earlier checkpoint', async () => {
    const read = database.prepare('SELECT size, checkpoint FROM logs WHERE boot = ?');
    const now = read.get(rewound.boot) ?? {};
    expect(Number(now['size'])).toBeGreaterThan(rewound.size);
    expect(await audit(stack.url, '--since', file('kept'), '--keep', file('kept'))).toMatchObject({ ok: true });
    const write = database.prepare('UPDATE logs SET size = ?, checkpoint = ? WHERE boot = ?');
    write.run(rewound.size, rewound.checkpoint, rewound.boot);
    const found = await audit(stack.url, '--since', file('kept'));
    expect(found).toMatchObject({ ok: false, exit: 1 });
    expect(found.findings.map(({ code }) => code)).toContain('log_rewound');
    write.run(now['size'] ?? 0, now['checkpoint'] ?? '', rewound.boot);
    expect(await audit(stack.url, '--since', file('kept'))).toMatchObject({ ok: true });
  });

  it('is found: another boot’s checkpoint in the place of its own', async () => {
    const [, second = ''] = boots();
    const row = database.prepare('SELECT size, checkpoint FROM logs WHERE boot = ?').get(second);
    const { checkpoint: early } = (database.prepare('SELECT checkpoint FROM logs WHERE boot <> ?').get(second) ??
      {}) as { checkpoint: Uint8Array };
    database.prepare('UPDATE logs SET checkpoint = ? WHERE boot = ?').run(early, second);
    expect((await audit(stack.url)).ok).toBe(false);
    database.prepare('UPDATE logs SET checkpoint = ? WHERE boot = ?').run(row?.['checkpoint'] ?? '', second);
    expect((await audit(stack.url)).findings).toEqual([]);
  });
});
