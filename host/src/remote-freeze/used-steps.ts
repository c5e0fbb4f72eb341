/**
 * Each code counts once (RFC 6238 section 5.2): the last time step used under a login is remembered, and no step up to
 * it ever counts again, across restarts too. This process's memory decides between requests that arrive together, the
 * database between this process and earlier ones.
 *
 * A database that does not answer stops no freeze. What is lost then: somebody who saw a code being used could use it
 * once more if the host restarts within its 90 seconds and before the database took the step. He could freeze what the
 * code's owner could, and nothing else: being unable to freeze is worse.
 */
import { codeOf } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import type { Store } from '../store/store.ts';
import { within } from '../within.ts';

export class UsedSteps {
  readonly #store: Store;
  readonly #log: Log;
  /** By login; only names of the operators file, so no more than that has. */
  readonly #last = new Map<string, number>();
  readonly #unwritten = new Set<string>();
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(store: Store, log: Log) {
    this.#store = store;
    this.#log = log;
  }

  /** True once for each step, and never for one before it. */
  async use(login: string, step: number): Promise<boolean> {
    // No await between looking and setting.
    if (step <= (this.#last.get(login) ?? -1)) return false;
    this.#last.set(login, step);
    try {
      return await within(LIMITS.freezeLookupMilliseconds, this.#store.useTotpStep(login, step));
    } catch (error) {
      this.#log.warn({ login, code: codeOf(error) }, 'a used code is kept in memory, not yet in the database');
      this.#unwritten.add(login);
      this.#retryLater();
      return true;
    }
  }

  #retryLater(): void {
    if (this.#closed || this.#retry !== undefined || this.#unwritten.size === 0) return;
    this.#retry = setTimeout(() => {
      void Promise.all([...this.#unwritten].map((login) => this.#write(login))).then(() => {
        this.#retry = undefined;
        this.#retryLater();
      });
    }, LIMITS.storeRetryMilliseconds);
  }

  async #write(login: string): Promise<void> {
    const step = this.#last.get(login) ?? 0;
    try {
      await this.#store.useTotpStep(login, step);
      if (this.#last.get(login) === step) this.#unwritten.delete(login);
    } catch {
      // Tried again, with what is the last step then.
    }
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }
}
