/** The row key as hosts follow it from one to the next: several of them on one database, and somebody who edits it. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EnclaveRefusal } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { RetiredRowKeys } from '@quantumvault/host/retired-row-keys.ts';
import { RowKey, sealStep } from '@quantumvault/host/row-key.ts';
import { RowKeys, type RowKeysDeps } from '@quantumvault/host/row-keys.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { temporaryFolder } from '../support/temporary.ts';

import { bytes, insert, key, NOW, row, signed } from './store-fixtures.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let store: Store;
let blobs = 0;
const hosts: RowKeys[] = [];
const FIRST = bytes(100, 3);
const wallet = key(1);

/** What an enclave unwraps: another deployment's blobs begin with 99, and do not open. */
const keyOf = (blob: Uint8Array) => new RowKey(Uint8Array.from(sha256(blob)), blob);

beforeEach(async () => {
  folder = await temporaryFolder();
  store = await openSqliteStore({ path: join(folder.path, 'host.db'), log: silentLog });
  await store.createMeta('row-key', FIRST);
  blobs = 3;
});
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
  await store.close();
  await folder.remove();
});

interface Host {
  readonly keys: RowKeys;
  readonly asked: Uint8Array[];
  refuses: ErrorCode | undefined;
}

const retiredFile = (name: string): string => join(folder.path, name);

function host(name = 'retired', change: Partial<RowKeysDeps> = {}): Host {
  const asked: Uint8Array[] = [];
  const request = async (kind: string, body: { blob: Uint8Array }) => {
    if (kind === 'rowKeyCreate') return { blob: bytes(100, ++blobs) };
    asked.push(body.blob);
    const code = body.blob[0] === 99 ? 'key_blob_invalid' : made.refuses;
    if (code !== undefined) throw new EnclaveRefusal({ code });
    return { rowKey: Uint8Array.from(sha256(body.blob)) };
  };
  const keys = new RowKeys({
    store,
    enclave: { request } as never,
    phase: () => 'serving',
    retired: new RetiredRowKeys(retiredFile(name), silentLog),
    log: silentLog,
    now: () => NOW,
    ...change,
  });
  hosts.push(keys);
  const made: Host = { keys, asked, refuses: undefined };
  return made;
}

function sql(text: string, ...values: (string | Uint8Array)[]): void {
  const database = new DatabaseSync(join(folder.path, 'host.db'), { timeout: 2_000 });
  database.prepare(text).run(...values);
  database.close();
}
const setMeta = (name: string, value: Uint8Array): void =>
  sql('INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value', name, value);

async function put(at: Host, address: Address = wallet, nonce = 1): Promise<void> {
  await at.keys.writing(async () => {
    const mac = at.keys.require();
    const { row: plain, creation, leaf } = insert(address, nonce, nonce);
    await store.insertWallet({ row: mac.seal(plain), creation: mac.sealCreation(creation), leaf });
  });
}

async function write(at: Host, version: number): Promise<void> {
  await at.keys.writing(async () => {
    const mac = at.keys.require();
    const update = signed(wallet, version, version + 100);
    const { sealedState, stateVersion } = update;
    const { rowMac } = mac.seal({ ...row(wallet), sealedState, stateVersion });
    await store.applySigned({ ...update, rowMac, reply: mac.sealReply(update.reply) });
  });
}

const read = (at: Host, address: Address = wallet) =>
  at.keys.reading(async () => {
    const found = await store.getWallet(address);
    return found && at.keys.require().verify(found);
  });

/** What a rotation does with the only wallet. */
async function resealWallet(at: Host): Promise<void> {
  const found = await store.getWallet(wallet);
  if (found === undefined) throw new Error('no row');
  const mac = at.keys.require();
  const to = { table: 'wallets', record: mac.seal(mac.verify(found)) } as const;
  expect(await store.replaceMacs([{ from: { table: 'wallets', record: found }, to }])).toBe(1);
}

