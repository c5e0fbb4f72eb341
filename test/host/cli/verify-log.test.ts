/** qv verify log: honest logs from a host and from a folder, every tampering by name, and what an auditor keeps. */
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { encodeLeaf, type Leaf } from '@quantumvault/shared/evidence/leaf.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import { type BuiltLog, type BuiltWallet, Deployment, type Served } from '../../support/log-builder.ts';
import { filesOf, LogServer, writeFiles } from '../../support/log-server.ts';
import { receiptFileOf, receiptText } from '../../support/receipts.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { trustOptions } from '../../support/trust-files.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

let temporary: Awaited<ReturnType<typeof temporaryFolder>>;
let server: LogServer;
let deployment: Deployment;
let first: BuiltLog;
let second: BuiltLog;
let wallet: BuiltWallet;
let trust: string[];
let counter = 0;

const path = (name: string): string => join(temporary.path, name);
const file = (content: string | Uint8Array): string => {
  const name = path(`file-${counter++}`);
  writeFileSync(name, content);
  return name;
};
const verify = (...argv: readonly string[]): Promise<JsonAnswer> =>
  qvJson('verify', 'log', server.url, ...trust, ...argv);

/** The codes of all findings, each noted as seen. */
function codes(answer: JsonAnswer): string[] {
  const findings = (answer['findings'] ?? []) as { code: string }[];
  for (const { code } of findings) noteCode(code);
  return [...new Set(findings.map(({ code }) => code))];
}

beforeAll(async () => {
  temporary = await temporaryFolder();
  server = await new LogServer().start();
});
afterAll(async () => {
  await server?.stop();
  await temporary?.remove();
});
beforeEach(async () => {
  deployment = new Deployment({ witnesses: 2 });
  first = await deployment.start();
  wallet = first.wallet();
  for (let count = 0; count < 5; count++) wallet.sign();
  wallet.deny();
  wallet.sign();
  second = await deployment.start({ follows: first.predecessor() });
  trust = trustOptions(temporary.path, deployment);
  server.reset(filesOf(deployment.serve()));
});

describe('an honest deployment', () => {
  test('passes, to machines', async () => {
    const answer = await verify();
    expect(answer).toMatchObject({
      ok: true,
      exit: 0,
      findings: [],
      findingCount: 0,
      leaves: '12',
      kinds: { boot: 2, signed: 6, denied: 1, follows: 1, 'wallet-created': 1, 'policy-enabled': 1 },
      boots: [
        { boot: first.boot, size: '10', witnesses: ['witness-0.example.com', 'witness-1.example.com'] },
        { boot: second.boot, size: '2', follows: first.boot },
      ],
    });
    expect(answer).not.toHaveProperty('seen');
  });

  test('passes, to people, and nothing is drawn where nobody watches', async () => {
    const { exit, stdout, stderr } = await qv('verify', 'log', server.url, ...trust);
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toContain('✓ Verified: every check passes.');
    expect(stdout).toContain('12 leaves');
    expect(stdout).toContain('cosigned by witness-0.example.com');
    expect(stdout).not.toContain('Findings');
  });

  test('from a folder: a copy by qv log fetch, and one of bundles alone', async () => {
    const copy = path(`copy-${counter++}`);
    expect(await qvJson('log', 'fetch', server.url, '--dir', copy)).toMatchObject({ ok: true });
    expect(await qvJson('verify', 'log', copy, ...trust)).toMatchObject({ ok: true, leaves: '12' });
    const bare = path(`bare-${counter++}`);
    mkdirSync(bare);
    writeFiles(bare, filesOf(deployment.serve()));
    expect(await qvJson('verify', 'log', bare, ...trust)).toMatchObject({ ok: true, leaves: '12' });
  });

  test('receipts and signatures on chain are in it', async () => {
    const receipts = [3, 8].map(async (sequence) => file(receiptText(await receiptFileOf(first, sequence))));
    const options = (await Promise.all(receipts)).flatMap((name) => ['--receipt', name]);
    const chain = file([...wallet.signatures.values()].map(toBase58).join('\n'));
    expect(await verify(...options, '--chain', chain)).toMatchObject({ ok: true });
  });

  test('a threshold below the number of witnesses', async () => {
    const served = deployment.serve();
    for (const log of [first, second]) {
      const found = served.logs.get(log.boot);
      if (found !== undefined) found.note = log.checkpoint({ witnesses: 1 });
    }
    server.reset(filesOf(served));
    const few = await verify();
    expect(few).toMatchObject({ ok: false, exit: 1 });
    expect(codes(few)).toEqual(['witnesses_too_few']);
    expect(await verify('--witness-threshold', '1')).toMatchObject({ ok: true });
  });
});

