/** What both sides of the guest know: where things lie in it, and what is said there. */
import { VSOCK_PORTS } from '@quantumvault/shared/ports.ts';
import type { EnclaveAddresses } from '../../stack/stack.ts';

/** The folder of the enclave's bundle. */
export const IMAGE = '/image';
export const STANDS_IN = 'there is no /dev/nsm here: the security module of the local stack stands in for it';

/** Loopback: parent and enclave are the same machine. */
export const CID = 1;
/** Of an enclave whose parent is somebody else. */
export const FOREIGN_PARENT_CID = 3;

/** The first enclave has the ports of an image; each further one another ten. */
export function vsockAddresses(index: number): EnclaveAddresses {
  const address = (port: number): string => `vsock:${CID}:${port + 10 * index}`;
  const { data, control, kmsTunnel } = VSOCK_PORTS;
  return { data: address(data), control: address(control), tunnel: address(kmsTunnel) };
}
