/**
 * Replacing the fleet's row key while everything goes on: whatever is stored under the one before is verified and sealed
 * anew, some records at a time, until a whole pass finds nothing; then the next one is the row key. Where it stands, the
 * records themselves say, so that a host that dies goes on when it is started, and several hosts do the same work beside
 * each other without harm: a record that was written meanwhile is left to who wrote it.
 *
 * A record that fits neither key was edited. It is left as it is, and refused as ever. Of wallets and creations it holds
 * the replacement up, because under the next key nothing could mend it any more: until it is mended (put back from a
 * backup, say), or an operator says that it may be left behind.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Address, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatTime } from '@quantumvault/shared/rfc3339.ts';
import type { Incidents } from '../incidents.ts';
import type { Log } from '../log.ts';
import type { RowKeys } from '../row-keys.ts';
import type { RowMac } from '../row-mac.ts';
import {
  type Resealed,
  SEALED_TABLES,
  type SealedPosition,
  type SealedRecord,
  type SealedTable,
} from '../store/sealed.ts';
import type { Store } from '../store/store.ts';

export interface RotationDeps {
  readonly store: Pick<Store, 'findSealedOtherwise' | 'replaceMacs'>;
  readonly rowKeys: RowKeys;
  readonly incidents: Pick<Incidents, 'tampered'>;
  readonly log: Log;
  readonly now: () => TimeMs;
  /** Default LIMITS.enclaveStatusMilliseconds. */
  readonly pollMilliseconds?: number;
}

/** As of one host: what others do beside it they count themselves. */
export interface RowKeyReport {
  /** `edited`: records that fit neither key hold it up. `unknown`: this host has no row key. */
  readonly state: 'current' | 'replacing' | 'edited' | 'unknown';
  /** 16 hex digits: the first of the SHA-256 of its KMS blob. null while there is none. */
  readonly key: string | null;
  /** Since when all is written under it, RFC 3339; null for a deployment's first one. */
  readonly since: string | null;
  /** The one that it is replacing. */
  readonly replaces: string | null;
  /** Since the replacement began, or the host was started during it; of the last one, when there is none. */
  readonly examined: number;
  readonly resealed: number;
  /** Wallets, at most LIMITS.rowKeyEdited of `editedCount`, whose row or creation fits neither key. */
  readonly edited: readonly string[];
  readonly editedCount: number;
  /** What kept this host from following or going on, when it last tried. */
  readonly fault: ErrorCode | null;
}

/** Those whose edited records hold it up: the others expire within a day, and are worth nothing mended. */
const KEPT_FOR_GOOD: readonly SealedTable[] = ['wallets', 'creations'];

interface Pass {
  found: number;
  readonly edited: Set<Address>;
}

export class RowKeyRotation {
  readonly #deps: RotationDeps;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #closed = false;
  /** The key that the counts are of. */
  #of: Uint8Array = new Uint8Array();
  #examined = 0;
  #resealed = 0;
  #edited: ReadonlySet<Address> = new Set();
  #leavesEdited = false;
  #notBefore = 0;
  #fault: ErrorCode | undefined;

  constructor(deps: RotationDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#schedule(0);
  }

  /** @throws QvError as RowKeys.begin */
  async begin(): Promise<boolean> {
    const isNew = await this.#deps.rowKeys.begin();
    this.#lookAgain();
    return isNew;
  }

  /** Records that fit neither key hold the present replacement up no more. */
  leaveEdited(): void {
    this.#leavesEdited = true;
    this.#lookAgain();
  }

  /** At once: what was edited when it last looked may have been mended. */
  #lookAgain(): void {
    this.#notBefore = 0;
    this.#edited = new Set();
    if (this.#running !== undefined || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#schedule(0);
  }

  get report(): RowKeyReport {
    const { newest, replaced, fault } = this.#deps.rowKeys;
    const since = newest?.since;
    return {
      state: this.#state,
      key: newest === undefined ? null : toHex(newest.id),
      since: since === undefined ? null : formatTime(since),
      replaces: replaced === undefined ? null : toHex(replaced),
      examined: this.#examined,
      resealed: this.#resealed,
      edited: [...this.#edited].slice(0, LIMITS.rowKeyEdited),
      editedCount: this.#edited.size,
      fault: fault ?? this.#fault ?? null,
    };
  }

  get #state(): RowKeyReport['state'] {
    const { newest, replaced } = this.#deps.rowKeys;
    if (newest === undefined) return 'unknown';
    if (replaced === undefined) return 'current';
    return this.#edited.size > 0 && !this.#leavesEdited ? 'edited' : 'replacing';
  }

