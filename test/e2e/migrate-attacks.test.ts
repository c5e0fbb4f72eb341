/** Migrating rows of v2 through a host that would rather migrate others, for others, or learn what is in them. */
import type { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import { bootIdOf, type Hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { decodeLeaf, walletCertificateCodec } from '@quantumvault/shared/evidence/leaf.ts';
import type { MigrationRow, MigrationStatement, V2Parameters } from '@quantumvault/shared/evidence/migration.ts';
import { migrationRowCodec } from '@quantumvault/shared/evidence/migration.ts';
import { releaseOrderCodec } from '@quantumvault/shared/evidence/succession.ts';
import { verifyCertificate } from '@quantumvault/shared/evidence/verify.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import type { RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs, encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import nacl from 'tweetnacl';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { type ImportInto, importInto, importing, outsideKey, sealedBox } from '../support/import-kit.ts';
import { MaliciousHost } from '../support/malicious-host.ts';
import { Migration, migrationRow } from '../support/migration-kit.ts';
import { operators, resumeSignatures, signedBy } from '../support/operator-keys.ts';
import { aesGcm, V2, type V2Options, type V2Row } from '../support/v2.ts';
import { type Party, party, secondsFromNow, transfer } from '../support/wallet-kit.ts';

let host: MaliciousHost;
let into: ImportInto;
const [owner, requester] = [party(), party()];

beforeAll(async () => {
  host = await MaliciousHost.start({ migration: true });
  await host.giveCredentials();
  into = await intoOf(host.data);
}, 60_000);
afterAll(() => host?.stop());

async function intoOf(data: EnclaveClient): Promise<ImportInto> {
  const { document } = await data.request('attest', { nonce: nacl.randomBytes(32) });
  return importInto(document);
}

const two = (): readonly Party[] => operators(host.backend.dir).slice(0, 2);

function migration(
  v2: V2,
  rows: readonly MigrationRow[],
  change: Partial<MigrationStatement> = {},
  by = two(),
): Migration {
  return new Migration({ deployment: host.backend.deployment, ...into, v2, rows, operators: by }, change);
}

const rowOf = (row: V2Row, change: Partial<MigrationRow> = {}, of = owner): MigrationRow =>
  migrationRow(row, of.address, [requester.address], change);

const begin = (ordered: Migration, change: Partial<RequestOf<'migrationBegin'>> = {}, data = host.data) =>
  data.request('migrationBegin', ordered.begin(change));
const send = (request: RequestOf<'walletMigrate'>, data = host.data) => data.request('walletMigrate', request);
const end = (statementHash: Hash) => host.data.request('migrationEnd', { statementHash });

async function created(request: RequestOf<'walletMigrate'>, data = host.data): Promise<NewWallet> {
  const { created: made } = await send(request, data);
  if (made === undefined) throw new Error('no wallet');
  return made;
}

/** One at a time: whatever came before has ended. */
async function during<T>(ordered: Migration, work: () => Promise<T>): Promise<T> {
  await begin(ordered);
  try {
    return await work();
  } finally {
    await end(ordered.hash);
  }
}

describe('a row of v2', () => {
  it('becomes a wallet that signs as it did, and certificate and leaf say where it came from', async () => {
    const v2 = new V2();
    const row = v2.bot();
    const ordered = migration(v2, [rowOf(row)]);
    await begin(ordered);
    const made = await created(ordered.row(0));
    const { bytes } = made.certificate;
    const { nonce } = decodeAs(walletCertificateCodec, bytes, 'certificate');
    const expected = {
      deployment: host.backend.deployment,
      boot: into.boot,
      wallet: row.key.address,
      owner: owner.address,
      requesters: [requester.address],
      nonce,
    };
    const verify = (flags: { imported?: true; migrated?: true }) =>
      verifyCertificate(made.certificate, made.receipt, { ...expected, ...flags }, (signature, message, publicKey) =>
        nacl.sign.detached.verify(message, signature, publicKey),
      );
    expect(verify({ imported: true, migrated: true })).toMatchObject({ imported: true, migrated: true });
    expect((await expectCode(() => verify({}), 'evidence_mismatch')).facts.path).toBe('certificate.imported');
    expect((await expectCode(() => verify({ imported: true }), 'evidence_mismatch')).facts.path).toBe(
      'certificate.migrated',
    );
    expect(decodeLeaf(made.receipt.leaf)).toMatchObject({
      kind: 'wallet-migrated',
      actor: owner.address,
      stateVersion: 1n,
      signers: two().map(({ address }) => address),
    });
    // The salt is this wallet's own.
    expect(made.blobs.salt).toHaveLength(32);
    expect(Buffer.from(made.blobs.salt).includes(v2.salt)).toBe(false);

    const wallet = { address: row.key.address, owner, requester, destination: party().address, created: made };
    const enabled = await host.enable(
      { ...wallet, blobs: made.blobs },
      host.documentFor({ ...wallet, blobs: made.blobs }),
    );
    const transaction = transfer(row.key.address, wallet.destination, 1_000n);
    const { signature } = await host.data.request('sign', host.request(enabled, { transaction }));
    expect(signature).toEqual(row.key.sign(new Uint8Array(transaction.serializeMessage())));
    // With a policy it is nobody's to migrate once more.
    expect((await expectCode(send(ordered.row(0)), 'wallet_exists')).facts.path).toBe('wallet');
    await end(ordered.hash);
  });

  it.each<[string, V2Options]>([
    ['a secret that is the key', { serverKey: 'none' }],
    ['scrypt', { serverKey: 'scrypt' }],
    ['keys in hex, and a seed', { userKey: 'hex', botKey: 'hex', botKeyBytes: 32 }],
    ['keys in base64', { userKey: 'base64', botKey: 'base64' }],
    ['a bot’s key in base58', { botKey: 'base58' }],
    ['a seed in base58', { botKey: 'base58', botKeyBytes: 32 }],
    ['one key of a user for all his bots', { withUserId: false }],
    ['bots under the user’s key itself', { botKeyKey: 'none' }],
    ['a long secret, and no salt', { secret: Buffer.alloc(200, 'v2'), salt: Buffer.alloc(0) }],
    ['a salt longer than a block of the hash', { salt: Buffer.alloc(100, 7) }],
  ])('opens as it was encrypted: %s', async (_, options) => {
    const v2 = new V2(options);
    // Leading zeros are what encodings of keys go wrong with.
    const zeros = Uint8Array.from([0, 0, ...nacl.randomBytes(30)]);
    const rows = [v2.bot('7'), v2.bot('7'), v2.bot('8', zeros)];
    const ordered = migration(
      v2,
      rows.map((row) => rowOf(row)),
    );
    await during(ordered, async () => {
      for (const [index, { key }] of rows.entries())
        expect((await created(ordered.row(index))).wallet).toBe(key.address);
    });
  });

  it('of two wallets: each has a salt and an execution key of its own', async () => {
    const v2 = new V2();
    const rows = [v2.bot('1'), v2.bot('1')];
    const ordered = migration(
      v2,
      rows.map((row) => rowOf(row)),
    );
    await during(ordered, async () => {
      const [one, other] = [await created(ordered.row(0)), await created(ordered.row(1))];
      expect(one.blobs.salt).not.toEqual(other.blobs.salt);
      expect(one.blobs.executionKey).not.toEqual(other.blobs.executionKey);
    });
  });

  it('again gives the same wallet, also at once, and one call of KMS', async () => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot())]);
    await during(ordered, async () => {
      await host.kms.clearCalls();
      const one = await created(ordered.row(0));
      const two = await created(ordered.row(0));
      expect(two.blobs).toEqual(one.blobs);
      expect((await host.kms.counts())['GenerateDataKey']?.calls).toBe(1);
      const certificates = [one, two].map(({ certificate }) =>
        decodeAs(walletCertificateCodec, certificate.bytes, 'certificate'),
      );
      expect(certificates[1]?.nonce).toEqual(certificates[0]?.nonce);
    });
  });

  it('at once, three times, gives one wallet', async () => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot())]);
    await during(ordered, async () => {
      await host.kms.setFaults({ operations: ['GenerateDataKey'], fault: { kind: 'latency', milliseconds: 200 } });
      const made = await Promise.all([0, 0, 0].map((index) => created(ordered.row(index))));
      await host.kms.clearFaults();
      for (const { blobs } of made) expect(blobs).toEqual(made[0]?.blobs);
    });
  });

  it('by the next statement gives the same wallet, to the same owner alone', async () => {
    const v2 = new V2();
    const row = v2.bot();
    const [first, next] = [migration(v2, [rowOf(row)]), migration(v2, [rowOf(row), rowOf(v2.bot())])];
    const one = await during(first, () => created(first.row(0)));
    const again = await during(next, () => created(next.row(0)));
    expect(again.blobs).toEqual(one.blobs);
    const others = migration(v2, [rowOf(row, {}, party())]);
    await during(others, () => expectCode(send(others.row(0)), 'wallet_exists'));
  });

  it('in a dry run is opened and compared, and nothing comes of it', async () => {
    const v2 = new V2();
    const [good, bad] = [v2.bot(), v2.bot()];
    const rows = [rowOf(good), rowOf(bad, { wallet: party().address })];
    const ordered = migration(v2, rows);
    await during(ordered, async () => {
      const before = await host.data.request('status', {});
      await host.kms.clearCalls();
      expect(await send(ordered.row(0, { dryRun: true }))).toEqual({});
      await expectCode(send(ordered.row(1, { dryRun: true })), 'migration_row_refused');
      const after = await host.data.request('status', {});
      expect([after.leaves, after.wallets]).toEqual([before.leaves, before.wallets]);
      expect((await host.kms.counts())['GenerateDataKey']).toBeUndefined();
      expect((await created(ordered.row(0))).wallet).toBe(good.key.address);
      // Without a policy it may be migrated again, and so the dry run has nothing against it.
      expect(await send(ordered.row(0, { dryRun: true }))).toEqual({});
    });
  });
});

