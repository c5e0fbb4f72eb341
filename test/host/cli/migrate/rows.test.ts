/** Parameters and rows of v2 as people write and export them: what is taken, and what is named instead. */

import { RowList } from '@quantumvault/host/cli/migrate/list.ts';
import { parseV2Parameters } from '@quantumvault/host/cli/migrate/parameters.ts';
import { parseRow, readRows } from '@quantumvault/host/cli/migrate/rows.ts';
import { bootIdOf } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { verifyInclusion } from '@quantumvault/shared/tlog/proof.ts';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../../support/codes.ts';
import { noteCode } from '../../../support/codes-seen.ts';
import { Migration, migrationRow, parametersOf } from '../../../support/migration-kit.ts';
import { exportedLine } from '../../../support/qv-migrate.ts';
import { SCRYPT, V2, type V2Options } from '../../../support/v2.ts';
import { party } from '../../../support/wallet-kit.ts';

const [owner, requester] = [party().address, party().address];
const json = (value: unknown): Uint8Array => utf8(JSON.stringify(value));
const OPTIONS: readonly V2Options[] = [
  {},
  { serverKey: 'none', userKey: 'hex', botKeyKey: 'none', botKey: 'base64', botKeyBytes: 32 },
  { serverKey: 'scrypt', userKey: 'base64', botKey: 'base58', encoding: 'hex' },
  { order: ['tag', 'iv', 'ciphertext'], separator: ':', withUserId: false },
  { order: ['iv', 'tag', 'ciphertext'], encoding: 'hex', separator: '.' },
];

describe('parameters', () => {
  it.each(OPTIONS)('%o', (options) => {
    const v2 = new V2(options);
    const { parameters, secretEncoding } = parseV2Parameters(json(v2.parameters()));
    expect(parameters).toEqual(parametersOf(v2));
    expect(secretEncoding).toBe('hex');
  });

  const good = new V2().parameters();
  const within = (member: string, change: Record<string, unknown>) => ({
    ...good,
    [member]: { ...(good[member] as Record<string, unknown>), ...change },
  });

  it.each<[string, Record<string, unknown>, ErrorCode, string]>([
    ['another format', { ...good, format: 'v3' }, 'field_malformed', 'format'],
    ['a member too many', { ...good, extra: 1 }, 'field_malformed', 'extra'],
    ['a member too many inside', within('botKey', { extra: 1 }), 'field_malformed', 'botKey.extra'],
    ['a salt that is no hex', { ...good, salt: 'xyz' }, 'hex_malformed', 'salt'],
    ['a salt that is too long', { ...good, salt: 'ab'.repeat(257) }, 'field_malformed', 'salt'],
    [
      'an unknown derivation',
      within('serverKey', { method: 'md5' }),
      'migration_parameters_unsupported',
      'serverKey.method',
    ],
    ['pbkdf2', within('serverKey', { method: 'pbkdf2' }), 'migration_parameters_unsupported', 'serverKey.method'],
    [
      'scrypt for bots',
      within('botKeyKey', { method: 'scrypt' }),
      'migration_parameters_unsupported',
      'botKeyKey.method',
    ],
    [
      'an unknown spelling',
      within('botKey', { encoding: 'json' }),
      'migration_parameters_unsupported',
      'botKey.encoding',
    ],
    [
      'an unknown secret',
      within('serverSecret', { encoding: 'pem' }),
      'migration_parameters_unsupported',
      'serverSecret.encoding',
    ],
    ['a key of 48 bytes', within('botKey', { bytes: 48 }), 'migration_parameters_unsupported', 'botKey.bytes'],
    ['scrypt without a cost', { ...good, serverKey: { method: 'scrypt' } }, 'field_malformed', 'serverKey.n'],
    [
      'a cost that is no power of two',
      { ...good, serverKey: { method: 'scrypt', ...SCRYPT, n: 1000 } },
      'migration_parameters_unsupported',
      'serverKey.cost.n',
    ],
    ['an info that is too long', within('serverKey', { info: 'i'.repeat(129) }), 'field_malformed', 'serverKey.info'],
    [
      'no word on the user’s id',
      { ...good, botKeyKey: { method: 'hkdf-sha256', info: '' } },
      'field_malformed',
      'botKeyKey.withUserId',
    ],
    ['a part twice', within('ciphertext', { order: ['iv', 'iv', 'tag'] }), 'field_malformed', 'ciphertext.order'],
    ['a part too few', within('ciphertext', { order: ['iv', 'ciphertext'] }), 'field_malformed', 'ciphertext.order'],
    [
      'a separator that may be a digit',
      within('ciphertext', { separator: 'a' }),
      'field_malformed',
      'ciphertext.separator',
    ],
    ['a member too few', { ...good, userKey: undefined }, 'field_malformed', 'userKey'],
  ])('with %s are refused', async (_, parameters, code, path) => {
    expect((await expectCode(() => parseV2Parameters(json(parameters)), code)).facts.path).toBe(path);
  });
});

