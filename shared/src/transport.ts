/**
 * An address is `unix:/path` or `vsock:CID:port`, so that everything runs on a laptop and in an enclave alike.
 * This file holds the seam; unix-transport.ts and native.ts carry connections, and an image has the latter alone.
 */
import type { Duplex } from 'node:stream';
import { QvError } from './errors.ts';

export type TransportAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'vsock'; readonly cid: number; readonly port: number };

export interface Listener {
  close(): Promise<void>;
}

/** What carries connections of one kind of address. */
export interface Transport {
  listen(address: TransportAddress, onConnection: (stream: Duplex) => void): Promise<Listener>;
  connect(address: TransportAddress): Duplex;
}

const VSOCK = /^vsock:(0|[1-9][0-9]{0,9}):([1-9][0-9]{0,9})$/;
/** sun_path holds 108 bytes with its terminator (Linux unix(7)). */
const UNIX_PATH_BYTES = 107;

/** @throws QvError address_malformed */
export function parseTransportAddress(text: string): TransportAddress {
  if (text.startsWith('unix:/') && !text.includes('\0')) {
    const path = text.slice('unix:'.length);
    if (Buffer.byteLength(path) <= UNIX_PATH_BYTES) return { kind: 'unix', path };
  }
  const match = VSOCK.exec(text);
  const cid = Number(match?.[1]);
  const port = Number(match?.[2]);
  // 2^32 - 1 is VMADDR_CID_ANY and VMADDR_PORT_ANY: never a peer.
  if (match !== null && cid < 0xffff_ffff && port < 0xffff_ffff) return { kind: 'vsock', cid, port };
  throw new QvError('address_malformed', { value: text.slice(0, 120) });
}

export function formatTransportAddress(address: TransportAddress): string {
  return address.kind === 'unix' ? `unix:${address.path}` : `vsock:${address.cid}:${address.port}`;
}
