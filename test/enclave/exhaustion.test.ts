/**
 * What anybody on the parent can do to the enclave by connecting to it: vsock knows machines, not users, so these are
 * not only the host's root. Nobody locks the others out by holding on, and nobody fills the enclave's memory.
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { boot, type Enclave } from '@quantumvault/enclave/boot.ts';
import { type Handlers, InFlight, serve } from '@quantumvault/enclave/server.ts';
import { EnclaveClient } from '@quantumvault/host/enclave/client.ts';
import type { Log } from '@quantumvault/host/log.ts';
import { framePieces, readFrames } from '@quantumvault/shared/frames.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { decodeReplyHead, encodeRequest } from '@quantumvault/shared/protocol/messages.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../support/temporary.ts';
import { bootOptions } from '../support/vault.ts';

const silent = (): void => undefined;
const log = { info: silent, warn: silent, error: silent, debug: silent } as unknown as Log;

describe('connections that are held', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qv-exhaustion-'));
  const path = (name: string): string => join(folder, name);
  const address = (name: string) => parseTransportAddress(`unix:${path(name)}`);
  let enclave: Enclave;
  beforeAll(async () => {
    enclave = await boot(await bootOptions(folder));
  });
  afterAll(async () => {
    await enclave?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  function client(name: string): EnclaveClient {
    const made = new EnclaveClient({ address: address(name), transport: unixTransport, log });
    made.connect();
    return made;
  }

  /** As many as there is room for, and a few more; each asks for the status if it `asks`. */
  async function occupy(name: string, asks: boolean): Promise<Socket[]> {
    const sockets: Socket[] = [];
    for (let count = 0; count < LIMITS.connections + 3; count++) {
      const socket = connect(path(name)).on('error', silent);
      sockets.push(socket);
      await once(socket, 'connect');
      if (!asks) continue;
      for (const piece of framePieces(encodeRequest(1, 'status', {}))) socket.write(piece);
      await Promise.race([once(socket, 'data'), once(socket, 'close')]);
    }
    return sockets;
  }

  it.each([
    { name: 'data', asks: false },
    { name: 'control', asks: false },
    { name: 'data', asks: true },
    { name: 'control', asks: true },
  ])('lock nobody out of $name, asking something or not ($asks)', async ({ name, asks }) => {
    const sockets = await occupy(name, asks);
    const late = client(name);
    expect((await late.request('status', {})).phase).not.toBe('booting');
    const left = sockets.filter((socket) => !socket.destroyed && !socket.readableEnded);
    // The place of one, or of a few, and not of all.
    expect(left.length).toBeGreaterThan(LIMITS.connections - 8);
    late.close();
    for (const socket of sockets) socket.destroy();
  });

  it('do not take the place of who has asked something', async () => {
    const host = client('data');
    await host.request('status', {});
    const connection = host.connection;
    const sockets = await occupy('data', false);
    await until('somebody was hung up on', () => sockets.some((socket) => socket.readableEnded || socket.destroyed));
    await host.request('status', {});
    expect(host.connection).toBe(connection);
    host.close();
    for (const socket of sockets) socket.destroy();
  });

  it('do not take the place of who waits for an answer', async () => {
    const host = client('data');
    const { leaves } = await host.request('status', {});
    const connection = host.connection;
    // Asks for a checkpoint that there is none of yet: an answer that takes its time.
    const waiting = host.request('checkpoint', { after: leaves });
    const sockets = await occupy('data', true);
    expect((await waiting).note.length).toBeGreaterThan(0);
    expect(host.connection).toBe(connection);
    host.close();
    for (const socket of sockets) socket.destroy();
  });
});

describe('a peer that asks and does not read', () => {
  it('is refused what it could not be told, and gets an answer to each request once it reads', async () => {
    const [near, far] = duplexPair({ highWaterMark: 1024 });
    let handled = 0;
    const note = new Uint8Array(LIMITS.checkpointBytes).fill(1);
    const checkpoint = () => {
      handled++;
      return { note };
    };
    serve({ stream: near, underWay: 0, asked: silent }, new InFlight(), {
      phase: () => 'serving',
      handlers: { checkpoint } as unknown as Handlers,
      names: ['checkpoint'],
      stopOf: () => undefined,
      outboxes: new Set(),
      log: silent,
    });
    // As many as may be under way at once.
    const requests = LIMITS.inFlightRequests;
    const frames = Array.from({ length: requests }, (_, id) => framePieces(encodeRequest(id, 'checkpoint', {})));
    far.write(Buffer.concat(frames.flat()));
    let turns = 0;
    await until('it has looked at all of them', () => turns++ > requests / 100);
    expect(handled).toBeGreaterThan(0);
    // Replies that wait, in front of what little there is between the two.
    expect(handled).toBeLessThanOrEqual(LIMITS.outboxFullFrames + 2);
    const answers = new Map<number, string>();
    readFrames(far, (payload) => {
      const { id, read } = decodeReplyHead(payload);
      const reply = read('checkpoint') as object;
      answers.set(id, 'code' in reply ? String(reply.code) : 'answered');
    });
    await until('each has its answer', () => answers.size === requests);
    const outcomes = [...answers.values()];
    expect(new Set(outcomes)).toEqual(new Set(['answered', 'overloaded']));
    expect(outcomes.filter((outcome) => outcome === 'answered')).toHaveLength(handled);
    // Who reads is served again.
    for (const piece of framePieces(encodeRequest(requests, 'checkpoint', {}))) far.write(piece);
    await until('the next is answered', () => answers.get(requests) === 'answered');
    near.destroy();
  });
});
