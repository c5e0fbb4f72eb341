/**
 * Migrating wallets of QuantumVault v2, row by row, as M operators ordered it: they sign a statement that names this
 * boot, how v2 encrypted and every row, and seal the v2 server's secret to this boot's import key. From a row's key on
 * it is a creation, with a salt and an execution key of its own. Nothing in here can undo that v2 had the key: whoever
 * kept a copy signs without this enclave, and certificate and leaf say so.
 */
import type { Address, Hash } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import {
  type MigrationStatement,
  migrationNonce,
  migrationRowCodec,
  migrationStatementCodec,
  requireV2Parameters,
} from '@quantumvault/shared/evidence/migration.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { decodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { verifyInclusion } from '@quantumvault/shared/tlog/proof.ts';
import type { Context } from './context.ts';
import { establish } from './create.ts';
import type { LegacyKeys } from './migration/legacy-keys.ts';
import { requireOperators } from './operators.ts';
import { requireTimely } from './timely.ts';

interface Begun {
  readonly statement: MigrationStatement;
  readonly hash: Hash;
  readonly signers: readonly Address[];
}

/** One migration at a time, from its beginning to its end. */
export class Migrations {
  readonly #context: Context;
  #begun: Begun | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * The same statement again changes nothing. After the end, a freeze of the fleet, or its time, it begins anew.
   * @throws QvError migration_not_enabled, deployment_mismatch, operators_too_few, migration_refused (another boot or
   * import key, or a box that does not open or is for another statement), migration_parameters_unsupported,
   * statement_expired, migration_under_way, frozen, time_untrusted
   */
  begin({ statement: signed, sealed }: RequestOf<'migrationBegin'>): ReplyOf<'migrationBegin'> {
    const { attester, config, freeze, time, vault } = this.#context;
    const keys = this.#keys();
    const signers = requireOperators(config.operators, signed.signatures, signed.bytes);
    const statement = decodeAs(migrationStatementCodec, signed.bytes, 'statement');
    if (statement.deployment !== config.deployment) throw new QvError('deployment_mismatch', { path: 'deployment' });
    if (statement.boot !== attester.boot) throw new QvError('migration_refused', { path: 'boot' });
    if (!equalBytes(statement.importKey, vault.importPublicKey))
      throw new QvError('migration_refused', { path: 'importKey' });
    requireV2Parameters(statement.parameters);
    const now = time.now();
    requireTimely(statement.notAfter, now, 'notAfter');
    freeze.requireOpen();
    const hash = sha256(signed.bytes);
    if (keys.isHeldFor(hash)) return {};
    this.#endIfOver();
    if (keys.heldFor !== undefined) throw new QvError('migration_under_way');
    keys.hold(sealed, hash, statement.parameters);
    this.#begun = { statement, hash, signers };
    clearTimeout(this.#timer);
    // Also with no request to notice it, the key ends in time.
    this.#timer = setTimeout(() => keys.wipe(), statement.notAfter - now).unref();
    return {};
  }

  /**
   * One row becomes a wallet. The same row again gives the same wallet, until that has a policy.
   * @throws QvError migration_not_enabled, migration_not_begun, migration_row_unknown, migration_row_refused,
   * wallet_exists, wallet_held_elsewhere, statement_expired, message_malformed, and what creations throw
   */
  async migrate(request: RequestOf<'walletMigrate'>): Promise<ReplyOf<'walletMigrate'>> {
    const keys = this.#keys();
    const { statement, hash, signers } = this.#require(request.statementHash);
    const rowHash = leafHash(request.row);
    requireListed(statement, request, rowHash);
    const row = decodeAs(migrationRowCodec, request.row, 'row');
    const { wallet, owner, requesters } = row;
    if (new Set(requesters).size !== requesters.length) throw new QvError('field_malformed', { path: 'requesters' });
    const { holdings } = this.#context;
    const standing = () => holdings.unusedImport(wallet, owner, undefined);
    const begin = () => keys.begin(row, statement.parameters);
    if (request.dryRun) {
      standing();
      this.#check(begin);
      return {};
    }
    const created = await establish(this.#context, {
      deployment: statement.deployment,
      owner,
      nonce: migrationNonce(hash, rowHash),
      requesters,
      statementHash: hash,
      before: statement.notAfter,
      beforeName: 'notAfter',
      kind: 'wallet-migrated',
      signers,
      successor: undefined,
      begin,
      standing,
    });
    return { created };
  }

  /** Wipes the key. Of a statement that is not under way there is nothing to wipe. */
  end({ statementHash }: RequestOf<'migrationEnd'>): ReplyOf<'migrationEnd'> {
    const keys = this.#keys();
    if (keys.isHeldFor(statementHash)) this.#end(keys);
    return {};
  }

  #check(begin: () => { readonly slot: number }): void {
    const { slot } = begin();
    this.#context.vault.endWallet(slot);
  }

  #keys(): LegacyKeys {
    const { legacy } = this.#context;
    if (legacy === undefined) throw new QvError('migration_not_enabled');
    return legacy;
  }

  #require(statementHash: Hash): Begun {
    this.#endIfOver();
    const begun = this.#begun;
    const isHeld = begun !== undefined && this.#keys().isHeldFor(begun.hash);
    if (!isHeld || !equalBytes(begun.hash, statementHash)) throw new QvError('migration_not_begun');
    return begun;
  }

  /** By trusted time, which the timer knows nothing of. */
  #endIfOver(): void {
    if (this.#begun !== undefined && this.#begun.statement.notAfter <= this.#context.time.now())
      this.#end(this.#keys());
  }

  #end(keys: LegacyKeys): void {
    keys.wipe();
    clearTimeout(this.#timer);
    this.#begun = undefined;
  }
}

/** @throws QvError migration_row_unknown */
function requireListed(
  { rows, root }: MigrationStatement,
  { index, proof }: RequestOf<'walletMigrate'>,
  rowHash: Hash,
): void {
  try {
    verifyInclusion({ index: BigInt(index), size: BigInt(rows), leafHash: rowHash, proof, root });
  } catch (cause) {
    throw new QvError('migration_row_unknown', { path: 'row' }, { cause });
  }
}
