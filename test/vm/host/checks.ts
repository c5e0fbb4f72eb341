/** The host's own process and `qv`, over AF_VSOCK: what they do with an enclave at `vsock:1:…`, in a guest. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { adminCall } from '@quantumvault/host/cli/admin-client.ts';
import { hostTransport } from '@quantumvault/host/transport.ts';
import { parseTransportAddress } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import type { FakeEnclave } from '../../support/fake-enclave.ts';
import { until } from '../../support/temporary.ts';
import type { Check } from '../checks.ts';

const HOST = join(import.meta.dirname, '..', '..', '..', 'host', 'src');
const FOLDER = '/run/qv';
const path = (name: string): string => join(FOLDER, name);
const vsock = (cid: number, port: number): string => `vsock:${cid}:${port}`;
/** VMADDR_CID_LOCAL: everybody in the guest. */
const LOCAL = 1;
/** Software emulation with two processes to start. */
const PATIENCE = 120_000;

export interface Guest {
  readonly enclave: FakeEnclave;
  host: ChildProcess | undefined;
  url: string;
}

const files = ['admin.sock', 'host.json', 'credentials.json'] as const;

/** `cid`: of the enclave. */
async function startHost(guest: Guest, cid: number, endpointPort: number): Promise<void> {
  const [adminSocket, config, credentials] = files.map(path) as [string, string, string];
  writeFileSync(credentials, '{"accessKeyId":"AKIA","secretAccessKey":"key"}', { mode: 0o600 });
  writeFileSync(
    config,
    JSON.stringify({
      deployment: 'test',
      listen: { host: '127.0.0.1', port: 0 },
      adminSocket: { path: adminSocket },
      enclave: { data: vsock(cid, 5000), control: vsock(cid, 5001) },
      store: { sqlite: path(`host-${cid}.db`) },
      kmsTunnel: { listen: vsock(cid === LOCAL ? LOCAL : 3, 5002), endpoint: `127.0.0.1:${endpointPort}` },
      credentialsFile: credentials,
      logLevel: 'warn',
    }),
  );
  const child = spawn(process.execPath, [join(HOST, 'main.ts'), '--config', config], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  guest.host = child;
  const died = once(child, 'exit').then(([code, signal]) => {
    throw new Error(`the host ended with ${String(code ?? signal)}`);
  });
  died.catch(() => undefined);
  const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), died])) as [string];
  guest.url = String((JSON.parse(line) as Record<string, unknown>)['http']);
}

async function stopHost(guest: Guest, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
  const exit = guest.host && once(guest.host, 'exit');
  guest.host?.kill(signal);
  await exit;
  guest.host = undefined;
}

/** Not spawnSync: the enclave is played by this process. */
async function qv(...args: string[]): Promise<{ exit: number | null; answer: Record<string, unknown> }> {
  const child = spawn(process.execPath, [join(HOST, 'cli', 'qv.ts'), ...args, '--json']);
  const exit = once(child, 'exit') as Promise<[number | null]>;
  const [stdout, stderr] = await Promise.all([text(child.stdout), text(child.stderr)]);
  if (stdout === '') throw new Error(stderr);
  return { exit: (await exit)[0], answer: JSON.parse(stdout) as Record<string, unknown> };
}

function expect(what: string, holds: boolean, facts?: unknown): void {
  if (!holds) throw new Error(`${what}: ${JSON.stringify(facts)}`);
}

/** An endpoint of the tunnel that sends back what it gets. */
async function echoServer(): Promise<{ port: number; connections: () => number; close: () => void }> {
  let connections = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections++;
    socket.on('error', () => undefined);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { port, connections: () => connections, close: () => server.close() };
}

/** Through the tunnel and back; what arrived before the end or the loss. */
async function throughTunnel(bytes: Uint8Array): Promise<Buffer> {
  const stream = hostTransport().connect(parseTransportAddress(vsock(LOCAL, 5002)));
  const chunks: Buffer[] = [];
  stream.on('error', () => undefined);
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  const over = new Promise<void>((resolve) => {
    stream.once('end', resolve);
    stream.once('close', resolve);
  });
  stream.end(bytes);
  await over;
  stream.destroy();
  return Buffer.concat(chunks);
}

/** The enclave's two addresses, carried to the fake one, which listens on Unix sockets. */
export async function serveEnclave(enclave: FakeEnclave): Promise<void> {
  const transport = hostTransport({ acceptFrom: LOCAL });
  for (const [name, port] of [
    ['data', 5000],
    ['control', 5001],
  ] as const) {
    await enclave.listen(path(`${name}.sock`));
    await transport.listen(parseTransportAddress(vsock(LOCAL, port)), (near) => {
      const far = unixTransport.connect(parseTransportAddress(`unix:${path(`${name}.sock`)}`));
      pipeline(near, far).catch(() => undefined);
      pipeline(far, near).catch(() => undefined);
    });
  }
}

export const HOST_CHECKS: readonly Check<Guest>[] = [
  {
    name: 'the host process is ready with an enclave on vsock, and qv says so',
    limitSeconds: 240,
    run: async (guest) => {
      const echo = await echoServer();
      try {
        await startHost(guest, LOCAL, echo.port);
        await until('the enclave has credentials', () => guest.enclave.count('credentials') > 0, PATIENCE);
        await adminCall(path('admin.sock'), 'row-key-create', {});
        const ready = async (): Promise<boolean> => (await fetch(`${guest.url}/readyz`)).status === 200;
        await until('the host is ready', ready, PATIENCE);
        const { exit, answer } = await qv('status', '--admin', path('admin.sock'));
        expect('qv status', exit === 0 && answer['signing'] === true, answer);
        const bytes = Buffer.alloc(1_000_000, 'abcdefghij');
        expect('the tunnel carries bytes', (await throughTunnel(bytes)).equals(bytes));
        return `${echo.connections()} connection through the tunnel`;
      } finally {
        echo.close();
      }
    },
  },
  {
    name: 'qv kill tells the enclave on vsock when the host was killed',
    limitSeconds: 240,
    run: async (guest) => {
      await stopHost(guest, 'SIGKILL');
      const { exit, answer } = await qv('kill', '--all', '--reason', 'in a guest', '--config', path('host.json'));
      const [enclave] = answer['enclaves'] as Record<string, unknown>[];
      expect('exit', exit === 0, answer);
      expect('address', enclave?.['enclave'] === vsock(LOCAL, 5001) && enclave['held'] === true, answer);
      expect('the enclave is frozen', guest.enclave.phase === 'frozen');
      expect('the order is on disk', readdirSync(path('freezes')).length === 1);
      return `held after ${String(enclave?.['elapsedMilliseconds'])} ms`;
    },
  },
  {
    name: 'the tunnel takes connections of the enclave’s CID alone',
    limitSeconds: 240,
    run: async (guest) => {
      const echo = await echoServer();
      try {
        // An enclave that is not there: whoever connects from this machine is somebody else.
        await startHost(guest, 16, echo.port);
        const answered = await throughTunnel(Buffer.from('let me in'));
        expect('nothing came back', answered.length === 0, answered.toString());
        expect('the endpoint saw nobody', echo.connections() === 0);
        await stopHost(guest, 'SIGTERM');
        expect('the host ended in order', !existsSync(path('admin.sock')));
      } finally {
        echo.close();
      }
      return undefined;
    },
  },
];
