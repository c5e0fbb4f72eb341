/** Counts and times every reply, by the pattern of its route: what callers write in a path is never a label. */
import { ERRORS, type ErrorCode, isErrorCode } from '@quantumvault/shared/errors.ts';
import type { FastifyInstance } from 'fastify';
import { factsOf } from '../request-facts.ts';
import type { CodeLabel } from './counts.ts';
import type { HostMetrics } from './metrics.ts';

/** Of requests that no route is for, and of what never became a request. */
const NO_ROUTE = 'none';
/** Routes whose whole time is a stage of signing. */
const SIGNING = ['/v1/sign', '/v1/sign/batch'];
/** What any route may answer, and somebody wants to be woken for. */
const SEEDED: readonly ErrorCode[] = [
  'internal',
  'overloaded',
  'shutting_down',
  'enclave_unavailable',
  'deadline_exceeded',
  'store_unavailable',
  'row_tampered',
];
/** What those answer besides, of which a burst says that something is wrong with a bot, or that somebody tries. */
const SEEDED_SIGNING: readonly ErrorCode[] = ['request_signature_invalid', 'request_stale', 'policy_denied', 'frozen'];

/** Before the routes are added. */
export function meterHttp(app: FastifyInstance, metrics: HostMetrics): void {
  metrics.knowRoute(NO_ROUTE, [
    [400, 'http_malformed'],
    [404, 'route_unknown'],
  ]);
  app.addHook('onRoute', ({ url }) => metrics.knowRoute(url, repliesOf(url)));
  app.addHook('onResponse', async (request, reply) => {
    const route = request.routeOptions.url ?? NO_ROUTE;
    const seconds = reply.elapsedTime / 1000;
    metrics.reply(route, reply.statusCode, codeLabel(reply.statusCode, factsOf(request).code), seconds);
    // Attempts to freeze are slowed by remote-freeze/, which knows no metrics.
    if (factsOf(request).code === 'source_slowed') metrics.rateLimited('freeze');
    if (SIGNING.includes(route)) metrics.stageSeconds('total', seconds);
  });
  // Bytes that are no HTTP and expectations nobody meets are answered below Fastify, in app.ts.
  const malformed = (): void => metrics.reply(NO_ROUTE, ERRORS.http_malformed.status, 'http_malformed');
  app.server.on('clientError', ({ code }: NodeJS.ErrnoException) => {
    if (code !== 'ECONNRESET') malformed();
  });
  app.server.on('checkExpectation', malformed);
  // For all addresses together; the limit for each is counted where it is set.
  app.server.on('drop', () => metrics.connectionRefused());
}

function repliesOf(route: string): [number, CodeLabel][] {
  const refusals = SIGNING.includes(route) ? [...SEEDED, ...SEEDED_SIGNING] : SEEDED;
  return [[200, 'ok'], ...refusals.map((code): [number, CodeLabel] => [ERRORS[code].status, code])];
}

/** /readyz says what is missing without a code. */
function codeLabel(status: number, code: string | undefined): CodeLabel {
  if (isErrorCode(code)) return code;
  return status < 400 ? 'ok' : 'none';
}
