/** The CloudFormation templates: that they hold together, and the properties that security rests on. */
import { readdirSync } from 'node:fs';
import { instancePolicy } from '@quantumvault/host/cli/key-policy.ts';
import { describe, expect, it } from 'vitest';
import { type Json, type JsonRecord, propertiesOf, readTemplate, TEMPLATES, type Template } from './cloudformation.ts';

const NAMES = readdirSync(TEMPLATES).filter((name) => name.endsWith('.json'));
const KEY_ARN = 'arn:aws:kms:eu-central-1:111122223333:key/0a1b2c3d-0000-4000-8000-000000000000';
const ROLE_ARN = 'arn:aws:iam::444455556666:role/quantumvault-InstanceRole-1';
const INSTANCE = {
  parameters: {
    KeyArn: KEY_ARN,
    ImageId: 'ami-0a1b2c3d4e5f60718',
    AvailabilityZone: 'eu-central-1a',
    KeyPairName: 'ops',
    AdminCidr: '198.51.100.7/32',
    ClientCidr: '203.0.113.0/24',
  },
  facts: Object.fromEntries(
    [
      ...[
        'AWS::Region',
        'Vpc',
        'Subnet',
        'Instance',
        'Data',
        'Gateway',
        'RouteTable',
        'InstanceRole',
        'LaunchTemplate',
      ],
      ...[
        'InstanceGroup.GroupId',
        'EndpointGroup.GroupId',
        'InstanceProfile.Arn',
        'LaunchTemplate.LatestVersionNumber',
      ],
    ]
      .map((name) => [name, `<${name}>`])
      .concat([['InstanceRole.Arn', ROLE_ARN]]),
  ),
};

it('there are four templates', () => {
  expect(NAMES.sort()).toEqual(['break-glass.json', 'instance.json', 'kms-key.json', 'kms-replica.json']);
});

/** Every node of the template that is an object, with the path to it. */
function* objects(node: Json, path = ''): Generator<readonly [string, JsonRecord]> {
  if (node === null || typeof node !== 'object') return;
  if (!Array.isArray(node)) yield [path, node as JsonRecord];
  for (const [key, value] of Object.entries(node)) yield* objects(value as Json, `${path}/${key}`);
}

/** `Vpc`, `AWS::Region`, `InstanceRole.Arn`: everything that is referred to. */
function referencesOf(template: Template): readonly string[] {
  return [...objects(template as unknown as Json)].flatMap(([, node]) => {
    const { Ref: ref, 'Fn::GetAtt': attribute, 'Fn::Sub': text, 'Fn::If': choice } = node;
    const inText = [...String(text ?? '').matchAll(/\$\{([^}]+)\}/g)].map((match) => match[1] ?? '');
    const condition = Array.isArray(choice) ? [`condition:${String((choice as readonly Json[])[0])}`] : [];
    const named = ref === undefined ? [] : [String(ref)];
    const owned = attribute === undefined ? [] : [(attribute as readonly string[]).join('.')];
    return [...named, ...owned, ...inText, ...condition];
  });
}

