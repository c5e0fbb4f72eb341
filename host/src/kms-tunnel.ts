/**
 * The way out for the enclave's TLS: connections from the enclave are carried, byte for byte, to the one configured
 * endpoint. The host sees ciphertext. Nobody who reaches the tunnel can choose another destination.
 */
import { createConnection } from 'node:net';
import type { Duplex } from 'node:stream';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { Listener, Transport, TransportAddress } from '@quantumvault/shared/transport.ts';
import type { Log } from './log.ts';

export interface KmsTunnelOptions {
  readonly transport: Transport;
  readonly listen: TransportAddress;
  readonly endpoint: { readonly host: string; readonly port: number };
  readonly log: Log;
  readonly connections?: number;
}

export async function startKmsTunnel(options: KmsTunnelOptions): Promise<Listener> {
  const limit = options.connections ?? LIMITS.kmsTunnelConnections;
  const open = new Set<Duplex>();
  const listener = await options.transport.listen(options.listen, (near) => {
    near.on('error', (error) => options.log.debug({ reason: error.message }, 'kms tunnel, enclave side'));
    if (open.size >= limit) {
      options.log.warn({ limit }, 'kms tunnel is full');
      near.destroy();
      return;
    }
    open.add(near);
    near.on('close', () => open.delete(near));
    carry(near, options);
  });
  return {
    async close() {
      for (const near of open) near.destroy();
      await listener.close();
    },
  };
}

function carry(near: Duplex, { endpoint, log }: KmsTunnelOptions): void {
  // Half-open: one side may finish sending while the other still answers.
  const far = createConnection({ host: endpoint.host, port: endpoint.port, allowHalfOpen: true, noDelay: true });
  far.on('error', (error) => log.warn({ reason: error.message }, 'kms tunnel, endpoint side'));
  far.setTimeout(LIMITS.kmsTunnelConnectMilliseconds, () => far.destroy());
  far.once('connect', () => far.setTimeout(LIMITS.kmsTunnelIdleMilliseconds));
  // pipe() passes data, backpressure and the end of each direction; what it does not pass is an abrupt loss.
  near.pipe(far);
  far.pipe(near);
  near.once('close', () => far.destroy());
  far.once('close', () => {
    if (!near.writableFinished || !near.readableEnded) near.destroy();
  });
}
