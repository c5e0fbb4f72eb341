/**
 * Signals that were verified: kept once, found by the signing requests that cite them. A signal is known by its source
 * and its id together. A database that is slow loses none that has to be acknowledged: those wait in memory, bounded,
 * until it takes them.
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import type { UsesRowKey } from '../row-keys.ts';
import type { UnsealedSignal } from '../row-mac.ts';
import type { SignalInsert, SignalOutcome, SignalRecord, Store } from '../store/store.ts';
import { within } from '../within.ts';

export interface SignalsDeps {
  readonly store: Pick<Store, 'putSignal' | 'findSignals' | 'deleteExpiredSignals'>;
  readonly keys: UsesRowKey;
  readonly log: Log;
  readonly now: () => TimeMs;
  /** Unexpired signals of one source. Default LIMITS.signalsPerSource. */
  readonly perSource?: number;
}

export interface Accepted {
  /** This one, or the one that was there. */
  readonly signal: SignalRecord;
  readonly isRepeat: boolean;
  /** False: it waits in memory. */
  readonly isStored: boolean;
}

export interface Delivery {
  /** Without an id of its own: the same body within so many seconds is the same signal. */
  readonly repeatSeconds?: number;
  /** Its source sends it once, and does not wait long: it is acknowledged whether or not the database has it. */
  readonly once: boolean;
}

/** Ids hold no space, so no two signals are spelled the same. */
const nameOf = ({ source, id }: SignalRecord): string => `${id} ${source}`;

export class Signals {
  readonly #deps: SignalsDeps;
  readonly #unwritten = new Map<string, SignalInsert>();
  /** Acknowledged before the database said that they repeat another one: its id, by their names. */
  readonly #repeats = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #flushing: Promise<void> | undefined;
  #closed = false;

  constructor(deps: SignalsDeps) {
    this.#deps = deps;
  }

  /** Signals that the database has not taken yet. */
  get unwritten(): number {
    return this.#unwritten.size;
  }

  /** @throws QvError signal_id_reused, signals_full, store_*, overloaded, row_tampered, and what `keys` throws */
  async accept(unsealed: UnsealedSignal, { repeatSeconds, once }: Delivery): Promise<Accepted> {
    const { keys } = this.#deps;
    const signal = keys.require().sealSignal(unsealed);
    const sameBodySince =
      repeatSeconds === undefined ? undefined : ((signal.receivedAt - repeatSeconds * 1000) as TimeMs);
    const limit = this.#deps.perSource ?? LIMITS.signalsPerSource;
    const insert = { signal, limit, ...(sameBodySince !== undefined && { sameBodySince }) };
    const repeats = this.#unwrittenLike(insert);
    if (repeats !== undefined) return { signal: repeats, isRepeat: true, isStored: false };
    let outcome: SignalOutcome;
    try {
      const put = this.#put(insert);
      outcome = await (once ? within(LIMITS.webhookAcknowledgeMilliseconds, put) : put);
    } catch (error) {
      if (!once || !this.#keep(insert)) throw error;
      return { signal, isRepeat: false, isStored: false };
    }
    if (outcome.outcome === 'duplicate')
      return { signal: await this.#verified(async () => outcome.kept), isRepeat: true, isStored: true };
    if (outcome.outcome === 'stored') return { signal, isRepeat: false, isStored: true };
    throw new QvError(outcome.outcome === 'conflict' ? 'signal_id_reused' : 'signals_full');
  }

  /**
   * The one signal of this id, of these sources.
   * @throws QvError signal_missing, signal_ambiguous, row_tampered, store_*
   */
  async find(id: string, sources: readonly string[]): Promise<SignalRecord> {
    const { store, now } = this.#deps;
    const at = now();
    const stored = await store.findSignals(id, sources, at);
    const waiting = sources.flatMap((source) => {
      const signal = this.#unwritten.get(`${id} ${source}`)?.signal;
      const isNew = signal !== undefined && signal.expiresAt > at && !stored.some((other) => other.source === source);
      return isNew ? [signal] : [];
    });
    const [signal, ...others] = [...stored, ...waiting];
    if (signal === undefined) throw this.#missing(id, sources);
    if (others.length > 0) throw new QvError('signal_ambiguous', { path: 'signal' });
    // What waits here is nobody's to edit.
    return signal === stored[0] ? await this.#verified(async () => signal) : signal;
  }

  async #verified(read: () => Promise<SignalRecord>): Promise<SignalRecord> {
    const { keys } = this.#deps;
    return await keys.reading(async () => keys.require().verifySignal(await read()));
  }

  /** Sealed with the key that counts when it is written, however long it waited. */
  #put(insert: SignalInsert): Promise<SignalOutcome> {
    const { store, keys } = this.#deps;
    return keys.writing(() => store.putSignal({ ...insert, signal: keys.require().sealSignal(insert.signal) }));
  }

