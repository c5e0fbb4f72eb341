/** qv lease sign: what is shown, who signs once, and what an operator's journal refuses. No host is needed. */
import { generateKeyPairSync } from 'node:crypto';
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Address, addressOf, type BootId, timeMs } from '@quantumvault/shared/brands.ts';
import { toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { type Lease, leaseCodec } from '@quantumvault/shared/evidence/succession.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type BuiltLog, Deployment } from '../../support/log-builder.ts';
import { filesOf, writeFiles } from '../../support/log-server.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { trustOptions } from '../../support/trust-files.ts';
import { party } from '../../support/wallet-kit.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

const HOUR_MS = 3_600_000;
const boot = (): BootId => party().address as string as BootId;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let counter = 0;
let predecessor: BootId;
let successor: BootId;
let wallets: Address[];
let journal: string;

const path = (name: string): string => join(folder.path, name);
const fresh = (name: string): string => path(`${name}-${counter++}`);

function newKey(name: string, type: 'ed25519' | 'x25519' = 'ed25519') {
  const { publicKey, privateKey } = type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('x25519');
  const file = path(name);
  writeFileSync(file, privateKey.export({ format: 'pem', type: 'pkcs8' }), { mode: 0o600 });
  return { file, address: addressOf(Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32))) };
}
let alice: ReturnType<typeof newKey>;
let bob: ReturnType<typeof newKey>;

const leaseOf = (change: Partial<Lease> = {}): Lease => ({
  deployment: 'test',
  predecessor,
  successor,
  wallets: wallets.map((wallet) => ({ wallet, version: 7n })),
  freezes: [{ scope: 'fleet', freezeId: new Uint8Array(16).fill(5) }],
  checkpoint: utf8('no note'),
  notAfter: timeMs(Date.now() + HOUR_MS),
  sumsProven: false,
  ...change,
});
type Signed = { key: string; signature: string };
const fileOf = (leases: readonly Lease[], signatures: readonly Signed[] = []): string => {
  const file = fresh('lease');
  const items = leases.map((lease) => ({ bytes: toBase64(encodeAs(leaseCodec, lease)), signatures }));
  writeFileSync(file, JSON.stringify({ format: 'qv/lease-file/v1', leases: items }));
  return file;
};
const sign = (file: string, key = alice, ...more: readonly string[]): Promise<JsonAnswer> =>
  qvJson(
    'lease',
    'sign',
    file,
    '--operator-key',
    key.file,
    '--journal',
    journal,
    '--terminated',
    'i-1 is gone',
    ...more,
  );
const signersIn = (file: string): string[] =>
  (JSON.parse(readFileSync(file, 'utf8')) as { leases: { signatures: Signed[] }[] }).leases.flatMap(({ signatures }) =>
    signatures.map(({ key }) => key),
  );
const lines = (): string[] => readFileSync(journal, 'utf8').trimEnd().split('\n');

beforeAll(async () => {
  folder = await temporaryFolder();
  alice = newKey('alice.pem');
  bob = newKey('bob.pem');
});
afterAll(() => folder?.remove());
beforeEach(() => {
  [predecessor, successor] = [boot(), boot()];
  wallets = [party().address, party().address];
  journal = fresh('journal');
});

