/**
 * What carries the host's connections: node:net for Unix sockets, the C addon for vsock. The addon is loaded when the
 * first vsock address is used, and needed by nobody else.
 */
import { join } from 'node:path';
import { loadNative, vsockTransport } from '@quantumvault/shared/native.ts';
import type { Transport } from '@quantumvault/shared/transport.ts';
import { unixTransport } from '@quantumvault/shared/unix-transport.ts';
import type { HostConfig } from './config.ts';

/** Where `npm run build:native` puts it. */
const ADDON = join(import.meta.dirname, '..', '..', 'shared', 'native', 'qv-native.node');

export interface HostTransportOptions {
  /** The CIDs that vsock listeners take connections from. Default: none, for who only connects. */
  readonly acceptFrom?: number | readonly number[];
  readonly addon?: string;
}

/** Its methods throw, or reject with, QvError native_missing when a vsock address is used and there is no addon. */
export function hostTransport({ acceptFrom, addon = ADDON }: HostTransportOptions = {}): Transport {
  let vsock: Transport | undefined;
  const carrying = (kind: 'unix' | 'vsock'): Transport => {
    if (kind === 'unix') return unixTransport;
    vsock ??= vsockTransport(loadNative(addon), acceptFrom === undefined ? {} : { acceptFrom });
    return vsock;
  };
  return {
    listen: async (address, onConnection) => carrying(address.kind).listen(address, onConnection),
    connect: (address) => carrying(address.kind).connect(address),
  };
}

/** Takes connections from enclaves alone, as far as that is for the transport to say: Unix sockets have file modes. */
export function transportFor({ enclave: { data }, kmsTunnel: { alsoFrom } }: HostConfig): Transport {
  return hostTransport(data.kind === 'vsock' ? { acceptFrom: [data.cid, ...alsoFrom] } : {});
}
