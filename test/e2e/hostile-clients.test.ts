/** Clients that hold on, dribble, bomb and hang up, all at once against the host's process: nobody else notices, nothing is left. */
import { readdirSync, readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../stack/stack.ts';
import { type HttpKit, type HttpWallet, httpKit } from '../support/http-kit.ts';
import { until } from '../support/temporary.ts';

let stack: Stack;
let kit: HttpKit;
let wallet: HttpWallet;
beforeAll(async () => {
  stack = await startStack({ logLevel: 'warn', witnesses: 'none' });
  kit = httpKit(stack);
  wallet = await kit.openWallet();
});
afterAll(() => stack?.stop());

const descriptors = (): number => readdirSync(`/proc/${stack.host.pid}/fd`).length;
const residentMegabytes = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${stack.host.pid}/status`, 'latin1'))?.[1]) / 1024;

interface Hostile {
  readonly socket: Socket;
  /** What the host said before it hung up. */
  answer: string;
}

function open(head: string, allowHalfOpen = false): Hostile {
  const { hostname, port } = new URL(stack.url);
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen });
  const hostile: Hostile = { socket, answer: '' };
  socket.on('error', () => undefined);
  socket.on('data', (chunk) => {
    hostile.answer += chunk;
  });
  socket.write(head);
  return hostile;
}

/** Sends one more of these every half second until the host has had enough. */
function dribble(head: string, piece: string): Hostile {
  const hostile = open(head);
  const timer = setInterval(() => hostile.socket.write(piece), 500);
  hostile.socket.on('close', () => clearInterval(timer));
  return hostile;
}

const POST = 'POST /v1/sign HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n';
const many = (count: number, make: () => Hostile): Hostile[] => Array.from({ length: count }, make);
const code = ({ answer }: Hostile): string | undefined => /"code":"([a-z_]+)"/.exec(answer)?.[1];

describe('hostile clients', () => {
  it('keep nobody from signing, are hung up on, and leave nothing behind', { timeout: 120_000 }, async () => {
    expect((await kit.sign(wallet)).status).toBe(200);
    const before = { descriptors: descriptors(), megabytes: residentMegabytes() };
    const nested = `${'['.repeat(3_000)}${']'.repeat(3_000)}`;
    const whole = (body: string): string =>
      `${POST}webhook-id: x\r\nwebhook-timestamp: ${Math.floor(Date.now() / 1000)}\r\nwebhook-signature: v1a,${'A'.repeat(86)}==\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const groups = {
      'slow headers': many(60, () => dribble('GET /v1/log/boots HTTP/1.1\r\nhost: a\r\n', 'x: y\r\n')),
      'slow bodies': many(60, () => dribble(`${POST}content-length: 4000\r\n\r\n`, '{')),
      silence: many(30, () => open('')),
      'half a request, then the end': many(30, () => {
        const hostile = open(`${POST}content-length: 40\r\n\r\n{`, true);
        hostile.socket.end();
        return hostile;
      }),
      'bodies without end': many(20, () =>
        dribble(`${POST}transfer-encoding: chunked\r\n\r\n`, `4000\r\n${'x'.repeat(0x4000)}\r\n`),
      ),
      'nested bodies': many(20, () => open(whole(nested))),
      'duplicate keys': many(20, () => open(whole('{"purpose":"qv/sign/v1","purpose":"x"}'))),
      prototypes: many(20, () => open(whole('{"__proto__":{"dryRun":false}}'))),
      'header bombs': many(20, () => open(`GET /readyz HTTP/1.1\r\nhost: a\r\n${'x: y\r\n'.repeat(500)}\r\n`)),
    };
    const hostile = Object.values(groups).flat();
    const statuses = new Map<number, number>();
    let isOver = false;
    const honest = Array.from({ length: 4 }, async () => {
      while (!isOver) {
        const { status } = await kit.sign(wallet);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        await sleep(100);
      }
    });
    await until(
      'all of them were hung up on',
      () => hostile.every(({ socket }) => socket.destroyed || socket.closed),
      60_000,
    );
    isOver = true;
    await Promise.all(honest);
    expect([...statuses.keys()]).toEqual([200]);
    expect(statuses.get(200)).toBeGreaterThan(20);
    // What was a request at all was told what is wrong with it.
    expect(new Set(groups['nested bodies'].map(code))).toEqual(new Set(['json_malformed']));
    expect(new Set(groups['duplicate keys'].map(code))).toEqual(new Set(['json_malformed']));
    expect(new Set(groups['prototypes'].map(code))).toEqual(new Set(['json_malformed']));
    expect(new Set(groups['bodies without end'].map(code))).toEqual(new Set(['body_too_large']));
    expect(new Set(groups['header bombs'].map(code))).toEqual(new Set(['headers_too_large']));
    await until('their descriptors are free', () => descriptors() <= before.descriptors + 8, 20_000);
    expect(residentMegabytes() - before.megabytes).toBeLessThan(96);
    expect((await fetch(`${stack.url}/readyz`)).status).toBe(200);
  });
});