describe('a host that changes what it carries', () => {
  const v2 = new V2();
  const rows = [v2.bot('1'), v2.bot('2'), v2.bot('3')].map((row) => rowOf(row));

  it.each<[string, (row: MigrationRow) => Partial<MigrationRow>]>([
    ['the owner', () => ({ owner: party().address })],
    ['the requesters', () => ({ requesters: [party().address] })],
    ['the wallet', () => ({ wallet: party().address })],
    ['the user', () => ({ userId: '9' })],
    ['the user’s key', () => ({ encryptedUserKey: new Uint8Array(60) })],
    ['the bot’s key', () => ({ encryptedBotKey: new Uint8Array(92) })],
  ])('%s of a row: it is not listed', async (_, change) => {
    const ordered = migration(v2, rows);
    const row = encodeAs(migrationRowCodec, { ...(rows[1] as MigrationRow), ...change(rows[1] as MigrationRow) });
    await during(ordered, () => expectCode(send(ordered.row(1, { row })), 'migration_row_unknown'));
  });

  it('a row under another one’s place or proof, or beyond the list, is not listed either', async () => {
    const ordered = migration(v2, rows);
    const { row, proof } = ordered.row(0);
    const requests = [
      ordered.row(1, { row }),
      ordered.row(0, { index: 1 }),
      ordered.row(0, { index: 3 }),
      ordered.row(0, { proof: [] }),
      ordered.row(0, { proof: [...proof].reverse() }),
      ordered.row(0, { proof: [...proof, ...proof] }),
    ];
    await during(ordered, async () => {
      for (const request of requests) await expectCode(send(request), 'migration_row_unknown');
    });
  });

  it('a row that no statement lists is not slipped into one', async () => {
    const foreign = migration(v2, [rowOf(v2.bot())]);
    const ordered = migration(v2, rows);
    await during(ordered, async () => {
      const { row } = foreign.row(0);
      await expectCode(send(ordered.row(0, { row })), 'migration_row_unknown');
      await expectCode(send(foreign.row(0)), 'migration_not_begun');
    });
  });

  it('any byte of the statement: the operators have not signed it', async () => {
    const ordered = migration(v2, rows);
    const { statement } = ordered.begin();
    for (const at of [0, 40, 80, statement.bytes.length - 1]) {
      const bytes = statement.bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
      await expectCode(begin(ordered, { statement: { ...statement, bytes } }), 'operators_too_few');
    }
  });

  it('any byte of the sealed secret gets the same refusal, and so does one for another statement', async () => {
    const ordered = migration(v2, rows);
    const other = migration(v2, rows.slice(1));
    const { sealed } = ordered.begin();
    const content = concatBytes(ordered.hash, v2.secret);
    const boxes = [
      ...[...sealed.keys()].map((at) => sealed.map((byte, index) => (index === at ? byte ^ 4 : byte))),
      other.begin().sealed,
      sealedBox(content, nacl.box.keyPair().publicKey),
      sealedBox(concatBytes(v2.secret, ordered.hash), into.importKey),
      new Uint8Array(sealed.length),
    ];
    for (const box of boxes) {
      const error = await expectCode(begin(ordered, { sealed: box }), 'migration_refused');
      expect(error.facts).toEqual({ path: 'sealed' });
      await expectCode(send(ordered.row(0)), 'migration_not_begun');
    }
    // A refusal uses nothing up.
    await during(ordered, () => created(ordered.row(0)));
  });

  it('a sealed import is no migration’s secret, and the other way round', async () => {
    const v2 = new V2();
    const row = v2.bot();
    const ordered = migration(v2, [rowOf(row)]);
    const { deployment } = host.backend;
    const imported = importing({ deployment, owner, requesters: [requester.address], key: outsideKey(), ...into });
    await expectCode(begin(ordered, { sealed: imported.sealed }), 'migration_refused');
    const { sealed } = ordered.begin();
    await expectCode(host.data.request('walletImport', { ...imported, sealed }), 'import_refused');
  });
});