describe('the row key of a host', () => {
  it('is unwrapped once, and why there is none is said', async () => {
    const one = host();
    await expectCode(() => one.keys.require(), 'enclave_unavailable');
    one.refuses = 'kms_unavailable';
    await expectCode(one.keys.look(), 'kms_unavailable');
    await expectCode(() => one.keys.require(), 'kms_unavailable');
    // Not asked again at once, for each refusal is a leaf; new credentials are a reason to.
    await expectCode(one.keys.look(), 'kms_unavailable');
    expect(one.asked).toHaveLength(1);
    one.refuses = undefined;
    one.keys.hurry();
    await one.keys.look();
    await one.keys.look();
    expect([one.keys.has, one.keys.fault, one.asked.length]).toEqual([true, undefined, 2]);
    sql("DELETE FROM meta WHERE name = 'row-key'");
    const two = host();
    await two.keys.look();
    await expectCode(() => two.keys.require(), 'not_initialised');
    await expectCode(one.keys.look(), 'row_tampered');
    // Who has it goes on with it.
    expect(one.keys.has).toBe(true);
  });

  it('is not asked for while the enclave does not serve', async () => {
    const one = host('retired', { phase: () => 'ready' });
    await expectCode(one.keys.look(), 'enclave_not_ready');
    await expectCode(host('retired', { phase: () => undefined }).keys.look(), 'enclave_unavailable');
    expect(one.asked).toEqual([]);
  });
});

describe('from one row key to the next', () => {
  it('takes rows under both, writes under the next alone, and ends with that one', async () => {
    const one = host();
    await one.keys.look();
    await put(one);
    const before = one.keys.newest?.id ?? bytes(1, 0);
    expect(await one.keys.begin()).toBe(true);
    expect(await one.keys.begin()).toBe(false);
    expect(one.keys.replaced).toEqual(before);
    expect(one.keys.newest?.since).toBe(NOW);
    expect(await read(one)).toMatchObject({ wallet });
    await write(one, 2);
    expect(await read(one)).toMatchObject({ stateVersion: 2n });
    expect(await one.keys.finish()).toBe(true);
    expect(await one.keys.finish()).toBe(false);
    expect([one.keys.replaced, toHex(one.keys.newest?.id ?? before) === toHex(before)]).toEqual([undefined, false]);
    expect(await read(one)).toMatchObject({ stateVersion: 2n });
    expect(await store.getRowKeys()).toMatchObject({ current: bytes(100, 4) });
    expect(readFileSync(retiredFile('retired'), 'utf8')).toBe(`${toHex(sha256(FIRST))}\n`);
  });

  it('is heard of by a host that read, or wrote, with the one before', async () => {
    const [one, reader, writer] = [host('a'), host('b'), host('c')];
    for (const { keys } of [one, reader, writer]) await keys.look();
    await put(one);
    await one.keys.begin();
    await write(one, 2);
    expect(await read(reader)).toMatchObject({ stateVersion: 2n });
    await write(writer, 3);
    expect(await read(one)).toMatchObject({ stateVersion: 3n });
    expect([reader.asked.length, writer.asked.length]).toEqual([2, 2]);
    expect(reader.keys.replaced).toEqual(one.keys.replaced);
  });

  it('is heard of by a host that missed all of it, however much of it', async () => {
    const [one, reader, writer, late] = [host('a'), host('b'), host('c'), host('d')];
    for (const { keys } of [one, reader, writer]) await keys.look();
    await put(one);
    await one.keys.begin();
    await resealWallet(one);
    await one.keys.finish();
    expect(await read(reader)).toMatchObject({ wallet });
    await write(writer, 2);
    await late.keys.look();
    for (const name of ['a', 'b', 'c', 'd'])
      expect(readFileSync(retiredFile(name), 'utf8')).toContain(toHex(sha256(FIRST)));
    // Under way when it missed the rest, which was the end of that one and a whole other one.
    await one.keys.begin();
    await reader.keys.look();
    await resealWallet(one);
    await one.keys.finish();
    await one.keys.begin();
    await resealWallet(one);
    await one.keys.finish();
    expect(await read(reader)).toMatchObject({ stateVersion: 2n });
    await write(reader, 3);
    expect(readFileSync(retiredFile('b'), 'utf8').trim().split('\n')).toHaveLength(3);
  });

  it('lets nobody write under the one before, whoever has not heard of it and cannot', async () => {
    const [one, other] = [host('a'), host('b')];
    for (const { keys } of [one, other]) await keys.look();
    await put(one);
    await one.keys.begin();
    other.refuses = 'kms_unavailable';
    // Passing: what was decided waits, and is not lost.
    await expectCode(write(other, 2), 'store_unavailable');
    await expectCode(put(other, key(11), 2), 'store_unavailable');
    expect(await read(other)).toMatchObject({ stateVersion: 1n });
    other.refuses = undefined;
    other.keys.hurry();
    await write(other, 2);
    expect(await read(one)).toMatchObject({ stateVersion: 2n });
  });

  it('goes on where it was after a restart, and a host that starts in the middle has both or none', async () => {
    const one = host();
    await one.keys.look();
    await put(one);
    await one.keys.begin();
    await put(one, key(11), 2);
    const again = host();
    again.refuses = 'kms_unavailable';
    await expectCode(again.keys.look(), 'kms_unavailable');
    expect(again.keys.has).toBe(false);
    again.refuses = undefined;
    again.keys.hurry();
    await again.keys.look();
    for (const address of [wallet, key(11)]) expect(await read(again, address)).toMatchObject({ wallet: address });
  });

  it('begins once, whoever begins', async () => {
    const [one, other] = [host('a'), host('b')];
    for (const { keys } of [one, other]) await keys.look();
    const begun = await Promise.all([one.keys.begin(), other.keys.begin(), one.keys.begin()]);
    expect(begun.filter((isMine) => isMine)).toHaveLength(1);
    await Promise.all([one.keys.look(), other.keys.look()]);
    expect(one.keys.newest).toEqual(other.keys.newest);
    expect(await one.keys.finish()).toBe(true);
    expect(await other.keys.finish()).toBe(false);
    expect(other.keys.replaced).toBeUndefined();
  });

  it('stops nobody when the next key does not open for who makes it', async () => {
    const one = host();
    await one.keys.look();
    one.refuses = 'kms_refused';
    await expectCode(one.keys.begin(), 'kms_refused');
    expect((await store.getRowKeys()).next).toBeUndefined();
    await put(one);
  });
});

