/**
 * What the host counts and times, as Prometheus reads it. Every series that an alert rule or the dashboard asks for is
 * there at zero from the start: a counter that appears with its first event hides that event from `rate()`.
 *
 * Names follow Prometheus: `qv_` and the unit at the end, seconds and bytes, `_total` for counters.
 */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { MESSAGES, type MessageName } from '@quantumvault/shared/protocol/messages.ts';
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { TunnelCounts } from '../kms-tunnel.ts';
import {
  type CodeLabel,
  type Counts,
  RATE_LIMITS,
  type RateLimit,
  SHED_REASONS,
  type ShedReason,
  SIGN_MODES,
  type SignMode,
  STAGES,
  type Stage,
  WEBHOOK_OUTCOMES,
  type WebhookOutcome,
} from './counts.ts';
import { processRegistry } from './process.ts';
import { RuleLabels, SEEDED_RULES } from './rule-labels.ts';

/** From a refusal without any work to the longest wait for an enclave. */
const SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];
const MESSAGE_NAMES = Object.keys(MESSAGES) as MessageName[];
/** What a message ends with when something is wrong with the enclave or KMS. */
const SEEDED_MESSAGE_CODES: readonly CodeLabel[] = [
  'ok',
  'enclave_unavailable',
  'deadline_exceeded',
  'overloaded',
  'internal',
  'kms_unavailable',
  'kms_refused',
  'kms_response_invalid',
  'time_untrusted',
];
const STORE_CODES = ['store_unavailable', 'overloaded', 'internal'] as const;
const UNKNOWN_SOURCE = 'unknown';

export class HostMetrics implements Counts {
  /** For collectors of their own. */
  readonly registry = new Registry();
  readonly #rules = new RuleLabels();
  readonly #sources = new Set<string>([UNKNOWN_SOURCE]);

