/**
 * What a backup is worth, found out offline: put together in a folder of its own, opened as a host would, and read to
 * the end. Nothing here needs a key: seals and row MACs open in an enclave, and by its row key, alone.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Address, addressBytes, type BootId } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { auditLog } from '@quantumvault/shared/evidence/audit/audit.ts';
import type { AuditExpectations } from '@quantumvault/shared/evidence/audit/types.ts';
import { decodeLeaf, leafHash } from '@quantumvault/shared/evidence/leaf.ts';
import { policyFromBytes } from '@quantumvault/shared/policy/policy.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import { openCheckpoint } from '@quantumvault/shared/tlog/checkpoint.ts';
import { parseNote } from '@quantumvault/shared/tlog/note.ts';
import { TILE_WIDTH } from '@quantumvault/shared/tlog/tiles.ts';
import { append, EMPTY_FRONTIER, frontierRoot } from '@quantumvault/shared/tlog/tree.ts';
import { verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { verifyEd25519 } from '../../client/keys.ts';
import { silentLog } from '../../log.ts';
import { MAC_BYTES } from '../../row-key.ts';
import { encodeRow, keyIdOf } from '../../row-mac.ts';
import { examineSqlite, type SnapshotFacts } from '../../store/sqlite-snapshot.ts';
import { openSqliteStore } from '../../store/sqlite-store.ts';
import type { LogRecord, Store, WalletRow } from '../../store/store.ts';
import { orUnwritable } from '../atomic-file.ts';
import { AUDIT_DEPS } from '../audit-report.ts';
import type { CheckedStep } from '../checklist.ts';
import { bytesText, countText } from '../progress.ts';
import { assemble } from './assemble.ts';
import { findBackup, readManifest } from './folder.ts';
import type { Manifest } from './manifest.ts';
import { storedLogs } from './stored-logs.ts';

export interface VerifyRequest {
  readonly folder: string;
  /** Undefined: the newest. */
  readonly number?: number;
  /** Where the database is put together, and removed again: there has to be room for it. */
  readonly scratch: string;
  /** With these the logs are audited as by `qv verify log`; without, they are compared with their checkpoints alone. */
  readonly audit?: AuditExpectations;
  /** Wallets that have to be in it. */
  readonly wallets: readonly Address[];
  readonly onProgress?: (done: number, of: number) => void;
}

export interface Step extends CheckedStep {
  readonly name: string;
}

export interface VerifiedBackup {
  readonly ok: boolean;
  readonly steps: readonly Step[];
  readonly error?: { readonly code: ErrorCode; readonly path?: string; readonly value?: string };
  /** As far as it could be read. */
  readonly manifest?: Manifest;
}

const PAGE = 1000;

const damaged = (path: string, value: string, cause?: unknown): QvError =>
  new QvError('backup_damaged', { path, value }, { cause });

