/** Rows of the SQLite store as the records that they are. */
import type { SQLOutputValue } from 'node:sqlite';
import type { BootId, TimeMs } from '@quantumvault/shared/brands.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import type { CreationRecord, FreezeRecord, LeafRecord, ReplyRecord, WalletRow } from './store.ts';

export type Row = Record<string, SQLOutputValue>;

/** SQLite's integers are signed 64-bit; a version beyond that is nothing our enclave ever counted. */
const LARGEST = (1n << 63n) - 1n;

export function stored(value: bigint): bigint {
  if (value > LARGEST) throw new QvError('internal', { value: 'version beyond 2^63' });
  return value;
}

export function blob(value: SQLOutputValue | undefined): Uint8Array {
  return value instanceof Uint8Array ? value : new Uint8Array();
}

const time = (value: SQLOutputValue | undefined): TimeMs => Number(value) as TimeMs;

// STRICT tables hold what their columns declare. Who edited them is for the row MAC to find out, not for these.
export function walletRow(row: Row | undefined): WalletRow | undefined {
  if (row === undefined) return undefined;
  return {
    wallet: row['wallet'],
    owner: row['owner'],
    salt: row['salt'],
    executionKey: row['execution_key'],
    sealedSeed: row['sealed_seed'],
    ...(row['second_key'] === null ? {} : { second: { ciphertext: row['second_key'], sealed: row['second_sealed'] } }),
    ...(row['policy'] === null ? {} : { policy: row['policy'], policyMac: row['policy_mac'] }),
    sealedState: row['sealed_state'],
    stateVersion: row['state_version'],
    frozen: row['frozen'] !== 0n,
    retired: row['retired'] !== 0n,
    ...(row['rotated_at'] !== null && { rotatedAt: time(row['rotated_at']) }),
    generation: Number(row['generation']),
    createdAt: time(row['created_at']),
    rowMac: row['row_mac'],
  } as unknown as WalletRow;
}

export function leafOf(row: Row): LeafRecord {
  return {
    boot: row['boot'],
    sequence: row['sequence'],
    leaf: row['leaf'],
    signature: row['signature'],
  } as unknown as LeafRecord;
}

export function creationRecord(row: Row | undefined): CreationRecord | undefined {
  if (row === undefined) return undefined;
  return {
    owner: row['owner'],
    nonce: row['nonce'],
    statementHash: row['statement_hash'],
    wallet: row['wallet'],
    reply: row['reply'],
  } as unknown as CreationRecord;
}

export function replyRecord(row: Row | undefined): ReplyRecord | undefined {
  if (row === undefined) return undefined;
  return {
    wallet: row['wallet'],
    requester: row['requester'],
    id: row['id'],
    bodyHash: row['body_hash'],
    status: Number(row['status']),
    reply: row['reply'],
    expiresAt: time(row['expires_at']),
  } as unknown as ReplyRecord;
}

export function freezeRecord(row: Row): FreezeRecord {
  return {
    scope: String(row['scope']),
    reason: String(row['reason']),
    latchedAt: time(row['latched_at']),
    ...(row['boot'] !== null && { boot: row['boot'] as BootId }),
    ...(row['freeze_id'] !== null && { freezeId: blob(row['freeze_id']) }),
  };
}
