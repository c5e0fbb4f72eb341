/** Policy documents: what is read, what is refused and where, and the bytes that are hashed. */
import { toHex } from '@quantumvault/shared/bytes.ts';
import { type CborValue, decodeCbor, encodeCbor } from '@quantumvault/shared/cbor.ts';
import {
  ENCLAVE_FEATURES,
  POLICY_FEATURES,
  parsePolicy,
  policyBytes,
  policyFromBytes,
  policyHash,
  policyJson,
} from '@quantumvault/shared/policy/policy.ts';
import { describe, expect, it } from 'vitest';
import { refusalOf } from '../../support/codes.ts';
import { corpus, DESTINATION, fullPolicy, type Json, STRANGER, SWAP_PROGRAM, simplePolicy } from './cases.ts';

const everything = { support: POLICY_FEATURES };

/** Sets the value at a path like `tokens[0].mint`; undefined removes the field. */
function withValue(document: Json, path: string, value: unknown): Json {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== '');
  const last = keys.pop() ?? '';
  const copy = structuredClone(document);
  const parent = keys.reduce<Json>((at, key) => at[key] as Json, copy);
  if (value === undefined) delete parent[last];
  else parent[last] = value;
  return copy;
}

describe('reading', () => {
  it('gives typed, frozen values', () => {
    const policy = parsePolicy(fullPolicy(), everything);
    expect(policy.sol.window).toEqual({ seconds: 60, max: 18446744073709551615n });
    expect(policy.validFrom).toBe(Date.parse('2026-11-01T00:00:00Z'));
    expect(policy.transaction.lookupTables).toEqual([{ table: STRANGER, addresses: [DESTINATION, DESTINATION] }]);
    expect(Object.isFrozen(policy)).toBe(true);
    expect(Object.isFrozen(policy.tokens[0]?.destinations)).toBe(true);
    expect(Object.isFrozen(policy.programs[0]?.instructions[0]?.data[1])).toBe(true);
  });

  it.each(Object.keys(corpus.policies))('the corpus policy %s, back to the same document', (name) => {
    const document = corpus.policies[name] ?? {};
    expect(policyJson(parsePolicy(document, everything))).toEqual(document);
  });

  it('does not change the document', () => {
    const document = fullPolicy();
    parsePolicy(document, everything);
    expect(document).toEqual(fullPolicy());
  });
});

