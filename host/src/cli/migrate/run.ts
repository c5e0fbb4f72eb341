/**
 * Row after row through the host to its enclave, and what became of each. All of it can be interrupted anywhere and done
 * again: rows whose wallets are stored are left alone.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { signature } from '@quantumvault/shared/brands.ts';
import { fromBase64, toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { migrationNonce } from '@quantumvault/shared/evidence/migration.ts';
import { verifyCertificate } from '@quantumvault/shared/evidence/verify.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { operatorSignedJson } from '../../admin/succession-json.ts';
import type { AdminCommands } from '../../admin-protocol.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { eachOf, moveCall } from '../succession/moves.ts';
import type { MigrationFile } from './file.ts';
import type { ListedRow, RowList } from './list.ts';

export type Outcome = AdminCommands['migration-row']['result']['outcome'] | 'failed' | 'left';

export interface RowReport {
  readonly id: string;
  readonly wallet: string;
  readonly owner: string;
  /** `left`: not tried, because the run had to stop before. */
  readonly outcome: Outcome;
  readonly code?: ErrorCode;
  readonly path?: string;
  readonly value?: string;
  readonly certificate?: unknown;
  readonly receipt?: unknown;
}

export interface RunReport {
  /** In the order of the list. */
  readonly rows: readonly RowReport[];
  /** Why it stopped before the end. */
  readonly stopped?: ErrorCode;
}

export interface RunOptions {
  readonly socket: string;
  readonly file: MigrationFile;
  readonly list: RowList;
  readonly dryRun: boolean;
  readonly rowsPerSecond: number;
  readonly onProgress: (done: number, total: number) => void;
}

/** What the next row would meet as well: going on would only make the report longer. */
const STOPS: readonly ErrorCode[] = [
  'migration_refused',
  'migration_not_enabled',
  'migration_under_way',
  'operators_too_few',
  'statement_expired',
  'deployment_mismatch',
  'wallets_full',
  'not_initialised',
  'frozen',
];
/** A host or an enclave that is only restarting. */
const ATTEMPTS = 5;
const PAUSE_MILLISECONDS = 1_000;

/** @throws QvError usage_invalid without a sealed secret, and what the enclave refuses to begin with */
export async function runMigration({
  socket,
  file,
  list,
  dryRun,
  rowsPerSecond,
  onProgress,
}: RunOptions): Promise<RunReport> {
  const { sealed, signed } = file;
  if (sealed === undefined)
    throw new QvError('usage_invalid', { value: 'no secret is sealed in there: qv migrate seal' });
  const statement = toHex(sha256(signed.bytes));
  const begin = () =>
    again(() =>
      moveCall(socket, 'migration-begin', { statement: operatorSignedJson(signed), sealed: toBase64(sealed) }),
    );
  await begin();
  const reports = new Map<number, RowReport>();
  const pace = new Pace(rowsPerSecond);
  let stopped: ErrorCode | undefined;
  const migrate = async (listed: ListedRow): Promise<void> => {
    const { index, row, encoded } = listed;
    const { id, wallet, owner } = row;
    const facts = { id, wallet, owner };
    if (stopped !== undefined) return;
    await pace.turn();
    if (stopped !== undefined) return;
    const proof = (await list.proof(index)).map((hash) => toBase64(hash));
    const call = () =>
      again(() => moveCall(socket, 'migration-row', { statement, row: toBase64(encoded), index, proof, dryRun }));
    try {
      // After a freeze, or when its time was thought to be up, the same boot begins anew; another one refuses.
      const result = await call().catch(async (error: unknown) => {
        if (codeOf(error) !== 'migration_not_begun') throw error;
        await begin();
        return await call();
      });
      if (result.outcome === 'migrated') requireMigrated(file, listed, result);
      reports.set(index, { ...facts, ...result });
    } catch (error) {
      const code = codeOf(error);
      if (STOPS.includes(code) || ERRORS[code].retryable) stopped ??= code;
      const { path, value } = error instanceof QvError ? error.facts : {};
      reports.set(index, {
        ...facts,
        outcome: 'failed',
        code,
        ...(path !== undefined && { path }),
        ...(value !== undefined && { value }),
      });
    }
    onProgress(reports.size, list.rows.length);
  };
  await eachOf(list.rows, migrate);
  // What the secret yielded has no business there any more. A host that is gone has an enclave that forgets in time.
  await moveCall(socket, 'migration-end', { statement }).catch(() => undefined);
  const rows = list.rows.map(
    ({ index, row: { id, wallet, owner } }): RowReport => reports.get(index) ?? { id, wallet, owner, outcome: 'left' },
  );
  return { rows, ...(stopped && { stopped }) };
}

/**
 * By the word of the boot that the operators have had attested, whatever the host says.
 * @throws QvError evidence_*, base64_malformed, …
 */
function requireMigrated(
  { signed, statement: { deployment, boot } }: MigrationFile,
  { row: { wallet, owner, requesters }, encoded }: ListedRow,
  { certificate, receipt }: Extract<AdminCommands['migration-row']['result'], { outcome: 'migrated' }>,
): void {
  const nonce = migrationNonce(sha256(signed.bytes), leafHash(encoded));
  verifyCertificate(
    { bytes: fromBase64(certificate.bytes), signature: signature(fromBase64(certificate.signature)) },
    { leaf: fromBase64(receipt.leaf), signature: signature(fromBase64(receipt.signature)) },
    { deployment, boot, wallet, owner, requesters, nonce, imported: true, migrated: true },
    verifyEd25519,
  );
}

/** The same once more while it may help. @throws what the last attempt did */
async function again<T>(call: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await call();
    } catch (error) {
      if (attempt === ATTEMPTS || !ERRORS[codeOf(error)].retryable) throw error;
      await delay(PAUSE_MILLISECONDS * attempt);
    }
  }
}

/** So many turns in a second, evenly. */
class Pace {
  readonly #milliseconds: number;
  #next = 0;

  constructor(perSecond: number) {
    this.#milliseconds = 1000 / perSecond;
  }

  async turn(): Promise<void> {
    const now = performance.now();
    const at = Math.max(now, this.#next);
    this.#next = at + this.#milliseconds;
    if (at > now) await delay(at - now);
  }
}

export const MAX_ROWS_PER_SECOND = 1_000;

/** How many of each, in the order in which they are told. */
export function countsOf(rows: readonly RowReport[]): Readonly<Record<Outcome, number>> {
  const counts: Record<Outcome, number> = { migrated: 0, there: 0, opens: 0, failed: 0, left: 0 };
  for (const { outcome } of rows) counts[outcome]++;
  return counts;
}

/** Said once, with every report of a run that migrated something: it changes what operators do next. */
export const EXPOSED =
  'A migrated key stays as exposed as it was: v2 had it in strings on a server, and whoever kept a copy signs without ' +
  'this enclave. Better than migrating is a wallet that is born in the enclave, and moving what the old one holds. ' +
  'Stop v2, and destroy its secret, its database and their backups.';
