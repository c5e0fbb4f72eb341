/**
 * One exchange with the host: bounded in time and size, repeated byte for byte when the error table says that a repeat
 * is safe, and answered by strict JSON or a QvError with the host's stable code (RFC 9457).
 */
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { ERRORS, type ErrorFacts, isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface Connection {
  /** `https://host[:port]`; a path in it is kept in front of ours. */
  readonly url: URL;
  readonly fetch: typeof fetch;
  readonly timeoutMilliseconds: number;
  /** In all, the first included. */
  readonly attempts: number;
}

export type ConnectionOptions = Partial<Omit<Connection, 'url'>>;

/** With the defaults of LIMITS. @throws TypeError when `url` is none */
export function connectionTo(url: string | URL, options: ConnectionOptions = {}): Connection {
  const base = new URL(url);
  // So that relative paths go below it.
  if (!base.pathname.endsWith('/')) base.pathname += '/';
  return {
    url: base,
    fetch: options.fetch ?? fetch,
    timeoutMilliseconds: options.timeoutMilliseconds ?? LIMITS.clientTimeoutMilliseconds,
    attempts: options.attempts ?? LIMITS.clientAttempts,
  };
}

export interface Exchange {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Relative to the host's address: `v1/sign`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array<ArrayBuffer>;
  /** Gives up between and during attempts. */
  readonly signal?: AbortSignal | undefined;
}

/** The host said no. `code`, `path` and `value` are stable; `requestId` finds the host's log line. */
export class HostProblem extends QvError {
  readonly status: number;
  readonly requestId: string | undefined;
  /** The members of the problem that belong to this code alone. */
  readonly members: JsonFields;

  constructor(code: QvError['code'], facts: ErrorFacts, status: number, members: JsonFields) {
    super(code, facts);
    this.name = 'HostProblem';
    this.status = status;
    this.members = members;
    this.requestId = textOf(members, 'requestId');
  }
}

/** @throws HostProblem; QvError host_unreachable, response_malformed; whatever `signal` was aborted with */
export async function exchange(connection: Connection, request: Exchange): Promise<JsonFields> {
  const bytes = await repeated(connection, request.signal, async () => {
    const answer = await exchangeOnce(connection, request, LIMITS.clientResponseBytes);
    if (!answer.response.ok) throw readProblem(answer.response, answer.bytes);
    return answer.bytes;
  });
  return readJson(bytes);
}

/**
 * The bytes at a path, whatever they are; undefined when there is nothing, whoever says so.
 * @throws as `exchange` does; response_malformed when there are more than `maxBytes`
 */
export async function download(
  connection: Connection,
  path: string,
  maxBytes: number,
  signal?: AbortSignal,
): Promise<Uint8Array | undefined> {
  return repeated(connection, signal, async () => {
    const request = { method: 'GET', path, headers: { accept: '*/*' }, signal } as const;
    const { response, bytes } = await exchangeOnce(connection, request, maxBytes);
    if (response.status === 404) return undefined;
    if (!response.ok) throw readProblem(response, bytes);
    return bytes;
  });
}

async function repeated<T>(
  connection: Connection,
  signal: AbortSignal | undefined,
  action: () => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      signal?.throwIfAborted();
      const retryable = error instanceof QvError && ERRORS[error.code].retryable;
      if (!retryable || attempt >= connection.attempts) throw error;
      await backoff(attempt, signal);
    }
  }
}

async function exchangeOnce(
  connection: Connection,
  request: Exchange,
  maxBytes: number,
): Promise<{ readonly response: Response; readonly bytes: Uint8Array }> {
  const { method, path, headers = {}, body } = request;
  const timeout = AbortSignal.timeout(connection.timeoutMilliseconds);
  try {
    const response = await connection.fetch(new URL(path, connection.url), {
      method,
      headers: { accept: 'application/json', ...(body && { 'content-type': 'application/json' }), ...headers },
      // A redirect would hand a signed request to somebody else.
      redirect: 'error',
      signal: request.signal === undefined ? timeout : AbortSignal.any([timeout, request.signal]),
      ...(body && { body }),
    });
    // What explains a refusal is small, whatever was asked for.
    const bytes = await readBounded(response, response.ok ? maxBytes : LIMITS.clientResponseBytes);
    return { response, bytes };
  } catch (error) {
    if (error instanceof QvError) throw error;
    const value = timeout.aborted ? 'timeout' : connection.url.host;
    throw new QvError('host_unreachable', { value }, { cause: error });
  }
}

async function readBounded(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > maxBytes) throw new QvError('response_malformed', { value: 'too large' });
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}

function readJson(bytes: Uint8Array): JsonFields {
  return readResponse(() => new JsonFields(parseStrictJson(bytes)));
}

/** Runs `read`; what does not parse in an answer is the host's fault and not the caller's. */
export function readResponse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    throw new QvError('response_malformed', error.facts, { cause: error });
  }
}

function readProblem(response: Response, bytes: Uint8Array): QvError {
  const { status } = response;
  let members: JsonFields;
  try {
    members = readJson(bytes);
  } catch (error) {
    return unexplained(status, error);
  }
  const code = textOf(members, 'code');
  if (!isErrorCode(code)) return unexplained(status, undefined);
  const path = textOf(members, 'rule') ?? textOf(members, 'path');
  const value = textOf(members, 'value');
  return new HostProblem(
    code,
    { ...(path !== undefined && { path }), ...(value !== undefined && { value }) },
    status,
    members,
  );
}

/** Something in between answered: a proxy with 502, 503 or 504 says that the host did not. */
function unexplained(status: number, cause: unknown): QvError {
  const code = status === 502 || status === 503 || status === 504 ? 'host_unreachable' : 'response_malformed';
  return new QvError(code, { value: `HTTP ${status}` }, { cause });
}

function textOf(members: JsonFields, key: string): string | undefined {
  const value: JsonValue | undefined = members.optional(key);
  return typeof value === 'string' ? value : undefined;
}

async function backoff(attempt: number, signal: AbortSignal | undefined): Promise<void> {
  const full = Math.min(LIMITS.clientBackoffMilliseconds * 2 ** (attempt - 1), LIMITS.clientBackoffMaxMilliseconds);
  const { promise, resolve } = Promise.withResolvers<void>();
  // Half of it at random, so that clients refused together do not come back together.
  const timer = setTimeout(resolve, full / 2 + (Math.random() * full) / 2);
  signal?.addEventListener('abort', () => resolve(), { once: true });
  await promise;
  clearTimeout(timer);
  signal?.throwIfAborted();
}
