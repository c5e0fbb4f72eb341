/** Three ways of carrying bytes between two processes of a guest, behind the little that the measurements need. */
import { createRequire } from 'node:module';
import type { Duplex } from 'node:stream';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import { parseTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';

export interface Connection {
  /** Resolves when more may be written. */
  write(bytes: Uint8Array): Promise<void>;
  onData(take: (bytes: Uint8Array) => void): void;
}

export interface Carrier {
  listen(onConnection: (connection: Connection) => void): Promise<void>;
  connect(): Promise<Connection>;
}

export const CARRIERS = ['ours', 'node-vsock', 'unix socket'] as const;
export type CarrierName = (typeof CARRIERS)[number];

const OURS = 'vsock:1:9001';
const THEIRS = { cid: 1, port: 9002 };
const UNIX = 'unix:/tmp/bench.sock';

export function carrier(name: CarrierName, addon: string): Carrier {
  if (name === 'ours') return streams(vsockTransport(loadNative(addon), { acceptFrom: 1 }), OURS);
  if (name === 'unix socket') return streams(unixTransport, UNIX);
  return nodeVsock();
}

function streams(transport: Transport, text: string): Carrier {
  const address = parseTransportAddress(text);
  return {
    listen: async (onConnection) =>
      void (await transport.listen(address, (stream) => onConnection(overStream(stream)))),
    connect: () => {
      const stream = transport.connect(address);
      return new Promise((resolve, reject) => {
        stream.once('error', reject);
        stream.once('connect', () => resolve(overStream(stream)));
      });
    },
  };
}

function overStream(stream: Duplex): Connection {
  return {
    write: (bytes) =>
      stream.write(bytes) ? Promise.resolve() : new Promise((resolve) => stream.once('drain', () => resolve())),
    onData: (take) => void stream.on('data', take),
  };
}

/** What node-vsock's binary exports, as far as it is used here (0.0.5; its JavaScript is not published with it). */
interface TheirSocket {
  listen(port: number): void;
  connect(cid: number, port: number): void;
  startRecv(): void;
  writeBuffer(bytes: Uint8Array): void;
}
type TheirEmit = (error: unknown, event: string, value: never) => void;
type TheirSocketClass = new (emit: TheirEmit, descriptor?: number) => TheirSocket;

/** Its listener closes itself when it is collected, and its accept loop then fills memory. */
const keptServers: TheirSocket[] = [];

function nodeVsock(): Carrier {
  const { VsockSocket } = createRequire(import.meta.url)('node-vsock-linux-x64-gnu') as {
    VsockSocket: TheirSocketClass;
  };
  const wrapped = (descriptor?: number): { socket: TheirSocket; connection: Connection; connected: Promise<void> } => {
    const connected = Promise.withResolvers<void>();
    let take: (bytes: Uint8Array) => void = () => undefined;
    const socket = new VsockSocket((_error, event, value) => {
      if (event === '_data') take(value);
      if (event === '_connect') connected.resolve();
    }, descriptor);
    const connection: Connection = {
      // Blocks until the kernel has taken it: there is nothing to wait for but the others' turn.
      write: (bytes) => {
        socket.writeBuffer(bytes);
        return new Promise((resolve) => setImmediate(resolve));
      },
      onData: (listener) => {
        take = listener;
        socket.startRecv();
      },
    };
    return { socket, connection, connected: connected.promise };
  };
  return {
    listen: async (onConnection) => {
      const server = new VsockSocket((_error, event, descriptor) => {
        if (event === '_connection') onConnection(wrapped(descriptor).connection);
      });
      keptServers.push(server);
      server.listen(THEIRS.port);
    },
    connect: async () => {
      const { socket, connection, connected } = wrapped();
      socket.connect(THEIRS.cid, THEIRS.port);
      await connected;
      return connection;
    },
  };
}