describe('operators', () => {
  it('have to be enough, distinct, and of this deployment', async () => {
    const v2 = new V2();
    const rows = [rowOf(v2.bot())];
    const [one, ...rest] = operators(host.backend.dir);
    if (one === undefined) throw new Error('no operators');
    for (const by of [[one], [one, one], [one, party()], []]) {
      const ordered = migration(v2, rows, {}, by);
      if (by.length > 0) await expectCode(begin(ordered), 'operators_too_few');
    }
    const ordered = migration(v2, rows, {}, rest);
    await during(ordered, () => created(ordered.row(0)));
  });

  it.each<[string, () => Partial<MigrationStatement>, Parameters<typeof expectCode>[1], string]>([
    ['of another deployment', () => ({ deployment: 'other' }), 'deployment_mismatch', 'deployment'],
    ['for another boot', () => ({ boot: bootIdOf(nacl.randomBytes(32)) }), 'migration_refused', 'boot'],
    ['for another import key', () => ({ importKey: nacl.randomBytes(32) }), 'migration_refused', 'importKey'],
    ['that is over', () => ({ notAfter: secondsFromNow(-1) }), 'statement_expired', 'notAfter'],
    ['too far ahead', () => ({ notAfter: secondsFromNow(25 * 3600) }), 'statement_expired', 'notAfter'],
  ])('a statement %s is refused', async (_, change, code, path) => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot())], change());
    expect((await expectCode(begin(ordered), code)).facts.path).toBe(path);
  });

  it.each<[string, Partial<V2Parameters>, string]>([
    ['hkdf without an info', { serverKey: { method: 'hkdf-sha256' } }, 'serverKey.info'],
    ['scrypt without a cost', { serverKey: { method: 'scrypt' } }, 'serverKey.cost'],
    [
      'a cost that is no power of two',
      { serverKey: { method: 'scrypt', cost: { n: 1000, r: 8, p: 1 } } },
      'serverKey.cost.n',
    ],
    ['too many blocks', { serverKey: { method: 'scrypt', cost: { n: 2, r: 33, p: 1 } } }, 'serverKey.cost.r'],
    ['too many lanes', { serverKey: { method: 'scrypt', cost: { n: 2, r: 8, p: 5 } } }, 'serverKey.cost.p'],
    ['too much memory', { serverKey: { method: 'scrypt', cost: { n: 2 ** 17, r: 8, p: 1 } } }, 'serverKey.cost'],
    ['a derivation of bots’ keys without an info', { botKeyKey: { method: 'hkdf-sha256' } }, 'botKeyKey.info'],
    ['keys of another length', { botKey: { encoding: 'raw', bytes: 48 } }, 'botKey.bytes'],
  ])('parameters with %s are refused', async (_, change, path) => {
    const v2 = new V2();
    const { parameters } = migration(v2, [rowOf(v2.bot())]).statement;
    const ordered = migration(v2, [rowOf(v2.bot())], { parameters: { ...parameters, ...change } });
    expect((await expectCode(begin(ordered), 'migration_parameters_unsupported')).facts.path).toBe(path);
  });

  it('begin one at a time; the same one again changes nothing', async () => {
    const v2 = new V2();
    const [one, other] = [migration(v2, [rowOf(v2.bot())]), migration(v2, [rowOf(v2.bot())])];
    await begin(one);
    await begin(one);
    await expectCode(begin(other), 'migration_under_way');
    // The end of another one ends nothing.
    await end(other.hash);
    expect(await send(one.row(0, { dryRun: true }))).toEqual({});
    await end(one.hash);
    await expectCode(send(one.row(0)), 'migration_not_begun');
    await begin(other);
    await end(other.hash);
  });
});

