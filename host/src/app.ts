/**
 * The HTTP app, built apart from listening. Bodies are kept as the bytes that arrived, because signatures are over
 * those; every refusal is a problem of the error table; every reply names its request id.
 */
import { randomUUID } from 'node:crypto';
import { type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import type { ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import type { TimeMs } from '@quantumvault/shared/brands.ts';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import Fastify, {
  type FastifyBaseLogger,
  type FastifyHttpOptions,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Network } from './client-address.ts';
import { CONNECTION_LIMITS, type ConnectionLimits, limitPerAddress, limitResponse } from './connections.ts';
import type { CredentialsSource } from './credentials.ts';
import type { EnclaveClient } from './enclave/client.ts';
import type { EnclaveSession } from './enclave/session.ts';
import type { LogPublisher } from './evidence/publisher.ts';
import type { Freezes } from './freeze.ts';
import type { Incidents } from './incidents.ts';
import { LoopLoad } from './loop-load.ts';
import type { ShedReason } from './metrics/counts.ts';
import { meterHttp } from './metrics/http.ts';
import type { HostMetrics } from './metrics/metrics.ts';
import type { Peers } from './peers/peers.ts';
import { relayed } from './peers/relay.ts';
import { PROBLEM_TYPE, problemOf, reasonOf, translateForeign } from './problem.ts';
import { DEFAULT_RATE_LIMITS, type RateLimitsConfig } from './rate-limits/config.ts';
import { RateLimited } from './rate-limits/rate-limited.ts';
import { RateLimits } from './rate-limits/rate-limits.ts';
import { guardReads } from './reads/access.ts';
import { budgetsRoute } from './reads/budgets.ts';
import { decisionsRoute } from './reads/decisions.ts';
import { freezesRoute } from './reads/freezes.ts';
import type { ApiTokens } from './reads/tokens-file.ts';
import { walletListRoute } from './reads/wallets.ts';
import type { Records } from './records.ts';
import type { PanicCodes } from './remote-freeze/panic-codes.ts';
import type { RemoteFreeze } from './remote-freeze/remote-freeze.ts';
import { SlowedError } from './remote-freeze/slow-sources.ts';
import { factsOf } from './request-facts.ts';
import type { WalletKeys } from './rotation/wallet-keys.ts';
import { FREEZE_ROUTE, freezeRoute } from './routes/freeze.ts';
import { healthRoutes } from './routes/health.ts';
import { logRoutes } from './routes/log.ts';
import { policyRoutes } from './routes/policy.ts';
import { receiptRoute } from './routes/receipts.ts';
import { referenceRoutes } from './routes/reference.ts';
import { retireRoutes } from './routes/retire.ts';
import { signRoute } from './routes/sign.ts';
import { signBatchRoute } from './routes/sign-batch.ts';
import { successorRoutes } from './routes/successor.ts';
import { verifyPageRoute } from './routes/verify-page.ts';
import { walletRoutes } from './routes/wallets.ts';
import { webhookRoute } from './routes/webhooks.ts';
import { Signing } from './signing.ts';
import type { Store } from './store/store.ts';
import { inTrace, traceRequests } from './trace/request-trace.ts';
import type { Signals } from './webhooks/signals.ts';
import type { Webhooks } from './webhooks/webhooks.ts';

export interface AppDeps {
  readonly deployment: string;
  readonly store: Store;
  readonly enclave: EnclaveClient;
  readonly session: EnclaveSession;
  readonly freezes: Freezes;
  readonly remoteFreeze: RemoteFreeze;
  readonly panicCodes: PanicCodes;
  readonly records: Records;
  readonly walletKeys: WalletKeys;
  readonly publisher: LogPublisher;
  readonly credentials: CredentialsSource;
  /** For clientOf (client-address.ts). */
  readonly trustedProxies: readonly Network[];
  readonly webhooks: Webhooks;
  readonly signals: Signals;
  /** Default LIMITS.webhookRefusalsPerSecond. */
  readonly webhookRefusalsPerSecond?: number;
  readonly metrics: HostMetrics;
  readonly incidents: Incidents;
  /** Other hosts of this deployment. Default: there are none. */
  readonly peers?: Peers;
  /** Certificate and key. Default: plain HTTP. */
  readonly tls?: ServerOptions;
  /** Default: nobody has a token. */
  readonly apiTokens?: ApiTokens;
  /** Default true, see reads/access.ts. */
  readonly publicLog?: boolean;
  readonly log: FastifyBaseLogger;
  readonly now: () => TimeMs;
  /** True from the moment the process was told to stop. */
  readonly draining: () => boolean;
  /** Default CONNECTION_LIMITS. */
  readonly connectionLimits?: ConnectionLimits;
  /** Default LIMITS.loopDelayMilliseconds. */
  readonly loopDelayMilliseconds?: number;
  /** Default DEFAULT_RATE_LIMITS. */
  readonly rateLimits?: RateLimitsConfig;
}

/** How an operator sees what is wrong, and the stop button: answered however late the event loop is. */
const ALWAYS_ANSWERED: readonly (string | undefined)[] = ['/healthz', '/readyz', FREEZE_ROUTE];

export function buildApp(deps: AppDeps): FastifyInstance {
  const { connectionLimits = CONNECTION_LIMITS } = deps;
  const load = new LoopLoad(deps.loopDelayMilliseconds);
  const options: FastifyHttpOptions<Server> = {
    loggerInstance: deps.log,
    // One line of our own per request instead, see onResponse below.
    logController: new LogController({ disableRequestLogging: true, requestIdLogLabel: 'requestId' }),
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    exposeHeadRoutes: false,
    bodyLimit: LIMITS.httpBodyBytes,
    requestTimeout: LIMITS.httpRequestMilliseconds,
    connectionTimeout: connectionLimits.idleMilliseconds,
    keepAliveTimeout: LIMITS.httpKeepAliveMilliseconds,
    http: {
      maxHeaderSize: LIMITS.httpHeaderBytes,
      headersTimeout: LIMITS.httpHeadersMilliseconds,
      connectionsCheckingInterval: LIMITS.httpCheckMilliseconds,
      // Node's own refusal has no body; ours follows below.
      requireHostHeader: false,
    },
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, error),
    clientErrorHandler: refuseSocket,
  };
  const { http, ...common } = options;
  const app: FastifyInstance =
    deps.tls === undefined
      ? Fastify(options)
      : // An https.Server is an http.Server in all that is used of it here.
        (Fastify({ ...common, https: { ...http, ...deps.tls } } as object) as unknown as FastifyInstance);
  app.server.maxConnections = LIMITS.httpConnections;
  // Node would drop further ones without a word; one more than we take shows that there are too many.
  app.server.maxHeadersCount = LIMITS.httpHeaders + 1;
  const limits = new RateLimits(app, deps.rateLimits ?? DEFAULT_RATE_LIMITS, deps.trustedProxies, (name) =>
    deps.metrics.rateLimited(name),
  );
  limitPerAddress(app.server, connectionLimits.perAddress, () => deps.metrics.connectionRefused());
  app.server.on('checkExpectation', (_request, response: ServerResponse) => refuseExpectation(response));

  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));

  traceRequests(app);
  meterHttp(app, deps.metrics);
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id).header('cache-control', 'no-store');
    if (deps.draining()) throw shed('draining', 'shutting_down');
    if (request.raw.httpVersion === '1.1' && request.headers.host === undefined) throw new QvError('http_malformed');
    if (ALWAYS_ANSWERED.includes(request.routeOptions.url)) return;
    if (load.isLate) throw shed('event_loop', 'overloaded');
    if (request.raw.rawHeaders.length / 2 > LIMITS.httpHeaders) throw new QvError('headers_too_large');
    await limits.byAddress(request, reply, 'address');
  });
  const shed = (reason: ShedReason, code: ErrorCode): QvError => {
    deps.metrics.shed(reason);
    return new QvError(code);
  };
  guardReads(app, { apiTokens: deps.apiTokens, ...(deps.publicLog !== undefined && { publicLog: deps.publicLog }) });
  // What is under way when the host drains is answered, and its connection is not kept for another request.
  app.addHook('onSend', async (request, reply) => {
    limitResponse(request.raw, reply.raw, connectionLimits.responseMilliseconds);
    if (deps.draining()) reply.header('connection', 'close');
  });
  app.addHook('onResponse', async (request, reply) => {
    const { code, wallet, relayed } = factsOf(request);
    if (code === 'row_tampered') deps.incidents.tampered(wallet);
    const line = {
      method: request.method,
      // The pattern, not the path: what callers write stays out of the log.
      route: request.routeOptions.url,
      status: reply.statusCode,
      code,
      wallet,
      relayed,
      milliseconds: Math.round(reply.elapsedTime),
    };
    inTrace(request, () => request.log.info(line, 'request'));
  });
  app.addHook('onClose', async () => load.close());
  app.setErrorHandler((error, request, reply) =>
    inTrace(request, async () => {
      try {
        if (!(await relayed(deps, error, request, reply))) sendProblem(request, reply, error);
      } catch (refusal) {
        sendProblem(request, reply, refusal);
      }
      return reply;
    }),
  );
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, new QvError('route_unknown')));

  referenceRoutes(app);
  healthRoutes(app, deps, limits);
  walletRoutes(app, deps, limits);
  retireRoutes(app, deps, limits);
  successorRoutes(app, deps, limits);
  policyRoutes(app, deps, limits);
  const signing = new Signing(deps, limits);
  signRoute(app, deps, signing);
  signBatchRoute(app, deps, signing);
  webhookRoute(app, deps);
  freezeRoute(app, deps);
  logRoutes(app, deps);
  receiptRoute(app, deps);
  walletListRoute(app, deps);
  budgetsRoute(app, deps);
  decisionsRoute(app, deps);
  freezesRoute(app, deps);
  verifyPageRoute(app);
  return app;
}

