/**
 * A TCP port of this machine's loopback that nobody listened on a moment ago, for programs that have to be told theirs.
 * Below the range (from 32768 on) that the kernel takes ports of outgoing connections from: one of those could have it
 * by the time the program starts.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    const server = createServer();
    const isFree = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
