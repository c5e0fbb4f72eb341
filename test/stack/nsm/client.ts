/** The NSM of a process that the simulated hypervisor serves over a socket. */
import type { Duplex } from 'node:stream';
import { readFrames, writeFrame } from '@quantumvault/shared/frames.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';

export interface NsmClient {
  request(bytes: Uint8Array): Promise<Uint8Array>;
}

export interface SocketNsm extends NsmClient {
  close(): void;
}

interface Waiting {
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

/** Connects on first use and again after a fault. Answers come in the order of the requests. */
export function socketNsm(address: string): SocketNsm {
  const target = parseTransportAddress(address);
  let stream: Duplex | undefined;
  const waiting: Waiting[] = [];

  function fail(failed: Duplex, error: Error): void {
    if (failed !== stream) return;
    stream = undefined;
    for (const { reject } of waiting.splice(0)) reject(error);
  }

  function connection(): Duplex {
    if (stream !== undefined) return stream;
    const opened = unixTransport.connect(target);
    stream = opened;
    readFrames(opened, (frame) => waiting.shift()?.resolve(frame));
    opened.on('error', (error) => fail(opened, error));
    opened.on('end', () => opened.destroy());
    opened.on('close', () => fail(opened, new Error('the NSM closed the connection')));
    return opened;
  }

  return {
    request(bytes) {
      const open = connection();
      return new Promise((resolve, reject) => {
        waiting.push({ resolve, reject });
        writeFrame(open, bytes);
      });
    },
    close() {
      stream?.destroy();
    },
  };
}
