/**
 * The schema of the SQLite store, as forward-only migrations: the database's user_version says how many have run.
 * A shipped migration never changes; append.
 */
import type { DatabaseSync } from 'node:sqlite';
import { QvError } from '@quantumvault/shared/errors.ts';
import { decodeLeaf } from '@quantumvault/shared/evidence/leaf.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import { aboutOf } from './store.ts';

/** Functions that migrations use: what they fill in stands inside of blobs. */
function defineFunctions(database: DatabaseSync): void {
  database.function('leaf_request_id', (leaf) => fact(leaf, 'requestId'));
  database.function('leaf_fact', (leaf, name) => fact(leaf, name));
  database.function('leaf_about', (leaf, name) => about(leaf, name));
  database.function('policy_hash', (policy) => policyHash(policy as Uint8Array));
}

/** Null also of a leaf that somebody edited: it keeps no host from starting, and auditors find it. */
function fact(leaf: unknown, name: unknown): string | null {
  try {
    const { requestId, wallet, actor, kind } = decodeLeaf(leaf as Uint8Array);
    const facts: Record<string, string | undefined> = { requestId, wallet, actor, kind };
    return facts[String(name)] ?? null;
  } catch {
    return null;
  }
}

function about(leaf: unknown, name: unknown): string | number | null {
  try {
    const facts: Record<string, string | number | undefined> = { ...aboutOf(decodeLeaf(leaf as Uint8Array)) };
    return facts[String(name)] ?? null;
  } catch {
    return null;
  }
}

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE wallets (
    wallet        TEXT PRIMARY KEY,              -- base58
    owner         TEXT NOT NULL,                 -- base58
    salt          BLOB NOT NULL,
    execution_key BLOB NOT NULL,                 -- KMS ciphertext
    sealed_seed   BLOB NOT NULL,
    policy        BLOB,
    policy_mac    BLOB,
    sealed_state  BLOB NOT NULL,
    state_version INTEGER NOT NULL CHECK (state_version >= 0),
    frozen        INTEGER NOT NULL CHECK (frozen IN (0, 1)),
    generation    INTEGER NOT NULL CHECK (generation >= 0),
    created_at    INTEGER NOT NULL,              -- milliseconds since 1970
    row_mac       BLOB NOT NULL,
    CHECK ((policy IS NULL) = (policy_mac IS NULL))
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE creations (
    owner          TEXT NOT NULL,
    nonce          BLOB NOT NULL,
    statement_hash BLOB NOT NULL,
    wallet         TEXT NOT NULL REFERENCES wallets (wallet),
    reply          TEXT NOT NULL,
    PRIMARY KEY (owner, nonce)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE leaves (
    boot      TEXT NOT NULL,                     -- base58
    sequence  INTEGER NOT NULL CHECK (sequence >= 0),
    leaf      BLOB NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (boot, sequence)
  ) STRICT;

  CREATE TABLE replies (
    wallet     TEXT NOT NULL REFERENCES wallets (wallet),
    requester  TEXT NOT NULL,
    id         TEXT NOT NULL,
    body_hash  BLOB NOT NULL,
    status     INTEGER NOT NULL,
    reply      TEXT NOT NULL,
    expires_at INTEGER NOT NULL,                 -- milliseconds since 1970
    PRIMARY KEY (wallet, requester, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX replies_by_expiry ON replies (expires_at);

  CREATE TABLE freezes (
    scope      TEXT PRIMARY KEY,
    reason     TEXT NOT NULL,
    latched_at INTEGER NOT NULL                  -- milliseconds since 1970
  ) STRICT;

  CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
  ) STRICT;
  `,
  `
  ALTER TABLE leaves ADD COLUMN request_id TEXT;
  UPDATE leaves SET request_id = leaf_request_id(leaf);
  CREATE INDEX leaves_by_request ON leaves (request_id) WHERE request_id IS NOT NULL;

  CREATE TABLE logs (
    number     INTEGER PRIMARY KEY,              -- in the order of appearance
    boot       TEXT NOT NULL UNIQUE,             -- base58
    size       INTEGER NOT NULL CHECK (size >= 0),
    checkpoint BLOB NOT NULL
  ) STRICT;

  CREATE TABLE tiles (
    boot   TEXT NOT NULL,                        -- base58
    level  INTEGER NOT NULL,
    number INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (boot, level, number)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE policies (
    hash   BLOB PRIMARY KEY,                     -- SHA-256 of the canonical bytes
    policy BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  INSERT INTO policies SELECT DISTINCT policy_hash(policy), policy FROM wallets WHERE policy IS NOT NULL;
  `,
  `
  ALTER TABLE leaves ADD COLUMN wallet TEXT;       -- base58; these three of leaves about requests alone
  ALTER TABLE leaves ADD COLUMN requester TEXT;    -- base58
  ALTER TABLE leaves ADD COLUMN signed INTEGER;    -- 1, or 0 for a refusal
  UPDATE leaves SET wallet = leaf_fact(leaf, 'wallet'), requester = leaf_fact(leaf, 'actor'),
    signed = leaf_fact(leaf, 'kind') = 'signed' WHERE request_id IS NOT NULL;
  DROP INDEX leaves_by_request;
  CREATE INDEX leaves_by_request ON leaves (request_id, wallet, requester, signed) WHERE request_id IS NOT NULL;
  `,
  `
  ALTER TABLE freezes ADD COLUMN boot TEXT;      -- base58: who acknowledged the newest order
  ALTER TABLE freezes ADD COLUMN freeze_id BLOB; -- the id it gave
  `,
  `
  CREATE TABLE totp_steps (
    login TEXT PRIMARY KEY,
    step  INTEGER NOT NULL                       -- of RFC 6238: this and all before it are used up
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE panic_codes (
    wallet TEXT PRIMARY KEY REFERENCES wallets (wallet),
    hash   BLOB NOT NULL UNIQUE                  -- of the code, see remote-freeze/panic-codes.ts
  ) STRICT, WITHOUT ROWID;
  `,
  `
  CREATE TABLE signals (
    source      TEXT NOT NULL,
    id          TEXT NOT NULL,
    at          INTEGER NOT NULL,                -- milliseconds since 1970, as the next two
    received_at INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    body        BLOB NOT NULL,
    body_hash   BLOB NOT NULL,
    signature   BLOB,                            -- Ed25519, where the enclave verifies again
    mac         BLOB NOT NULL,
    PRIMARY KEY (source, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX signals_by_expiry ON signals (expires_at);
  CREATE INDEX signals_by_body ON signals (source, body_hash, received_at);
  CREATE INDEX signals_of_source ON signals (source, expires_at);
  `,
  `
  CREATE TABLE history (
    number   INTEGER PRIMARY KEY,                -- in the order of arrival
    at       INTEGER NOT NULL,                   -- milliseconds since 1970
    boot     TEXT NOT NULL,                      -- with the sequence, the leaf
    sequence INTEGER NOT NULL,
    kind     TEXT NOT NULL,
    wallet   TEXT,                               -- base58
    actor    TEXT                                -- base58: requester or owner
  ) STRICT;
  INSERT INTO history (at, boot, sequence, kind, wallet, actor)
    SELECT leaf_about(leaf, 'at'), boot, sequence, leaf_about(leaf, 'kind'), leaf_about(leaf, 'wallet'),
      leaf_about(leaf, 'actor') FROM leaves WHERE leaf_about(leaf, 'at') IS NOT NULL ORDER BY rowid;
  CREATE INDEX history_by_time ON history (at);
  CREATE INDEX history_by_wallet ON history (wallet, at) WHERE wallet IS NOT NULL;
  CREATE INDEX history_by_actor ON history (actor, at) WHERE actor IS NOT NULL;
  `,
  `
  ALTER TABLE wallets ADD COLUMN retired INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1));
  `,
  `
  ALTER TABLE wallets ADD COLUMN second_key BLOB;    -- the second KMS key's ciphertext; null without a second sealing
  ALTER TABLE wallets ADD COLUMN second_sealed BLOB  -- the execution key under it
    CHECK ((second_key IS NULL) = (second_sealed IS NULL));
  CREATE INDEX wallets_without_second ON wallets (wallet) WHERE second_key IS NULL AND retired = 0;
  `,
  `
  ALTER TABLE wallets ADD COLUMN rotated_at INTEGER; -- milliseconds since 1970: when key and salt were replaced
  `,
  `
  CREATE INDEX history_of_succession ON history (wallet, at, number) WHERE kind IN ('wallet-created',
    'wallet-imported', 'lease', 'successor-named', 'takeover-claimed', 'takeover-cancelled', 'owner-changed');
  `,
];

/** What a database has after `migrate`. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * @param to for tests of what earlier releases left
 * @throws QvError store_unavailable when a newer release has written this file
 */
export function migrate(database: DatabaseSync, to: number = MIGRATIONS.length): void {
  if (versionOf(database) === to) return;
  defineFunctions(database);
  database.exec('BEGIN IMMEDIATE');
  try {
    // Read again under the lock: another process may have migrated meanwhile.
    const version = versionOf(database);
    if (version > to) throw new QvError('store_unavailable', { value: `schema ${version} is newer` });
    for (const migration of MIGRATIONS.slice(version, to)) database.exec(migration);
    database.exec(`PRAGMA user_version = ${to}`);
    database.exec('COMMIT');
  } catch (error) {
    database.exec('ROLLBACK');
    throw error;
  }
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare('PRAGMA user_version').get()?.['user_version']);
}
