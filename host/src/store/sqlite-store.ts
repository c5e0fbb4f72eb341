/** The Store on SQLite: this side queues, bounds and times; the database thread does the work. */
import { Worker } from 'node:worker_threads';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import { URGENT } from './operation-kinds.ts';
import type { WorkerData, WorkerMessage, WorkerRequest } from './sqlite-worker.ts';
import type { Store } from './store.ts';

export interface SqliteStoreOptions {
  readonly path: string;
  readonly log: Log;
  readonly busyMilliseconds?: number;
  readonly timeoutMilliseconds?: number;
  /** Without what is kept for the stop button. */
  readonly queue?: number;
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: QvError) => void;
  readonly timer: NodeJS.Timeout;
}

const RESTART_MILLISECONDS = 1_000;

/** @throws QvError store_unavailable when the file cannot be opened or migrated */
export async function openSqliteStore(options: SqliteStoreOptions): Promise<Store> {
  const thread = new DatabaseThread(options);
  await thread.start();
  return {
    getWallet: (...parameters) => thread.call('getWallet', parameters),
    getStateVersions: (...parameters) => thread.call('getStateVersions', parameters),
    countWithoutSecond: () => thread.call('countWithoutSecond', []),
    listWallets: (...parameters) => thread.call('listWallets', parameters),
    insertWallet: (...parameters) => thread.call('insertWallet', parameters),
    getCreation: (...parameters) => thread.call('getCreation', parameters),
    applySigned: (...parameters) => thread.call('applySigned', parameters),
    enablePolicy: (...parameters) => thread.call('enablePolicy', parameters),
    replaceWalletKeys: (...parameters) => thread.call('replaceWalletKeys', parameters),
    retireWallet: (...parameters) => thread.call('retireWallet', parameters),
    putLeaves: (...parameters) => thread.call('putLeaves', parameters),
    firstMissingLeaf: (...parameters) => thread.call('firstMissingLeaf', parameters),
    getLeaves: (...parameters) => thread.call('getLeaves', parameters),
    findDecisions: (...parameters) => thread.call('findDecisions', parameters),
    findHistory: (...parameters) => thread.call('findHistory', parameters),
    findSuccession: (...parameters) => thread.call('findSuccession', parameters),
    getLogs: (...parameters) => thread.call('getLogs', parameters),
    putTiles: (...parameters) => thread.call('putTiles', parameters),
    getTile: (...parameters) => thread.call('getTile', parameters),
    publishLog: (...parameters) => thread.call('publishLog', parameters),
    putPolicy: (...parameters) => thread.call('putPolicy', parameters),
    getPolicy: (...parameters) => thread.call('getPolicy', parameters),
    getReply: (...parameters) => thread.call('getReply', parameters),
    deleteExpiredReplies: (...parameters) => thread.call('deleteExpiredReplies', parameters),
    getMeta: (...parameters) => thread.call('getMeta', parameters),
    createMeta: (...parameters) => thread.call('createMeta', parameters),
    latchFreeze: (...parameters) => thread.call('latchFreeze', parameters),
    clearFreeze: (...parameters) => thread.call('clearFreeze', parameters),
    getFreezes: (...parameters) => thread.call('getFreezes', parameters),
    useTotpStep: (...parameters) => thread.call('useTotpStep', parameters),
    putPanicCode: (...parameters) => thread.call('putPanicCode', parameters),
    findPanicCode: (...parameters) => thread.call('findPanicCode', parameters),
    putSignal: (...parameters) => thread.call('putSignal', parameters),
    findSignals: (...parameters) => thread.call('findSignals', parameters),
    deleteExpiredSignals: (...parameters) => thread.call('deleteExpiredSignals', parameters),
    getRowKeys: (...parameters) => thread.call('getRowKeys', parameters),
    beginRowKey: (...parameters) => thread.call('beginRowKey', parameters),
    finishRowKey: (...parameters) => thread.call('finishRowKey', parameters),
    discardNextRowKey: (...parameters) => thread.call('discardNextRowKey', parameters),
    findSealedOtherwise: (...parameters) => thread.call('findSealedOtherwise', parameters),
    replaceMacs: (...parameters) => thread.call('replaceMacs', parameters),
    ping: (...parameters) => thread.call('ping', parameters),
    close: () => thread.close(),
  };
}

class DatabaseThread {
  readonly #options: SqliteStoreOptions;
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #restart: NodeJS.Timeout | undefined;
  #nextId = 0;
  #closed = false;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
  }

  /** Resolves when the database is open. */
  start(): Promise<void> {
    const data: WorkerData = {
      path: this.#options.path,
      busyMilliseconds: this.#options.busyMilliseconds ?? LIMITS.storeBusyMilliseconds,
    };
    // The thread needs no arguments and no environment of ours.
    const worker = new Worker(new URL('./sqlite-worker.ts', import.meta.url), {
      workerData: data,
      env: {},
      execArgv: [],
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    worker.on('message', (message: WorkerMessage) => {
      if ('opened' in message) {
        this.#worker = worker;
        resolve();
      } else if (message.id !== 'open') {
        this.#settle(message.id, message);
      } else if ('code' in message) {
        reject(this.#faultOf(message));
      }
    });
    worker.on('error', (error) => this.#options.log.error({ reason: error.message }, 'database thread failed'));
    worker.on('exit', () => {
      reject(new QvError('store_unavailable'));
      if (this.#worker === worker) this.#onExit();
    });
    return promise;
  }

  call<T>(name: WorkerRequest['name'], parameters: readonly unknown[]): Promise<T> {
    const worker = this.#worker;
    if (worker === undefined || this.#closed) return Promise.reject(new QvError('store_unavailable'));
    // What timed out for its caller still waits in the thread, and counts until it is answered.
    const kept = URGENT.has(name) ? LIMITS.storeQueueReserved : 0;
    if (this.#pending.size >= (this.#options.queue ?? LIMITS.storeQueue) + kept) {
      return Promise.reject(new QvError('overloaded'));
    }
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new QvError('store_unavailable')),
        this.#options.timeoutMilliseconds ?? LIMITS.storeTimeoutMilliseconds,
      );
      this.#pending.set(id, { resolve: (value) => resolve(value as T), reject, timer });
      worker.postMessage({ id, name, parameters } satisfies WorkerRequest);
    });
  }

  #settle(id: number, message: Exclude<WorkerMessage, { opened: true }>): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    if ('code' in message) pending.reject(this.#faultOf(message));
    else pending.resolve(message.value);
  }

  #faultOf(message: Extract<WorkerMessage, { code: string }>): QvError {
    this.#options.log.warn({ code: message.code, reason: message.reason }, 'database refused');
    return new QvError(message.code, message.path === undefined ? {} : { path: message.path });
  }

  #onExit(): void {
    this.#worker = undefined;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(new QvError('store_unavailable'));
    }
    this.#pending.clear();
    if (!this.#closed) this.#startAgain();
  }

  #startAgain(): void {
    this.#restart = setTimeout(() => {
      this.start().catch(() => {
        if (!this.#closed) this.#startAgain();
      });
    }, RESTART_MILLISECONDS).unref();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (worker === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    worker.once('exit', () => resolve());
    worker.postMessage('close');
    // A thread stuck in the file system must not keep the host from stopping.
    const timer = setTimeout(() => void worker.terminate(), LIMITS.storeTimeoutMilliseconds);
    await promise;
    clearTimeout(timer);
  }
}
