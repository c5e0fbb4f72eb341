/** The statements behind what the store does with the row key, and with all that is under it. */
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { rowKeyId } from '../row-key.ts';
import { keyIdOf, textMacOf } from '../row-mac.ts';
import type { Resealed, RowKeyBlobs, SealedPage, SealedPosition, SealedQuery, SealedRecord } from './sealed.ts';
import { blob, creationRecord, replyRecord, walletRow } from './sqlite-rows.ts';
import { type Queries, signalRecord } from './sqlite-signals.ts';
import type { CreationRecord, ReplyRecord, WalletRow } from './store.ts';

/** Refuses a MAC that is not of the key that new ones have to be of. */
export type Fence = (mac: Uint8Array | string) => void;

/**
 * From the moment that a next row key is in the database, nothing more is written under the one before, by whichever
 * host: else a row could be left behind under a key that counts no more. So every statement that writes a MAC asks first,
 * in its own transaction. Without any row key there is nothing to hold it against. SQLite has one writer at a time; a
 * database with several has to keep these two rows as they are until the commit (SELECT … FOR SHARE).
 */
export function rowKeyFence({ one }: Pick<Queries, 'one'>): Fence {
  let known: { readonly blob: Uint8Array; readonly id: Uint8Array } | undefined;
  return (mac) => {
    const row = one("SELECT value FROM meta WHERE name IN ('row-key', 'row-key-next') ORDER BY name DESC LIMIT 1");
    if (row === undefined) return;
    const writing = blob(row['value']);
    if (known === undefined || !equalBytes(known.blob, writing)) known = { blob: writing, id: rowKeyId(writing) };
    const id = keyIdOf(typeof mac === 'string' ? (textMacOf(mac)?.mac ?? new Uint8Array()) : mac);
    if (id === undefined || !equalBytes(id, known.id)) throw new QvError('store_conflict', { path: 'row-key' });
  };
}

export function rowKeyOperations({ one, all, changed }: Queries, fence: Fence) {
  const meta = (name: string): Uint8Array | undefined => {
    const row = one('SELECT value FROM meta WHERE name = ?', name);
    return row === undefined ? undefined : blob(row['value']);
  };
  const put = (name: string, value: Uint8Array): void => {
    changed(
      'INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      name,
      value,
    );
  };
  const remove = (name: string): void => void changed('DELETE FROM meta WHERE name = ?', name);
  const isNow = (name: string, value: Uint8Array): boolean => {
    const now = meta(name);
    return now !== undefined && equalBytes(now, value);
  };

  return {
    getRowKeys(): RowKeyBlobs {
      // One statement, so that no commit of another process comes between.
      const found = new Map(
        all("SELECT name, value FROM meta WHERE name IN ('row-key', 'row-key-next', 'row-key-step')").map(
          ({ name, value }) => [name, blob(value)],
        ),
      );
      const [current, next, step] = ['row-key', 'row-key-next', 'row-key-step'].map((name) => found.get(name));
      return { ...(current && { current }), ...(next && { next }), ...(step && { step }) };
    },

    beginRowKey({ current, next, step }: Required<RowKeyBlobs>): boolean {
      if (!isNow('row-key', current) || meta('row-key-next') !== undefined) return false;
      put('row-key-next', next);
      put('row-key-step', step);
      return true;
    },

    finishRowKey(current: Uint8Array, next: Uint8Array): boolean {
      if (!isNow('row-key', current) || !isNow('row-key-next', next)) return false;
      put('row-key', next);
      remove('row-key-next');
      return true;
    },

    discardNextRowKey(next: Uint8Array): boolean {
      if (!isNow('row-key-next', next)) return false;
      remove('row-key-next');
      remove('row-key-step');
      return true;
    },

    findSealedOtherwise(query: SealedQuery): SealedPage {
      const rows = pageOf(all, query);
      const records = rows.map(([record]) => record).filter((record) => !isUnder(record, query.keyId));
      const last = rows.length < query.count ? undefined : rows.at(-1)?.[1];
      return { records, examined: rows.length, ...(last && { next: last }) };
    },

    replaceMacs(changes: readonly Resealed[]): number {
      return changes.filter((change) => replaceMac(changed, fence, change)).length;
    },
  };
}

type Found = readonly [record: SealedRecord, position: SealedPosition];

function pageOf(all: Queries['all'], { table, after, count }: SealedQuery): readonly Found[] {
  const [first = '', second = '', third = ''] = after ?? [];
  switch (table) {
    case 'wallets':
      return all('SELECT * FROM wallets WHERE wallet > ? ORDER BY wallet LIMIT ?', first, count).map((row) => {
        const record = walletRow(row) as WalletRow;
        return [{ table, record }, [record.wallet]];
      });
    case 'creations': {
      const sql = 'SELECT * FROM creations WHERE (owner, nonce) > (?, ?) ORDER BY owner, nonce LIMIT ?';
      // SQLite sorts every blob behind every text.
      return all(sql, first, second, count).map((row) => {
        const record = creationRecord(row) as CreationRecord;
        return [{ table, record }, [record.owner, record.nonce]];
      });
    }
    case 'signals': {
      const sql = 'SELECT * FROM signals WHERE (source, id) > (?, ?) ORDER BY source, id LIMIT ?';
      return all(sql, first, second, count).map((row) => {
        const record = signalRecord(row);
        return [{ table, record }, [record.source, record.id]];
      });
    }
    case 'replies': {
      const sql = `SELECT * FROM replies WHERE (wallet, requester, id) > (?, ?, ?)
                   ORDER BY wallet, requester, id LIMIT ?`;
      return all(sql, first, second, third, count).map((row) => {
        const record = replyRecord(row) as ReplyRecord;
        return [{ table, record }, [record.wallet, record.requester, record.id]];
      });
    }
  }
}

function isUnder(sealed: SealedRecord, keyId: Uint8Array): boolean {
  const mac = macOf(sealed);
  const id = keyIdOf(typeof mac === 'string' ? (textMacOf(mac)?.mac ?? new Uint8Array()) : mac);
  return id !== undefined && equalBytes(id, keyId);
}

/** As it is stored: of replies in front of their text. */
function macOf({ table, record }: SealedRecord): Uint8Array | string {
  if (table === 'wallets') return record.rowMac;
  return table === 'signals' ? record.mac : record.reply;
}

/** The MAC covers the whole record, so that whoever changed anything of it since it was read has changed the MAC. */
function replaceMac(changed: Queries['changed'], fence: Fence, { from, to }: Resealed): boolean {
  const [old, mac] = [macOf(from), macOf(to)];
  fence(mac);
  switch (from.table) {
    case 'wallets':
      return changed('UPDATE wallets SET row_mac = ? WHERE wallet = ? AND row_mac = ?', mac, from.record.wallet, old);
    case 'creations': {
      const { owner, nonce } = from.record;
      const sql = 'UPDATE creations SET reply = ? WHERE owner = ? AND nonce = ? AND reply = ?';
      return changed(sql, mac, owner, nonce, old);
    }
    case 'signals': {
      const { source, id } = from.record;
      return changed('UPDATE signals SET mac = ? WHERE source = ? AND id = ? AND mac = ?', mac, source, id, old);
    }
    case 'replies': {
      const { wallet, requester, id } = from.record;
      const sql = 'UPDATE replies SET reply = ? WHERE wallet = ? AND requester = ? AND id = ? AND reply = ?';
      return changed(sql, mac, wallet, requester, id, old);
    }
  }
}
