/** Unix sockets in the file system: a stale one is removed, a live one and anything else are left alone. */
import { lstatSync, unlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { QvError } from '@quantumvault/shared/errors.ts';

/**
 * Makes room for a listener.
 * @throws QvError config_invalid when the path is something else than a socket, or somebody listens there
 */
export async function removeStaleSocket(path: string, configPath: string): Promise<void> {
  const facts = lstatSync(path, { throwIfNoEntry: false });
  if (facts === undefined) return;
  if (!facts.isSocket()) throw new QvError('config_invalid', { path: configPath, value: 'exists and is no socket' });
  // Two hosts on one socket would each believe to be the one that is asked.
  if (await answers(path)) throw new QvError('config_invalid', { path: configPath, value: 'in use' });
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
