/**
 * What a witness remembers: of each log its key and the checkpoint last cosigned. A cosignature says that nothing
 * else was cosigned before, so what is written here is on the disk before any cosignature leaves (C2SP tlog-witness:
 * "The witness MUST persist the new checkpoint before responding"), and looking and writing are one transaction, also
 * between two processes on one file.
 *
 * Synchronous, on the event loop: a witness is a small process that does nothing else. Local file systems only; the
 * locks of network file systems do not hold.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { EMPTY_ROOT } from '@quantumvault/shared/tlog/tree.ts';

const SCHEMA_VERSION = 1;
const SCHEMA = `
  CREATE TABLE witness (
    vkey TEXT NOT NULL                             -- whose memory this is: its key may not work with another
  ) STRICT;

  CREATE TABLE logs (
    origin   TEXT PRIMARY KEY,
    key      BLOB NOT NULL CHECK (length(key) = 32),  -- Ed25519, signs the log's checkpoints
    size     INTEGER NOT NULL CHECK (size >= 0),
    root     BLOB NOT NULL CHECK (length(root) = 32),
    note     BLOB,                                 -- the checkpoint as the log signed it; none while size is 0
    admitted INTEGER NOT NULL                      -- milliseconds since 1970
  ) STRICT, WITHOUT ROWID;

  -- "A checkpoint never shrinks" holds whatever the code around it does.
  CREATE TRIGGER logs_grow BEFORE UPDATE ON logs
  WHEN NEW.origin <> OLD.origin OR NEW.key <> OLD.key OR NEW.size <= OLD.size
  BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
  CREATE TRIGGER logs_stay BEFORE DELETE ON logs
  BEGIN SELECT RAISE(ABORT, 'a log is never forgotten'); END;
`;

/** The checkpoint last cosigned; of a log just admitted the empty tree. */
export interface Cosigned {
  readonly size: bigint;
  readonly root: Hash;
  /** Signed by the log: with another one of that size, the proof that the log has forked. */
  readonly note: Uint8Array | undefined;
}

export class WitnessStore {
  readonly #database: DatabaseSync;
  readonly vkey: string;
  readonly #findLog: StatementSync;
  readonly #readCosigned: StatementSync;
  readonly #countLogs: StatementSync;
  readonly #insertLog: StatementSync;
  readonly #updateLog: StatementSync;

  /** Fills a new file. @throws Error when it holds something or cannot be written */
  static create(path: string, vkey: string): void {
    const database = new DatabaseSync(path);
    try {
      database.exec('PRAGMA journal_mode = WAL');
      database.exec('PRAGMA synchronous = FULL');
      database.exec('BEGIN IMMEDIATE');
      database.exec(SCHEMA);
      database.prepare('INSERT INTO witness (vkey) VALUES (?)').run(vkey);
      database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
      database.exec('COMMIT');
    } finally {
      database.close();
    }
  }

  /**
   * Never makes a file: a witness without its memory would cosign everything again from nothing.
   * @throws QvError config_invalid
   */
  constructor(path: string) {
    try {
      const existing = pathToFileURL(path);
      existing.searchParams.set('mode', 'rw');
      this.#database = new DatabaseSync(existing, { timeout: LIMITS.storeBusyMilliseconds });
      // FULL: a cosigned size survives a power cut, not only a crash of this process.
      this.#database.exec('PRAGMA synchronous = FULL');
      this.#database.exec('PRAGMA trusted_schema = OFF');
      const version = this.#database.prepare('PRAGMA user_version').get()?.['user_version'];
      if (version !== SCHEMA_VERSION) throw new QvError('config_invalid', { path, value: `schema ${version}` });
      this.vkey = String(this.#database.prepare('SELECT vkey FROM witness').get()?.['vkey']);
      this.#findLog = this.#database.prepare('SELECT key FROM logs WHERE origin = ?');
      this.#readCosigned = this.#database.prepare('SELECT size, root, note FROM logs WHERE origin = ?');
      // Sizes go up to 2^63 - 1.
      this.#readCosigned.setReadBigInts(true);
      this.#countLogs = this.#database.prepare('SELECT count(*) AS count FROM logs');
      this.#insertLog = this.#database.prepare(
        'INSERT INTO logs (origin, key, size, root, admitted) VALUES (?, ?, 0, ?, ?)',
      );
      this.#updateLog = this.#database.prepare('UPDATE logs SET size = ?, root = ?, note = ? WHERE origin = ?');
    } catch (error) {
      if (error instanceof QvError) throw error;
      throw new QvError('config_invalid', { path, value: 'no memory of a witness' }, { cause: error });
    }
  }

  /** The key of a log that is followed; it never changes. @throws QvError store_unavailable */
  findKey(origin: string): Uint8Array | undefined {
    return this.#guarded(() => this.#keyOf(origin));
  }

  /** Again is no error. @throws QvError witness_logs_full, witness_log_refused, store_unavailable */
  admit(origin: string, key: Uint8Array, nowMs: number): void {
    this.#transaction(() => {
      const known = this.#keyOf(origin);
      // The origin names its key, so this cannot be; a second key would be a second log of the same name.
      if (known !== undefined && !equalBytes(known, key)) throw new QvError('witness_log_refused', { path: 'key' });
      if (known !== undefined) return;
      if (Number(this.#countLogs.get()?.['count']) >= LIMITS.witnessLogs) throw new QvError('witness_logs_full');
      this.#insertLog.run(origin, key, EMPTY_ROOT, nowMs);
    });
  }

  /**
   * `next` is told what was last cosigned and says what now may be, or throws; nobody else moves this log meanwhile.
   * When this returns, the disk has it.
   * @throws QvError witness_log_unknown, store_unavailable, and what `next` throws
   */
  advance(origin: string, next: (last: Cosigned) => Cosigned): void {
    this.#transaction(() => {
      const row = this.#readCosigned.get(origin);
      if (row === undefined) throw new QvError('witness_log_unknown');
      const [before, bytes, signed] = [row['size'], row['root'], row['note']] as [
        bigint,
        Uint8Array,
        Uint8Array | null,
      ];
      const last = { size: before, root: hash(bytes), note: signed ?? undefined };
      const { size, root, note } = next(last);
      if (size === last.size && equalBytes(root, last.root)) return;
      this.#updateLog.run(size, root, note ?? null, origin);
    });
  }

  close(): void {
    this.#database.close();
  }

  #keyOf(origin: string): Uint8Array | undefined {
    return this.#findLog.get(origin)?.['key'] as Uint8Array | undefined;
  }

  /** IMMEDIATE: the lock is taken before the first look. */
  #transaction(work: () => void): void {
    this.#guarded(() => {
      this.#database.exec('BEGIN IMMEDIATE');
      try {
        work();
        this.#database.exec('COMMIT');
      } catch (error) {
        // A full disk, for one, has ended the transaction already.
        if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
        throw error;
      }
    });
  }

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      if (error instanceof Error && 'errcode' in error) throw new QvError('store_unavailable', {}, { cause: error });
      throw error;
    }
  }
}
