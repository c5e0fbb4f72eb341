/** Orders to freeze that were left on disk while no host answered. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeMarker, parseMarker } from '@quantumvault/host/freeze-marker.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { startHost } from '@quantumvault/host/start.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { Harness, person } from './harness.ts';
import { BOOT, bytes, NOW } from './store-fixtures.ts';

let host: Harness;
beforeEach(async () => {
  host = await Harness.withWallet();
});
afterEach(() => host.stop());

const directory = () => host.path('freezes');
const marker = (name = 'order.json') => join(directory(), name);
const walletScope = () => `wallet:${host.wallet}`;
const held = async () => (await host.admin('status', {})).freezes;
const order = (scope: string) => encodeMarker({ scope, reason: 'left on disk', latchedAt: NOW });
const gone = (name?: string) => until('the order is taken', () => !existsSync(marker(name)));

describe('the directory', () => {
  it('is made at the start, for the admin socket’s group alone', () => {
    expect(statSync(directory()).mode & 0o7777).toBe(0o770);
    expect(host.config().freezeMarkers).toBe(directory());
  });

  it('that is none, or cannot be made, keeps the host from starting', async () => {
    await host.host.close();
    const deps = { transport: unixTransport, log: createLog('silent') };
    writeFileSync(host.path('file'), '');
    for (const path of [host.path('file'), host.path('file/inside')]) {
      const error = await expectCode(startHost({ ...host.config(), freezeMarkers: path }, deps), 'config_invalid');
      expect(error.facts.path).toBe('freezeMarkers');
    }
    await host.startHost();
  });
});

describe('an order on disk', () => {
  it('holds before the host listens, then in the database and the enclave; then the file goes', async () => {
    await host.host.close();
    await host.enclave.close();
    writeFileSync(marker('1'), order(walletScope()));
    writeFileSync(marker('2'), order('fleet'));
    await host.startHost();
    expect((await held()).map(({ scope, reason }) => [scope, reason])).toEqual([
      ['fleet', 'left on disk'],
      [walletScope(), 'left on disk'],
    ]);
    for (const name of ['1', '2']) await gone(name);
    expect(host.rows('freezes').map((row) => row['latched_at'])).toEqual([NOW, NOW]);
    expect(host.enclave.count('freeze')).toBe(0);
    await host.startEnclave();
    await until('the enclave holds both', () => host.enclave.freezes.size === 2);
    await until('rows can be verified', async () => (await host.admin('status', {})).rowKey);
    await expectProblem(await host.sign(), 'frozen');
    expect(host.enclave.count('sign')).toBe(0);
  });

  it('stays while the database does not take it', async () => {
    const unlock = host.lockDatabase();
    writeFileSync(marker(), order(walletScope()));
    await until('the host holds it', async () => (await held()).length === 1);
    await expectProblem(await host.sign(), 'frozen');
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(existsSync(marker())).toBe(true);
    unlock();
    await gone();
    expect(host.rows('freezes')).toHaveLength(1);
  });

  it('that an enclave has acknowledged is not given again', async () => {
    await host.host.close();
    const freezeId = host.enclave.holdFreeze(walletScope());
    const { boot } = host.enclave;
    writeFileSync(marker(), encodeMarker({ scope: walletScope(), reason: 'x', latchedAt: NOW, boot, freezeId }));
    await host.startHost();
    await gone();
    await until('host and enclave have agreed', async () => (await host.admin('status', {})).rowKey);
    expect(host.enclave.count('freeze')).toBe(0);
    expect(await held()).toMatchObject([{ scope: walletScope(), freezeId: toHex(freezeId) }]);
    const signatures = [{ key: person().address, signature: `${'A'.repeat(86)}==` }];
    await host.admin('resume', { scope: walletScope(), freezeId: toHex(freezeId), signatures });
    await host.restartHost();
    await host.ready();
    expect(await held()).toEqual([]);
  });

  it.each<[string, (path: string) => void]>([
    ['empty', (path) => writeFileSync(path, '')],
    ['garbage', (path) => writeFileSync(path, bytes(300, 7))],
    ['larger than any order', (path) => writeFileSync(path, ' '.repeat(5_000))],
    ['of another version', (path) => writeFileSync(path, '{"version":0,"scope":"fleet","reason":"","orderedAt":"x"}')],
    ['of a scope that is none', (path) => writeFileSync(path, order('wallet:x'))],
    ['with a key twice', (path) => writeFileSync(path, '{"version":1,"version":1}')],
    ['a link', (path) => symlinkSync('/etc/hostname', path)],
    ['a folder', (path) => mkdirSync(join(path, 'inside'), { recursive: true })],
    ['a pipe', (path) => execFileSync('mkfifo', [path])],
    [
      'one that was never finished',
      (path) => {
        writeFileSync(`${path}.part`, order('fleet').subarray(0, 20));
        utimesSync(`${path}.part`, 1, 1);
      },
    ],
  ])('%s counts as one for the fleet', async (_, make) => {
    await host.host.close();
    make(marker());
    await host.startHost();
    expect(await held()).toMatchObject([{ scope: 'fleet' }]);
    await until('it is taken', () => readdirSync(directory()).length === 0);
    await until('the enclave holds it', () => host.enclave.phase === 'frozen');
    expect(host.rows('freezes')).toHaveLength(1);
  });

  it('that is only just being written is let be', async () => {
    writeFileSync(marker('order.json.part'), order('fleet').subarray(0, 20));
    await new Promise((resolve) => setTimeout(resolve, 2_200));
    expect(await held()).toEqual([]);
    rmSync(marker('order.json.part'));
  });

  it('is looked for again when the directory comes back', async () => {
    rmSync(directory(), { recursive: true });
    await until('the log says so', () => host.logLines.some((line) => line.includes('the directory fails')));
    mkdirSync(directory());
    writeFileSync(marker(), order(walletScope()));
    await until('the host holds it', async () => (await held()).length === 1);
  });
});

describe('the form of an order', () => {
  const full = { scope: 'fleet', reason: 'x', latchedAt: NOW, boot: BOOT, freezeId: bytes(16, 1) };

  it('is read as it was written', () => {
    expect(parseMarker(encodeMarker(full))).toEqual(full);
    const { boot: _, freezeId: __, ...bare } = full;
    expect(parseMarker(encodeMarker(bare))).toEqual(bare);
  });

  it.each<[string, object]>([
    ['another field', { more: 1 }],
    ['no id with its boot', { freezeId: undefined }],
    ['no boot with its id', { boot: undefined }],
    ['a short id', { freezeId: '00' }],
    ['a reason that no leaf takes', { reason: 'ü' }],
    ['a long reason', { reason: 'x'.repeat(201) }],
    ['a time of another spelling', { orderedAt: '2026-01-01T00:00:00Z' }],
    ['no time', { orderedAt: 'never' }],
  ])('%s is refused', async (_, change) => {
    const json = { ...(JSON.parse(Buffer.from(encodeMarker(full)).toString()) as object), ...change };
    await expectCode(() => parseMarker(utf8(JSON.stringify(json))), 'field_malformed');
  });
});
