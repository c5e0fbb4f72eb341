/**
 * What has to be said to an enclave before it is of use, and again after every reconnect or reboot: who it is, the
 * freezes it may not know of, credentials, its boot record for the log, the row key. One loop asks for the status and
 * does what is missing; nothing here is done on the path of a request.
 */
import type { BootId, TimeMs } from '@quantumvault/shared/brands.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import { FLEET } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { decodeLeaf, type Receipt } from '@quantumvault/shared/evidence/leaf.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import type { CredentialsSource } from '../credentials.ts';
import type { Freezes } from '../freeze.ts';
import type { Log } from '../log.ts';
import type { Records } from '../records.ts';
import type { RowKeys } from '../row-keys.ts';
import type { RowMac } from '../row-mac.ts';
import type { EnclaveClient } from './client.ts';

export interface SessionDeps {
  readonly deployment: string;
  readonly data: EnclaveClient;
  readonly rowKeys: RowKeys;
  readonly credentials: Pick<CredentialsSource, 'current'>;
  readonly freezes: Freezes;
  readonly records: Records;
  readonly log: Log;
  readonly pollMilliseconds?: number;
}

export interface Boot {
  readonly id: BootId;
  /** Leaf 0, which holds the attestation document that names the boot key. */
  readonly record: Receipt;
}

/** While something is missing the loop asks this often, at most. */
const EAGER_MILLISECONDS = 100;

export class EnclaveSession {
  readonly #deps: SessionDeps;
  #status: ReplyOf<'status'> | undefined;
  /** The connection that status came on: behind the next one may be another boot. */
  #statusConnection = 0;
  #boot: Boot | undefined;
  #pushed = '';
  #pushedFailures: bigint | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  #complaint = '';

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** What the enclave last said of itself; undefined while it does not answer. */
  get status(): ReplyOf<'status'> | undefined {
    return this.#status;
  }

  /** True when requests for signatures may succeed. */
  get serving(): boolean {
    return this.#status?.phase === 'serving' && this.#boot !== undefined;
  }

  /** When the boot key of the enclave that answers was born: the time of leaf 0, which is trusted time. */
  get bornAt(): TimeMs | undefined {
    return this.#boot && decodeLeaf(this.#boot.record.leaf).time;
  }

  get hasRowKey(): boolean {
    return this.#deps.rowKeys.has;
  }

  get rowKeys(): RowKeys {
    return this.#deps.rowKeys;
  }

  /**
   * Of the enclave that answers now.
   * @throws QvError enclave_unavailable, enclave_not_ready: nothing known yet, or not since it was connected to again
   */
  requireBoot(): Boot {
    if (this.#boot !== undefined && this.#statusConnection === this.#deps.data.connection) return this.#boot;
    throw new QvError(this.#status === undefined ? 'enclave_unavailable' : 'enclave_not_ready');
  }

  /** Of the enclave that answered last; undefined before any did. */
  get bootId(): BootId | undefined {
    return this.#boot?.id;
  }

  /** @throws QvError not_initialised, or why the row key could not be had */
  requireRowMac(): RowMac {
    return this.#deps.rowKeys.require();
  }

  start(): void {
    void this.refresh();
  }

  /** One round now, or the one that is under way. */
  refresh(): Promise<void> {
    this.#running ??= this.#round().finally(() => {
      this.#running = undefined;
      this.#schedule();
    });
    return this.#running;
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#stopped) return;
    const calm = this.#status !== undefined && this.#boot !== undefined && this.hasRowKey;
    const poll = this.#deps.pollMilliseconds ?? LIMITS.enclaveStatusMilliseconds;
    this.#timer = setTimeout(() => void this.refresh(), calm ? poll : Math.min(poll, EAGER_MILLISECONDS));
  }

  async #round(): Promise<void> {
    try {
      // A database that is down must not keep a freeze from reaching the enclave.
      await this.#deps.freezes.load().catch((error) => this.#complain(error));
      // Nobody waits for it: what it finds is passed on in the next round.
      void this.#deps.freezes.follow().catch(() => undefined);
      await this.#askStatus();
      await this.#agreeOnFreezes();
      // Without credentials it signs nothing: a freeze that only the database knows of has to reach it first.
      this.#deps.freezes.requireLoaded();
      await this.#pushCredentials();
      await this.#fetchBootRecord();
      await this.#deps.rowKeys.look();
      this.#complaint = '';
    } catch (error) {
      this.#complain(error);
    }
  }

  /** Once per reason: a loop that fails must not fill the log. */
  #complain(error: unknown): void {
    const reason = error instanceof QvError ? error.message : String(error);
    if (reason !== this.#complaint) this.#deps.log.warn({ code: codeOf(error), reason }, 'enclave session');
    this.#complaint = reason;
  }

  async #askStatus(): Promise<void> {
    const { data, deployment } = this.#deps;
    try {
      const status = await data.request(
        'status',
        {},
        { timeoutMilliseconds: LIMITS.freezeTimeoutMilliseconds, urgent: true },
      );
      if (status.deployment !== deployment) {
        throw new QvError('deployment_mismatch', { path: 'enclave', value: status.deployment });
      }
      if (status.boot !== this.#boot?.id) this.#boot = undefined;
      this.#status = status;
      this.#statusConnection = data.connection;
    } catch (error) {
      // A busy enclave is not a lost one: what it said last still counts.
      if (codeOf(error) === 'overloaded') return;
      this.#status = undefined;
      this.#boot = undefined;
      // Status needs nothing of the enclave: who does not answer that is stuck, and so is whatever waits behind it.
      if (codeOf(error) === 'deadline_exceeded') data.drop();
      throw error;
    }
  }

  /** Before anything that could lead to a signature. */
  async #agreeOnFreezes(): Promise<void> {
    const { phase, boot } = this.#status ?? {};
    if (phase === 'booting' || boot === undefined) return;
    await this.#deps.freezes.agree(boot);
    // A freeze of the fleet is a phase of the enclave's.
    if ((this.#deps.freezes.find(FLEET) === undefined) === (phase === 'frozen')) await this.#askStatus();
  }

  async #pushCredentials(): Promise<void> {
    const { data, credentials } = this.#deps;
    // Source and enclave are asked again within the second; /readyz says meanwhile what is missing.
    if (credentials.current === undefined) return;
    const { version, body } = credentials.current;
    const key = `${data.connection}:${this.#status?.boot}:${version}`;
    // Whatever else runs on this machine can give the enclave others: where calls fail, it gets these again.
    const failures = this.#status?.kmsFailures;
    if ((key === this.#pushed && failures === this.#pushedFailures) || this.#status?.phase === 'booting') return;
    await data.request('credentials', body, { urgent: true });
    // New ones may be what was missing.
    if (key !== this.#pushed) this.#deps.rowKeys.hurry();
    this.#pushed = key;
    this.#pushedFailures = failures;
    await this.#askStatus();
  }

  async #fetchBootRecord(): Promise<void> {
    const id = this.#status?.boot;
    if (this.#boot !== undefined || id === undefined) return;
    const { receipt } = await this.#deps.data.request('bootRecord', {});
    this.#deps.records.leaf(receipt);
    this.#boot = { id, record: receipt };
    this.#deps.log.info({ boot: id, phase: this.#status?.phase }, 'enclave boot');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
    clearTimeout(this.#timer);
    await this.#deps.rowKeys.close();
  }
}
