/** One running witness: its directory opened, its server listening. */
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { VerifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import type { Log } from '../log.ts';
import type { Admission } from './admission.ts';
import { openDirectory } from './directory.ts';
import { buildServer, type ServerLimits } from './server.ts';
import { Witness } from './witness.ts';

export interface WitnessOptions {
  readonly dir: string;
  /** `port` 0 lets the system choose. Hazard: this is plain HTTP. What travels is public; TLS ends in front of it. */
  readonly listen: { readonly host: string; readonly port: number };
  readonly admission: Admission;
  readonly log: Log;
  /** Milliseconds since 1970. Default: the machine's clock. */
  readonly now?: () => number;
  /** Default SERVER_LIMITS. */
  readonly limits?: ServerLimits;
}

export interface RunningWitness {
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  readonly key: VerifierKey;
  /** Finishes what is under way, within LIMITS.witnessDrainMilliseconds. */
  close(): Promise<void>;
}

/** @throws QvError config_invalid */
export async function startWitness({
  dir,
  listen,
  admission,
  log,
  now,
  limits,
}: WitnessOptions): Promise<RunningWitness> {
  const { store, cosigner } = openDirectory(dir);
  let closing: Promise<void> | undefined;
  const witness = new Witness({ store, cosigner, admission, log, now: now ?? Date.now });
  const server = buildServer(witness, log, () => closing !== undefined, limits);
  try {
    server.listen({ host: listen.host, port: listen.port });
    await once(server, 'listening');
  } catch (cause) {
    store.close();
    const { code = 'cannot listen' } = cause as NodeJS.ErrnoException;
    throw new QvError('config_invalid', { path: 'listen', value: code }, { cause });
  }
  // Out of file descriptors, say: those who are connected are still answered.
  server.on('error', (error) => log.error({ reason: String(error) }, 'a connection could not be taken'));
  return {
    url: urlOf(server.address() as AddressInfo),
    key: cosigner.key,
    close() {
      closing ??= drain(server).then(() => store.close());
      return closing;
    },
  };
}

async function drain(server: Server): Promise<void> {
  const timer = setTimeout(() => server.closeAllConnections(), LIMITS.witnessDrainMilliseconds);
  const closed = once(server, 'close');
  server.close();
  await closed;
  clearTimeout(timer);
}

function urlOf({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
