/**
 * GET /metrics on an address of its own, plain HTTP: for a Prometheus on this machine or on a network that the operator
 * trusts. Scrapes that come while one is being answered, or soon after, share its answer.
 */

import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import { PROBLEM_TYPE, problemOf } from '../problem.ts';
import type { HostMetrics } from './metrics.ts';

export interface MetricsListener {
  /** `http://127.0.0.1:9464/metrics` */
  readonly url: string;
  close(): Promise<void>;
}

/** @throws QvError config_invalid with path metrics, when the address is taken or not this machine's */
export async function startMetricsListener(
  where: { readonly host: string; readonly port: number },
  metrics: Pick<HostMetrics, 'text' | 'contentType'>,
  log: Log,
): Promise<MetricsListener> {
  let answered: Promise<string> | undefined;
  const forget = (): void => {
    answered = undefined;
  };
  const scrape = (): Promise<string> => {
    if (answered === undefined) {
      answered = metrics.text();
      answered.then(() => setTimeout(forget, LIMITS.metricsKeepMilliseconds).unref(), forget);
    }
    return answered;
  };
  const server = createServer(
    {
      requestTimeout: LIMITS.httpHeadersMilliseconds,
      headersTimeout: LIMITS.httpHeadersMilliseconds,
      connectionsCheckingInterval: LIMITS.httpCheckMilliseconds,
      keepAliveTimeout: LIMITS.metricsKeepAliveMilliseconds,
    },
    (request, response) => {
      answer(request, response, scrape, metrics.contentType).catch((error) => {
        log.error({ reason: String(error) }, 'metrics');
        refuse(response, 'internal');
      });
    },
  );
  server.maxConnections = LIMITS.metricsConnections;
  server.timeout = LIMITS.httpIdleMilliseconds;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(new QvError('config_invalid', { path: 'metrics', value: cause.code ?? 'cannot listen' }, { cause })),
    );
    server.listen(where.port, where.host, resolve);
  });
  server.on('error', (error) => log.error({ reason: error.message }, 'metrics listener'));
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/metrics`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  scrape: () => Promise<string>,
  contentType: string,
): Promise<void> {
  // Nothing that is asked here has a body.
  request.resume();
  if (request.method !== 'GET' || request.url?.split('?')[0] !== '/metrics') return refuse(response, 'route_unknown');
  const text = await scrape();
  response.writeHead(200, { 'content-type': contentType, 'cache-control': 'no-store' }).end(text);
}

function refuse(response: ServerResponse, code: ErrorCode): void {
  const requestId = randomUUID();
  const problem = problemOf(new QvError(code), requestId);
  if (response.headersSent) return void response.destroy();
  const headers = { 'content-type': PROBLEM_TYPE, 'x-request-id': requestId, 'cache-control': 'no-store' };
  response.writeHead(problem.status, headers).end(JSON.stringify(problem));
}
