/** What stands in front of the hosts, in place of nginx: one address for all callers, and a host behind it. */
import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Front {
  readonly url: string;
  /** From now on requests go there; those under way stay where they are. */
  pointAt(url: string): void;
  close(): Promise<void>;
}

export async function startFront(first: string): Promise<Front> {
  let target = new URL(first);
  const server = createServer((incoming, answer) => {
    const { method, url, headers } = incoming;
    const { hostname, port } = target;
    const onward = httpRequest({ hostname, port, method, path: url, headers }, (reply) => {
      answer.writeHead(reply.statusCode ?? 502, reply.headers);
      reply.pipe(answer);
    });
    // As a proxy says that nobody is there.
    onward.on('error', () => (answer.headersSent ? answer.destroy() : answer.writeHead(502).end()));
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    pointAt: (url) => {
      target = new URL(url);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
