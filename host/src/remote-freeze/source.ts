/** Whom a failure slows: an IPv4 address, or the /64 of an IPv6 address, which is what one customer gets. */
import { addressBytesOf, formatAddress } from '../client-address.ts';

/** @param address as sockets name their peer, or as a Client has it: IPv4 also as `::ffff:192.0.2.1` */
export function sourceOf(address: string): string {
  const bytes = addressBytesOf(address);
  if (bytes === undefined) return address;
  if (bytes.length === 4) return formatAddress(bytes);
  return `${formatAddress(bytes).split(':').slice(0, 4).join(':')}::/64`;
}
