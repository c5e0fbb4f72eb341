/** Refusals: the problem, its codes from the one table, and the replies of one operation that carry them. */
import { ERRORS, type ErrorCode } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { PROBLEM_TYPE } from '../problem.ts';
import { inOrder } from './codes.ts';
import type { Schema } from './operation.ts';
import { closed, ref, text } from './schemas.ts';

/** @param codes that some operation answers with */
export function problemSchemas(codes: readonly ErrorCode[]): Record<string, Schema> {
  return {
    ErrorCode: { type: 'string', enum: codes, description: 'Stable: a code never changes its meaning.' },
    Problem: {
      ...closed(
        {
          type: text('The code as a URN.', { pattern: '^urn:quantumvault:error:[a-z0-9_]+$' }),
          title: text('The meaning of the code.'),
          status: { type: 'integer', minimum: 400, maximum: 599 },
          code: ref('ErrorCode'),
          retryable: { type: 'boolean', description: 'Whether the same request may succeed later.' },
          path: text('The field at fault.'),
          rule: text('Of `policy_denied`, in place of `path`: the rule that denied.'),
          value: text('What was wrong with it, shortened; of `policy_denied` what broke the rule.'),
          receipt: { ...ref('Receipt'), description: 'Of `policy_denied`: the denial as it stands in the log.' },
          index: {
            type: 'integer',
            minimum: 0,
            maximum: LIMITS.batchTransactions - 1,
            description: 'Of a batch that was denied: the first transaction that was.',
          },
          verdicts: {
            type: 'array',
            items: ref('BatchVerdictItem'),
            description: 'Of a batch that was denied: a verdict on each transaction.',
          },
          requestId: text('As in `x-request-id`.', { pattern: '^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$' }),
        },
        ['path', 'rule', 'value', 'receipt', 'index', 'verdicts'],
      ),
      description: 'Why a request was refused (RFC 9457).',
    },
  };
}

export interface Refusal {
  readonly description: string;
  readonly content: { readonly [PROBLEM_TYPE]: { readonly schema: Schema } };
  readonly isRetried: boolean;
  readonly isAuthentication: boolean;
}

/** By status: which codes, and that it is a problem with one of them. */
export function refusals(codes: Iterable<ErrorCode>): Map<number, Refusal> {
  const byStatus = Map.groupBy(inOrder(codes), (code) => ERRORS[code].status);
  return new Map(
    [...byStatus].map(([status, ofStatus]) => [
      status,
      {
        // What they mean stands in the table, once.
        description: `Refused: ${ofStatus.map((code) => `\`${code}\``).join(', ')}`,
        content: {
          [PROBLEM_TYPE]: {
            schema: { ...ref('Problem'), properties: { status: { const: status }, code: { enum: ofStatus } } },
          },
        },
        isRetried: ofStatus.some((code) => RETRY_AFTER.includes(code)),
        isAuthentication: ofStatus.some((code) => AUTHENTICATE.includes(code)),
      },
    ]),
  );
}

/** Those whose replies say when to come again. */
const RETRY_AFTER: readonly ErrorCode[] = ['overloaded', 'rate_limited', 'source_slowed'];

/** Those whose replies ask for a token. */
const AUTHENTICATE: readonly ErrorCode[] = ['api_token_invalid', 'api_tokens_unconfigured'];

export interface ErrorEntry {
  readonly code: ErrorCode;
  readonly status: number;
  readonly retryable: boolean;
  readonly meaning: string;
}

/** The whole table, also codes of the SDK, of qv, and between the parts of the appliance. */
export function errorTable(): ErrorEntry[] {
  return (Object.keys(ERRORS) as ErrorCode[]).map((code) => ({ code, ...ERRORS[code] }));
}
