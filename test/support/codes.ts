/** How tests say which error they expect. */
import { ERRORS, type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { expect } from 'vitest';
import { noteCode } from './codes-seen.ts';
import { undocumented } from './documented.ts';

/** The refusal, for further checks. Takes a promise, or a function that throws or rejects. */
export async function expectCode(subject: Promise<unknown> | (() => unknown), code: ErrorCode): Promise<QvError> {
  let outcome: unknown;
  try {
    outcome = await (typeof subject === 'function' ? subject() : subject);
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    expect(error.code).toBe(code);
    noteCode(code);
    return error;
  }
  throw new Error(`expected ${code}, but it went through: ${String(outcome)}`);
}

/** The refusal of something synchronous, undefined if it went through; the caller asserts on it. */
export function refusalOf(action: () => unknown): QvError | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    noteCode(error.code);
    return error;
  }
}

/** What a caller sees of a refusal (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: string;
  readonly retryable: boolean;
  readonly requestId: string;
  readonly path?: string;
  readonly rule?: string;
  readonly value?: string;
  readonly receipt?: { readonly leaf: string; readonly signature: string };
}

/**
 * Checks status, media type and members against the error table, and the code against the OpenAPI document; returns the
 * body for further checks.
 */
export async function expectProblem(response: Response, code: ErrorCode): Promise<Problem> {
  const problem = (await response.json()) as Problem;
  expect(problem.code).toBe(code);
  noteCode(code);
  expect(undocumented(response.url, code)).toBeUndefined();
  const row = ERRORS[code];
  expect(response.status).toBe(row.status);
  expect(response.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(problem).toMatchObject({
    type: `urn:quantumvault:error:${code}`,
    title: row.meaning,
    status: row.status,
    retryable: row.retryable,
  });
  expect(problem.requestId).toMatch(/^[0-9a-f-]{36}$/);
  return problem;
}