describe('a row', () => {
  it.each(OPTIONS)('is read from its columns: %o', (options) => {
    const v2 = new V2(options);
    const row = v2.bot('7');
    const line = utf8(exportedLine({ row, owner }));
    expect(parseRow(line, parseV2Parameters(json(v2.parameters())), [requester])).toEqual(
      migrationRow(row, owner, [requester]),
    );
  });

  it('may have numbers for ids, and requesters of its own', () => {
    const v2 = new V2();
    const line = utf8(exportedLine({ row: v2.bot('7'), owner, change: { id: 17, userId: 7, requesters: [owner] } }));
    expect(parseRow(line, parseV2Parameters(json(v2.parameters())), [requester])).toMatchObject({
      id: '17',
      userId: '7',
      requesters: [owner],
    });
  });

  const v2 = new V2({ encoding: 'hex', separator: ':' });
  const row = v2.bot('7');
  const file = parseV2Parameters(json(v2.parameters()));
  const [iv = '', ciphertext = '', tag = ''] = row.botColumn.split(':');

  it.each<[string, Record<string, unknown>, ErrorCode, string]>([
    ['no id', { id: '' }, 'field_malformed', 'id'],
    ['an id that is too long', { id: 'i'.repeat(65) }, 'field_malformed', 'id'],
    ['an id beyond ASCII', { id: 'é' }, 'field_malformed', 'id'],
    ['half an id', { id: 1.5 }, 'field_malformed', 'id'],
    ['no user', { userId: null }, 'field_malformed', 'userId'],
    ['a wallet that is none', { wallet: 'x' }, 'base58_malformed', 'wallet'],
    ['no owner', { owner: undefined }, 'field_malformed', 'owner'],
    ['no requesters', { requesters: [] }, 'field_malformed', 'requesters'],
    ['a requester twice', { requesters: [owner, owner] }, 'field_malformed', 'requesters'],
    ['a requester that is a number', { requesters: [1] }, 'field_malformed', 'requesters[0]'],
    [
      'too many requesters',
      { requesters: Array.from({ length: 17 }, () => party().address) },
      'field_malformed',
      'requesters',
    ],
    ['two parts of a ciphertext', { botKey: `${iv}:${ciphertext}` }, 'field_malformed', 'botKey'],
    ['a short IV', { botKey: `${iv.slice(2)}:${ciphertext}:${tag}` }, 'field_malformed', 'botKey'],
    ['a short tag', { botKey: `${iv}:${ciphertext}:${tag.slice(2)}` }, 'field_malformed', 'botKey'],
    ['a short ciphertext', { botKey: `${iv}:${ciphertext.slice(2)}:${tag}` }, 'field_malformed', 'botKey'],
    ['a ciphertext of another kind of key', { userKey: row.botColumn }, 'field_malformed', 'userKey'],
    ['what is no hex', { botKey: `${iv}:${ciphertext}:zz` }, 'hex_malformed', 'botKey'],
    ['a member too many', { password: 'x' }, 'field_malformed', 'password'],
  ])('with %s is refused', async (_, change, code, path) => {
    const line = utf8(exportedLine({ row, owner, change }));
    expect((await expectCode(() => parseRow(line, file, [requester]), code)).facts.path).toBe(path);
  });

  it('that names nobody, where nobody is named for all, is refused', async () => {
    const line = utf8(exportedLine({ row, owner }));
    expect((await expectCode(() => parseRow(line, file, []), 'field_malformed')).facts.path).toBe('requesters');
  });
});

