/** A host of the local stack: its configuration, its process, and where it answers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tunnelAddress } from '@quantumvault/shared/ports.ts';
import { formatTransportAddress, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import type { StackKeys, StackTunnel } from './kms-keys.ts';
import type { StackProcess } from './process.ts';
import type { Backend, EnclaveAddresses } from './stack.ts';

const HOST_MAIN = join(import.meta.dirname, '..', '..', 'host', 'src', 'main.ts');

export interface StackHost {
  readonly deployment: string;
  url: string;
  readonly adminSocket: string;
  readonly configFile: string;
  process: StackProcess;
  /** Also after its process was killed. */
  restart(): Promise<void>;
}

const PER_MINUTE = 10_000_000;
const GENEROUS = {
  address: PER_MINUTE,
  attestations: PER_MINUTE,
  statements: PER_MINUTE,
  requester: PER_MINUTE,
  wallet: PER_MINUTE,
};

export interface StackHostOptions {
  readonly name: string;
  readonly addresses: EnclaveAddresses;
  readonly databaseFile: string;
  readonly port?: number;
  readonly logLevel?: string;
  /** Further members of its configuration. */
  readonly hostConfig?: Record<string, unknown>;
}

/** Of a host's configuration: every tunnel that the image knows. */
export function kmsTunnel({ tunnels: [first, ...further] }: StackKeys, listen: string): Record<string, unknown> {
  const of = ({ tunnel, endpoint: { host, port } }: StackTunnel) => ({
    listen: formatTransportAddress(tunnelAddress(parseTransportAddress(listen), tunnel)),
    endpoint: `${host}:${port}`,
  });
  return { ...of(first), ...(further.length > 0 && { further: further.map(of) }) };
}

export async function startHost(backend: Backend, options: StackHostOptions): Promise<StackHost> {
  const { name, addresses, databaseFile, port = 0, logLevel = 'info' } = options;
  const { dir, deployment, kmsKeys, credentialsFile, witnesses } = backend;
  const adminSocket = join(dir, `${name}-admin.sock`);
  const configFile = join(dir, `${name}.json`);
  const config = {
    deployment,
    listen: { host: '127.0.0.1', port },
    adminSocket: { path: adminSocket },
    enclave: { data: addresses.data, control: addresses.control },
    store: { sqlite: databaseFile },
    kmsTunnel: kmsTunnel(kmsKeys, addresses.tunnel),
    credentialsFile,
    witnesses: witnesses.map(({ url, key }) => ({ url, key })),
    // Everybody is one address here, and load is what some tests are about.
    rateLimits: GENEROUS,
    logLevel,
    ...options.hostConfig,
  };
  writeFileSync(configFile, JSON.stringify(config, undefined, 2), { mode: 0o600 });
  // The options of the unit in host/deploy/systemd.
  const args = [
    '--optimize-for-size',
    '--max-semi-space-size=4',
    HOST_MAIN,
    '--config',
    configFile,
    '--exit-with-parent',
  ];
  const start = () => backend.start(name, args);
  const process = await start();
  const host: StackHost = {
    deployment,
    url: String(process.ready['http']),
    adminSocket,
    configFile,
    process,
    restart: async () => {
      await host.process.stop();
      host.process = await start();
      host.url = String(host.process.ready['http']);
    },
  };
  return host;
}
