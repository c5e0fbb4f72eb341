/** qv release apply and take against a host whose enclave is a fake: files that go on, and what they refuse. */
import { readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { type Address, type BootId, type Signature, timeMs } from '@quantumvault/shared/brands.ts';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { type ReleaseOrder, releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { party } from '../../support/wallet-kit.ts';
import { Harness } from '../harness.ts';
import { qv, qvJson } from './call.ts';

let harness: Harness;
let wallets: Address[];
let order: ReleaseOrder;
let orderFile: string;
/** Those for which the fake enclave has no release. */
let refused: Map<string, 'wallet_unknown' | 'kms_unavailable'>;
let askedFor: string[];

const boot = (): BootId => party().address as string as BootId;
const path = (name: string): string => harness.path(name);
const apply = (file = orderFile, out = 'releases') =>
  qvJson('release', 'apply', file, '--admin', path('admin.sock'), '--out', path(out));
const take = () => qvJson('release', 'take', path('releases'), '--admin', path('admin.sock'));
const lines = () => readFileSync(path('releases'), 'utf8').trimEnd().split('\n');

function fileOf(name: string, change: Partial<ReleaseOrder> = {}): string {
  const bytes = toBase64(encodeAs(releaseOrderCodec, { ...order, ...change }));
  const signatures = [{ key: party().address, signature: toBase64(new Uint8Array(64)) }];
  writeFileSync(path(name), JSON.stringify({ format: 'qv/release-order-file/v1', order: { bytes, signatures } }));
  return path(name);
}

beforeEach(async () => {
  harness = await new Harness().start();
  wallets = [];
  for (let count = 0; count < 3; count++) wallets.push(await harness.createWallet());
  wallets.sort();
  order = { deployment: 'test', predecessor: boot(), successor: boot(), notAfter: timeMs(2e12) };
  orderFile = fileOf('order.json');
  refused = new Map();
  askedFor = [];
  harness.enclave.handlers.release = ({ wallet }) => {
    askedFor.push(wallet);
    const code = refused.get(wallet);
    if (code !== undefined) throw new QvError(code);
    return {
      release: { bytes: new Uint8Array(9), signature: new Uint8Array(64) as Signature },
      state: { blob: new Uint8Array(90), version: 2n },
      receipt: harness.enclave.leaf({ kind: 'release', wallet, stateVersion: 2n, successor: order.successor }),
    };
  };
});
afterEach(() => harness.stop());

describe('qv release apply', () => {
  test('writes a line for every wallet of the host, readable by its owner alone, and goes on where it ended', async () => {
    refused.set(wallets[0] ?? '', 'wallet_unknown').set(wallets[1] ?? '', 'kms_unavailable');
    expect(await apply()).toMatchObject({
      ok: false,
      exit: 1,
      released: 1,
      elsewhere: 1,
      failures: [{ code: 'kms_unavailable' }],
    });
    expect(lines()).toHaveLength(2);
    expect(statSync(path('releases')).mode & 0o777).toBe(0o600);
    refused.clear();
    askedFor.length = 0;
    expect(await apply()).toMatchObject({ ok: true, released: 2, before: 1, published: true });
    expect(askedFor.sort()).toEqual(wallets.slice(0, 2));
    expect(
      lines()
        .slice(1)
        .map((line) => JSON.parse(line).wallet)
        .sort(),
    ).toEqual(wallets);
    const { exit, stdout } = await qv(
      'release',
      'apply',
      orderFile,
      '--admin',
      path('admin.sock'),
      '--out',
      path('releases'),
    );
    expect([exit, stdout]).toEqual([0, expect.stringContaining('0 released, 3 released before, 0 not held here')]);
  });

  test('of an order that names wallets asks for those, and misses none of them silently', async () => {
    const [first = '' as Address] = wallets;
    refused.set(first, 'wallet_unknown');
    const named = fileOf('named.json', { wallets: [first] });
    expect(await apply(named)).toMatchObject({
      ok: false,
      released: 0,
      failures: [{ wallet: first, code: 'wallet_unknown' }],
    });
    expect(askedFor).toEqual([first]);
  });

  describe('with --take', () => {
    let successor: Harness;
    let taken: string[];
    let refusing: boolean;
    const applyAndTake = (file = orderFile) =>
      qvJson(
        ...['release', 'apply', file, '--admin', path('admin.sock'), '--out', path('releases')],
        ...['--take', successor.path('admin.sock')],
      );

    beforeEach(async () => {
      successor = await new Harness().start();
      // The successor's host knows the same rows.
      successor.sql((database) => {
        database.exec(`ATTACH '${harness.database}' AS other; INSERT INTO wallets SELECT * FROM other.wallets`);
      });
      order = { ...order, successor: successor.enclave.boot };
      orderFile = fileOf('order.json');
      taken = [];
      refusing = false;
      successor.enclave.handlers.take = ({ wallet }) => {
        if (refusing) throw new QvError('kms_unavailable');
        taken.push(wallet);
        return {
          state: { blob: new Uint8Array(90), version: 3n },
          receipt: successor.enclave.leaf({ kind: 'release', wallet, stateVersion: 3n }),
        };
      };
    });
    afterEach(() => successor.stop());

    test('each wallet is taken as soon as it is released', async () => {
      expect(await applyAndTake()).toMatchObject({ ok: true, released: 3, taken: 3, already: 0, published: true });
      expect(taken.sort()).toEqual(wallets);
      const { stdout } = await qv(
        ...['release', 'apply', orderFile, '--admin', path('admin.sock'), '--out', path('releases')],
        ...['--take', successor.path('admin.sock')],
      );
      expect(stdout).toContain('0 released, 3 released before, 3 taken');
    });

    test('no more are released than are taken, and the next call takes what was left first', async () => {
      // More than move at a time.
      for (let count = 0; count < 20; count++) await harness.createWallet();
      successor.sql((database) => {
        const missing = 'SELECT * FROM other.wallets WHERE wallet NOT IN (SELECT wallet FROM main.wallets)';
        database.exec(`ATTACH '${harness.database}' AS other; INSERT INTO wallets ${missing}`);
      });
      refusing = true;
      const answer = await applyAndTake();
      expect(answer).toMatchObject({ ok: false, taken: 0 });
      const failures = answer['failures'] as { code: string }[];
      expect(failures.every(({ code }) => code === 'kms_unavailable')).toBe(true);
      const released = Number(answer['released']);
      expect(released).toBe(failures.length);
      expect(released).toBeLessThan(23);
      refusing = false;
      expect(await applyAndTake()).toMatchObject({ ok: true, before: released, released: 23 - released, taken: 23 });
      expect(new Set(taken.slice(0, released))).toEqual(
        new Set(
          lines()
            .slice(1, released + 1)
            .map((line) => JSON.parse(line).wallet),
        ),
      );
    });

    test('nothing is released for a successor that is not there, or another one', async () => {
      expect(await applyAndTake(fileOf('other.json', { successor: boot() }))).toMatchObject({
        error: { code: 'succession_mismatch', path: 'successor', value: successor.enclave.boot },
      });
      await successor.enclave.close();
      await successor.restartHost();
      expect(await applyAndTake()).toMatchObject({ error: { code: 'enclave_not_ready' } });
      await successor.host.close();
      expect(await applyAndTake()).toMatchObject({ exit: 4, error: { code: 'host_unavailable' } });
      expect(askedFor).toEqual([]);
      await successor.startHost();
    });
  });

  test('adds to no file of another order, of something else, or behind a link', async () => {
    expect(await apply()).toMatchObject({ ok: true });
    const before = readFileSync(path('releases'));
    const unwritable = { ok: false, exit: 2, error: { code: 'output_unwritable' } };
    expect(await apply(fileOf('other.json', { successor: boot() }))).toMatchObject(unwritable);
    expect(readFileSync(path('releases'))).toEqual(before);
    writeFileSync(path('else'), 'something\n');
    expect(await apply(orderFile, 'else')).toMatchObject(unwritable);
    expect(readFileSync(path('else'), 'utf8')).toBe('something\n');
    symlinkSync(path('releases'), path('link'));
    expect(await apply(orderFile, 'link')).toMatchObject(unwritable);
    expect(await apply(orderFile, 'missing/releases')).toMatchObject(unwritable);
  });

  test('says when the log could not be published, and stops at a host that is gone', async () => {
    harness.enclave.handlers.checkpoint = () => {
      throw new QvError('internal');
    };
    expect(await apply()).toMatchObject({ ok: false, exit: 1, released: 3, published: false, failures: [] });
    const gone = await qvJson('release', 'apply', orderFile, '--admin', path('nobody.sock'), '--out', path('more'));
    expect(gone).toMatchObject({ ok: false, exit: 4, error: { code: 'host_unavailable' } });
  });

  test.each([
    '{}',
    '{"format":"qv/lease-file/v1"}',
    '{"format":"qv/release-order-file/v1","order":{"bytes":"AA==","signatures":[]}}',
  ])('refuses %j', async (text) => {
    writeFileSync(path('bad.json'), text);
    expect(await apply(path('bad.json'))).toMatchObject({ ok: false, exit: 2 });
    expect(askedFor).toEqual([]);
  });
});

describe('qv release take', () => {
  test('asks for each wallet of the file, and names those that fail', async () => {
    await apply();
    harness.enclave.handlers.take = ({ wallet }) => {
      if (wallet === wallets[1]) throw new QvError('state_too_old');
      return {
        state: { blob: new Uint8Array(90), version: 3n },
        receipt: harness.enclave.leaf({ kind: 'release', wallet, stateVersion: 3n }),
      };
    };
    expect(await take()).toMatchObject({
      ok: false,
      taken: 2,
      failures: [{ wallet: wallets[1], code: 'state_too_old' }],
    });
    const { exit, stdout } = await qv('release', 'take', path('releases'), '--admin', path('admin.sock'));
    expect(exit).toBe(1);
    expect(stdout).toContain('state_too_old');
  });

  test('reads no file of something else', async () => {
    for (const text of ['', 'x\n', '{"format":"qv/lease-file/v1"}\n']) {
      writeFileSync(path('releases'), text);
      expect(await take()).toMatchObject({ ok: false, exit: 2 });
    }
    expect(harness.enclave.count('take')).toBe(0);
  });
});
