/** What several checks go by, gathered once: the configuration, the host's word, and the enclave asked past the host. */
import { execFile } from 'node:child_process';
import { statfsSync, statSync } from 'node:fs';
import { promisify } from 'node:util';
import type { PcrSet } from '@quantumvault/shared/attestation/pcrs.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import type { MessageName, ReplyOf, RequestOf } from '@quantumvault/shared/protocol/messages.ts';
import type { Transport, TransportAddress } from '@quantumvault/shared/transport.ts';
import type { AdminStatus } from '../../admin-protocol.ts';
import type { HostConfig } from '../../config.ts';
import { EnclaveClient } from '../../enclave/client.ts';
import { hostTransport } from '../../transport.ts';
import { adminCall } from '../admin-client.ts';

export interface Space {
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeFiles: number;
  readonly totalFiles: number;
}

/** What doctor asks the machine, for tests to answer. */
export interface Machine {
  readonly transport: Transport;
  readonly nowMs: () => number;
  /** @throws Error when there is no such directory */
  readonly space: (directory: string) => Space;
  /** Whether the kernel's clock is synchronised; undefined where nobody says. */
  readonly isClockSynchronised: () => Promise<boolean | undefined>;
}

export interface Options {
  readonly configFile: string;
  /** Where HTTP answers, instead of the configuration's address. */
  readonly url: string | undefined;
  readonly pcrSets: readonly PcrSet[];
  readonly unsafeTrustedRootDer: Uint8Array | undefined;
}

export type Answer<T> = { readonly value: T } | { readonly error: unknown };

export interface Facts {
  readonly config: HostConfig;
  readonly options: Options;
  readonly machine: Machine;
  /** Who runs the host, going by what it has made; else whoever calls. */
  readonly hostUser: number | undefined;
  readonly said: Answer<AdminStatus>;
  /** The enclave's own word, over each of its addresses. */
  readonly data: Answer<ReplyOf<'status'>>;
  readonly control: Answer<ReplyOf<'status'>>;
  /** Where the host's HTTP is; undefined when only the host knows its port. */
  readonly url: string | undefined;
}

export async function gather(config: HostConfig, options: Options, machine: Machine): Promise<Facts> {
  const { enclave, adminSocket } = config;
  const [said, data, control] = await Promise.all([
    answerOf(adminCall(adminSocket.path, 'status', {}, LIMITS.killHostMilliseconds)),
    answerOf(askEnclave(machine, enclave.data, 'status', {})),
    answerOf(askEnclave(machine, enclave.control, 'status', {})),
  ]);
  const url = options.url ?? urlOf(config.listen, config.tls === undefined ? 'http' : 'https');
  return { config, options, machine, hostUser: hostUserOf(config), said, data, control, url };
}

export async function answerOf<T>(work: Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await work };
  } catch (error) {
    return { error };
  }
}

const QUIET = { debug() {}, info() {}, warn() {}, error() {} };

/** On a connection of its own. @throws QvError enclave_unavailable, deadline_exceeded, native_missing */
export async function askEnclave<N extends MessageName>(
  { transport }: Pick<Machine, 'transport'>,
  address: TransportAddress,
  name: N,
  request: RequestOf<N>,
): Promise<ReplyOf<N>> {
  const client = new EnclaveClient({ address, transport, log: QUIET });
  try {
    client.connect();
    return await client.request(name, request, { timeoutMilliseconds: LIMITS.freezeTimeoutMilliseconds });
  } finally {
    client.close();
  }
}

/** What the enclave says, by whichever way it answers. */
export function enclaveStatus({ data, control }: Facts): ReplyOf<'status'> | undefined {
  if ('value' in control) return control.value;
  return 'value' in data ? data.value : undefined;
}

export function hostStatus({ said }: Facts): AdminStatus | undefined {
  return 'value' in said ? said.value : undefined;
}

/** An address to listen on as one to call. */
export function urlOf({ host, port }: HostConfig['listen'], scheme: 'http' | 'https' = 'http'): string | undefined {
  if (port === 0) return undefined;
  const called = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `${scheme}://${called.includes(':') ? `[${called}]` : called}:${port}`;
}

export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);

function hostUserOf({ adminSocket, store, freezeMarkers }: HostConfig): number | undefined {
  for (const path of [adminSocket.path, store.sqlite, freezeMarkers]) {
    try {
      return statSync(path).uid;
    } catch {
      // Not made yet, or not for this user to see.
    }
  }
  return process.geteuid?.();
}

export function thisMachine(): Machine {
  return {
    transport: hostTransport(),
    nowMs: Date.now,
    space: (directory) => {
      const { bavail, blocks, bsize, ffree, files } = statfsSync(directory);
      return { freeBytes: bavail * bsize, totalBytes: blocks * bsize, freeFiles: ffree, totalFiles: files };
    },
    isClockSynchronised,
  };
}

/** As the kernel knows it (adjtimex), whichever program keeps the time. */
async function isClockSynchronised(): Promise<boolean | undefined> {
  try {
    const { stdout } = await promisify(execFile)('timedatectl', ['show', '--property=NTPSynchronized', '--value'], {
      timeout: 3_000,
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    });
    return stdout.trim() === 'yes' ? true : stdout.trim() === 'no' ? false : undefined;
  } catch {
    return undefined;
  }
}