function sendProblem(request: FastifyRequest, reply: FastifyReply, thrown: unknown): FastifyReply {
  const error = translateForeign(thrown);
  const problem = problemOf(error, request.id);
  factsOf(request).code = problem.code;
  if (problem.code === 'internal') {
    request.log.error({ reason: error instanceof Error ? error.stack : String(error) }, 'unexpected fault');
  } else if (error instanceof QvError && error.cause !== undefined) {
    request.log.info({ code: problem.code, reason: reasonOf(error.cause) }, 'refused');
  }
  if (error instanceof SlowedError || error instanceof RateLimited)
    reply.header('retry-after', error.retryAfterSeconds);
  if (problem.code === 'overloaded') reply.header('retry-after', LIMITS.overloadRetrySeconds);
  return reply
    .code(problem.status)
    .headers({ 'x-request-id': request.id, 'cache-control': 'no-store' })
    .type(PROBLEM_TYPE)
    .send(JSON.stringify(problem));
}

/** `Expect:` something else than 100-continue. Node would answer without a body, and never shows it to the routes. */
function refuseExpectation(response: ServerResponse): void {
  const requestId = randomUUID();
  const problem = problemOf(new QvError('http_malformed', { path: 'expect' }), requestId);
  const body = JSON.stringify(problem);
  const headers = {
    'content-type': PROBLEM_TYPE,
    'content-length': Buffer.byteLength(body),
    'x-request-id': requestId,
  };
  response.writeHead(problem.status, { ...headers, connection: 'close' }).end(body);
}

/** Bytes that are not even HTTP never become a request: they are answered on the socket, which is then closed. */
function refuseSocket(error: Error, socket: Socket): void {
  if (socket.destroyed || !socket.writable) return void socket.destroy();
  const requestId = randomUUID();
  const isTooLarge = 'code' in error && error.code === 'HPE_HEADER_OVERFLOW';
  const code = isTooLarge ? 'headers_too_large' : 'http_malformed';
  const problem = problemOf(new QvError(code, {}, { cause: error }), requestId);
  const body = JSON.stringify(problem);
  socket.end(
    [
      `HTTP/1.1 ${problem.status} ${STATUS_CODES[problem.status]}`,
      `content-type: ${PROBLEM_TYPE}`,
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${requestId}`,
      'connection: close',
      '',
      body,
    ].join('\r\n'),
  );
}
