/** Every form of a key: what is read is what was written, and whatever is not exactly a key is refused unseen. */
import { inspect } from 'node:util';
import { parseDerivationPath } from '@quantumvault/host/cli/import/derivation-path.ts';
import { formOf, type KeyForm, seedFrom } from '@quantumvault/host/cli/import/key-forms.ts';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import type { ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../../support/codes.ts';
import { masterSeedOf, mnemonicOf, nodesOf, pairOf, WORDS } from './oracle.ts';
import { inWork, sodium, utf8 } from './work.ts';

interface Given {
  readonly form?: KeyForm;
  readonly passphrase?: string;
  readonly path?: string;
  readonly isExpected?: boolean;
}

function seedOf(key: Uint8Array, { form, passphrase = '', path, isExpected = true }: Given = {}): Buffer {
  const options = { isExpected, passphrase: utf8(passphrase), ...(path !== undefined && { path }) };
  return inWork((part) => Buffer.from(seedFrom(sodium, key, form ?? formOf(key), options, part)));
}

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const seeds = bytes(32).map((seed) => Buffer.from(seed));
const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);
const entropies = fc.constantFrom(16, 20, 24, 28, 32).chain(bytes);

/** Nothing of a refusal, its causes and its stack included, has any part of what was read. */
function expectRefused(key: Uint8Array | string, code: ErrorCode, given: Given = {}): QvError {
  const input = typeof key === 'string' ? utf8(key) : key;
  const refusal = refusalOf(() => seedOf(input, given)) as QvError;
  expect(refusal?.code, inspect(refusal)).toBe(code);
  expectUnseen(refusal, Buffer.from(input).toString('latin1'));
  return refusal;
}

const MARKER = /[zqxj]{5,}|\d{4,}/g;

function expectUnseen(refusal: QvError, input: string): void {
  const shown = inspect(refusal, { depth: 9 }) + JSON.stringify(refusal.facts);
  for (const [marker] of input.matchAll(MARKER)) expect(shown).not.toContain(marker);
  // Whatever has no marker: none of its longer pieces.
  const windows = Array.from({ length: Math.max(0, input.length - 11) }, (_, start) => input.slice(start, start + 12));
  expect(windows.filter((piece) => /[^ 0]/.test(piece) && shown.includes(piece))).toEqual([]);
}

function isArrayOfBytes(text: string): boolean {
  try {
    const read: unknown = JSON.parse(text);
    if (!Array.isArray(read) || read.length !== 64 || !/^[\s\d,[\]]*$/.test(text)) return false;
    return read.every((number) => Number.isInteger(number) && number >= 0 && number <= 255);
  } catch {
    return false;
  }
}

