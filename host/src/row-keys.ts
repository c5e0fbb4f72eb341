/**
 * The row key as this host has it: unwrapped by the enclave, and followed from one to the next while another host, or
 * this one, replaces it (rotation/row-key.ts). What the database says is believed only so far as a key that is held
 * already vouches for it, and never where it names a key that a later one has replaced.
 *
 *   current            next     what it means
 *   A                  -        rows are under A
 *   A                  B        everything is written under B; rows under A are still taken, and sealed anew
 *   B                  -        nothing is under A any more; A is wiped
 */
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Phase } from '@quantumvault/shared/protocol/messages.ts';
import { sha256 } from '@quantumvault/shared/sha256.ts';
import { type EnclaveClient, EnclaveRefusal } from './enclave/client.ts';
import type { Log } from './log.ts';
import type { RetiredRowKeys } from './retired-row-keys.ts';
import { openStep, RowKey, type RowKeyStep, sealStep } from './row-key.ts';
import { RowMac } from './row-mac.ts';
import type { RowKeyBlobs } from './store/sealed.ts';
import type { Store } from './store/store.ts';

export interface RowKeysDeps {
  readonly store: Pick<Store, 'getRowKeys' | 'beginRowKey' | 'finishRowKey' | 'discardNextRowKey'>;
  readonly enclave: Pick<EnclaveClient, 'request'>;
  /** Of the enclave, as it last said. */
  readonly phase: () => Phase | undefined;
  readonly retired: Pick<RetiredRowKeys, 'has' | 'add'>;
  readonly log: Log;
  readonly now: () => TimeMs;
}

/** What records and rows are read and written with. */
export interface UsesRowKey {
  /** @throws QvError not_initialised, or why the row key could not be had */
  readonly require: () => RowMac;
  /** Does it again, once, if rows failed their MAC because another key counts by now. */
  readonly reading: <T>(work: () => Promise<T>) => Promise<T>;
  /** Does it again if the database refused MACs because they have to be made with another key by now. */
  readonly writing: <T>(work: () => Promise<T>) => Promise<T>;
}

const SERVES_KMS: readonly Phase[] = ['serving', 'frozen'];
const EAGER_MILLISECONDS = 100;
/** So often in a row the key may be another one; more means something else is wrong. */
const ROUNDS = 4;

export class RowKeys implements UsesRowKey {
  readonly #deps: RowKeysDeps;
  #current: RowKey | undefined;
  #next: RowKey | undefined;
  /** By which the newer of them followed. */
  #step: Uint8Array | undefined;
  #mac: RowMac | undefined;
  /** Grows whenever other keys count. */
  #version = 0;
  #fault: ErrorCode | undefined = 'enclave_unavailable';
  #refusal: EnclaveRefusal | undefined;
  #pauseMilliseconds = 0;
  #notBefore = 0;
  /** One after the other: what the database says, and what is made of it. */
  #turn: Promise<unknown> = Promise.resolve();
  #waiting: Promise<void> | undefined;
  #closed = false;

  constructor(deps: RowKeysDeps) {
    this.#deps = deps;
  }

  get has(): boolean {
    return this.#mac !== undefined;
  }

  /** Why there is none, or why what the database says of it is not followed. */
  get fault(): ErrorCode | undefined {
    return this.#fault;
  }

