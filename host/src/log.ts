/**
 * Structured logs by pino, which comes with fastify: asking fastify for its logger keeps us on one version of it.
 * Redaction is by construction: what is logged is named field by field, and no request header or body ever is.
 */
import Fastify, { type FastifyBaseLogger } from 'fastify';
import type { LogLevel } from './config.ts';
import { traceFields } from './trace/request-trace.ts';

export type Log = Pick<FastifyBaseLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** A log whose disk is full or whose reader has gone must not end the host: it still has a stop button to serve. */
const STANDARD_ERROR = {
  write(line: string): void {
    try {
      process.stderr.write(line);
    } catch {
      // A file refuses at once.
    }
  },
};

/** A pipe refuses later. For the entry file: without this its fault would end the process. */
export function surviveLogFaults(): void {
  process.stderr.on('error', () => undefined);
}

/** `write` receives one JSON line per entry. */
export function createLog(level: LogLevel, stream: { write(line: string): void } = STANDARD_ERROR): FastifyBaseLogger {
  return Fastify({
    logger: {
      level,
      stream,
      // The trace of the request that a line is written for.
      mixin: traceFields,
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
