/**
 * Bringing alerts to one endpoint: signed anew for each attempt, tried again with growing pauses, for a day. What waits
 * is in memory, bounded, and lost with the process: whoever has to know for certain asks (GET /v1/freezes, /metrics).
 * Freezes go first, and what is no freeze makes room for them. Nothing waits for any of it.
 */
import { timeMs } from '@quantumvault/shared/brands.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import { outgoingTrace } from '../trace/request-trace.ts';
import { readSharedSecret, SecretsFile } from '../webhooks/secrets-file.ts';
import { signWebhook } from '../webhooks/standard.ts';
import { ALERT_TYPES, type Alert } from './alert.ts';
import type { AlertEndpoint } from './config.ts';

export const ALERT_OUTCOMES = ['delivered', 'retried', 'dropped'] as const;
export type AlertOutcome = (typeof ALERT_OUTCOMES)[number];

export interface DeliveryOptions {
  /** Of the configuration, for faults. */
  readonly field: string;
  readonly log: Log;
  readonly onOutcome?: (outcome: AlertOutcome) => void;
  /** Before the second attempt; doubled each time. Default LIMITS.alertRetryMilliseconds. */
  readonly retryMilliseconds?: number;
}

interface Waiting {
  readonly alert: Alert;
  /** Of the request that raised it; empty when none did. */
  readonly trace: Readonly<Record<string, string>>;
  readonly since: number;
  attempts: number;
  /** By performance.now(). */
  dueAt: number;
}

export class AlertDelivery {
  readonly #endpoint: AlertEndpoint;
  readonly #options: DeliveryOptions;
  readonly #secrets: SecretsFile;
  readonly #waiting = new Map<string, Waiting>();
  readonly #underWay = new Set<string>();
  readonly #closing = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  /** @throws QvError config_invalid when the file of secrets is not usable */
  constructor(endpoint: AlertEndpoint, options: DeliveryOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
    const { field, log } = options;
    this.#secrets = new SecretsFile(endpoint.secretsFile, { field, readLine: readSharedSecret, log });
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** At once, or later, or never: its caller does not learn. */
  send(alert: Alert): void {
    if (!this.#endpoint.events.includes(ALERT_TYPES[alert.type]) || this.#waiting.has(alert.id)) return;
    if (this.#waiting.size >= LIMITS.alertQueue && !this.#makeRoom(alert)) {
      this.#drop(alert, 'too many wait');
      return;
    }
    const now = performance.now();
    this.#waiting.set(alert.id, { alert, trace: outgoingTrace(), since: now, attempts: 0, dueAt: now });
    this.#pump();
  }

  /** For a freeze: the oldest of what is neither one nor just being told is given up. */
  #makeRoom(alert: Alert): boolean {
    if (!isFreeze(alert)) return false;
    for (const { alert: other } of this.#waiting.values()) {
      if (isFreeze(other) || this.#underWay.has(other.id)) continue;
      this.#waiting.delete(other.id);
      this.#drop(other, 'made room for a freeze');
      return true;
    }
    return false;
  }

  #pump(): void {
    clearTimeout(this.#timer);
    if (this.#closing.signal.aborted) return;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    const waitingByTurn = [...this.#waiting.values()].sort(
      (a, b) => Number(isFreeze(b.alert)) - Number(isFreeze(a.alert)),
    );
    for (const waiting of waitingByTurn) {
      if (this.#underWay.has(waiting.alert.id)) continue;
      // One that ends calls this again.
      if (this.#underWay.size >= LIMITS.alertDeliveries) return;
      if (waiting.dueAt <= now) void this.#attempt(waiting);
      else next = Math.min(next, waiting.dueAt);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#timer = setTimeout(() => this.#pump(), next - now).unref();
  }

  async #attempt(waiting: Waiting): Promise<void> {
    const { alert, trace } = waiting;
    this.#underWay.add(alert.id);
    const fault = await this.#post(alert, trace).then(
      (status) => (status >= 200 && status < 300 ? undefined : `status ${status}`),
      (error: Error) => error.name,
    );
    this.#underWay.delete(alert.id);
    if (this.#closing.signal.aborted) return;
    if (fault === undefined) {
      this.#waiting.delete(alert.id);
      this.#options.onOutcome?.('delivered');
    } else {
      this.#putOff(waiting, fault);
    }
    this.#pump();
  }

  #putOff(waiting: Waiting, fault: string): void {
    const { alert, since } = waiting;
    const { alertRetryMilliseconds, alertRetryMaxMilliseconds, alertGiveUpMilliseconds } = LIMITS;
    const first = this.#options.retryMilliseconds ?? alertRetryMilliseconds;
    const pause = Math.min(first * 2 ** waiting.attempts, alertRetryMaxMilliseconds);
    waiting.attempts++;
    waiting.dueAt = performance.now() + pause;
    if (waiting.dueAt - since > alertGiveUpMilliseconds) {
      this.#waiting.delete(alert.id);
      return void this.#drop(alert, fault);
    }
    this.#options.onOutcome?.('retried');
    if (waiting.attempts === 1) this.#options.log.warn({ ...this.#facts(alert), fault }, 'alert not delivered yet');
  }

  async #post({ id, body }: Alert, trace: Waiting['trace']): Promise<number> {
    const timestamp = timeMs(Date.now());
    const response = await fetch(this.#endpoint.url, {
      method: 'POST',
      body,
      // Wherever a redirect leads, nobody configured it.
      redirect: 'manual',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'quantumvault-host',
        ...trace,
        ...signWebhook(this.#secrets.current, { id, timestamp, body }),
      },
      signal: AbortSignal.any([this.#closing.signal, AbortSignal.timeout(LIMITS.alertTimeoutMilliseconds)]),
    });
    await response.body?.cancel();
    return response.status;
  }

  #drop(alert: Alert, fault: string): void {
    this.#options.onOutcome?.('dropped');
    this.#options.log.error({ ...this.#facts(alert), fault }, 'alert dropped');
  }

  /** Path and query of an endpoint may be a secret. */
  #facts({ id, type }: Alert) {
    return { alert: id, type, endpoint: this.#endpoint.url.host };
  }

  /** How many were never delivered. */
  close(): number {
    this.#closing.abort();
    clearTimeout(this.#timer);
    this.#secrets.close();
    return this.#waiting.size;
  }
}

const isFreeze = ({ type }: Alert): boolean => ALERT_TYPES[type] === 'freeze';
