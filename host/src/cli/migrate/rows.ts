/**
 * Rows of v2 as they were exported: JSON Lines, one row each. README.md beside this has the SQL.
 *
 *   {"id": "17", "userId": "42", "wallet": base58, "owner": base58, "requesters"?: [base58, …],
 *    "userKey": ciphertext, "botKey": ciphertext}
 *
 * Every row that is not right is named, with the reason; nobody has to mend a list one row at a time.
 */
import { type Address, address } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromBase64, fromHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { FACT } from '@quantumvault/shared/evidence/leaf.ts';
import { type MigrationRow, migrationRowCodec, type V2Parameters } from '@quantumvault/shared/evidence/migration.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { Part, V2File } from './parameters.ts';

export interface ReadRow {
  /** From 1. */
  readonly line: number;
  readonly row: MigrationRow;
}

export interface RowFault {
  readonly line: number;
  /** As far as it could be read. */
  readonly id?: string;
  readonly code: ErrorCode;
  readonly path?: string;
  readonly value?: string;
}

export interface ReadRows {
  readonly rows: readonly ReadRow[];
  readonly faults: readonly RowFault[];
}

const IV_BYTES = 12;
const TAG_BYTES = 16;

/** @param requesters of rows that name none @throws QvError body_too_large beyond LIMITS.migrationRows */
export async function readRows(
  lines: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  file: Pick<V2File, 'ciphertext' | 'parameters'>,
  requesters: readonly Address[],
): Promise<ReadRows> {
  const rows: ReadRow[] = [];
  const faults: RowFault[] = [];
  let line = 0;
  for await (const bytes of lines) {
    line++;
    if (bytes.length === 0) continue;
    if (rows.length + faults.length >= LIMITS.migrationRows)
      throw new QvError('body_too_large', { path: 'rows', value: `more than ${LIMITS.migrationRows}` });
    const fields: { id?: string } = {};
    try {
      rows.push({ line, row: parseRow(bytes, file, requesters, fields) });
    } catch (error) {
      if (!(error instanceof QvError)) throw error;
      const { path, value } = error.facts;
      const facts = { ...(path !== undefined && { path }), ...(value !== undefined && { value }) };
      faults.push({ line, ...fields, code: codeOf(error), ...facts });
    }
  }
  const repeated = repeats(rows);
  return {
    rows: rows.filter((read) => !repeated.some(({ line: at }) => at === read.line)),
    faults: [...faults, ...repeated].sort((a, b) => a.line - b.line),
  };
}

/** @param seen gets the id as soon as it is known @throws QvError json_malformed, field_malformed, base58_malformed, … */
export function parseRow(
  bytes: Uint8Array,
  { ciphertext, parameters }: Pick<V2File, 'ciphertext' | 'parameters'>,
  requesters: readonly Address[],
  seen: { id?: string } = {},
): MigrationRow {
  const fields = new JsonFields(parseStrictJson(bytes));
  const id = idField(fields, 'id');
  seen.id = id;
  const row: MigrationRow = {
    id,
    userId: idField(fields, 'userId'),
    wallet: address(fields.text('wallet'), 'wallet'),
    owner: address(fields.text('owner'), 'owner'),
    requesters: requestersField(fields, requesters),
    encryptedUserKey: sealedField(fields, 'userKey', ciphertext, textBytes(parameters.userKey, 32)),
    encryptedBotKey: sealedField(
      fields,
      'botKey',
      ciphertext,
      textBytes(parameters.botKey.encoding, parameters.botKey.bytes),
    ),
  };
  fields.end();
  if (encodeAs(migrationRowCodec, row).length > LIMITS.migrationRowBytes)
    throw new QvError('field_malformed', { path: 'requesters', value: 'the row is too long' });
  return row;
}

/** The database may have numbers there. */
function idField(fields: JsonFields, key: string): string {
  const value: JsonValue = fields.required(key);
  const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== 'string' || text === '' || text.length > LIMITS.migrationIdCharacters || !FACT.test(text))
    throw fields.fault(key, `not 1 to ${LIMITS.migrationIdCharacters} printable ASCII characters`);
  return text;
}