describe('whoever has the database alone', () => {
  async function attacked(): Promise<Host> {
    const one = host();
    await one.keys.look();
    await put(one);
    return one;
  }

  it.each([
    ['of another deployment', bytes(100, 99), undefined],
    ['that opens, without a step', bytes(100, 50), undefined],
    ['that opens, with a step of his own', bytes(100, 50), sealStep(keyOf(bytes(9, 9)), keyOf(bytes(100, 50)), NOW)],
    ['that is itself', FIRST, sealStep(keyOf(bytes(100, 2)), keyOf(FIRST), NOW)],
  ])('has no next key taken that is one %s', async (_, next, step) => {
    const one = await attacked();
    setMeta('row-key-next', next);
    if (step !== undefined) setMeta('row-key-step', step);
    await one.keys.look();
    expect((await store.getRowKeys()).next).toBeUndefined();
    expect([one.keys.replaced, one.asked.length]).toEqual([undefined, 1]);
    await write(one, 2);
  });

  it('has no key taken in the place of the one that a host has', async () => {
    const one = await attacked();
    for (const planted of [bytes(100, 99), bytes(100, 50)]) {
      setMeta('row-key', planted);
      setMeta('row-key-step', sealStep(keyOf(bytes(9, 9)), keyOf(planted), NOW));
      await expectCode(one.keys.look(), 'row_tampered');
      await expectCode(write(one, 2), 'store_unavailable');
      expect(await read(one)).toMatchObject({ stateVersion: 1n });
    }
    expect(one.asked).toHaveLength(1);
    setMeta('row-key', FIRST);
    await write(one, 2);
  });

  it('has no replaced key taken again: neither now, nor after a restart, nor as the next one', async () => {
    const one = await attacked();
    await one.keys.begin();
    await resealWallet(one);
    const under = await store.getWallet(wallet);
    await one.keys.finish();
    const now = (await store.getRowKeys()).current ?? FIRST;
    setMeta('row-key', FIRST);
    await expectCode(one.keys.look(), 'row_tampered');
    const restarted = host();
    await expectCode(restarted.keys.look(), 'row_key_retired');
    await expectCode(() => restarted.keys.require(), 'row_key_retired');
    // A key that leaked long ago, named by one that leaked later: who has both still has none that counts.
    setMeta('row-key', now);
    setMeta('row-key-next', FIRST);
    setMeta('row-key-step', sealStep(keyOf(now), keyOf(FIRST), NOW));
    await one.keys.look();
    expect((await store.getRowKeys()).next).toBeUndefined();
    expect(under && one.keys.require().verify(under)).toBeDefined();
  });

  it('that exchanges the next key while no host runs, gets neither it nor the end of it', async () => {
    const one = await attacked();
    await one.keys.begin();
    await write(one, 2);
    const { next = FIRST } = await store.getRowKeys();
    setMeta('row-key-next', bytes(100, 50));
    const restarted = host();
    await expectCode(restarted.keys.look(), 'row_tampered');
    expect([restarted.keys.has, restarted.asked.length]).toEqual([false, 1]);
    expect((await store.getRowKeys()).next).toEqual(bytes(100, 50));
    setMeta('row-key-next', next);
    await restarted.keys.look();
    expect(await read(restarted)).toMatchObject({ stateVersion: 2n });
  });

  it('cannot take the next key away, or exchange it, once rows are under it', async () => {
    const one = await attacked();
    await one.keys.begin();
    await write(one, 2);
    const { next } = await store.getRowKeys();
    sql("DELETE FROM meta WHERE name <> 'row-key'");
    await one.keys.look();
    expect((await store.getRowKeys()).next).toEqual(next);
    setMeta('row-key-next', bytes(100, 50));
    await expectCode(one.keys.look(), 'row_tampered');
    expect(await read(one)).toMatchObject({ stateVersion: 2n });
    setMeta('row-key-next', next ?? FIRST);
    await write(one, 3);
    expect(await one.keys.finish()).toBe(true);
  });
});

