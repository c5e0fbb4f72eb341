/**
 * Migrating rows of v2, as operators order it on the admin socket (protocol: admin-protocol.ts). One row per command, so
 * that a list of thousands can be interrupted anywhere and gone through again: a row whose wallet is stored is left
 * alone. Nothing here decides, and nothing here is secret: the rows are ciphertext, and the v2 secret is sealed.
 */
import type { Hash } from '@quantumvault/shared/brands.ts';
import { fromBase64, fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { migrationNonce, migrationRowCodec } from '@quantumvault/shared/evidence/migration.ts';
import type { JsonFields } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { NewWallet } from '@quantumvault/shared/protocol/message-parts.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import type { AdminCommands } from '../admin-protocol.ts';
import { newWallet } from '../new-wallets.ts';
import { verifiedRow } from '../wallet-rows.ts';
import type { ReceiptJson, SignedBytesJson } from '../wire-json.ts';
import type { AdminDeps } from './deps.ts';
import { readOperatorSigned } from './succession-json.ts';

type Answer<C extends keyof AdminCommands> = Promise<AdminCommands[C]['result']>;

/** @throws QvError what the enclave refuses with */
export async function beginMigration(fields: JsonFields, { enclave }: AdminDeps): Answer<'migration-begin'> {
  const statement = readOperatorSigned(fields.required('statement'), 'statement');
  const sealed = fromBase64(fields.text('sealed'), 'sealed');
  fields.end();
  if (sealed.length < LIMITS.sealedMigrationMinBytes || sealed.length > LIMITS.sealedMigrationBytes)
    throw new QvError('field_malformed', { path: 'sealed', value: `${sealed.length} bytes` });
  await enclave.request('migrationBegin', { statement, sealed });
  return { begun: true };
}

/** @throws QvError what the enclave refuses with; wallet_exists (another owner's), row_tampered, not_initialised, store_* */
export async function migrateRow(fields: JsonFields, deps: AdminDeps): Answer<'migration-row'> {
  const request = readRow(fields);
  const { wallet, owner } = decodeAs(migrationRowCodec, request.row, 'row');
  if ((await deps.store.getWallet(wallet)) !== undefined) {
    const row = await verifiedRow(deps.store, deps.session, wallet);
    if (row.owner !== owner) throw new QvError('wallet_exists', { path: 'wallet' });
    return { outcome: 'there' };
  }
  if (request.dryRun) {
    await deps.enclave.request('walletMigrate', request);
    return { outcome: 'opens' };
  }
  const { statementHash: hash } = request;
  const statement = { owner, nonce: migrationNonce(hash, leafHash(request.row)), hash };
  const reply = await newWallet(deps, statement, {
    ask: async ({ onLate }) =>
      createdIn(
        await deps.enclave.request('walletMigrate', request, {
          onLate: (late) => onLate(late instanceof Error ? late : createdIn(late)),
        }),
      ),
    ifTaken: 'wallet_exists',
  });
  // Written by this host: `newWallet` keeps what it answers.
  const { certificate, receipt } = JSON.parse(reply) as { certificate: SignedBytesJson; receipt: ReceiptJson };
  return { outcome: 'migrated', certificate, receipt };
}

/** @throws QvError what the enclave refuses with */
export async function endMigration(fields: JsonFields, { enclave }: AdminDeps): Answer<'migration-end'> {
  const statementHash = hashField(fields, 'statement');
  fields.end();
  await enclave.request('migrationEnd', { statementHash });
  return { ended: true };
}

function readRow(fields: JsonFields): RequestOf<'walletMigrate'> {
  const proof = fields.list('proof').map((value, index) => {
    if (typeof value !== 'string') throw fields.fault(`proof[${index}]`, 'not a string');
    return requireHash(fromBase64(value, `proof[${index}]`), `proof[${index}]`);
  });
  if (proof.length > LIMITS.migrationProofHashes) throw fields.fault('proof', 'too many');
  const row = fromBase64(fields.text('row'), 'row');
  if (row.length === 0 || row.length > LIMITS.migrationRowBytes) throw fields.fault('row', `${row.length} bytes`);
  const request = {
    statementHash: hashField(fields, 'statement'),
    row,
    index: fields.integer('index', LIMITS.migrationRows),
    proof,
    dryRun: fields.optionalBoolean('dryRun') ?? false,
  };
  fields.end();
  return request;
}

const hashField = (fields: JsonFields, key: string): Hash => requireHash(fromHex(fields.text(key), key), key);

function requireHash(bytes: Uint8Array, path: string): Hash {
  if (bytes.length !== 32) throw new QvError('field_malformed', { path, value: `${bytes.length} bytes` });
  return bytes as Hash;
}

function createdIn({ created }: ReplyOf<'walletMigrate'>): NewWallet {
  if (created === undefined)
    throw new QvError('message_malformed', { path: 'walletMigrate.created', value: 'missing' });
  return created;
}
