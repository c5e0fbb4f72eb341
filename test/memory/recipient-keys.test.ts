import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { findFactors, modulusOf, privateNumbers } from './recipient-keys.ts';

function rsa() {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  const numbers = (['p', 'q', 'd', 'dp', 'dq', 'qi'] as const).map((name) => Buffer.from(jwk[name] ?? '', 'base64url'));
  return { modulus: modulusOf(new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))), numbers };
}

const keys = [rsa(), rsa(), rsa()];
const moduli = keys.map(({ modulus }) => modulus);

/** Memory with these bytes at these places. */
function memory(bytes: number, at: Readonly<Record<number, Buffer>>, fill = randomBytes(bytes)): Buffer {
  const buffer = Buffer.allocUnsafeSlow(bytes);
  fill.copy(buffer);
  for (const [offset, part] of Object.entries(at)) part.copy(buffer, Number(offset));
  return buffer;
}

describe('prime factors', () => {
  it('are found in both byte orders, at the very beginning and end, among random bytes and among zeros', () => {
    for (const [index, { modulus, numbers }] of keys.entries()) {
      const [p, q] = numbers as [Buffer, Buffer];
      const reversed = Buffer.from(q).reverse();
      for (const fill of [randomBytes(8192), Buffer.alloc(8192)]) {
        const found = findFactors(memory(8192, { 0: p, 1000: reversed, 8064: p }, fill), moduli);
        expect(found.map(({ offset }) => offset)).toEqual([0, 1000, 8064]);
        expect(found.every((factor) => factor.modulus === modulus && modulus % factor.prime === 0n)).toBe(true);
      }
      expect(findFactors(memory(8192, { 0: p }), moduli.toSpliced(index, 1))).toEqual([]);
    }
  });

  it('are not found where none is, nor one with a wrong bit', () => {
    const changed = Buffer.from(keys[0]?.numbers[0] as Buffer);
    changed[64] = (changed[64] as number) ^ 4;
    expect(findFactors(memory(1 << 20, { 512: changed }), moduli)).toEqual([]);
  });
});

describe('the other numbers of a private key', () => {
  it('are those that OpenSSL has', () => {
    for (const { modulus, numbers } of keys) {
      const prime = BigInt(`0x${(numbers[1] as Buffer).toString('hex')}`);
      const own = privateNumbers('a key', modulus, prime).map(({ bytes }) => Buffer.from(bytes).toString('hex'));
      const theirs = numbers.map((number) => number.toString('hex').replace(/^(00)+/, ''));
      // Which prime is called p is a convention; OpenSSL's exponents go by its own.
      expect(new Set(own.slice(0, 5))).toEqual(new Set(theirs.slice(0, 5)));
      if (BigInt(`0x${theirs[0]}`) > BigInt(`0x${theirs[1]}`)) expect(own[5]).toBe(theirs[5]);
    }
  });

  it('need a factor', () => {
    expect(() => privateNumbers('a key', moduli[0] as bigint, 3n)).toThrow('not a factor');
  });
});