/** Path to change, new value (undefined removes it), path the error must name where it differs. */
const WRONG: readonly [string, unknown, string?][] = [
  ['version', 2],
  ['version', undefined],
  ['wallet', 'nonsense'],
  ['wallet', `${STRANGER}1`],
  ['owner', 7],
  ['epoch', 0],
  ['epoch', 1.5],
  ['epoch', '3'],
  ['epoch', 2 ** 32],
  ['validFrom', '2026-11-01T00:00:00+00:00'],
  ['validFrom', '2026-02-30T00:00:00Z'],
  ['validFrom', 1_700_000_000],
  ['validUntil', '2026-11-01T00:00:00Z'],
  ['requesters', []],
  ['requesters', undefined],
  ['requesters', Array(17).fill(STRANGER)],
  ['requesters', [STRANGER, DESTINATION, STRANGER], 'requesters[2]'],
  ['extra', 1],
  ['transaction.extra', 1],
  ['transaction.versions', ['legacy', 'legacy'], 'transaction.versions[1]'],
  ['transaction.versions[0]', '2'],
  ['transaction.versions[0]', 0],
  ['transaction.durableNonce', true],
  ['transaction.durableNonce', undefined],
  ['transaction.maxInstructions', 65],
  ['transaction.maxInstructions', -1],
  ['transaction.lookupTables', []],
  ['transaction.lookupTables.nonsense', []],
  [`transaction.lookupTables.${STRANGER}`, Array(257).fill(STRANGER)],
  ['fees.maxLamports', 100000],
  ['fees.maxLamports', '1e5'],
  ['fees.maxLamports', '007'],
  ['fees.maxLamports', '-1'],
  ['fees.maxLamports', '18446744073709551616'],
  ['fees.window.seconds', 0],
  ['fees.window.max', undefined],
  ['sol', null],
  ['sol.destinations', undefined],
  ['sol.maxPerTransaction', ''],
  ['sol.window', null],
  ['tokens', {}],
  ['tokens[0].decimals', 256],
  ['tokens[0].tokenProgram', STRANGER],
  ['tokens[0].destinations', undefined],
  ['tokens[0].destinations', [STRANGER, STRANGER], 'tokens[0].destinations[1]'],
  ['tokens[1]', (fullPolicy()['tokens'] as readonly Json[])[0]],
  ['programs[0].program', '11111111111111111111111111111111'],
  ['programs[0].program', 'Stake11111111111111111111111111111111111111'],
  ['programs[1]', { program: SWAP_PROGRAM, instructions: [] }],
  ['programs[0].instructions[0].name', ''],
  ['programs[0].instructions[0].name', 'two words'],
  ['programs[0].instructions[0].data[0].equals', ''],
  ['programs[0].instructions[0].data[0].equals', 'E5'],
  ['programs[0].instructions[0].data[0].min', '1'],
  ['programs[0].instructions[0].data[0].offset', -1],
  ['programs[0].instructions[0].data[1].type', 'i64'],
  ['programs[0].instructions[0].data[1].spends', STRANGER],
  ['programs[0].instructions[0].data[1].max', '18446744073709551616'],
  ['programs[0].instructions[0].data[2].minPerSpent', '0.0'],
  ['programs[0].instructions[0].data[2].minPerSpent', '-1'],
  ['programs[0].instructions[0].data[2].receives', undefined],
  ['programs[0].instructions[0].data[2].max', '0', 'programs[0].instructions[0].data[2].max'],
  ['programs[0].instructions[0].data[1].receives', fullUsdc(), 'programs[0].instructions[0].data[1]'],
  // Without a spending field there is nothing to compare the price with.
  ['programs[0].instructions[0].data[1].spends', undefined, 'programs[0].instructions[0].data[2].minPerSpent'],
  // Rules that constrain nothing.
  ['programs[0].instructions[0].data[1]', { offset: 1, type: 'u64' }],
  ['programs[0].instructions[0].data[1]', { offset: 1, type: 'u64', min: '0' }],
  ['programs[0].instructions[0].data[1]', { offset: 1, type: 'u8', max: '255' }],
  ['programs[0].instructions[0]', { name: 'a', data: [], accounts: [], minAccounts: 1, maxAccounts: 2 }],
  ['programs[0].instructions[0].accounts[0].is', 'owner'],
  ['programs[0].instructions[0].accounts[0].mint', fullUsdc()],
  [
    'programs[0].instructions[0].accounts[1].oneOf',
    [STRANGER, STRANGER],
    'programs[0].instructions[0].accounts[1].oneOf[1]',
  ],
  ['programs[0].instructions[0].accounts[2].mint', STRANGER],
  ['programs[0].instructions[0].accounts[2].index', 0, 'programs[0].instructions[0].accounts[2]'],
  ['programs[0].instructions[0].accounts[2].index', 22, 'programs[0].instructions[0].accounts[2]'],
  ['programs[0].instructions[0].minAccounts', 23, 'programs[0].instructions[0].maxAccounts'],
  ['rate.perMinute', '60'],
  ['rate.perDay', undefined],
  ['signals.required', 'yes'],
  ['signals.sources[0].hostVerified', false],
  ['signals.sources[0].key', STRANGER],
  ['signals.sources[1].name', 'tv-main', 'signals.sources[1]'],
  ['signals.maxAgeSeconds', 0],
  ['signals.signaturesPerSignal', 0],
];

function fullUsdc(): unknown {
  return (fullPolicy()['tokens'] as readonly Json[])[0]?.['mint'];
}

describe('refusing', () => {
  it.each(WRONG)('%s = %j', (path, value, named) => {
    const error = refusalOf(() => parsePolicy(withValue(fullPolicy(), path, value), everything));
    expect(error?.code).toBe('policy_invalid');
    expect(error?.facts.path).toBe(named ?? path);
  });

  it.each([null, 7, 'policy', [], undefined])('a document that is %j', (document) => {
    expect(refusalOf(() => parsePolicy(document))?.code).toBe('policy_invalid');
  });

  it('a field called __proto__', () => {
    const document = JSON.parse('{"__proto__": 1}') as unknown;
    expect(refusalOf(() => parsePolicy(document))?.facts.path).toBe('__proto__');
  });

  it.each([
    ['transaction.lookupTables', 'lookupTables'],
    ['tokens', 'tokens'],
    ['programs', 'programs'],
    ['fees.window', 'windows'],
    ['sol.window', 'windows'],
    ['tokens[0].window', 'windows'],
    ['rate', 'rate'],
    ['signals', 'signals'],
  ])('%s where %s is not enforced', (path, missing) => {
    // Each path alone: the other users of the same feature are taken out.
    const without = ['fees.window', 'sol.window', 'tokens[0].window'].filter((other) => other !== path);
    const document = without.reduce((changed, other) => withValue(changed, other, undefined), fullPolicy());
    const support = POLICY_FEATURES.filter((feature) => feature !== missing);
    const error = refusalOf(() => parsePolicy(document, { support }));
    expect(error?.code).toBe('policy_unsupported');
    expect(error?.facts.path).toBe(path);
  });

  it('nothing: the enclave enforces the whole format', () => {
    expect(POLICY_FEATURES.filter((feature) => !ENCLAVE_FEATURES.includes(feature))).toEqual([]);
    expect(refusalOf(() => parsePolicy(fullPolicy()))).toBeUndefined();
    expect(refusalOf(() => parsePolicy(simplePolicy(), { support: [] }))).toBeUndefined();
    expect(refusalOf(() => parsePolicy(fullPolicy(), { support: [] }))?.code).toBe('policy_unsupported');
  });
});

