/** Exchanges with a witness for the sake of one checkpoint: bounded in size, and together in time. */
import { isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { PROBLEM_TYPE } from '../problem.ts';

export interface Reply {
  readonly status: number;
  /** Media type without parameters; empty when there is none. */
  readonly type: string;
  readonly body: Uint8Array;
  /** The code of a problem (RFC 9457), from witnesses of this project. */
  readonly code: string | undefined;
}

export class WitnessConnection {
  readonly #prefix: URL;
  readonly #fetch: typeof fetch;
  readonly #timeout: AbortSignal;

  /** The time begins now. */
  constructor(url: URL, fetcher: typeof fetch, timeoutMilliseconds: number) {
    this.#prefix = new URL(url);
    // So that relative paths go below it.
    if (!this.#prefix.pathname.endsWith('/')) this.#prefix.pathname += '/';
    this.#fetch = fetcher;
    this.#timeout = AbortSignal.timeout(timeoutMilliseconds);
  }

  /** @throws QvError witness_unavailable, witness_response_invalid when the answer is too large */
  async post(path: string, type: string, body: Uint8Array): Promise<Reply> {
    try {
      const response = await this.#fetch(new URL(path, this.#prefix), {
        method: 'POST',
        headers: { 'content-type': type },
        body: Uint8Array.from(body),
        // What is asked of one witness is not carried to another.
        redirect: 'error',
        signal: this.#timeout,
      });
      const answer = await readBounded(response);
      const media = (response.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
      const code = media === PROBLEM_TYPE ? codeIn(answer) : undefined;
      return { status: response.status, type: media, body: answer, code };
    } catch (cause) {
      if (cause instanceof QvError) throw cause;
      throw this.#unavailable(cause);
    }
  }

  /** What our side works on meanwhile counts, too. @throws QvError witness_unavailable, and what `work` throws */
  async inTime<T>(work: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const late = (): void => reject(this.#unavailable(this.#timeout.reason));
    if (this.#timeout.aborted) late();
    this.#timeout.addEventListener('abort', late, { once: true });
    try {
      return await Promise.race([work, promise]);
    } finally {
      this.#timeout.removeEventListener('abort', late);
    }
  }

  #unavailable(cause: unknown): QvError {
    const value = this.#timeout.aborted ? 'timeout' : this.#prefix.host;
    return new QvError('witness_unavailable', { value }, { cause });
  }
}

/** To the end, so that the connection can be used again. */
async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    // Signature lines are a part of a note.
    if (length > LIMITS.noteBytes) throw new QvError('witness_response_invalid', { value: 'too large' });
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function codeIn(body: Uint8Array): string | undefined {
  try {
    const code = new JsonFields(parseStrictJson(body)).optional('code');
    return isErrorCode(code) ? code : undefined;
  } catch {
    // The status says enough.
    return undefined;
  }
}
