/** Bytes in bulk: nothing is lost, nothing piles up, nobody is blocked. */
import { once } from 'node:events';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { Check } from '../checks.ts';
import {
  type Addon,
  assert,
  expectPattern,
  freshAddress,
  MEBIBYTE,
  Peer,
  pair,
  pattern,
  readAll,
  receivePattern,
  residentDuring,
  sendPattern,
} from './kit.ts';

/** Node's own garbage counts, too; what piles up would be the whole transfer. */
const GROWTH_MEBIBYTES = 96;
/** A stream holds its high-water mark and one piece, however long its reader sleeps. */
const BUFFERED_BYTES = 256 * 1024;

async function echo(addon: Addon): Promise<string> {
  const address = freshAddress();
  const peer = await Peer.start(addon.path, 'echo', address);
  try {
    const bytes = addon.mebibytes * MEBIBYTE;
    const stream = addon.transport.connect(address);
    await once(stream, 'connect');
    const before = process.memoryUsage.rss() / MEBIBYTE;
    const start = performance.now();
    const both = Promise.all([receivePattern(stream, true), sendPattern(stream, bytes, true)]);
    const { result, mebibytes } = await residentDuring(both);
    const seconds = (performance.now() - start) / 1000;
    const [received] = result;
    const grown = Math.round(mebibytes - before);
    const { grownMebibytes: peerGrown } = JSON.parse(await peer.line()) as { grownMebibytes: number };
    assert(received.bytes === bytes, `${received.bytes} of ${bytes} bytes came back`);
    assert(received.mostBuffered <= BUFFERED_BYTES, `${received.mostBuffered} bytes were buffered`);
    assert(grown <= GROWTH_MEBIBYTES, `grew by ${grown} MiB`);
    assert(peerGrown <= GROWTH_MEBIBYTES, `the peer grew by ${peerGrown} MiB`);
    return `${addon.mebibytes} MiB there and back in ${seconds.toFixed(1)} s; grew by ${grown} MiB, its peer by ${peerGrown} MiB`;
  } finally {
    await peer.stop();
  }
}

/** node-vsock: memory grew from 50 to 253 MiB, and `end` came with 8.5 of 200 MiB. */
async function slowReader(addon: Addon): Promise<string> {
  const address = freshAddress();
  const bytes = addon.mebibytes * MEBIBYTE;
  const peer = await Peer.start(addon.path, 'send', address, String(bytes));
  try {
    const stream = addon.transport.connect(address);
    stream.end();
    await once(stream, 'connect');
    // The sender has all the time it wants to fill whatever takes bytes without a reader.
    stream.pause();
    await sleep(500);
    const waiting = stream.readableLength;
    assert(waiting <= BUFFERED_BYTES, `${waiting} bytes were taken in that nobody asked for`);
    const before = process.memoryUsage.rss() / MEBIBYTE;
    const { result, mebibytes } = await residentDuring(receivePattern(stream, true));
    const grown = Math.round(mebibytes - before);
    assert(result.bytes === bytes, `the end came after ${result.bytes} of ${bytes} bytes`);
    assert(result.mostBuffered <= BUFFERED_BYTES, `${result.mostBuffered} bytes were buffered`);
    assert(grown <= GROWTH_MEBIBYTES, `grew by ${grown} MiB`);
    return `${addon.mebibytes} MiB, at most ${result.mostBuffered >> 10} KiB buffered, grew by ${grown} MiB`;
  } finally {
    await peer.stop();
  }
}

/** node-vsock: the event loop stood still for 2.77 s. */
async function neverReads(addon: Addon): Promise<string> {
  const stuck = await pair(addon);
  const other = await pair(addon);
  const bytes = 4 * MEBIBYTE;
  let written = false;
  stuck.near.write(Buffer.concat([0, 1, 2, 3].map((part) => pattern(part * MEBIBYTE, MEBIBYTE))), () => {
    written = true;
  });
  let ticks = 0;
  const ticking = setInterval(() => {
    ticks += 1;
  }, 1);
  other.far.pipe(other.far);
  for (let trip = 0; trip < 100; trip++) {
    other.near.write('still here');
    const [reply] = (await once(other.near, 'data')) as [Buffer];
    assert(reply.toString() === 'still here', 'the other connection broke');
  }
  while (ticks < 50) await turn();
  clearInterval(ticking);
  assert(!written, 'a write to a peer that never reads was reported as done');
  assert(stuck.near.writableLength === bytes, 'the stream forgot what it could not write');
  // And nothing is lost once it does read.
  stuck.near.end();
  const all = await readAll(stuck.far);
  assert(all.length === bytes, `${all.length} of ${bytes} bytes arrived`);
  expectPattern(0, all);
  for (const { near, far, listener } of [stuck, other]) {
    near.destroy();
    far.destroy();
    await listener.close();
  }
  return `${ticks} ticks and 100 round trips beside a stuck write of 4 MiB`;
}

/** node-vsock: `end()` shuts both directions and loses the reply. */
async function halfClose(addon: Addon): Promise<string> {
  for (const starter of ['near', 'far'] as const) {
    const both = await pair(addon);
    const first = both[starter];
    const second = starter === 'near' ? both.far : both.near;
    first.end('the question');
    const question = await readAll(second);
    assert(question.toString() === 'the question', 'the question was lost');
    const closed = Promise.all([once(first, 'close'), once(second, 'close')]);
    const reply = receivePattern(first);
    await sendPattern(second, MEBIBYTE);
    const { bytes } = await reply;
    assert(bytes === MEBIBYTE, `${bytes} bytes of the reply after the end of the question`);
    await closed;
    await both.listener.close();
  }
  return '1 MiB of reply after either end had finished';
}

export const FLOW: readonly Check<Addon>[] = [
  { name: 'what is echoed with random stalls comes back whole, in bounded memory', run: echo, limitSeconds: 900 },
  { name: 'a sender waits for a slow reader, and the end comes last', run: slowReader, limitSeconds: 900 },
  { name: 'a peer that never reads stops its own connection alone, and loses nothing', run: neverReads },
  { name: 'either end may finish sending and still gets its reply', run: halfClose },
];
