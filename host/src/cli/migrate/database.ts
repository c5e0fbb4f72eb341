/** What a host's database has of migrated wallets: read from a copy, by SQL; the database itself is never written. */
import { createReadStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync, type SQLOutputValue } from 'node:sqlite';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt, SignedBytes } from '@quantumvault/shared/evidence/leaf.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { receiptField, signedBytesField } from '../../client/wire.ts';
import { snapshotSqlite } from '../../store/sqlite-snapshot.ts';
import { orUnwritable } from '../atomic-file.ts';

export interface StoredWallet {
  readonly owner: string;
  readonly salt: Uint8Array;
  readonly executionKey: Uint8Array;
}

/** What its owner, or the operators, were answered. */
export interface StoredReply {
  readonly certificate: SignedBytes;
  readonly receipt: Receipt;
}

export interface DatabaseCopy {
  readonly path: string;
  wallet(wallet: string): StoredWallet | undefined;
  replies(wallet: string): readonly StoredReply[];
  /** Leaf 0 of a boot. */
  bootRecord(boot: string): Receipt | undefined;
  /** How many wallets have this very salt, or this very wrapped key. */
  countOf(column: 'salt' | 'execution_key', value: Uint8Array): number;
}

/** @throws QvError input_unreadable, store_unavailable, not_initialised, output_unwritable, and what `use` throws */
export async function withDatabaseCopy<T>(
  file: string,
  scratch: string,
  use: (copy: DatabaseCopy) => Promise<T>,
): Promise<T> {
  const folder = await orUnwritable(scratch, () => mkdtemp(join(scratch, 'qv-migrate-')));
  const path = join(folder, 'database');
  try {
    await snapshotSqlite(file, path);
    indexCopy(path);
    const database = new DatabaseSync(path, { readOnly: true });
    try {
      return await use(copyOf(path, database));
    } finally {
      database.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** By what is asked of every row: read from beginning to end each time, many wallets would take hours. */
function indexCopy(path: string): void {
  const database = new DatabaseSync(path);
  try {
    database.exec(`
      CREATE INDEX qv_migrate_by_salt ON wallets (salt);
      CREATE INDEX qv_migrate_by_execution_key ON wallets (execution_key);
      CREATE INDEX qv_migrate_by_wallet ON creations (wallet);
    `);
  } finally {
    database.close();
  }
}

function copyOf(path: string, database: DatabaseSync): DatabaseCopy {
  const wallets = database.prepare('SELECT owner, salt, execution_key FROM wallets WHERE wallet = ?');
  const replies = database.prepare('SELECT reply FROM creations WHERE wallet = ?');
  const records = database.prepare('SELECT leaf, signature FROM leaves WHERE boot = ? AND sequence = 0');
  const counts = {
    salt: database.prepare('SELECT count(*) AS count FROM wallets WHERE salt = ?'),
    execution_key: database.prepare('SELECT count(*) AS count FROM wallets WHERE execution_key = ?'),
  };
  return {
    path,
    wallet: (wallet) => {
      const row = wallets.get(wallet);
      return (
        row && { owner: String(row['owner']), salt: bytesOf(row['salt']), executionKey: bytesOf(row['execution_key']) }
      );
    },
    replies: (wallet) => replies.all(wallet).map(({ reply }) => readReply(String(reply))),
    bootRecord: (boot) => {
      const row = records.get(boot);
      return row && { leaf: bytesOf(row['leaf']), signature: bytesOf(row['signature']) as Receipt['signature'] };
    },
    countOf: (column, value) => Number(counts[column].get(value)?.['count']),
  };
}

function bytesOf(value: SQLOutputValue | undefined): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new QvError('row_tampered');
  return value;
}

/**
 * In front of it stands its MAC in hex, by a key that the host alone has: what is in it is signed by the enclave.
 * @throws QvError json_malformed, field_malformed, base64_malformed
 */
function readReply(stored: string): StoredReply {
  const text = stored.slice(Math.max(0, stored.indexOf('{')));
  const fields = new JsonFields(parseStrictJson(utf8(text)));
  return { certificate: signedBytesField(fields, 'certificate'), receipt: receiptField(fields, 'receipt') };
}

/**
 * Whether one of these is anywhere in a file, whatever it belongs to.
 * @throws QvError input_unreadable
 */
export async function occursIn(path: string, patterns: readonly Buffer[]): Promise<boolean> {
  const longest = Math.max(...patterns.map(({ length }) => length));
  let rest = Buffer.alloc(0);
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 }) as AsyncIterable<Buffer>) {
      const bytes = Buffer.concat([rest, chunk]);
      if (patterns.some((pattern) => bytes.includes(pattern))) return true;
      // One may lie across two chunks.
      rest = bytes.subarray(Math.max(0, bytes.length - longest + 1));
    }
    return false;
  } catch (error) {
    const value = (error as NodeJS.ErrnoException).code ?? 'unreadable';
    throw new QvError('input_unreadable', { path, value }, { cause: error });
  }
}

/** Of bytes in the forms in which a database may have them. */
export function formsOf(bytes: Uint8Array): readonly Buffer[] {
  const buffer = Buffer.from(bytes);
  const hex = buffer.toString('hex');
  const base64 = buffer.toString('base64').replace(/=+$/, '');
  return [
    buffer,
    ...[hex, hex.toUpperCase(), base64, base64.replaceAll('+', '-').replaceAll('/', '_')].map((text) =>
      Buffer.from(text),
    ),
  ];
}