describe('qv lease sign', () => {
  test('shows what is signed, and signs nothing without a word on the old instance', async () => {
    const file = fileOf([leaseOf()]);
    const before = readFileSync(file);
    const { exit, stdout } = await qv('lease', 'sign', file, '--operator-key', alice.file, '--journal', journal);
    expect(exit).toBe(2);
    const facts = [
      predecessor,
      successor,
      ...wallets,
      'version 7 or later',
      'frozen fleet',
      '05'.repeat(16),
      'unreadable',
    ];
    for (const fact of [...facts, 'Nothing was signed']) expect(stdout).toContain(fact);
    expect(readFileSync(file)).toEqual(before);
    expect(existsSync(journal)).toBe(false);
  });

  test('adds each operator once, to every lease of the file', async () => {
    const [one, other] = wallets.map((wallet) => [{ wallet, version: 7n }]);
    const notAfter = timeMs(Date.now() + HOUR_MS);
    const good = fileOf([leaseOf({ wallets: one ?? [], notAfter }), leaseOf({ wallets: other ?? [], notAfter })]);
    for (const key of [alice, alice, bob]) expect(await sign(good, key)).toMatchObject({ ok: true, signed: true });
    expect(signersIn(good)).toEqual([alice.address, bob.address, alice.address, bob.address]);
    expect(await qvJson('lease', 'sign', good, '--operator-key', alice.file, '--journal', journal)).toMatchObject({
      leases: Array(2).fill({ signatures: [{ holds: true }, { holds: true }] }),
    });
    expect(statSync(journal).mode & 0o777).toBe(0o600);
  });

  test('says that the successor was not verified by this operator', async () => {
    const answer = await sign(fileOf([leaseOf()]));
    expect(answer['warnings']).toEqual([
      expect.stringContaining('was not verified here'),
      expect.stringContaining('were not compared with a log'),
    ]);
    expect(await sign(fileOf([leaseOf()]), alice, '--url', 'http://127.0.0.1:9')).toMatchObject({
      error: { code: 'usage_invalid' },
    });
  });

  test('does not count what does not hold, nor one key twice', async () => {
    const forged = { key: bob.address, signature: toBase64(new Uint8Array(64)) };
    const file = fileOf([leaseOf()], [forged, forged]);
    expect(await sign(file)).toMatchObject({
      leases: [
        {
          signatures: [
            { key: bob.address, holds: false },
            { key: alice.address, holds: true },
          ],
        },
      ],
    });
  });

  test.each<[string, () => string, string]>([
    ['past', () => fileOf([leaseOf({ notAfter: timeMs(Date.now() - 1000) })]), 'succession_expired'],
    ['too far ahead', () => fileOf([leaseOf({ notAfter: timeMs(Date.now() + 25 * HOUR_MS) })]), 'succession_expired'],
    ['of two successors', () => fileOf([leaseOf(), leaseOf({ successor: boot() })]), 'field_malformed'],
    [
      'of one wallet twice',
      () => fileOf([leaseOf({ notAfter: timeMs(1e12) }), leaseOf({ notAfter: timeMs(1e12) })]),
      'field_malformed',
    ],
    ['of none', () => fileOf([]), 'field_malformed'],
    ['that is no lease', () => alice.file, 'json_malformed'],
  ])('refuses a file %s, and records nothing', async (_, file, code) => {
    expect(await sign(file())).toMatchObject({ ok: false, error: { code } });
    expect(existsSync(journal)).toBe(false);
  });

  test('takes Ed25519 keys and no others', async () => {
    const other = newKey('x25519.pem', 'x25519');
    for (const key of [other, { ...alice, file: fileOf([leaseOf()]) }])
      expect(await sign(fileOf([leaseOf()]), key)).toMatchObject({
        error: { code: 'input_unreadable', path: key.file },
      });
    expect(existsSync(journal)).toBe(false);
  });

  test('takes no key that others on the machine may read', async () => {
    const open = newKey('open.pem');
    for (const mode of [0o640, 0o604, 0o620]) {
      chmodSync(open.file, mode);
      expect(await sign(fileOf([leaseOf()]), open)).toMatchObject({
        error: { code: 'input_unreadable', path: open.file, value: 'other users may read or write it' },
      });
    }
    expect(existsSync(journal)).toBe(false);
  });
});