describe('what an auditor keeps', () => {
  test('is written only when everything holds, for its owner alone, and continues there', async () => {
    const keep = path(`keep-${counter++}`);
    expect(await verify('--keep', keep)).toMatchObject({ ok: true, kept: keep });
    expect(statSync(keep).mode & 0o777).toBe(0o600);
    wallet.moveTo(second);
    wallet.sign();
    server.reset(filesOf(deployment.serve()));
    expect(await verify('--since', keep, '--keep', keep)).toMatchObject({ ok: true, leaves: '3' });
    expect(await verify('--since', keep)).toMatchObject({ ok: true, leaves: '0' });
    const none = path(`keep-${counter++}`);
    server.files.delete(`${first.boot}/tile/entries/000.p/11`);
    expect(await verify('--keep', none)).toMatchObject({ ok: false, exit: 1 });
    expect(existsSync(none)).toBe(false);
  });

  test('or a checkpoint as it was served', async () => {
    const note = file(first.checkpoint({ size: 5 }));
    expect(await verify('--since', note, '--since', file(second.checkpoint()))).toMatchObject({ ok: true });
    const entries = [...first.entries.slice(0, 4), utf8('another')];
    const forked = await verify('--since', file(first.checkpoint({ entries })));
    expect(forked).toMatchObject({ exit: 1 });
    expect(codes(forked)).toEqual(['log_forked']);
  });

  test('a damaged file, two of them, or one that is none', async () => {
    const keep = path(`keep-${counter++}`);
    await verify('--keep', keep);
    const bytes = new Uint8Array(readFileSync(keep));
    bytes[40] = (bytes[40] ?? 0) ^ 1;
    expect(await verify('--since', file(bytes))).toMatchObject({ exit: 2, error: { code: 'log_seen_malformed' } });
    expect(await verify('--since', file('x'))).toMatchObject({ exit: 2, error: { code: 'log_seen_malformed' } });
    expect(await verify('--since', keep, '--since', keep)).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
  });

  test('a place that cannot be written, and a device', async () => {
    for (const keep of ['/does/not/exist', '/dev/null', temporary.path])
      expect(await verify('--keep', keep)).toMatchObject({ exit: 2, error: { code: 'output_unwritable' } });
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });
});

/** Each changes what an honest host would serve. `note` is made of the entries unless it is left as it was. */
type Tamper = (served: Served, entries: Uint8Array[]) => void;

function tampered(change: Tamper, { signed }: { signed: boolean }): void {
  const served = deployment.serve();
  const log = served.logs.get(first.boot);
  if (log === undefined) throw new Error('no log');
  change(served, log.entries);
  if (signed) log.note = first.checkpoint({ entries: log.entries });
  server.reset(filesOf(served));
}

const edited = (entries: Uint8Array[], at: number, change: Partial<Leaf>): void => {
  entries[at] = encodeLeaf({ ...(first.leaves[at] as Leaf), ...change });
};
const swap = (entries: Uint8Array[], a: number, b: number): void => {
  [entries[a], entries[b]] = [entries[b] as Uint8Array, entries[a] as Uint8Array];
};

