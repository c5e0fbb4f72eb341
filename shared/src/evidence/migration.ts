/**
 * Migrating wallets of QuantumVault v2: what operators sign for it, and the rows that it names. All of it is canonical
 * CBOR with a purpose.
 *
 * M of N operators sign one statement. It names the enclave boot and its import key, how v2 encrypted, and the root of
 * the list of rows (RFC 6962's tree; a leaf is one encoded row): nobody who carries rows can change one, add one, or
 * make a wallet somebody else's.
 */
import type { Hash } from '../brands.ts';
import { concatBytes, utf8 } from '../bytes.ts';
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import {
  bool,
  bootId,
  bytes,
  field,
  fixed,
  type Infer,
  list,
  maybe,
  oneOf,
  publicKey,
  purposeStruct,
  struct,
  text,
  time,
  u32,
} from '../protocol/wire.ts';
import { sha256 } from '../sha256.ts';
import { FACT } from './leaf.ts';

const NONCE_BYTES = 16;
const NONCE_PURPOSE = utf8('qv/migration-nonce/v1');

const scryptCost = struct({ n: field(0, u32), r: field(1, u32), p: field(2, u32) });

/**
 * How v2 encrypted, as far as an enclave needs it. Ciphers are AES-256-GCM with an IV of 12 bytes, a tag of 16 and no
 * associated data; each key of 32 bytes.
 */
export const v2Parameters = struct({
  /** The one salt of the installation, for every derivation. */
  salt: field(0, bytes(0, LIMITS.migrationSaltBytes)),
  /** From the server's secret to the key of users' master keys. `none`: the secret is that key. */
  serverKey: field(
    1,
    struct({
      method: field(0, oneOf('none', 'hkdf-sha256', 'scrypt')),
      /** Of hkdf-sha256. */
      info: maybe(1, bytes(0, LIMITS.migrationInfoBytes)),
      /** Of scrypt (RFC 7914). */
      cost: maybe(2, scryptCost),
    }),
  ),
  /** As what a user's master key was encrypted. */
  userKey: field(2, oneOf('raw', 'hex', 'base64')),
  /** From a user's master key to the key of his bots' keys. `none`: they are one. */
  botKeyKey: field(
    3,
    struct({
      method: field(0, oneOf('none', 'hkdf-sha256')),
      info: maybe(1, bytes(0, LIMITS.migrationInfoBytes)),
      /** Whether the user's id, in UTF-8, follows the info. */
      withUserId: maybe(2, bool),
    }),
  ),
  /** As what a bot's key was encrypted, and of how many bytes: a seed of 32, or seed and public key, 64. */
  botKey: field(4, struct({ encoding: field(0, oneOf('raw', 'hex', 'base64', 'base58')), bytes: field(1, u32) })),
});
export type V2Parameters = Infer<typeof v2Parameters>;

/** One row of v2. Ciphertexts are IV, ciphertext, tag, in this order. */
export const migrationRowCodec = purposeStruct('qv/migration-row/v1', {
  /** v2's own, for people. */
  id: field(1, text(LIMITS.migrationIdCharacters, FACT)),
  userId: field(2, text(LIMITS.migrationIdCharacters, FACT)),
  /** The address of the key in it. */
  wallet: field(3, publicKey),
  /** Whose it is from now on. */
  owner: field(4, publicKey),
  requesters: field(5, list(publicKey, 1, LIMITS.requesters)),
  encryptedUserKey: field(6, bytes(LIMITS.migrationCiphertextMinBytes, LIMITS.migrationCiphertextBytes)),
  encryptedBotKey: field(7, bytes(LIMITS.migrationCiphertextMinBytes, LIMITS.migrationCiphertextBytes)),
});
export type MigrationRow = Infer<typeof migrationRowCodec>;

export const migrationStatementCodec = purposeStruct('qv/migrate-v2/v1', {
  deployment: field(1, text(64, FACT)),
  /** The only boot that may do it, and the X25519 key, which its attestation names, that the secret is sealed to. */
  boot: field(2, bootId),
  importKey: field(3, fixed(32)),
  /** Until then the enclave may hold the key that the server's secret yields. Whole seconds. */
  notAfter: field(4, time),
  parameters: field(5, v2Parameters),
  /** Of the list of rows: how many, and the Merkle Tree Hash over them. */
  rows: field(6, u32),
  root: field(7, fixed<Hash>(32)),
});
export type MigrationStatement = Infer<typeof migrationStatementCodec>;

/** The 16 bytes that stand for one row of one statement where a creation has its owner's nonce. */
export function migrationNonce(statementHash: Hash, rowHash: Hash): Uint8Array {
  return sha256(concatBytes(NONCE_PURPOSE, statementHash, rowHash)).subarray(0, NONCE_BYTES);
}

const unsupported = (path: string, value: string): QvError =>
  new QvError('migration_parameters_unsupported', { path, value });

/** What the form alone does not say. @throws QvError migration_parameters_unsupported naming the parameter */
export function requireV2Parameters({ serverKey, botKeyKey, botKey }: V2Parameters): void {
  const { method, info, cost } = serverKey;
  if ((method === 'hkdf-sha256') !== (info !== undefined)) throw unsupported('serverKey.info', `for ${method}`);
  if ((method === 'scrypt') !== (cost !== undefined)) throw unsupported('serverKey.cost', `for ${method}`);
  if (cost !== undefined) requireScryptCost(cost);
  const isDerived = botKeyKey.method === 'hkdf-sha256';
  if (isDerived !== (botKeyKey.info !== undefined) || isDerived !== (botKeyKey.withUserId !== undefined))
    throw unsupported('botKeyKey.info', `for ${botKeyKey.method}`);
  if (botKey.bytes !== 32 && botKey.bytes !== 64) throw unsupported('botKey.bytes', 'neither 32 nor 64');
}

function requireScryptCost({ n, r, p }: Infer<typeof scryptCost>): void {
  const isPower = n > 1 && Number.isInteger(Math.log2(n));
  if (!isPower) throw unsupported('serverKey.cost.n', 'no power of two');
  if (r < 1 || r > LIMITS.migrationScryptR)
    throw unsupported('serverKey.cost.r', `not 1 to ${LIMITS.migrationScryptR}`);
  if (p < 1 || p > LIMITS.migrationScryptP)
    throw unsupported('serverKey.cost.p', `not 1 to ${LIMITS.migrationScryptP}`);
  if (128 * n * r > LIMITS.migrationScryptBytes)
    throw unsupported('serverKey.cost', `more than ${LIMITS.migrationScryptBytes} bytes of memory`);
}