function requestersField(fields: JsonFields, others: readonly Address[]): readonly Address[] {
  const named = fields.optional('requesters');
  const requesters =
    named === undefined
      ? others
      : fields.list('requesters').map((value, index) => {
          if (typeof value !== 'string') throw fields.fault(`requesters[${index}]`, 'not a string');
          return address(value, `requesters[${index}]`);
        });
  if (requesters.length === 0 || requesters.length > LIMITS.requesters)
    throw fields.fault('requesters', `not 1 to ${LIMITS.requesters}; --requester names those of rows without any`);
  if (new Set(requesters).size !== requesters.length) throw fields.fault('requesters', 'one twice');
  return requesters;
}

/** How long what was encrypted is: a range, because base58 has no fixed length. */
function textBytes(
  encoding: V2Parameters['botKey']['encoding'],
  bytes: number,
): readonly [least: number, most: number] {
  if (encoding === 'raw') return [bytes, bytes];
  if (encoding === 'hex') return [2 * bytes, 2 * bytes];
  if (encoding === 'base64') return [4 * Math.ceil(bytes / 3), 4 * Math.ceil(bytes / 3)];
  return [bytes, Math.ceil(bytes * 1.38)];
}

/** IV, ciphertext, tag, whatever their order in the column. */
function sealedField(
  fields: JsonFields,
  key: string,
  form: V2File['ciphertext'],
  [least, most]: readonly [number, number],
): Uint8Array {
  const text = fields.text(key);
  const parts = form.separator === undefined ? cut(text, form, key) : split(text, form.separator, form, key);
  const { iv, ciphertext, tag } = parts;
  if (iv.length !== IV_BYTES) throw fields.fault(key, `an IV of ${iv.length} bytes`);
  if (tag.length !== TAG_BYTES) throw fields.fault(key, `a tag of ${tag.length} bytes`);
  if (ciphertext.length < least || ciphertext.length > most)
    throw fields.fault(
      key,
      `a ciphertext of ${ciphertext.length} bytes, not ${least === most ? least : `${least} to ${most}`}`,
    );
  return concatBytes(iv, ciphertext, tag);
}

type Parts = Readonly<Record<Part, Uint8Array>>;

function decode(text: string, { encoding }: V2File['ciphertext'], path: string): Uint8Array {
  return encoding === 'hex' ? fromHex(text.toLowerCase(), path) : fromBase64(text, path);
}

function split(text: string, separator: string, form: V2File['ciphertext'], path: string): Parts {
  const pieces = text.split(separator);
  if (pieces.length !== form.order.length)
    throw new QvError('field_malformed', { path, value: `${pieces.length} parts, not ${form.order.length}` });
  const decoded = form.order.map((part, index) => [part, decode(pieces[index] ?? '', form, path)] as const);
  return Object.fromEntries(decoded) as unknown as Parts;
}

function cut(text: string, form: V2File['ciphertext'], path: string): Parts {
  const bytes = decode(text, form, path);
  const sizes = { iv: IV_BYTES, tag: TAG_BYTES, ciphertext: Math.max(0, bytes.length - IV_BYTES - TAG_BYTES) };
  let start = 0;
  const parts = form.order.map((part) => {
    const piece = bytes.subarray(start, start + sizes[part]);
    start += sizes[part];
    return [part, piece] as const;
  });
  return Object.fromEntries(parts) as unknown as Parts;
}

/** All of those that share an id, a wallet or a ciphertext: which of them is meant only operators can say. */
function repeats(rows: readonly ReadRow[]): readonly RowFault[] {
  const found = new Map<number, RowFault>();
  const among = (path: string, keyOf: (row: MigrationRow) => string): void => {
    const lines = new Map<string, ReadRow[]>();
    for (const read of rows) lines.set(keyOf(read.row), [...(lines.get(keyOf(read.row)) ?? []), read]);
    for (const group of lines.values()) {
      if (group.length < 2) continue;
      for (const { line, row } of group) {
        const others = group.filter((other) => other.line !== line).map((other) => other.line);
        const value = `also in line ${others.slice(0, 3).join(', ')}`;
        if (!found.has(line)) found.set(line, { line, id: row.id, code: 'migration_row_repeated', path, value });
      }
    }
  };
  among('id', ({ id }) => id);
  among('wallet', ({ wallet }) => wallet);
  among('botKey', ({ encryptedBotKey }) => Buffer.from(encryptedBotKey).toString('base64'));
  return [...found.values()];
}
