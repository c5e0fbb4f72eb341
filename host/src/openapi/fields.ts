/** Header fields: what callers may send with any request, and what replies carry. */
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Parameter, Schema } from './operation.ts';

/** Of every operation. */
export const TRACE_PARAMETERS: Readonly<Record<string, Parameter>> = {
  traceparent: {
    name: 'traceparent',
    in: 'header',
    required: false,
    description: 'W3C Trace Context. One that is not well-formed is ignored, and a trace of our own begins.',
    schema: { type: 'string', examples: ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'] },
  },
  tracestate: {
    name: 'tracestate',
    in: 'header',
    required: false,
    description: 'W3C Trace Context: passed on as it is, if well-formed and at most 512 characters.',
    schema: { type: 'string' },
  },
};

export const WEBHOOK_ID: Parameter = {
  name: 'webhook-id',
  in: 'header',
  required: true,
  description:
    'The id of this request, and the key of its idempotency together with wallet and requester: the same id and body ' +
    'get the same reply for 24 hours. Choose a new one for each decision, and keep it when you repeat.',
  schema: { type: 'string', pattern: '^[A-Za-z0-9_-]{1,64}$', examples: ['order-4711'] },
};

export const WEBHOOK_TIMESTAMP: Parameter = {
  name: 'webhook-timestamp',
  in: 'header',
  required: true,
  description:
    `Whole seconds since 1970. At most ${LIMITS.requestMaxAgeSeconds} seconds old and ` +
    `${LIMITS.requestMaxFutureSeconds} seconds ahead, by the host’s clock and by the enclave’s trusted time.`,
  schema: { type: 'string', pattern: '^(?:0|[1-9][0-9]{0,11})$', examples: ['1795383600'] },
};

export const REQUEST_TIMEOUT: Parameter = {
  name: 'x-request-timeout-ms',
  in: 'header',
  required: false,
  description:
    `How long you wait, in milliseconds; more than ${LIMITS.enclaveRequestTimeoutMilliseconds} counts as that, which is ` +
    'the default. What would come later is neither asked nor decided: 504 `deadline_exceeded`.',
  schema: { type: 'string', pattern: '^[1-9][0-9]{0,6}$', examples: ['5000'] },
};

export interface ReplyHeader {
  readonly description: string;
  readonly required?: boolean;
  readonly schema: Schema;
}

export const REPLY_HEADERS: Readonly<Record<string, ReplyHeader>> = {
  'x-request-id': {
    description: 'Finds the line in the host’s log; drawn by the host for each request. Not the `webhook-id`.',
    required: true,
    schema: { type: 'string', pattern: '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$' },
  },
  'cache-control': {
    description: '`no-store`, but for what never changes. Absent where a request was refused before any route.',
    schema: { enum: ['no-store', 'public, max-age=31536000, immutable'] },
  },
  traceresponse: {
    description:
      'The trace and our part of it, as `traceparent` is written (draft of Trace Context Level 3). Absent where a ' +
      'request was refused before any route.',
    schema: { type: 'string', pattern: '^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$' },
  },
  RateLimit: {
    description:
      'For each rate that was counted: what remains of it (`r`), and in how many seconds it is whole again (`t`). ' +
      'draft-ietf-httpapi-ratelimit-headers-10; names are those of `rateLimits` in the host’s configuration.',
    schema: { type: 'string', pattern: '^"[a-z]+";r=[0-9]+;t=[0-9]+(?:, "[a-z]+";r=[0-9]+;t=[0-9]+)*$' },
  },
  'RateLimit-Policy': {
    description: 'For each of them: how many (`q`) in how many seconds (`w`).',
    schema: { type: 'string', pattern: '^"[a-z]+";q=[0-9]+;w=[0-9]+(?:, "[a-z]+";q=[0-9]+;w=[0-9]+)*$' },
  },
  'WWW-Authenticate': {
    description: 'With 401 `api_token_invalid` and 503 `api_tokens_unconfigured`: what is missing (RFC 6750).',
    schema: { const: 'Bearer' },
  },
  'Retry-After': {
    description: 'Seconds to wait: with 503 `overloaded`, 429 `rate_limited` and 429 `source_slowed`.',
    schema: { type: 'string', pattern: '^[1-9][0-9]*$' },
  },
};

/** Of pages. */
export const PAGE_HEADERS: Readonly<Record<string, Schema>> = {
  'content-security-policy': { type: 'string', pattern: "^default-src 'none'; .*frame-ancestors 'none'$" },
  'x-content-type-options': { const: 'nosniff' },
  'referrer-policy': { const: 'no-referrer' },
};
