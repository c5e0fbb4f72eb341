/**
 * Structured logs by pino, which comes with fastify: asking fastify for its logger keeps us on one version of it.
 * Redaction is by construction: what is logged is named field by field, and no request header or body ever is.
 */
import Fastify, { type FastifyBaseLogger } from 'fastify';
import type { LogLevel } from './config.ts';

export type Log = Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** `write` receives one JSON line per entry. */
export function createLog(level: LogLevel, stream: { write(line: string): void } = process.stderr): FastifyBaseLogger {
  return Fastify({
    logger: {
      level,
      stream,
      // A request that reaches the logger by accident shows its method and nothing a caller wrote.
      serializers: { req: (request) => ({ method: request.method }), res: (reply) => ({ status: reply.statusCode }) },
      // The last net, should a field of these names ever be passed along.
      redact: {
        paths: ['body', 'headers', 'signature', 'credentials', 'rowKey', 'blobs', '*.signature', '*.headers'],
        remove: true,
      },
    },
  }).log;
}

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
