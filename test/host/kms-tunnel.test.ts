import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { startKmsTunnel } from '@quantumvault/host/kms-tunnel.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { HostMetrics } from '@quantumvault/host/metrics/metrics.ts';
import { type Listener, parseTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder, until } from '../support/temporary.ts';
import { parseExposition, sampleValue } from './metrics/exposition.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let server: Server;
let tunnel: Listener;
let path: string;
let metrics: HostMetrics;
const sockets = new Set<Socket>();

/** The endpoint: answers only when the other side has finished sending, with everything it got. */
beforeEach(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'tunnel.sock');
  server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => socket.end(Buffer.concat(chunks)));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  await start((server.address() as AddressInfo).port);
});
afterEach(async () => {
  await tunnel.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
  await folder.remove();
});

/** What is counted, as Prometheus would read it. */
async function counted(name: string, labels: Record<string, string> = {}): Promise<number | undefined> {
  return sampleValue(parseExposition(await metrics.text()), name, labels);
}

async function start(port: number): Promise<void> {
  metrics = new HostMetrics();
  tunnel = await startKmsTunnel({
    transport: unixTransport,
    listen: parseTransportAddress(`unix:${path}`),
    endpoint: { host: '127.0.0.1', port },
    log: silentLog,
    connections: 3,
    counts: metrics,
  });
}

const connect = (): Socket => {
  const socket = createConnection({ path, allowHalfOpen: true });
  socket.on('error', () => {});
  return socket;
};
/** A Unix socket knows no reset: what its peer sees of an abrupt loss is the end, when it reads. */
const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.once('end', () => socket.end());
    socket.once('close', () => resolve());
    socket.resume();
  });

async function roundTrip(bytes: Buffer): Promise<Buffer> {
  const socket = connect();
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.end(bytes);
  await new Promise((resolve) => socket.once('end', resolve));
  socket.destroy();
  return Buffer.concat(chunks);
}

describe('kms tunnel', () => {
  it('carries bytes both ways and passes on the end of one direction', async () => {
    const bytes = Buffer.alloc(1_000_000, 'abcdefghij');
    expect((await roundTrip(bytes)).equals(bytes)).toBe(true);
  });

  it('counts connections, those that are refused, and bytes once a connection has ended', async () => {
    const connections = (outcome: string) => counted('qv_kms_tunnel_connections_total', { outcome });
    await roundTrip(Buffer.alloc(5_000));
    await until('its end is counted', async () => (await counted('qv_kms_tunnel_open')) === 0);
    expect(await connections('opened')).toBe(1);
    const bytes = (direction: string) => counted('qv_kms_tunnel_bytes_total', { direction });
    await until('its bytes are counted', async () => (await bytes('to_kms')) === 5_000);
    expect(await bytes('to_enclave')).toBe(5_000);
    const held = [connect(), connect(), connect()];
    await until('three are carried', async () => (await connections('opened')) === 4);
    expect(await counted('qv_kms_tunnel_open')).toBe(3);
    await closed(connect());
    expect(await connections('refused')).toBe(1);
    for (const socket of held) socket.destroy();
  });

  it('tells the enclave when the endpoint breaks off, and the endpoint when the enclave does', async () => {
    const first = connect();
    await until('the endpoint sees it', () => sockets.size === 1);
    for (const socket of sockets) socket.resetAndDestroy();
    await closed(first);
    const second = connect();
    await until('the endpoint sees it', () => sockets.size === 1);
    second.destroy();
    await until('the endpoint lost it', () => sockets.size === 0);
  });

  it('takes no more connections than its limit, and more again later', async () => {
    const open = [connect(), connect(), connect()];
    await until('three are through', () => sockets.size === 3);
    await closed(connect());
    for (const socket of open) socket.destroy();
    await until('they are gone', () => sockets.size === 0);
    expect((await roundTrip(Buffer.from('x'))).toString()).toBe('x');
  });

  it('hangs up when nothing listens at the endpoint', async () => {
    await tunnel.close();
    await start(1);
    await closed(connect());
  });
});

describe('the port that another host of this instance holds', () => {
  const VSOCK = parseTransportAddress('vsock:3:5002');
  const inUse = Object.assign(new Error('listen EADDRINUSE'), { code: 'EADDRINUSE' });

  /** Refuses as often as there are faults, then listens. */
  function transportAfter(...faults: readonly Error[]) {
    const seen = { tries: 0, closed: 0 };
    const listen: Transport['listen'] = async () => {
      const fault = faults[seen.tries++];
      if (fault !== undefined) throw fault;
      return { close: async () => void seen.closed++ };
    };
    return { seen, transport: { ...unixTransport, listen } };
  }
  const startOn = (transport: Transport, listen = VSOCK): Promise<Listener> =>
    startKmsTunnel({
      transport,
      listen,
      endpoint: { host: '127.0.0.1', port: 1 },
      log: silentLog,
      retryMilliseconds: 1,
    });

  it('is waited for, and taken when it is free', async () => {
    const { seen, transport } = transportAfter(inUse, inUse, new Error('another fault, later'));
    const waiting = await startOn(transport);
    expect(seen.tries).toBe(1);
    await until('it listens', () => seen.tries === 4);
    await waiting.close();
    expect(seen).toEqual({ tries: 4, closed: 1 });
  });

  it('is left alone by a host that has ended', async () => {
    const { seen, transport } = transportAfter(...Array.from({ length: 1000 }, () => inUse));
    const waiting = await startOn(transport);
    await waiting.close();
    const { tries } = seen;
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual({ tries, closed: 0 });
  });

  it('is the only fault that is waited for', async () => {
    const denied = Object.assign(new Error('listen EACCES'), { code: 'EACCES' });
    await expect(startOn(transportAfter(denied).transport)).rejects.toThrow('EACCES');
    const onSocket = parseTransportAddress('unix:/somewhere');
    await expect(startOn(transportAfter(inUse).transport, onSocket)).rejects.toThrow('EADDRINUSE');
  });
});
