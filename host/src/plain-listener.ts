/**
 * A small HTTP server of the host's own beside its API: without TLS, for those whom the operator lets near its address.
 * Its bounds are those of all of them; what it answers is its caller's.
 */
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Log } from './log.ts';

export interface PlainListener {
  /** `http://127.0.0.1:9464`, without a path */
  readonly url: string;
  close(): Promise<void>;
}

export interface PlainListenerOptions {
  readonly where: { readonly host: string; readonly port: number };
  /** Of the configuration, for faults. */
  readonly field: string;
  readonly keepAliveMilliseconds: number;
  readonly log: Log;
}

/** @throws QvError config_invalid with the field as path, when the address is taken or not this machine's */
export async function listenPlainly(
  { where, field, keepAliveMilliseconds, log }: PlainListenerOptions,
  onRequest: RequestListener,
): Promise<PlainListener> {
  const bounds = {
    requestTimeout: LIMITS.httpHeadersMilliseconds,
    headersTimeout: LIMITS.httpHeadersMilliseconds,
    connectionsCheckingInterval: LIMITS.httpCheckMilliseconds,
    keepAliveTimeout: keepAliveMilliseconds,
  };
  const server = createServer(bounds, (request, response) => {
    // Nothing that is asked here has a body.
    request.resume();
    onRequest(request, response);
  });
  server.maxConnections = LIMITS.metricsConnections;
  server.timeout = LIMITS.httpIdleMilliseconds;
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(new QvError('config_invalid', { path: field, value: cause.code ?? 'cannot listen' }, { cause })),
    );
    server.listen(where.port, where.host, resolve);
  });
  server.on('error', (error) => log.error({ reason: error.message, field }, 'listener'));
  const { address, family, port } = server.address() as AddressInfo;
  return {
    url: `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