describe('an operator’s journal', () => {
  test('refuses any wallet of one boot to another successor, and allows the same one again', async () => {
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({ ok: true });
    const [wallet] = wallets;
    const elsewhere = fileOf([leaseOf({ successor: boot(), wallets: [{ wallet: wallet as Address, version: 9n }] })]);
    const before = readFileSync(elsewhere);
    expect(await sign(elsewhere)).toMatchObject({
      ok: false,
      exit: 1,
      error: { code: 'lease_conflict', path: wallet },
    });
    expect(readFileSync(elsewhere)).toEqual(before);
    expect(lines()).toHaveLength(1);
    // Renewed, or of another boot: nothing speaks against it.
    expect(await sign(fileOf([leaseOf({ notAfter: timeMs(Date.now() + 2 * HOUR_MS) })]))).toMatchObject({ ok: true });
    expect(await sign(fileOf([leaseOf({ predecessor: boot(), successor: boot() })]))).toMatchObject({ ok: true });
    expect(
      await sign(fileOf([leaseOf({ successor: boot(), wallets: [{ wallet: party().address, version: 1n }] })])),
    ).toMatchObject({ ok: true });
    expect(lines()).toHaveLength(4);
    expect(JSON.parse(lines()[0] ?? '')).toMatchObject({ predecessor, successor, wallets, terminated: 'i-1 is gone' });
  });

  test('lets no two leases pass that are signed at the same time', async () => {
    const files = [successor, boot()].map((to) => fileOf([leaseOf({ successor: to })]));
    const answers = await Promise.all(files.map((file) => sign(file)));
    expect(answers.filter(({ ok }) => ok).length).toBeLessThan(2);
  });

  test('loses a line that a crash cut off, before which nothing was signed', async () => {
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({ ok: true });
    appendFileSync(journal, '{"at":"2026');
    expect(await sign(fileOf([leaseOf({ successor: boot() })]))).toMatchObject({ error: { code: 'lease_conflict' } });
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({ ok: true });
    expect(lines()).toHaveLength(2);
    writeFileSync(journal, 'x'.repeat(200_000));
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({ error: { code: 'body_too_large' } });
  });

  test.each([
    'no json\n',
    '{"predecessor":"a"}\n',
    '\n',
    '{"at":"","lease":"","predecessor":"","successor":"","terminated":"","wallets":[1]}\n',
  ])('that is damaged stops everything: %j', async (line) => {
    writeFileSync(journal, line);
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({
      ok: false,
      error: { code: 'journal_malformed', path: 'line 1' },
    });
    expect(readFileSync(journal, 'utf8')).toBe(line);
  });

  test('that cannot be written stops everything', async () => {
    journal = path('missing/journal');
    const file = fileOf([leaseOf()]);
    expect(await sign(file)).toMatchObject({ error: { code: 'output_unwritable' } });
    expect(signersIn(file)).toEqual([]);
    journal = folder.path;
    expect((await sign(file)).ok).toBe(false);
  });

  test('of as many wallets as a file has', async () => {
    wallets = Array.from({ length: LIMITS.leaseWallets }, () => party().address);
    expect(await sign(fileOf([leaseOf()]))).toMatchObject({ ok: true });
    expect(await sign(fileOf([leaseOf({ successor: boot() })]))).toMatchObject({ error: { code: 'lease_conflict' } });
  });
});

