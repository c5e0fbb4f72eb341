/** The statements behind what the store does with signals; see sqlite-operations.ts. */
import type { SQLInputValue } from 'node:sqlite';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import type { Fence } from './sqlite-row-keys.ts';
import type { Row } from './sqlite-rows.ts';
import type { SignalInsert, SignalOutcome, SignalRecord } from './store.ts';

export interface Queries {
  readonly one: (sql: string, ...values: SQLInputValue[]) => Row | undefined;
  readonly all: (sql: string, ...values: SQLInputValue[]) => Row[];
  readonly changed: (sql: string, ...values: SQLInputValue[]) => boolean;
}

export function signalOperations({ one, all, changed }: Queries, fence: Fence) {
  return {
    putSignal({ signal, sameBodySince, limit }: SignalInsert): SignalOutcome {
      const { source, id, at, receivedAt, expiresAt, body, bodyHash, signature, mac } = signal;
      fence(mac);
      const sameBody =
        sameBodySince === undefined
          ? undefined
          : one(
              `SELECT * FROM signals WHERE source = ? AND body_hash = ? AND received_at > ? AND expires_at > ?
               ORDER BY received_at LIMIT 1`,
              source,
              bodyHash,
              sameBodySince,
              receivedAt,
            );
      const kept =
        sameBody ?? one('SELECT * FROM signals WHERE source = ? AND id = ? AND expires_at > ?', source, id, receivedAt);
      if (kept !== undefined) {
        const record = signalRecord(kept);
        return equalBytes(record.bodyHash, bodyHash) ? { outcome: 'duplicate', kept: record } : { outcome: 'conflict' };
      }
      // No further than the limit: this is on the path of every webhook.
      const count = one(
        'SELECT count(*) AS kept FROM (SELECT 1 FROM signals WHERE source = ? AND expires_at > ? LIMIT ?)',
        source,
        receivedAt,
        limit,
      );
      if (Number(count?.['kept']) >= limit) return { outcome: 'full' };
      changed(
        `INSERT INTO signals (source, id, at, received_at, expires_at, body, body_hash, signature, mac)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
         ON CONFLICT (source, id) DO UPDATE SET at = excluded.at, received_at = excluded.received_at,
           expires_at = excluded.expires_at, body = excluded.body, body_hash = excluded.body_hash,
           signature = excluded.signature, mac = excluded.mac`,
        source,
        id,
        at,
        receivedAt,
        expiresAt,
        body,
        bodyHash,
        signature ?? null,
        mac,
      );
      return { outcome: 'stored' };
    },

    findSignals: (id: string, sources: readonly string[], now: TimeMs): readonly SignalRecord[] =>
      all(
        `SELECT * FROM signals WHERE source IN (SELECT value FROM json_each(?)) AND id = ? AND expires_at > ?
         ORDER BY source LIMIT 2`,
        JSON.stringify(sources),
        id,
        now,
      ).map(signalRecord),

    deleteExpiredSignals(now: TimeMs): void {
      changed(
        `DELETE FROM signals WHERE (source, id) IN
           (SELECT source, id FROM signals WHERE expires_at <= ? ORDER BY expires_at LIMIT 1000)`,
        now,
      );
    },
  };
}

// STRICT tables hold what their columns declare. Who edited them is for the MAC to find out.
export function signalRecord(row: Row): SignalRecord {
  return {
    source: row['source'],
    id: row['id'],
    at: Number(row['at']),
    receivedAt: Number(row['received_at']),
    expiresAt: Number(row['expires_at']),
    body: row['body'],
    bodyHash: row['body_hash'],
    ...(row['signature'] !== null && { signature: row['signature'] }),
    mac: row['mac'],
  } as unknown as SignalRecord;
}
