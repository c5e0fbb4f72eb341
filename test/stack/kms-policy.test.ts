import { describe, expect, it } from 'vitest';
import { KmsError } from './kms/errors.ts';
import { evaluate, parsePolicy } from './kms/policy.ts';

const ROLE = 'arn:aws:iam::111122223333:role/enclave';
const KEY = 'arn:aws:kms:us-east-1:111122223333:key/k';
const PCR0 = 'kms:RecipientAttestation:ImageSha384';

interface Question {
  readonly action?: string;
  readonly principal?: string;
  readonly facts?: Readonly<Record<string, readonly string[]>>;
}

function ask(statements: unknown, question: Question = {}): string {
  const facts = Object.entries(question.facts ?? {}).map(([key, values]) => [key.toLowerCase(), values] as const);
  return evaluate(parsePolicy(JSON.stringify({ Version: '2012-10-17', Statement: statements })), {
    action: question.action ?? 'kms:Decrypt',
    principalArn: question.principal ?? ROLE,
    keyArn: KEY,
    facts: new Map(facts),
  });
}

const allow = (change: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> => ({
  Effect: 'Allow',
  Principal: { AWS: ROLE },
  Action: 'kms:Decrypt',
  Resource: '*',
  ...change,
});

describe('a statement applies to', () => {
  it.each([
    ['the principal itself', { AWS: ROLE }, ROLE, true],
    ['one of a list', { AWS: ['arn:aws:iam::111122223333:user/x', ROLE] }, ROLE, true],
    ['everybody', '*', ROLE, true],
    ['everybody, spelled AWS', { AWS: '*' }, ROLE, true],
    ['the account by its root', { AWS: 'arn:aws:iam::111122223333:root' }, ROLE, true],
    ['the account by its number', { AWS: '111122223333' }, ROLE, true],
    ['a session of the role', { AWS: ROLE }, 'arn:aws:sts::111122223333:assumed-role/enclave/i-1', true],
    ['not another role', { AWS: ROLE }, 'arn:aws:iam::111122223333:role/enclave2', false],
    ['not another account', { AWS: 'arn:aws:iam::111122223333:root' }, 'arn:aws:iam::444455556666:role/enclave', false],
    ['not a session of another account', { AWS: ROLE }, 'arn:aws:sts::444455556666:assumed-role/enclave/i-1', false],
  ] as const)('%s', (_name, Principal, principal, applies) => {
    expect(ask(allow({ Principal }), { principal })).toBe(applies ? 'allowed' : 'no allow');
  });

  it.each([
    ['kms:Decrypt', true],
    ['KMS:decrypt', true],
    ['kms:*', true],
    ['kms:De*', true],
    ['*', true],
    [['kms:Encrypt', 'kms:Decrypt'], true],
    ['kms:Encrypt', false],
    ['kms:Decryp', false],
    ['kms.Decrypt', false],
  ] as const)('action %s: %s', (Action, applies) => {
    expect(ask(allow({ Action }))).toBe(applies ? 'allowed' : 'no allow');
  });

  it('the resource * or this key', () => {
    expect(ask(allow({ Resource: KEY }))).toBe('allowed');
    expect(ask(allow({ Resource: `${KEY}2` }))).toBe('no allow');
  });
});

describe('the verdict', () => {
  it('is no by default, and a deny wins in any order', () => {
    const deny = allow({ Effect: 'Deny', Principal: '*' });
    expect(ask(allow({ Action: 'kms:Encrypt' }))).toBe('no allow');
    expect(ask([allow(), deny])).toBe('explicit deny');
    expect(ask([deny, allow()])).toBe('explicit deny');
  });
});

describe('conditions', () => {
  const holds = (Condition: unknown, facts: Question['facts'] = {}): boolean =>
    ask(allow({ Condition }), { facts }) === 'allowed';
  const attested = { [PCR0]: ['ab'] };

  it.each([
    ['StringEquals', 'ab', true, false],
    ['StringEquals', 'AB', false, false],
    ['StringEquals', ['x', 'ab'], true, false],
    ['StringEqualsIgnoreCase', 'AB', true, false],
    ['StringNotEquals', 'ab', false, true],
    ['StringNotEquals', ['x', 'ab'], false, true],
    ['StringNotEquals', 'x', true, true],
    ['StringNotEqualsIgnoreCase', 'AB', false, true],
    ['StringLike', 'a*', true, false],
    ['StringLike', 'a?', true, false],
    ['StringLike', 'a', false, false],
    ['StringLike', '*', true, false],
    ['StringNotLike', 'a*', false, true],
    ['Null', 'true', false, true],
    ['Null', false, true, false],
    ['StringEqualsIfExists', 'x', false, true],
    ['StringEqualsIfExists', 'ab', true, true],
  ] as const)('%s %s: %s when attested, %s when not', (operator, wanted, whenAttested, whenNot) => {
    const condition = { [operator]: { [PCR0]: wanted } };
    expect([holds(condition, attested), holds(condition)]).toEqual([whenAttested, whenNot]);
  });

  it('Bool', () => {
    const condition = { Bool: { 'aws:SecureTransport': 'true' } };
    expect(holds(condition, { 'aws:SecureTransport': ['true'] })).toBe(true);
    expect(holds(condition, { 'aws:SecureTransport': ['false'] })).toBe(false);
    expect(holds(condition)).toBe(false);
  });

  it.each([
    ['ArnEquals', ROLE, true],
    ['ArnEquals', 'arn:aws:iam::111122223333:role/enclave2', false],
    ['ArnEquals', 'arn:aws:iam::*:role/enclave', true],
    ['ArnLike', 'arn:aws:iam::111122223333:role/*', true],
    // A wildcard does not reach over a colon of the first five.
    ['ArnLike', 'arn:*:role/enclave', false],
    ['ArnNotEquals', ROLE, false],
    ['ArnNotLike', 'arn:aws:iam::111122223333:user/*', true],
  ] as const)('%s %s: %s', (operator, wanted, outcome) => {
    const condition = { [operator]: { 'aws:PrincipalArn': wanted } };
    expect(holds(condition, { 'aws:PrincipalArn': [ROLE] })).toBe(outcome);
    expect(holds(condition)).toBe(operator.includes('Not'));
  });

  it('must all hold', () => {
    const condition = { StringEquals: { [PCR0]: 'ab', 'kms:RecipientAttestation:PCR3': 'cd' } };
    expect(holds(condition, attested)).toBe(false);
    expect(holds(condition, { ...attested, 'kms:RecipientAttestation:PCR3': ['cd'] })).toBe(true);
    const operators = { StringEquals: { [PCR0]: 'ab' }, Null: { 'kms:RecipientAttestation:PCR3': 'true' } };
    expect(holds(operators, attested)).toBe(true);
  });

  it('on the keys of an encryption context take the set operators', () => {
    const keys = 'kms:EncryptionContextKeys';
    const all = { 'ForAllValues:StringEquals': { [keys]: ['a', 'b'] } };
    const any = { 'ForAnyValue:StringEquals': { [keys]: ['a', 'b'] } };
    expect([holds(all, { [keys]: ['a'] }), holds(all, { [keys]: ['a', 'c'] }), holds(all)]).toEqual([
      true,
      false,
      true,
    ]);
    expect([holds(any, { [keys]: ['c', 'a'] }), holds(any, { [keys]: ['c'] }), holds(any)]).toEqual([
      true,
      false,
      false,
    ]);
    const wallet = { StringEquals: { 'kms:EncryptionContext:qv:wallet': 'w' } };
    expect(holds(wallet, { 'kms:EncryptionContext:qv:wallet': ['w'] })).toBe(true);
  });

  it('a negated condition in a deny catches unattested calls too', () => {
    const Condition = { StringNotEqualsIgnoreCase: { [PCR0]: ['ab', 'cd'] } };
    const statements = [allow(), allow({ Effect: 'Deny', Principal: '*', Condition })];
    expect(ask(statements)).toBe('explicit deny');
    expect(ask(statements, { facts: { [PCR0]: ['ef'] } })).toBe('explicit deny');
    expect(ask(statements, { facts: { [PCR0]: ['cd'] } })).toBe('allowed');
  });
});

describe('an identity policy', () => {
  const statement = { Effect: 'Allow', Action: 'kms:Decrypt', Resource: KEY };

  it('speaks of its owner, and names no principal', () => {
    const policy = parsePolicy(JSON.stringify({ Statement: statement }), 'identity');
    const request = { action: 'kms:Decrypt', principalArn: ROLE, keyArn: KEY, facts: new Map() };
    expect(evaluate(policy, request)).toBe('allowed');
    expect(evaluate(policy, { ...request, keyArn: `${KEY}2` })).toBe('no allow');
    const named = JSON.stringify({ Statement: { ...statement, Principal: '*' } });
    expect(() => parsePolicy(named, 'identity')).toThrow(KmsError);
  });
});

describe('malformed', () => {
  it.each([
    ['no JSON', '{'],
    ['a duplicate key', '{"Version":"2012-10-17","Version":"2012-10-17","Statement":[]}'],
    ['no statement', '{"Version":"2012-10-17"}'],
    ['an empty list', '{"Statement":[]}'],
    ['another version', JSON.stringify({ Version: '2008-10-17', Statement: allow() })],
    ['an unknown element', JSON.stringify({ Statement: { ...allow(), NotPrincipal: '*' } })],
    ['another effect', JSON.stringify({ Statement: allow({ Effect: 'allow' }) })],
    ['no principal', JSON.stringify({ Statement: allow({ Principal: undefined }) })],
    ['a service principal', JSON.stringify({ Statement: allow({ Principal: { Service: 'x' } }) })],
    ['no action', JSON.stringify({ Statement: allow({ Action: [] }) })],
    ['a number as action', JSON.stringify({ Statement: allow({ Action: 5 }) })],
    ['no resource', JSON.stringify({ Statement: allow({ Resource: undefined }) })],
    ['an unknown operator', JSON.stringify({ Statement: allow({ Condition: { NumericEquals: { a: '1' } } }) })],
    ['a condition without values', JSON.stringify({ Statement: allow({ Condition: { StringEquals: { a: [] } } }) })],
  ])('%s', (_name, text) => {
    expect(() => parsePolicy(text)).toThrow(KmsError);
  });
});
