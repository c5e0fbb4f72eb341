/** What a document is verified against. Whatever weakens the verdict says so in its name. */
import { QvError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { type PcrSet, pcrSet } from './pcrs.ts';

/** Now, by the caller's clock. Proves recency. */
export interface LiveMode {
  readonly kind: 'live';
  readonly nowMs: number;
  /**
   * The 16 or more random bytes the caller drew for this document. KMS checks no nonce; whoever stands in for it says
   * so with 'unsafe-not-checked' and accepts any document of the last minutes again.
   */
  readonly nonce: Uint8Array | 'unsafe-not-checked';
  /** Default: LIMITS.attestationMaxAgeSeconds. */
  readonly maxAgeSeconds?: number;
  /** Default: LIMITS.attestationMaxFutureSeconds. */
  readonly maxFutureSeconds?: number;
}

/** At the document's own time. Proves authenticity, not recency: for records, long after the certificates expired. */
export interface ReplayMode {
  readonly kind: 'replay';
  readonly nonce?: Uint8Array;
}

export interface Expectations {
  readonly mode: LiveMode | ReplayMode;
  /** The images that may have made the document; the PCRs must match all of one set. Never empty. */
  readonly pcrSets: readonly PcrSet[];
  /** user_data must be exactly this. */
  readonly userData?: Uint8Array;
  readonly publicKeyRequired?: boolean;
  /** Accepts enclaves in debug mode, whose operator can read their memory. PCRs of zeros match every one of them. */
  readonly allowDebug?: boolean;
  /** Trusts another root than AWS's: whoever holds its key can attest anything. */
  readonly unsafeTrustedRootDer?: Uint8Array;
}

/** An expectation that is missing must never mean "anything". @throws QvError attestation_expectations_invalid */
export function requireExpectations({ pcrSets, mode }: Expectations): void {
  const refuse = (path: string): never => {
    throw new QvError('attestation_expectations_invalid', { path });
  };
  // check expectations-pcrs: an empty list would accept any image
  if (pcrSets.length === 0) refuse('pcrSets');
  for (const { name, pcrs } of pcrSets) pcrSet(name, pcrs);
  const { nonce } = mode;
  if (mode.kind === 'live') {
    const { nowMs, maxAgeSeconds = 0, maxFutureSeconds = 0 } = mode;
    const numbers = [nowMs, maxAgeSeconds, maxFutureSeconds];
    // check expectations-time: comparisons with NaN are all false
    if (numbers.some((value) => !Number.isFinite(value) || value < 0)) refuse('mode');
    // check expectations-nonce: live without one would be replay with another name
    if (nonce === undefined) refuse('mode.nonce');
  }
  if (nonce === undefined || nonce === 'unsafe-not-checked') return;
  const least = mode.kind === 'live' ? LIMITS.callerNonceMinBytes : 1;
  // check expectations-nonce-length: long enough not to repeat by chance, short enough to be attested
  if (nonce.length < least || nonce.length > LIMITS.attestationNonceBytes) refuse('mode.nonce');
}
