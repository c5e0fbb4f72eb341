/** A thread that is ended with its sockets open: a listener, both ends of a connection, and the end of another. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from './kit.ts';
import type { WorkerData } from './lifetime.ts';

const { path, address } = workerData as WorkerData;
const { transport } = loadAddon(path);
await transport.listen(address, (stream) => {
  stream.on('error', () => undefined);
  stream.write('welcome');
});
const own = transport.connect(address);
own.once('data', () => parentPort?.postMessage('listening'));
