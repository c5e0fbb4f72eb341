/** qv doctor on hosts that are dead, hang, or are others. */
import { linkSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { bad, closedPort, closing, findings, harness, of, patient, serve } from './patient.ts';

patient();

describe('a host that does not answer', () => {
  test('is dead: everything else is examined all the same', async () => {
    await harness.host.close();
    const found = await findings({ listen: { host: '127.0.0.1', port: await closedPort() } });
    expect(bad(found).map(({ check }) => check)).toEqual(['admin-socket', 'http']);
    expect(found.find(({ check }) => check === 'admin-socket')).toMatchObject({
      found: expect.stringContaining('no host has made it'),
      fix: expect.stringContaining('journalctl'),
      code: 'host_unavailable',
    });
    expect(found.filter(({ check, health }) => check === 'database' && health === 'ok')).toHaveLength(2);
    expect(found.find(({ check }) => check === 'enclave')).toMatchObject({ health: 'ok' });
    expect(found.find(({ check }) => check === 'credentials')).toMatchObject({
      health: 'ok',
      found: 'the file’s are valid',
    });
    await harness.startHost();
  });

  test('hangs', async () => {
    const sockets = new Set<Socket>();
    const hung = createServer((socket) => sockets.add(socket));
    await new Promise<void>((resolve) => hung.listen(harness.path('hung.sock'), resolve));
    closing.push(() => {
      for (const socket of sockets) socket.destroy();
      hung.close();
    });
    expect(await of('admin-socket', { adminSocket: { path: harness.path('hung.sock') } })).toMatchObject([
      { health: 'failed', fix: expect.stringContaining('hangs'), code: 'host_unavailable' },
    ]);
  }, 20_000);

  test('has died and left its socket', async () => {
    const path = harness.path('stale.sock');
    const stale = createServer();
    await new Promise<void>((resolve) => stale.listen(path, resolve));
    // Closing removes one of its names; a host that was killed removes none.
    linkSync(path, `${path}.left`);
    await new Promise<void>((resolve) => stale.close(() => resolve()));
    expect(await of('admin-socket', { adminSocket: { path: `${path}.left` } })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('left behind by a host that is dead') },
    ]);
  });

  test('is one of another deployment', async () => {
    expect(await of('admin-socket', { deployment: 'other' })).toMatchObject([
      { health: 'failed', found: expect.stringContaining('of deployment test, the configuration of other') },
    ]);
  });

  test('HTTP goes elsewhere, or to something else', async () => {
    const nobody = { listen: { host: '127.0.0.1', port: await closedPort() } };
    expect(await of('http', nobody)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('ECONNREFUSED'), code: 'host_unreachable' },
    ]);
    // Ends for its reader alone.
    const endless = await serve((_, response) => {
      const more = setInterval(() => response.write('x'.repeat(100_000)), 1);
      response.on('close', () => clearInterval(more));
    });
    expect(await of('http', {}, endless)).toMatchObject([{ health: 'failed' }]);
    const other = await serve((_, response) => response.end('hello'));
    expect(await of('http', {}, other)).toMatchObject([
      { health: 'failed', found: expect.stringContaining('not as a host') },
    ]);
    expect(await of('http', { listen: { host: '127.0.0.1', port: 0 } })).toMatchObject([{ health: 'skipped' }]);
  });
});