/** What is wrong with the backup is in the answer. @throws QvError output_unwritable of `scratch` */
export async function verifyBackup(request: VerifyRequest): Promise<VerifiedBackup> {
  const { folder, number, audit, wallets, onProgress } = request;
  const checks = new Checks();
  const scratch = await orUnwritable(request.scratch, () => mkdtemp(join(request.scratch, 'qv-backup-')));
  const copy = join(scratch, 'database');
  try {
    const manifest = await checks.run('manifest', 'Manifest', async () => {
      const read = await readManifest(folder, await findBackup(folder, number));
      return [read, `backup ${read.number} of ${read.deployment}, taken at ${formatTime(read.takenAt)}`];
    });
    await checks.run('parts', 'Every part has its SHA-256, and so has the whole', async () => {
      const read = known(manifest);
      await assemble(folder, read, copy, onProgress);
      return [true, `${countText(read.parts)} parts, ${bytesText(read.bytes)}`];
    });
    await checks.run('database', 'The database is whole, and what the manifest says', async () => {
      const facts = examineSqlite(copy);
      compareFacts(facts, known(manifest));
      return [
        true,
        `schema ${facts.schemaVersion}, ${countText(facts.wallets)} wallets, ${countText(facts.leaves)} leaves`,
      ];
    });
    const store = checks.holds ? await openSqliteStore({ path: copy, log: silentLog }) : undefined;
    try {
      const rows = await checks.run('wallets', 'Every wallet’s row parses', async () => {
        const read = await readRows(known(store), known(manifest).wallets);
        const missing = wallets.find((wallet) => !read.has(wallet));
        if (missing !== undefined) throw new QvError('wallet_unknown', { path: missing });
        return [read, `${countText(read.size)} rows`];
      });
      await checks.run('logs', 'Leaves are those of the checkpoints, and no row is older', async () => [
        true,
        await readLogs(known(store), known(rows)),
      ]);
      await checks.run('audit', 'The logs hold, as for qv verify log', async () => {
        if (audit === undefined) return [true, 'not asked for: --pcrs names the images to expect', 'skipped'];
        const { ok, findings, leaves } = await auditLog(storedLogs(known(store)), audit, AUDIT_DEPS);
        const [first] = findings;
        if (!ok)
          throw new QvError(first?.code ?? 'internal', { path: first?.boot ?? 'logs', value: first?.detail ?? '' });
        return [true, `${countText(leaves)} leaves`];
      });
    } finally {
      await store?.close();
    }
    return checks.answer(manifest);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** Of a step that passed: what comes later is not reached without it. */
function known<T>(value: T | undefined): T {
  if (value === undefined) throw new QvError('internal');
  return value;
}

type Outcome<T> = readonly [value: T, found: string, status?: 'skipped'];

/** One after the other; after a failure the rest is not reached. */
class Checks {
  readonly #steps: Step[] = [];
  #error: VerifiedBackup['error'];

  get holds(): boolean {
    return this.#error === undefined;
  }

  async run<T>(name: string, title: string, check: () => Promise<Outcome<T>>): Promise<T | undefined> {
    if (!this.holds) {
      this.#steps.push({ name, title, status: 'not-reached', found: '' });
      return undefined;
    }
    try {
      const [value, found, status = 'pass'] = await check();
      this.#steps.push({ name, title, status, found });
      return value;
    } catch (error) {
      const code = codeOf(error);
      if (!(error instanceof QvError) || code === 'output_unwritable' || code === 'internal') throw error;
      const { path, value } = error.facts;
      this.#error = { code, ...error.facts };
      const found = [path, value].filter((fact) => fact !== undefined).join(': ');
      this.#steps.push({ name, title, status: 'fail', found, code });
      return undefined;
    }
  }

  answer(manifest: Manifest | undefined): VerifiedBackup {
    const error = this.#error;
    return { ok: this.holds, steps: this.#steps, ...(error && { error }), ...(manifest && { manifest }) };
  }
}

function compareFacts(facts: SnapshotFacts, manifest: Manifest): void {
  for (const key of ['deployment', 'schemaVersion', 'wallets', 'leaves'] as const)
    if (facts[key] !== manifest[key]) throw damaged(key, `${facts[key]}, and ${manifest[key]} in the manifest`);
  const same = (log: LogRecord, other: LogRecord | undefined): boolean =>
    log.boot === other?.boot && log.size === other.size && equalBytes(log.checkpoint, other.checkpoint);
  if (facts.logs.length !== manifest.logs.length || !facts.logs.every((log, index) => same(log, manifest.logs[index])))
    throw damaged('logs', 'other checkpoints than in the manifest');
  if (!facts.hasRowKey && facts.wallets > 0) throw damaged('meta', 'wallets, and no row key to open them with');
}

async function readRows(store: Store, count: number): Promise<ReadonlyMap<Address, bigint>> {
  const versions = new Map<Address, bigint>();
  for (let after: Address | undefined; ; ) {
    const page = await store.listWallets(after, PAGE);
    for (const wallet of page) {
      const row = await store.getWallet(wallet);
      if (row === undefined) throw damaged(`wallets.${wallet}`, 'no row');
      requireRow(row);
      versions.set(wallet, row.stateVersion);
    }
    after = page.at(-1);
    if (after === undefined) break;
  }
  if (versions.size !== count) throw damaged('wallets', `${versions.size}, and ${count} in the manifest`);
  return versions;
}

function requireRow(row: WalletRow): void {
  const { wallet, owner, policy, rowMac } = row;
  const path = `wallets.${wallet}`;
  try {
    // As for its MAC, which nobody here compares: the key is with the host.
    encodeRow(row);
    const document = policy && policyFromBytes(policy);
    if (document !== undefined && (document.wallet !== wallet || document.owner !== owner))
      throw damaged(path, 'the policy of another wallet');
  } catch (error) {
    const { value } = error instanceof QvError ? error.facts : {};
    throw damaged(path, value ?? codeOf(error), error);
  }
  if (keyIdOf(rowMac) === undefined && rowMac.length !== MAC_BYTES) throw damaged(path, 'row_mac');
}

/** Every boot's leaves, up to its checkpoint: its root, and what they need of the wallets' rows. */
async function readLogs(store: Store, rows: ReadonlyMap<Address, bigint>): Promise<string> {
  const logs = await store.getLogs();
  let leaves = 0n;
  for (const log of logs) {
    await readLog(store, log, rows);
    leaves += log.size;
  }
  return `${countText(logs.length)} logs, ${countText(leaves)} leaves published`;
}

async function readLog(store: Store, { boot, size, checkpoint: bytes }: LogRecord, rows: ReadonlyMap<Address, bigint>) {
  const { checkpoint } = openLog(bytes, boot);
  if (checkpoint.size !== size)
    throw damaged(`logs.${boot}`, `${size} leaves, and ${checkpoint.size} in the checkpoint`);
  let frontier = EMPTY_FRONTIER;
  for (let next = 0n; next < size; ) {
    const page = await store.getLeaves(boot, next, TILE_WIDTH);
    if (page.length === 0) throw new QvError('log_truncated', { path: `logs.${boot}.${next}` });
    for (const { sequence, leaf } of page) {
      if (next >= size) break;
      const path = `logs.${boot}.${next}`;
      if (sequence !== next) throw new QvError('log_entry_missing', { path });
      const { wallet, stateVersion } = decodeLeaf(leaf);
      const stored = wallet && rows.get(wallet);
      // No lease could take it: a log that says more than the rows know.
      if (stored !== undefined && stateVersion !== undefined && stored < stateVersion)
        throw new QvError('state_too_old', {
          path: `wallets.${wallet}`,
          value: `${stored}, and ${stateVersion} at ${path}`,
        });
      frontier = append(frontier, leafHash(leaf));
      next++;
    }
  }
  if (!equalBytes(frontierRoot(frontier), checkpoint.root))
    throw new QvError('log_root_mismatch', { path: `logs.${boot}` });
}

/** As its boot key signed it. @throws QvError log_* */
function openLog(note: Uint8Array, boot: BootId) {
  const [origin = ''] = parseNote(note).text.split('\n');
  if (!origin.endsWith(`/${boot}`)) throw new QvError('log_origin_mismatch', { path: `logs.${boot}` });
  const key = verifierKey(origin, 'ed25519', addressBytes(boot));
  return openCheckpoint(note, { origin, key, witnesses: [] }, verifyEd25519);
}
