/** The other end of the admin socket, for `qv` and the tests. */
import { createConnection } from 'node:net';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { AdminCommand, AdminCommands } from '../admin-protocol.ts';
import { readAdminReply } from './admin-replies.ts';

/** Longer than the host waits for enclave and database together. */
const TIMEOUT_MILLISECONDS = 2 * LIMITS.freezeTimeoutMilliseconds + LIMITS.storeTimeoutMilliseconds;

/**
 * One command on a connection of its own.
 * @throws QvError host_unavailable when nobody answers there, response_malformed, else the host's code
 */
export async function adminCall<C extends AdminCommand>(
  socketPath: string,
  command: C,
  parameters: AdminCommands[C]['arguments'],
  timeoutMilliseconds: number = TIMEOUT_MILLISECONDS,
): Promise<AdminCommands[C]['result']> {
  const line = await exchange(socketPath, JSON.stringify({ command, ...parameters }), timeoutMilliseconds);
  return readAdminReply(command, line);
}

function exchange(path: string, request: string, timeoutMilliseconds: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ path });
    const chunks: Buffer[] = [];
    let size = 0;
    const fail = (cause?: unknown): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new QvError('host_unavailable', { path }, { cause }));
    };
    const timer = setTimeout(() => fail(), timeoutMilliseconds);
    socket.on('error', fail);
    socket.on('close', () => fail());
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size > LIMITS.adminReplyBytes) return fail();
      if (!chunk.includes(10)) return;
      clearTimeout(timer);
      const whole = Buffer.concat(chunks);
      resolve(Uint8Array.from(whole.subarray(0, whole.indexOf(10))));
      socket.destroy();
    });
    socket.write(`${request}\n`);
  });
}
