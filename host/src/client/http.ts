/**
 * One exchange with the host: bounded in time and size, repeated byte for byte when the error table says that a repeat
 * is safe (`retries.ts`), and answered by strict JSON or a QvError with the host's stable code (RFC 9457).
 */
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { type ErrorFacts, isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, type JsonValue, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { pause, Retries, retryAfterSeconds } from './retries.ts';

export interface Connection {
  /** `https://host[:port]`; a path in it is kept in front of ours. */
  readonly url: URL;
  readonly fetch: typeof fetch;
  /** For one attempt. A deadline for all of them is the caller's to set: `signal: AbortSignal.timeout(…)`. */
  readonly timeoutMilliseconds: number;
  /** In all, the first included; 1 repeats nothing. Being told that the request is in flight already does not count. */
  readonly attempts: number;
  /** Of `qv init api-token`, where the host serves what is read to those alone who have one. */
  readonly apiToken?: string;
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
    ...(options.apiToken !== undefined && { apiToken: options.apiToken }),
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
  /** What the host asks for before the next try (Retry-After). */
  readonly retryAfterSeconds: number | undefined;
  /** The members of the problem that belong to this code alone. */
  readonly members: JsonFields;

  constructor(code: QvError['code'], facts: ErrorFacts, response: Response, members: JsonFields) {
    super(code, facts);
    this.name = 'HostProblem';
    this.status = response.status;
    this.retryAfterSeconds = retryAfterSeconds(response.headers);
    this.members = members;
    this.requestId = textOf(members, 'requestId');
  }
}

/** @throws HostProblem; QvError host_unreachable, response_malformed; whatever `signal` was aborted with */
export async function exchange(connection: Connection, request: Exchange): Promise<JsonFields> {
  const { bytes } = await repeated(connection, request, LIMITS.clientResponseBytes, ({ ok }) => ok);
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
  const request = { method: 'GET', path, headers: { accept: '*/*' }, signal } as const;
  const { response, bytes } = await repeated(connection, request, maxBytes, ({ ok, status }) => ok || status === 404);
  return response.ok ? bytes : undefined;
}

interface Answer {
  readonly response: Response;
  readonly bytes: Uint8Array;
}

async function repeated(
  connection: Connection,
  request: Exchange,
  maxBytes: number,
  isAnswer: (response: Response) => boolean,
): Promise<Answer> {
  const { signal } = request;
  const retries = new Retries(connection.attempts);
  for (;;) {
    let failure: QvError;
    let waitSeconds: number | undefined;
    try {
      const answer = await exchangeOnce(connection, request, maxBytes);
      if (isAnswer(answer.response)) return answer;
      failure = readProblem(answer.response, answer.bytes);
      waitSeconds = retryAfterSeconds(answer.response.headers);
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof QvError)) throw error;
      failure = error;
    }
    const waitMilliseconds = retries.next(failure, waitSeconds);
    if (waitMilliseconds === undefined) throw failure;
    await pause(waitMilliseconds, signal);
  }
}

async function exchangeOnce(connection: Connection, request: Exchange, maxBytes: number): Promise<Answer> {
  const { method, path, headers = {}, body, signal } = request;
  signal?.throwIfAborted();
  // By hand: AbortSignal.any is younger than the oldest Node we run on, and keeps long-lived signals' memory.
  const controller = new AbortController();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    controller.abort();
  }, connection.timeoutMilliseconds);
  const giveUp = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    const response = await connection.fetch(new URL(path, connection.url), {
      method,
      headers: {
        accept: 'application/json',
        ...(body && { 'content-type': 'application/json' }),
        ...(connection.apiToken !== undefined && { authorization: `Bearer ${connection.apiToken}` }),
        ...headers,
      },
      // A redirect would hand a signed request to somebody else.
      redirect: 'error',
      signal: controller.signal,
      ...(body && { body }),
    });
    // What explains a refusal is small, whatever was asked for.
    const bytes = await readBounded(response, response.ok ? maxBytes : LIMITS.clientResponseBytes);
    return { response, bytes };
  } catch (error) {
    if (error instanceof QvError) throw error;
    throw new QvError('host_unreachable', { value: isLate ? 'timeout' : connection.url.host }, { cause: error });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
  }
}

/** With a reader, for not every browser iterates over a body. */
async function readBounded(response: Response, maxBytes: number): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    length += part.value.length;
    if (length > maxBytes) {
      // Not waited for: whoever sends too much may also never end.
      reader?.cancel().catch(() => undefined);
      throw new QvError('response_malformed', { value: 'too large' });
    }
    chunks.push(part.value);
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
    response,
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
