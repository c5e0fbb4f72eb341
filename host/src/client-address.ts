/**
 * Whose request it is: the one place that says so. Whatever counts, slows or admits by address (the stop button's slow
 * sources, rate limits, allow-lists of webhook sources) asks `clientOf`, so that none of them can be talked round by a
 * header that another one does not believe.
 *
 * `X-Forwarded-For` is believed from the configured `trustedProxies` alone, and only as far as they vouch for it: every
 * proxy appends the address it was called from, so the list is read from its right end, and the first address that is no
 * trusted proxy is the client. What stands left of that is whatever the client wrote.
 */
import type { IncomingMessage } from 'node:http';
import { isIPv4, isIPv6 } from 'node:net';

/** A CIDR block (RFC 4632, RFC 4291 section 2.3). Four bytes for IPv4, sixteen for IPv6. */
export interface Network {
  readonly bytes: readonly number[];
  readonly prefixBits: number;
}

export interface Client {
  /** One spelling per address: IPv4 dotted, also where it came as `::ffff:192.0.2.1`; IPv6 as eight groups. */
  readonly address: string;
  readonly bytes: readonly number[];
  /** The socket's peer is a trusted proxy: its other headers may be believed, too. */
  readonly isThroughProxy: boolean;
}

/** Four or sixteen bytes, undefined when it is no address. IPv4-mapped IPv6 is IPv4; a zone behind `%` is dropped. */
export function addressBytesOf(text: string): readonly number[] | undefined {
  const [plain = ''] = text.split('%');
  if (isIPv4(plain)) return plain.split('.').map(Number);
  if (!isIPv6(plain)) return undefined;
  const bytes = groupsOf(plain).flatMap((group) => [group >> 8, group & 0xff]);
  const isMapped = bytes.slice(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  return isMapped ? bytes.slice(12) : bytes;
}

/** The eight groups of a valid address (RFC 4291 section 2.2). */
function groupsOf(address: string): readonly number[] {
  const hex = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) => {
    const group = (high: string, low: string): string => (Number(high) * 256 + Number(low)).toString(16);
    return `${group(a, b)}:${group(c, d)}`;
  });
  const [head = [], tail = []] = hex
    .split('::')
    .map((part) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16))));
  return [...head, ...Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

export function formatAddress(bytes: readonly number[]): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[2 * at] ?? 0) << 8) | (bytes[2 * at + 1] ?? 0));
  return groups.map((group) => group.toString(16)).join(':');
}

/**
 * `192.0.2.0/24`, `2001:db8::/32`, or one address. Undefined when it is none: also with bits set behind the prefix,
 * which is a typing error more often than not, and for IPv4 written as IPv6.
 */
export function parseNetwork(text: string): Network | undefined {
  const match = /^([0-9a-fA-F.:]+)(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(text);
  const bytes = addressBytesOf(match?.[1] ?? '');
  if (match?.[1] === undefined || bytes === undefined || (bytes.length === 4) !== isIPv4(match[1])) return undefined;
  const bits = bytes.length * 8;
  const prefixBits = match[2] === undefined ? bits : Number(match[2]);
  if (prefixBits > bits) return undefined;
  const isNetwork = bytes.every((byte, at) => (byte & (0xff >> clamped(prefixBits - 8 * at))) === 0);
  return isNetwork ? { bytes, prefixBits } : undefined;
}

/** Of one byte, how many bits belong to the prefix. */
const clamped = (bits: number): number => Math.max(0, Math.min(8, bits));

export function isWithin(networks: readonly Network[], address: readonly number[]): boolean {
  return networks.some(
    ({ bytes, prefixBits }) =>
      bytes.length === address.length &&
      bytes.every((byte, at) => (byte ^ (address[at] ?? 0)) >> (8 - clamped(prefixBits - 8 * at)) === 0),
  );
}

/** `192.0.2.1:4711` and `[2001:db8::1]:4711`, as some proxies append them. */
const WITH_PORT = /^(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):[0-9]{1,5}$/;

/**
 * The client of a request: the socket's own peer, or whom the trusted proxies in front of us say they were called by.
 * An entry that is no address ends what they vouch for: then the client is the proxy that wrote it.
 */
export function clientOf(request: IncomingMessage, trustedProxies: readonly Network[]): Client {
  // Of a socket that is closed already there is no address; nobody gets the answer.
  let bytes = addressBytesOf(request.socket.remoteAddress ?? '') ?? [0, 0, 0, 0];
  const isThroughProxy = isWithin(trustedProxies, bytes);
  const header = isThroughProxy ? request.headers['x-forwarded-for'] : undefined;
  // From the right, and no further than needed: the rest may be as long as headers get.
  let rest = typeof header === 'string' ? header : '';
  while (rest !== '' && isWithin(trustedProxies, bytes)) {
    const comma = rest.lastIndexOf(',');
    const entry = rest.slice(comma + 1).trim();
    const match = WITH_PORT.exec(entry);
    const next = addressBytesOf(match?.[1] ?? match?.[2] ?? entry);
    if (next === undefined) break;
    bytes = next;
    rest = rest.slice(0, Math.max(0, comma));
  }
  return { address: formatAddress(bytes), bytes, isThroughProxy };
}
