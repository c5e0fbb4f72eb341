/**
 * The way out for the enclave's TLS: connections from the enclave are carried, byte for byte, to the one configured
 * endpoint. The host sees ciphertext. Nobody who reaches the tunnel can choose another destination.
 *
 * Every enclave of an instance dials the same vsock port. While wallets move from one to another there are two hosts:
 * the one that holds the port carries both enclaves' bytes (`kmsTunnel.alsoFrom`), and the other waits for it to end.
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
  /** Between tries for a port that another host holds. Default RETRY_MILLISECONDS. */
  readonly retryMilliseconds?: number;
  readonly counts?: TunnelCounts;
}

export interface TunnelCounts {
  /** `refused`: the tunnel was full. `failed`: the endpoint was not to be reached, or broke off. */
  tunnelConnection(outcome: 'opened' | 'refused' | 'failed'): void;
  tunnelOpen(count: number): void;
  tunnelBytes(direction: 'to_kms' | 'to_enclave', bytes: number): void;
}

const RETRY_MILLISECONDS = 1000;

/** @throws Error of the transport; not when a vsock port is in use, which is waited for */
export async function startKmsTunnel(options: KmsTunnelOptions): Promise<Listener> {
  const limit = options.connections ?? LIMITS.kmsTunnelConnections;
  const open = new Set<Duplex>();
  const take = (near: Duplex): void => {
    near.on('error', (error) => options.log.debug({ reason: error.message }, 'kms tunnel, enclave side'));
    if (open.size >= limit) {
      options.log.warn({ limit }, 'kms tunnel is full');
      options.counts?.tunnelConnection('refused');
      near.destroy();
      return;
    }
    open.add(near);
    options.counts?.tunnelOpen(open.size);
    near.on('close', () => {
      open.delete(near);
      options.counts?.tunnelOpen(open.size);
    });
    carry(near, options);
  };
  const listening = await listenWhenFree(options, take);
  return {
    async close() {
      for (const near of open) near.destroy();
      await listening.close();
    },
  };
}

async function listenWhenFree(options: KmsTunnelOptions, take: (near: Duplex) => void): Promise<Listener> {
  const { transport, listen, log, retryMilliseconds = RETRY_MILLISECONDS } = options;
  let listener: Listener | undefined;
  let retry: NodeJS.Timeout | undefined;
  let isClosed = false;
  const attempt = async (): Promise<boolean> => {
    try {
      listener = await transport.listen(listen, take);
    } catch (error) {
      if (listen.kind !== 'vsock' || (error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
      return false;
    }
    if (isClosed) await listener.close();
    return true;
  };
  const again = async (): Promise<void> => {
    try {
      if (await attempt()) {
        log.info({}, 'kms tunnel: the port is free, this host carries it now');
        return;
      }
    } catch (error) {
      log.error({ reason: (error as Error).message }, 'kms tunnel: still not listening');
    }
    if (!isClosed) retry = setTimeout(() => void again(), retryMilliseconds);
  };
  if (!(await attempt())) {
    log.warn({}, 'kms tunnel: another host holds the port and has to carry this enclave until it ends');
    retry = setTimeout(() => void again(), retryMilliseconds);
  }
  return {
    async close() {
      isClosed = true;
      clearTimeout(retry);
      await listener?.close();
    },
  };
}

function carry(near: Duplex, { endpoint, log, counts }: KmsTunnelOptions): void {
  // Half-open: one side may finish sending while the other still answers.
  const far = createConnection({ host: endpoint.host, port: endpoint.port, allowHalfOpen: true, noDelay: true });
  far.on('error', (error) => {
    log.warn({ endpoint: `${endpoint.host}:${endpoint.port}`, reason: error.message }, 'kms tunnel, endpoint side');
    counts?.tunnelConnection('failed');
  });
  far.setTimeout(LIMITS.kmsTunnelConnectMilliseconds, () => far.destroy());
  far.once('connect', () => {
    far.setTimeout(LIMITS.kmsTunnelIdleMilliseconds);
    counts?.tunnelConnection('opened');
  });
  // pipe() passes data, backpressure and the end of each direction; what it does not pass is an abrupt loss.
  near.pipe(far);
  far.pipe(near);
  near.once('close', () => far.destroy());
  far.once('close', () => {
    counts?.tunnelBytes('to_kms', far.bytesWritten);
    counts?.tunnelBytes('to_enclave', far.bytesRead);
    if (!near.writableFinished || !near.readableEnded) near.destroy();
  });
}
