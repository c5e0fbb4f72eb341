import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { EnclaveClient, EnclaveRefusal } from '@quantumvault/host/enclave/client.ts';
import { silentLog } from '@quantumvault/host/log.ts';
import { encodeReply } from '@quantumvault/shared/protocol/messages.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { FakeEnclave, Refused } from '../support/fake-enclave.ts';
import { temporaryFolder, until } from '../support/temporary.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let path: string;
let enclave: FakeEnclave;
const clients: EnclaveClient[] = [];

function client(
  bounds: {
    inFlightRequests?: number;
    inFlightReserved?: number;
    inFlightBytes?: number;
    inFlightReservedBytes?: number;
  } = {},
): EnclaveClient {
  const made = new EnclaveClient({
    address: parseTransportAddress(`unix:${path}`),
    transport: unixTransport,
    log: silentLog,
    inFlightReserved: 0,
    inFlightReservedBytes: 0,
    ...bounds,
  });
  clients.push(made);
  made.connect();
  return made;
}

beforeEach(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'enclave.sock');
  enclave = new FakeEnclave();
  await enclave.listen(path);
});
afterEach(async () => {
  for (const made of clients.splice(0)) made.close();
  await enclave.close();
  await folder.remove();
});

const nonce = (byte: number) => ({ nonce: new Uint8Array(16).fill(byte) });

