/**
 * A Solana RPC endpoint: JSON-RPC 2.0 over HTTP. Nothing it says is believed beyond its form: what it can do is hide,
 * delay, and have transactions signed that move less, or fail.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { concatBytes } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { JsonFields, parseStrictJson } from '@quantumvault/shared/json.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface Rpc {
  /**
   * @param read of the answer's member `result`; what it throws is the endpoint's fault
   * @throws QvError rpc_unavailable, rpc_refused, rpc_response_invalid
   */
  call<T>(method: string, params: readonly unknown[], read: (answer: JsonFields) => T): Promise<T>;
}

const LOOPBACK = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])$/;
/** "Node is unhealthy": behind the cluster, and worth another question. */
const NODE_UNHEALTHY = -32005;
const TEXT_CHARACTERS = 200;

/** @throws QvError usage_invalid */
export function rpcTo(text: string, fetcher: typeof fetch = fetch): Rpc {
  const wrong = (value: string): QvError => new QvError('usage_invalid', { value });
  // Not repeated: it may hold a key.
  if (!URL.canParse(text)) throw wrong('--rpc is no URL');
  const url = new URL(text);
  const isLocal = url.protocol === 'http:' && LOOPBACK.test(url.hostname);
  if (url.protocol !== 'https:' && !isLocal) throw wrong('--rpc has to be https, or on this machine');
  let id = 0;
  return {
    call: async (method, params, read) => {
      for (let attempt = 1; ; attempt++) {
        try {
          return await callOnce(fetcher, url, { id: ++id, method, params }, read);
        } catch (error) {
          if (!(error instanceof QvError) || error.code !== 'rpc_unavailable' || attempt >= LIMITS.cliRpcAttempts)
            throw error;
          await sleep(LIMITS.clientBackoffMilliseconds * 2 ** attempt);
        }
      }
    },
  };
}

interface Question {
  readonly id: number;
  readonly method: string;
  readonly params: readonly unknown[];
}

async function callOnce<T>(
  fetcher: typeof fetch,
  url: URL,
  question: Question,
  read: (answer: JsonFields) => T,
): Promise<T> {
  const { method, id } = question;
  const bytes = await exchange(fetcher, url, question);
  return readAnswer(method, () => {
    const answer = new JsonFields(parseStrictJson(bytes));
    if (answer.text('jsonrpc') !== '2.0' || answer.integer('id', id) !== id)
      throw answer.fault('id', 'of another call');
    const error = answer.optional('error');
    if (error !== undefined && error !== null) throw refusal(method, new JsonFields(error, 'error'));
    return read(answer);
  });
}

function refusal(method: string, error: JsonFields): QvError {
  const code = error.required('code');
  const text = `${String(code)} ${error.text('message')}`.slice(0, TEXT_CHARACTERS);
  return new QvError(code === NODE_UNHEALTHY ? 'rpc_unavailable' : 'rpc_refused', { path: method, value: text });
}

/** What does not parse is the endpoint's fault and not the caller's. */
function readAnswer<T>(method: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof QvError)) throw error;
    const { code, facts } = error;
    if (code === 'rpc_refused' || code === 'rpc_unavailable') throw error;
    const path = facts.path === undefined ? method : `${method}.${facts.path}`;
    throw new QvError('rpc_response_invalid', { path, value: facts.value ?? code }, { cause: error });
  }
}

/** @throws QvError rpc_unavailable, rpc_response_invalid */
async function exchange(fetcher: typeof fetch, url: URL, { id, method, params }: Question): Promise<Uint8Array> {
  const unavailable = (value: string, cause?: unknown): QvError =>
    new QvError('rpc_unavailable', { path: method, value }, { cause });
  try {
    const response = await fetcher(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
      redirect: 'error',
      signal: AbortSignal.timeout(LIMITS.cliRpcTimeoutMilliseconds),
    });
    const bytes = await readBounded(response, method);
    const { status } = response;
    if (status === 429 || status >= 500) throw unavailable(`HTTP ${status}`);
    if (!response.ok) throw new QvError('rpc_response_invalid', { path: method, value: `HTTP ${status}` });
    return bytes;
  } catch (error) {
    // Its host alone: the rest of such addresses often holds an API key.
    throw error instanceof QvError ? error : unavailable(url.host, error);
  }
}

async function readBounded(response: Response, method: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > LIMITS.cliRpcResponseBytes)
      throw new QvError('rpc_response_invalid', { path: method, value: 'too large' });
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}
