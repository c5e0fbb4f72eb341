import { fromHex } from '@quantumvault/shared/bytes.ts';
import { type CborValue, decodeCbor, encodeCbor, scanCbor } from '@quantumvault/shared/cbor.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode } from '../../support/codes.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((value) => value.isWellFormed());
const leaf = fc.oneof(
  fc.integer({ min: 0, max: 0xffff_ffff }),
  text,
  fc.boolean(),
  fc.constant(null),
  fc.uint8Array({ maxLength: 300 }),
);
const { value } = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', maxDepth: 6 },
    leaf,
    fc.array(tie('value'), { maxLength: 6 }),
    fc
      .array(fc.tuple(fc.oneof(fc.integer({ min: 0, max: 70_000 }), text), tie('value')), { maxLength: 6 })
      .map((entries) => new Map(entries)),
  ),
}));

describe('encodeCbor and decodeCbor', () => {
  it('agree on every value of the profile', () => {
    fc.assert(
      fc.property(value, (input) => {
        const encoded = encodeCbor(input);
        const decoded = decodeCbor(encoded);
        expect(encodeCbor(decoded)).toEqual(encoded);
      }),
    );
  });

  it('put map entries in one order, whatever order they came in', () => {
    const one = encodeCbor(
      new Map<number | string, CborValue>([
        ['b', 1],
        [256, 2],
        ['aa', 3],
        [3, 4],
      ]),
    );
    const other = encodeCbor(
      new Map<number | string, CborValue>([
        [3, 4],
        ['aa', 3],
        [256, 2],
        ['b', 1],
      ]),
    );
    expect(one).toEqual(other);
    expect(one).toEqual(fromHex('a40304190100026162016261610' + '3'));
  });

  it('accept no bytes that they would not write', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        let decoded: CborValue;
        try {
          decoded = decodeCbor(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(QvError);
          return;
        }
        expect(encodeCbor(decoded)).toEqual(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  it('survive any one changed byte of a valid message', () => {
    fc.assert(
      fc.property(value, fc.nat(), fc.integer({ min: 1, max: 255 }), (input, at, flip) => {
        const bytes = encodeCbor(input);
        bytes[at % bytes.length] = (bytes[at % bytes.length] ?? 0) ^ flip;
        try {
          expect(encodeCbor(decodeCbor(bytes))).toEqual(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(QvError);
        }
      }),
    );
  });
});

describe('scanCbor refuses', () => {
  it.each([
    ['nothing', ''],
    ['a negative integer', '20'],
    ['a tag', 'c000'],
    ['a float', 'fb3ff0000000000000'],
    ['a half float', 'f93c00'],
    ['undefined', 'f7'],
    ['another simple value', 'e0'],
    ['an integer of 2^32', '1b0000000100000000'],
    ['a long zero', '1800'],
    ['a long 23', '1817'],
    ['a long 255', '1900ff'],
    ['a long 65535', '1a0000ffff'],
    ['an indefinite array', '9fff'],
    ['an indefinite map', 'bfff'],
    ['an indefinite string', '5fff'],
    ['a break', 'ff'],
    ['keys out of order', 'a201000000'],
    ['a duplicate key', 'a201000100'],
    ['a byte string as key', 'a1410000'],
    ['a map as key', 'a1a000'],
    ['a map that ends early', 'a101'],
    ['an array that ends early', '8201'],
    ['a string that ends early', '4201'],
    ['text that is no UTF-8', '61ff'],
    ['trailing bytes', '0000'],
    ['a reserved length', '1c'],
  ])('%s', async (_, hex) => {
    await expectCode(() => scanCbor(fromHex(hex)), 'cbor_malformed');
  });

  it('more depth than the limit', async () => {
    const nested = (depth: number) => fromHex(`${'81'.repeat(depth)}00`);
    expect(() => scanCbor(nested(LIMITS.cborDepth))).not.toThrow();
    await expectCode(() => scanCbor(nested(LIMITS.cborDepth + 1)), 'cbor_malformed');
    await expectCode(() => scanCbor(nested(20_000)), 'cbor_malformed');
  });

  it('more items than the limit, and huge claims, at once', async () => {
    await expectCode(() => scanCbor(fromHex(`99ea60${'00'.repeat(60_000)}`)), 'cbor_malformed');
    await expectCode(() => scanCbor(fromHex('9affffffff')), 'cbor_malformed');
    await expectCode(() => scanCbor(fromHex('5affffffff')), 'cbor_malformed');
    await expectCode(() => scanCbor(new Uint8Array(LIMITS.frameBytes + 1)), 'cbor_malformed');
  });
});
