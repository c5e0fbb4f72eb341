/**
 * The database thread. node:sqlite is synchronous: a locked database stalls whoever calls it for its whole busy
 * timeout, so only this thread calls it. Writes that arrive together share one transaction and one fsync (group
 * commit); each is answered after COMMIT.
 */
import { DatabaseSync } from 'node:sqlite';
import { parentPort, workerData } from 'node:worker_threads';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { URGENT, WRITES } from './operation-kinds.ts';
import { type Operations, operations } from './sqlite-operations.ts';
import { migrate } from './sqlite-schema.ts';

export interface WorkerRequest {
  readonly id: number;
  readonly name: keyof Operations;
  readonly parameters: readonly unknown[];
}

export type WorkerMessage =
  | { readonly opened: true }
  | { readonly id: number; readonly value: unknown }
  | {
      readonly id: number | 'open';
      readonly code: 'store_unavailable' | 'store_conflict' | 'internal';
      readonly path?: string;
      /** For the log. */
      readonly reason: string;
    };

export interface WorkerData {
  readonly path: string;
  readonly busyMilliseconds: number;
}

type Answer = Extract<WorkerMessage, { id: number | 'open' }>;

const SQLITE_CONSTRAINT = 19;

const port = parentPort;
if (port === null) throw new Error('sqlite-worker.ts runs as a worker');

const { path, busyMilliseconds } = workerData as WorkerData;
const urgent: WorkerRequest[] = [];
const queue: WorkerRequest[] = [];
let scheduled = false;

const database = open();
const perform = database === undefined ? undefined : operations(database);

function open(): DatabaseSync | undefined {
  try {
    const opened = new DatabaseSync(path, { timeout: busyMilliseconds, enableForeignKeyConstraints: true });
    opened.exec('PRAGMA journal_mode = WAL');
    // FULL: an answered write survives a power cut, not only a crash of this process.
    opened.exec('PRAGMA synchronous = FULL');
    opened.exec('PRAGMA trusted_schema = OFF');
    migrate(opened);
    port?.postMessage({ opened: true } satisfies WorkerMessage);
    return opened;
  } catch (error) {
    port?.postMessage(fault('open', error));
    port?.close();
    return undefined;
  }
}

port.on('message', (message: WorkerRequest | 'close') => {
  if (message === 'close') {
    while (isWaiting()) flush();
    database?.close();
    port.close();
    return;
  }
  (URGENT.has(message.name) ? urgent : queue).push(message);
  if (scheduled) return;
  scheduled = true;
  // After the messages that have arrived already: those are the group.
  setImmediate(run);
});

const isWaiting = (): boolean => urgent.length + queue.length > 0;

function run(): void {
  flush();
  scheduled = isWaiting();
  if (scheduled) setImmediate(run);
}

function flush(): void {
  const first = urgent.splice(0, LIMITS.storeBatch);
  const batch = [...first, ...queue.splice(0, LIMITS.storeBatch - first.length)];
  // Reads outside of the transaction, so that none of them sees what may yet fail to commit.
  for (const request of batch) if (!WRITES.has(request.name)) port?.postMessage(answerTo(request));
  const writes = batch.filter(({ name }) => WRITES.has(name));
  if (writes.length > 0) for (const answer of commit(writes)) port?.postMessage(answer);
}

function commit(writes: readonly WorkerRequest[]): readonly Answer[] {
  try {
    database?.exec('BEGIN IMMEDIATE');
    const answers = writes.map(savepoint);
    database?.exec('COMMIT');
    return answers;
  } catch (error) {
    if (database?.isTransaction) database.exec('ROLLBACK');
    return writes.map(({ id }) => fault(id, error));
  }
}

/** One write of the group; when it fails the others still count. */
function savepoint(request: WorkerRequest): Answer {
  database?.exec('SAVEPOINT one');
  const answer = answerTo(request);
  // Some faults, a full disk for one, end the whole transaction: then nobody's write counts.
  if (!database?.isTransaction) throw new Error('reason' in answer ? answer.reason : 'transaction lost');
  if ('code' in answer) database.exec('ROLLBACK TO one');
  database.exec('RELEASE one');
  return answer;
}

function answerTo({ id, name, parameters }: WorkerRequest): Answer {
  try {
    const operation = perform?.[name] as ((...all: readonly unknown[]) => unknown) | undefined;
    if (operation === undefined) throw new Error('not open');
    return { id, value: operation(...parameters) };
  } catch (error) {
    return fault(id, error);
  }
}

function fault(id: number | 'open', error: unknown): Answer {
  const reason = error instanceof Error ? error.message : String(error);
  if (error instanceof QvError) {
    const code = error.code === 'store_conflict' || error.code === 'internal' ? error.code : 'store_unavailable';
    return { id, code, reason, ...(error.facts.path === undefined ? {} : { path: error.facts.path }) };
  }
  const number = error instanceof Error && 'errcode' in error ? Number(error.errcode) & 0xff : 0;
  return { id, code: number === SQLITE_CONSTRAINT ? 'internal' : 'store_unavailable', reason };
}