describe('tampering is named, by a host and by one that has the boot key', () => {
  test.each<[string, Tamper, boolean, string]>([
    ['a leaf dropped', (_, entries) => entries.splice(4, 1), true, 'log_entry_missing'],
    ['a leaf edited', (_, entries) => edited(entries, 4, { requestId: 'other' }), true, 'log_entry_edited'],
    [
      'a leaf edited, the checkpoint kept',
      (_, entries) => edited(entries, 4, { requestId: 'x' }),
      false,
      'log_root_mismatch',
    ],
    ['leaves reordered', (_, entries) => swap(entries, 4, 5), true, 'log_entry_reordered'],
    ['a leaf duplicated', (_, entries) => entries.splice(5, 0, entries[4] as Uint8Array), true, 'log_entry_duplicated'],
    ['a denial hidden', (_, entries) => entries.splice(8, 1), true, 'log_entry_missing'],
    ['the end cut off', (_, entries) => entries.splice(7), false, 'log_truncated'],
    [
      'an entry that is no leaf',
      (_, entries) => entries.splice(4, 1, utf8('\u001b]0;pwn\u0007')),
      true,
      'log_entry_malformed',
    ],
    ['a boot hidden', ({ logs }) => logs.delete(first.boot), false, 'log_boot_hidden'],
    ['a policy hidden', ({ policies }) => policies.clear(), false, 'log_policy_unknown'],
  ])('%s', async (_, change, signed, code) => {
    tampered(change, { signed });
    const answer = await verify();
    expect(answer).toMatchObject({ ok: false, exit: 1, error: { step: expect.any(String) } });
    expect(codes(answer)).toContain(code);
    const { exit, stdout, stderr } = await qv('verify', 'log', server.url, ...trust);
    expect([exit, stderr]).toEqual([1, '']);
    expect(stdout).toContain(code);
    expect(stdout).toContain('✗ NOT verified');
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });

  test('a denial left out by a boot that numbers and chains anew: the receipt tells', async () => {
    const receipt = file(receiptText(await receiptFileOf(first, 8)));
    const sequence = 8n;
    first.entries.splice(8, 1);
    first.leaves.splice(8, 1);
    first.rewrite(8, (leaf) => ({ ...leaf, sequence }));
    // So that the second boot's word about it is not what gives it away.
    deployment.logs.pop();
    server.reset(filesOf(deployment.serve()));
    expect(await verify()).toMatchObject({ ok: true });
    const answer = await verify('--receipt', receipt);
    expect(answer).toMatchObject({ exit: 1, error: { code: 'log_receipt_absent' } });
    expect(codes(answer)).toEqual(['log_receipt_absent']);
  });

  test('rewound and forked since the last audit', async () => {
    const keep = path(`keep-${counter++}`);
    await verify('--keep', keep);
    tampered((_, entries) => entries.splice(9), { signed: true });
    const rewound = await verify('--since', keep);
    expect(rewound).toMatchObject({ exit: 1 });
    expect(codes(rewound)).toContain('log_rewound');
    tampered((_, entries) => edited(entries, 9, { requestId: 'other' }), { signed: true });
    const forked = await verify('--since', keep);
    expect(forked).toMatchObject({ exit: 1 });
    expect(codes(forked)).toContain('log_forked');
  });

  test('a receipt of another boot, and one that nobody signed', async () => {
    const other = new Deployment();
    const log = await other.start();
    const foreign = await verify('--receipt', file(receiptText(await receiptFileOf(log, 0))));
    expect(foreign).toMatchObject({ exit: 1, error: { code: 'log_receipt_foreign' } });
    codes(foreign);
    const good = await receiptFileOf(first, 4);
    const receipt = { leaf: good.receipt.leaf, signature: log.signAsBoot(good.receipt.leaf) };
    const forged = await verify('--receipt', file(receiptText({ ...good, receipt })));
    expect(forged).toMatchObject({ exit: 1, error: { code: 'evidence_signature_invalid' } });
  });

  test('a signature on chain without its leaf', async () => {
    const answer = await verify('--chain', file(toBase58(new Uint8Array(64).fill(5))));
    expect(answer).toMatchObject({ exit: 1, error: { code: 'log_signature_unrecorded' } });
  });

  test('another image, another root', async () => {
    const argv = ['verify', 'log', server.url, '--pcr0', 'ab'.repeat(48), ...trust.slice(2, 4)];
    const image = await qvJson(...argv);
    expect(image).toMatchObject({ exit: 1 });
    expect(codes(image)).toContain('attestation_pcrs_not_allowed');
    const root = await qvJson('verify', 'log', server.url, ...trust.slice(0, 2));
    expect(codes(root)).toContain('attestation_root_untrusted');
  });
});

