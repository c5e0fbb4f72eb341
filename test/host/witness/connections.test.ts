/** What a peer may hold of a witness. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TestLog, type TestWitness, testWitness } from './kit.ts';

let witness: TestWitness;
const LIMITS = {
  perAddress: 3,
  idleMilliseconds: 1_500,
  requestMilliseconds: 1_200,
  headersMilliseconds: 800,
  checkMilliseconds: 50,
};
beforeEach(async () => {
  witness = await testWitness({ limits: LIMITS });
});
afterEach(() => witness.remove());

interface Peer {
  readonly socket: Socket;
  readonly closed: Promise<unknown>;
  said: string;
}

async function connect(): Promise<Peer> {
  const { hostname, port } = new URL(witness.url);
  const socket = createConnection({ host: hostname, port: Number(port) });
  const peer: Peer = { socket, closed: new Promise((resolve) => socket.once('close', resolve)), said: '' };
  socket.on('data', (chunk) => {
    peer.said += chunk;
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return peer;
}

/** Sends a byte now and then until the connection is gone. */
async function drip({ socket, closed }: Peer): Promise<number> {
  const started = performance.now();
  const timer = setInterval(() => socket.write('A'), 20);
  await closed;
  clearInterval(timer);
  return performance.now() - started;
}

describe('a slow peer', () => {
  it('has so long for its headers', async () => {
    const peer = await connect();
    peer.socket.write('POST /add-checkpoint HTTP/1.1\r\nhost: a\r\nx: ');
    expect(await drip(peer)).toBeLessThan(5_000);
    expect(peer.said).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('has so long for its body, whose rest is not waited for', async () => {
    const peer = await connect();
    peer.socket.write('POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n');
    expect(await drip(peer)).toBeLessThan(5_000);
    expect(peer.said).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('says nothing and is hung up', async () => {
    const peer = await connect();
    await peer.closed;
  });

  it('says nothing more in the middle and is hung up, whatever time there is for the whole', async () => {
    const patient = { headersMilliseconds: 60_000, requestMilliseconds: 60_000, idleMilliseconds: 300 };
    await witness.remove();
    witness = await testWitness({ limits: { ...LIMITS, ...patient } });
    const peer = await connect();
    peer.socket.write('POST /add-checkpoint HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nA');
    await peer.closed;
    expect(peer.said).toBe('');
  });

  it('goes away in the middle, and the witness goes on', async () => {
    for (let round = 0; round < 10; round++) {
      const { socket, closed } = await connect();
      socket.write('POST /add-log HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n{');
      socket.resetAndDestroy();
      await closed;
    }
    const log = await TestLog.boot();
    expect((await witness.addLog(log.bootRecord)).status).toBe(200);
    expect((await witness.addCheckpoint(log.request(0))).status).toBe(200);
    expect(witness.logLines.filter((line) => line.includes('unexpected fault'))).toEqual([]);
  });
});

it('no one address takes all connections', async () => {
  const peers = [await connect(), await connect(), await connect()];
  const over = await connect();
  await over.closed;
  expect(peers.every(({ socket }) => !socket.destroyed)).toBe(true);
  for (const { socket } of peers) socket.destroy();
});

it('bytes that are not HTTP are answered and end the connection', async () => {
  for (const bytes of ['nonsense\r\n\r\n', 'POST /add-checkpoint HTTP/1.1\r\n\r\n', '\u0000\u0001\r\n\r\n']) {
    const peer = await connect();
    peer.socket.write(bytes);
    await peer.closed;
    expect(peer.said).toMatch(/^HTTP\/1\.1 400 /);
  }
});
