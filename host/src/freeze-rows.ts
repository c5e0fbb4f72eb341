/**
 * The database's copy of the freezes. A write carries what memory says when its turn comes, so the last one leaves
 * the row as memory is, whatever failed or overtook what before; one that failed is tried again until it is taken.
 */
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { FreezeRecord, Store } from './store/store.ts';

export class FreezeRows {
  readonly #store: Store;
  /** What memory holds for a scope. */
  readonly #held: (scope: string) => FreezeRecord | undefined;
  /** What each row was last seen to be. */
  readonly #stored = new Map<string, FreezeRecord>();
  /** Ended in memory; their rows may still be there. */
  readonly #ended = new Map<string, FreezeRecord>();
  readonly #turns = new Map<string, Promise<void>>();
  readonly #failed = new Set<string>();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(store: Store, held: (scope: string) => FreezeRecord | undefined) {
    this.#store = store;
    this.#held = held;
  }

  /** This is what the row says already. */
  seen(record: FreezeRecord): void {
    this.#stored.set(record.scope, record);
  }

  /** The freeze of this id is over. Its row goes, unless another order's id is in it by then. */
  end(record: FreezeRecord): Promise<void> {
    this.#ended.set(record.scope, record);
    return this.write(record.scope);
  }

  /** Whether a row is one that was resumed and could not be removed yet. */
  isEnded({ scope, freezeId }: FreezeRecord): boolean {
    const ended = this.#ended.get(scope)?.freezeId;
    return ended !== undefined && freezeId !== undefined && equalBytes(ended, freezeId);
  }

  /** Scopes that were resumed and whose rows may still be there. */
  get ending(): ReadonlySet<string> {
    return new Set(this.#ended.keys());
  }

  /** Resolves when the row is as memory is. @throws QvError store_unavailable, overloaded; it is tried again then */
  write(scope: string): Promise<void> {
    const turn = (this.#turns.get(scope) ?? Promise.resolve()).then(() => this.#step(scope));
    const quiet = turn.catch(() => this.#retryLater(scope));
    this.#turns.set(scope, quiet);
    void quiet.then(() => {
      if (this.#turns.get(scope) === quiet) this.#turns.delete(scope);
    });
    return turn;
  }

  async #step(scope: string): Promise<void> {
    const record = this.#held(scope);
    if (record !== undefined) {
      await this.#latch(record);
      this.#ended.delete(scope);
      return;
    }
    const ended = this.#ended.get(scope);
    if (ended === undefined) return;
    // An id that the row never got could not be compared with.
    await this.#latch(ended);
    await this.#store.clearFreeze(scope, ended.freezeId);
    this.#stored.delete(scope);
    if (this.#ended.get(scope) === ended) this.#ended.delete(scope);
  }

  async #latch(record: FreezeRecord): Promise<void> {
    if (this.#stored.get(record.scope) === record) return;
    await this.#store.latchFreeze(record);
    this.#stored.set(record.scope, record);
  }

  /** A freeze that the database did not take would be forgotten by a restart. */
  #retryLater(scope: string): void {
    this.#failed.add(scope);
    if (this.#closed || this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      const failed = [...this.#failed];
      this.#failed.clear();
      for (const each of failed) this.write(each).catch(() => undefined);
    }, LIMITS.storeRetryMilliseconds);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }
}