describe('files of signatures', () => {
  const one = (): string => toBase58([...wallet.signatures.values()][0] ?? new Uint8Array(64));
  const two = (): string => toBase58([...wallet.signatures.values()][1] ?? new Uint8Array(64));
  const entry = (signature: string) => ({
    blockTime: 1,
    err: { InstructionError: [0, { Custom: 1 }] },
    memo: null,
    signature,
  });

  test('lines, JSON on one line and on many, and JSON lines', async () => {
    const forms = [
      `# a comment\r\n\r\n${one()}\r\n  ${two()}  \n`,
      JSON.stringify([entry(one()), entry(two())]),
      JSON.stringify({ jsonrpc: '2.0', id: 1, result: [entry(one())] }),
      JSON.stringify({ jsonrpc: '2.0', id: 1, result: [entry(one()), entry(two())] }, undefined, 2),
      JSON.stringify([one(), two()]),
      `${JSON.stringify(entry(one()))}\n${JSON.stringify(entry(two()))}\n`,
      `${JSON.stringify([entry(one())])}\n\n${JSON.stringify([entry(two())])}`,
      '[]',
      '',
    ];
    for (const form of forms) expect(await verify('--chain', file(form)), form).toMatchObject({ ok: true });
  });

  test.each([
    ['xyz', 'line 1: not a base58 signature'],
    ['# fine\n\n0OIl', 'line 3: not a base58 signature'],
    ['# x\n[\n1,\n', 'line 2: not JSON'],
    ['[]\n[\n]', 'line 2: not JSON'],
    ['[\n1\n]', 'the document from line 1: no signature'],
    ['{"other": 1}', 'line 1: no signature'],
    ['[{"signature": "x"}]', 'line 1: not a base58 signature'],
    ['[[], 7]', 'line 1, entry 0: no signature'],
    ['{"error": {"code": 1}}', 'line 1: no signature'],
    ['[null]', 'line 1: no signature'],
  ])('%j: %s', async (content, value) => {
    expect(await verify('--chain', file(content))).toMatchObject({ exit: 2, error: { code: 'usage_invalid', value } });
  });

  test('a broken line behind good ones', async () => {
    expect(await verify('--chain', file(`${one()}\n{"signature":`))).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid', value: 'line 2: not JSON' },
    });
  });

  test('no file, a pipe, a device', async () => {
    for (const source of ['/does/not/exist', '/dev/zero', temporary.path])
      expect(await verify('--chain', source)).toMatchObject({ exit: 2, error: { code: 'input_unreadable' } });
  });

  test('a large one is read in pieces', async () => {
    const many = `${`${one()}\n`.repeat(200_000)}`;
    expect(await verify('--chain', file(many))).toMatchObject({ ok: true });
  });
});

describe('a host that attacks', () => {
  test('bundles too long, too short, endless', async () => {
    const bundle = `${first.boot}/tile/entries/000.p/10`;
    server.files.set(bundle, (server.files.get(bundle) ?? new Uint8Array()).subarray(0, 100));
    expect(codes(await verify())).toContain('log_truncated');
    server.files.set(bundle, new Uint8Array([...(filesOf(deployment.serve()).get(bundle) ?? []), 0, 1, 2]));
    expect(codes(await verify())).toContain('log_tile_malformed');
    server.files.set(bundle, new Uint8Array(17 * 1024 * 1024));
    expect(await verify()).toMatchObject({ exit: 1, error: { code: 'response_malformed', value: 'too large' } });
  });

  test('no log, and no host', async () => {
    server.reset(new Map());
    expect(await verify()).toMatchObject({ exit: 1, error: { code: 'log_unknown' } });
    server.files.set('boots', utf8('{"boots":[]}'));
    const none = await verify();
    expect(none).toMatchObject({ exit: 1 });
    expect(codes(none)).toEqual(['log_unknown']);
  });

  test('a checkpoint that is none', async () => {
    server.files.set(`${first.boot}/checkpoint`, utf8('none'));
    expect(codes(await verify())).toContain('log_note_malformed');
  });
});

test.each<[string, readonly string[]]>([
  ['usage_invalid', []],
  ['usage_invalid', ['x', 'y', '--pcr0', 'ab'.repeat(48)]],
  ['usage_invalid', ['x']],
  ['input_unreadable', ['/does/not/exist', '--pcr0', 'ab'.repeat(48)]],
  ['receipt_malformed', ['/tmp', '--pcr0', 'ab'.repeat(48), '--receipt', 'package.json']],
])('%s: %j', async (code, argv) => {
  expect(await qvJson('verify', 'log', ...argv)).toMatchObject({ exit: 2, error: { code } });
});
