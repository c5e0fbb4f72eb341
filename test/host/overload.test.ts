/** One peer, or many anonymous ones, do not keep the others out. */
import { readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { verifyEd25519 } from '@quantumvault/host/ed25519.ts';
import { LoopLoad } from '@quantumvault/host/loop-load.ts';
import { RequesterKeys } from '@quantumvault/host/requester-keys.ts';
import { addressBytes, type Signature, signature } from '@quantumvault/shared/brands.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { parsePolicy, policyBytes, policyFromBytes } from '@quantumvault/shared/policy/policy.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { expectCode, expectProblem } from '../support/codes.ts';
import { until } from '../support/temporary.ts';
import { Harness, type Person, person } from './harness.ts';

let host: Harness;
beforeAll(async () => {
  host = new Harness();
  host.connectionLimits = { perAddress: 6, idleMilliseconds: 400, responseMilliseconds: 600 };
  await host.start();
  await host.createWallet();
  await host.enablePolicy();
});
afterAll(() => host.stop());

const open: Socket[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  for (const socket of open.splice(0)) socket.destroy();
});

/** A client that sends `text` and does not read by itself. */
function connect(text = ''): Socket {
  const { port, hostname } = new URL(host.host.url);
  const socket = createConnection({ port: Number(port), host: hostname });
  socket.pause();
  socket.on('error', () => {});
  socket.write(text);
  open.push(socket);
  return socket;
}

/** Enough to fill the buffers of both kernels. */
const MANY = 'GET /verify HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(60);

/** How many of ours the host still has open. Asked of the kernel, because a client that does not read hears nothing. */
const connections = (): number => {
  const hex = (port: number): string => `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const local = hex(Number(new URL(host.host.url).port));
  const remotes = open.map(({ localPort = 0 }) => hex(localPort));
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, from = '', to = '', state]) => {
      const isEstablished = state === '01';
      return isEstablished && from.endsWith(local) && remotes.some((remote) => to.endsWith(remote));
    }).length;
};

describe('connections', () => {
  it('a client that asks and never reads loses its connection', async () => {
    for (let index = 0; index < 3; index++) connect(MANY);
    await until('they are there', () => connections() === 3);
    await until('the host has closed them', () => connections() === 0, 5_000);
    expect((await host.get('/healthz')).status).toBe(200);
  });

  it('so does one that reads a little now and then', async () => {
    const socket = connect(MANY);
    let bytes = 0;
    const sip = setInterval(() => {
      bytes += (socket.read(4_096) as Buffer | null)?.length ?? 0;
    }, 100);
    try {
      await until('it is there', () => connections() === 1);
      await until('the host has closed it', () => connections() === 0, 5_000);
      expect(bytes).toBeGreaterThan(0);
    } finally {
      clearInterval(sip);
    }
  });

  it('one address gets so many and no more, and gets them back', async () => {
    const sockets = Array.from({ length: 12 }, () => connect());
    const closed = new Set<Socket>();
    for (const socket of sockets) socket.resume().once('close', () => closed.add(socket));
    await until('those beyond the limit are closed', () => closed.size >= 6);
    await until('idle ones end, too', () => closed.size === 12);
    expect((await host.get('/healthz')).status).toBe(200);
  });
});

describe('an event loop that is late', () => {
  it('refuses requests and says when to come back; health and admin are answered', async () => {
    vi.spyOn(LoopLoad.prototype, 'isLate', 'get').mockReturnValue(true);
    for (const response of [await host.sign(), await host.get('/verify'), await host.get('/nowhere')]) {
      expect(response.headers.get('retry-after')).toBe(String(LIMITS.overloadRetrySeconds));
      await expectProblem(response, 'overloaded');
    }
    expect((await host.get('/healthz')).status).toBe(200);
    expect((await host.get('/readyz')).status).toBe(200);
    expect(await host.admin('status', {})).toMatchObject({ deployment: 'test' });
    // The stop button looks at what it is given: here at nothing.
    await expectProblem(await host.send('POST', '/v1/freeze', {}), 'field_malformed');
  });

  it('is found late, and in time again', async () => {
    const load = new LoopLoad(20, 50);
    try {
      expect(load.isLate).toBe(false);
      await until('it is late', () => {
        const end = performance.now() + 60;
        while (performance.now() < end);
        return load.isLate;
      });
      await until('it has recovered', () => !load.isLate);
    } finally {
      load.close();
    }
  });
});

describe('requester keys', () => {
  const policyOf = (...requesters: readonly Person[]): Uint8Array =>
    policyBytes(parsePolicy(host.policyJson({ requesters: requesters.map(({ address }) => address) })));
  const content = utf8('content');
  const by = (signer: Person): Signature => signature(signer.sign(content));

  it('finds who signed among all of a policy', async () => {
    const requesters = Array.from({ length: LIMITS.requesters }, person);
    const keys = new RequesterKeys();
    for (const who of [requesters[0], requesters.at(-1)]) {
      if (who === undefined) throw new Error('no requester');
      expect(await keys.signerOf(policyOf(...requesters), by(who), content)).toBe(who.address);
    }
    await expectCode(keys.signerOf(policyOf(...requesters), by(person()), content), 'request_signature_invalid');
    expect(keys.size).toBe(1);
  });

  it('keeps policies apart, and only so many', async () => {
    const [first, second] = [person(), person()];
    const keys = new RequesterKeys({ policies: 2, concurrent: 10 });
    for (const who of [first, second, first, person()]) await keys.signerOf(policyOf(who), by(who), content);
    expect(keys.size).toBe(2);
    await expectCode(keys.signerOf(policyOf(first), by(second), content), 'request_signature_invalid');
  });

  it('refuses more at once than it may, and recovers', async () => {
    const who = person();
    const keys = new RequesterKeys({ policies: 2, concurrent: 2 });
    const ask = (): Promise<unknown> => keys.signerOf(policyOf(who), by(who), content);
    const under = [ask(), ask()];
    await expectCode(ask(), 'overloaded');
    await Promise.all(under);
    expect(await ask()).toBe(who.address);
  });

  it('a forged request costs the event loop less than parsing and verifying on it', async () => {
    const requesters = Array.from({ length: LIMITS.requesters }, person);
    const policy = policyOf(...requesters);
    const forged = by(person());
    const keys = new RequesterKeys();
    const onTheLoop = async (): Promise<void> => {
      for (const key of policyFromBytes(policy).requesters) verifyEd25519(forged, content, addressBytes(key));
    };
    const cached = (): Promise<unknown> => keys.signerOf(policy, forged, content).catch(() => {});
    // The best of several, and one against the other: other processes slow both down.
    const [before, after] = [await leastActive(onTheLoop), await leastActive(cached)];
    expect(after).toBeLessThan(before * 0.7);
  });
});

/** Milliseconds of the event loop that ten calls take, at best. */
async function leastActive(work: () => Promise<unknown>): Promise<number> {
  const found: number[] = [];
  for (let round = 0; round < 10; round++) {
    await setImmediate();
    const start = performance.eventLoopUtilization();
    for (let index = 0; index < 10; index++) await work();
    found.push(performance.eventLoopUtilization(start).active);
  }
  return Math.min(...found);
}
