/**
 * RSA keys that were born in the process under test: only their moduli are known, from attestation documents. In
 * memory a private key shows as a number that divides its modulus.
 */
import { createPublicKey } from 'node:crypto';
import type { Secret } from './secrets.ts';

const PRIME_BYTES = 128;
const PRIME_WORDS = PRIME_BYTES / 4;
const EXPONENT = 65537n;

/** @param spki DER SubjectPublicKeyInfo of RSA-2048 */
export function modulusOf(spki: Uint8Array): bigint {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return BigInt(`0x${Buffer.from(String(key.export({ format: 'jwk' }).n), 'base64url').toString('hex')}`);
}

export interface Factor {
  readonly modulus: bigint;
  readonly prime: bigint;
  readonly offset: number;
}

/**
 * Every place of `bytes` where a prime factor of one of the moduli stands, in 128 bytes of either byte order.
 * Looked at are places at multiples of eight, which is where OpenSSL's numbers are.
 */
export function findFactors(bytes: Buffer, moduli: readonly bigint[]): readonly Factor[] {
  if (bytes.byteOffset % 4 !== 0) throw new RangeError('not aligned');
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  const found: Factor[] = [];
  let lastZero = -1;
  for (let end = 0; end < words.length; end++) {
    // A prime of 32 words with a zero among them would be a rare one: this passes over most of a process's memory.
    if (words[end] === 0) {
      lastZero = end;
      continue;
    }
    const start = end - PRIME_WORDS + 1;
    if (start <= lastZero || (start & 1) !== 0) continue;
    const [first, last] = [words[start] as number, words[end] as number];
    // Odd, and of full length: least significant byte first, or last.
    if ((first & 1) === 1 && last >>> 31 === 1) check(start, true);
    if ((last & 0x0100_0000) !== 0 && (first & 0x80) !== 0) check(start, false);
  }
  return found;

  function check(start: number, isLittleEndian: boolean): void {
    if (!maybePrime(words, start)) return;
    const offset = start * 4;
    const window = Buffer.from(bytes.subarray(offset, offset + PRIME_BYTES));
    const prime = BigInt(`0x${(isLittleEndian ? window.reverse() : window).toString('hex')}`);
    for (const modulus of moduli) if (modulus % prime === 0n) found.push({ modulus, prime, offset });
  }
}

/**
 * False of multiples of 3, 5 and 17. These divide 2^8 - 1, so that a number leaves the same remainder as the sum of its
 * words, in whichever order its bytes stand.
 */
function maybePrime(words: Uint32Array, start: number): boolean {
  let sum = 0;
  for (let at = start; at < start + PRIME_WORDS; at++) sum += words[at] as number;
  return sum % 3 !== 0 && sum % 5 !== 0 && sum % 17 !== 0;
}

/** What a process holds of a key of which one prime is known: all that OpenSSL computes with. */
export function privateNumbers(of: string, modulus: bigint, prime: bigint): readonly Secret[] {
  const other = modulus / prime;
  if (prime * other !== modulus) throw new Error('not a factor');
  const [p, q] = prime > other ? [prime, other] : [other, prime];
  const exponent = inverse(EXPONENT, ((p - 1n) * (q - 1n)) / gcd(p - 1n, q - 1n));
  const numbers = [p, q, exponent, exponent % (p - 1n), exponent % (q - 1n), inverse(q, p)];
  return numbers.map((number) => ({ kind: 'recipient key', of, bytes: bigEndian(number) }));
}

function bigEndian(number: bigint): Uint8Array {
  const hex = number.toString(16);
  return new Uint8Array(Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex'));
}

function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

function inverse(value: bigint, modulus: bigint): bigint {
  let [previous, current] = [modulus, value % modulus];
  let [before, now] = [0n, 1n];
  while (current !== 0n) {
    const quotient = previous / current;
    [previous, current] = [current, previous - quotient * current];
    [before, now] = [now, before - quotient * now];
  }
  if (previous !== 1n) throw new Error('no inverse');
  return ((before % modulus) + modulus) % modulus;
}
