/** What callers see of a refusal: RFC 9457, the row of the error table, and the public facts. Nothing else. */
import { codeOf, ERRORS, type ErrorCode, type ErrorFacts, QvError } from '@quantumvault/shared/errors.ts';
import type { ReceiptJson } from './wire-json.ts';

export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly retryable: boolean;
  /** The field at fault. */
  readonly path?: string;
  /** In place of `path` for policy_denied: the rule that denied. */
  readonly rule?: string;
  readonly value?: string;
  readonly receipt?: ReceiptJson;
  /** Of a batch that was denied: the position of the first transaction that was, and a verdict on each. */
  readonly index?: number;
  readonly verdicts?: readonly VerdictJson[];
  readonly requestId: string;
}

/** Of one transaction of a batch. */
export interface VerdictJson {
  readonly verdict: 'allow' | 'deny';
  readonly messageHash: string;
  readonly rule?: string;
  readonly value?: string;
  readonly receipt?: ReceiptJson;
}

/** What a denial says besides rule and value: its signed leaf; of a batch which transaction it was, and all verdicts. */
export interface Denial {
  readonly receipt: ReceiptJson;
  readonly index?: number;
  readonly verdicts?: readonly VerdictJson[];
}

/** The policy said no, and here is the signed leaf that says so. */
export class DeniedError extends QvError {
  readonly denial: Denial;

  constructor(facts: ErrorFacts, denial: Denial) {
    super('policy_denied', facts);
    this.name = 'DeniedError';
    this.denial = denial;
  }
}

export const PROBLEM_TYPE = 'application/problem+json';

export function problemOf(error: unknown, requestId: string): Problem {
  const code = codeOf(error);
  const { meaning, status, retryable } = ERRORS[code];
  const { path, value } = error instanceof QvError ? error.facts : {};
  return {
    type: `urn:quantumvault:error:${code}`,
    title: meaning,
    status,
    code,
    retryable,
    ...(path === undefined ? {} : code === 'policy_denied' ? { rule: path } : { path }),
    ...(value === undefined ? {} : { value }),
    ...(error instanceof DeniedError ? error.denial : {}),
    requestId,
  };
}

/** Fastify's and Node's own refusals, by their codes, in our table's terms. */
const FOREIGN: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'body_too_large',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'media_type_unsupported',
  FST_ERR_CTP_INVALID_TYPE: 'media_type_unsupported',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'http_malformed',
  FST_ERR_BAD_URL: 'http_malformed',
  FST_ERR_MAX_PARAM_LENGTH: 'route_unknown',
  FST_ERR_NOT_FOUND: 'route_unknown',
  ECONNRESET: 'http_malformed',
};

export function translateForeign(error: unknown): unknown {
  if (error instanceof QvError || !(error instanceof Error) || !('code' in error)) return error;
  const code = FOREIGN[String(error.code)] ?? (isCallersFault(error) ? 'http_malformed' : undefined);
  return code === undefined ? error : new QvError(code, {}, { cause: error });
}

/** A refusal that the table above does not know yet is still the caller's, and no fault of ours. */
function isCallersFault(error: object): boolean {
  const status = 'statusCode' in error ? Number(error.statusCode) : 0;
  return status >= 400 && status < 500;
}

/** What the log says of a refusal's cause. Fastify's messages quote path and query, so of those only the code. */
export function reasonOf(cause: unknown): string {
  return cause instanceof Error && 'code' in cause && !(cause instanceof QvError) ? String(cause.code) : String(cause);
}
