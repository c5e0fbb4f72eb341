/**
 * What a peer may hold of the HTTP server. Node's own limits are for peers that send slowly; these are for those that
 * read slowly or not at all, and for one that opens everything there is.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { LIMITS } from '@quantumvault/shared/limits.ts';

export interface ConnectionLimits {
  readonly perAddress: number;
  /** A connection on which no byte moves. Longer than an enclave may take for its answer. */
  readonly idleMilliseconds: number;
  /** From the moment a response is written until its last byte is taken. */
  readonly responseMilliseconds: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  perAddress: LIMITS.httpConnectionsPerAddress,
  idleMilliseconds: LIMITS.httpIdleMilliseconds,
  responseMilliseconds: LIMITS.httpResponseMilliseconds,
};

/** Connections beyond the limit are closed at once: an answer would cost what the limit is to save. */
export function limitPerAddress(server: Server, limit: number, onRefused: () => void = () => undefined): void {
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    // Of a socket that is closed already there is no address, and nothing to count.
    const { remoteAddress: address } = socket;
    if (address === undefined) return void socket.destroy();
    const count = (open.get(address) ?? 0) + 1;
    open.set(address, count);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left === 0) open.delete(address);
      else open.set(address, left);
    });
    if (count <= limit) return;
    onRefused();
    socket.destroy();
  });
}

/** Destroys the connection of a response that is not taken in time, also when it is taken byte by byte. */
export function limitResponse(request: IncomingMessage, response: ServerResponse, milliseconds: number): void {
  // Not `response.socket`: a response that waits behind a pipelined one has none yet.
  const timer = setTimeout(() => request.socket.destroy(), milliseconds);
  response.once('close', () => clearTimeout(timer));
}
