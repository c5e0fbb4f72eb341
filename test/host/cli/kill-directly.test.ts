/** qv kill with scopes, and without a host: the order stays on disk, and goes to the enclave itself. */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { freezeDirectly } from '@quantumvault/host/cli/freeze-directly.ts';
import { parseMarker } from '@quantumvault/host/freeze-marker.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { ReplyOf } from '@quantumvault/shared/protocol/messages.ts';
import { formatTransportAddress, parseTransportAddress, type Transport } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { noteCode } from '../../support/codes-seen.ts';
import { until } from '../../support/temporary.ts';
import { Harness, person } from '../harness.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';

let harness: Harness;
const WALLET = person().address;
const admin = (): string[] => ['--admin', harness.path('admin.sock')];
const config = (): string[] => ['--config', harness.path('host.json')];
const because = ['--reason', 'keys were lost'];
const markers = () => readdirSync(harness.path('freezes'));
const orderOnDisk = () => parseMarker(readFileSync(join(harness.path('freezes'), String(markers()[0]))));

beforeEach(async () => {
  harness = await new Harness().start();
  writeFileSync(harness.path('host.json'), JSON.stringify(harness.configJson()));
});
afterEach(() => harness.stop());

function expectNotHeld(answer: JsonAnswer): void {
  expect(answer).toMatchObject({ ok: false, exit: 1, code: 'freeze_not_held' });
  noteCode(String(answer['code']));
}

describe('the scope', () => {
  test.each([
    ['wallet', '--wallet'],
    ['requester', '--requester'],
  ])('%s', async (kind, option) => {
    const answer = await qvJson('kill', option, WALLET, ...because, ...admin());
    expect(answer).toMatchObject({ ok: true, scope: `${kind}:${WALLET}`, allHold: true });
    expect([...harness.enclave.freezes.keys()]).toEqual([`${kind}:${WALLET}`]);
    const { stdout } = await qv('status', ...admin());
    expect(stdout).toContain('The deployment can sign.');
    for (const part of [`${kind}:${WALLET} since`, 'keys were lost', 'freeze 01']) expect(stdout).toContain(part);
  });

  test.each<[string, string[]]>([
    ['none', []],
    ['two', ['--all', '--wallet', WALLET]],
    ['wallet and requester', ['--requester', WALLET, '--wallet', WALLET]],
    ['one that is no address', ['--wallet', 'abc']],
    ['two of a kind', ['--wallet', WALLET, '--wallet', WALLET]],
  ])('%s is refused before anything happens', async (_, scope) => {
    expect(await qvJson('kill', ...scope, ...because, ...admin())).toMatchObject({ ok: false, exit: 2 });
    expect(harness.enclave.freezes.size).toBe(0);
  });

  test('an enclave that freezes everything instead is fine', async () => {
    const usual = harness.enclave.defaultHandler('freeze');
    harness.enclave.handlers.freeze = (body) => usual({ ...body, scope: 'fleet' });
    const answer = await qvJson('kill', '--wallet', WALLET, ...because, ...admin());
    expect(answer).toMatchObject({ ok: true, enclaves: [{ held: true, scope: 'fleet' }] });
    const { freezes } = await harness.admin('status', {});
    expect(freezes.map(({ scope }) => scope)).toEqual(['fleet', `wallet:${WALLET}`]);
  });

  test('an enclave that freezes another wallet instead is not', async () => {
    const usual = harness.enclave.defaultHandler('freeze');
    harness.enclave.handlers.freeze = (body) => usual({ ...body, scope: `wallet:${person().address}` });
    const answer = await qvJson('kill', '--wallet', WALLET, ...because, ...admin());
    expectNotHeld(answer);
    expect(JSON.stringify(answer['checks'])).toContain('evidence_mismatch (freezeAck.scope)');
  });
});

