/**
 * What a connection of the addon must do, one scenario a function, each of which throws or answers what it measured.
 * They run in a child process over stand-ins for vsock (scenarios.test.ts), also under AddressSanitizer, and in a guest
 * over real vsock (test/vm).
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { Listener, Transport, TransportAddress } from '@quantumvault/shared/transport.ts';

export interface Place {
  readonly transport: Transport;
  /** A free address to listen on and to connect to. */
  readonly address: TransportAddress;
  /** Of `echo`. */
  readonly bytes: number;
  /** Of `comeAndGo`. */
  readonly connections: number;
}

const descriptors = (): number => readdirSync('/proc/self/fd').length;

/** Kilobytes of this process that are in memory (proc(5), VmRSS). */
export function residentKilobytes(): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))?.[1]);
}

/** @throws Error what the stream fails with, or that it ended first */
function connected(stream: Duplex): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.once('connect', resolve);
    stream.once('error', reject);
    stream.once('close', () => reject(new Error('closed before it was connected')));
  });
}

/** Also when it was destroyed before anybody listened: `closed` is true before the events have been seen. */
async function closed(stream: Duplex): Promise<void> {
  if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve));
  await turn();
}

async function accepting(place: Place, serve: (stream: Duplex) => void): Promise<Listener> {
  return place.transport.listen(place.address, (stream) => {
    stream.on('error', () => undefined);
    serve(stream);
  });
}

const drained = (stream: Duplex): Promise<void> => new Promise((resolve) => stream.once('drain', () => resolve()));

/** Writes `bytes` random ones with stalls, answers their SHA-256. */
async function pour(stream: Duplex, bytes: number): Promise<string> {
  const hash = createHash('sha256');
  for (let left = bytes; left > 0; ) {
    const chunk = randomBytes(Math.min(left, 1 + Math.floor(Math.random() * 200_000)));
    hash.update(chunk);
    left -= chunk.length;
    if (!stream.write(chunk)) await drained(stream);
    if (Math.random() < 0.01) await sleep(Math.random() * 20);
  }
  stream.end();
  return hash.digest('hex');
}

/** Reads to the end with stalls, answers the SHA-256 of what came. */
async function drink(stream: Duplex): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    hash.update(chunk as Uint8Array);
    if (Math.random() < 0.01) await sleep(Math.random() * 20);
  }
  return hash.digest('hex');
}

/** Everything arrives, in both directions at once, through an echo that stalls, in bounded memory. */
async function echo(place: Place): Promise<{ grownKilobytes: number }> {
  const listener = await accepting(place, (stream) => {
    stream.pipe(stream);
    const stall = setInterval(() => {
      stream.pause();
      setTimeout(() => stream.resume(), Math.random() * 20);
    }, 50);
    stream.once('close', () => clearInterval(stall));
  });
  const stream = place.transport.connect(place.address);
  await connected(stream);
  const before = residentKilobytes();
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, residentKilobytes());
  }, 50);
  const [sent, received] = await Promise.all([pour(stream, place.bytes), drink(stream)]);
  clearInterval(watch);
  assert.equal(received, sent);
  await closed(stream);
  await listener.close();
  const grownKilobytes = most - before;
  return { grownKilobytes };
}

/** Connections that come and go leave neither descriptors nor memory. */
async function comeAndGo(place: Place): Promise<{ grownKilobytes: number }> {
  const streams: Promise<void>[] = [];
  const listener = await accepting(place, (stream) => {
    streams.push(closed(stream));
    stream.end(stream.read() ?? undefined);
    stream.resume();
  });
  const once = async (): Promise<void> => {
    const stream = place.transport.connect(place.address);
    await connected(stream);
    stream.resume();
    stream.end('x');
    await closed(stream);
  };
  const many = async (count: number): Promise<void> => {
    for (let left = count; left > 0; left -= 20) await Promise.all(Array.from({ length: Math.min(20, left) }, once));
    await Promise.all(streams.splice(0));
  };
  await many(Math.min(place.connections, 1000));
  const before = { descriptors: descriptors(), memory: residentKilobytes() };
  await many(place.connections);
  const after = { descriptors: descriptors(), memory: residentKilobytes() };
  assert.equal(after.descriptors, before.descriptors);
  await listener.close();
  return { grownKilobytes: after.memory - before.memory };
}

/** A peer that never reads: the loop turns, `write` says so, memory stays, and closing it gives everything back. */
async function neverReads(place: Place): Promise<{ turns: number; grownKilobytes: number }> {
  const listener = await accepting(place, (stream) => stream.pause());
  const stream = place.transport.connect(place.address);
  await connected(stream);
  const before = residentKilobytes();
  const open = descriptors();
  const chunk = Buffer.alloc(4 * 1024 * 1024, 1);
  // One write of more than any buffer between the two holds.
  assert.equal(stream.write(chunk), false);
  let turns = 0;
  const until = performance.now() + 500;
  while (performance.now() < until) {
    await turn();
    turns++;
  }
  assert.equal(stream.writableNeedDrain, true);
  assert.ok(stream.writableLength > 0);
  const grownKilobytes = residentKilobytes() - before;
  stream.destroy();
  await closed(stream);
  await listener.close();
  assert.ok(descriptors() < open);
  return { turns, grownKilobytes };
}

