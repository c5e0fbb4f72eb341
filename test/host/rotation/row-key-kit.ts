/** Hosts that replace a row key: their keys, the work that they do, and a database full of what is under one. */
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EnclaveRefusal } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { RetiredRowKeys } from '@quantumvault/host/retired-row-keys.ts';
import { RowKeyRotation } from '@quantumvault/host/rotation/row-key.ts';
import { RowKeys } from '@quantumvault/host/row-keys.ts';
import type { RowMac } from '@quantumvault/host/row-mac.ts';
import { SEALED_TABLES, type SealedPosition, type SealedRecord } from '@quantumvault/host/store/sealed.ts';
import { openSqliteStore } from '@quantumvault/host/store/sqlite-store.ts';
import type { Store } from '@quantumvault/host/store/store.ts';
import { type Address, addressBytes, addressOf, timeMs } from '@quantumvault/shared/brands.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { until } from '../../support/temporary.ts';
import { bytes, insert, NOW, row, signal, signed } from '../store-fixtures.ts';

export const FIRST = bytes(100, 3);

export const walletOf = (number: number): Address => addressOf(sha256(new TextEncoder().encode(`wallet ${number}`)));

export interface RotatingHost {
  readonly keys: RowKeys;
  readonly rotation: RowKeyRotation;
  /** Wallets that it told of. */
  readonly tampered: (string | undefined)[];
  refuses: ErrorCode | undefined;
  close(): Promise<void>;
}

/** @param wrap what stands between this host and the database */
export async function rotatingHost(
  folder: string,
  store: Store,
  { name = 'host', wrap = (inner: Store): Store => inner } = {},
): Promise<RotatingHost> {
  const tampered: (string | undefined)[] = [];
  const request = async (kind: string, body: { blob: Uint8Array }) => {
    if (made.refuses !== undefined) throw new EnclaveRefusal({ code: made.refuses });
    if (kind === 'rowKeyCreate') return { blob: crypto.getRandomValues(new Uint8Array(100)) };
    return { rowKey: Uint8Array.from(sha256(body.blob)) };
  };
  const retired = new RetiredRowKeys(join(folder, `${name}.retired`), silentLog);
  const shared = { store: wrap(store), log: silentLog, now: () => NOW };
  const keys = new RowKeys({ ...shared, enclave: { request } as never, phase: () => 'serving', retired });
  const incidents = { tampered: (wallet: string | undefined) => void tampered.push(wallet) };
  const rotation = new RowKeyRotation({ ...shared, rowKeys: keys, incidents, pollMilliseconds: 5 });
  const made: RotatingHost = {
    keys,
    rotation,
    tampered,
    refuses: undefined,
    close: async () => {
      await rotation.close();
      await keys.close();
    },
  };
  await keys.look();
  return made;
}

export const openStore = (folder: string): Promise<Store> =>
  openSqliteStore({ path: join(folder, 'host.db'), log: silentLog });

/** A store with a row key, and of each table as many records under it. */
export async function filledStore(folder: string, count: number): Promise<Store> {
  const store = await openStore(folder);
  await store.createMeta('row-key', FIRST);
  const host = await rotatingHost(folder, store);
  for (let number = 0; number < count; number++) await fill(store, host.keys.require(), number);
  await host.close();
  return store;
}

/** A wallet with its creation, a reply and a signal, all of that number. */
export async function fill(store: Store, mac: RowMac, number: number): Promise<void> {
  const wallet = walletOf(number);
  const { row: plain, creation, leaf } = insert(wallet, 1, number);
  const nonce = addressBytes(wallet).slice(0, 16);
  const expiresAt = timeMs(NOW + 1e9);
  const { reply } = signed(wallet, 1);
  await Promise.all([
    store
      .insertWallet({ row: mac.seal(plain), creation: mac.sealCreation({ ...creation, nonce }), leaf })
      .then(() => store.putLeaves([], mac.sealReply({ ...reply, expiresAt }))),
    store.putSignal({ signal: mac.sealSignal(signal(`signal-${number}`, { expiresAt })), limit: 1_000_000 }),
  ]);
}

/** A newer state, as a signature brings it. */
export async function write(host: RotatingHost, store: Store, number: number, version: number): Promise<void> {
  const wallet = walletOf(number);
  await host.keys.writing(async () => {
    const found = await host.keys.reading(async () => {
      const kept = await store.getWallet(wallet);
      return kept && host.keys.require().verify(kept);
    });
    const { reply, leaves: _, ...update } = signed(wallet, version);
    const { rowMac } = host.keys.require().seal({ ...(found ?? row(wallet)), ...update });
    await store.applySigned({ ...update, rowMac, reply: host.keys.require().sealReply(reply) });
  });
}

/** Every record there is, verified under what `mac` takes; how many of each table. @throws QvError row_tampered */
export async function verifyAll(store: Store, mac: RowMac): Promise<readonly number[]> {
  const counts: number[] = [];
  for (const table of SEALED_TABLES) {
    let count = 0;
    for (let after: SealedPosition | undefined; ; ) {
      const keyId = new Uint8Array(8);
      const page = await store.findSealedOtherwise({ table, keyId, count: 100, ...(after && { after }) });
      for (const record of page.records) verify(mac, record);
      count += page.records.length;
      after = page.next;
      if (after === undefined) break;
    }
    counts.push(count);
  }
  return counts;
}

function verify(mac: RowMac, sealed: SealedRecord): void {
  if (sealed.table === 'wallets') mac.verify(sealed.record);
  if (sealed.table === 'creations') mac.openCreation(sealed.record);
  if (sealed.table === 'signals') mac.verifySignal(sealed.record);
  if (sealed.table === 'replies') mac.openReply(sealed.record);
}

export const isDone = ({ rotation }: RotatingHost): Promise<void> =>
  until('the row key is replaced', () => rotation.report.state === 'current', 30_000);

/** Somebody else on the database. */
export function sql(folder: string, text: string, ...values: (string | number | Uint8Array)[]): void {
  const database = new DatabaseSync(join(folder, 'host.db'), { timeout: 5_000 });
  database.prepare(text).run(...values);
  database.close();
}
