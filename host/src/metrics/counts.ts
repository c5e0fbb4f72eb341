/**
 * What other parts of the host count. Every label has few values, all known beforehand: what strangers write is never
 * one, because each value is a series that Prometheus keeps.
 */
import type { ErrorCode } from '@quantumvault/shared/errors.ts';

/** Whose rate was over its limit: one of rate-limits/, or that of attempts to freeze. */
export const RATE_LIMITS = [
  'address',
  'attestations',
  'statements',
  'requester',
  'wallet',
  'repeats',
  'freeze',
] as const;
export type RateLimit = (typeof RATE_LIMITS)[number];

/** Why a request was refused before any work was done for it. */
export const SHED_REASONS = ['event_loop', 'queue_age', 'draining'] as const;
export type ShedReason = (typeof SHED_REASONS)[number];

/** How a webhook ended. `duplicate`: known already, acknowledged again. `failed`: through no fault of its sender. */
export const WEBHOOK_OUTCOMES = ['accepted', 'duplicate', 'refused', 'failed'] as const;
export type WebhookOutcome = (typeof WEBHOOK_OUTCOMES)[number];

/** The parts of a signing request's time. */
export const STAGES = ['row', 'authentication', 'enclave', 'store', 'total'] as const;
export type Stage = (typeof STAGES)[number];

/** How transactions were asked about. */
export const SIGN_MODES = ['sign', 'batch', 'dry_run'] as const;
export type SignMode = (typeof SIGN_MODES)[number];

export interface Counts {
  rateLimited(limit: RateLimit): void;
  shed(reason: ShedReason): void;
  /** @param source as configured; of one that is not, `unknown` is counted */
  webhook(source: string, outcome: WebhookOutcome): void;
  /** A signature spent a signal of this source. */
  signalSpent(source: string): void;
  /** @param rule of a denial: the first that denied */
  verdict(mode: SignMode, verdict: 'allow' | 'deny', rule?: string): void;
  /** Times `work`, also when it throws. */
  stage<T>(stage: Stage, work: () => Promise<T>): Promise<T>;
}

/** How something ended. `none`: it failed, and no code of the error table says why. */
export type CodeLabel = 'ok' | 'none' | ErrorCode;
