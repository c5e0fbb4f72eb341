/** Connections that come, fail and go: one event each, and nothing stays behind. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { vsockTransport } from '@quantumvault/shared/native.ts';
import type { Check } from '../checks.ts';
import {
  type Addon,
  assert,
  descriptors,
  eventsOf,
  freshAddress,
  LOOPBACK_CID,
  MEBIBYTE,
  pair,
  readAll,
  type VsockAddress,
} from './kit.ts';

const AT_ONCE = 50;
/** Of JavaScript and what it owns. A connection that stays costs several KiB, so a hundredth of them would show. */
const HEAP_MEBIBYTES = 2;
/** Of the process: free memory between what is used is the allocator's, not a leak. */
const RESIDENT_MEBIBYTES = 48;

/** Every way in which connections end: by either side, before they are through, with bytes under way. */
async function manyConnections(addon: Addon): Promise<string> {
  const address = freshAddress();
  const sockets = kernelSockets();
  let accepted = 0;
  const listener = await addon.transport.listen(address, (stream) => {
    accepted += 1;
    stream.on('error', () => undefined);
    if (accepted % 3 === 0) stream.destroy();
    else stream.pipe(stream);
  });
  const oneConnection = async (index: number): Promise<void> => {
    const stream = addon.transport.connect(address);
    const { closed } = eventsOf(stream);
    stream.resume();
    if (index % 4 === 0) stream.destroy();
    else if (index % 4 === 1) stream.end('x');
    else if (index % 4 === 2) stream.once('connect', () => stream.destroy());
    else stream.end(Buffer.alloc(1000));
    await closed;
  };
  const rounds = async (count: number): Promise<void> => {
    for (let done = 0; done < count; done += AT_ONCE)
      await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => oneConnection(index)));
    // What the other side has still to notice.
    await sleep(200);
    globalThis.gc?.();
    await sleep(50);
    globalThis.gc?.();
  };
  await rounds(Math.min(1000, addon.connections / 5));
  const before = inUse();
  await rounds(addon.connections);
  const after = inUse();
  await listener.close();
  assert(after.descriptors === before.descriptors, `${after.descriptors - before.descriptors} descriptors stayed open`);
  // A closed socket waits for its peer's last word for up to eight seconds (net/vmw_vsock/virtio_transport_common.c).
  for (let second = 0; second < 20 && kernelSockets() > sockets; second++) await sleep(1000);
  assert(kernelSockets() <= sockets, `the kernel keeps ${kernelSockets() - sockets} sockets`);
  const heap = (after.heap - before.heap) / MEBIBYTE;
  const resident = Math.round((after.resident - before.resident) / MEBIBYTE);
  assert(heap <= HEAP_MEBIBYTES, `JavaScript holds ${heap.toFixed(1)} MiB more`);
  assert(resident <= RESIDENT_MEBIBYTES, `the process grew by ${resident} MiB`);
  assert(inUse().descriptors === before.descriptors - 1, 'the listener kept its descriptor');
  return `${addon.connections} connections; heap ${heap.toFixed(1)} MiB more, process ${resident} MiB`;
}

function inUse() {
  const { heapUsed, external, rss } = process.memoryUsage();
  return { descriptors: descriptors(), heap: heapUsed + external, resident: rss };
}

/** Of this machine, of every kind. */
function kernelSockets(): number {
  const used = /^sockets: used (\d+)$/m.exec(readFileSync('/proc/net/sockstat', 'utf8'))?.[1];
  assert(used !== undefined, 'the kernel does not count sockets');
  return Number(used);
}

