/**
 * The host's side of the kill switch (design 9). A freeze latches in memory first, then at the same time in the
 * enclave, over its own connection, and in the database; each is waited for no longer than its own bound and answered
 * for separately, so that one that hangs delays none of the others. Nothing here clears a freeze.
 */
import { type TimeMs, timeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { printableFact } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { EnclaveClient } from './enclave/client.ts';
import type { Log } from './log.ts';
import type { Records } from './records.ts';
import type { FreezeRecord, Store } from './store/store.ts';
import { type ReceiptJson, receiptJson, type SignedBytesJson, signedBytesJson } from './wire-json.ts';

export type FreezeScope = 'fleet';

export const REASON_CHARACTERS = 200;

/** Whether one place holds the freeze; when it does, since when (RFC 3339 with milliseconds), else why not. */
export type Hold<More = object> =
  | ({ readonly held: true; readonly at: string } & More)
  | { readonly held: false; readonly code: ErrorCode };

export interface FreezeReport {
  readonly scope: FreezeScope;
  readonly host: Hold;
  /** With the boot-signed acknowledgement (qv/freeze-ack/v1) and the leaf that records it. */
  readonly enclave: Hold<{ readonly ack: SignedBytesJson; readonly receipt: ReceiptJson }>;
  readonly database: Hold;
}

export interface FreezeDeps {
  readonly store: Store;
  readonly control: EnclaveClient;
  readonly records: Records;
  readonly log: Log;
  readonly now: () => TimeMs;
}

export class Freezes {
  readonly #deps: FreezeDeps;
  #held: FreezeRecord | undefined;
  #loaded = false;
  #persisted = false;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(deps: FreezeDeps) {
    this.#deps = deps;
  }

  /** The freeze of the fleet, while one holds. */
  get held(): FreezeRecord | undefined {
    return this.#held;
  }

  /** Reads what an earlier process latched. Until that is known nothing is released. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    const [kept] = await this.#deps.store.getFreezes();
    if (kept !== undefined) {
      // Whatever the row says, it says that somebody froze something: unreadable parts never unfreeze.
      this.#held ??= {
        scope: 'fleet',
        reason: printableFact(kept.reason, REASON_CHARACTERS),
        latchedAt: isInstant(kept.latchedAt) ? kept.latchedAt : this.#deps.now(),
      };
      this.#persisted = true;
    }
    this.#loaded = true;
  }

  /** @throws QvError frozen; store_unavailable while it is unknown whether a freeze holds */
  requireOpen(): void {
    if (this.#held !== undefined) throw new QvError('frozen');
    if (!this.#loaded) throw new QvError('store_unavailable');
  }

  /** The enclave was frozen by somebody else: then the host is, too, and says so for stored replies as well. */
  noteEnclaveFrozen(): void {
    if (this.#held !== undefined) return;
    this.#latch('the enclave was frozen from elsewhere');
    void this.#persist();
  }

  async freeze(reason: string): Promise<FreezeReport> {
    const record = this.#latch(reason);
    const [enclave, database] = await Promise.all([this.tellEnclave(reason), this.#persist()]);
    const host: Hold = { held: true, at: instant(record.latchedAt) };
    this.#deps.log.warn(
      { scope: 'fleet', enclave: enclave.held, database: database.held },
      'frozen by an order on the admin socket',
    );
    return { scope: 'fleet', host, enclave, database };
  }

  #latch(reason: string): FreezeRecord {
    this.#held ??= { scope: 'fleet', reason, latchedAt: this.#deps.now() };
    return this.#held;
  }

  /** Also used for a boot that does not know of the freeze yet. */
  async tellEnclave(reason: string): Promise<FreezeReport['enclave']> {
    const { control, records, now } = this.#deps;
    try {
      control.connect();
      const { ack, receipt } = await control.request(
        'freeze',
        { scope: 'fleet', reason },
        { timeoutMilliseconds: LIMITS.freezeTimeoutMilliseconds, onLate: (late) => recordLate(records, late) },
      );
      const at = instant(now());
      records.leaf(receipt);
      return { held: true, at, ack: signedBytesJson(ack), receipt: receiptJson(receipt) };
    } catch (error) {
      return { held: false, code: codeOf(error) };
    }
  }

  async #persist(): Promise<Hold> {
    const { store, now } = this.#deps;
    if (this.#held === undefined) return { held: false, code: 'internal' };
    try {
      await within(LIMITS.freezeTimeoutMilliseconds, store.latchFreeze(this.#held));
      this.#persisted = true;
      return { held: true, at: instant(now()) };
    } catch (error) {
      this.#retryLater();
      return { held: false, code: codeOf(error) };
    }
  }

  /** A freeze that the database did not take would be forgotten by a restart: keep trying. */
  #retryLater(): void {
    if (this.#closed || this.#persisted || this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      void this.#persist();
    }, LIMITS.storeRetryMilliseconds);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }
}

function recordLate(records: Records, late: object): void {
  if ('receipt' in late && !(late instanceof Error)) records.leaf(late.receipt as Parameters<Records['leaf']>[0]);
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new QvError('store_unavailable')), milliseconds);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a calendar has a name for it (ECMA-262, time values). */
const isInstant = (time: number): boolean => Number.isInteger(time) && time >= 0 && time <= 8.64e15;

function instant(time: TimeMs): string {
  return new Date(timeMs(time)).toISOString();
}
