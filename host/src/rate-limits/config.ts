/** What the host's configuration says of rate limits. */
import { LIMITS } from '@quantumvault/shared/limits.ts';

/** Requests in one minute. */
export interface RateLimitsConfig {
  /** Of one address, or of one /64 of IPv6: every request but those of the stop button and of health checks. */
  readonly address: number;
  /** Of one address: documents that it asks of the enclave, of which all callers share a few in a second. */
  readonly attestations: number;
  /** Of one address: wallets made, and policies enabled. */
  readonly statements: number;
  /** Signing requests of one requester, over all wallets; each transaction of a batch is one. */
  readonly requester: number;
  /** Signing requests for one wallet, over all requesters; each transaction of a batch is one. */
  readonly wallet: number;
}

export type RateLimitName = keyof RateLimitsConfig;

export const DEFAULT_RATE_LIMITS: RateLimitsConfig = {
  address: LIMITS.addressRequestsPerMinute,
  attestations: LIMITS.addressAttestationsPerMinute,
  statements: LIMITS.addressStatementsPerMinute,
  requester: LIMITS.requesterRequestsPerMinute,
  wallet: LIMITS.walletRequestsPerMinute,
};
