/**
 * An address is `unix:/path` or `vsock:CID:port`, so that everything runs on a laptop and in an enclave alike.
 * This file holds the seam; the vsock driver registers itself from the entry file that has one.
 */
import { createConnection, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { QvError } from './errors.ts';

export type TransportAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'vsock'; readonly cid: number; readonly port: number };

export interface Listener {
  close(): Promise<void>;
}

/** What carries connections of one kind of address. */
export interface Transport {
  listen(address: TransportAddress, onConnection: (stream: Duplex) => void): Promise<Listener>;
  connect(address: TransportAddress): Duplex;
}

const VSOCK = /^vsock:(0|[1-9][0-9]{0,9}):([1-9][0-9]{0,9})$/;
/** sun_path holds 108 bytes with its terminator (Linux unix(7)). */
const UNIX_PATH_BYTES = 107;

/** @throws QvError address_malformed */
export function parseTransportAddress(text: string): TransportAddress {
  if (text.startsWith('unix:/') && !text.includes('\0')) {
    const path = text.slice('unix:'.length);
    if (Buffer.byteLength(path) <= UNIX_PATH_BYTES) return { kind: 'unix', path };
  }
  const match = VSOCK.exec(text);
  const cid = Number(match?.[1]);
  const port = Number(match?.[2]);
  // 2^32 - 1 is VMADDR_CID_ANY and VMADDR_PORT_ANY: never a peer.
  if (match !== null && cid < 0xffff_ffff && port < 0xffff_ffff) return { kind: 'vsock', cid, port };
  throw new QvError('address_malformed', { value: text.slice(0, 120) });
}

export function formatTransportAddress(address: TransportAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `vsock:${address.cid}:${address.port}`;
}

/** Unix sockets by node:net. The caller removes a stale socket file and sets permissions. */
export const unixTransport: Transport = {
  listen(address, onConnection) {
    const path = unixPath(address);
    const server: Server = createServer({ allowHalfOpen: true }, onConnection);
    const open = new Set<Duplex>();
    server.on('connection', (socket) => {
      open.add(socket);
      socket.on('close', () => open.delete(socket));
    });
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => {
        server.off('error', reject);
        resolve({
          close: () =>
            new Promise<void>((done) => {
              server.close(() => done());
              for (const socket of open) socket.destroy();
            }),
        });
      });
    });
  },
  connect(address) {
    return createConnection({ path: unixPath(address), allowHalfOpen: true });
  },
};

function unixPath(address: TransportAddress): string {
  if (address.kind !== 'unix') throw new QvError('transport_unsupported', { value: formatTransportAddress(address) });
  return address.path;
}
