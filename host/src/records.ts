/**
 * Writing down what the enclave decided. A decision whose record the database does not take is not released, but it
 * was made: it stays in a bounded backlog and is written as soon as the database allows. When the backlog is full
 * nothing new is decided, because evidence would be lost.
 */
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import type { Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Log } from './log.ts';
import type { UsesRowKey } from './row-keys.ts';
import {
  type EnabledRecord,
  type MovedRecord,
  type RetiredRecord,
  RowWrites,
  type SignedRecord,
} from './row-writes.ts';
import { leafRecord, type ReplyRecord, type Store } from './store/store.ts';

/** As the enclave tells it. */
export type NewestState = ReplyOf<'stateGet'>;

interface WaitingState {
  newest: NewestState;
  /** Never rejected. */
  written: Promise<void>;
}

export class Records {
  readonly #store: Store;
  readonly #keys: UsesRowKey;
  readonly #rows: RowWrites;
  readonly #log: Log;
  readonly #backlog: (() => Promise<void>)[] = [];
  /** States to be written without a leaf: the newest of each wallet. */
  readonly #states = new Map<Address, WaitingState>();
  /** By an enclave behind this host: their rows say so as well, once they are written. */
  readonly #retired = new Set<Address>();
  readonly #limit: number;
  readonly #onRecovered: (receipt: Receipt) => void;
  #timer: NodeJS.Timeout | undefined;
  #flushing = false;
  #closed = false;

  /** @param onRecovered told of each leaf that no reply has brought */
  constructor(
    store: Store,
    keys: UsesRowKey,
    log: Log,
    limit: number = LIMITS.storeBacklog,
    onRecovered: (receipt: Receipt) => void = () => undefined,
  ) {
    this.#store = store;
    this.#keys = keys;
    this.#rows = new RowWrites(store, keys);
    this.#log = log;
    this.#limit = limit;
    this.#onRecovered = onRecovered;
  }

  /** @throws QvError overloaded when nothing more may be decided */
  requireRoom(): void {
    if (this.#backlog.length >= this.#limit) throw new QvError('overloaded');
  }

  get backlog(): number {
    return this.#backlog.length;
  }

  /** State, leaves and reply in one transaction. @throws QvError store_*, row_tampered, overloaded */
  signed(record: SignedRecord): Promise<void> {
    return this.#write(() => this.#rows.state(record), record.receipts);
  }

  /** State and leaf in one transaction. @throws QvError store_*, row_tampered, overloaded */
  moved(record: MovedRecord): Promise<void> {
    return this.#write(() => this.#rows.state(record), record.receipts);
  }

  /** States given to `state` that are not written yet. */
  get statesWaiting(): number {
    return this.#states.size;
  }

  /**
   * The newest state of a wallet, without a leaf: resolves once it is written, or waits in the backlog already. A
   * wallet has one place there, however often its state changes meanwhile. Without a row nothing is written.
   * @throws QvError store_*, row_tampered, overloaded
   */
  async state(wallet: Address, newest: NewestState): Promise<void> {
    const waiting = this.#states.get(wallet);
    if (waiting !== undefined) {
      if (waiting.newest.state.version < newest.state.version) waiting.newest = newest;
      return await waiting.written;
    }
    const place: WaitingState = { newest, written: Promise.resolve() };
    this.#states.set(wallet, place);
    const writing = this.#write(() => this.#applyNewest(wallet));
    place.written = writing.catch(() => undefined);
    await writing;
  }

  /** @throws QvError store_*, row_tampered, overloaded */
  enabled(record: EnabledRecord): Promise<void> {
    return this.#write(() => this.#rows.enabled(record), [record.reply.receipt]);
  }

  /** @throws QvError store_*, row_tampered, overloaded */
  retired(record: RetiredRecord): Promise<void> {
    // Whatever becomes of the row: the enclave has ended it.
    this.#retired.add(record.row.wallet);
    return this.#write(() => this.#rows.retired(record), record.receipt && [record.receipt]);
  }

  /** For what was signed before and has not left yet. @throws QvError wallet_retired */
  requireLive(wallet: Address): void {
    if (this.#retired.has(wallet)) throw new QvError('wallet_retired', { path: 'wallet' });
  }

  /** Denials' leaves and their reply. @throws QvError store_*, overloaded */
  denied(receipts: readonly Receipt[], reply: ReplyRecord): Promise<void> {
    return this.#write(
      () => this.#store.putLeaves(receipts.map(leafRecord), this.#keys.require().sealReply(reply)),
      receipts,
    );
  }

  /** Leaves that no reply has brought yet. Written as soon as the database allows; nobody waits. */
  recovered(receipts: readonly Receipt[]): void {
    for (const receipt of receipts) this.#onRecovered(receipt);
    const writes = receipts.map((receipt) => this.#write(() => this.#store.putLeaves([leafRecord(receipt)])));
    Promise.all(writes).catch((error) => this.#log.error({ code: codeOf(error) }, 'leaves are not stored yet'));
  }

  /** A leaf nobody waits for. */
  leaf(receipt: Receipt): void {
    this.#write(() => this.#store.putLeaves([leafRecord(receipt)])).catch((error) =>
      this.#log.error({ code: codeOf(error) }, 'a leaf is not stored yet'),
    );
  }

  async #write(work: () => Promise<void>, receipts: readonly Receipt[] = []): Promise<void> {
    const task = () => this.#keys.writing(work);
    try {
      await task();
    } catch (error) {
      if (isPassing(error)) this.#keep(task);
      // The decision was made: what cannot be written whole leaves its leaves at least.
      else for (const receipt of receipts) this.leaf(receipt);
      throw error;
    }
  }

  async #applyNewest(wallet: Address): Promise<void> {
    try {
      for (let place = this.#states.get(wallet); place !== undefined; place = this.#states.get(wallet)) {
        const { newest } = place;
        const row = await this.#rows.find(wallet);
        if (row !== undefined) await this.#rows.state({ row, ...newest });
        if (place.newest === newest) this.#states.delete(wallet);
      }
    } catch (error) {
      if (!isPassing(error)) this.#states.delete(wallet);
      throw error;
    }
  }

  #keep(task: () => Promise<void>): void {
    // requireRoom stops new decisions at the limit; those under way then still have their place.
    this.#backlog.push(task);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#backlog.length === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.flush().then(() => this.#schedule());
    }, LIMITS.storeRetryMilliseconds);
  }

  /** Writes the backlog in order, until the database refuses again. */
  async flush(): Promise<void> {
    if (this.#flushing) return;
    this.#flushing = true;
    try {
      for (let task = this.#backlog[0]; task !== undefined; task = this.#backlog[0]) {
        try {
          await task();
        } catch (error) {
          if (isPassing(error)) return;
          this.#log.error({ code: codeOf(error) }, 'a decision cannot be stored');
        }
        this.#backlog.shift();
      }
    } finally {
      this.#flushing = false;
    }
  }

  /** Writes the backlog until it is empty or the time is over. How many decisions are left. */
  async drain(limitMilliseconds: number): Promise<number> {
    const until = performance.now() + limitMilliseconds;
    await this.flush();
    while (this.#backlog.length > 0 && performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, LIMITS.storeRetryMilliseconds));
      await this.flush();
    }
    return this.#backlog.length;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }
}

function isPassing(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'store_unavailable' || code === 'overloaded';
}

/** When a reply given at `now` is forgotten. */
export function replyExpiry(now: TimeMs): TimeMs {
  return (now + LIMITS.replyKeepSeconds * 1000) as TimeMs;
}
