/**
 * The manifest of one backup: what was backed up, and by which parts it is put together again. Its file is named by its
 * number and by the SHA-256 of its bytes:
 *
 *   backups/<number, six digits or more>.<SHA-256 in hex>.json
 *
 * The database's bytes are cut into parts, and the list of their hashes (32 bytes each, in order) again into parts, which
 * the manifest names: so it stays small, and the lists of two backups share what the backups share.
 */

import { fromBase58 } from '@quantumvault/shared/base58.ts';
import { type BootId, bootIdOf, type TimeMs } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { DEPLOYMENT_NAME } from '@quantumvault/shared/names.ts';
import { formatTime, parseTime } from '@quantumvault/shared/rfc3339.ts';
import type { LogRecord } from '../../store/store.ts';
import { PART_NAME } from './parts.ts';

const FORMAT = 'qv/backup/v1';
const DECIMAL = /^(?:0|[1-9][0-9]{0,18})$/;

export interface Manifest {
  readonly number: number;
  readonly deployment: string;
  readonly takenAt: TimeMs;
  readonly schemaVersion: number;
  /** Of the database's file, whole. */
  readonly bytes: number;
  readonly sha256: string;
  readonly parts: number;
  /** Parts that hold the list of parts. */
  readonly list: readonly string[];
  readonly wallets: number;
  readonly leaves: number;
  /** The last published checkpoint of each boot's log, the oldest boot first. */
  readonly logs: readonly LogRecord[];
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { takenAt, logs, ...rest } = manifest;
  const text = new TextDecoder('utf-8', { fatal: true });
  return utf8(
    `${JSON.stringify(
      {
        format: FORMAT,
        ...rest,
        takenAt: formatTime(takenAt),
        logs: logs.map(({ boot, size, checkpoint }) => ({
          boot,
          size: String(size),
          checkpoint: text.decode(checkpoint),
        })),
      },
      undefined,
      1,
    )}\n`,
  );
}

/** @throws QvError backup_damaged naming the field */
export function parseManifest(bytes: Uint8Array, name: string): Manifest {
  try {
    const fields = new JsonFields(parseStrictJson(bytes));
    if (fields.text('format') !== FORMAT) throw fields.fault('format', `not ${FORMAT}`);
    const manifest: Manifest = {
      number: fields.integer('number', Number.MAX_SAFE_INTEGER),
      deployment: matching(fields, 'deployment', DEPLOYMENT_NAME),
      takenAt: readTime(fields, 'takenAt'),
      schemaVersion: fields.integer('schemaVersion', 0xffff),
      bytes: fields.integer('bytes', Number.MAX_SAFE_INTEGER),
      sha256: matching(fields, 'sha256', PART_NAME),
      parts: fields.integer('parts', LIMITS.backupParts),
      list: fields.list('list').map((part) => {
        if (typeof part !== 'string' || !PART_NAME.test(part)) throw fields.fault('list', 'not a SHA-256 in hex');
        return part;
      }),
      wallets: fields.integer('wallets', Number.MAX_SAFE_INTEGER),
      leaves: fields.integer('leaves', Number.MAX_SAFE_INTEGER),
      logs: fields.list('logs').map((item, index) => readLog(new JsonFields(item, `logs[${index}]`))),
    };
    fields.end();
    return manifest;
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    const { path = '', value = error.code } = error.facts;
    throw new QvError(
      'backup_damaged',
      { path: name, value: path === '' ? value : `${path}: ${value}` },
      { cause: error },
    );
  }
}

function readLog(fields: JsonFields): LogRecord {
  const boot: BootId = bootIdOf(fromBase58(fields.text('boot'), 32, fields.path('boot')));
  const size = BigInt(matching(fields, 'size', DECIMAL));
  const checkpoint = utf8(fields.text('checkpoint'));
  fields.end();
  return { boot, size, checkpoint };
}

function readTime(fields: JsonFields, key: string): TimeMs {
  const time = parseTime(fields.text(key));
  if (time === undefined) throw fields.fault(key, 'not a time');
  return time;
}

function matching(fields: JsonFields, key: string, pattern: RegExp): string {
  const value = fields.text(key);
  if (!pattern.test(value)) throw fields.fault(key, `must match ${pattern.source}`);
  return value;
}
