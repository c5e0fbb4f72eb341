/**
 * qv key-policy check: the policies that qv and the template write hold; each way around attestation that a policy can
 * leave open is found; and whatever it finds nothing in, the local KMS, which reads policies by code of its own, refuses
 * to everybody else and every other image.
 */
import { writeFileSync } from 'node:fs';
import { keyPolicy, unusedKeyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import {
  checkKeyPolicy,
  type Fault,
  type KeyPolicyExpectations,
} from '@quantumvault/host/cli/key-policy-check/check.ts';
import type { JsonValue } from '@quantumvault/shared/json.ts';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { authorize } from '../../stack/kms/authorize.ts';
import { parsePolicy } from '../../stack/kms/policy.ts';
import { expectCode } from '../../support/codes.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { hexes, NEW, OLD, OTHER, policyOf } from '../deploy/kms-key-kit.ts';
import { qv, qvJson } from './call.ts';

const KEYS = '111122223333';
const breakGlassArn = `arn:aws:iam::${KEYS}:role/qv-break-glass`;
const instanceRoleArn = 'arn:aws:iam::444455556666:role/qv-instance';
const [old, next, other] = [OLD, NEW, OTHER].map((pcr0) => hexes(pcr0)) as [string, string, string];
const expected: KeyPolicyExpectations = {
  images: [old],
  retired: [],
  instanceRole: instanceRoleArn,
  breakGlass: breakGlassArn,
};
const IMAGE = 'kms:RecipientAttestation:ImageSha384';

type Loose = Record<string, unknown>;
const written = (...pcr0s: string[]): { Version: string; Statement: Loose[] } =>
  structuredClone(keyPolicy({ breakGlassArn, instanceRoleArn, pcr0s })) as { Version: string; Statement: Loose[] };
const check = (policy: unknown, expectations = expected) => checkKeyPolicy(policy as JsonValue, expectations);
const faultsOf = (policy: unknown, expectations = expected): Fault[] => [
  ...new Set(check(policy, expectations).findings.map(({ fault }) => fault)),
];
/** The written policy with one more statement. */
const plus = (statement: Loose, ...pcr0s: string[]) => {
  const policy = written(...(pcr0s.length === 0 ? [old] : pcr0s));
  policy.Statement.push({ Sid: 'Added', Effect: 'Allow', Resource: '*', ...statement });
  return policy;
};
/** The written policy with what is denied about the use of the key denied under one more condition, or to others. */
const deniedTo = ({ Condition, ...rest }: Loose) => {
  const policy = written(old);
  policy.Statement = policy.Statement.map((one) => {
    if (one['Effect'] !== 'Deny' || one['Sid'] === 'NobodyElseAdministers') return one;
    const { Principal, ...denial } = one;
    const conditions = { ...(one['Condition'] as Loose), ...(Condition as Loose) };
    return { ...denial, ...(rest['NotPrincipal'] === undefined && { Principal }), ...rest, Condition: conditions };
  });
  return policy;
};
/** The written policy with statements changed, by their Sid; undefined leaves one out. */
const changed = (changes: Readonly<Record<string, Loose | undefined>>) => {
  const policy = written(old);
  policy.Statement = policy.Statement.flatMap((statement) => {
    const sid = String(statement['Sid']);
    if (!Object.hasOwn(changes, sid)) return [statement];
    return changes[sid] === undefined ? [] : [{ ...statement, ...changes[sid] }];
  });
  return policy;
};
const USE = ['kms:Decrypt', 'kms:GenerateDataKey'];

describe('policies as qv and the template write them', () => {
  it('hold, and name exactly the images that can open keys', () => {
    expect(check(written(old))).toEqual({ images: [old], findings: [] });
    const both = { ...expected, images: [old, next] };
    expect(check(written(old, next), both)).toEqual({ images: [old, next], findings: [] });
    expect(check(policyOf(hexes(OLD), instanceRoleArn), expected)).toEqual({ images: [old], findings: [] });
    expect(check(unusedKeyPolicy(breakGlassArn), { ...expected, images: [] })).toEqual({ images: [], findings: [] });
    const regions = keyPolicy({ breakGlassArn, instanceRoleArn, pcr0s: [old], isMultiRegion: true });
    expect(check(regions)).toEqual({ images: [old], findings: [] });
  });

  it('an image too many, one too few, and one that was retired and is still there', () => {
    expect(check(written(old, next))).toMatchObject({
      images: [old, next],
      findings: [{ fault: 'image_unexpected', what: next, statements: ['AttestedImagesUse'] }],
    });
    expect(faultsOf(written(old), { ...expected, images: [old, next] })).toEqual(['image_missing']);
    const retiring = { ...expected, images: [next], retired: [old] };
    expect(check(written(next), retiring)).toEqual({ images: [next], findings: [] });
    expect(check(written(old, next), retiring).findings).toMatchObject([
      { fault: 'image_unexpected', what: old },
      { fault: 'image_retired', what: old, statements: ['AttestedImagesUse', 'NobodyElseUses'] },
    ]);
    // It opens nothing, and somebody who adds an Allow later would find the door unlocked.
    const left = written(next);
    const condition = { StringNotEqualsIgnoreCase: { [IMAGE]: [next, old.toUpperCase()] } };
    left.Statement = left.Statement.map((one) =>
      one['Sid'] === 'NobodyElseUses' ? { ...one, Condition: condition } : one,
    );
    expect(check(left, retiring)).toMatchObject({
      images: [next],
      findings: [
        { fault: 'image_retired', what: old, statements: ['NobodyElseUses'] },
        { fault: 'grant_open', what: `kms:Decrypt as ${old}` },
        { fault: 'grant_open', what: `kms:GenerateDataKey as ${old}` },
      ],
    });
    // Nobody said that it is retired: it is an image that a grant could let in.
    expect(faultsOf(left, { ...expected, images: [next] })).toEqual(['grant_open']);
  });
});

describe('ways around attestation', () => {
  const role = { AWS: instanceRoleArn };
  const open = { NobodyElseUses: undefined };
  const conditional = (Condition: Loose) => changed({ ...open, AttestedImagesUse: { Condition } });
  it.each<[string, unknown, readonly Fault[]]>([
    [
      'no condition at all',
      changed({ ...open, AttestedImagesUse: { Condition: {} } }),
      ['use_unattested', 'image_any'],
    ],
    ['IfExists', conditional({ StringEqualsIgnoreCaseIfExists: { [IMAGE]: [old] } }), ['use_unattested']],
    [
      'ForAllValues, true of nothing',
      conditional({ 'ForAllValues:StringEquals': { [IMAGE]: [old] } }),
      ['use_unattested'],
    ],
    ['Null: attestation is absent', conditional({ Null: { [IMAGE]: 'true' } }), ['use_unattested']],
    ['Null: attested by whomever', conditional({ Null: { [IMAGE]: 'false' } }), ['image_any']],
    ['a negation', conditional({ StringNotEquals: { [IMAGE]: [other] } }), ['use_unattested', 'image_any']],
    ['ForAnyValue and a negation', conditional({ 'ForAnyValue:StringNotEquals': { [IMAGE]: [other] } }), ['image_any']],
    ['a pattern', conditional({ StringLike: { [IMAGE]: ['*'] } }), ['image_any', 'image_pattern']],
    [
      'another register alone',
      conditional({ StringEquals: { 'kms:RecipientAttestation:PCR8': [old] } }),
      ['image_any'],
    ],
    [
      'a NitroTPM',
      conditional({ StringEquals: { 'kms:RecipientAttestation:NitroTPMPCR4': [old] } }),
      ['use_unattested'],
    ],
    [
      'the encryption context alone',
      conditional({ StringEquals: { 'kms:EncryptionContext:qv:v': '1' } }),
      ['use_unattested'],
    ],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of AWS’s policies
    ['a condition by a variable', conditional({ StringEquals: { [IMAGE]: ['${aws:userid}'] } }), ['use_unattested']],
    ['an operator that nobody knows', conditional({ StringAlmostEquals: { [IMAGE]: [old] } }), ['use_unattested']],
    ['zeros', conditional({ StringEquals: { [IMAGE]: [old, '0'.repeat(96)] } }), []],
    [
      'zeros, not denied',
      changed({
        ...open,
        NoDebugEnclaveUses: undefined,
        AttestedImagesUse: { Condition: { StringEquals: { [IMAGE]: [old, '0'.repeat(96)] } } },
      }),
      ['image_debug'],
    ],
    [
      'the other name of the register',
      conditional({ StringEquals: { 'KMS:recipientattestation:pcr0': [old, other] } }),
      ['image_unexpected'],
    ],
    [
      'a second statement',
      {
        ...plus(
          { Principal: role, Action: 'kms:Decrypt', Condition: { StringEquals: { [IMAGE]: other } } },
          old,
          other,
        ),
      },
      ['image_unexpected'],
    ],
    ['by wildcard', plus({ Principal: role, Action: 'kms:*' }), ['operation_unattested', 'power_elsewhere']],
    ['by a wildcard inside of a word', plus({ Principal: role, Action: 'kms:*ncrypt' }), []],
    [
      'NotAction',
      changed({
        NothingUnattested: undefined,
        AttestedImagesUse: { Action: undefined, NotAction: 'kms:PutKeyPolicy' },
      }),
      ['operation_unattested'],
    ],
    [
      'ReEncrypt',
      changed({
        NothingUnattested: undefined,
        AttestedImagesUse: { Action: ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:ReEncryptFrom'] },
      }),
      ['operation_unattested', 'grant_open'],
    ],
    [
      'grants',
      changed({
        NothingUnattested: {
          Action: [
            'kms:Encrypt',
            'kms:ReEncrypt*',
            'kms:DeriveSharedSecret',
            'kms:Generate*With*',
            'kms:GenerateDataKeyPair*',
          ],
        },
      }),
      ['grant_open'],
    ],
    ['use is denied to nobody', changed(open), ['grant_open']],
    ['use is denied to one role', changed({ NobodyElseUses: { Principal: role } }), ['grant_open']],
    [
      'use is denied if somebody says so',
      changed({
        NobodyElseUses: {
          Condition: { StringNotEquals: { [IMAGE]: [old] }, Bool: { 'aws:SecureTransport': 'false' } },
        },
      }),
      ['grant_open'],
    ],
    [
      'use is denied where attested',
      changed({ NobodyElseUses: { Condition: { 'ForAnyValue:StringNotEquals': { [IMAGE]: [old] } } } }),
      ['grant_open'],
    ],
    [
      'use is denied of another key',
      changed({ NobodyElseUses: { Resource: 'arn:aws:kms:eu-central-1:111122223333:key/x' } }),
      ['grant_open'],
    ],
    [
      'use is denied to roles, and so not to users',
      deniedTo({ Condition: { ArnLike: { 'aws:PrincipalArn': 'arn:aws:iam::*:role/*' } } }),
      ['grant_open'],
    ],
    [
      'use is denied to what IAM has, and so not to federated users',
      deniedTo({ Condition: { StringLike: { 'aws:PrincipalArn': 'arn:aws:iam:*' } } }),
      ['grant_open'],
    ],
    [
      'use is denied to whoever has an ARN, and so not to services',
      deniedTo({ Condition: { Null: { 'aws:PrincipalArn': 'false' } } }),
      ['grant_open'],
    ],
    [
      'use is denied to all but a service',
      deniedTo({ NotPrincipal: { Service: 'lambda.amazonaws.com' } }),
      ['grant_open'],
    ],
    [
      'use is denied to those who are named, and somebody else',
      deniedTo({ Principal: { AWS: [breakGlassArn, instanceRoleArn, 'arn:aws:iam::999999999999:role/stranger'] } }),
      ['grant_open'],
    ],
    [
      'use is denied to all whose names do not fit a pattern',
      deniedTo({ Condition: { StringNotLike: { 'aws:PrincipalArn': '*:role/ci-*' } } }),
      ['grant_open'],
    ],
    [
      'an image in upper case, where case counts',
      changed({
        AttestedImagesUse: { Condition: { StringEquals: { [IMAGE]: [old, other.toUpperCase()] } } },
        NobodyElseUses: { Condition: { StringNotEquals: { [IMAGE]: [old, other.toUpperCase()] } } },
      }),
      ['image_pattern'],
    ],
    [
      'somebody else ends what stops all wallets',
      plus({ Principal: role, Action: ['kms:EnableKey', 'kms:CancelKeyDeletion'] }),
      ['power_elsewhere'],
    ],
    [
      'the account',
      plus({ Principal: { AWS: `arn:aws:iam::${KEYS}:root` }, Action: 'kms:*' }),
      ['principal_account', 'use_by_others'],
    ],
    [
      'the account by its number',
      plus({ Principal: { AWS: KEYS }, Action: 'kms:Decrypt' }),
      ['principal_account', 'use_by_others'],
    ],
    ['everybody', plus({ Principal: '*', Action: 'kms:Decrypt' }), ['principal_anybody', 'use_by_others']],
    ['everybody but one', plus({ NotPrincipal: role, Action: 'kms:Decrypt' }), ['principal_anybody', 'use_by_others']],
    ['a service', plus({ Principal: { Service: 'ec2.amazonaws.com' }, Action: 'kms:Decrypt' }), ['principal_other']],
    ['another role', plus({ Principal: { AWS: 'arn:aws:iam::444455556666:role/ci' }, Action: USE }), ['use_by_others']],
    ['the break-glass role', plus({ Principal: { AWS: breakGlassArn }, Action: 'kms:Decrypt' }), ['use_by_others']],
    [
      'the instance role changes the policy',
      changed({ NobodyElseAdministers: undefined, AttestedImagesUse: { Action: [...USE, 'kms:PutKeyPolicy'] } }),
      ['power_elsewhere'],
    ],
    [
      'a session of the instance role does',
      plus({
        Principal: { AWS: 'arn:aws:sts::444455556666:assumed-role/qv-instance/i-0' },
        Action: 'kms:UpdatePrimaryRegion',
      }),
      ['power_elsewhere'],
    ],
    ['nobody can change it', changed({ BreakGlassAdministers: undefined }), ['power_missing']],
    ['an operation that is none', plus({ Principal: role, Action: 'kms:Decript' }), ['operation_unknown']],
  ])('%s', (_, policy, faults) => {
    const { findings } = check(JSON.parse(JSON.stringify(policy)));
    expect(findings.map(({ fault }) => fault)).toEqual(expect.arrayContaining([...faults]));
  });

  it('one role for both: who uses the key can let another image in', async () => {
    const both = JSON.parse(JSON.stringify(written(old)).replaceAll(instanceRoleArn, breakGlassArn));
    expect(faultsOf(both, { ...expected, instanceRole: breakGlassArn })).toEqual(['power_elsewhere']);
    await expectCode(
      () => keyPolicy({ breakGlassArn, instanceRoleArn: breakGlassArn, pcr0s: [old] }),
      'field_malformed',
    );
  });

  it('what another statement denies in any case is no fault', () => {
    expect(faultsOf(plus({ Principal: role, Action: 'kms:*ncrypt' }))).toEqual([]);
    expect(faultsOf(plus({ Principal: role, Action: ['kms:DescribeKey', 'kms:ListGrants'] }))).toEqual([]);
  });
});

describe('what is no key policy', () => {
  it.each<[unknown, string]>([
    [[], 'policy'],
    [{}, 'policy.Statement'],
    [{ Statement: [] }, 'policy.Statement'],
    [{ Version: '2020-01-01', Statement: {} }, 'policy.Version'],
    [{ Statement: {}, Extra: 1 }, 'policy.Extra'],
    [{ Statement: { Effect: 'Maybe' } }, 'Statement[0].Effect'],
    [{ Statement: { Effect: 'Allow' } }, 'Statement[0].Principal'],
    [{ Statement: { Effect: 'Allow', Principal: '*', NotPrincipal: '*' } }, 'Statement[0].Principal'],
    [{ Statement: { Effect: 'Allow', Principal: '*', Action: [] } }, 'Statement[0].Action'],
    [{ Statement: { Effect: 'Allow', Principal: '*', Action: [{}] } }, 'Statement[0].Action'],
  ])('%j', async (policy, path) => {
    expect((await expectCode(() => check(policy), 'field_malformed')).facts.path).toBe(path);
  });
});

describe('against the local KMS', () => {
  const keyArn = `arn:aws:kms:eu-central-1:${KEYS}:key/1`;
  const people = [
    instanceRoleArn,
    breakGlassArn,
    `arn:aws:iam::${KEYS}:user/admin`,
    'arn:aws:iam::999999999999:role/x',
  ];
  const images = fc.constantFrom(old, next, other, '0'.repeat(96), '*', old.toUpperCase());
  const operators = fc.constantFrom(
    ...['StringEquals', 'StringEqualsIgnoreCase', 'StringNotEquals', 'StringNotEqualsIgnoreCase', 'StringLike'],
    ...['StringNotLike', 'StringEqualsIfExists', 'ForAllValues:StringEquals', 'ForAnyValue:StringEquals'],
    ...['ForAnyValue:StringNotEquals', 'ForAllValues:StringNotEquals'],
  );
  const conditions = fc.oneof(
    fc.record({
      operator: operators,
      key: fc.constant(IMAGE),
      wanted: fc.array(images, { minLength: 1, maxLength: 3 }),
    }),
    fc.record({ operator: fc.constant('Null'), key: fc.constant(IMAGE), wanted: fc.constantFrom(['true'], ['false']) }),
    fc.record({
      operator: fc.constantFrom('ArnEquals', 'ArnNotEquals', 'StringEquals'),
      key: fc.constant('aws:PrincipalArn'),
      wanted: fc.subarray(people, { minLength: 1 }),
    }),
    fc.record({
      operator: fc.constantFrom('StringEquals', 'StringNotEquals'),
      key: fc.constant('kms:EncryptionContext:qv:v'),
      wanted: fc.constant(['1']),
    }),
  );
  const statements = fc
    .record({
      Effect: fc.constantFrom('Allow', 'Deny'),
      Principal: fc.oneof(
        fc.constant('*'),
        fc.subarray([...people, `arn:aws:iam::${KEYS}:root`, KEYS], { minLength: 1 }).map((AWS) => ({ AWS })),
      ),
      Action: fc.subarray(
        ['kms:Decrypt', 'kms:GenerateDataKey', 'kms:*', 'kms:Encrypt', 'kms:ReEncrypt*', 'kms:PutKeyPolicy', 'kms:D*'],
        { minLength: 1 },
      ),
      Resource: fc.constant('*'),
      conditions: fc.array(conditions, { maxLength: 2 }),
    })
    .map(({ conditions: listed, ...statement }) => {
      const Condition: Record<string, Record<string, readonly string[]>> = {};
      for (const { operator, key, wanted } of listed) Condition[operator] = { ...Condition[operator], [key]: wanted };
      return { ...statement, ...(listed.length > 0 && { Condition }) };
    });
  /** Strange ones, and the right one with something strange beside it or in place of a statement of it. */
  const policies = fc.oneof(
    fc.array(statements, { minLength: 1, maxLength: 5 }),
    fc
      .tuple(fc.subarray(written(old).Statement, { minLength: 4 }), fc.array(statements, { maxLength: 2 }))
      .map(([own, more]) => [...own, ...more] as unknown[]),
  );

  it('whatever it finds nothing in opens keys to the instance role and its images alone, whatever grants there are', {
    timeout: 180_000,
  }, () => {
    let clean = 0;
    fc.assert(
      fc.property(policies, fc.constantFrom('1', '2', undefined), (Statement, context) => {
        const policy = { Version: '2012-10-17', Statement };
        const report = check(policy);
        const keyPolicy = parsePolicy(JSON.stringify(policy));
        const may = (principalArn: string, action: string, image: string | undefined, granted: boolean): boolean => {
          const facts = new Map<string, readonly string[]>([['aws:principalarn', [principalArn]]]);
          if (image !== undefined) facts.set(IMAGE.toLowerCase(), [image]);
          if (context !== undefined) facts.set('kms:encryptioncontext:qv:v', [context]);
          const grant = { grantee: principalArn, operations: [action.slice(4)], context: {} };
          const grants = (granted ? [grant] : []) as unknown as Parameters<typeof authorize>[0]['grants'];
          return authorize({ keyPolicy, principalArn, action, keyArn, facts, grants }) === 'allowed';
        };
        for (const image of [old, next, other]) {
          const opens = people.some((principal) => may(principal, 'kms:Decrypt', image, false));
          if (opens) expect(report.images.includes(image) || report.findings.length > 0).toBe(true);
        }
        if (report.findings.length > 0) return;
        clean++;
        for (const principal of people)
          for (const image of [undefined, next, other, '0'.repeat(96), 'e'.repeat(96)])
            for (const action of [...USE, 'kms:Encrypt', 'kms:ReEncryptFrom'])
              expect(may(principal, action, image, true)).toBe(false);
        for (const principal of people) {
          expect(may(principal, 'kms:PutKeyPolicy', undefined, false)).toBe(principal === breakGlassArn);
          if (may(principal, 'kms:Decrypt', old, false)) expect(principal).toBe(instanceRoleArn);
        }
      }),
      { numRuns: 600 },
    );
    expect(clean).toBeGreaterThan(3);
  });
});

describe('the command', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  const path = (name: string): string => `${folder.path}/${name}`;
  const roles = ['--instance-role', instanceRoleArn, '--break-glass', breakGlassArn];
  const call = (name: string, ...more: string[]) => qvJson('key-policy', 'check', path(name), ...roles, ...more);
  beforeAll(async () => {
    folder = await temporaryFolder();
    writeFileSync(path('old.json'), JSON.stringify(written(old)));
    writeFileSync(
      path('both.json'),
      JSON.stringify({ Policy: JSON.stringify(written(old, next)), PolicyName: 'default' }),
    );
    const measured = { HashAlgorithm: 'Sha384 { ... }', PCR0: next, PCR1: 'a1'.repeat(48), PCR2: 'a2'.repeat(48) };
    writeFileSync(path('next-pcrs.json'), JSON.stringify({ Measurements: measured }));
  });
  afterAll(() => folder.remove());

  it('exits 0 for exactly what was expected, 1 with findings, also of what the AWS CLI prints', async () => {
    expect(await call('old.json', '--pcr0', old)).toMatchObject({ ok: true, holds: true, images: [old], findings: [] });
    const both = await call('both.json', '--pcr0', old, '--pcrs', path('next-pcrs.json'));
    expect(both).toMatchObject({ ok: true, images: [old, next] });
    const retiring = await call('both.json', '--pcrs', path('next-pcrs.json'), '--retired-pcr0', old);
    expect(retiring).toMatchObject({
      exit: 1,
      images: [old, next],
      findings: [
        { fault: 'image_unexpected', what: old, meaning: expect.any(String) },
        { fault: 'image_retired', what: old },
      ],
    });
  });

  it('says it in words', async () => {
    const good = await qv('key-policy', 'check', path('old.json'), ...roles, '--pcr0', old);
    expect(good).toMatchObject({
      exit: 0,
      stdout: expect.stringContaining('1 image can open keys, by the instance role'),
    });
    const bad = await qv('key-policy', 'check', path('both.json'), ...roles, '--pcr0', old);
    expect(bad.exit).toBe(1);
    expect(bad.stdout).toContain('image_unexpected');
    expect(bad.stdout).toContain(next);
    expect(bad.stdout).toContain('2 images can open keys');
  });

  it('refuses what it cannot go by', async () => {
    for (const pcr0 of ['0'.repeat(96), 'AA'.repeat(48), 'aa'])
      expect(await call('old.json', '--pcr0', pcr0)).toMatchObject({ exit: 2, error: { code: 'field_malformed' } });
    expect(await call('old.json', '--pcr0', old, '--retired-pcr0', old)).toMatchObject({
      exit: 2,
      error: { code: 'usage_invalid', value: `allowed and retired: ${old}` },
    });
    expect(await call('missing', '--pcr0', old)).toMatchObject({ error: { code: 'input_unreadable' } });
    const keyArn = `arn:aws:kms:eu-central-1:${KEYS}:key/1`;
    expect(await call('old.json', '--key', keyArn)).toMatchObject({ error: { code: 'usage_invalid' } });
    writeFileSync(path('list.json'), '[]');
    expect(await call('list.json')).toMatchObject({ exit: 2, error: { code: 'field_malformed', path: 'policy' } });
  });
});