describe('a row that was encrypted otherwise', () => {
  const refused: readonly [string, (v2: V2) => { row: V2Row; change?: Partial<MigrationRow> }, string][] = [
    ['whose user’s key has another tag', (v2) => tampered(v2.bot(), 'encryptedUserKey', -1), 'userKey'],
    ['whose user’s key has another IV', (v2) => tampered(v2.bot(), 'encryptedUserKey', 0), 'userKey'],
    ['whose bot’s key has another tag', (v2) => tampered(v2.bot(), 'encryptedBotKey', -1), 'botKey'],
    ['whose bot’s key has another byte', (v2) => tampered(v2.bot(), 'encryptedBotKey', 20), 'botKey'],
    ['of another installation', () => ({ row: new V2().bot() }), 'userKey'],
    ['with the bot of another user', (v2) => crossed(v2), 'botKey'],
    ['under the id of another user', (v2) => ({ row: v2.bot('1'), change: { userId: '2' } }), 'botKey'],
    ['of another wallet', (v2) => ({ row: v2.bot(), change: { wallet: party().address } }), 'wallet'],
  ];

  function tampered(row: V2Row, member: 'encryptedUserKey' | 'encryptedBotKey', at: number) {
    const bytes = new Uint8Array(row[member]);
    const index = at < 0 ? bytes.length + at : at;
    bytes[index] = (bytes[index] ?? 0) ^ 1;
    return { row, change: { [member]: bytes } };
  }

  function crossed(v2: V2) {
    const [one, other] = [v2.bot('1'), v2.bot('2')];
    return { row: one, change: { encryptedUserKey: new Uint8Array(other.encryptedUserKey) } };
  }

  it.each(refused)('%s is refused, and what is not is migrated all the same', async (_, make, path) => {
    const v2 = new V2();
    const { row, change } = make(v2);
    const good = v2.bot();
    const ordered = migration(v2, [rowOf(row, change), rowOf(good)]);
    await during(ordered, async () => {
      const error = await expectCode(send(ordered.row(0)), 'migration_row_refused');
      expect(error.facts).toEqual({ path });
      expect((await created(ordered.row(1))).wallet).toBe(good.key.address);
    });
  });

  it.each<[string, V2Options, (pair: Buffer) => Buffer, string]>([
    ['a key of another length', {}, (pair) => pair.subarray(0, 32), 'botKey'],
    ['a public key of another seed', {}, (pair) => Buffer.concat([nacl.randomBytes(32), pair.subarray(32)]), 'wallet'],
    [
      'a pair whose halves do not fit',
      {},
      (pair) => Buffer.concat([pair.subarray(0, 32), nacl.randomBytes(32)]),
      'wallet',
    ],
    ['hex that is none', { botKey: 'hex' }, () => Buffer.alloc(128, 'g'), 'botKey'],
    ['base64 that is none', { botKey: 'base64' }, () => Buffer.alloc(88, '*'), 'botKey'],
    ['base58 that is none', { botKey: 'base58' }, () => Buffer.alloc(88, '0'), 'botKey'],
    ['nothing but ones of base58', { botKey: 'base58' }, () => Buffer.alloc(88, '1'), 'botKey'],
  ])('with %s inside is refused', async (_, options, content, path) => {
    // By the writer's own hand: a key that v2 would not have written.
    const v2 = new V2({ ...options, botKeyKey: 'none' });
    const row = v2.bot();
    const userKey = v2.secrets.find(({ kind }) => kind === 'v2 user master key')?.bytes;
    if (userKey === undefined) throw new Error('no user');
    const pair = Buffer.from(nacl.sign.keyPair.fromSeed(row.key.seed).secretKey);
    const encryptedBotKey = new Uint8Array(aesGcm(userKey, content(pair)));
    const ordered = migration(v2, [rowOf(row, { encryptedBotKey })]);
    await during(ordered, async () => {
      expect((await expectCode(send(ordered.row(0)), 'migration_row_refused')).facts).toEqual({ path });
    });
  });

  it('with the ciphertext that another user’s row has is another owner’s only if the operators say so', async () => {
    const v2 = new V2();
    const row = v2.bot('1');
    const ordered = migration(v2, [rowOf(row), rowOf(row, { id: 'copy' }, party())]);
    await during(ordered, async () => {
      expect((await created(ordered.row(0))).wallet).toBe(row.key.address);
      expect((await expectCode(send(ordered.row(1)), 'wallet_exists')).facts.path).toBe('wallet');
    });
    // And where the id goes into the key, it opens under his id alone.
    const stolen = migration(v2, [rowOf(row, { userId: '2' }, party())]);
    await during(stolen, () => expectCode(send(stolen.row(0)), 'migration_row_refused'));
  });

  it('that names a requester twice, or is no row, is refused', async () => {
    const v2 = new V2();
    const twice = rowOf(v2.bot(), { requesters: [requester.address, requester.address] });
    const ordered = migration(v2, [twice]);
    await during(ordered, async () => {
      expect((await expectCode(send(ordered.row(0)), 'field_malformed')).facts.path).toBe('requesters');
    });
  });
});

