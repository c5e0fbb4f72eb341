/**
 * The host's side of the kill switch (design 9). A freeze latches in memory first, then at the same time in the
 * enclave, over its own connection, and in the database; each is waited for no longer than its own bound and answered
 * for separately, so that one that hangs delays none of the others. Only the enclave, which verifies who signed, ends
 * a freeze; the host follows its signed word.
 */
import type { BootId, TimeMs } from '@quantumvault/shared/brands.ts';
import { equalBytes, toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, printableFact } from '@quantumvault/shared/evidence/leaf.ts';
import type { SignedBy } from '@quantumvault/shared/evidence/succession.ts';
import { verifyResumeAck } from '@quantumvault/shared/evidence/verify.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import { verifyEd25519 } from './ed25519.ts';
import { type EnclaveClient, EnclaveRefusal } from './enclave/client.ts';
import { isTold, type Latch, Latches } from './freeze-latches.ts';
import { instant, readAck, readable, since } from './freeze-record.ts';
import {
  type Cleared,
  type EnclaveHold,
  type FreezeReport,
  type Hold,
  REASON_CHARACTERS,
  type ResumeReport,
} from './freeze-report.ts';
import { FreezeRows } from './freeze-rows.ts';
import { parseFreezeScope, type Subject } from './freeze-scope.ts';
import type { Log } from './log.ts';
import type { Records } from './records.ts';
import type { FreezeRecord, Store } from './store/store.ts';
import { receiptJson, signedBytesJson } from './wire-json.ts';
import { within } from './within.ts';

export interface FreezeDeps {
  readonly deployment: string;
  readonly store: Store;
  readonly control: EnclaveClient;
  /** How reports name the enclave behind `control`. */
  readonly controlAddress: string;
  readonly data: EnclaveClient;
  /** The boot that answers there; undefined while none does. */
  readonly boot: () => BootId | undefined;
  readonly records: Records;
  readonly log: Log;
  readonly now: () => TimeMs;
}

const URGENT = { urgent: true, timeoutMilliseconds: LIMITS.freezeTimeoutMilliseconds };
/** Orders that arrive while we compare make us compare again, so often at most. */
const ROUNDS = 8;

/** An order that no enclave has acknowledged has no name: it counts whenever it is seen. */
const rowName = ({ scope, freezeId }: FreezeRecord): string =>
  freezeId === undefined ? '' : `${scope} ${toHex(freezeId)}`;

export class Freezes {
  readonly #deps: FreezeDeps;
  readonly #latches = new Latches();
  readonly #rows: FreezeRows;
  #loaded = false;
  #following = false;
  /** Rows that were seen, by rowName. */
  #followed: Set<string> = new Set();
  /** Resuming and comparing with the enclave exclude each other; orders wait for neither. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(deps: FreezeDeps) {
    this.#deps = deps;
    this.#rows = new FreezeRows(deps.store, (scope) => this.#latches.get(scope)?.record);
  }

  /** Everything that holds, the fleet's freeze first. */
  get held(): readonly FreezeRecord[] {
    return this.#latches.all().map(({ record }) => record);
  }

  /** The freeze of one scope, while it holds. */
  find(scope: string): FreezeRecord | undefined {
    return this.#latches.get(scope)?.record;
  }

  /** The widest scope that stops this; undefined if none does. */
  stopping(subject?: Subject): string | undefined {
    return this.#latches.stopping(subject);
  }

  /** @throws QvError frozen naming the scope; store_unavailable while it is unknown whether a freeze holds */
  requireOpen(subject?: Subject): void {
    const path = this.stopping(subject);
    if (path !== undefined) throw new QvError('frozen', { path });
    this.requireLoaded();
  }

