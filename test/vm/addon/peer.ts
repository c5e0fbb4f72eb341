/**
 * The other end of the addon's checks, in a process of its own. `peer.ts <addon> <what> <port> [more]`; prints `ready`
 * when it listens, then one line of JSON per connection.
 *
 *   echo          sends back what it gets, with stalls; says the most memory it needed
 *   send <bytes>  sends that much of the pattern to whoever connects, as fast as it is taken
 */
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { LOOPBACK_CID, loadAddon, MEBIBYTE, residentDuring, sendPattern, stall } from './kit.ts';

const [addonPath = '', what = '', port = '', bytes = '0'] = process.argv.slice(2);
const { transport } = loadAddon(addonPath);

async function echo(stream: Duplex): Promise<void> {
  const stalling = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      await stall();
      yield chunk;
    }
  };
  const before = process.memoryUsage.rss() / MEBIBYTE;
  const { mebibytes } = await residentDuring(pipeline(stream, stalling, stream));
  process.stdout.write(`${JSON.stringify({ grownMebibytes: Math.round(mebibytes - before) })}\n`);
}

async function send(stream: Duplex): Promise<void> {
  stream.resume();
  await sendPattern(stream, Number(bytes));
}

// Ends with the process that started it.
process.stdin.resume().on('end', () => process.exit(0));
await transport.listen({ kind: 'vsock', cid: LOOPBACK_CID, port: Number(port) }, (stream) => {
  const served = what === 'echo' ? echo(stream) : send(stream);
  served.catch((error: Error) => process.stdout.write(`${JSON.stringify({ failed: error.message })}\n`));
});
process.stdout.write('ready\n');
