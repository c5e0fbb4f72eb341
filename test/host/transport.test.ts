/** Which connections take which way; vsock itself is tested inside virtual machines alone. */
import { existsSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { freezeDirectly } from '@quantumvault/host/cli/freeze-directly.ts';
import { parseHostConfig } from '@quantumvault/host/config.ts';
import { createLog } from '@quantumvault/host/log.ts';
import { startHost } from '@quantumvault/host/start.ts';
import { hostTransport } from '@quantumvault/host/transport.ts';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { ERRORS } from '@quantumvault/shared/errors.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectCode } from '../support/codes.ts';
import { temporaryFolder } from '../support/temporary.ts';

const VSOCK = parseTransportAddress('vsock:16:5000');
let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());
const path = (name: string): string => join(folder.path, name);

describe('without the addon', () => {
  it('Unix sockets work', async () => {
    const transport = hostTransport({ addon: path('nothing.node') });
    const address = parseTransportAddress(`unix:${path('there.sock')}`);
    const listener = await transport.listen(address, (stream) => stream.end('there'));
    const read = async (stream: AsyncIterable<Uint8Array>): Promise<string> => {
      let all = '';
      for await (const chunk of stream) all += Buffer.from(chunk).toString();
      return all;
    };
    const stream = transport.connect(address);
    expect(await read(stream)).toBe('there');
    stream.end();
    expect(await read(createConnection(path('there.sock')).end())).toBe('there');
    await listener.close();
  });

  it.each(['nothing.node', 'broken.node'])('vsock is native_missing, with what to do (%s)', async (name) => {
    writeFileSync(path('broken.node'), 'not a shared object');
    const transport = hostTransport({ addon: path(name), acceptFrom: 16 });
    await expectCode(() => transport.connect(VSOCK), 'native_missing');
    const error = await expectCode(
      transport.listen(VSOCK, () => undefined),
      'native_missing',
    );
    expect(error.facts.path).toBe(path(name));
    expect(ERRORS.native_missing.meaning).toContain('npm run build:native');
  });

  it('a host whose enclave is on vsock does not start, and leaves nothing behind', async () => {
    writeFileSync(path('credentials.json'), '{"accessKeyId":"AKIA","secretAccessKey":"key"}', { mode: 0o600 });
    const config = parseHostConfig(
      utf8(
        JSON.stringify({
          deployment: 'test',
          listen: { host: '127.0.0.1', port: 0 },
          adminSocket: { path: path('admin.sock') },
          enclave: { data: 'vsock:16:5000', control: 'vsock:16:5001' },
          store: { sqlite: path('host.db') },
          kmsTunnel: { listen: 'vsock:3:5002', endpoint: '127.0.0.1:1' },
          credentialsFile: path('credentials.json'),
        }),
      ),
    );
    const transport = hostTransport({ addon: path('nothing.node'), acceptFrom: 16 });
    await expectCode(startHost(config, { transport, log: createLog('silent') }), 'native_missing');
    expect(existsSync(path('admin.sock'))).toBe(false);
  });

  it('an order without a host is left on disk, and the report says what is missing', async () => {
    const order = { scope: 'fleet', reason: 'none works' };
    const transport = hostTransport({ addon: path('nothing.node') });
    const direct = { control: VSOCK, markers: folder.path };
    const { marker, enclave } = await freezeDirectly(direct, order, performance.now(), transport);
    expect(marker.held).toBe(true);
    expect(enclave).toEqual({ enclave: 'vsock:16:5000', held: false, code: 'native_missing' });
  });
});
