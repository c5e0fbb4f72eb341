/**
 * GET /metrics on an address of its own, plain HTTP: for a Prometheus on this machine or on a network that the operator
 * trusts. Scrapes that come while one is being answered, or soon after, share its answer.
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import { listenPlainly, type PlainListener } from '../plain-listener.ts';
import { PROBLEM_TYPE, problemOf } from '../problem.ts';
import type { HostMetrics } from './metrics.ts';

/** @throws QvError config_invalid with path metrics, when the address is taken or not this machine's */
export async function startMetricsListener(
  where: { readonly host: string; readonly port: number },
  metrics: Pick<HostMetrics, 'text' | 'contentType'>,
  log: Log,
): Promise<PlainListener> {
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
  const options = { where, field: 'metrics', keepAliveMilliseconds: LIMITS.metricsKeepAliveMilliseconds, log };
  const { url, close } = await listenPlainly(options, (request, response) => {
    answer(request, response, scrape, metrics.contentType).catch((error) => {
      log.error({ reason: String(error) }, 'metrics');
      refuse(response, 'internal');
    });
  });
  return { url: `${url}/metrics`, close };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  scrape: () => Promise<string>,
  contentType: string,
): Promise<void> {
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