  #schedule(milliseconds = this.#deps.pollMilliseconds ?? LIMITS.enclaveStatusMilliseconds): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#goOn().finally(() => {
        this.#running = undefined;
        this.#schedule();
      });
    }, milliseconds);
  }

  /** Passes until there is nothing to do, or nothing can be done. */
  async #goOn(): Promise<void> {
    const { rowKeys, log } = this.#deps;
    try {
      while (!this.#closed && rowKeys.replaced !== undefined && performance.now() >= this.#notBefore) {
        this.#count(rowKeys.newest?.id);
        const pass = await this.#pass();
        if (pass === undefined) continue;
        this.#tellOf(pass.edited);
        if (pass.edited.size > 0 && !this.#leavesEdited) {
          this.#notBefore = performance.now() + LIMITS.rowKeyEditedMilliseconds;
        } else if (pass.found === 0) {
          const { size: left } = pass.edited;
          if (await rowKeys.finish()) log.info({ resealed: this.#resealed, left }, 'the row key replacement is done');
          this.#edited = new Set();
        }
      }
      this.#fault = undefined;
    } catch (error) {
      const code = codeOf(error);
      if (code !== this.#fault) log.warn({ code }, 'the row key replacement waits');
      this.#fault = code;
    }
  }

  #count(key: Uint8Array | undefined): void {
    if (key === undefined || equalBytes(key, this.#of)) return;
    this.#of = key;
    this.#examined = 0;
    this.#resealed = 0;
    this.#edited = new Set();
    this.#leavesEdited = false;
  }

  /** Undefined when other keys count by now, or the host stops. */
  async #pass(): Promise<Pass | undefined> {
    const { store, rowKeys } = this.#deps;
    const pass: Pass = { found: 0, edited: new Set() };
    for (const table of SEALED_TABLES) {
      for (let after: SealedPosition | undefined; ; ) {
        const keyId = rowKeys.newest?.id;
        if (keyId === undefined || !this.#isStill()) return undefined;
        const { rowKeyPage: count } = LIMITS;
        const page = await store.findSealedOtherwise({ table, keyId, count, ...(after && { after }) });
        this.#examined += page.examined;
        const changes = this.#resealedOf(page.records, pass);
        // Refused when yet another key is the next one: then this pass was for nothing, and no harm was done.
        if (changes.length > 0) this.#resealed += await rowKeys.writing(() => store.replaceMacs(changes));
        after = page.next;
        await sleep(LIMITS.rowKeyPauseMilliseconds);
        if (after === undefined) break;
      }
    }
    // What another host had sealed anew, and ended, looked edited here.
    return this.#isStill() ? pass : undefined;
  }

  #isStill(): boolean {
    const { newest, replaced } = this.#deps.rowKeys;
    return !this.#closed && newest !== undefined && replaced !== undefined && equalBytes(newest.id, this.#of);
  }

  #resealedOf(records: readonly SealedRecord[], pass: Pass): readonly Resealed[] {
    const mac = this.#deps.rowKeys.require();
    return records.flatMap((from) => {
      try {
        const to = sealedWith(mac, from);
        pass.found++;
        return [{ from, to }];
      } catch (error) {
        if (codeOf(error) !== 'row_tampered') throw error;
        if (from.table !== 'signals' && KEPT_FOR_GOOD.includes(from.table)) pass.edited.add(from.record.wallet);
        return [];
      }
    });
  }

  #tellOf(edited: ReadonlySet<Address>): void {
    const { incidents, log } = this.#deps;
    const isNew = [...edited].some((wallet) => !this.#edited.has(wallet));
    this.#edited = edited;
    if (!isNew) return;
    const wallets = [...edited].slice(0, LIMITS.rowKeyEdited);
    log.error({ count: edited.size, wallets }, 'rows fit neither row key: somebody edited them');
    for (const wallet of wallets) incidents.tampered(wallet);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#running;
    clearTimeout(this.#timer);
  }
}

/** @throws QvError row_tampered when its MAC is of none of our keys */
function sealedWith(mac: RowMac, sealed: SealedRecord): SealedRecord {
  const { table, record } = sealed;
  switch (table) {
    case 'wallets':
      return { table, record: mac.seal(mac.verify(record)) };
    case 'creations':
      return { table, record: mac.sealCreation(mac.openCreation(record)) };
    case 'signals':
      return { table, record: mac.sealSignal(mac.verifySignal(record)) };
    case 'replies':
      return { table, record: mac.sealReply(mac.openReply(record)) };
  }
}