describe('a keypair file', () => {
  const array = (seed: Uint8Array): number[] => [...pairOf(seed).pair];

  it('is read with whatever white space JSON allows', () => {
    fc.assert(
      fc.property(seeds, fc.array(space, { minLength: 130, maxLength: 130 }), (seed, spaces) => {
        let at = 0;
        const gap = (): string => spaces[at++] ?? '';
        const numbers = array(seed).map((number) => `${gap()}${number}${gap()}`);
        const text = `${gap()}[${numbers.join(',')}]${gap()}`;
        expect(JSON.parse(text)).toEqual(array(seed));
        expect(formOf(utf8(text))).toBe('keypair');
        expect(seedOf(utf8(text)).equals(seed)).toBe(true);
      }),
    );
  });

  const seed = Buffer.alloc(32, 7);
  const numbers = array(seed).map(String);
  const with_ = (index: number, text: string): string => `[${numbers.with(index, text).join(',')}]`;

  it.each([
    ['a number above a byte', with_(3, '256')],
    ['a much larger number', with_(3, '99317')],
    ['a number beyond all precision', with_(3, '9'.repeat(400))],
    ['a negative number', with_(5, '-7')],
    ['minus zero', with_(5, '-0')],
    ['a plus sign', with_(5, '+7')],
    ['a fraction', with_(9, '7.0')],
    ['an exponent', with_(9, '7e0')],
    ['a leading zero', with_(11, '07')],
    ['three zeros', with_(11, '000')],
    ['hex', with_(11, '0x7')],
    ['a string', with_(0, '"7"')],
    ['null', with_(63, 'null')],
    ['an empty place', with_(20, '')],
    ['white space inside of a number', with_(20, '1 1')],
    ['a nested array', with_(20, '[7]')],
    ['a NUL byte', with_(20, '7\0')],
    ['a form feed, which is no white space of JSON', with_(20, '\f7')],
    ['63 numbers', `[${numbers.slice(1).join(',')}]`],
    ['65 numbers', `[${numbers.join(',')},7]`],
    ['32 numbers', `[${numbers.slice(0, 32).join(',')}]`],
    ['a comma at the end', `[${numbers.join(',')},]`],
    ['no end', `[${numbers.join(',')}`],
    ['no numbers', '[]'],
    ['only its beginning', '['],
    ['something behind it', `[${numbers.join(',')}]zqxjzqxj`],
    ['two of them', `[${numbers.join(',')}][${numbers.join(',')}]`],
    ['commas that are missing', `[${numbers.join(' ')}]`],
    ['an object', `{"zqxjzqxj": [${numbers.join(',')}]}`],
  ])('is refused with %s', (_, text) => {
    const { facts } = expectRefused(text, 'key_malformed', { form: 'keypair' });
    expect(facts.path).toBeUndefined();
  });

  it('is refused with any one character changed, unless it is still the same key', () => {
    const text = `[${numbers.join(',')}]`;
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.integer({ min: 0, max: 127 }), (at, byte) => {
        const key = Buffer.from(text);
        key[at] = byte;
        const refusal = refusalOf(() => expect(seedOf(key, { form: 'keypair' }).equals(seed)).toBe(true));
        // As JSON says, less the spellings of a number that a byte does not need.
        expect(refusal?.code === 'key_malformed').toBe(!isArrayOfBytes(key.toString('latin1')));
        if (refusal !== undefined) expect(['key_malformed', 'key_pair_mismatch']).toContain(refusal.code);
      }),
      { numRuns: 2_000 },
    );
  });

  it('tells the place that is wrong, and not what stands there', () => {
    expect(expectRefused(`[${numbers.join(',')},7,7]`, 'key_malformed').facts.value).toBe(
      'an array of more than 64 numbers',
    );
    expect(expectRefused(with_(16, '99317'), 'key_malformed').facts.value).toBe(
      'number 17 of the array is not a whole number from 0 to 255',
    );
  });
});

describe('raw bytes', () => {
  it('are the seed, or the seed and its public key', () => {
    fc.assert(
      fc.property(seeds, (seed) => {
        fc.pre(!seed.every((byte) => byte >= 0x20 && byte < 0x7f));
        expect(seedOf(seed).equals(seed)).toBe(true);
        expect(seedOf(pairOf(seed).pair).equals(seed)).toBe(true);
      }),
    );
  });

  it('are refused with another length, and with another public key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (key) => {
        fc.pre(key.length !== 32 && key.length !== 64);
        expectRefused(key, 'key_malformed', { form: 'raw' });
      }),
    );
    fc.assert(
      fc.property(seeds, fc.integer({ min: 0, max: 511 }), (seed, bit) => {
        const pair = Buffer.from(pairOf(seed).pair);
        pair[bit >> 3] = (pair[bit >> 3] ?? 0) ^ (1 << (bit & 7));
        expectRefused(pair, 'key_pair_mismatch', { form: 'raw' });
      }),
    );
  });

  it('that are text are no key, unless somebody says so', () => {
    const hex = '00112233445566778899aabbccddeeff';
    expectRefused(hex, 'key_malformed');
    expectRefused(`${hex}${hex}`, 'key_malformed');
    expect(seedOf(utf8(hex), { form: 'raw' }).toString()).toBe(hex);
  });
});

describe('base58', () => {
  it('is of 32 or 64 bytes, and of nothing else', () => {
    fc.assert(
      fc.property(seeds, space, space, fc.nat(4), (random, before, behind, zeros) => {
        const seed = Buffer.from(random);
        seed.fill(0, 0, zeros);
        for (const key of [seed, pairOf(seed).pair]) {
          const text = utf8(before + toBase58(key) + behind);
          expect(seedOf(text, { form: 'base58' }).equals(seed)).toBe(true);
          if (key.length === 64) expect(formOf(text)).toBe('base58');
        }
      }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), (key) => {
        fc.pre(key.length !== 32 && key.length !== 64);
        expectRefused(toBase58(key), 'key_malformed', { form: 'base58' });
      }),
    );
  });

  it('with another public key is refused', () => {
    const pair = Buffer.from(pairOf(Buffer.alloc(32, 9)).pair);
    pair[63] = (pair[63] ?? 0) ^ 1;
    expectRefused(toBase58(pair), 'key_pair_mismatch');
  });

  it('of 32 bytes, as which an address passes, takes somebody who says what it is', () => {
    const seed = Buffer.alloc(32, 0xc7);
    expectRefused(toBase58(seed), 'key_malformed', { isExpected: false });
    expect(seedOf(utf8(toBase58(seed)), { isExpected: true }).equals(seed)).toBe(true);
  });

  const good = toBase58(pairOf(Buffer.alloc(32, 9)).pair);
  it.each([
    ['a zero', `0${good.slice(1)}`],
    ['a capital O', `${good.slice(0, 40)}O${good.slice(41)}`],
    ['a small l', `${good.slice(0, -1)}l`],
    ['one digit more', `${good}z`],
    ['one 1 more in front', `1${good}`],
    ['a NUL byte', `${good}\0`],
    ['many ones', '1'.repeat(88)],
    ['very many digits', 'z'.repeat(2_000)],
    ['a prefix', `ed25519:${good}`],
  ])('is refused with %s', (_, text) => {
    expectRefused(text, 'key_malformed', { form: 'base58' });
  });
});

