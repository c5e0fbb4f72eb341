import type { TransportAddress } from './transport.ts';

/** vsock ports of the appliance. An image has them built in; a host's configuration names those of its enclave. */
export const VSOCK_PORTS = {
  /** The enclave listens: requests. */
  data: 5000,
  /** The enclave listens: freezes, on a connection of their own. */
  control: 5001,
  /** The parent listens: the way to KMS. Further endpoints have the ports behind it, by their tunnel's number. */
  kmsTunnel: 5002,
} as const;

/** The address of a tunnel by its number: 0 is `first` itself. */
export function tunnelAddress(first: TransportAddress, tunnel: number): TransportAddress {
  if (tunnel === 0) return first;
  if (first.kind === 'vsock') return { ...first, port: first.port + tunnel };
  return { ...first, path: `${first.path}.${tunnel}` };
}
