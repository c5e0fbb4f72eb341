/** Whose request it is: addresses and networks in every spelling, and which proxies' word counts. */
import type { IncomingMessage } from 'node:http';
import { BlockList } from 'node:net';
import {
  addressBytesOf,
  clientOf,
  formatAddress,
  isWithin,
  type Network,
  parseNetwork,
} from '@quantumvault/host/client-address.ts';
import { sourceOf } from '@quantumvault/host/remote-freeze/source.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const networksOf = (...texts: string[]): readonly Network[] =>
  texts.map((text) => {
    const network = parseNetwork(text);
    if (network === undefined) throw new Error(`not a network: ${text}`);
    return network;
  });

describe('addresses', () => {
  it('have one spelling each', () => {
    const spelled = (text: string) => formatAddress(addressBytesOf(text) ?? []);
    expect(spelled('192.0.2.7')).toBe('192.0.2.7');
    expect(spelled('::ffff:192.0.2.7')).toBe('192.0.2.7');
    expect(spelled('::FFFF:c000:207')).toBe('192.0.2.7');
    expect(spelled('2001:DB8::1')).toBe('2001:db8:0:0:0:0:0:1');
    expect(spelled('fe80::1%eth0')).toBe('fe80:0:0:0:0:0:0:1');
    expect(spelled('::')).toBe('0:0:0:0:0:0:0:0');
    for (const none of ['', 'host', '1.2.3', '1.2.3.256', '01.2.3.4', ':::', '1::2::3', 'unknown'])
      expect(addressBytesOf(none)).toBeUndefined();
  });

  it('slow each other by /64 of IPv6 and one by one of IPv4', () => {
    expect(sourceOf('::ffff:192.0.2.7')).toBe('192.0.2.7');
    expect(sourceOf('2001:db8:1:2:3::4')).toBe(sourceOf('2001:0db8:1:2::9'));
    expect(sourceOf('2001:db8:1:3::4')).not.toBe(sourceOf('2001:db8:1:2::4'));
  });
});

describe('networks', () => {
  it('refuses what is none, is written twice over, or has bits behind the prefix', () => {
    const wrong = ['', '10.0.0.0/33', '10.0.0.1/8', '10.0.0.0/08', '10.0.0.0/', '::/129', '2001:db8::1/32', 'a/8'];
    for (const text of [...wrong, '::ffff:10.0.0.0/104', '10.0.0.0/8/8', ' 10.0.0.0/8', '10.0.0.0/-1'])
      expect(parseNetwork(text), text).toBeUndefined();
  });

  it('hold what node:net says they hold', () => {
    const v4 = fc.ipV4().map((text) => [text, 'ipv4', 32] as const);
    const v6 = fc.ipV6().map((text) => [text, 'ipv6', 128] as const);
    const close = (bytes: readonly number[], at: number): readonly number[] =>
      bytes.map((byte, index) => (index === at >> 3 ? byte ^ (0x80 >> (at & 7)) : byte));
    const any = fc.oneof(v4, v6);
    fc.assert(
      fc.property(any, any, fc.nat(128), fc.nat(127), ([text, family, bits], [other], length, flipped) => {
        const bytes = addressBytesOf(text) ?? [];
        // Written as IPv6, and IPv4 all the same.
        fc.pre(bytes.length * 8 === bits);
        const prefix = length % (bits + 1);
        const base = bytes.map((byte, at) => byte & (0xff00 >> Math.max(0, Math.min(8, prefix - 8 * at))) & 0xff);
        const network = networksOf(`${formatAddress(base)}/${prefix}`);
        const list = new BlockList();
        list.addSubnet(formatAddress(base), prefix, family);
        const neighbour = formatAddress(close(bytes, flipped % bits));
        for (const candidate of [text, neighbour]) {
          expect(isWithin(network, addressBytesOf(candidate) ?? [])).toBe(list.check(candidate, family));
        }
        const foreign = addressBytesOf(other) ?? [];
        if (foreign.length !== bytes.length) expect(isWithin(network, foreign)).toBe(false);
      }),
    );
  });
});

describe('the client of a request', () => {
  const proxies = networksOf('10.0.0.0/8', '2001:db8:aa::/48');
  const of = (remoteAddress: string | undefined, forwarded?: string, trusted = proxies) => {
    const headers = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded };
    return clientOf({ socket: { remoteAddress }, headers } as unknown as IncomingMessage, trusted);
  };

  it('is the peer where nobody is trusted, whatever the header says', () => {
    expect(of('::ffff:203.0.113.5', '198.51.100.1')).toMatchObject({ address: '203.0.113.5', isThroughProxy: false });
    expect(of('10.0.0.1', '198.51.100.1', []).address).toBe('10.0.0.1');
    expect(of(undefined, '198.51.100.1').address).toBe('0.0.0.0');
  });

  it('is the right-most hop that is no proxy', () => {
    expect(of('10.0.0.1', '198.51.100.1')).toMatchObject({ address: '198.51.100.1', isThroughProxy: true });
    expect(of('::ffff:10.0.0.1', '1.1.1.1, 198.51.100.1, 10.2.3.4').address).toBe('198.51.100.1');
    expect(of('2001:db8:aa::1', '192.0.2.1,2001:db8::9').address).toBe('2001:db8:0:0:0:0:0:9');
    expect(of('10.0.0.1', '192.0.2.1:8080').address).toBe('192.0.2.1');
    expect(of('10.0.0.1', '[2001:db8::9]:8080').address).toBe('2001:db8:0:0:0:0:0:9');
    expect(of('10.0.0.1', '10.0.0.3, 10.0.0.2').address).toBe('10.0.0.3');
    expect(of('10.0.0.1').address).toBe('10.0.0.1');
  });

  it('is the proxy where what it passes on is no address', () => {
    for (const header of ['unknown', '192.0.2.1, unknown', '192.0.2.1,', '192.0.2.1:', '1.2.3.4.5', ' '])
      expect(of('10.0.0.1', header).address, header).toBe('10.0.0.1');
    expect(of('10.0.0.1', '192.0.2.1, unknown, 10.0.0.2').address).toBe('10.0.0.2');
  });

  it('costs no more for a header that is as long as headers get', () => {
    const long = `${'198.51.100.1,'.repeat(1_200)}203.0.113.9`;
    expect(of('10.0.0.1', long).address).toBe('203.0.113.9');
    expect(of('10.0.0.1', '10.0.0.2,'.repeat(1_500).slice(0, -1)).address).toBe('10.0.0.2');
  });
});
