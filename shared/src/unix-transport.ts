/** Connections over Unix sockets: a host beside its enclave on one machine, and never inside an image. */
import { createConnection, createServer, type Server } from 'node:net';
import type { Duplex } from 'node:stream';
import { QvError } from './errors.ts';
import { formatTransportAddress, type Transport, type TransportAddress } from './transport.ts';

/** The caller removes a stale socket file and sets permissions. */
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