/** node-vsock: both `error` and `connect`. */
async function connectBeforeListen(addon: Addon): Promise<string> {
  const before = descriptors();
  const address = freshAddress();
  const refused = addon.transport.connect(address);
  const { seen, closed } = eventsOf(refused);
  refused.write('nobody will read this');
  await closed;
  assert(seen.length === 2 && /^error:E/.test(seen[0] ?? ''), `events: ${seen.join(', ')}`);
  const absent = addon.transport.connect({ ...address, cid: 77 });
  const { seen: seenOfAbsent, closed: absentClosed } = eventsOf(absent);
  await absentClosed;
  assert(seenOfAbsent.length === 2 && /^error:E/.test(seenOfAbsent[0] ?? ''), `events: ${seenOfAbsent.join(', ')}`);
  assert(descriptors() === before, 'a failed connection kept its descriptor');
  const listener = await addon.transport.listen(address, (stream) => stream.end('now'));
  const later = addon.transport.connect(address);
  later.end();
  assert((await readAll(later)).toString() === 'now', 'the port does not work once somebody listens');
  await listener.close();
  return `nobody listening: ${seen[0]}; no such CID: ${seenOfAbsent[0]}`;
}

/** More at once than the kernel queues for accept(). Each is served or refused; none is forgotten. */
async function flood(addon: Addon): Promise<string> {
  const address = freshAddress();
  const before = descriptors();
  const listener = await addon.transport.listen(address, (stream) => {
    stream.on('error', () => undefined);
    stream.pipe(stream);
  });
  const outcomes = await Promise.all(
    Array.from({ length: 400 }, async (_, index) => {
      const stream = addon.transport.connect(address);
      const { seen, closed } = eventsOf(stream);
      let reply = '';
      stream.on('data', (chunk) => {
        reply += chunk;
      });
      stream.end(`connection ${index}`);
      await closed;
      return { right: reply === `connection ${index}`, refused: seen[0]?.startsWith('error') === true, seen };
    }),
  );
  await listener.close();
  const served = outcomes.filter(({ right }) => right).length;
  const refused = outcomes.filter((outcome) => outcome.refused && !outcome.right).length;
  const odd = outcomes.find((outcome) => !outcome.right && !outcome.refused);
  assert(odd === undefined, `neither served nor refused: ${odd?.seen.join(', ')}`);
  assert(served > 0, 'nobody was served');
  await sleep(200);
  assert(descriptors() === before, 'descriptors stayed open');
  return `${served} served, ${refused} refused`;
}

/** node-vsock: after close() its accept loop spins at full speed. */
async function closeDuringAccept(addon: Addon): Promise<string> {
  const address = freshAddress();
  const before = descriptors();
  const closing = Promise.withResolvers<void>();
  let accepted = 0;
  const listener = await addon.transport.listen(address, () => {
    accepted += 1;
    if (accepted === 3) void listener.close().then(closing.resolve);
  });
  const clients = Array.from({ length: 60 }, () => {
    const stream = addon.transport.connect(address);
    stream.resume().end();
    return eventsOf(stream);
  });
  await closing.promise;
  await Promise.all(clients.map(({ closed }) => closed));
  assert(accepted === 3, `${accepted} connections were taken after the listener was closed`);
  await sleep(100);
  assert(descriptors() === before, 'descriptors stayed open');
  const loops = performance.nodeTiming.uvMetricsInfo.loopCount;
  for (let tick = 0; tick < 20; tick++) await sleep(10);
  const turns = performance.nodeTiming.uvMetricsInfo.loopCount - loops;
  assert(turns < 200, `the event loop turned ${turns} times in 20 ticks`);
  const again = await addon.transport.listen(address, (stream) => stream.end());
  await again.close();
  return `all of ${clients.length} clients ended; ${turns} turns of the loop in 20 ticks afterwards`;
}

async function foreignCid(addon: Addon): Promise<string> {
  const tried: string[] = [];
  for (const acceptFrom of [3, undefined]) {
    const address = freshAddress();
    const transport = vsockTransport(addon.native, acceptFrom === undefined ? {} : { acceptFrom });
    let served = false;
    const listener = await transport.listen(address, () => {
      served = true;
    });
    const stream = transport.connect(address);
    const { seen, closed } = eventsOf(stream);
    stream.on('data', () => seen.push('data'));
    stream.end('let me in');
    await closed;
    await listener.close();
    assert(!served && !seen.includes('data'), `a listener for ${acceptFrom ?? 'nobody'} served CID ${LOOPBACK_CID}`);
    tried.push(seen.join(', '));
  }
  return tried.join('; ');
}

