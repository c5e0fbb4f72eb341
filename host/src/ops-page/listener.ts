/**
 * The status page on a loopback port of its own, for operators on this machine or behind their tunnel: it asks nobody
 * who they are. Requests that come while it is being made share its answer.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import type { HostMetrics } from '../metrics/metrics.ts';
import { gatherFacts, type OpsDeps } from './facts.ts';
import { PAGE_HEADERS, renderPage } from './page.ts';
import { Samples } from './samples.ts';

export interface OpsPage {
  /** `http://127.0.0.1:9470/` */
  readonly url: string;
  close(): Promise<void>;
}

export interface OpsPageDeps extends OpsDeps {
  readonly metrics: Pick<HostMetrics, 'registry'>;
  readonly log: Log;
}

/** Under any other name a page of somebody else's could have led a browser here (DNS rebinding). */
const LOCAL_NAME = /^(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]{1,5})?$/;

/** @throws QvError config_invalid with path opsPage, when the address is taken */
export async function startOpsPage(
  where: { readonly host: string; readonly port: number },
  deps: OpsPageDeps,
): Promise<OpsPage> {
  const { metrics, log } = deps;
  const samples = new Samples(metrics);
  await samples.take();
  let underWay: Promise<string> | undefined;
  const page = (): Promise<string> => {
    underWay ??= gatherFacts(deps, samples)
      .then(renderPage)
      .finally(() => {
        underWay = undefined;
      });
    return underWay;
  };
  const server = createServer(
    {
      requestTimeout: LIMITS.httpHeadersMilliseconds,
      headersTimeout: LIMITS.httpHeadersMilliseconds,
      connectionsCheckingInterval: LIMITS.httpCheckMilliseconds,
      keepAliveTimeout: LIMITS.httpKeepAliveMilliseconds,
    },
    (request, response) => {
      answer(request, response, page).catch((error) => {
        log.error({ reason: String(error) }, 'status page');
        refuse(response, 500, 'internal');
      });
    },
  );
  server.maxConnections = LIMITS.metricsConnections;
  server.timeout = LIMITS.httpIdleMilliseconds;
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(where.port, where.host, resolve);
    });
  } catch (error) {
    samples.close();
    const { code = 'cannot listen' } = error as NodeJS.ErrnoException;
    throw new QvError('config_invalid', { path: 'opsPage', value: code }, { cause: error });
  }
  server.on('error', (error) => log.error({ reason: error.message }, 'status page listener'));
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}/`,
    close: () => {
      samples.close();
      return new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, page: () => Promise<string>): Promise<void> {
  // Nothing that is asked here has a body.
  request.resume();
  if (!LOCAL_NAME.test(request.headers.host ?? '')) return refuse(response, 403, 'not by this name');
  if (request.url?.split('?')[0] !== '/') return refuse(response, 404, 'no such page');
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(response, 405, 'only to be read');
  const text = await page();
  response.writeHead(200, PAGE_HEADERS).end(request.method === 'HEAD' ? undefined : text);
}

function refuse(response: ServerResponse, status: number, why: string): void {
  if (response.headersSent) return void response.destroy();
  const headers = { ...PAGE_HEADERS, 'content-type': 'text/plain; charset=utf-8' };
  response.writeHead(status, { ...headers, ...(status === 405 && { allow: 'GET, HEAD' }) }).end(`${why}\n`);
}