describe('a mnemonic', () => {
  it('gives the key of another implementation, with any passphrase, path and white space', () => {
    const steps = fc.array(fc.nat(0x7fff_ffff), { maxLength: 5 });
    const gaps = fc.array(fc.stringMatching(/^[ \t\r\n]{1,3}$/), { minLength: 25, maxLength: 25 });
    const passphrases = fc.stringMatching(/^[ -~]{0,40}$/);
    fc.assert(
      fc.property(entropies, passphrases, fc.option(steps), gaps, (entropy, passphrase, indexes, spaces) => {
        const words = mnemonicOf(entropy).split(' ');
        const text = utf8(words.map((word, index) => `${spaces[index] ?? ' '}${word}`).join('') + spaces[24]);
        const path = indexes === null ? 'none' : ['m', ...indexes.map((index) => `${index}'`)].join('/');
        const master = masterSeedOf(words.join(' '), passphrase);
        const expected = indexes === null ? master.subarray(0, 32) : nodesOf(master, indexes).at(-1)?.key;
        expect(formOf(text)).toBe('mnemonic');
        expect(seedOf(text, { passphrase, path }).equals(expected ?? Buffer.alloc(0))).toBe(true);
      }),
      { numRuns: 40 },
    );
  });

  const mnemonic = mnemonicOf(Buffer.alloc(16, 0x5a));
  const words = mnemonic.split(' ');

  it.each([
    ['11 words', words.slice(1).join(' '), '11 words; there have to be 12, 15, 18, 21, 24'],
    ['13 words', `${mnemonic} zoo`, '13 words; there have to be 12, 15, 18, 21, 24'],
    ['25 words', Array.from({ length: 25 }, () => 'zoo').join(' '), '25 words; there have to be 12, 15, 18, 21, 24'],
    ['1000 words', 'a '.repeat(1_000), '1000 words; there have to be 12, 15, 18, 21, 24'],
    [
      'unknown words',
      words.with(2, 'zqxjzqxj').with(11, 'xxqqzz').join(' '),
      "not in BIP-39's English list, in lower case: word 3, 12 of 12",
    ],
    ['an upper-case letter', `${mnemonic[0]?.toUpperCase()}${mnemonic.slice(1)}`, null],
    [
      'the first four letters alone',
      words
        .with(4, words[4]?.slice(0, 4) ?? '')
        .with(5, 'zqxj')
        .join(' '),
      null,
    ],
    ['a comma', mnemonic.replace(' ', ', '), null],
    ['a NUL byte', mnemonic.replace(' ', '\0 '), null],
    ['a no-break space', mnemonic.replace(' ', '\u00a0'), null],
    ['words of Japan', Array.from({ length: 12 }, () => 'あいこくしん').join(' '), null],
    ['a word of 300 letters', words.with(6, 'zqxj'.repeat(75)).join(' '), null],
    ['nothing', '   ', '0 words; there have to be 12, 15, 18, 21, 24'],
  ])('is refused with %s', (_, text, value) => {
    const { facts } = expectRefused(text, 'mnemonic_malformed', { form: 'mnemonic' });
    if (value !== null) expect(facts.value).toBe(value);
  });

  it('is refused when its checksum fails: 15 of 16 times a word is another one, 255 of 256 in longer ones', () => {
    fc.assert(
      fc.property(entropies, fc.nat(11), fc.nat(2047), (entropy, at, index) => {
        const changed = mnemonicOf(entropy)
          .split(' ')
          .with(at, WORDS[index] ?? '');
        const text = utf8(changed.join(' '));
        const bits = changed.map((word) => WORDS.indexOf(word).toString(2).padStart(11, '0')).join('');
        const half = Buffer.from(
          (bits.slice(0, (bits.length * 32) / 33).match(/.{8}/g) ?? []).map((b) => Number.parseInt(b, 2)),
        );
        if (mnemonicOf(half) === changed.join(' ')) expect(seedOf(text, { path: 'none' })).toHaveLength(32);
        else expectRefused(text, 'mnemonic_checksum_invalid');
      }),
      { numRuns: 200 },
    );
    expectRefused(words.toReversed().join(' '), 'mnemonic_checksum_invalid');
    expectRefused(Array.from({ length: 24 }, () => 'abandon').join(' '), 'mnemonic_checksum_invalid');
  });

  it('takes no passphrase outside of printable ASCII', () => {
    for (const passphrase of ['zqxjzé', 'Å', 'zqxjz\n', '\0', 'a\tzqxjz', '\u007f', '㍍ガバヴァぱばぐゞちぢ十人十色']) {
      const refusal = expectRefused(mnemonic, 'passphrase_malformed', { passphrase });
      expectUnseen(refusal, passphrase);
      if (passphrase.length > 1) expect(inspect(refusal)).not.toContain(passphrase);
    }
  });
});

