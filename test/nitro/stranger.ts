/** Somebody who is not the parent calls the enclave: this machine itself, which guests see as CID 2. */
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface StrangerResult {
  /** Everything that came before the end; `OK <port>` is vhost-device-vsock's word that the guest took the connection. */
  readonly answer: string;
  /** Whether the enclave hung up, though nothing was said. */
  readonly ended: boolean;
}

const WAIT_MILLISECONDS = 15_000;

/** @param socket the Unix socket that vhost-device-vsock keeps for calls to that guest */
export async function callAsStranger(socket: string, port: number): Promise<StrangerResult> {
  const stream = createConnection({ path: socket, allowHalfOpen: true });
  let answer = '';
  let ended = false;
  stream.setEncoding('latin1');
  stream.on('data', (text: string) => {
    answer += text;
  });
  const over = new Promise<void>((resolve) => {
    stream.once('end', () => {
      ended = true;
      resolve();
    });
    stream.once('error', (error) => {
      answer += error.message;
      resolve();
    });
  });
  stream.write(`CONNECT ${port}\n`);
  const limit = new AbortController();
  await Promise.race([over, sleep(WAIT_MILLISECONDS, undefined, { signal: limit.signal }).catch(() => undefined)]);
  limit.abort();
  stream.destroy();
  return { answer, ended };
}
