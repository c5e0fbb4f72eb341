/** Migration from v2: keys as text, and what operators sign. */

import { toBase58 } from '@quantumvault/shared/base58.ts';
import { readBase58 } from '@quantumvault/shared/base58-bytes.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import {
  type MigrationRow,
  type MigrationStatement,
  migrationRowCodec,
  migrationStatementCodec,
  requireV2Parameters,
} from '@quantumvault/shared/evidence/migration.ts';
import { readBase64Bytes, readHexBytes } from '@quantumvault/shared/key-text.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { cborMutator } from '../engine/cbor-tree.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
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