describe('a path', () => {
  it.each([
    ['m', []],
    ["m/44'/501'", [44, 501]],
    ["m/44'/501'/0'/0'", [44, 501, 0, 0]],
    ['m/44h/501H/7h', [44, 501, 7]],
    ["m/2147483647'", [2147483647]],
  ])('%s', (text, indexes) => expect(parseDerivationPath(text)).toEqual(indexes.map((index) => index + 0x8000_0000)));

  it('none is no derivation at all, and m the master key', () => {
    expect(parseDerivationPath('none')).toBeUndefined();
    const mnemonic = mnemonicOf(Buffer.alloc(32, 3));
    const master = masterSeedOf(mnemonic);
    expect(seedOf(utf8(mnemonic), { path: 'none' }).equals(master.subarray(0, 32))).toBe(true);
    expect(seedOf(utf8(mnemonic), { path: 'm' }).equals(nodesOf(master, [])[0]?.key ?? master)).toBe(true);
  });

  it.each([
    ['', null],
    ['M', null],
    ['zqxjzqxj', null],
    ["44'/501'", null],
    ["/44'", null],
    [
      "m/44'/501'/0'/0",
      'step 4 is no number below 2^31 with a quote behind it: Ed25519 has hardened steps alone, written with a quote',
    ],
    [
      'm/44/501/0/0',
      'step 1 is no number below 2^31 with a quote behind it: Ed25519 has hardened steps alone, written with a quote',
    ],
    ["m/2147483648'", 'step 1 is no number below 2^31 with a quote behind it'],
    ["m/99999999999'", null],
    ["m/044'", null],
    ["m/-1'", null],
    ["m/+1'", null],
    ["m/1.0'", null],
    ["m/1e1'", null],
    ["m/0x1'", null],
    ["m/1''", null],
    ["m//1'", null],
    ["m/1'/", null],
    ["m/ 1'", null],
    ["m/１'", null],
    ['m/1’', null],
    [`m${"/0'".repeat(11)}`, 'more than 10 steps'],
  ])('%s is refused', (path, value) => {
    const refusal = refusalOf(() => parseDerivationPath(path));
    expect(refusal?.code).toBe('derivation_path_malformed');
    if (value !== null) expect(refusal?.facts.value).toBe(value);
    expect(inspect(refusal)).not.toContain('zqxj');
  });
});

describe('bytes of no form', () => {
  it('are told from keys that are wrong', () => {
    const refusal = expectRefused(Uint8Array.of(0xff, 1, 2), 'key_malformed');
    expect(refusal.facts.value).toBe('neither text nor 32 or 64 bytes');
  });

  it('are refused, whatever they are', () => {
    for (const key of ['', ' \n', '0x', 'zqxj0zqxj0zqxj', '-----BEGIN PRIVATE KEY-----', '\ufeff[1,2]'])
      expectRefused(key, 'key_malformed');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (key) => {
        const refusal = refusalOf(() => seedOf(key));
        if (refusal === undefined) expect(key.length).toBe(32);
        else expect(['key_malformed', 'key_pair_mismatch', 'mnemonic_malformed']).toContain(refusal.code);
      }),
      { numRuns: 1_000 },
    );
  });
});
