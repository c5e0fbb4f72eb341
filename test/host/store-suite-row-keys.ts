/** What every Store has to do for a row key that is replaced by another; part of storeSuite. */
import { RowKey } from '@quantumvault/host/row-key.ts';
import type { RowMac } from '@quantumvault/host/row-mac.ts';
import { type OperationName, WRITES } from '@quantumvault/host/store/operation-kinds.ts';
import {
  SEALED_TABLES,
  type SealedPosition,
  type SealedRecord,
  type SealedTable,
} from '@quantumvault/host/store/sealed.ts';
import type { Store, WalletRow } from '@quantumvault/host/store/store.ts';
import type { Address } from '@quantumvault/shared/brands.ts';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { rowMacOf } from '../support/row-keys.ts';
import { BOOT, bytes, insert, key, leaf, NOW, row, signal, signed } from './store-fixtures.ts';

/** @param open the store that the test at hand has opened, with a row of `key(1)` */
export function rowKeySuite(open: () => Store): void {
  const wallet = key(1);

  it('puts a next row key beside the row key, and then in its place, if both are as they were', async () => {
    const [first, second, third, step] = [bytes(100, 1), bytes(100, 2), bytes(100, 3), bytes(100, 4)] as const;
    expect(await open().getRowKeys()).toEqual({});
    const begin = (current: Uint8Array, next = bytes(100, 2)) => open().beginRowKey({ current, next, step });
    expect(await begin(first)).toBe(false);
    await open().createMeta('row-key', first);
    expect(await begin(third)).toBe(false);
    expect(await begin(first)).toBe(true);
    expect(await begin(first, third)).toBe(false);
    expect(await open().getRowKeys()).toEqual({ current: first, next: second, step });
    expect(await open().finishRowKey(first, third)).toBe(false);
    expect(await open().finishRowKey(third, second)).toBe(false);
    expect(await open().discardNextRowKey(third)).toBe(false);
    expect(await open().finishRowKey(first, second)).toBe(true);
    expect(await open().finishRowKey(first, second)).toBe(false);
    expect(await open().getRowKeys()).toEqual({ current: second, step });
    expect(await begin(second, third)).toBe(true);
    expect(await open().discardNextRowKey(third)).toBe(true);
    expect(await open().getRowKeys()).toEqual({ current: second });
  });

  describe('with a row key', () => {
    const [old, next] = [bytes(100, 1), bytes(100, 2)].map((blob) => rowMacOf(bytes(32, blob[0] ?? 0), blob)) as [
      RowMac,
      RowMac,
    ];
    const { rowMac: _rowMac, ...plain } = row(wallet);
    const { mac: _mac, ...unsealed } = signal('s');
    /** Every operation that writes a MAC, under the key that is given. A new one is a line here. */
    const writes: { readonly [N in OperationName]?: (mac: RowMac, round: number) => Promise<unknown> } = {
      insertWallet: (mac, round) => {
        const { row: fresh, creation, leaf: record } = insert(key(20 + round), 20 + round, 20 + round);
        return open().insertWallet({ row: mac.seal(fresh), creation: mac.sealCreation(creation), leaf: record });
      },
      applySigned: (mac, round) => {
        const { reply: _reply, ...update } = signed(wallet, 30 + round);
        return open().applySigned({ ...update, rowMac: mac.seal({ ...plain, ...update }).rowMac });
      },
      enablePolicy: (mac, round) =>
        open().enablePolicy({ from: row(wallet), to: mac.seal(plain), leaf: leaf(40 + round) }),
      retireWallet: (mac, round) =>
        open().retireWallet({ from: row(wallet), to: mac.seal(plain), leaf: leaf(50 + round) }),
      replaceWalletKeys: (mac, round) =>
        open().replaceWalletKeys({ from: row(wallet), to: mac.seal(plain), leaves: [leaf(80 + round)] }),
      putLeaves: (mac, round) => open().putLeaves([leaf(60 + round)], mac.sealReply(signed(wallet, 70 + round).reply)),
      putSignal: (mac, round) =>
        open().putSignal({ signal: mac.sealSignal({ ...unsealed, id: `s-${round}` }), limit: 9 }),
      replaceMacs: (mac) => {
        const to = { table: 'signals', record: mac.sealSignal(unsealed) } as const;
        return open().replaceMacs([{ from: { table: 'signals', record: signal('s') }, to }]);
      },
    };
    /** Those that write none. */
    const others =
      /^(?:put(?:Tiles|Policy|PanicCode)|publishLog|deleteExpired\w+|createMeta|\w+Freeze|useTotpStep|\w+RowKey)$/;

    it.each(Object.keys(writes) as OperationName[])('%s is refused under another one', async (name) => {
      const write = writes[name];
      if (write === undefined) throw new Error(name);
      await open().createMeta('row-key', bytes(100, 1));
      const refusedUnder = async (mac: RowMac, round: number) => {
        await expectCode(write(mac, round), 'store_conflict');
        await expect(write(mac, round)).rejects.toMatchObject({ facts: { path: 'row-key' } });
      };
      await refusedUnder(next, 1);
      await write(old, 2);
      await open().beginRowKey({ current: bytes(100, 1), next: bytes(100, 2), step: bytes(100, 3) });
      await refusedUnder(old, 3);
      await write(next, 4);
      await open().finishRowKey(bytes(100, 1), bytes(100, 2));
      await refusedUnder(old, 5);
      await write(next, 6);
      // Nothing of what was refused is there.
      for (const round of [1, 3, 5]) {
        expect(await open().getWallet(key(20 + round))).toBeUndefined();
        for (const tens of [20, 30, 60])
          expect(await open().getLeaves(BOOT, BigInt(tens + round), 1)).not.toContainEqual(leaf(tens + round));
        expect(await open().findSignals(`s-${round}`, ['alpha'], NOW)).toEqual([]);
      }
    });

    it('no operation that writes is forgotten here', () => {
      const unknown = [...WRITES].filter((name) => !(name in writes) && !others.test(name));
      expect(unknown).toEqual([]);
    });

    it('finds page by page what is not under a key, and puts other MACs if a record is as it was read', async () => {
      const wallets = [11, 12, 13].map((value) => key(value)).sort();
      const put = async (address: Address, at: number) => {
        const fresh = insert(address, at, at);
        await open().insertWallet({ ...fresh, row: old.seal(fresh.row), creation: old.sealCreation(fresh.creation) });
        await open().putLeaves([], old.sealReply(signed(address, 1, 1, `id-${at}`).reply));
        await open().putSignal({ signal: old.sealSignal({ ...unsealed, id: `s-${at}` }), limit: 9 });
      };
      for (const [at, address] of wallets.entries()) await put(address, at + 2);
      const { id } = new RowKey(bytes(32, 1), bytes(100, 2));
      const all = async (table: SealedTable, keyId: Uint8Array, count: number) => {
        const found: SealedRecord[] = [];
        let examined = 0;
        for (let after: SealedPosition | undefined; ; ) {
          const page = await open().findSealedOtherwise({ table, keyId, count, ...(after && { after }) });
          found.push(...page.records);
          examined += page.examined;
          after = page.next;
          if (after === undefined) return { found, examined };
        }
      };
      // The suite's own wallet has a row and a creation.
      const counts = { wallets: 4, creations: 4, signals: 3, replies: 3 };
      for (const table of SEALED_TABLES)
        for (const count of [1, 2, 3, 4, 9]) {
          const { found, examined } = await all(table, id, count);
          expect([table, found.length, examined]).toEqual([table, counts[table], counts[table]]);
        }
      for (const table of SEALED_TABLES) {
        const { found } = await all(table, id, 2);
        const resealed = found
          .map((from) => ({ from, to: resealedWith(next, old, from) }))
          .filter(({ to }) => to !== undefined);
        const changes = resealed as { from: SealedRecord; to: SealedRecord }[];
        expect(changes).toHaveLength(3);
        expect(await open().replaceMacs(changes)).toBe(3);
        // As they are no more.
        expect(await open().replaceMacs(changes)).toBe(0);
        expect((await all(table, id, 2)).found).toHaveLength(counts[table] - 3);
      }
      for (const address of wallets) next.verify((await open().getWallet(address)) as WalletRow);
    });
  });
}

/** Undefined of what is not under `old`. */
function resealedWith(next: RowMac, old: RowMac, { table, record }: SealedRecord): SealedRecord | undefined {
  try {
    switch (table) {
      case 'wallets':
        return { table, record: next.seal(old.verify(record)) };
      case 'creations':
        return { table, record: next.sealCreation(old.openCreation(record)) };
      case 'signals':
        return { table, record: next.sealSignal(old.verifySignal(record)) };
      case 'replies':
        return { table, record: next.sealReply(old.openReply(record)) };
    }
  } catch {
    return undefined;
  }
}