describe('faults', () => {
  it('of KMS leave no wallet and no slot behind', async () => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot())]);
    await during(ordered, async () => {
      const { wallets } = await host.data.request('status', {});
      const fault = { kind: 'refuse', error: 'AccessDeniedException' } as const;
      await host.kms.setFaults({ operations: ['GenerateDataKey'], fault });
      for (let attempt = 0; attempt < 20; attempt++) await expectCode(send(ordered.row(0)), 'kms_refused');
      await host.kms.clearFaults();
      expect((await host.data.request('status', {})).wallets).toBe(wallets);
      await created(ordered.row(0));
    });
  });

  it('of rows leave no slot behind', async () => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot(), { wallet: party().address })]);
    await during(ordered, async () => {
      for (let attempt = 0; attempt < 20; attempt++) await expectCode(send(ordered.row(0)), 'migration_row_refused');
    });
  });
});

describe('the key that the secret yields', () => {
  it('is gone when its time is up', async () => {
    const v2 = new V2();
    const ordered = migration(v2, [rowOf(v2.bot())], { notAfter: secondsFromNow(6) });
    await begin(ordered);
    expect(await send(ordered.row(0, { dryRun: true }))).toEqual({});
    const outcome = () =>
      send(ordered.row(0, { dryRun: true })).then(
        () => 'opens',
        (error: { code: string }) => error.code,
      );
    await expect.poll(outcome, { timeout: 20_000 }).toBe('migration_not_begun');
    // The next one may begin.
    const next = migration(v2, [rowOf(v2.bot())]);
    await during(next, () => created(next.row(0)));
  }, 30_000);

  it('is gone with a freeze of the fleet; a freeze of a wallet leaves it', async () => {
    const v2 = new V2();
    const rows = [v2.bot(), v2.bot()];
    const ordered = migration(
      v2,
      rows.map((row) => rowOf(row)),
    );
    await begin(ordered);
    await created(ordered.row(0));
    const { deployment } = host.backend;
    const wallet = rows[0]?.key.address ?? '';
    const freeze = (scope: string) => host.control.request('freeze', { scope, reason: 'trial' });
    await freeze(`wallet:${wallet}`);
    expect(await send(ordered.row(1, { dryRun: true }))).toEqual({});

    await freeze('fleet');
    await expectCode(send(ordered.row(1)), 'frozen');
    await expectCode(begin(ordered), 'frozen');
    const { freezes } = await host.data.request('freezesGet', {});
    const fleet = freezes.find(({ scope }) => scope === 'fleet');
    if (fleet === undefined) throw new Error('no freeze');
    const facts = {
      deployment,
      boot: into.boot,
      scope: 'fleet',
      freezeId: Buffer.from(fleet.freezeId).toString('hex'),
    };
    const { scope, freezeId } = fleet;
    await host.data.request('resume', { scope, freezeId, signatures: resumeSignatures(facts, ...two()) });
    await expectCode(send(ordered.row(1)), 'migration_not_begun');
    await during(ordered, () => created(ordered.row(1)));
  });

  it('is gone with a freeze of the fleet that comes along with a wallet of another boot', async () => {
    const { deployment, dir } = host.backend;
    const third = await host.backend.startEnclave('third');
    await host.tunnel(third.addresses.tunnel);
    const data = host.connect(third.addresses.data);
    await host.giveCredentials(data);
    const there = await intoOf(data);
    const v2 = new V2();
    const ordered = new Migration({ deployment, ...there, v2, rows: [rowOf(v2.bot())], operators: two() });
    await begin(ordered, {}, data);
    const moved = await host.createWallet();
    await host.control.request('freeze', { scope: 'fleet', reason: 'trial' });
    const order = encodeAs(releaseOrderCodec, {
      deployment,
      predecessor: into.boot,
      successor: there.boot,
      notAfter: secondsFromNow(3600),
    });
    const signed = { bytes: order, signatures: signedBy(order, ...operators(dir).slice(0, 1)) };
    const { release, state } = await host.data.request('release', { order: signed, wallet: moved.address });
    const blobs = { ...moved.blobs, sealedState: state.blob };
    await data.request('take', { wallet: moved.address, owner: moved.owner.address, blobs, release });
    await expectCode(send(ordered.row(0), data), 'frozen');
    for (const [client, boot] of [
      [host.data, into.boot],
      [data, there.boot],
    ] as const) {
      const { freezes } = await client.request('freezesGet', {});
      const freezeId = freezes.find(({ scope }) => scope === 'fleet')?.freezeId ?? new Uint8Array(16);
      const facts = { deployment, boot, scope: 'fleet', freezeId: toHex(freezeId) };
      await client.request('resume', { scope: 'fleet', freezeId, signatures: resumeSignatures(facts, ...two()) });
    }
    await expectCode(send(ordered.row(0), data), 'migration_not_begun');
    data.close();
  }, 30_000);

  it('is in one boot alone: another one opens no box of this one’s, and none of an earlier one’s', async () => {
    const v2 = new V2();
    const row = v2.bot();
    const ordered = migration(v2, [rowOf(row)]);
    const second = await host.backend.startEnclave('second');
    await host.tunnel(second.addresses.tunnel);
    const data = host.connect(second.addresses.data);
    await host.giveCredentials(data);
    expect((await expectCode(begin(ordered, {}, data), 'migration_refused')).facts.path).toBe('boot');
    // The operators sign for the other boot, and the host brings the box that was sealed to this one.
    const there = await intoOf(data);
    const facts = { deployment: host.backend.deployment, v2, rows: [rowOf(row)], operators: two() };
    const other = new Migration({ ...facts, ...there });
    const box = sealedBox(concatBytes(other.hash, v2.secret), into.importKey);
    expect((await expectCode(begin(other, { sealed: box }, data), 'migration_refused')).facts.path).toBe('sealed');
    await begin(other, {}, data);
    expect((await created(other.row(0), data)).wallet).toBe(row.key.address);
    data.close();

    await begin(ordered);
    await host.backend.restartEnclave();
    await expect.poll(async () => (await host.data.request('status', {})).phase).toBe('ready');
    await host.giveCredentials();
    await expectCode(send(ordered.row(0)), 'migration_not_begun');
    expect((await expectCode(begin(ordered), 'migration_refused')).facts.path).toBe('boot');
    into = await intoOf(host.data);
    expect(equalBytes(into.importKey, ordered.statement.importKey)).toBe(false);
    const again = migration(v2, [rowOf(v2.bot())]);
    await during(again, () => created(again.row(0)));
  }, 30_000);
});

describe('an image whose configuration does not allow it', () => {
  it('refuses, whoever signed', async () => {
    const ordinary = await MaliciousHost.start();
    try {
      await ordinary.giveCredentials();
      const v2 = new V2();
      const facts = { deployment: ordinary.backend.deployment, v2, rows: [rowOf(v2.bot())] };
      const operatorsThere = operators(ordinary.backend.dir).slice(0, 2);
      const ordered = new Migration({ ...facts, ...(await intoOf(ordinary.data)), operators: operatorsThere });
      await expectCode(begin(ordered, {}, ordinary.data), 'migration_not_enabled');
      await expectCode(send(ordered.row(0), ordinary.data), 'migration_not_enabled');
      const ended = ordinary.data.request('migrationEnd', { statementHash: ordered.hash });
      await expectCode(ended, 'migration_not_enabled');
    } finally {
      await ordinary.stop();
    }
  }, 60_000);
});