  /** @throws QvError store_unavailable until the database has said what holds */
  requireLoaded(): void {
    if (!this.#loaded) throw new QvError('store_unavailable');
  }

  /** Reads what an earlier process latched. Until that is known nothing is released. */
  async load(): Promise<void> {
    if (this.#loaded) return;
    const { store, now } = this.#deps;
    for (const kept of await store.getFreezes()) {
      if (this.#rows.isEnded(kept)) continue;
      const record = readable(kept, now());
      const isNew = this.#latches.get(record.scope) === undefined;
      const latch = this.#latches.learn(record);
      if (record.scope !== kept.scope) this.#replaceRow(kept);
      else if (isNew && latch.record.freezeId !== undefined) this.#rows.seen(latch.record);
    }
    this.#loaded = true;
  }

  /**
   * Latches what another host on the same database was told: during a hand-over there are two, each in front of an
   * enclave of its own, and an order reaches one of them. The next comparison with the enclave passes it on. Each id
   * counts once: what was resumed here stays resumed while the other one's row is still there.
   * @throws QvError store_unavailable, overloaded
   */
  async follow(): Promise<void> {
    if (!this.#loaded || this.#following) return;
    this.#following = true;
    try {
      const { changes } = this.#latches;
      const ending = this.#rows.ending;
      const rows = await this.#deps.store.getFreezes();
      // Ordered or resumed here meanwhile: what was read says nothing about after.
      if (changes !== this.#latches.changes) return;
      const known = this.#followed;
      this.#followed = new Set([...(known.size < LIMITS.frozenScopes ? known : []), ...rows.map(rowName)]);
      this.#followed.delete('');
      const own = this.#deps.boot();
      for (const row of rows)
        if (!known.has(rowName(row)) && row.boot !== own && !ending.has(row.scope)) this.#follow(row);
    } finally {
      this.#following = false;
    }
  }

  #follow(row: FreezeRecord): void {
    const record = readable(row, this.#deps.now());
    if (this.#latches.get(record.scope) === undefined)
      this.#deps.log.warn({ scope: record.scope }, 'frozen by an order that another host wrote down');
    this.#latches.learn(record);
    if (record.scope !== row.scope) this.#replaceRow(row);
  }

  /** A row that nobody can read is a freeze of the fleet, under a row of its own that a resume will find. */
  #replaceRow({ scope, freezeId }: FreezeRecord): void {
    const { log, store } = this.#deps;
    log.warn({}, 'an unreadable row in the freezes of the database: the fleet is frozen');
    this.#rows
      .write(FLEET)
      .then(() => store.clearFreeze(scope, freezeId))
      .catch((error) => log.warn({ code: codeOf(error) }, 'the unreadable row stays for the next start'));
  }

  /**
   * @param by who ordered it, for the record
   * @throws QvError field_malformed, and nothing else: whatever fails is part of the report
   */
  async freeze(scope: string, reason: string, by = 'the admin socket'): Promise<FreezeReport> {
    const started = performance.now();
    const orderedAt = this.#deps.now();
    const said = printableFact(reason, REASON_CHARACTERS);
    const latch = this.#latches.order(parseFreezeScope(scope), said, orderedAt);
    const host: Hold = { held: true, at: instant(latch.record.latchedAt), elapsedMilliseconds: since(started) };
    const [enclave, database] = await Promise.all([
      this.#tell(latch, said, started, { by: printableFact(by, 64), orderedAt }),
      this.#persist(latch.record.scope, started),
    ]);
    this.#deps.log.warn({ scope, by, enclave: enclave.held, database: database.held }, 'frozen by an order');
    return { scope, host, enclaves: [enclave], database };
  }

  /** A freeze that somebody ordered while no host could take the order; `boot` and `freezeId` when an enclave did. */
  latch(record: FreezeRecord): void {
    const { scope, reason, latchedAt, ...acknowledged } = readable(record, this.#deps.now());
    if (acknowledged.freezeId === undefined) this.#latches.order(scope, reason, latchedAt);
    else this.#latches.learn({ scope, reason, latchedAt, ...acknowledged });
  }

  /** Resolves when the database says what memory says. @throws QvError store_unavailable, overloaded */
  async store(scope: string): Promise<void> {
    await this.#rows.write(scope);
    // A scope for which there was no room has become the fleet's.
    if (this.#latches.get(scope) === undefined) await this.#rows.write(FLEET);
  }

  /** @param ordered absent when an enclave is told of what holds already */
  async #tell(
    latch: Latch,
    reason: string,
    started = performance.now(),
    ordered: Pick<RequestOf<'freeze'>, 'by' | 'orderedAt'> = {},
  ): Promise<EnclaveHold> {
    const { control, controlAddress: enclave, records, now } = this.#deps;
    const { order } = latch;
    const { scope } = latch.record;
    latch.underWay++;
    try {
      control.connect();
      const options = {
        timeoutMilliseconds: LIMITS.freezeTimeoutMilliseconds,
        onLate: (late: ReplyOf<'freeze'> | EnclaveRefusal) => {
          if (late instanceof EnclaveRefusal) return;
          records.leaf(late.receipt);
          this.#acknowledged(latch, order, late);
        },
      };
      const reply = await control.request('freeze', { scope, reason, ...ordered }, options);
      const held = { held: true, at: instant(now()), elapsedMilliseconds: since(started) } as const;
      records.leaf(reply.receipt);
      this.#acknowledged(latch, order, reply);
      return { enclave, ...held, ack: signedBytesJson(reply.ack), receipt: receiptJson(reply.receipt) };
    } catch (error) {
      return { enclave, held: false, code: codeOf(error) };
    } finally {
      latch.underWay--;
    }
  }

  #acknowledged(latch: Latch, order: number, { ack, receipt }: ReplyOf<'freeze'>): void {
    const said = readAck(ack.bytes, receipt.leaf);
    this.#latches.told(latch, order, said?.boot ?? this.#deps.boot());
    if (said === undefined || said.scope !== latch.record.scope) {
      // No room for more scopes there: it froze the fleet instead.
      const { reason, latchedAt } = latch.record;
      if (said?.scope === FLEET) this.#save(this.#latches.learn({ scope: FLEET, reason, latchedAt }));
      return;
    }
    if (latch.told === latch.order && this.#latches.identify(latch, said)) this.#save(latch);
  }

  /** In the background; the rows try again by themselves. */
  #save({ record }: Latch): void {
    this.#rows.write(record.scope).catch(() => undefined);
  }

  async #persist(scope: string, started: number): Promise<Hold> {
    try {
      await within(LIMITS.freezeTimeoutMilliseconds, this.#rows.write(scope));
      return { held: true, at: instant(this.#deps.now()), elapsedMilliseconds: since(started) };
    } catch (error) {
      return { held: false, code: codeOf(error) };
    }
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  /**
   * Brings host and enclave to the same freezes, those of both. Before anything that could lead to a signature.
   * @throws QvError why the enclave could not be told of one
   */
  agree(boot: BootId): Promise<void> {
    return this.#exclusively(async () => {
      for (const latch of this.#latches.all()) if (!isTold(latch, boot)) await this.#pass(latch, boot);
      for (let round = 0; round < ROUNDS; round++) {
        const { changes } = this.#latches;
        let said: ReplyOf<'freezesGet'>;
        try {
          said = await this.#deps.data.request('freezesGet', {}, URGENT);
        } catch (error) {
          // A busy enclave: what it had to be told it was told.
          if (codeOf(error) === 'overloaded') return;
          throw error;
        }
        if (changes === this.#latches.changes) return await this.#compare(said, boot);
      }
    });
  }

  /** @throws QvError with the path `freeze` */
  async #pass(latch: Latch, boot: BootId): Promise<void> {
    // An order that is being told right now may well be this one.
    for (let waited = 0; latch.underWay > 0 && waited < 2 * LIMITS.freezeTimeoutMilliseconds; waited += 20) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (isTold(latch, boot)) return;
    }
    const told = await this.#tell(latch, latch.record.reason);
    if (!told.held) throw new QvError(told.code, { path: 'freeze' });
  }

  async #compare({ freezes, count }: ReplyOf<'freezesGet'>, boot: BootId): Promise<void> {
    // Several ids of one scope: the enclave's own last order comes first, those of other boots behind it.
    const said = new Map(freezes.toReversed().map(({ scope, freezeId }) => [scope, freezeId]));
    for (const [scope, freezeId] of said) {
      const latch = this.#latches.get(scope);
      if (latch === undefined) {
        const learned = { scope, reason: 'frozen in the enclave from elsewhere', latchedAt: this.#deps.now() };
        this.#save(this.#latches.learn({ ...learned, boot, freezeId }));
        this.#deps.log.warn({ scope }, 'the enclave holds a freeze that this host did not order');
      } else if (isTold(latch, boot) && this.#latches.identify(latch, { boot, freezeId })) this.#save(latch);
    }
    // A longer list is cut off: then we only know what is in it.
    if (count > freezes.length) return;
    for (const latch of this.#latches.all()) {
      if (!said.has(latch.record.scope) && isTold(latch, boot) && latch.underWay === 0) await this.#pass(latch, boot);
    }
  }

  /**
   * The enclave decides on the signatures. What was ordered meanwhile stays, here and in the database.
   * @throws QvError freeze_unknown, enclave_*, evidence_*, and why the enclave refused
   */
  resume(scope: string, freezeId: Uint8Array, signatures: readonly SignedBy[]): Promise<ResumeReport> {
    return this.#exclusively(async () => {
      const { data, records, boot: bootNow, deployment } = this.#deps;
      const boot = bootNow();
      if (boot === undefined) throw new QvError('enclave_unavailable');
      const latch = this.#latches.get(scope);
      // A later order is on its way to the enclave, which would still take the id of an earlier one.
      if (latch !== undefined && latch.told < latch.order) throw new QvError('freeze_unknown', { path: scope });
      const request = { scope, freezeId, signatures: [...signatures] };
      // An answer that comes too late is not acted on: the session's next round freezes again what it ended.
      const onLate = (late: ReplyOf<'resume'> | EnclaveRefusal) => {
        if (!(late instanceof EnclaveRefusal)) records.leaf(late.receipt);
      };
      const { ack, receipt } = await data.request('resume', request, { ...URGENT, onLate });
      records.leaf(receipt);
      verifyResumeAck(ack, receipt, { deployment, boot, scope, freezeId }, verifyEd25519);
      const cleared = await this.#letGo({ scope, boot, freezeId, sequence: decodeLeaf(receipt.leaf).sequence });
      this.#deps.log.warn({ scope, host: cleared.host.cleared, database: cleared.database.cleared }, 'resumed');
      return { scope, ack: signedBytesJson(ack), receipt: receiptJson(receipt), ...cleared };
    });
  }

  async #letGo(ended: {
    readonly scope: string;
    readonly boot: BootId;
    readonly freezeId: Uint8Array;
    readonly sequence: bigint;
  }): Promise<Pick<ResumeReport, 'host' | 'database'>> {
    const { scope, boot, freezeId, sequence } = ended;
    const said = await this.#deps.data.request('freezesGet', {}, URGENT).catch(() => undefined);
    const at = instant(this.#deps.now());
    const latch = this.#latches.get(scope);
    const host = { cleared: true, at } as const;
    if (latch === undefined)
      return { host, database: await this.#cleared(this.#deps.store.clearFreeze(scope, freezeId)) };
    const { record } = latch;
    const isNewer = latch.told < latch.order || (record.boot === boot && (latch.sequence ?? 0n) > sequence);
    // Other boots' freezes of the same scope have ids of their own, and are resumed one by one.
    const other = said?.freezes.find((held) => held.scope === scope);
    const isOther = record.freezeId !== undefined && !equalBytes(record.freezeId, freezeId);
    if (isNewer || other !== undefined || (said === undefined && isOther)) {
      if (!isNewer && other !== undefined && this.#latches.identify(latch, { boot, freezeId: other.freezeId }))
        this.#save(latch);
      return { host: { cleared: false, code: 'frozen' }, database: { cleared: false, code: 'frozen' } };
    }
    this.#latches.end(latch);
    const database = await this.#cleared(this.#rows.end({ ...record, boot, freezeId }));
    return { host, database };
  }

  async #cleared(work: Promise<void>): Promise<Cleared> {
    try {
      await within(LIMITS.freezeTimeoutMilliseconds, work);
      return { cleared: true, at: instant(this.#deps.now()) };
    } catch (error) {
      return { cleared: false, code: codeOf(error) };
    }
  }

  close(): void {
    this.#rows.close();
  }
}
