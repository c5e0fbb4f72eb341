/**
 * The statements behind each operation of the store. They run in the database thread; writes run inside the
 * transaction that sqlite-worker.ts has opened, and change nothing when they throw (it rolls them back).
 */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import type { Address } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { policyHash } from '@quantumvault/shared/policy/policy.ts';
import type { OperationName } from './operation-kinds.ts';
import { historyOperations } from './sqlite-history.ts';
import { rowKeyFence, rowKeyOperations } from './sqlite-row-keys.ts';
import { blob, creationRecord, freezeRecord, leafOf, type Row, replyRecord, stored, walletRow } from './sqlite-rows.ts';
import { type Queries, signalOperations } from './sqlite-signals.ts';
import type { LeafRecord, LogRecord, PanicCodeRecord, ReplyRecord, Store } from './store.ts';

/** What each operation answers: the same as the Store, at once. */
export type Operations = {
  [N in OperationName]: (...parameters: Parameters<Store[N]>) => Awaited<ReturnType<Store[N]>>;
};

export function operations(database: DatabaseSync): Operations {
  const statements = new Map<string, StatementSync>();
  const prepared = (sql: string): StatementSync => {
    let statement = statements.get(sql);
    if (statement === undefined) {
      statement = database.prepare(sql);
      statement.setReadBigInts(true);
      statements.set(sql, statement);
    }
    return statement;
  };
  const one = (sql: string, ...values: SQLInputValue[]): Row | undefined => prepared(sql).get(...values);
  const all = (sql: string, ...values: SQLInputValue[]): Row[] => prepared(sql).all(...values);
  const changed = (sql: string, ...values: SQLInputValue[]): boolean => prepared(sql).run(...values).changes !== 0n;

  const history = historyOperations({ one, all, changed });
  const fence = rowKeyFence({ one });

  function putLeaf(record: LeafRecord): void {
    const { boot, sequence, leaf, signature, request } = record;
    if (
      changed(
        `INSERT INTO leaves (boot, sequence, leaf, signature, request_id, wallet, requester, signed)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
        boot,
        stored(sequence),
        leaf,
        signature,
        request?.id ?? null,
        request?.wallet ?? null,
        request?.requester ?? null,
        request === undefined ? null : Number(request.isSigned),
      )
    )
      return void history.remember(record);
    const kept = one('SELECT leaf FROM leaves WHERE boot = ? AND sequence = ?', boot, sequence);
    // Two leaves in one place are evidence against the enclave: keep the first, and let nobody act on the second.
    if (!equalBytes(blob(kept?.['leaf']), leaf)) throw new QvError('store_conflict', { path: 'leaf' });
  }

  function putPolicy(policy: Uint8Array): void {
    changed('INSERT INTO policies (hash, policy) VALUES (?, ?) ON CONFLICT DO NOTHING', policyHash(policy), policy);
  }

  function putReply(reply: ReplyRecord): void {
    fence(reply.reply);
    changed(
      `INSERT INTO replies (wallet, requester, id, body_hash, status, reply, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET body_hash = excluded.body_hash, status = excluded.status, reply = excluded.reply,
         expires_at = excluded.expires_at WHERE body_hash = excluded.body_hash OR expires_at < excluded.expires_at`,
      reply.wallet,
      reply.requester,
      reply.id,
      reply.bodyHash,
      reply.status,
      reply.reply,
      reply.expiresAt,
    );
  }

  return {
    getWallet: (wallet) => walletRow(one('SELECT * FROM wallets WHERE wallet = ?', wallet)),

    getStateVersions: (wallets) =>
      new Map(
        wallets.flatMap((wallet) => {
          const row = one('SELECT state_version FROM wallets WHERE wallet = ?', wallet);
          return row === undefined ? [] : [[wallet, BigInt(row['state_version'] as bigint)] as const];
        }),
      ),

    listWallets: (after, count) =>
      all('SELECT wallet FROM wallets WHERE wallet > ? ORDER BY wallet LIMIT ?', after ?? '', count).map(
        ({ wallet }) => wallet as Address,
      ),

    countWithoutSecond: () =>
      Number(one('SELECT count(*) AS n FROM wallets WHERE second_key IS NULL AND retired = 0')?.['n']),

    insertWallet({ row, creation, leaf }) {
      fence(row.rowMac);
      fence(creation.reply);
      putLeaf(leaf);
      const exists =
        one('SELECT 1 FROM wallets WHERE wallet = ?', row.wallet) ??
        one('SELECT 1 FROM creations WHERE owner = ? AND nonce = ?', creation.owner, creation.nonce);
      if (exists !== undefined) return 'exists';
      changed(
        `INSERT INTO wallets (wallet, owner, salt, execution_key, sealed_seed, second_key, second_sealed, policy,
           policy_mac, sealed_state, state_version, frozen, retired, generation, created_at, row_mac)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        row.wallet,
        row.owner,
        row.salt,
        row.executionKey,
        row.sealedSeed,
        row.second?.ciphertext ?? null,
        row.second?.sealed ?? null,
        row.policy ?? null,
        row.policyMac ?? null,
        row.sealedState,
        stored(row.stateVersion),
        row.frozen ? 1 : 0,
        row.retired ? 1 : 0,
        row.generation,
        row.createdAt,
        row.rowMac,
      );
      changed(
        'INSERT INTO creations (owner, nonce, statement_hash, wallet, reply) VALUES (?, ?, ?, ?, ?)',
        creation.owner,
        creation.nonce,
        creation.statementHash,
        creation.wallet,
        creation.reply,
      );
      return 'inserted';
    },

    getCreation: (owner, nonce) =>
      creationRecord(one('SELECT * FROM creations WHERE owner = ? AND nonce = ?', owner, nonce)),

    applySigned({ wallet, generation, sealedState, stateVersion, rowMac, leaves, reply }) {
      fence(rowMac);
      const kept = one('SELECT generation, state_version FROM wallets WHERE wallet = ?', wallet);
      if (kept === undefined || Number(kept['generation']) !== generation) return 'changed';
      for (const leaf of leaves ?? []) putLeaf(leaf);
      if (reply !== undefined) putReply(reply);
      if (BigInt(kept['state_version'] as bigint) >= stateVersion) return 'older';
      changed(
        'UPDATE wallets SET sealed_state = ?, state_version = ?, row_mac = ? WHERE wallet = ?',
        sealedState,
        stored(stateVersion),
        rowMac,
        wallet,
      );
      return 'applied';
    },

    enablePolicy({ from, to, leaf }) {
      fence(to.rowMac);
      putLeaf(leaf);
      // Also one that was replaced meanwhile: it counted for a while, and auditors judge that while by it.
      if (to.policy !== undefined) putPolicy(to.policy);
      return changed(
        `UPDATE wallets SET policy = ?, policy_mac = ?, sealed_state = ?, state_version = ?, generation = ?, row_mac = ?
         WHERE wallet = ? AND generation = ? AND state_version = ?`,
        to.policy ?? null,
        to.policyMac ?? null,
        to.sealedState,
        stored(to.stateVersion),
        to.generation,
        to.rowMac,
        from.wallet,
        from.generation,
        from.stateVersion,
      )
        ? 'applied'
        : 'changed';
    },

    replaceWalletKeys({ from, to, leaves }) {
      fence(to.rowMac);
      for (const leaf of leaves) putLeaf(leaf);
      return changed(
        `UPDATE wallets SET owner = ?, salt = ?, execution_key = ?, sealed_seed = ?, second_key = ?, second_sealed = ?,
           policy_mac = ?, sealed_state = ?, state_version = ?, rotated_at = ?, generation = ?, row_mac = ?
         WHERE wallet = ? AND generation = ? AND state_version = ?`,
        to.owner,
        to.salt,
        to.executionKey,
        to.sealedSeed,
        to.second?.ciphertext ?? null,
        to.second?.sealed ?? null,
        to.policyMac ?? null,
        to.sealedState,
        stored(to.stateVersion),
        to.rotatedAt ?? null,
        to.generation,
        to.rowMac,
        from.wallet,
        from.generation,
        from.stateVersion,
      )
        ? 'applied'
        : 'changed';
    },

    retireWallet({ from, to, leaf }) {
      fence(to.rowMac);
      if (leaf !== undefined) putLeaf(leaf);
      return changed(
        `UPDATE wallets SET retired = 1, sealed_state = ?, state_version = ?, generation = ?, row_mac = ?
         WHERE wallet = ? AND generation = ? AND state_version = ?`,
        to.sealedState,
        stored(to.stateVersion),
        to.generation,
        to.rowMac,
        from.wallet,
        from.generation,
        from.stateVersion,
      )
        ? 'applied'
        : 'changed';
    },

    putLeaves(leaves, reply) {
      for (const leaf of leaves) putLeaf(leaf);
      if (reply !== undefined) putReply(reply);
    },

    firstMissingLeaf(boot, from) {
      if (one('SELECT 1 FROM leaves WHERE boot = ? AND sequence = ?', boot, from) === undefined) return from;
      const row = one(
        `SELECT sequence + 1 AS missing FROM leaves AS l WHERE boot = ? AND sequence >= ? AND NOT EXISTS
           (SELECT 1 FROM leaves AS n WHERE n.boot = l.boot AND n.sequence = l.sequence + 1)
         ORDER BY sequence LIMIT 1`,
        boot,
        from,
      );
      return BigInt(row?.['missing'] as bigint);
    },

    getLeaves: (boot, first, count) =>
      all('SELECT * FROM leaves WHERE boot = ? AND sequence >= ? ORDER BY sequence LIMIT ?', boot, first, count).map(
        leafOf,
      ),

    findDecisions: (requestId, wallet, requester) =>
      all(
        `SELECT leaves.* FROM leaves WHERE rowid IN (
           SELECT coalesce(min(CASE WHEN signed THEN rowid END), max(rowid)) FROM leaves
           WHERE request_id = ?1 AND wallet IS coalesce(?2, wallet) AND requester IS coalesce(?3, requester)
           GROUP BY wallet, requester LIMIT 2
         ) ORDER BY rowid`,
        requestId,
        wallet ?? null,
        requester ?? null,
      ).map(leafOf),

    findHistory: history.find,

    findSuccession: history.succession,

    getLogs: () =>
      all('SELECT boot, size, checkpoint FROM logs ORDER BY number').map(
        ({ boot, size, checkpoint }) => ({ boot, size, checkpoint }) as unknown as LogRecord,
      ),

    putTiles(boot, tiles) {
      for (const { level, index, hashes } of tiles)
        changed(
          `INSERT INTO tiles (boot, level, number, hashes) VALUES (?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET hashes = excluded.hashes WHERE length(excluded.hashes) > length(hashes)`,
          boot,
          level,
          stored(index),
          hashes,
        );
    },

    getTile(boot, level, index) {
      const row = one('SELECT hashes FROM tiles WHERE boot = ? AND level = ? AND number = ?', boot, level, index);
      return row === undefined ? undefined : blob(row['hashes']);
    },

    publishLog({ boot, size, checkpoint }) {
      changed(
        `INSERT INTO logs (boot, size, checkpoint) VALUES (?, ?, ?)
         ON CONFLICT (boot) DO UPDATE SET size = excluded.size, checkpoint = excluded.checkpoint
         WHERE excluded.size >= size`,
        boot,
        stored(size),
        checkpoint,
      );
    },

    putPolicy,

    getPolicy(hash) {
      const row = one('SELECT policy FROM policies WHERE hash = ?', hash);
      return row === undefined ? undefined : blob(row['policy']);
    },

    getReply: (wallet, requester, id, now) =>
      replyRecord(
        one(
          'SELECT * FROM replies WHERE wallet = ? AND requester = ? AND id = ? AND expires_at > ?',
          wallet,
          requester,
          id,
          now,
        ),
      ),

    // A bounded slice at a time: clearing a day's replies must not hold the writers up.
    deleteExpiredReplies(now) {
      changed(
        `DELETE FROM replies WHERE (wallet, requester, id) IN
           (SELECT wallet, requester, id FROM replies WHERE expires_at <= ? ORDER BY expires_at LIMIT 1000)`,
        now,
      );
    },

    getMeta(name) {
      const row = one('SELECT value FROM meta WHERE name = ?', name);
      return row === undefined ? undefined : blob(row['value']);
    },

    createMeta: (name, value) =>
      changed('INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING', name, value),

    latchFreeze({ scope, reason, latchedAt, boot, freezeId }) {
      changed(
        `INSERT INTO freezes (scope, reason, latched_at, boot, freeze_id) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT (scope) DO UPDATE SET boot = excluded.boot, freeze_id = excluded.freeze_id`,
        scope,
        reason,
        latchedAt,
        boot ?? null,
        freezeId ?? null,
      );
    },

    clearFreeze(scope, freezeId) {
      changed('DELETE FROM freezes WHERE scope = ? AND freeze_id IS ?', scope, freezeId ?? null);
    },

    getFreezes: () => all('SELECT * FROM freezes ORDER BY scope').map(freezeRecord),

    // One statement that compares and sets: of two processes that bring the same step, one changes a row.
    useTotpStep: (login, step) =>
      changed(
        `INSERT INTO totp_steps (login, step) VALUES (?, ?)
         ON CONFLICT (login) DO UPDATE SET step = excluded.step WHERE excluded.step > step`,
        login,
        step,
      ),

    putPanicCode({ wallet, hash }) {
      changed(
        `INSERT INTO panic_codes (wallet, hash) VALUES (?, ?)
         ON CONFLICT (wallet) DO UPDATE SET hash = excluded.hash`,
        wallet,
        hash,
      );
    },

    findPanicCode(hash) {
      const row = one('SELECT wallet, hash FROM panic_codes WHERE hash = ?', hash);
      return row as unknown as PanicCodeRecord | undefined;
    },

    ...signalOperations({ one, all, changed } satisfies Queries, fence),
    ...rowKeyOperations({ one, all, changed } satisfies Queries, fence),

    ping() {
      one('SELECT 1 FROM meta');
    },
  };
}
