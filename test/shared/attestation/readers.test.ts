/** The two readers, CBOR and DER, and why each refuses: the reason tells a check from the one behind it. */
import * as cbor from '@quantumvault/shared/attestation/cbor.ts';
import { readElement, readElements, requireStrict } from '@quantumvault/shared/attestation/der.ts';
import { rawSignature } from '@quantumvault/shared/attestation/es384.ts';
import { concatBytes, fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';
import * as s from './synthetic.ts';

const PLACE = { code: 'attestation_payload_malformed', path: 'here' } as const;

/** The reason of the refusal, or what was read. */
function result<T>(read: () => T): T | string | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof QvError) return error.facts.value;
    throw error;
  }
}

describe('CBOR heads', () => {
  const rows: readonly (readonly [hex: string, number | string])[] = [
    ['00', 0],
    ['17', 23],
    ['1818', 24],
    ['18ff', 255],
    ['190100', 256],
    ['1a00010000', 65_536],
    ['1affffffff', 2 ** 32 - 1],
    ['1b0000000100000000', 2 ** 32],
    ['1b001fffffffffffff', Number.MAX_SAFE_INTEGER],
    ['1b0020000000000000', 'too large'],
    ['1bffffffffffffffff', 'too large'],
    ['1800', 'not the shortest form'],
    ['1817', 'not the shortest form'],
    ['1900ff', 'not the shortest form'],
    ['1a0000ffff', 'not the shortest form'],
    ['1b00000000ffffffff', 'not the shortest form'],
    ['1c', 'indefinite or reserved length'],
    ['1e', 'indefinite or reserved length'],
    ['1f', 'indefinite or reserved length'],
    ['', 'ends early'],
    ['18', 'ends early'],
    ['1901', 'ends early'],
    ['1b00000001000000', 'ends early'],
    ['20', 'wrong type'],
    ['40', 'wrong type'],
    ['f6', 'wrong type'],
  ];
  for (const [hex, expected] of rows) {
    test(`${hex}: ${expected}`, () => {
      const read = result(() => cbor.readUnsigned(fromHex(hex), PLACE));
      expect(typeof read === 'object' ? read.value : read).toBe(expected);
    });
  }
});

describe('CBOR strings and collections', () => {
  const short = fromHex('43616263');
  test('value and rest', () => {
    expect(cbor.readBytes(fromHex('426162ff'), 2, PLACE)).toEqual({ value: fromHex('6162'), rest: fromHex('ff') });
    expect(cbor.readText(fromHex('626162ff'), 2, PLACE)).toEqual({ value: 'ab', rest: fromHex('ff') });
  });
  test('longer than allowed', () => expect(result(() => cbor.readBytes(short, 2, PLACE))).toBe('too long'));
  test('longer than the bytes at hand', () =>
    expect(result(() => cbor.readBytes(short.subarray(0, 3), 9, PLACE))).toBe('too long'));
  test('control characters', () =>
    expect(result(() => cbor.readText(fromHex('621b5b'), 9, PLACE))).toBe('not printable ASCII'));
  test('DEL', () => expect(result(() => cbor.readText(fromHex('617f'), 9, PLACE))).toBe('not printable ASCII'));
  test('arrays beyond the limit', () =>
    expect(result(() => cbor.readArrayHead(fromHex('83'), 2, PLACE))).toBe('too many items'));
  test('maps beyond the limit', () =>
    expect(result(() => cbor.readMapHead(fromHex('a3'), 2, PLACE))).toBe('too many pairs'));
  test('trailing bytes', () => expect(result(() => cbor.requireEnd(fromHex('00'), PLACE))).toBe('trailing bytes'));
});

describe('DER', () => {
  const rows: readonly (readonly [hex: string, string | undefined])[] = [
    ['020101', undefined],
    ['0201ff', undefined],
    ['02020080', undefined],
    ['30030101ff', undefined],
    ['a003020102', undefined],
    ['0500', undefined],
    ['30800000', 'length form'],
    ['3083000000', 'length form'],
    ['02810101', 'not the shortest length'],
    [`0482007f${'00'.repeat(127)}`, 'not the shortest length'],
    [`048200ff${'00'.repeat(255)}`, 'not the shortest length'],
    ['02', 'ends early'],
    ['020201', 'ends early'],
    ['3003020201', 'ends early'],
    ['0200', 'integer'],
    ['02020001', 'integer'],
    ['0202ff80', 'integer'],
    ['010101', 'boolean'],
    ['0102ffff', 'boolean'],
    ['0100', 'boolean'],
    ['2403040100', 'tag'],
    ['1f0100', 'tag'],
    ['bf0100', 'tag'],
    ['9f0100', 'tag'],
    ['c00100', 'tag'],
    ['600100', 'tag'],
    ['1400', 'tag'],
  ];
  for (const [hex, reason] of rows)
    test(`${hex.slice(0, 12)}: ${reason ?? 'strict'}`, () =>
      expect(result(() => requireStrict(fromHex(hex), 'here'))).toBe(reason));

  test('every length up to 1024 is read as it was written', () => {
    for (let length = 0; length <= 1024; length++) {
      const { body, rest } = readElement(concatBytes(s.der(0x04, s.filled(7, length)), fromHex('ff')), 'here');
      expect([body.length, rest.length]).toEqual([length, 1]);
    }
  });

  test('nesting', () => {
    const nested = (depth: number): Uint8Array => (depth === 0 ? s.integer(1) : s.sequence(nested(depth - 1)));
    expect(result(() => requireStrict(nested(12), 'here'))).toBe(undefined);
    expect(result(() => requireStrict(nested(13), 'here'))).toBe('too deep');
  });

  test('elements one after the other', () =>
    expect(readElements(fromHex('0201010500'), 'here').map(({ tag }) => tag)).toEqual([2, 5]));
});

describe('Ecdsa-Sig-Value', () => {
  const half = (byte: number): Uint8Array => s.filled(byte, 48);
  const raw = (...parts: readonly Uint8Array[]) => rawSignature(concatBytes(...parts), 'here');
  test('r and s, each padded to 48 bytes', () => {
    const [r, t] = [concatBytes(s.filled(0, 47), Uint8Array.of(5)), half(0x80)];
    expect(toHex(raw(s.derSignature(concatBytes(r, t))) ?? r)).toBe(toHex(concatBytes(r, t)));
  });
  test('not strict DER', () => expect(raw(fromHex('300702810105020105'))).toBe(undefined));
  test('bytes behind it', () => expect(raw(s.derSignature(s.filled(1, 96)), s.integer(1))).toBe(undefined));
  test('no SEQUENCE', () => expect(raw(s.der(0x31, s.integer(1), s.integer(1)))).toBe(undefined));
  test('one number, three numbers', () => {
    expect(raw(s.sequence(s.integer(1)))).toBe(undefined);
    expect(raw(s.sequence(s.integer(1), s.integer(1), s.integer(1)))).toBe(undefined);
  });
  test('a negative number', () => expect(raw(s.sequence(s.integer(0x80), s.integer(1)))).toBe(undefined));
  test('no numbers', () => expect(raw(s.sequence(s.der(4, half(1)), s.der(4, half(1))))).toBe(undefined));
  test('longer than the field', () => {
    expect(raw(s.sequence(s.der(2, s.filled(0x11, 49)), s.integer(1)))).toBe(undefined);
  });
});