  /** One that repeats another is not that other: uses are counted by id. Who was told its id learns which one counts. */
  #missing(id: string, sources: readonly string[]): QvError {
    for (const source of sources) {
      const known = this.#repeats.get(`${id} ${source}`);
      if (known !== undefined) return new QvError('signal_missing', { path: 'signal', value: `a repeat of ${known}` });
    }
    return new QvError('signal_missing', { path: 'signal' });
  }

  deleteExpired(): Promise<void> {
    return this.#deps.store.deleteExpiredSignals(this.#deps.now());
  }

  /** @throws QvError signal_id_reused */
  #unwrittenLike({ signal, sameBodySince }: SignalInsert): SignalRecord | undefined {
    const same = this.#unwritten.get(nameOf(signal))?.signal;
    if (same !== undefined && !equalBytes(same.bodyHash, signal.bodyHash)) throw new QvError('signal_id_reused');
    if (same !== undefined || sameBodySince === undefined) return same;
    for (const { signal: other } of this.#unwritten.values()) {
      const isSame = other.source === signal.source && equalBytes(other.bodyHash, signal.bodyHash);
      if (isSame && other.receivedAt > sameBodySince) return other;
    }
    return undefined;
  }

  /** False when there is no room. */
  #keep(insert: SignalInsert): boolean {
    if (this.#closed || this.#unwritten.size >= LIMITS.signalsUnwritten) return false;
    this.#unwritten.set(nameOf(insert.signal), insert);
    this.#schedule();
    return true;
  }

  #schedule(): void {
    if (this.#closed || this.#timer !== undefined || this.#unwritten.size === 0) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#flush().then(() => this.#schedule());
    }, LIMITS.storeRetryMilliseconds);
  }

  /** Writes what waits, the first first, until the database refuses again. */
  #flush(): Promise<void> {
    this.#flushing ??= this.#writeAll().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #writeAll(): Promise<void> {
    const { log } = this.#deps;
    try {
      // So many at a time as share one COMMIT.
      while (this.#unwritten.size > 0) {
        const next = [...this.#unwritten].slice(0, LIMITS.storeBatch);
        await Promise.all(next.map(([name, insert]) => this.#write(name, insert)));
      }
    } catch (error) {
      log.warn({ code: codeOf(error), waiting: this.#unwritten.size }, 'signals are not stored yet');
    }
  }

  async #write(name: string, insert: SignalInsert): Promise<void> {
    const { log } = this.#deps;
    // What it took before, without our hearing of it, is a repeat.
    const result = await within(LIMITS.storeTimeoutMilliseconds, this.#put(insert));
    this.#unwritten.delete(name);
    const { outcome } = result;
    const { source, id } = insert.signal;
    if (outcome === 'conflict' || outcome === 'full')
      log.error({ source, signal: id, outcome }, 'a signal that was acknowledged cannot be kept');
    if (outcome === 'duplicate' && result.kept.id !== id) this.#rememberRepeat(name, result.kept);
  }

  #rememberRepeat(name: string, { source, id }: SignalRecord): void {
    this.#deps.log.warn({ source, signal: id }, 'a signal that was acknowledged under another id repeats this one');
    this.#repeats.set(name, id);
    const [oldest] = this.#repeats.keys();
    if (this.#repeats.size > LIMITS.signalsUnwritten && oldest !== undefined) this.#repeats.delete(oldest);
  }

  /** Tries once more; what then is not stored is lost, and that is said. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#flushing;
    if (this.#unwritten.size > 0) await this.#flush();
    if (this.#unwritten.size > 0) this.#deps.log.error({ signals: this.#unwritten.size }, 'signals were lost');
  }
}