describe.each(NAMES)('%s', (name) => {
  const template = readTemplate(name);

  it('refers to nothing that is not there, and uses what it declares', () => {
    const pseudo = ['AWS::NoValue', 'AWS::Region', 'AWS::AccountId', 'AWS::Partition'];
    const declared = new Set([
      ...pseudo,
      ...Object.keys(template.Parameters),
      ...Object.keys(template.Resources),
      ...Object.keys(template.Conditions ?? {}).map((condition) => `condition:${condition}`),
    ]);
    const references = referencesOf(template);
    expect(references.length).toBeGreaterThan(0);
    expect(references.filter((reference) => !declared.has(reference.split('.')[0] ?? ''))).toEqual([]);
    for (const resource of Object.values(template.Resources)) {
      if (resource.DependsOn !== undefined) expect(Object.keys(template.Resources)).toContain(resource.DependsOn);
    }
    const unused = Object.keys(template.Parameters).filter((parameter) => !references.includes(parameter));
    expect(unused).toEqual([]);
  });

  it('has patterns that compile, and that its defaults match', () => {
    for (const { AllowedPattern, Default, Type } of Object.values(template.Parameters)) {
      if (Type !== 'String' && Type !== 'CommaDelimitedList') continue;
      const pattern = new RegExp(`^(?:${AllowedPattern})$`);
      expect(AllowedPattern).toBeDefined();
      if (Default !== undefined) expect(String(Default)).toMatch(pattern);
    }
  });

  it('gives roles no action by wildcard, and no resource by wildcard that has a name', () => {
    // These actions exist on no resource: IAM accepts them on * alone.
    const nameless = ['kms:CreateKey', 'cloudformation:GetTemplateSummary', 'cloudformation:ValidateTemplate'];
    for (const { Type, Properties } of Object.values(template.Resources)) {
      if (Type !== 'AWS::IAM::Role') continue;
      expect(Properties).not.toHaveProperty('ManagedPolicyArns');
      for (const [, node] of objects(Properties ?? {})) {
        if (node['Effect'] === undefined || node['Resource'] === undefined) continue;
        const actions = [node['Action']].flat().map(String);
        expect(actions.filter((action) => action.includes('*'))).toEqual([]);
        if (node['Resource'] === '*') expect(actions.filter((action) => !nameless.includes(action))).toEqual([]);
      }
    }
  });

  it('keeps what cannot be made again when a stack is deleted', () => {
    const precious = ['AWS::KMS::Key', 'AWS::KMS::ReplicaKey', 'AWS::EC2::Volume'];
    for (const { Type, DeletionPolicy, UpdateReplacePolicy } of Object.values(template.Resources)) {
      if (!precious.includes(Type)) continue;
      expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(['Retain', 'Retain']);
    }
  });
});

describe('the instance', () => {
  const template = readTemplate('instance.json');
  const properties = (logicalId: string): JsonRecord => propertiesOf(template, logicalId, INSTANCE);

  it('has enclaves, and metadata by IMDSv2 alone that no container reaches', () => {
    expect(properties('LaunchTemplate')['LaunchTemplateData']).toMatchObject({
      EnclaveOptions: { Enabled: true },
      MetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
      BlockDeviceMappings: [{ Ebs: { Encrypted: true } }],
    });
    expect(properties('Instance')).toMatchObject({ DisableApiTermination: true });
    expect(properties('Data')).toMatchObject({ Encrypted: true });
  });

  it('has a role that may decrypt and make data keys with the one key, and nothing else', () => {
    const role = properties('InstanceRole');
    expect(role['Policies']).toHaveLength(1);
    expect(statementsOf((role['Policies'] as readonly JsonRecord[])[0]?.['PolicyDocument'])).toEqual([
      {
        Sid: 'UseTheKey',
        Effect: 'Allow',
        Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
        Resource: KEY_ARN,
      },
    ]);
    expect(statementsOf(role['AssumeRolePolicyDocument'])).toEqual([
      { Effect: 'Allow', Principal: { Service: 'ec2.amazonaws.com' }, Action: 'sts:AssumeRole' },
    ]);
  });

  it('reaches KMS by an endpoint that carries this role on this key and nothing else', () => {
    const endpoint = properties('KmsEndpoint');
    expect(endpoint).toMatchObject({ ServiceName: 'com.amazonaws.<AWS::Region>.kms', PrivateDnsEnabled: true });
    expect(statementsOf(endpoint['PolicyDocument'])).toEqual([
      {
        Sid: 'InstanceRoleOnTheOneKey',
        Effect: 'Allow',
        Principal: '*',
        Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
        Resource: KEY_ARN,
        Condition: { ArnEquals: { 'aws:PrincipalArn': ROLE_ARN } },
      },
    ]);
  });

  it('has a role and an endpoint that know further keys by their ARNs, where there are any', () => {
    const further = [KEY_ARN.replace('eu-central-1', 'us-east-2'), KEY_ARN.replace('111122223333', '555566667777')];
    const FurtherKeyArns = further.join(',');
    const given = { ...INSTANCE, parameters: { ...INSTANCE.parameters, FurtherKeyArns } };
    const [policy] = propertiesOf(template, 'InstanceRole', given)['Policies'] as readonly JsonRecord[];
    const ofRole = statementsOf(policy?.['PolicyDocument']);
    const ofEndpoint = statementsOf(propertiesOf(template, 'KmsEndpoint', given)['PolicyDocument']);
    expect(ofRole.map(({ Resource }) => Resource)).toEqual([KEY_ARN, further]);
    expect(ofEndpoint.map(({ Resource }) => Resource)).toEqual([KEY_ARN, further]);
    for (const { Action } of [...ofRole, ...ofEndpoint]) expect(Action).toEqual(['kms:Decrypt', 'kms:GenerateDataKey']);
    // What qv prints for the role is the same, in one statement.
    const granted = (statements: readonly JsonRecord[]) => statements.flatMap(({ Resource }) => Resource);
    expect(granted(statementsOf(instancePolicy([KEY_ARN, ...further]) as JsonRecord))).toEqual(granted(ofRole));
    for (const wrong of ['*', `${KEY_ARN},*`, KEY_ARN.replace(':key/', ':alias/')])
      expect(() =>
        propertiesOf(template, 'InstanceRole', {
          ...INSTANCE,
          parameters: { ...INSTANCE.parameters, FurtherKeyArns: wrong },
        }),
      ).toThrow('FurtherKeyArns');
  });

  it('lets in TLS and SSH, each from its own range', () => {
    const rules = properties('InstanceGroup')['SecurityGroupIngress'] as readonly JsonRecord[];
    expect(rules.map(({ FromPort, ToPort, CidrIp }) => [FromPort, ToPort, CidrIp])).toEqual([
      [443, 443, '203.0.113.0/24'],
      [22, 22, '198.51.100.7/32'],
    ]);
    const everywhere = { ...INSTANCE, parameters: { ...INSTANCE.parameters, AdminCidr: '0.0.0.0/0' } };
    expect(() => propertiesOf(template, 'InstanceGroup', everywhere)).toThrow('AdminCidr');
  });

  it('is of a size that can have enclaves', () => {
    const sized = (InstanceType: string) => () =>
      propertiesOf(template, 'Instance', { ...INSTANCE, parameters: { ...INSTANCE.parameters, InstanceType } });
    for (const type of ['c6i.xlarge', 'c6i.2xlarge', 'm7a.24xlarge', 'r6i.48xlarge']) expect(sized(type)).not.toThrow();
    for (const type of ['t3.large', 'c6i.large', 'c6i.metal', '']) expect(sized(type)).toThrow('InstanceType');
  });
});

