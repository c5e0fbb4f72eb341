/**
 * Uses the addon that counts what it does (counted.h), then lets go of everything and ends. `counted.ts <addon>`, under
 * `--expose-gc`.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventsOf, freshAddress, loadAddon, MEBIBYTE, receivePattern, sendPattern } from './kit.ts';

const [path = ''] = process.argv.slice(2);
const { transport } = loadAddon(path);
const address = freshAddress();
const listener = await transport.listen(address, (stream) => {
  stream.on('error', () => undefined);
  stream.pipe(stream);
});

const large = transport.connect(address);
await once(large, 'connect');
// One chunk of 1 MiB at a time, and pieces of every size.
large.write(Buffer.alloc(0));
const echoed = receivePattern(large);
await sendPattern(large, 4 * MEBIBYTE);
if ((await echoed).bytes !== 4 * MEBIBYTE) throw new Error('bytes were lost');

const ended = Array.from({ length: 400 }, (_, index) => {
  const stream = transport.connect(index % 7 === 0 ? freshAddress() : address);
  stream.resume();
  if (index % 3 === 0) stream.destroy();
  else stream.end('x');
  return eventsOf(stream).closed;
});
await Promise.all(ended);
await listener.close();
await sleep(200);
globalThis.gc?.();
// Ends by itself, because nothing is left that would keep it; what JavaScript still holds is let go with it.