describe('a successor that died before it took what was leased to it', () => {
  let deployment: Deployment;
  let [gone, heir, next]: BuiltLog[] = [];
  const of = (log: BuiltLog | undefined): BuiltLog => log as BuiltLog;
  const note = (log: BuiltLog | undefined): string[] => ['--terminated-successor', `${of(log).boot}=i-2 is gone`];
  const serve = (): string[] => {
    const copy = fresh('log');
    mkdirSync(copy);
    writeFiles(copy, filesOf(deployment.serve()));
    return ['--log', copy, ...trustOptions(folder.path, deployment)];
  };
  const change = (): Partial<Lease> => ({ freezes: [], checkpoint: of(gone).checkpoint() });

  beforeEach(async () => {
    deployment = new Deployment();
    gone = await deployment.start();
    heir = await deployment.start({ follows: gone.predecessor() });
    next = await deployment.start({ follows: heir.predecessor() });
    [predecessor, successor] = [gone.boot, heir.boot];
  });

  test('gives way to the next one on the operator’s word, and gets nothing any more', async () => {
    const wallet = of(gone).wallet();
    wallets = [wallet.address];
    expect(await sign(fileOf([leaseOf(change())]), alice, ...serve())).toMatchObject({ ok: true });
    successor = of(next).boot;
    const file = fileOf([leaseOf(change())]);
    expect(await sign(file, alice, ...serve())).toMatchObject({ error: { code: 'lease_conflict' } });
    // Another boot's end says nothing about this one.
    expect(await sign(file, alice, ...serve(), '--terminated-successor', `${boot()}=gone`)).toMatchObject({
      error: { code: 'lease_conflict', path: wallet.address },
    });
    const answer = await sign(file, alice, ...serve(), ...note(heir));
    expect(answer).toMatchObject({ ok: true, signed: true });
    expect(JSON.stringify(answer['warnings'])).not.toContain(of(heir).boot);
    expect(JSON.parse(lines().at(-1) ?? '')).toMatchObject({
      successor,
      terminatedSuccessors: [{ boot: of(heir).boot, note: 'i-2 is gone' }],
    });
    // The word stays, and counts against a lease of anything to that boot.
    expect(await sign(fileOf([leaseOf(change())]), alice, ...serve())).toMatchObject({ ok: true });
    for (const again of [wallet.address, party().address])
      expect(
        await sign(fileOf([leaseOf({ successor: of(heir).boot, wallets: [{ wallet: again, version: 9n }] })])),
      ).toMatchObject({ error: { code: 'lease_conflict', path: 'successor' } });
  });

  test('keeps what its log shows as taken', async () => {
    const wallet = of(gone).wallet();
    wallets = [wallet.address];
    expect(await sign(fileOf([leaseOf(change())]), alice)).toMatchObject({ ok: true });
    wallet.leaseTo(of(heir));
    successor = of(next).boot;
    const file = fileOf([leaseOf(change())]);
    expect(await sign(file, alice, ...serve(), ...note(heir))).toMatchObject({
      error: { code: 'evidence_mismatch', path: wallet.address, value: `the log says that ${of(heir).boot} has it` },
    });
    expect(lines()).toHaveLength(1);
  });

  test('leaves freezes behind that the operator is told of, or nothing to go by', async () => {
    wallets = [of(gone).wallet().address];
    successor = of(next).boot;
    of(heir).freeze();
    of(heir).freeze(`wallet:${party().address}`);
    const stranger = boot();
    const options = [...note(heir), '--terminated-successor', `${stranger}=i-3 is gone`];
    const { warnings } = await sign(fileOf([leaseOf(change())]), alice, ...serve(), ...options);
    expect(warnings).toEqual([
      expect.stringContaining('UNSAFE'),
      expect.stringContaining('was not verified here'),
      expect.stringMatching(`^The log of ${of(heir).boot} holds a freeze of fleet,`),
      expect.stringMatching(`^There is no log of ${stranger}:`),
    ]);
  });

  test('needs a log and a word', async () => {
    const file = fileOf([leaseOf()]);
    for (const options of [
      note(heir),
      ['--log', folder.path, '--terminated-successor', of(heir).boot],
      ['--log', folder.path, '--terminated-successor', `${of(heir).boot}= `],
      ['--log', folder.path, ...Array.from({ length: 17 }, () => note(heir)).flat()],
    ])
      expect(await sign(file, alice, ...options)).toMatchObject({ error: { code: 'usage_invalid' } });
    expect(await sign(file, alice, '--log', folder.path, '--terminated-successor', 'x=y')).toMatchObject({
      error: { code: 'base58_malformed' },
    });
    expect(existsSync(journal)).toBe(false);
  });
});

test('a wallet that went on by a release is not leased from the boot that had it before', async () => {
  const deployment = new Deployment();
  const first = await deployment.start();
  const second = await deployment.start({ follows: first.predecessor() });
  const wallet = first.wallet();
  wallet.moveTo(second);
  predecessor = first.boot;
  const copy = fresh('log');
  mkdirSync(copy);
  writeFiles(copy, filesOf(deployment.serve()));
  const file = fileOf([leaseOf({ freezes: [], wallets: [{ wallet: wallet.address, version: 0n }] })]);
  const options = ['--log', copy, ...trustOptions(folder.path, deployment)];
  expect(await sign(file, alice, ...options)).toMatchObject({
    ok: false,
    error: { code: 'evidence_mismatch', path: wallet.address },
  });
  expect(existsSync(journal)).toBe(false);
});

describe('qv init operator', () => {
  test('prints the public key, which the measured configuration takes', async () => {
    expect(await qvJson('init', 'operator', '--operator-key', alice.file)).toMatchObject({
      ok: true,
      key: alice.address,
    });
    const { stdout } = await qv('init', 'operator', '--operator-key', alice.file);
    expect(stdout).toContain(alice.address);
    expect(stdout).not.toContain('PRIVATE');
  });

  test('takes nothing but an Ed25519 private key', async () => {
    for (const file of [newKey('other.pem', 'x25519').file, journal, path('nowhere')])
      expect((await qvJson('init', 'operator', '--operator-key', file)).exit).toBe(2);
  });
});
