/** Migration from v2: keys as text, and what operators sign. */

import { parseMigrationFile } from '@quantumvault/host/cli/migrate/file.ts';
import { parseV2Parameters } from '@quantumvault/host/cli/migrate/parameters.ts';
import { parseRow } from '@quantumvault/host/cli/migrate/rows.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import { readBase58 } from '@quantumvault/shared/base58-bytes.ts';
import { concatBytes, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import {
  type MigrationRow,
  type MigrationStatement,
  migrationRowCodec,
  migrationStatementCodec,
  requireV2Parameters,
  v2Parameters,
} from '@quantumvault/shared/evidence/migration.ts';
import { readBase64Bytes, readHexBytes } from '@quantumvault/shared/key-text.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { jsonMutator } from '../engine/json-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { behindOneByte } from './bodies.ts';
import { isRefused, mustEndThere } from './checks.ts';
import * as sample from './samples.ts';

const ROOM = 64;

/** What they read is what other readers say, or nothing; they write no further than the room they are given. */
export const keyText: Target = {
  name: 'key-text',
  covers: [
    'shared/src/base58-bytes.ts#readBase58',
    'shared/src/key-text.ts#readHexBytes',
    'shared/src/key-text.ts#readBase64Bytes',
  ],
  seeds: () => ({
    hex: utf8(Buffer.from(sample.filled(32, 0xa5)).toString('hex')),
    upper: utf8('00FFAB'),
    base64: utf8(Buffer.from(sample.filled(32, 0xf1)).toString('base64')),
    two: utf8('/w=='),
    base58: utf8(toBase58(sample.signature)),
    zeros: utf8('1'.repeat(88)),
  }),
  mutators: [textMutator],
  dictionary: ['=', '==', 'AB==', 'AAAB', '-', '_', '0', 'g', 'z'].map(utf8),
  maxBytes: 160,
  codes: ['key_malformed'],
  executions: 6_000,
  run(input) {
    const text = Buffer.from(input).toString('latin1');
    const read = (reader: typeof readHexBytes): Buffer | undefined => {
      const room = new Uint8Array(ROOM + 1);
      const length = reader(input, room.subarray(0, ROOM));
      must(room[ROOM] === 0, 'written beyond the room');
      return length === undefined ? undefined : Buffer.from(room.subarray(0, length));
    };
    const hex = read(readHexBytes);
    must((hex?.toString('hex') ?? text) === (hex ? text.toLowerCase() : text), 'another spelling of hex');
    must(hex !== undefined || !/^(?:[0-9a-f]{2}){0,64}$/i.test(text), 'hex is refused');
    const base64 = read(readBase64Bytes);
    const decoded = Buffer.from(text, 'base64');
    const isCanonical = decoded.toString('base64') === text && decoded.length <= ROOM;
    must((base64 !== undefined) === isCanonical, 'base64 is refused, or what is none accepted');
    if (base64 !== undefined) mustEqualBytes(base64, decoded, 'other bytes of base64');
    const room = new Uint8Array(ROOM);
    const length = accept(readBase58(input, room));
    const bytes = length <= ROOM ? room.subarray(ROOM - length) : undefined;
    if (bytes !== undefined) must(toBase58(bytes) === text, 'another spelling of base58');
    return [hex, base64, bytes];
  },
};

const statement: MigrationStatement = {
  deployment: sample.deployment,
  boot: sample.boot,
  importKey: sample.filled(32, 4),
  notAfter: sample.time,
  parameters: {
    salt: sample.filled(16, 5),
    serverKey: { method: 'hkdf-sha256', info: utf8('server') },
    userKey: 'raw',
    botKeyKey: { method: 'hkdf-sha256', info: utf8('bot'), withUserId: true },
    botKey: { encoding: 'base58', bytes: 64 },
  },
  rows: 3,
  root: sample.hash,
};

const row: MigrationRow = {
  id: '17',
  userId: '42',
  wallet: sample.wallet,
  owner: sample.owner,
  requesters: [sample.requester],
  encryptedUserKey: sample.filled(60, 6),
  encryptedBotKey: sample.filled(92, 7),
};

/** The statement and one row of its list, as an enclave is handed them. */
export const migrationOrders: Target = {
  name: 'migration-orders',
  covers: ['shared/src/evidence/migration.ts'],
  seeds: () => {
    const { parameters } = statement;
    const cost = { n: 16384, r: 8, p: 1 };
    const scrypt = { ...parameters, serverKey: { method: 'scrypt', cost } } as const;
    return {
      statement: encodeAs(migrationStatementCodec, statement),
      scrypt: encodeAs(migrationStatementCodec, { ...statement, parameters: scrypt }),
      row: encodeAs(migrationRowCodec, row),
    };
  },
  mutators: [cborMutator()],
  maxBytes: LIMITS.migrationRowBytes,
  codes: ['cbor_malformed', 'message_malformed', 'migration_parameters_unsupported'],
  executions: 2_000,
  run(input) {
    const decodeRow = (bytes: Uint8Array): MigrationRow => decodeAs(migrationRowCodec, bytes, 'row');
    if (!isRefused(decodeRow, input)) {
      const decoded = accept(decodeRow(input));
      mustEqualBytes(encodeAs(migrationRowCodec, decoded), input, 'it encodes to other bytes');
      mustEndThere(decodeRow, input);
      return decoded;
    }
    const decode = (bytes: Uint8Array): MigrationStatement => decodeAs(migrationStatementCodec, bytes, 'statement');
    const decoded = decode(input);
    mustEqualBytes(encodeAs(migrationStatementCodec, decoded), input, 'it encodes to other bytes');
    mustEndThere(decode, input);
    requireV2Parameters(decoded.parameters);
    const { cost } = accept(decoded).parameters.serverKey;
    if (cost !== undefined) must(128 * cost.n * cost.r * cost.p <= 4 * LIMITS.migrationScryptBytes, 'too much work');
    return decoded;
  },
};

const V2_FILE = {
  format: 'qv/v2-parameters/v1',
  serverSecret: { encoding: 'hex' },
  salt: '00112233445566778899aabbccddeeff',
  serverKey: { method: 'hkdf-sha256', info: 'server' },
  userKey: { encoding: 'raw' },
  botKeyKey: { method: 'hkdf-sha256', info: 'bot', withUserId: true },
  botKey: { encoding: 'raw', bytes: 64 },
  ciphertext: { encoding: 'hex', order: ['iv', 'tag', 'ciphertext'], separator: ':' },
} as const;

const column = (length: number): string =>
  [12, 16, length].map((bytes) => Buffer.from(sample.filled(bytes, 0xab)).toString('hex')).join(':');

const ROW_LINE = {
  id: 17,
  userId: '42',
  wallet: sample.wallet,
  owner: sample.owner,
  requesters: [sample.requester],
  userKey: column(32),
  botKey: column(64),
} as const;

/** What operators are handed: how v2 encrypted, exported rows, and a migration on its way. */
export const migrationFiles: Target = {
  name: 'migration-files',
  covers: [
    'host/src/cli/migrate/parameters.ts#parseV2Parameters',
    'host/src/cli/migrate/rows.ts#parseRow',
    'host/src/cli/migrate/file.ts#parseMigrationFile',
  ],
  seeds: () => {
    const of = (kind: number, value: unknown): Uint8Array =>
      concatBytes(Uint8Array.of(kind), utf8(JSON.stringify(value)));
    const { separator: _, ...joined } = V2_FILE.ciphertext;
    const statementBytes = toBase64(encodeAs(migrationStatementCodec, statement));
    const signatures = [{ key: sample.owner, signature: toBase64(sample.signature) }];
    return {
      parameters: of(0, V2_FILE),
      scrypt: of(0, { ...V2_FILE, serverKey: { method: 'scrypt', n: 16384, r: 8, p: 1 }, ciphertext: joined }),
      row: of(1, ROW_LINE),
      file: of(2, {
        format: 'qv/migration-file/v1',
        statement: { bytes: statementBytes, signatures },
        sealed: toBase64(sample.filled(112, 5)),
      }),
    };
  },
  mutators: [behindOneByte(jsonMutator([textMutator])), behindOneByte(textMutator)],
  maxBytes: 4 * 1024,
  codes: [
    'json_malformed',
    'field_malformed',
    'hex_malformed',
    'base58_malformed',
    'base64_malformed',
    'cbor_malformed',
    'message_malformed',
    'migration_parameters_unsupported',
  ],
  executions: 2_000,
  run(input) {
    const kind = (input[0] ?? 0) % 3;
    const bytes = input.subarray(1);
    if (kind === 0) {
      const { parameters } = parseV2Parameters(bytes);
      // What is read here is what an enclave takes.
      requireV2Parameters(parameters);
      mustEqualBytes(
        encodeAs(v2Parameters, decodeAs(v2Parameters, accept(encodeAs(v2Parameters, parameters)), 'it')),
        encodeAs(v2Parameters, parameters),
        'it encodes to other bytes',
      );
      return parameters;
    }
    if (kind === 1) {
      const row = accept(parseRow(bytes, parseV2Parameters(utf8(JSON.stringify(V2_FILE))), []));
      const encoded = encodeAs(migrationRowCodec, row);
      must(encoded.length <= LIMITS.migrationRowBytes, 'a row that is too long');
      must(row.encryptedUserKey.length === 60 && row.encryptedBotKey.length === 92, 'a ciphertext of another length');
      return row;
    }
    const file = parseMigrationFile(bytes);
    mustEqualBytes(encodeAs(migrationStatementCodec, accept(file).statement), file.signed.bytes, 'another statement');
    return file;
  },
};