/** A reader that pauses is not sent more than the buffers between hold: the flood waits at its source. */
async function slowReader(place: Place): Promise<{ heldBytes: number }> {
  let heldBytes = 0;
  const total = 32 * 1024 * 1024;
  const listener = await accepting(place, async (stream) => {
    for (let sent = 0; sent < total; sent += 65_536) {
      heldBytes = sent;
      if (!stream.write(Buffer.alloc(65_536))) await drained(stream);
    }
    stream.end();
  });
  const stream = place.transport.connect(place.address);
  await connected(stream);
  await sleep(500);
  const heldBeforeReading = heldBytes;
  assert.ok(heldBeforeReading < total / 2, `${heldBeforeReading} bytes left although nobody read`);
  let received = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) received += (chunk as Uint8Array).length;
  assert.equal(received, total);
  stream.end();
  await closed(stream);
  await listener.close();
  return { heldBytes: heldBeforeReading };
}

/** Finishing one direction leaves the other open: the reply to the last request still arrives whole. */
async function halfClose(place: Place): Promise<void> {
  const reply = randomBytes(3_000_000);
  const listener = await accepting(place, async (stream) => {
    const asked: Uint8Array[] = [];
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) asked.push(chunk as Uint8Array);
    assert.equal(Buffer.concat(asked).toString(), 'question');
    await sleep(50);
    stream.end(reply);
  });
  const stream = place.transport.connect(place.address);
  // Before it is connected: both wait for it.
  stream.end('question');
  const answer: Uint8Array[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) answer.push(chunk as Uint8Array);
  assert.ok(Buffer.concat(answer).equals(reply));
  await closed(stream);
  await listener.close();
}

/** Connecting before anybody listens is one error and no 'connect'; afterwards the same address works. */
async function connectBeforeListen(place: Place): Promise<{ code: string }> {
  const seen: string[] = [];
  let code = '';
  const early = place.transport.connect(place.address);
  early.on('connect', () => seen.push('connect'));
  early.on('error', (error: NodeJS.ErrnoException) => {
    seen.push('error');
    code = error.code ?? '';
  });
  early.write('lost');
  await closed(early);
  assert.deepEqual(seen, ['error']);
  const listener = await accepting(place, (stream) => stream.pipe(stream));
  const late = place.transport.connect(place.address);
  late.end('found');
  let answer = '';
  for await (const chunk of late.iterator({ destroyOnReturn: false })) answer += String(chunk);
  assert.equal(answer, 'found');
  await closed(late);
  await listener.close();
  return { code };
}

/** Closing what is on its way, in every order, and a listener with connections open. */
async function hangUps(place: Place): Promise<void> {
  const before = descriptors();
  const served: Duplex[] = [];
  const listener = await accepting(place, (stream) => served.push(stream));
  const early = place.transport.connect(place.address);
  early.on('error', () => undefined);
  early.destroy();
  await closed(early);
  const streams = Array.from({ length: 50 }, () => place.transport.connect(place.address));
  await Promise.all(streams.map(connected));
  for (const [index, stream] of streams.entries()) {
    stream.on('error', () => undefined);
    if (index % 5 === 0) stream.destroy();
    if (index % 5 === 1) stream.end('last words');
    if (index % 5 === 2) stream.destroy(new Error('reason'));
    if (index % 5 === 3) stream.write(Buffer.alloc(1_000_000));
  }
  await sleep(100);
  await listener.close();
  await Promise.all(served.map(closed));
  for (const stream of streams) stream.resume().destroy();
  await Promise.all(streams.map(closed));
  assert.equal(descriptors(), before);
  // The address is free again at once.
  const next = await accepting(place, (stream) => stream.destroy());
  await assert.rejects(
    place.transport.listen(place.address, () => undefined),
    { code: 'EADDRINUSE' },
  );
  await next.close();
}

/** A peer that goes away while we write, and while we wait to write. */
async function peerGoes(place: Place): Promise<void> {
  const listener = await accepting(place, (stream) => {
    stream.once('data', () => stream.destroy());
  });
  for (let round = 0; round < 20; round++) {
    const stream = place.transport.connect(place.address);
    const failures: string[] = [];
    stream.on('error', (error: NodeJS.ErrnoException) => failures.push(error.code ?? error.message));
    stream.resume();
    for (let count = 0; count < 50 && !stream.destroyed; count++) stream.write(Buffer.alloc(65_536));
    await Promise.race([closed(stream), new Promise((resolve) => stream.once('end', resolve))]);
    // The end of the peer is seen: writing goes on into an error, not into nothing.
    stream.end(Buffer.alloc(65_536));
    await closed(stream);
    assert.ok(failures.length <= 1);
  }
  await listener.close();
}

/** Many connections at once, all of them answered. */
async function flood(place: Place): Promise<void> {
  const listener = await accepting(place, (stream) => stream.pipe(stream));
  const ask = async (index: number): Promise<void> => {
    const stream = place.transport.connect(place.address);
    stream.end(`${index};`.repeat(5_000));
    let answer = '';
    for await (const chunk of stream.iterator({ destroyOnReturn: false })) answer += String(chunk);
    assert.equal(answer, `${index};`.repeat(5_000));
    await closed(stream);
  };
  for (let round = 0; round < 4; round++) await Promise.all(Array.from({ length: 100 }, (_, index) => ask(index)));
  await listener.close();
}

export const SCENARIOS = {
  echo,
  comeAndGo,
  neverReads,
  slowReader,
  halfClose,
  connectBeforeListen,
  hangUps,
  peerGoes,
  flood,
} as const satisfies Record<string, (place: Place) => Promise<unknown>>;
export type ScenarioName = keyof typeof SCENARIOS;