describe('the file of replaced keys', () => {
  it('is not there until one is, and one that cannot be read stops the host', async () => {
    const path = retiredFile('x');
    const retired = new RetiredRowKeys(path, silentLog);
    expect([existsSync(path), retired.has(FIRST)]).toEqual([false, false]);
    retired.add(sha256(FIRST));
    retired.add(sha256(FIRST));
    expect(retired.has(FIRST)).toBe(true);
    expect(new RetiredRowKeys(path, silentLog).has(FIRST)).toBe(true);
    for (const text of ['0'.repeat(63), `${'0'.repeat(64)} `, 'x'.repeat(2 ** 21)]) {
      writeFileSync(path, text);
      await expectCode(() => new RetiredRowKeys(path, silentLog), 'config_invalid');
    }
    await expectCode(() => new RetiredRowKeys(folder.path, silentLog), 'config_invalid');
  });

  it('is read however often keys were replaced', () => {
    const path = retiredFile('often');
    const lines = Array.from({ length: 20_000 }, (_, number) => number.toString(16).padStart(64, '0'));
    writeFileSync(path, `${lines.join('\n')}\n${Buffer.from(sha256(FIRST)).toString('hex')}\n`);
    expect(new RetiredRowKeys(path, silentLog).has(FIRST)).toBe(true);
  });

  it('on a disk that has room for half a line is as it was, and the host starts', () => {
    const path = retiredFile('full');
    const lines = Array.from({ length: 15 }, (_, number) => `${String(number).padStart(64, '0')}\n`).join('');
    writeFileSync(path, lines);
    const code = `
      const { RetiredRowKeys } = await import(${JSON.stringify(import.meta.resolve('@quantumvault/host/retired-row-keys.ts'))});
      const told = [];
      const retired = new RetiredRowKeys(process.argv[1], { error: ({ reason }) => told.push(reason) });
      retired.add(new Uint8Array(32).fill(7));
      console.log(JSON.stringify(told));`;
    // 1,024 bytes, of which 975 are taken.
    const limited = ['-c', 'ulimit -f 2 && exec "$0" "$@"', process.execPath, '--input-type=module', '-e', code, path];
    expect(JSON.parse(execFileSync('sh', limited, { encoding: 'utf8' }))).toEqual(['ENOSPC']);
    expect(readFileSync(path, 'utf8')).toBe(lines);
    expect(new RetiredRowKeys(path, silentLog).has(FIRST)).toBe(false);
  });

  it('that cannot be written is not forgotten by the process', () => {
    const retired = new RetiredRowKeys(join(folder.path, 'nowhere', 'file'), silentLog);
    retired.add(sha256(FIRST));
    expect(retired.has(FIRST)).toBe(true);
  });
});
