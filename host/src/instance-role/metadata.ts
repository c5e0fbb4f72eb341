/**
 * EC2's instance metadata service, version 2 alone (EC2 User Guide, "Use the Instance Metadata Service"): a token by
 * PUT, which each GET then carries. There is no falling back to version 1, which any request forged through another
 * service on the machine could use.
 *
 * Supported subset: IPv4, one token per use, answers with status 200 and a body of known bounds. No redirects and no
 * proxy: link-local addresses have neither, so one that shows up is somebody in between.
 */
import { Agent, type IncomingMessage, request } from 'node:http';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface MetadataEndpoint {
  readonly host: string;
  readonly port: number;
}

/**
 * Fixed: neither configuration nor environment names another one, so that whoever can set one of these cannot have
 * the enclave work with credentials of his own. Tests hand their endpoint over in code.
 */
export const EC2_METADATA: MetadataEndpoint = { host: '169.254.169.254', port: 80 };

export interface MetadataReader {
  /**
   * Undefined where there is nothing (404). `use` gets bytes that are wiped as soon as it returns.
   * @throws QvError metadata_unavailable, metadata_refused, metadata_invalid
   */
  get<T>(path: string, maxBytes: number, use: (bytes: Uint8Array) => T): Promise<T | undefined>;
}

const TOKEN = /^[\x21-\x7e]{1,512}$/;

interface Exchange {
  readonly method: 'GET' | 'PUT';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly maxBytes: number;
}

interface Answer<T> {
  readonly status: number;
  /** Of a 200 alone. */
  readonly value: T | undefined;
}

/** Tokens end with their time, and with a service that was started anew. */
class TokenForgotten extends QvError {
  constructor() {
    super('metadata_refused', { value: 'status 401' });
  }
}

/**
 * Runs `work` with a token of its own, and once more with another one if the service has forgotten the first.
 * @throws QvError metadata_unavailable, metadata_refused, metadata_invalid; what `work` throws
 */
export async function withMetadata<T>(
  endpoint: MetadataEndpoint,
  signal: AbortSignal,
  work: (reader: MetadataReader) => Promise<T>,
): Promise<T> {
  // Not Node's global agent: that one may be told of a proxy by the environment.
  const agent = new Agent({ keepAlive: false });
  const connection = { endpoint, agent, signal };
  const attempt = async (): Promise<T> => work(readerWith(connection, await tokenFrom(connection)));
  try {
    return await attempt();
  } catch (error) {
    if (error instanceof TokenForgotten) return await attempt();
    throw error;
  } finally {
    agent.destroy();
  }
}

interface Connection {
  readonly endpoint: MetadataEndpoint;
  readonly agent: Agent;
  readonly signal: AbortSignal;
}

async function tokenFrom(connection: Connection): Promise<string> {
  const { status, value } = await exchange(
    connection,
    {
      method: 'PUT',
      path: '/latest/api/token',
      headers: { 'x-aws-ec2-metadata-token-ttl-seconds': String(LIMITS.metadataTokenSeconds), 'content-length': '0' },
      maxBytes: LIMITS.metadataTextBytes,
    },
    (bytes) => Buffer.from(bytes).toString('latin1'),
  );
  if (value === undefined) throw statusFault(status);
  if (!TOKEN.test(value)) throw new QvError('metadata_invalid', { path: 'token' });
  return value;
}

function readerWith(connection: Connection, token: string): MetadataReader {
  return {
    async get(path, maxBytes, use) {
      const headers = { 'x-aws-ec2-metadata-token': token };
      const { status, value } = await exchange(connection, { method: 'GET', path, headers, maxBytes }, use);
      if (status === 200) return value;
      if (status === 404) return undefined;
      if (status === 401) throw new TokenForgotten();
      throw statusFault(status);
    },
  };
}

/** 403 is the service turned off; 429 and 5xx pass. Anything else, redirects among them, is not this service. */
function statusFault(status: number): QvError {
  const value = `status ${status}`;
  if (status === 429 || status >= 500) return new QvError('metadata_unavailable', { value });
  return new QvError([400, 401, 403, 404].includes(status) ? 'metadata_refused' : 'metadata_invalid', { value });
}

async function exchange<T>(
  { endpoint, agent, signal }: Connection,
  { method, path, headers, maxBytes }: Exchange,
  use: (bytes: Uint8Array) => T,
): Promise<Answer<T>> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMITS.metadataTimeoutMilliseconds)]);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const asked = request({ ...endpoint, agent, method, path, headers, signal: limit, maxHeaderSize: 8 * 1024 });
  asked.once('response', resolve);
  asked.on('error', reject);
  asked.end();
  try {
    const response = await promise;
    const status = response.statusCode ?? 0;
    const body = await readBounded(response, maxBytes);
    try {
      return { status, value: status === 200 ? use(body) : undefined };
    } finally {
      body.fill(0);
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    // What a peer that speaks no HTTP makes of the parser.
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (code.startsWith('HPE_')) throw new QvError('metadata_invalid', { value: 'not HTTP' }, { cause: error });
    const value = limit.aborted ? 'no answer in time' : code;
    throw new QvError('metadata_unavailable', { value }, { cause: error });
  } finally {
    asked.destroy();
  }
}

/** Chunks are copied into one buffer and wiped; what the kernel and Node's parser had of them is not ours to wipe. */
async function readBounded(response: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(maxBytes);
  let length = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      if (length + chunk.length > maxBytes) throw new QvError('metadata_invalid', { value: 'too large' });
      chunk.copy(whole, length);
      chunk.fill(0);
      length += chunk.length;
    }
  } catch (error) {
    whole.fill(0);
    throw error;
  }
  return whole.subarray(0, length);
}
