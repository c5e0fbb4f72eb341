/**
 * A witness's HTTP. `add-checkpoint` answers as C2SP tlog-witness says; refusals that the specification leaves open
 * carry a problem of the error table (RFC 9457), as the host's do.
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { formatSignatureLines } from '@quantumvault/shared/tlog/note.ts';
import { formatSize, SIZE_TYPE } from '@quantumvault/shared/tlog/witness-request.ts';
import { CONNECTION_LIMITS, type ConnectionLimits, limitPerAddress, limitResponse } from '../connections.ts';
import type { Log } from '../log.ts';
import { PROBLEM_TYPE, problemOf } from '../problem.ts';
import type { Witness } from './witness.ts';

export interface ServerLimits extends ConnectionLimits {
  /** Time for one whole request to arrive. */
  readonly requestMilliseconds: number;
  readonly headersMilliseconds: number;
  readonly checkMilliseconds: number;
}

export const SERVER_LIMITS: ServerLimits = {
  ...CONNECTION_LIMITS,
  requestMilliseconds: LIMITS.httpRequestMilliseconds,
  headersMilliseconds: LIMITS.httpHeadersMilliseconds,
  checkMilliseconds: LIMITS.httpCheckMilliseconds,
};

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly code?: string;
  /** The body of the request was not read to its end: the connection is of no more use. */
  readonly close?: boolean;
}

type Route = (body: Uint8Array) => Answer | Promise<Answer>;

/** Built apart from listening. `draining` is asked at each answer. */
export function buildServer(witness: Witness, log: Log, draining: () => boolean, limits = SERVER_LIMITS): Server {
  const routes: Readonly<Record<string, Route>> = {
    'POST /add-checkpoint': (body) => text(200, formatSignatureLines([witness.addCheckpoint(body)])),
    'POST /add-log': async (body) => json(await witness.addLog(body)),
    'GET /healthz': () => json({ alive: true }),
  };
  const server = createServer(
    {
      requestTimeout: limits.requestMilliseconds,
      headersTimeout: limits.headersMilliseconds,
      connectionsCheckingInterval: limits.checkMilliseconds,
      keepAliveTimeout: LIMITS.httpKeepAliveMilliseconds,
    },
    async (request, response) => {
      const started = performance.now();
      const name = `${request.method} ${request.url}`;
      const route = Object.hasOwn(routes, name) ? routes[name] : undefined;
      const requestId = randomUUID();
      const answer = await answerTo(request, route, requestId, log);
      // Whoever asked may have gone; what was cosigned is stored and will be cosigned again.
      if (!request.socket.destroyed) limitResponse(request, response, limits.responseMilliseconds);
      send(response, answer, requestId, draining());
      const milliseconds = Math.round(performance.now() - started);
      // The name of a route that exists, and nothing else that callers write.
      log.info({ requestId, route: route && name, status: answer.status, code: answer.code, milliseconds }, 'request');
    },
  );
  server.timeout = limits.idleMilliseconds;
  server.maxConnections = LIMITS.httpConnections;
  limitPerAddress(server, limits.perAddress);
  return server;
}

async function answerTo(
  request: IncomingMessage,
  route: Route | undefined,
  requestId: string,
  log: Log,
): Promise<Answer> {
  try {
    if (route === undefined) throw new QvError('route_unknown');
    return await route(await readBody(request));
  } catch (error) {
    return refusal(error, requestId, log, !request.complete);
  }
}

function refusal(error: unknown, requestId: string, log: Log, close: boolean): Answer {
  const problem = problemOf(error, requestId);
  const { code, status, value } = problem;
  if (code === 'internal') {
    log.error({ requestId, reason: error instanceof Error ? error.stack : String(error) }, 'unexpected fault');
  } else if (error instanceof QvError && error.cause !== undefined) {
    log.info({ requestId, code, reason: String(error.cause) }, 'refused');
  }
  if (code === 'witness_size_mismatch')
    return { status, type: SIZE_TYPE, body: formatSize(BigInt(value ?? 0)), code, close };
  return { status, type: PROBLEM_TYPE, body: JSON.stringify(problem), code, close };
}

/** @throws QvError body_too_large, http_malformed */
async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    // Destroying the request would take the connection along, before it carried the answer.
    for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      length += chunk.length;
      if (length > LIMITS.witnessRequestBytes) throw new QvError('body_too_large');
      chunks.push(chunk);
    }
  } catch (error) {
    if (error instanceof QvError) throw error;
    // The peer went away, or was cut off for being slow.
    throw new QvError('http_malformed', {}, { cause: error });
  }
  return Buffer.concat(chunks, length);
}

function send(
  response: ServerResponse,
  { status, type, body, close }: Answer,
  requestId: string,
  ending: boolean,
): void {
  response
    .writeHead(status, {
      'content-type': type,
      'content-length': Buffer.byteLength(body),
      'cache-control': 'no-store',
      'x-request-id': requestId,
      ...((close || ending) && { connection: 'close' }),
    })
    .end(body);
}

const text = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body });
const json = (body: unknown): Answer => ({ status: 200, type: 'application/json', body: JSON.stringify(body) });