describe('without a host', () => {
  const kill = (...more: string[]) =>
    qvJson('kill', '--wallet', WALLET, ...because, '--admin', harness.path('nobody.sock'), ...more);

  test('the enclave holds, and the next start of the host takes the order over', async () => {
    await harness.host.close();
    const answer = await qvJson('kill', '--wallet', WALLET, ...because, ...config());
    expect(answer).toMatchObject({
      ok: true,
      exit: 0,
      allHold: false,
      host: { held: false, code: 'host_unavailable' },
      database: { held: false, code: 'host_unavailable' },
      enclaves: [{ enclave: `unix:${harness.path('control.sock')}`, held: true, boot: harness.enclave.boot }],
      marker: { held: true, elapsedMilliseconds: expect.any(Number) },
    });
    expect((answer['checks'] as { result: string }[]).map(({ result }) => result)).toEqual(['holds', 'not checked']);
    const [freezeId] = harness.enclave.freezes.get(`wallet:${WALLET}`) ?? [];
    expect(orderOnDisk()).toMatchObject({ scope: `wallet:${WALLET}`, reason: 'keys were lost', freezeId });
    await harness.startHost();
    const held = async () => (await harness.admin('status', {})).freezes;
    expect(await held()).toMatchObject([{ scope: `wallet:${WALLET}`, freezeId: toHex(freezeId ?? new Uint8Array()) }]);
    await until('the order is taken', () => markers().length === 0);
    await until('host and enclave have agreed', async () => (await harness.admin('status', {})).rowKey);
    // Under the id that the order was answered with.
    expect(harness.enclave.count('freeze')).toBe(1);
    expect(harness.rows('freezes')).toHaveLength(1);
  });

  test('it reads the same to people', async () => {
    const { exit, stdout } = await qv('kill', '--all', ...because, '--admin', harness.path('nobody.sock'), ...config());
    expect(exit).toBe(0);
    for (const part of ['Frozen in the enclave.', 'does NOT hold: host_unavailable', 'Order on disk', 'Freeze id'])
      expect(stdout).toContain(part);
  });

  test('an enclave that is gone, too: the order on disk is what holds', async () => {
    await harness.enclave.close();
    const answer = await kill(...config());
    expectNotHeld(answer);
    expect(answer).toMatchObject({
      enclaves: [{ held: false, code: 'enclave_unavailable' }],
      marker: { held: true },
      checks: [],
    });
    // The host that runs all the while finds it.
    await until('it holds', async () => (await harness.admin('status', {})).freezes.length === 1);
  });

  test('a disk that takes no order does not hold up the enclave', async () => {
    await harness.host.close();
    rmSync(harness.path('freezes'), { recursive: true });
    const answer = await kill(...config());
    expectNotHeld(answer);
    expect(answer).toMatchObject({ enclaves: [{ held: true }], marker: { held: false, code: 'output_unwritable' } });
    await harness.startHost();
  });

  test('a host that takes the connection and says nothing', async () => {
    const sockets = new Set<Socket>();
    const hung: Server = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => hung.listen(harness.path('hung.sock'), resolve));
    try {
      const answer = await qvJson('kill', '--all', ...because, '--admin', harness.path('hung.sock'), ...config());
      expect(answer).toMatchObject({ ok: true, enclaves: [{ held: true }], marker: { held: true } });
    } finally {
      for (const socket of sockets) socket.destroy();
      hung.close();
    }
  }, 15_000);

  test('addresses on the command line do as well as a configuration', async () => {
    const control = ['--control', `unix:${harness.path('control.sock')}`, '--markers', harness.path('freezes')];
    expect(await kill(...control)).toMatchObject({ ok: true, enclaves: [{ held: true }], marker: { held: true } });
    expect(await kill(...control.slice(0, 2))).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
    expect(await kill('--control', 'nonsense', ...control.slice(2))).toMatchObject({
      exit: 2,
      error: { code: 'address_malformed' },
    });
  });

  test('an enclave on vsock is told by the same path', async () => {
    const asked: string[] = [];
    // Never through a real socket of that kind, which would be this machine's.
    const transport: Transport = {
      ...unixTransport,
      connect: (address) => {
        asked.push(formatTransportAddress(address));
        return unixTransport.connect(parseTransportAddress(`unix:${harness.path('control.sock')}`));
      },
    };
    const direct = { control: parseTransportAddress('vsock:16:5001'), markers: harness.path('freezes') };
    const order = { scope: 'fleet', reason: 'keys were lost' };
    const { enclave, marker } = await freezeDirectly(direct, order, performance.now(), transport);
    expect([marker.held, enclave]).toMatchObject([true, { enclave: 'vsock:16:5001', held: true }]);
    expect(asked).toEqual(['vsock:16:5001']);
    expect(harness.enclave.phase).toBe('frozen');
  });

  test('a configuration that cannot be read is named, and only if it is needed', async () => {
    const missing = ['--config', harness.path('missing.json')];
    expect(await kill(...missing)).toMatchObject({ exit: 2, error: { code: 'input_unreadable' } });
    writeFileSync(harness.path('bad.json'), '{}');
    expect(await kill('--config', harness.path('bad.json'))).toMatchObject({ error: { code: 'config_invalid' } });
    expect(await qvJson('kill', '--all', ...because, ...admin(), ...missing)).toMatchObject({ ok: true });
  });

  test.each<[string, (reply: ReplyOf<'freeze'>) => ReplyOf<'freeze'>]>([
    [
      'a signature that does not verify',
      ({ ack, receipt }) => ({ ack: { ...ack, signature: new Uint8Array(64) as typeof ack.signature }, receipt }),
    ],
    [
      'bytes that are no acknowledgement',
      ({ receipt }) => ({ ack: { bytes: receipt.leaf, signature: receipt.signature }, receipt }),
    ],
  ])('%s fails, and is not put on disk', async (_, change) => {
    await harness.host.close();
    const usual = harness.enclave.defaultHandler('freeze');
    harness.enclave.handlers.freeze = async (body) => change((await usual(body)) as ReplyOf<'freeze'>);
    expectNotHeld(await kill(...config()));
    expect(orderOnDisk()).not.toHaveProperty('freezeId');
    delete harness.enclave.handlers.freeze;
    await harness.startHost();
  });

  test('an enclave of another deployment fails the check', async () => {
    writeFileSync(harness.path('host.json'), JSON.stringify({ ...harness.configJson(), deployment: 'other' }));
    const answer = await kill(...config());
    expectNotHeld(answer);
    expect(JSON.stringify(answer['checks'])).toContain('freezeAck.deployment');
  });
});
