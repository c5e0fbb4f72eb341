/** All faults of a policy document at once: as many as were made, and none where the parser finds none. */

import { policyFaults } from '@quantumvault/shared/policy/faults.ts';
import { POLICY_FEATURES, parsePolicy } from '@quantumvault/shared/policy/policy.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { corpus, fullPolicy, type Json, simplePolicy, USDC } from './cases.ts';

const pathsOf = (document: unknown): readonly string[] => policyFaults(document).map(({ path }) => path);
const part = (document: Json, key: string): Json => document[key] as Json;

describe('no fault', () => {
  it.each(Object.entries(corpus.policies))('of %s', (_, policy) => expect(policyFaults(policy)).toEqual([]));
  it('of a policy with everything', () => expect(policyFaults(fullPolicy())).toEqual([]));
});

describe('all faults', () => {
  it('of fields that have nothing to do with each other', () => {
    const { owner: _, ...rest } = fullPolicy();
    const document = {
      ...rest,
      wallet: 'nobody',
      epoch: 0,
      more: 1,
      sol: { maxPerTransaction: '5' },
      rate: { perMinute: -1, perDay: 1 },
    };
    expect(policyFaults(document)).toEqual([
      { path: 'owner', why: 'missing' },
      { path: 'wallet', why: 'must be a base58 address' },
      { path: 'epoch', why: 'must be 1 to 4294967295' },
      { path: 'sol.destinations', why: 'missing' },
      { path: 'rate.perMinute', why: 'must be 0 to 4294967295' },
      { path: 'more', why: 'unknown field' },
    ]);
  });

  it('of every token', () => {
    const [usdc] = fullPolicy()['tokens'] as Json[];
    const tokens = [{ ...usdc, decimals: 256 }, usdc, { ...usdc, mint: 'x' }, 5, usdc];
    expect(pathsOf({ ...simplePolicy(), tokens })).toEqual(['tokens[0].decimals', 'tokens[2].mint', 'tokens[3]']);
    expect(policyFaults({ ...simplePolicy(), tokens: [usdc, usdc] })).toEqual([
      { path: 'tokens[1]', why: 'appears twice' },
    ]);
  });

  it('of every instruction, whose mints count although their tokens are wrong', () => {
    const document = fullPolicy();
    const [program] = document['programs'] as Json[];
    const [swap] = (program?.['instructions'] ?? []) as Json[];
    const instructions = [{ ...swap, name: '' }, swap, { ...swap, name: 'b', minAccounts: 300 }];
    const tokens = [{ mint: USDC }];
    const programs = [{ program: 'x', instructions: [] }, { ...program, instructions }, 7];
    expect(pathsOf({ ...document, tokens, programs })).toEqual([
      'tokens[0].tokenProgram',
      'programs[1].instructions[0].name',
      'programs[1].instructions[2].minAccounts',
      'programs[0].program',
      'programs[2]',
    ]);
    // An unlisted mint is still one.
    expect(pathsOf({ ...document, tokens: [] })).toEqual(['programs[0].instructions[0].data[1].spends']);
  });

  it('of what only the whole shows', () => {
    const document = { ...simplePolicy(), validFrom: '2027-01-01T00:00:00Z' };
    expect(policyFaults(document)).toEqual([{ path: 'validUntil', why: 'is not after validFrom' }]);
  });

  it.each([null, [], 'policy', 5])('of %j', (value) => {
    expect(policyFaults(value)).toEqual([{ path: '', why: 'must be an object' }]);
  });
});

describe('any change', () => {
  const damage = fc.constantFrom<unknown>(undefined, null, 5, -1, '', '00', 'x', [], {}, true, [1], { x: 1 }, [null]);
  const anyPart = fc.tuple(fc.constantFrom(...Object.keys(fullPolicy())), fc.nat(3), damage);

  function damaged(changes: readonly [string, number, unknown][]): Json {
    const document = fullPolicy();
    for (const [key, depth, value] of changes) {
      let holder = document;
      let last = key;
      for (let level = 0; level < depth; level++) {
        const inner = holder[last];
        const keys = typeof inner === 'object' && inner !== null ? Object.keys(inner) : [];
        if (keys.length === 0) break;
        holder = inner as Json;
        last = keys[level % keys.length] ?? '';
      }
      if (value === undefined) delete holder[last];
      else holder[last] = structuredClone(value);
    }
    return JSON.parse(JSON.stringify(document)) as Json;
  }

  it('is a fault exactly if the parser refuses it, and what it names is among the faults', () => {
    fc.assert(
      fc.property(fc.array(anyPart, { minLength: 1, maxLength: 4 }), (changes) => {
        const document = damaged(changes);
        const refusal = refusalOf(() => parsePolicy(document, { support: POLICY_FEATURES }));
        const paths = pathsOf(document);
        if (refusal === undefined) expect(paths).toEqual([]);
        else expect(paths).toContain(refusal.facts.path);
        expect(new Set(paths).size).toBe(paths.length);
      }),
      { numRuns: 500 },
    );
  });

  it('of several fields is as many faults', () => {
    const fields = ['wallet', 'owner', 'epoch', 'requesters', 'transaction', 'fees', 'sol', 'tokens', 'rate'];
    fc.assert(
      fc.property(fc.uniqueArray(fc.constantFrom(...fields), { minLength: 1 }), (broken) => {
        const document = { ...fullPolicy(), ...Object.fromEntries(broken.map((key) => [key, 'wrong'])) };
        const paths = pathsOf(document);
        for (const key of broken) expect(paths).toContain(key);
      }),
    );
  });

  it('does not change the document', () => {
    const document = { ...fullPolicy(), epoch: 0 };
    const before = structuredClone(document);
    policyFaults(document);
    expect(document).toEqual(before);
    expect(part(document, 'sol')).toEqual(part(before, 'sol'));
  });
});
