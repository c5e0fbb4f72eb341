/**
 * Other hosts of the same deployment and database, each in front of an enclave of its own, while wallets move from one
 * to the other (an upgrade, a planned restart). What the enclave behind this host does not hold is asked of them, byte
 * for byte, so that callers keep the one address they know.
 *
 * A peer is believed what this host is: nothing that counts. It only carries what callers verify themselves.
 */
import { type ErrorCode, isErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { outgoingTrace } from '../trace/request-trace.ts';

/** Says that a request comes from another host of ours: it is not passed on again. Whoever else sends it gains nothing. */
export const RELAYED = 'x-qv-relayed';

/** What of a request is passed on: all that is signed, and what says how long its caller waits. */
const HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
] as const;

export interface PeerRequest {
  readonly method: string;
  /** Path and query, as they came. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Uint8Array | undefined;
  /** The addresses that it came through, as `X-Forwarded-For` has them. */
  readonly forwardedFor: string;
  /** How long the peer may take. */
  readonly milliseconds: number;
}

export interface PeerAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly retryAfter: string | null;
  readonly body: Uint8Array;
  /** Of a refusal. */
  readonly code: ErrorCode | undefined;
}

export class Peers {
  readonly #origins: readonly string[];
  readonly #fetch: typeof fetch;

  /** @param urls `http://127.0.0.1:8081`, without a path */
  constructor(urls: readonly URL[], fetcher: typeof fetch = fetch) {
    this.#origins = urls.map(({ origin }) => origin);
    this.#fetch = fetcher;
  }

  /**
   * The answer of the peer whose enclave holds the wallet; if nobody gives one, of who could not say.
   * @throws QvError wallet_in_transit: none of those that answer does
   */
  async answer(request: PeerRequest): Promise<PeerAnswer> {
    let unavailable: PeerAnswer | undefined;
    for (const origin of this.#origins) {
      const answer = await this.#ask(origin, request);
      if (answer === undefined || answer.code === 'wallet_held_elsewhere') continue;
      if (answer.status !== 503) return answer;
      // One whose enclave is gone must not stand before one that has the wallet.
      unavailable ??= answer;
    }
    if (unavailable !== undefined) return unavailable;
    throw new QvError('wallet_in_transit', { path: 'wallet' });
  }

  /** The attestation of that boot over this nonce, as JSON text. @throws QvError boot_unknown: nobody has it */
  async attestation(
    boot: string,
    nonce: string,
    request: Omit<PeerRequest, 'method' | 'url' | 'body'>,
  ): Promise<string> {
    // Without the boot in the question: also hosts that know no such parameter have an answer to it.
    const question = { ...request, method: 'GET', url: `/v1/attestation?nonce=${nonce}`, body: undefined };
    for (const origin of this.#origins) {
      const answer = await this.#ask(origin, question);
      if (answer?.status === 200 && textIn(answer.body, 'boot') === boot) return new TextDecoder().decode(answer.body);
    }
    throw new QvError('boot_unknown', { path: 'boot' });
  }

  /** Undefined: nobody answers there, or not in time, or too much. */
  async #ask(origin: string, request: PeerRequest): Promise<PeerAnswer | undefined> {
    const { method, url, body, forwardedFor, milliseconds } = request;
    // In absolute form it would name another host than the peer.
    if (!url.startsWith('/')) throw new QvError('http_malformed');
    try {
      const response = await this.#fetch(`${origin}${url}`, {
        method,
        headers: {
          ...headersOf(request),
          ...outgoingTrace(),
          [RELAYED]: '1',
          'x-forwarded-for': forwardedFor,
          'x-request-timeout-ms': String(milliseconds),
        },
        redirect: 'error',
        // Longer than its own enclave is waited for, so that what it says of that arrives.
        signal: AbortSignal.timeout(milliseconds + LIMITS.storeTimeoutMilliseconds),
        ...(body && { body: Uint8Array.from(body) }),
      });
      const { status, ok } = response;
      const bytes = await readBounded(response);
      const code = ok ? undefined : textIn(bytes, 'code');
      return {
        status,
        contentType: response.headers.get('content-type') ?? 'application/json',
        retryAfter: response.headers.get('retry-after'),
        body: bytes,
        code: isErrorCode(code) ? code : undefined,
      };
    } catch {
      return undefined;
    }
  }
}

function headersOf({ headers }: PeerRequest): Record<string, string> {
  return Object.fromEntries(
    HEADERS.flatMap((name) => {
      const value = headers[name];
      return typeof value === 'string' ? [[name, value] as const] : [];
    }),
  );
}

function textIn(body: Uint8Array, key: string): string | undefined {
  try {
    const value = new JsonFields(parseStrictJson(body)).optional(key);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

/** @throws Error when it is more than any answer of ours */
async function readBounded(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > LIMITS.clientResponseBytes) throw new Error('too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
