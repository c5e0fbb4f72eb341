/**
 * The trace that a request belongs to, for everything that is done on its behalf: log lines name its id, and calls to
 * others pass it on. The reply says it, too, in the header `traceresponse` (the draft of Trace Context Level 3).
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type TraceContext, traceContext, traceHeaders } from './traceparent.ts';

const CURRENT = new AsyncLocalStorage<TraceContext>();
const OF_REQUEST = new WeakMap<FastifyRequest, TraceContext>();

/** What a log line says of the request that it is written for: nothing outside of one. */
export function traceFields(): { readonly traceId?: string } {
  const trace = CURRENT.getStore();
  return trace === undefined ? {} : { traceId: trace.traceId };
}

/** `traceparent`, and `tracestate` where the caller sent one, for a call on behalf of the present request. */
export function outgoingTrace(): Record<string, string> {
  const trace = CURRENT.getStore();
  return trace === undefined ? {} : traceHeaders(trace);
}

/** Runs `work` as a part of the request, wherever it was called from. */
export function inTrace<T>(request: FastifyRequest, work: () => T): T {
  const trace = OF_REQUEST.get(request);
  return trace === undefined ? work() : CURRENT.run(trace, work);
}

/** Before every other hook. */
export function traceRequests(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    const trace = traceContext(request.headers);
    OF_REQUEST.set(request, trace);
    reply.header('traceresponse', traceHeaders(trace)['traceparent']);
    CURRENT.run(trace, done);
  });
  // The body arrives by events of the socket, which belong to no request.
  app.addHook('preValidation', (request, _reply, done) => inTrace(request, done));
}