  /** The key that everything is written under. */
  get newest(): { readonly id: Uint8Array; readonly since: TimeMs | undefined } | undefined {
    const key = this.#next ?? this.#current;
    return key && { id: key.id, since: openStep(this.#step, 'to', key)?.at };
  }

  /** The key that is being replaced. */
  get replaced(): Uint8Array | undefined {
    return this.#next && this.#current?.id;
  }

  require(): RowMac {
    if (this.#mac === undefined) throw new QvError(this.#fault ?? 'enclave_unavailable');
    return this.#mac;
  }

  async reading<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#version;
    try {
      return await work();
    } catch (error) {
      if (codeOf(error) !== 'row_tampered') throw error;
      // Another host may have sealed it under a key that this one has not heard of.
      await this.look();
      if (this.#version === before) throw error;
      return await work();
    }
  }

  async writing<T>(work: () => Promise<T>): Promise<T> {
    for (let round = 1; ; round++) {
      const before = this.#version;
      try {
        return await work();
      } catch (error) {
        if (!isOfOtherKey(error)) throw error;
        const looked = await this.look().catch((fault: unknown) => fault);
        // To be tried again: a decision that is not stored yet must not be lost for this.
        if (looked !== undefined || this.#version === before || round === ROUNDS)
          throw new QvError('store_unavailable', { path: 'row-key' }, { cause: looked ?? error });
      }
    }
  }

  /** Follows what the database says now. @throws QvError store_*, enclave_*, kms_*, row_key_retired, row_tampered */
  look(): Promise<void> {
    // One that has begun may have read what was there before.
    this.#waiting ??= this.#exclusive(async () => {
      this.#waiting = undefined;
      try {
        this.#fault = await this.#follow();
      } catch (error) {
        this.#fault = codeOf(error);
        throw error;
      }
    });
    return this.#waiting;
  }

  /** New credentials may be what was missing. */
  hurry(): void {
    this.#notBefore = 0;
  }

  /**
   * Makes the next row key, under which everything is written from then on, by every host. False when one was there.
   * @throws QvError not_initialised, store_*, enclave_*, kms_*
   */
  async begin(): Promise<boolean> {
    const { store, enclave, log, now } = this.#deps;
    await this.look();
    this.require();
    const from = this.#current;
    if (from === undefined || this.#next !== undefined) return false;
    const { blob } = await enclave.request('rowKeyCreate', {});
    // Before anybody is held to it: a key that does not open must stop nobody.
    const to = await this.#unwrap(blob);
    return await this.#exclusive(async () => {
      let isMine = false;
      try {
        if (this.#current !== from || this.#next !== undefined) return false;
        const step = sealStep(from, to, now());
        isMine = await store.beginRowKey({ current: from.blob, next: blob, step });
        if (!isMine) return false;
        this.#adopt(to, step);
        log.info({ from: toHex(from.id), to: toHex(to.id) }, 'the row key is being replaced');
        return true;
      } finally {
        if (!isMine) to.wipe();
      }
    });
  }

  /** Nothing is left under the key before. False when that is not how the database has it any more. */
  async finish(): Promise<boolean> {
    const [current, next] = [this.#current, this.#next];
    if (current === undefined || next === undefined) return false;
    const isDone = await this.#deps.store.finishRowKey(current.blob, next.blob);
    await this.look();
    return isDone;
  }

  /** What makes the host without a row key; else undefined. */
  async #follow(): Promise<ErrorCode | undefined> {
    const blobs = await this.#deps.store.getRowKeys();
    if (blobs.current === undefined) {
      if (this.#current === undefined) return 'not_initialised';
      throw new QvError('row_tampered', { path: 'row-key' });
    }
    const current = await this.#followCurrent(blobs.current, blobs.step);
    await this.#followNext(current, blobs);
    if (this.#mac === undefined) this.#renew();
    this.#rememberStep(blobs.step);
    return undefined;
  }

  async #followCurrent(blob: Uint8Array, step: Uint8Array | undefined): Promise<RowKey> {
    const held = this.#current;
    if (held === undefined) {
      this.#current = await this.#unwrap(blob);
      return this.#current;
    }
    if (equalBytes(held.blob, blob)) return held;
    const { log, retired } = this.#deps;
    const expected = this.#next;
    if (expected !== undefined && equalBytes(expected.blob, blob)) {
      this.#current = expected;
    } else {
      // A whole replacement went by while the database was out of reach.
      const by = expected ?? held;
      if (!names(openStep(step, 'from', by), blob)) throw new QvError('row_tampered', { path: 'row-key' });
      this.#current = await this.#unwrap(blob);
      expected?.wipe();
      if (expected !== undefined) retired.add(sha256(expected.blob));
    }
    this.#next = undefined;
    this.#renew();
    held.wipe();
    retired.add(sha256(held.blob));
    log.info({ from: toHex(held.id), to: toHex(this.#current.id) }, 'the row key was replaced');
    return this.#current;
  }

  async #followNext(current: RowKey, { next: blob, step }: RowKeyBlobs): Promise<void> {
    const { store, retired, log } = this.#deps;
    const held = this.#next;
    if (blob === undefined) {
      if (held === undefined || this.#step === undefined) return;
      // Rows are under it already: whoever took it away would take them along.
      await store.beginRowKey({ current: current.blob, next: held.blob, step: this.#step });
      log.error({ key: toHex(held.id) }, 'the next row key was taken out of the database, and is there again');
      return;
    }
    if (held !== undefined) {
      if (!equalBytes(held.blob, blob)) throw new QvError('row_tampered', { path: 'row-key-next' });
      return;
    }
    const discard = async (): Promise<void> => {
      await store.discardNextRowKey(blob);
      log.error({ key: toHex(sha256(blob)) }, 'somebody without the row key named the next one: it was taken out');
    };
    const named = openStep(step, 'from', current);
    if (step === undefined || named === undefined || retired.has(blob)) return discard();
    // One was named, and rows may be under it: it has to come back.
    if (!names(named, blob)) throw new QvError('row_tampered', { path: 'row-key-next' });
    const key = await this.#unwrap(blob);
    if (openStep(step, 'to', key) === undefined) {
      key.wipe();
      return discard();
    }
    this.#adopt(key, step);
  }

  #adopt(next: RowKey, step: Uint8Array): void {
    this.#next = next;
    this.#step = step;
    this.#renew();
  }

  #renew(): void {
    if (this.#current === undefined) return;
    this.#mac = this.#next === undefined ? new RowMac(this.#current) : new RowMac(this.#next, this.#current);
    this.#version++;
  }

  /** A host that was started later knows by it that the key before counts no more. */
  #rememberStep(step: Uint8Array | undefined): void {
    if (step === undefined || this.#next !== undefined || this.#current === undefined) return;
    if (this.#step !== undefined && equalBytes(this.#step, step)) return;
    const taken = openStep(step, 'to', this.#current);
    if (taken === undefined) return;
    this.#step = step;
    this.#deps.retired.add(taken.from);
  }

  async #unwrap(blob: Uint8Array): Promise<RowKey> {
    const { enclave, phase, retired } = this.#deps;
    if (retired.has(blob)) throw new QvError('row_key_retired');
    if (this.#refusal !== undefined && performance.now() < this.#notBefore) throw this.#refusal;
    const now = phase();
    if (now === undefined) throw new QvError('enclave_unavailable');
    if (!SERVES_KMS.includes(now)) throw new QvError('enclave_not_ready');
    try {
      const { rowKey } = await enclave.request('rowKeyUnwrap', { blob });
      const key = new RowKey(rowKey, blob);
      this.#pauseMilliseconds = 0;
      if (!this.#closed) return key;
      key.wipe();
    } catch (error) {
      if (error instanceof EnclaveRefusal) this.#pause(error);
      throw error;
    }
    throw new QvError('shutting_down');
  }

  /** Each refusal is a leaf for ever: a key service that is down for a day must not fill the log. */
  #pause(refusal: EnclaveRefusal): void {
    const longer = Math.max(EAGER_MILLISECONDS, 2 * this.#pauseMilliseconds);
    this.#pauseMilliseconds = Math.min(longer, LIMITS.rowKeyRetryMilliseconds);
    this.#notBefore = performance.now() + this.#pauseMilliseconds;
    this.#refusal = refusal;
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work, work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /** Wipes the keys; nothing verifies afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#turn;
    this.#current?.wipe();
    this.#next?.wipe();
  }
}

const names = (step: RowKeyStep | undefined, blob: Uint8Array): boolean =>
  step !== undefined && equalBytes(step.to, sha256(blob));

/** What row-key-fence of the store says. */
function isOfOtherKey(error: unknown): boolean {
  return error instanceof QvError && error.code === 'store_conflict' && error.facts.path === 'row-key';
}
