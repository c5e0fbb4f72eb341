import { formatPanicCode, parsePanicCode } from '@quantumvault/host/remote-freeze/panic-code.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectCode, refusalOf } from '../../support/codes.ts';

const parse = (text: string) => parsePanicCode(text, 'panicCode');
const codes = fc.uint8Array({ minLength: 16, maxLength: 16 });
const SYMBOLS = [...'0123456789ABCDEFGHJKMNPQRSTVWXYZ'];
const bytesOf = (number: bigint) => Uint8Array.from(Buffer.from(number.toString(16).padStart(32, '0'), 'hex'));

describe('a panic code', () => {
  it('is Crockford’s base32 of the number, and its check symbol', () => {
    expect(formatPanicCode(bytesOf(0n))).toBe('0000-0000-0000-0000-0000-0000-000');
    // 1234 is 16J, checked by D, in the description of the alphabet.
    expect(formatPanicCode(bytesOf(1234n))).toBe('0000-0000-0000-0000-0000-0001-6JD');
    fc.assert(
      fc.property(codes, (bytes) => {
        const number = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
        const digits = [...number.toString(32).toUpperCase()].map((digit) => SYMBOLS[Number.parseInt(digit, 32)]);
        const check = [...SYMBOLS, ...'*~$=U'][Number(number % 37n)];
        expect(formatPanicCode(bytes).replaceAll('-', '')).toBe(digits.join('').padStart(26, '0') + check);
      }),
    );
  });

  it('is read back, however it was written down', () => {
    const spellings = fc.record({
      lower: fc.boolean(),
      one: fc.constantFrom('1', 'I', 'l', 'i'),
      zero: fc.constantFrom('0', 'o', 'O'),
    });
    fc.assert(
      fc.property(codes, spellings, fc.constantFrom('', ' ', '-', ' - '), (bytes, { lower, one, zero }, gap) => {
        const plain = formatPanicCode(bytes).replaceAll('-', gap.slice(0, 1));
        const cased = lower ? plain.toLowerCase() : plain;
        expect(parse(cased.replaceAll('1', one).replaceAll('0', zero))).toEqual(bytes);
      }),
    );
  });

  it('with one wrong symbol, or two neighbours swapped, is none', () => {
    fc.assert(
      fc.property(codes, fc.constantFrom(...SYMBOLS), (bytes, symbol) => {
        const plain = [...formatPanicCode(bytes).replaceAll('-', '')];
        for (const [at, one] of plain.entries()) {
          const other = plain[at + 1] ?? one;
          const changes = [plain.with(at, symbol), at === 26 ? plain : plain.with(at, other).with(at + 1, one)];
          for (const changed of changes.map((all) => all.join(''))) {
            if (changed !== plain.join('')) expect(refusalOf(() => parse(changed))?.code).toBe('field_malformed');
          }
        }
      }),
    );
  });

  it.each([
    '',
    '-',
    '0'.repeat(26),
    '0'.repeat(28),
    `8${'0'.repeat(26)}`,
    'U'.repeat(27),
    `ı${'0'.repeat(26)}`,
    '0 '.repeat(28),
  ])('%j is none', async (text) => {
    const refusal = await expectCode(() => parse(text), 'field_malformed');
    expect(refusal.facts.path).toBe('panicCode');
  });

  it('whatever is sent, is 16 bytes or a refusal that does not repeat it', () => {
    const alphabet = fc.string({ unit: fc.constantFrom(...SYMBOLS, ...'iloIL -*~$=Uu'), minLength: 20, maxLength: 60 });
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), alphabet), (text) => {
        try {
          const bytes = parse(text);
          expect(bytes).toHaveLength(16);
          expect(parse(formatPanicCode(bytes))).toEqual(bytes);
        } catch (error) {
          if (!(error instanceof QvError)) throw error;
          expect(error.code).toBe('field_malformed');
          if (text.length > 8) expect(JSON.stringify(error.facts)).not.toContain(text);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
