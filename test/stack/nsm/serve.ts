/** Serves one NSM over a socket: each frame is one request, answered by one frame, in order. */
import type { Duplex } from 'node:stream';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { type Listener, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import type { NsmClient } from './client.ts';

export function serveNsm(nsm: NsmClient, address: string): Promise<Listener> {
  return unixTransport.listen(parseTransportAddress(address), (stream: Duplex) => {
    let queue: Promise<void> = Promise.resolve();
    readFrames(stream, (frame) => {
      queue = queue.then(async () => {
        const response = await nsm.request(frame);
        if (!stream.destroyed) writeFrame(stream, response);
      });
      queue.catch((error: unknown) => stream.destroy(error as Error));
    });
    stream.on('end', () => void queue.finally(() => stream.end()));
    // The other side's fault is not ours: its stream is gone, the others go on.
    stream.on('error', () => undefined);
  });
}
