/**
 * The status page on a loopback port of its own, for operators on this machine or behind their tunnel: it asks nobody
 * who they are. Requests that come while it is being made share its answer.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from '../log.ts';
import type { HostMetrics } from '../metrics/metrics.ts';
import { listenPlainly, type PlainListener } from '../plain-listener.ts';
import { gatherFacts, type OpsDeps } from './facts.ts';
import { PAGE_HEADERS, renderPage } from './page.ts';
import { Samples } from './samples.ts';

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
): Promise<PlainListener> {
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
  const options = { where, field: 'opsPage', keepAliveMilliseconds: LIMITS.httpKeepAliveMilliseconds, log };
  const listening = listenPlainly(options, (request, response) => {
    answer(request, response, page).catch((error) => {
      log.error({ reason: String(error) }, 'status page');
      refuse(response, 500, 'internal');
    });
  });
  const listener = await listening.catch((error: unknown) => {
    samples.close();
    throw error;
  });
  return {
    url: `${listener.url}/`,
    close: () => {
      samples.close();
      return listener.close();
    },
  };
}

async function answer(request: IncomingMessage, response: ServerResponse, page: () => Promise<string>): Promise<void> {
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