  readonly #requests = this.#counter('qv_http_requests_total', 'Replies, by route, status and error code.', [
    'route',
    'status',
    'code',
  ]);
  readonly #requestSeconds = this.#histogram('qv_http_request_seconds', 'From the head of a request to its reply.', [
    'route',
  ]);
  readonly #connections = this.#counter('qv_http_refused_connections_total', 'Closed without a reply: too many.', []);
  readonly #rateLimited = this.#counter('qv_rate_limited_total', 'Requests refused for a rate.', ['limit']);
  readonly #shed = this.#counter('qv_shed_total', 'Requests refused before any work, by reason.', ['reason']);
  readonly #relayed = this.#counter('qv_relayed_requests_total', 'Requests for what another enclave holds.', [
    'outcome',
  ]);
  readonly #webhooks = this.#counter('qv_webhooks_total', 'Webhooks, by source and outcome.', ['source', 'outcome']);
  readonly #spent = this.#counter('qv_signals_spent_total', 'Requests that cited a signal and were signed.', [
    'source',
  ]);
  readonly #verdicts = this.#counter('qv_verdicts_total', 'Transactions that the enclave judged.', ['mode', 'verdict']);
  readonly #denials = this.#counter('qv_denials_total', 'Transactions denied, by the first rule that did.', ['rule']);
  readonly #stages = this.#histogram('qv_sign_stage_seconds', 'Parts of the time of a signing request.', ['stage']);
  readonly #messages = this.#counter('qv_enclave_requests_total', 'Messages to the enclave, by how they ended.', [
    'message',
    'code',
  ]);
  readonly #messageSeconds = this.#histogram('qv_enclave_request_seconds', 'Round trips to the enclave.', ['message']);
  readonly #storeSeconds = this.#histogram('qv_store_seconds', 'Operations of the database.', ['kind']);
  readonly #storeFailures = this.#counter('qv_store_failures_total', 'Operations that the database failed.', ['code']);
  readonly #tunnel = this.#counter('qv_kms_tunnel_connections_total', 'Connections of enclaves towards KMS.', [
    'outcome',
  ]);
  readonly #tunnelOpen = new Gauge({
    name: 'qv_kms_tunnel_open',
    help: 'Connections that the KMS tunnel carries.',
    registers: [this.registry],
  });
  readonly #tunnelBytes = this.#counter('qv_kms_tunnel_bytes_total', 'Bytes carried by connections that have ended.', [
    'direction',
  ]);

  constructor() {
    for (const limit of RATE_LIMITS) this.#rateLimited.inc({ limit }, 0);
    for (const reason of SHED_REASONS) this.#shed.inc({ reason }, 0);
    for (const outcome of ['answered', 'in_transit']) this.#relayed.inc({ outcome }, 0);
    for (const mode of SIGN_MODES) for (const verdict of ['allow', 'deny']) this.#verdicts.inc({ mode, verdict }, 0);
    for (const rule of SEEDED_RULES) this.#denials.inc({ rule }, 0);
    for (const stage of STAGES) this.#stages.zero({ stage });
    for (const message of MESSAGE_NAMES) {
      this.#messageSeconds.zero({ message });
      for (const code of SEEDED_MESSAGE_CODES) this.#messages.inc({ message, code }, 0);
    }
    for (const kind of ['read', 'write']) this.#storeSeconds.zero({ kind });
    for (const code of STORE_CODES) this.#storeFailures.inc({ code }, 0);
    for (const outcome of ['opened', 'refused', 'failed']) this.#tunnel.inc({ outcome }, 0);
    for (const direction of ['to_kms', 'to_enclave']) this.#tunnelBytes.inc({ direction }, 0);
    this.#seedSource(UNKNOWN_SOURCE);
  }

  /** The exposition format's text, process metrics included. */
  async text(): Promise<string> {
    return await Registry.merge([this.registry, processRegistry()]).metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Makes a configured source's series. */
  knowSources(sources: Iterable<string>): void {
    for (const source of sources) this.#seedSource(source);
  }

  #seedSource(source: string): void {
    this.#sources.add(source);
    for (const outcome of WEBHOOK_OUTCOMES) this.#webhooks.inc({ source, outcome }, 0);
    this.#spent.inc({ source }, 0);
  }

  #sourceLabel(source: string): string {
    return this.#sources.has(source) ? source : UNKNOWN_SOURCE;
  }

  /** @param replies status and code of replies that it may give and alerts ask for */
  knowRoute(route: string, replies: readonly (readonly [number, CodeLabel])[]): void {
    this.#requestSeconds.zero({ route });
    for (const [status, code] of replies) this.#requests.inc({ route, status, code }, 0);
  }

  /** @param seconds absent for what never became a request */
  reply(route: string, status: number, code: CodeLabel, seconds?: number): void {
    this.#requests.inc({ route, status, code });
    if (seconds !== undefined) this.#requestSeconds.observe({ route }, seconds);
  }

  connectionRefused(): void {
    this.#connections.inc();
  }

  rateLimited(limit: RateLimit): void {
    this.#rateLimited.inc({ limit });
  }

  /** Asked of a peer, which answered, or does not hold the wallet either. */
  relayed(outcome: 'answered' | 'in_transit'): void {
    this.#relayed.inc({ outcome });
  }

  shed(reason: ShedReason): void {
    this.#shed.inc({ reason });
  }

  webhook(source: string, outcome: WebhookOutcome): void {
    this.#webhooks.inc({ source: this.#sourceLabel(source), outcome });
  }

  signalSpent(source: string): void {
    this.#spent.inc({ source: this.#sourceLabel(source) });
  }

  verdict(mode: SignMode, verdict: 'allow' | 'deny', rule?: string): void {
    this.#verdicts.inc({ mode, verdict });
    // A dry run denies nothing to anybody.
    if (verdict === 'deny' && mode !== 'dry_run') this.#denials.inc({ rule: this.#rules.of(rule) });
  }

  stageSeconds(stage: Stage, seconds: number): void {
    this.#stages.observe({ stage }, seconds);
  }

  async stage<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work();
    } finally {
      this.stageSeconds(stage, (performance.now() - started) / 1000);
    }
  }

  message(message: MessageName, code: CodeLabel, seconds: number): void {
    this.#messages.inc({ message, code });
    this.#messageSeconds.observe({ message }, seconds);
  }

  storeOperation(kind: 'read' | 'write', seconds: number, failure: ErrorCode | undefined): void {
    this.#storeSeconds.observe({ kind }, seconds);
    if (failure === undefined) return;
    const code = STORE_CODES.find((known) => known === failure) ?? 'internal';
    this.#storeFailures.inc({ code });
  }

  tunnelConnection(outcome: 'opened' | 'refused' | 'failed'): void {
    this.#tunnel.inc({ outcome });
  }

  tunnelOpen(count: number): void {
    this.#tunnelOpen.set(count);
  }

  /** Counts for one of several tunnels: what is open in all of them is one number. */
  oneTunnel(): TunnelCounts {
    let open = 0;
    return {
      tunnelConnection: (outcome) => this.tunnelConnection(outcome),
      tunnelBytes: (direction, bytes) => this.tunnelBytes(direction, bytes),
      tunnelOpen: (count) => {
        this.#tunnelOpen.inc(count - open);
        open = count;
      },
    };
  }

  tunnelBytes(direction: 'to_kms' | 'to_enclave', bytes: number): void {
    this.#tunnelBytes.inc({ direction }, bytes);
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #histogram<L extends string>(name: string, help: string, labelNames: readonly L[]): Histogram<L> {
    return new Histogram({ name, help, labelNames: [...labelNames], buckets: SECONDS, registers: [this.registry] });
  }
}
