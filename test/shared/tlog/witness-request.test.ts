/** Requests to witnesses: one spelling, of the specification's form. */
import { type Hash, hash } from '@quantumvault/shared/brands.ts';
import { concatBytes, fromBase64, toBase64, utf8 } from '@quantumvault/shared/bytes.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { MAX_LEAVES } from '@quantumvault/shared/tlog/tree.ts';
import {
  formatAddCheckpoint,
  formatSize,
  parseAddCheckpoint,
  parseSize,
} from '@quantumvault/shared/tlog/witness-request.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { vectors } from './keys.ts';

const numRuns = Number(process.env['PROPERTY_RUNS'] ?? 300);
const NOTE = vectors.c2sp.note;
const HASHES = [
  'PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=',
  'jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=',
  '5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=',
  '/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=',
];
const EXAMPLE = `old 20852014\n${HASHES.join('\n')}\n\n${NOTE}`;
const pathOf = (text: string | Uint8Array) =>
  refusalOf(() => parseAddCheckpoint(typeof text === 'string' ? utf8(text) : text))?.facts.path;

describe('add-checkpoint', () => {
  it('is what the specification shows', () => {
    const request = parseAddCheckpoint(utf8(EXAMPLE));
    expect(request.oldSize).toBe(20_852_014n);
    expect(request.proof.map(toBase64)).toEqual(HASHES);
    expect(request.note).toEqual(utf8(NOTE));
    expect(formatAddCheckpoint(request)).toEqual(utf8(EXAMPLE));
  });

  it('has no proof from nothing', () => {
    expect(parseAddCheckpoint(utf8(`old 0\n\n${NOTE}`))).toEqual({ oldSize: 0n, proof: [], note: utf8(NOTE) });
  });

  it('holds any size, as many hashes as allowed, and any note', () => {
    const sizes = fc.bigInt({ min: 0n, max: MAX_LEAVES });
    const hashes = fc.array(
      fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => hash(Uint8Array.from(bytes))),
      { maxLength: LIMITS.witnessProofHashes },
    );
    const notes = fc.oneof(
      fc.constant(utf8(NOTE)),
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Uint8Array.from(bytes)),
    );
    fc.assert(
      fc.property(sizes, hashes, notes, (oldSize, proof, note) => {
        expect(parseAddCheckpoint(formatAddCheckpoint({ oldSize, proof, note }))).toEqual({ oldSize, proof, note });
      }),
      { numRuns },
    );
  });

  it.each([
    ['nothing', '', 'head'],
    ['a note alone', NOTE, 'old'],
    ['no empty line', 'old 0\n', 'head'],
    ['no old size', `${HASHES[0]}\n\n${NOTE}`, 'old'],
    ['an empty line first', `\n\nold 0\n\n${NOTE}`, 'old'],
    ['a leading zero', `old 00\n\n${NOTE}`, 'old'],
    ['a sign', `old +1\n\n${NOTE}`, 'old'],
    ['a negative size', `old -1\n\n${NOTE}`, 'old'],
    ['two spaces', `old  1\n\n${NOTE}`, 'old'],
    ['a space behind it', `old 1 \n\n${NOTE}`, 'old'],
    ['another word', `Old 1\n\n${NOTE}`, 'old'],
    ['hexadecimal', `old 0x1\n\n${NOTE}`, 'old'],
    ['another alphabet’s digit', `old \u0661\n\n${NOTE}`, 'old'],
    ['carriage returns', `old 1\r\n\r\n\n\n${NOTE}`, 'old'],
    ['a byte-order mark', `\ufeffold 1\n\n${NOTE}`, 'old'],
    ['2^63', `old ${MAX_LEAVES + 1n}\n\n${NOTE}`, 'old'],
    ['twenty digits', `old 99999999999999999999\n\n${NOTE}`, 'old'],
    ['a proof line that is no base64', `old 1\n?\n\n${NOTE}`, 'proof[0]'],
    ['a proof line without padding', `old 1\n${HASHES[0]?.slice(0, -1)}\n\n${NOTE}`, 'proof[0]'],
    ['a proof line with bits left over', `old 1\n${'A'.repeat(42)}B=\n\n${NOTE}`, 'proof[0]'],
    ['a hash of 31 bytes', `old 1\n${HASHES[0]}\n${toBase64(new Uint8Array(31))}\n\n${NOTE}`, 'proof[1]'],
    ['a hash of 33 bytes', `old 1\n${toBase64(new Uint8Array(33))}\n\n${NOTE}`, 'proof[0]'],
    ['64 hashes', `old 1\n${`${HASHES[0]}\n`.repeat(64)}\n${NOTE}`, 'head'],
    ['64 lines', `old 1\n${'AAAA\n'.repeat(64)}\n${NOTE}`, 'proof'],
    ['no end of hashes', `old 1\n${`${HASHES[0]}\n`.repeat(1_000)}\n${NOTE}`, 'head'],
  ])('refuses %s', (_, text, path) => expect(pathOf(text)).toBe(path));

  it('takes 63 hashes and bounds the whole', () => {
    const proof = Array.from({ length: 63 }, () => fromBase64(HASHES[0] ?? '') as Hash);
    const room =
      LIMITS.witnessRequestBytes - formatAddCheckpoint({ oldSize: MAX_LEAVES, proof, note: utf8('') }).length;
    const full = { oldSize: MAX_LEAVES, proof, note: new Uint8Array(room) };
    expect(parseAddCheckpoint(formatAddCheckpoint(full))).toEqual(full);
    const over = { ...full, note: new Uint8Array(room + 1) };
    expect(refusalOf(() => formatAddCheckpoint(over))?.code).toBe('witness_request_malformed');
    expect(pathOf(concatBytes(formatAddCheckpoint(full), new Uint8Array(1)))).toBe('length');
    const more = { oldSize: 1n, proof: [...proof, ...proof], note: utf8(NOTE) };
    expect(refusalOf(() => formatAddCheckpoint(more))?.facts.path).toBe('proof');
    for (const oldSize of [-1n, MAX_LEAVES + 1n])
      expect(refusalOf(() => formatAddCheckpoint({ ...full, oldSize }))?.facts.path).toBe('old');
  });

  it('has one spelling: whatever parses is what would be written', () => {
    const edits = fc.record({ at: fc.nat(EXAMPLE.length), cut: fc.nat(3), text: fc.string({ maxLength: 3 }) });
    const changed = edits.map(({ at, cut, text }) => utf8(EXAMPLE.slice(0, at) + text + EXAMPLE.slice(at + cut)));
    fc.assert(
      fc.property(
        fc.oneof(
          changed,
          fc.uint8Array({ maxLength: 300 }).map((bytes) => Uint8Array.from(bytes)),
        ),
        (bytes) => {
          let request: ReturnType<typeof parseAddCheckpoint> | undefined;
          const refusal = refusalOf(() => {
            request = parseAddCheckpoint(bytes);
          });
          if (request === undefined) expect(refusal?.code).toBe('witness_request_malformed');
          else expect(formatAddCheckpoint(request)).toEqual(bytes);
        },
      ),
      { numRuns: numRuns * 5 },
    );
  });
});

describe('the size in a conflict', () => {
  it('is read as it is written', () => {
    for (const size of [0n, 1n, 20_852_014n, MAX_LEAVES]) expect(parseSize(utf8(formatSize(size)))).toBe(size);
  });

  it.each([
    '',
    '\n',
    '1',
    '01\n',
    '+1\n',
    '-1\n',
    '1\n\n',
    ' 1\n',
    '1 \n',
    '0x1\n',
    '1\r\n',
    '\u0661\n',
    `${MAX_LEAVES + 1n}\n`,
  ])('is not %j', (text) => expect(parseSize(utf8(text))).toBeUndefined());

  it('is short', () => expect(parseSize(utf8(`${MAX_LEAVES}\n${'x'.repeat(100)}`))).toBeUndefined());
});