/** Nothing that a caller does at a bad moment closes a descriptor twice or uses it once it is closed. */
async function badMoments(addon: Addon): Promise<string> {
  const before = descriptors();
  const address = freshAddress();
  const streams: Duplex[] = [];
  const listener = await addon.transport.listen(address, (stream) => {
    streams.push(stream);
    stream.on('data', () => stream.destroy());
    stream.on('error', () => undefined);
  });
  await addon.transport
    .listen(address, () => undefined)
    .then(
      () => assert(false, 'two listeners on one port'),
      (error: NodeJS.ErrnoException) => assert(error.code === 'EADDRINUSE', `not EADDRINUSE: ${error.message}`),
    );
  for (let round = 0; round < 50; round++) {
    const stream = addon.transport.connect(address);
    const { closed } = eventsOf(stream);
    stream.on('connect', () => {
      stream.write('a');
      if (round % 2 === 0) stream.destroy();
      stream.end();
      stream.destroy();
    });
    if (round % 5 === 0) stream.destroy().destroy();
    stream.resume();
    await closed;
  }
  const socket = addon.native.connect(LOOPBACK_CID, address.port, () => undefined);
  assert(typeof socket !== 'number', 'no socket');
  addon.native.close(socket);
  addon.native.close(socket);
  const results = [
    addon.native.watch(socket, 3),
    addon.native.read(socket, new Uint8Array(8)),
    addon.native.write(socket, new Uint8Array(8), 0),
    addon.native.shutdown(socket),
    addon.native.socketError(socket),
  ];
  assert(
    results.every((result) => result < 0),
    `a closed socket answers ${results.join(', ')}`,
  );
  await listener.close();
  await listener.close();
  await sleep(200);
  assert(descriptors() === before, `${descriptors() - before} descriptors stayed open`);
  return `errnos of a closed socket: ${results.join(', ')}`;
}

/** A thread that ends with its sockets open takes them along. */
async function threads(addon: Addon): Promise<string> {
  const before = descriptors();
  for (let round = 0; round < 5; round++) {
    const address = freshAddress();
    const worker = new Worker(new URL('worker.ts', import.meta.url), { workerData: { path: addon.path, address } });
    await once(worker, 'message');
    const stream = addon.transport.connect(address);
    const { closed } = eventsOf(stream);
    await once(stream, 'data');
    stream.resume();
    await worker.terminate();
    // Its peer notices, too: the kernel hung up when the descriptor went.
    stream.end();
    await closed;
  }
  await sleep(200);
  assert(descriptors() === before, `${descriptors() - before} descriptors stayed open`);
  return '5 threads ended with a listener and two connections each';
}

export type WorkerData = { readonly path: string; readonly address: VsockAddress };

/** After an error there is no more of it, whoever still writes. */
async function peerVanishes(addon: Addon): Promise<string> {
  const { near, far, listener } = await pair(addon);
  const { seen, closed } = eventsOf(near);
  far.destroy();
  near.resume();
  const writing = setInterval(() => {
    if (near.writable) near.write(Buffer.alloc(1000));
  }, 1);
  await closed;
  clearInterval(writing);
  await listener.close();
  assert(seen.filter((event) => event.startsWith('error')).length <= 1, `events: ${seen.join(', ')}`);
  return seen.join(', ');
}

export const LIFETIME: readonly Check<Addon>[] = [
  {
    name: 'thousands of connections leave no descriptor and no memory behind',
    run: manyConnections,
    limitSeconds: 600,
  },
  { name: 'a connection that nobody waits for is one error and no connect', run: connectBeforeListen },
  { name: 'of more connections than fit, each is served or refused', run: flood },
  { name: 'a listener that closes while connections come in ends them all and rests', run: closeDuringAccept },
  { name: 'a connection from another CID is hung up on', run: foreignCid },
  { name: 'sockets survive what is done to them at bad moments', run: badMoments },
  { name: 'a thread that ends closes its sockets', run: threads },
  { name: 'a peer that vanishes is one error at most', run: peerVanishes },
];
