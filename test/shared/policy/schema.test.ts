/** policy.schema.json beside the parser: it takes whatever the parser takes, and nothing else that structure can tell. */
import { readFileSync } from 'node:fs';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import { FORBIDDEN_PROGRAMS, UNDERSTOOD_PROGRAMS } from '@quantumvault/shared/solana/programs.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { corpus, fullPolicy, type Json, STRANGER, simplePolicy } from './cases.ts';
import { validates } from './json-schema.ts';
import { filled, TEMPLATES } from './templates.ts';

const schema = JSON.parse(
  readFileSync(new URL('../../../shared/src/policy/policy.schema.json', import.meta.url), 'utf8'),
) as Json;

const whyRefused = (document: unknown): string | undefined =>
  refusalOf(() => parsePolicy(document, { support: POLICY_FEATURES }))?.facts.value;

/** What only the parser can tell; the schema's $comment names each. */
const BEYOND_STRUCTURE = [
  /base58 address/,
  /must be a time/,
  /below 2\^64/,
  /does not fit/,
  /is not after validFrom/,
  /appears twice/,
  /is no mint of tokens/,
  /constrains nothing/,
  /is below min/,
  /lies beyond maxAccounts/,
  /needs exactly one data rule/,
  /too many destinations/,
  // maxAccounts below minAccounts.
  /^must be [1-9]\d* to 255$/,
];

function expectAgreement(document: unknown): void {
  const why = whyRefused(document);
  const isStructured = validates(schema, document);
  if (why === undefined) expect(isStructured).toBe(true);
  else if (isStructured)
    expect(
      BEYOND_STRUCTURE.some((pattern) => pattern.test(why)),
      why,
    ).toBe(true);
}

const documents: [string, Json][] = [
  ...Object.entries(corpus.policies),
  ...TEMPLATES.map((template): [string, Json] => [template, filled(template)]),
  ['simple', simplePolicy()],
  ['full', fullPolicy()],
];

describe('the schema', () => {
  it.each(documents)('takes %s, as the parser does', (_, document) => {
    expect(whyRefused(document)).toBeUndefined();
    expect(validates(schema, document)).toBe(true);
  });

  it('names the limits of the parser', () => {
    const text = JSON.stringify(schema);
    for (const most of [LIMITS.requesters, LIMITS.policyTokens, LIMITS.policyAddresses, LIMITS.policyPrograms])
      expect(text).toContain(`"maxItems":${most}`);
    for (const most of [LIMITS.policyInstructionRules, LIMITS.policyDataRules, LIMITS.policyAccountRules])
      expect(text).toContain(`"maxItems":${most}`);
    for (const most of [LIMITS.policyWindowSeconds, LIMITS.transactionInstructions, LIMITS.transactionV1Bytes])
      expect(text).toContain(`"maximum":${most}`);
    for (const program of [...UNDERSTOOD_PROGRAMS, ...FORBIDDEN_PROGRAMS]) expect(text).toContain(program);
  });

  it('is of draft 2020-12', () => {
    expect(schema['$schema']).toBe('https://json-schema.org/draft/2020-12/schema');
  });
});

/** Every place in a document: the object or list that holds it, and its key there. */
function places(value: unknown): { holder: Json; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [{ holder: value as Json, key }, ...places(inner)]);
}

describe('schema and parser agree on', () => {
  // Every shape at once: all kinds of data and account rules, both kinds of sources.
  const COUNT = places(fullPolicy()).length;
  const WRONG: readonly unknown[] = [
    null,
    '',
    'x',
    '0',
    0,
    -1,
    1.5,
    256,
    5_000,
    2 ** 33,
    true,
    false,
    [],
    {},
    [''],
    STRANGER,
  ];

  it('every value in every place', () => {
    for (let index = 0; index < COUNT; index++)
      for (const wrong of WRONG) {
        const document = fullPolicy();
        const place = places(document)[index];
        if (place === undefined) throw new Error('no such place');
        place.holder[place.key] = wrong;
        expectAgreement(document);
      }
  });

  it('every missing and every unknown field', () => {
    for (let index = 0; index < COUNT; index++) {
      const [without, withMore] = [fullPolicy(), fullPolicy()];
      const place = places(without)[index];
      const other = places(withMore)[index];
      if (place === undefined || other === undefined) throw new Error('no such place');
      if (!Array.isArray(place.holder)) {
        delete place.holder[place.key];
        expectAgreement(without);
        other.holder['more'] = 1;
        expectAgreement(withMore);
        expect(validates(schema, withMore)).toBe(false);
      }
    }
  });

  it('lists of any length', () => {
    for (let index = 0; index < COUNT; index++)
      for (const length of [0, 2, 17, 33, 65, 129, 257]) {
        const document = fullPolicy();
        const place = places(document)[index];
        const list = place?.holder[place.key];
        if (place === undefined || !Array.isArray(list)) continue;
        place.holder[place.key] = Array(length).fill(list[0]);
        expectAgreement(document);
      }
  });

  it('several changes at once', () => {
    const change = fc.tuple(fc.nat(COUNT - 1), fc.constantFrom(...WRONG));
    fc.assert(
      fc.property(fc.array(change, { minLength: 2, maxLength: 4 }), (changes) => {
        const document = fullPolicy();
        for (const [index, wrong] of changes) {
          const place = places(document)[index];
          if (place !== undefined) place.holder[place.key] = structuredClone(wrong);
        }
        expectAgreement(JSON.parse(JSON.stringify(document)));
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([null, [], 'x', 5, {}])('%j', (value) => {
    expectAgreement(value);
    expect(validates(schema, value)).toBe(false);
  });
});
