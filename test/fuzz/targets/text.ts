/** Short texts, each with one spelling: base58, base64, hex, times, addresses, ids, keys, codes, paths. */

import { addressBytesOf, clientOf, formatAddress, isWithin, parseNetwork } from '@quantumvault/host/client-address.ts';
import { parseFreezeScope } from '@quantumvault/host/freeze-scope.ts';
import { formatPanicCode, parsePanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { traceContext, traceHeaders } from '@quantumvault/host/trace/traceparent.ts';
import { fromBase58, toBase58 } from '@quantumvault/shared/base58.ts';
import { fromBase64, fromHex, toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { isFreezeScope } from '@quantumvault/shared/evidence/freeze-scope.ts';
import { parseRequestId, parseTimestamp } from '@quantumvault/shared/protocol/sign-request.ts';
import { formatTime, parseTime } from '@quantumvault/shared/rfc3339.ts';
import { parseTilePath, tilePath } from '@quantumvault/shared/tlog/tiles.ts';
import { formatVerifierKey, parseVerifierKey, verifierKey } from '@quantumvault/shared/tlog/verifier-key.ts';
import { formatTransportAddress, parseTransportAddress } from '@quantumvault/shared/transport.ts';
import type { Mutator } from '../engine/mutate.ts';
import { accept, must, mustEqualBytes, type Target } from '../engine/target.ts';
import { textMutator } from '../engine/text-lines.ts';
import { headersOf, textOf } from './checks.ts';
import * as sample from './samples.ts';

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** Base58 by its definition: a number, and a `1` for each leading zero byte. */
function naiveBase58(text: string): Uint8Array | undefined {
  let value = 0n;
  for (const character of text) {
    const digit = ALPHABET.indexOf(character);
    if (digit < 0 || character.length !== 1) return undefined;
    value = value * 58n + BigInt(digit);
  }
  const hex = value === 0n ? '' : value.toString(16);
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  const zeros = /^1*/.exec(text)?.[0].length ?? 0;
  return new Uint8Array(Buffer.concat([new Uint8Array(zeros), bytes]));
}

const digits: Mutator = (input, { random }) => {
  if (input.length === 0) return undefined;
  const copy = Uint8Array.from(input);
  copy[random.below(copy.length)] = utf8(random.pick([...ALPHABET]) ?? '1')[0] ?? 0x31;
  return copy;
};

const LENGTHS = [32, 64, 16, 1] as const;

/** The first byte says how many bytes are expected. */
export const base58: Target = {
  name: 'base58',
  covers: ['shared/src/base58.ts#fromBase58'],
  seeds: () => ({
    key: Uint8Array.of(0, ...utf8(sample.wallet)),
    zeros: Uint8Array.of(0, ...utf8('1'.repeat(32))),
    most: Uint8Array.of(0, ...utf8(toBase58(sample.filled(32, 0xff)))),
    signature: Uint8Array.of(1, ...utf8(toBase58(sample.signature))),
    short: Uint8Array.of(2, ...utf8(toBase58(sample.freezeId))),
    byte: Uint8Array.of(3, ...utf8('5Q')),
  }),
  mutators: [digits, digits],
  dictionary: ['1', '11', 'z', '0', 'O', 'I', 'l', 'é'].map(utf8),
  maxBytes: 128,
  codes: ['base58_malformed'],
  executions: 6_000,
  run(input) {
    const length = LENGTHS[(input[0] ?? 0) % LENGTHS.length] ?? 32;
    const text = textOf(input.subarray(1));
    const expected = naiveBase58(text);
    let bytes: Uint8Array;
    try {
      bytes = fromBase58(text, length, 'it');
    } catch (error) {
      must(expected?.length !== length || text === '', 'base58 of the right length is refused');
      throw error;
    }
    must(expected !== undefined, 'what is no base58 is accepted');
    mustEqualBytes(bytes, expected, 'other bytes than by definition');
    must(toBase58(bytes) === text, 'another spelling');
    return bytes;
  },
};

export const encodings: Target = {
  name: 'encodings',
  covers: ['shared/src/bytes.ts#fromHex', 'shared/src/bytes.ts#fromBase64'],
  seeds: () => ({
    hex: utf8('00ff10ab'),
    base64: utf8('AAECAwQ='),
    two: utf8('AA=='),
    empty: utf8(''),
    plus: utf8('+/+/'),
  }),
  mutators: [textMutator],
  dictionary: ['=', '==', 'AB==', '-', '_', '\n', ' ', 'F'].map(utf8),
  maxBytes: 256,
  codes: ['base64_malformed'],
  executions: 4_000,
  run(input) {
    const text = textOf(input);
    try {
      must(toHex(fromHex(text)) === text, 'another spelling of hex');
    } catch (error) {
      if (!(error instanceof QvError) || error.code !== 'hex_malformed') throw error;
    }
    const bytes = accept(fromBase64(text));
    must(Buffer.from(bytes).toString('base64') === text && toBase64(bytes) === text, 'another spelling of base64');
    return bytes;
  },
};

/** Texts that print as what was read, or are refused. None of these reads throws anything but its code. */
export const shortTexts: Target = {
  name: 'short-texts',
  covers: [
    'shared/src/rfc3339.ts#parseTime',
    'shared/src/transport.ts#parseTransportAddress',
    'shared/src/protocol/sign-request.ts#parseRequestId',
    'shared/src/protocol/sign-request.ts#parseTimestamp',
    'shared/src/evidence/freeze-scope.ts#isFreezeScope',
    'host/src/freeze-scope.ts#parseFreezeScope',
    'shared/src/tlog/tiles.ts#parseTilePath',
  ],
  seeds: () =>
    Object.fromEntries(
      [
        '2026-11-22T12:00:00Z',
        '1970-01-01T00:00:00Z',
        '2024-02-29T23:59:59Z',
        'unix:/run/qv/enclave.sock',
        'vsock:16:5000',
        'order-4711',
        '1795383600',
        'fleet',
        `wallet:${sample.wallet}`,
        `requester:${sample.requester}`,
        'tile/0/x001/x234/067',
        'tile/entries/000.p/7',
        'tile/63/000',
      ].map((text, index) => [String(index), utf8(text)]),
    ),
  mutators: [textMutator],
  dictionary: ['unix:/', 'vsock:', '4294967295', 'T24:00:00Z', '-00-00T', '.p/256', '.p/0', 'x000/', '%', '\0'].map(
    utf8,
  ),
  maxBytes: 256,
  codes: [],
  executions: 6_000,
  run(input) {
    const text = textOf(input);
    const time = parseTime(text);
    must(time === undefined || formatTime(time) === text, 'another spelling of a time');
    const attempt = (code: string, read: () => boolean): boolean => {
      try {
        must(read(), `another spelling, and not ${code}`);
        return true;
      } catch (error) {
        if (!(error instanceof QvError) || error.code !== code) throw error;
        return false;
      }
    };
    attempt('address_malformed', () => formatTransportAddress(parseTransportAddress(text)) === text);
    attempt('request_id_malformed', () => parseRequestId(text) === text && /^[\w-]{1,64}$/.test(text));
    attempt('request_timestamp_malformed', () => String(parseTimestamp(text) / 1000) === text);
    const isScope = attempt('field_malformed', () => parseFreezeScope(text) === text);
    must(isScope === isFreezeScope(text), 'a scope and none');
    attempt('log_tile_path_malformed', () => tilePath(parseTilePath(text)) === text);
    return time;
  },
};

export const verifierKeys: Target = {
  name: 'verifier-keys',
  covers: ['shared/src/tlog/verifier-key.ts#parseVerifierKey'],
  seeds: () => ({
    log: utf8(formatVerifierKey(verifierKey('example.com/log', 'ed25519', sample.pair(1).publicKey))),
    witness: utf8(formatVerifierKey(verifierKey('wítness-1', 'cosignature', sample.pair(2).publicKey))),
  }),
  mutators: [textMutator],
  dictionary: ['+', '\u00a0', '\u2028', '\u0000', '\n', 'AQ', 'BA', '=='].map(utf8),
  maxBytes: 512,
  codes: ['log_key_malformed'],
  executions: 2_500,
  run(input) {
    const text = textOf(input);
    const key = accept(parseVerifierKey(text));
    must(formatVerifierKey(key) === text, 'another spelling');
    must(key.publicKey.length === 32 && !/[\s+]/u.test(key.name), 'key or name');
    return key;
  },
};

export const panicCodes: Target = {
  name: 'panic-codes',
  covers: ['host/src/remote-freeze/panic-code.ts#parsePanicCode'],
  seeds: () => ({
    code: utf8(formatPanicCode(sample.freezeId)),
    most: utf8(formatPanicCode(sample.filled(16, 0xff))),
    least: utf8(formatPanicCode(new Uint8Array(16))),
    small: utf8(formatPanicCode(sample.hash.slice(0, 16)).toLowerCase().replaceAll('-', ' ')),
  }),
  mutators: [textMutator],
  dictionary: ['O', 'I', 'L', 'l', 'U', '*', '~', '$', '=', '-', ' ', 'ı', 'ß', 'ﬀ', 'K'].map(utf8),
  maxBytes: 128,
  codes: ['field_malformed'],
  executions: 4_000,
  run(input) {
    const text = textOf(input);
    let bytes: Uint8Array;
    try {
      bytes = parsePanicCode(text, 'it');
    } catch (error) {
      if (error instanceof QvError)
        must(text.length < 8 || !String(error.facts.value).includes(text), 'a refusal quotes the code');
      throw error;
    }
    must(bytes.length === 16, 'length');
    const plain = text.toUpperCase().replaceAll(/[ -]/g, '').replaceAll(/[IL]/g, '1').replaceAll('O', '0');
    must(formatPanicCode(bytes).replaceAll('-', '') === plain, 'another code');
    return bytes;
  },
};

export const requestHeaders: Target = {
  name: 'request-headers',
  covers: [
    'host/src/client-address.ts#clientOf',
    'host/src/client-address.ts#parseNetwork',
    'host/src/client-address.ts#isWithin',
    'host/src/trace/traceparent.ts#traceContext',
  ],
  seeds: () => ({
    forwarded: utf8('peer: 10.0.0.1\nx-forwarded-for: 198.51.100.7, 192.0.2.1:4711, 10.1.2.3'),
    six: utf8('peer: ::ffff:10.0.0.1\nx-forwarded-for: 2001:db8::7, [2001:db8::1]:80, fe80::1%eth0'),
    trace: utf8(
      'peer: 192.0.2.1\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\ntracestate: a=1,b@c=2',
    ),
    networks: utf8('network: 10.0.0.0/8\nnetwork: 2001:db8::/32\nnetwork: ::ffff:1.2.3.4'),
  }),
  mutators: [textMutator],
  dictionary: [
    '::',
    '::1',
    '255.255.255.255',
    '0.0.0.0/0',
    '::/0',
    '/33',
    '%',
    'x-forwarded-for: ',
    'tracestate: ',
    ',,',
  ].map(utf8),
  maxBytes: 2_048,
  codes: [],
  executions: 4_000,
  run(input) {
    const headers = headersOf(input);
    const trusted = [parseNetwork('10.0.0.0/8'), parseNetwork('2001:db8::/32')].flatMap((network) => network ?? []);
    const request = { headers, socket: { remoteAddress: String(headers['peer'] ?? '') } } as never;
    const client = clientOf(request, trusted);
    must(client.bytes.length === 4 || client.bytes.length === 16, 'bytes of an address');
    must(
      client.bytes.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255),
      'a byte of an address',
    );
    must(formatAddress(client.bytes) === client.address, 'another spelling of an address');
    must(String(addressBytesOf(client.address)) === String(client.bytes), 'an address that reads otherwise');
    for (const text of [headers['network'] ?? []].flat()) {
      const network = parseNetwork(text);
      if (network === undefined) continue;
      must(network.prefixBits <= network.bytes.length * 8, 'prefix');
      must(isWithin([network], network.bytes), 'a network without its own address');
    }
    const context = traceContext(headers, (count) => sample.filled(count, 1));
    must(/^[0-9a-f]{32}$/.test(context.traceId) && context.flags <= 3, 'trace id or flags');
    must((context.state?.length ?? 0) <= 512 && /^[\x20-\x7e]*$/.test(context.state ?? ''), 'trace state');
    const again = traceContext(traceHeaders(context), (count) => sample.filled(count, 2));
    must(again.traceId === context.traceId && again.state === context.state, 'another trace when passed on');
    return [client, context];
  },
};
