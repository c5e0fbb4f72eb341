import { fromBase58, toBase58 } from '@quantumvault/shared/base58.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { patternsOf } from './encodings.ts';
import { Searcher } from './search.ts';

const secrets = fc.constantFrom(16, 32, 64).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }));
const around = fc.uint8Array({ maxLength: 7 });

function formsFoundIn(memory: Uint8Array, secret: Uint8Array): Set<string> {
  const searcher = new Searcher();
  const patterns = patternsOf(secret);
  for (const { bytes } of patterns) searcher.add(bytes);
  const found = searcher.search(memory).map(({ pattern }) => patterns[pattern]);
  return new Set(found.map((pattern) => `${pattern?.form} ${pattern?.part}`));
}

/** What programs write when they let a secret out, by the form that has to catch it. */
const LEAKS: Readonly<Record<string, (bytes: Buffer) => string | Buffer>> = {
  raw: (bytes) => bytes,
  reversed: (bytes) => Buffer.from(bytes).reverse(),
  hex: (bytes) => bytes.toString('hex'),
  'upper-case hex': (bytes) => bytes.toString('hex').toUpperCase(),
  'hex with spaces': (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(' '),
  base64: (bytes) => bytes.toString('base64'),
  base64url: (bytes) => bytes.toString('base64url'),
  base58: (bytes) => toBase58(bytes),
  numbers: (bytes) => JSON.stringify([...bytes]),
  'numbers with spaces': (bytes) => `[ ${[...bytes].join(', ')} ]`,
  'one character per byte, UTF-8': (bytes) => Buffer.from(bytes.toString('latin1')),
  'one character per byte, UTF-16': (bytes) => Buffer.from(bytes.toString('latin1'), 'utf16le'),
};

describe.each(Object.entries(LEAKS))('%s', (form, leak) => {
  const isText = (written: string | Buffer): written is string => typeof written === 'string';

  it('is found whole, in UTF-16 too', () => {
    fc.assert(
      fc.property(secrets, around, around, (secret, before, behind) => {
        const written = leak(Buffer.from(secret));
        for (const encoding of isText(written) ? (['latin1', 'utf16le'] as const) : (['latin1'] as const)) {
          const bytes = isText(written) ? Buffer.from(written, encoding) : written;
          const found = formsFoundIn(Buffer.concat([before, bytes, behind]), secret);
          // Forms may coincide: base64 and base64url without their special characters.
          expect([...found].filter((name) => name.endsWith(' whole'))).not.toEqual([]);
        }
      }),
    );
  });

  // Base58 is one number: parts of it do not show.
  if (form === 'base58') return;

  it('is found by each 16 bytes of it, inside of anything', () => {
    const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(sixteen, sixteen, around, around, fc.boolean(), (first, second, before, behind, isFirst) => {
        const secret = Buffer.concat([first, second]);
        const kept = Buffer.from(isFirst ? first : second);
        // Reversed bytes and numbers keep their neighbours apart; base64 runs into them.
        const written = Buffer.from(leak(Buffer.concat([before, kept, behind])) as Buffer);
        expect([...formsFoundIn(written, secret)].length).toBeGreaterThan(0);
      }),
    );
  });
});

it('base58 is that of the product', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (secret) => {
      expect(fromBase58(toBase58(secret), 32)).toEqual(secret);
      expect(patternsOf(secret).some(({ bytes }) => bytes.toString('latin1') === toBase58(secret))).toBe(true);
    }),
  );
});

it('each form is told by its name', () => {
  const secret = Buffer.from(Array.from({ length: 32 }, (_, index) => 0xfb ^ (index * 37)));
  for (const [form, leak] of Object.entries(LEAKS)) {
    expect(formsFoundIn(Buffer.from(leak(secret) as Buffer), secret)).toContain(`${form} whole`);
  }
});

it('nothing is found where nothing is', () => {
  fc.assert(
    fc.property(secrets, fc.uint8Array({ minLength: 64, maxLength: 4096 }), (secret, memory) => {
      fc.pre(!secret.every((byte) => byte === secret[0]));
      expect(formsFoundIn(memory, secret).size).toBe(0);
    }),
  );
});