describe('canonical bytes', () => {
  const policy = parsePolicy(fullPolicy(), everything);
  const bytes = policyBytes(policy);

  it('read back to the same policy', () => {
    expect(policyFromBytes(bytes, everything)).toEqual(policy);
  });

  it('do not depend on the order of fields', () => {
    const reversed = Object.fromEntries(Object.entries(fullPolicy()).reverse());
    expect(toHex(policyBytes(parsePolicy(reversed, everything)))).toBe(toHex(bytes));
  });

  it('change with every value', () => {
    const other = policyBytes(parsePolicy(withValue(fullPolicy(), 'epoch', 4), everything));
    expect(policyHash(other)).not.toEqual(policyHash(bytes));
  });

  it('stay as they are: stored policies and signed statements name this hash', () => {
    expect(toHex(policyHash(policyBytes(parsePolicy(simplePolicy()))))).toMatchInlineSnapshot(
      `"645bdc30fc238e233aacf1d82f65969afac916572d04ec0f1ff6bd16704bcc3b"`,
    );
  });

  it('carry their purpose', () => {
    const map = new Map(decodeCbor(bytes) as ReadonlyMap<string, CborValue>);
    expect(map.get('purpose')).toBe('qv/policy/v1');
    map.set('purpose', 'qv/policy/v2');
    expect(refusalOf(() => policyFromBytes(encodeCbor(map), everything))?.facts.path).toBe('purpose');
  });

  it('are refused in any other form', () => {
    const map = new Map(decodeCbor(bytes) as ReadonlyMap<string, CborValue>);
    const codeOfBytes = (value: CborValue): string | undefined =>
      refusalOf(() => policyFromBytes(encodeCbor(value), everything))?.code;
    expect(codeOfBytes(new Map([...map, ['wallet', new Uint8Array(32)]]))).toBe('policy_invalid');
    expect(codeOfBytes(new Map([...map, ['wallet', null]]))).toBe('policy_invalid');
    expect(codeOfBytes(new Map<number | string, CborValue>([...map, [1, 1]]))).toBe('policy_invalid');
    expect(codeOfBytes([])).toBe('policy_invalid');
    expect(codeOfBytes('policy')).toBe('policy_invalid');
    expect(refusalOf(() => policyFromBytes(bytes.subarray(1), everything))?.code).toBe('cbor_malformed');
  });

  it('are refused where the list of versions is the same but unsupported', () => {
    expect(refusalOf(() => policyFromBytes(bytes, { support: [] }))?.code).toBe('policy_unsupported');
  });

  it('have a limit, in both directions', () => {
    const snapshot = Array.from({ length: 256 }, (_, index) => address(index));
    const tables = { [address(300)]: snapshot, [address(301)]: snapshot, [address(302)]: snapshot };
    const large = parsePolicy(withValue(simplePolicy(), 'transaction.lookupTables', tables));
    expect(refusalOf(() => policyBytes(large))?.code).toBe('policy_too_large');
    expect(refusalOf(() => policyFromBytes(new Uint8Array(25 * 1024)))?.code).toBe('policy_too_large');
  });
});

describe('what one judgement may cost', () => {
  const many = (length: number) => Array.from({ length }, (_, index) => address(index));
  const token = (mint: string, destinations: readonly string[]) => ({
    mint,
    tokenProgram: 'TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA',
    decimals: 6,
    maxPerTransaction: '1',
    destinations,
  });
  it.each([
    ['sol.destinations', many(129)],
    ['tokens', many(33).map((mint) => token(mint, []))],
    ['tokens', many(2).map((mint) => token(mint, many(100)))],
    ['programs', many(33).map((program) => ({ program, instructions: [] }))],
  ])('is bounded by the length of %s', (path, value) => {
    expect(refusalOf(() => parsePolicy(withValue(simplePolicy(), path, value)))).toMatchObject({
      code: 'policy_invalid',
      facts: { path },
    });
  });
});

/** Distinct addresses of 44 characters. */
function address(index: number): string {
  const digits = 'ABCDEFGHJKLMNPQRSTUVWXYZ';
  const text = `${digits[index % 24] ?? 'A'}${digits[Math.floor(index / 24) % 24] ?? 'A'}${digits[Math.floor(index / 576)] ?? 'A'}`;
  return `${DESTINATION.slice(0, 20)}${text}${DESTINATION.slice(23)}`;
}
