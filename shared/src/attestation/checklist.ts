/** The typed checklist: what verify.ts returns, and the words its checks answer with. */
import type { ErrorCode } from '../errors.ts';

/** In the order in which they are made. Names are stable; the README says what each protects. */
export const STEPS = {
  size: 'Document is no larger than allowed',
  envelope: 'Envelope is the COSE_Sign1 that Nitro writes',
  payload: 'Payload is an enclave attestation document',
  certificates: 'Certificates are strict X.509',
  root: 'Chain starts at the trusted root',
  'chain-order': 'Each certificate names the one before it as issuer',
  'chain-extensions': 'No critical extension is unknown',
  'chain-ca': 'Issuers are CAs and the leaf is not',
  'chain-path-length': 'No path length is exceeded',
  'chain-key-usage': 'Keys are used for what they may do',
  'chain-algorithms': 'All keys are P-384, all signatures ECDSA with SHA-384',
  'chain-validity': 'All certificates are valid at the time checked',
  'chain-signatures': 'Each certificate is signed by the one before it',
  signature: 'Document is signed by its certificate',
  time: 'Document is fresh',
  nonce: 'Nonce is the expected one',
  debug: 'Enclave is not in debug mode',
  pcrs: 'PCRs match an allowed set',
  instance: 'PCR4 measures the instance named in module_id',
  'user-data': 'user_data is the expected one',
  'public-key': 'Document carries a public key',
} as const;

/** For people: what a report in which every check passed is worth. */
export const PROVES = {
  live: 'Proves authenticity and recency: an enclave of this image made it just now, for this nonce.',
  replay:
    'Proves authenticity, not recency: an enclave of this image made it at the time it states, and it may have been kept since.',
} as const;

export type StepName = keyof typeof STEPS;

/** The first failure's code is the verdict's code; `found` is for people and never stable. */
export type Verdict =
  | { readonly status: 'pass'; readonly found: string }
  | { readonly status: 'fail'; readonly found: string; readonly code: ErrorCode }
  | { readonly status: 'skipped'; readonly found: string };

/** A line of any checklist of ours. */
export type StepOf<Name extends string> = { readonly name: Name; readonly title: string } & (
  | Verdict
  | { readonly status: 'not-reached'; readonly found: string }
);
export type Step = StepOf<StepName>;

export const pass = (found: string): Verdict => ({ status: 'pass', found });
export const fail = (code: ErrorCode, found: string): Verdict => ({ status: 'fail', code, found });
export const skip = (why: string): Verdict => ({ status: 'skipped', found: why });