describe('the break-glass role', () => {
  const template = readTemplate('break-glass.json');
  const facts = { 'AWS::Partition': 'aws', 'AWS::Region': 'eu-central-1', 'AWS::AccountId': '111122223333' };
  const role = (Holders: string): JsonRecord =>
    propertiesOf(template, 'BreakGlassRole', { parameters: { Holders }, facts });
  const [ann, bob] = ['arn:aws:iam::111122223333:user/ann', 'arn:aws:iam::111122223333:user/bob'];

  it('is taken on by named holders, with MFA', () => {
    expect(statementsOf(role(`${ann},${bob}`)['AssumeRolePolicyDocument'])).toEqual([
      {
        Effect: 'Allow',
        Principal: { AWS: [ann, bob] },
        Action: 'sts:AssumeRole',
        Condition: { Bool: { 'aws:MultiFactorAuthPresent': 'true' } },
      },
    ]);
  });

  it.each(['*', 'arn:aws:iam::111122223333:root', '111122223333', ''])('is not for %j', (holder) => {
    expect(() => role(holder)).toThrow('Holders');
  });

  it('can make the key and its stack, and has no other power over keys than what the key policy gives', () => {
    const [policy] = role(ann)['Policies'] as readonly JsonRecord[];
    const actions = statementsOf(policy?.['PolicyDocument']).flatMap(({ Action }) => [Action].flat().map(String));
    expect(actions.filter((action) => !action.startsWith('cloudformation:'))).toEqual(['kms:CreateKey']);
    const stacks = statementsOf(policy?.['PolicyDocument']).find(({ Sid }) => Sid === 'TheKeyStack')?.['Resource'];
    expect(stacks).toEqual([
      'arn:aws:cloudformation:eu-central-1:111122223333:stack/quantumvault-kms-key/*',
      'arn:aws:cloudformation:*:111122223333:stack/quantumvault-kms-key-replica/*',
    ]);
  });
});

function statementsOf(policy: Json | undefined): readonly JsonRecord[] {
  return (policy as { readonly Statement: readonly JsonRecord[] }).Statement;
}
