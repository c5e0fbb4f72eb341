/** The statements behind the history of decisions; see sqlite-operations.ts. */
import type { SQLInputValue } from 'node:sqlite';
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { leafOf } from './sqlite-rows.ts';
import type { Queries } from './sqlite-signals.ts';
import type { HistoryPage, HistoryPosition, HistoryQuery, LeafRecord } from './store.ts';

/** Behind every time that there is. */
const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * Leaves that say who may follow an owner, or would. As in the index, which a query has to repeat; SQLite by itself would
 * look at every signature of the wallet.
 */
const SUCCESSION = `kind IN ('wallet-created', 'wallet-imported', 'lease', 'successor-named', 'takeover-claimed',
  'takeover-cancelled', 'owner-changed')`;

export function historyOperations({ one, all, changed }: Queries) {
  return {
    /** Of a leaf that was just put. */
    remember({ boot, sequence, about }: LeafRecord): void {
      if (about === undefined) return;
      const { at, kind, wallet, actor } = about;
      changed(
        'INSERT INTO history (at, boot, sequence, kind, wallet, actor) VALUES (?, ?, ?, ?, ?, ?)',
        at,
        boot,
        sequence,
        kind,
        wallet ?? null,
        actor ?? null,
      );
    },

    find({ wallet, actor, kind, from, to, before, count }: HistoryQuery): HistoryPage {
      // One of them leads by its index; the others are looked at row by row, of a bounded number of rows.
      const led: [string, SQLInputValue][] =
        wallet !== undefined ? [['wallet = ?', wallet]] : actor !== undefined ? [['actor = ?', actor]] : [];
      const last = before ?? { at: to ?? NEVER, number: 0 };
      const rows = all(
        `SELECT number, at, boot, sequence, kind, actor FROM history
         WHERE ${[...led.map(([condition]) => condition), 'at >= ?', '(at, number) < (?, ?)'].join(' AND ')}
         ORDER BY at DESC, number DESC LIMIT ?`,
        ...led.map(([, value]) => value),
        from ?? 0,
        last.at,
        last.number,
        LIMITS.decisionsScanned,
      );
      const leaves: LeafRecord[] = [];
      let next: HistoryPosition | undefined;
      for (const row of rows) {
        if (leaves.length === count) break;
        next = { at: Number(row['at']) as TimeMs, number: Number(row['number']) };
        if (kind !== undefined && row['kind'] !== kind) continue;
        if (actor !== undefined && row['actor'] !== actor) continue;
        const { boot = null, sequence = null } = row;
        const leaf = one(
          'SELECT boot, sequence, leaf, signature FROM leaves WHERE boot = ? AND sequence = ?',
          boot,
          sequence,
        );
        if (leaf !== undefined) leaves.push({ ...leaf } as unknown as LeafRecord);
      }
      const seen = rows.findIndex((row) => Number(row['number']) === next?.number) + 1;
      const isLast = seen === rows.length && rows.length < LIMITS.decisionsScanned;
      return { leaves, ...(next && !isLast && { next }) };
    },

    succession(wallet: Address): LeafRecord | undefined {
      const row = one(
        `SELECT leaves.boot, leaves.sequence, leaf, signature FROM history INDEXED BY history_of_succession
         JOIN leaves USING (boot, sequence)
         WHERE history.wallet = ? AND history.${SUCCESSION} ORDER BY history.at DESC, history.number DESC LIMIT 1`,
        wallet,
      );
      return row && leafOf(row);
    },
  };
}