describe('enclave client', () => {
  it('matches replies that come in another order', async () => {
    enclave.handlers.attest = async ({ nonce: [first = 0] }) => {
      await new Promise((resolve) => setTimeout(resolve, 50 - first * 10));
      return { document: new Uint8Array([first]) };
    };
    const made = client();
    const answers = await Promise.all([1, 2, 3, 4].map((byte) => made.request('attest', nonce(byte))));
    expect(answers.map(({ document }) => document[0])).toEqual([1, 2, 3, 4]);
  });

  it('throws refusals with code, facts and receipt', async () => {
    const receipt = enclave.leaf({ kind: 'denied', rule: 'r' });
    enclave.handlers.attest = () => {
      throw new Refused({ code: 'policy_denied', path: 'sol', value: '9', receipt });
    };
    const error = await expectCode(client().request('attest', nonce(1)), 'policy_denied');
    expect(error).toBeInstanceOf(EnclaveRefusal);
    expect(error.facts).toEqual({ path: 'sol', value: '9' });
    expect((error as EnclaveRefusal).receipt).toEqual(receipt);
  });

  it('gives up at the deadline and reports a late decision', async () => {
    let release = () => {};
    enclave.handlers.attest = () =>
      new Promise((resolve) => {
        release = () => resolve({ document: new Uint8Array([1]) });
      });
    const made = client();
    const late: unknown[] = [];
    const asked = made.request('attest', nonce(1), { timeoutMilliseconds: 50, onLate: (reply) => late.push(reply) });
    await expectCode(asked, 'deadline_exceeded');
    release();
    await until('the late reply came', () => late.length === 1);
    expect(late).toEqual([{ document: new Uint8Array([1]) }]);
    expect((await made.request('status', {})).phase).toBe('serving');
  });

  it('is overloaded beyond its count, and hangs up on a peer that answers none', async () => {
    enclave.handlers.attest = () => 'hang';
    const made = client({ inFlightRequests: 3 });
    const stuck = [1, 2, 3].map((byte) => made.request('attest', nonce(byte), { timeoutMilliseconds: 300 }));
    const outcomes = Promise.allSettled(stuck);
    await expectCode(made.request('attest', nonce(4)), 'overloaded');
    const codes = (await outcomes).map((outcome) => outcome.status === 'rejected' && outcome.reason.code);
    expect(codes[0]).toBe('deadline_exceeded');
    await until('it reconnected', async () => (await made.request('status', {}).catch(() => undefined)) !== undefined);
    expect(made.connection).toBe(2);
  });

  it('keeps room for urgent questions', async () => {
    enclave.handlers.attest = () => 'hang';
    const made = client({ inFlightRequests: 3, inFlightReserved: 1 });
    const stuck = [1, 2].map((byte) => expectCode(made.request('attest', nonce(byte)), 'enclave_unavailable'));
    await expectCode(made.request('status', {}), 'overloaded');
    expect((await made.request('status', {}, { urgent: true })).phase).toBe('serving');
    made.drop();
    await Promise.all(stuck);
  });

  it('keeps bytes for urgent questions: what waits for witnesses cannot keep their checkpoint out', async () => {
    enclave.handlers.attest = () => 'hang';
    const made = client({ inFlightBytes: 80, inFlightReservedBytes: 40 });
    const stuck = expectCode(made.request('attest', nonce(1)), 'enclave_unavailable');
    await expectCode(made.request('attest', nonce(2)), 'overloaded');
    expect((await made.request('status', {}, { urgent: true })).phase).toBe('serving');
    made.drop();
    await stuck;
  });

  it('is overloaded beyond its bytes', async () => {
    enclave.handlers.attest = () => 'hang';
    const made = client({ inFlightBytes: 40 });
    const first = made.request('attest', nonce(1));
    const second = expectCode(made.request('attest', nonce(2)), 'overloaded');
    const third = expectCode(made.request('attest', nonce(3)), 'overloaded');
    await second;
    await third;
    made.drop();
    await expectCode(first, 'enclave_unavailable');
  });

  it('fails what is in flight when the connection breaks, then reconnects', async () => {
    enclave.handlers.attest = () => 'drop';
    const made = client();
    await expectCode(made.request('attest', nonce(1)), 'enclave_unavailable');
    await expectCode(made.request('status', {}), 'enclave_unavailable');
    await until('it reconnected', async () => (await made.request('status', {}).catch(() => undefined)) !== undefined);
  });

  it('has no enclave: fails at once, and finds it when it comes', async () => {
    await enclave.close();
    const made = client();
    await expectCode(made.request('status', {}), 'enclave_unavailable');
    await enclave.listen(path);
    await until('it connected', async () => (await made.request('status', {}).catch(() => undefined)) !== undefined);
  });

  const malformed: [string, Parameters<typeof setReply>[0]][] = [
    ['a length of zero', { raw: new Uint8Array(4) }],
    ['a length beyond the limit', { raw: Uint8Array.of(0xff, 0xff, 0xff, 0xff) }],
    ['bytes that are not CBOR', { frame: Uint8Array.of(0xff) }],
    ['a reply to nothing', { frame: encodeReply(77, 'credentials', {}) }],
    ['neither body nor refusal', { frame: Uint8Array.of(0xa1, 0x00, 0x01) }],
  ];
  function setReply(reply: { raw: Uint8Array } | { frame: Uint8Array }) {
    enclave.handlers.attest = () => reply;
  }
  it.each(malformed)('hangs up on %s', async (_, reply) => {
    setReply(reply);
    const made = client();
    await expectCode(made.request('attest', nonce(1), { timeoutMilliseconds: 5_000 }), 'enclave_unavailable');
    await until('it reconnected', () => made.connection === 2);
  });

  it('fails one request for a body that does not parse, and no other', async () => {
    setReply({ frame: encodeReply(1, 'credentials', {}) });
    const made = client();
    await expectCode(made.request('attest', nonce(1), { timeoutMilliseconds: 5_000 }), 'internal');
    await made.request('status', {});
    expect(made.connection).toBe(1);
  });

  it('hangs up when a frame is cut short', async () => {
    await enclave.close();
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
      socket.end(Uint8Array.of(0, 0, 0, 9, 1));
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expectCode(client().request('status', {}), 'enclave_unavailable');
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => server.close(resolve));
  });

  it('refuses vsock in a build without its driver', async () => {
    const made = new EnclaveClient({
      address: parseTransportAddress('vsock:16:5000'),
      transport: unixTransport,
      log: silentLog,
    });
    await expectCode(() => made.connect(), 'transport_unsupported');
  });
});
