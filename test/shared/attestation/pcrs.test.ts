/** Expected PCRs as nitro-cli prints them. */
import { parsePcrSets } from '@quantumvault/shared/attestation/pcrs.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { codeOf } from '@quantumvault/shared/errors.ts';
import { describe, expect, test } from 'vitest';

const A = 'ab'.repeat(48);
const B = 'cd'.repeat(48);
const NITRO_CLI = {
  Measurements: { HashAlgorithm: 'Sha384 { ... }', PCR0: A, PCR1: B, PCR2: A, PCR8: B },
};

const parse = (value: unknown) => parsePcrSets(utf8(typeof value === 'string' ? value : JSON.stringify(value)), 'file');

function code(value: unknown): string {
  try {
    parse(value);
    return 'ok';
  } catch (error) {
    return codeOf(error);
  }
}

test('what nitro-cli prints', () => {
  const [set, ...more] = parse(NITRO_CLI);
  expect(more).toEqual([]);
  expect(set?.name).toBe('file');
  expect([...(set?.pcrs ?? [])].map(([index, value]) => [index, toHex(value)])).toEqual([
    [0, A],
    [1, B],
    [2, A],
    [8, B],
  ]);
});

test('what nitro-cli describe-eif and qv measure say besides', () => {
  const [set] = parse({ ...NITRO_CLI, EifVersion: 4, IsSigned: false, CheckCRC: true, ImageName: 'x' });
  expect(set?.pcrs.size).toBe(4);
});

test('the inner object alone, and several', () => {
  expect(parse({ PCR0: A })[0]?.pcrs.size).toBe(1);
  expect(parse([NITRO_CLI, { PCR0: B }]).map(({ name }) => name)).toEqual(['file#0', 'file#1']);
});

describe('refused', () => {
  const malformed = 'attestation_pcr_set_malformed';
  const rows: readonly (readonly [string, unknown, string])[] = [
    ['no PCR0', { PCR1: A }, malformed],
    ['nothing', {}, malformed],
    ['no set', [], malformed],
    ['too many sets', new Array(65).fill({ PCR0: A }), malformed],
    ['a number', 1, malformed],
    ['null', null, malformed],
    ['an array of arrays', [[]], malformed],
    ['Measurements as text', { Measurements: 'x' }, malformed],
    ['a PCR beside Measurements', { Measurements: { PCR0: A }, PCR1: B }, malformed],
    ['an unknown key', { PCR0: A, Pcr1: B }, malformed],
    ['PCR32', { PCR0: A, PCR32: B }, malformed],
    ['PCR01', { PCR0: A, PCR01: B }, malformed],
    ['upper-case hex', { PCR0: A.toUpperCase() }, malformed],
    ['hex with a prefix', { PCR0: `0x${A}` }, malformed],
    ['a digest too short', { PCR0: A.slice(2) }, malformed],
    ['a digest too long', { PCR0: `${A}00` }, malformed],
    ['a digest as number', { PCR0: 0 }, malformed],
    ['another algorithm', { HashAlgorithm: 'Sha512 { ... }', PCR0: A }, malformed],
    ['a key twice', `{"PCR0":"${A}","PCR0":"${B}"}`, 'json_malformed'],
    ['no JSON', 'PCR0', 'json_malformed'],
  ];
  for (const [what, value, result] of rows) test(what, () => expect(code(value)).toBe(result));
});