describe('a list', () => {
  const v2 = new V2();
  const file = parseV2Parameters(json(v2.parameters()));
  const lineOf = (row: ReturnType<V2['bot']>, change = {}): Uint8Array => utf8(exportedLine({ row, owner, change }));

  it('names every row that is wrong, and all that share an id, a wallet or a ciphertext', async () => {
    const [one, two, three, four] = [v2.bot('a'), v2.bot('b'), v2.bot('c'), v2.bot('d')];
    const lines = [
      lineOf(one),
      utf8('{'),
      lineOf(two, { id: one.id }),
      utf8(''),
      lineOf(three),
      lineOf({ ...three, id: 'copy' }, { wallet: party().address }),
      lineOf(four),
      lineOf(four, { id: 'other', owner: 'nobody' }),
    ];
    const { rows, faults } = await readRows(lines, file, [requester]);
    expect(rows.map(({ line }) => line)).toEqual([7]);
    expect(faults.map(({ line, code, path }) => [line, code, path])).toEqual([
      [1, 'migration_row_repeated', 'id'],
      [2, 'json_malformed', undefined],
      [3, 'migration_row_repeated', 'id'],
      [5, 'migration_row_repeated', 'botKey'],
      [6, 'migration_row_repeated', 'botKey'],
      [8, 'base58_malformed', 'owner'],
    ]);
    for (const { code } of faults) noteCode(code);
    expect(faults.at(-1)).toMatchObject({ id: 'other' });
    const wallets = await readRows([lineOf(one), lineOf(v2.bot('a'), { wallet: one.key.address })], file, [requester]);
    expect(wallets.faults.map(({ path }) => path)).toEqual(['wallet', 'wallet']);
  });

  it('is the same whatever the order of its lines, and has a proof for each row', async () => {
    const rows = Array.from({ length: 21 }, () => v2.bot());
    const of = async (lines: readonly Uint8Array[]): Promise<RowList> =>
      new RowList((await readRows(lines, file, [requester])).rows.map(({ row }) => row));
    const lines = rows.map((row) => lineOf(row));
    const [list, reversed] = [await of(lines), await of([...lines].reverse())];
    expect(list.root).toEqual(reversed.root);
    // As another implementation of the tree has it, in the same order.
    const facts = {
      deployment: 'd',
      boot: bootIdOf(nacl.randomBytes(32)),
      importKey: nacl.randomBytes(32),
      v2,
      operators: [],
    };
    const { statement } = new Migration({ ...facts, rows: list.rows.map(({ row }) => row) });
    expect(list.root).toEqual(statement.root);
    for (const { index, encoded } of list.rows) {
      const proof = await list.proof(index);
      expect(proof.length).toBeLessThanOrEqual(LIMITS.migrationProofHashes);
      verifyInclusion({ index: BigInt(index), size: 21n, leafHash: leafHash(encoded), proof, root: list.root });
    }
  });

  it('has a bound, and every proof in it fits', async () => {
    expect(Math.ceil(Math.log2(LIMITS.migrationRows))).toBe(LIMITS.migrationProofHashes);
    const lines = Array.from({ length: LIMITS.migrationRows + 1 }, () => utf8('{'));
    await expectCode(readRows(lines, file, [requester]), 'body_too_large');
  });
});
