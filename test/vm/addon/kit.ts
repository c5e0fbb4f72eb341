/** What the checks of the addon share. Runs in a guest: every peer is CID 1, the kernel's loopback. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createCipheriv } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { loadNative, type Native, vsockTransport } from '@quantumvault/shared/native.ts';
import type { Listener, Transport } from '@quantumvault/shared/transport.ts';

export const LOOPBACK_CID = 1;
export const MEBIBYTE = 1024 * 1024;
const PEER = join(import.meta.dirname, 'peer.ts');

export interface VsockAddress {
  readonly kind: 'vsock';
  readonly cid: number;
  readonly port: number;
}

export interface Addon {
  /** Of the addon's file, for peers and workers. */
  readonly path: string;
  /** Of the build that counts (counted.h). */
  readonly countedPath: string;
  readonly native: Native;
  /** Accepts from the loopback. */
  readonly transport: Transport;
  /** How much the long checks carry. */
  readonly mebibytes: number;
  readonly connections: number;
}

export function loadAddon(path: string): Pick<Addon, 'path' | 'native' | 'transport'> {
  const native = loadNative(path);
  return { path, native, transport: vsockTransport(native, { acceptFrom: LOOPBACK_CID }) };
}

let lastPort = 7000;
/** A port that nothing has listened on yet. */
export function freshAddress(): VsockAddress {
  lastPort += 1;
  return { kind: 'vsock', cid: LOOPBACK_CID, port: lastPort };
}

export interface Pair {
  readonly near: Duplex;
  readonly far: Duplex;
  readonly listener: Listener;
}

/** Two ends of one connection, both in this process. */
export async function pair({ transport }: Addon): Promise<Pair> {
  const address = freshAddress();
  const accepted = Promise.withResolvers<Duplex>();
  const listener = await transport.listen(address, accepted.resolve);
  const near = transport.connect(address);
  await once(near, 'connect');
  return { near, far: await accepted.promise, listener };
}

/** Bytes that repeat after a prime number of them, so that no lost, doubled or moved piece of any size fits. */
const PERIOD = 1_048_573;
const KEY = Buffer.alloc(16, 7);
const block = createCipheriv('aes-128-ctr', KEY, KEY).update(Buffer.alloc(PERIOD));
const twice = Buffer.concat([block, block]);

/** The bytes from `offset` on; at most PERIOD of them. */
export function pattern(offset: number, length: number): Buffer {
  const start = offset % PERIOD;
  return twice.subarray(start, start + length);
}

/** @throws Error naming the place where the bytes differ */
export function expectPattern(offset: number, chunk: Uint8Array): void {
  for (let done = 0; done < chunk.length; done += PERIOD) {
    const part = chunk.subarray(done, done + PERIOD);
    if (pattern(offset + done, part.length).compare(part) !== 0)
      throw new Error(`wrong bytes between ${offset + done} and ${offset + done + part.length}`);
  }
}

/** Writes that many bytes of the pattern as the peer takes them, and ends its direction. */
export async function sendPattern(stream: Duplex, bytes: number, stalls = false): Promise<void> {
  for (let offset = 0; offset < bytes; ) {
    const chunk = pattern(offset, Math.min(bytes - offset, 1 + Math.floor(Math.random() * 200_000)));
    offset += chunk.length;
    if (!stream.write(chunk)) await once(stream, 'drain');
    if (stalls) await stall();
  }
  stream.end();
}

export interface Received {
  readonly bytes: number;
  /** The most that waited inside the stream at once. */
  readonly mostBuffered: number;
}

/** Reads the pattern to its end. */
export async function receivePattern(stream: Duplex, stalls = false): Promise<Received> {
  let bytes = 0;
  let mostBuffered = 0;
  for await (const chunk of stream) {
    mostBuffered = Math.max(mostBuffered, stream.readableLength + (chunk as Buffer).length);
    expectPattern(bytes, chunk as Buffer);
    bytes += (chunk as Buffer).length;
    if (stalls) await stall();
  }
  return { bytes, mostBuffered };
}

/** Seldom, and of any length up to what fills every buffer on the way. */
export async function stall(): Promise<void> {
  if (Math.random() < 0.02) await sleep(Math.random() * 40);
}

/** Reads everything, whatever it is. */
export async function readAll(stream: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** What a stream did until it closed, in order: connect, end, error:CODE, close. */
export function eventsOf(stream: Duplex): { readonly seen: string[]; readonly closed: Promise<void> } {
  const seen: string[] = [];
  stream.on('connect', () => seen.push('connect'));
  stream.on('end', () => seen.push('end'));
  stream.on('error', (error: NodeJS.ErrnoException) => seen.push(`error:${error.code}`));
  const closed = new Promise<void>((resolve) => {
    stream.on('close', () => {
      seen.push('close');
      resolve();
    });
  });
  return { seen, closed };
}

export function descriptors(): number {
  return readdirSync('/proc/self/fd').length;
}

/** A process of its own at the other end; see peer.ts for what it can be told to do. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  private constructor(child: ChildProcess) {
    this.#child = child;
    if (child.stdout === null) throw new Error('the peer has no output');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** Resolves when it listens. */
  static async start(addonPath: string, what: string, address: VsockAddress, ...more: string[]): Promise<Peer> {
    const args = [PEER, addonPath, what, String(address.port), ...more];
    const peer = new Peer(spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
    const ready = await peer.line();
    if (ready !== 'ready') throw new Error(`the peer said ${ready}`);
    return peer;
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('the peer ended');
    return value;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Highest resident memory, in MiB, looked at while something runs. */
export async function residentDuring<T>(work: Promise<T>): Promise<{ readonly result: T; readonly mebibytes: number }> {
  let most = process.memoryUsage.rss();
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage.rss());
  }, 20);
  try {
    return { result: await work, mebibytes: most / MEBIBYTE };
  } finally {
    clearInterval(timer);
  }
}
