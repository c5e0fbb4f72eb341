/** The operations that make, describe and rule keys. */
import type { Answer, Call } from './call.ts';
import { KmsError } from './errors.ts';
import type { KmsKey } from './keys.ts';
import { accountOf, parsePolicy } from './policy.ts';

const DAY = 24 * 3600_000;

/** Any principal of the table may create keys, as if its account's identity policies said so. */
export async function createKey(call: Call): Promise<Answer> {
  const { parameters, input } = call;
  const spec = parameters.optionalText('KeySpec') ?? parameters.optionalText('CustomerMasterKeySpec');
  const isOurs = parameters.choice('Origin', ['AWS_KMS'], 'AWS_KMS') === 'AWS_KMS';
  if ((spec ?? 'SYMMETRIC_DEFAULT') !== 'SYMMETRIC_DEFAULT' || !isOurs) {
    throw new KmsError('UnsupportedOperationException', 'Only symmetric keys exist here.');
  }
  parameters.choice('KeyUsage', ['ENCRYPT_DECRYPT'], 'ENCRYPT_DECRYPT');
  const policy = parameters.optionalText('Policy');
  const { accountId } = call;
  const key = await input.keys.create({
    accountId,
    isMultiRegion: parameters.flag('MultiRegion'),
    description: parameters.optionalText('Description') ?? '',
    createdAt: input.now,
    policyOf: (arn) => acceptablePolicy(call, policy ?? defaultPolicy(accountId), arn),
  });
  call.trace.keyArn = key.arn;
  return { KeyMetadata: metadata(call, key) };
}

/** Also needs kms:CreateKey in the replica's Region, which everybody here has. The policy is not copied. */
export async function replicateKey(call: Call): Promise<Answer> {
  const { parameters, input, accountId } = call;
  const region = parameters.text('ReplicaRegion');
  const policy = parameters.optionalText('Policy');
  const primary = call.authorizedKey('kms:ReplicateKey');
  if (primary.multiRegion?.type !== 'PRIMARY')
    throw new KmsError('UnsupportedOperationException', `${primary.arn} is not a multi-Region primary key.`);
  if (primary.state !== 'Enabled') throw new KmsError('KMSInvalidStateException', `${primary.arn} is not enabled.`);
  const keys = input.otherRegions.get(region);
  if (keys === undefined) throw new KmsError('ValidationException', `${region} is not a Region of the others here.`);
  if (keys.has(primary.id)) throw new KmsError('AlreadyExistsException', `${primary.id} has a replica in ${region}.`);
  const replica = await keys.replicate(primary, {
    accountId,
    description: parameters.optionalText('Description') ?? '',
    createdAt: input.now,
    policyOf: (arn) => acceptablePolicy(call, policy ?? defaultPolicy(accountId), arn),
  });
  return { ReplicaKeyMetadata: metadata(call, replica), ReplicaPolicy: replica.policy, ReplicaTags: [] };
}

/** What AWS gives a key without a policy: the account decides. */
function defaultPolicy(accountId: string): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Id: 'key-default-1',
    Statement: [
      {
        Sid: 'Enable IAM User Permissions',
        Effect: 'Allow',
        Principal: { AWS: `arn:aws:iam::${accountId}:root` },
        Action: 'kms:*',
        Resource: '*',
      },
    ],
  });
}

/** A policy that understands itself and, unless bypassed, leaves its author able to change it again. */
function acceptablePolicy(call: Call, text: string, keyArn: string): string {
  const policy = parsePolicy(text);
  const isSafe = call.verdict(policy, keyArn, 'kms:PutKeyPolicy') === 'allowed';
  if (!isSafe && !call.parameters.flag('BypassPolicyLockoutSafetyCheck')) {
    throw new KmsError(
      'MalformedPolicyDocumentException',
      'The new key policy will not allow you to update the key policy in the future.',
    );
  }
  return text;
}

export async function describeKey(call: Call): Promise<Answer> {
  return { KeyMetadata: metadata(call, call.authorizedKey('kms:DescribeKey')) };
}

export async function listKeys(call: Call): Promise<Answer> {
  const own = call.input.keys.list().filter(({ arn }) => accountOf(arn) === call.accountId);
  return { Keys: own.map((key) => ({ KeyId: key.id, KeyArn: key.arn })), Truncated: false };
}

export async function getKeyPolicy(call: Call): Promise<Answer> {
  const name = policyName(call);
  return { Policy: call.authorizedKey('kms:GetKeyPolicy').policy, PolicyName: name };
}

export async function putKeyPolicy(call: Call): Promise<Answer> {
  policyName(call);
  const text = call.parameters.text('Policy');
  const key = call.authorizedKey('kms:PutKeyPolicy');
  await call.input.keys.save({ ...key, policy: acceptablePolicy(call, text, key.arn) });
  return {};
}

function policyName(call: Call): string {
  return call.parameters.choice('PolicyName', ['default'], 'default');
}

export async function enableKey(call: Call): Promise<Answer> {
  return await changeState(call, 'kms:EnableKey', 'Enabled');
}

export async function disableKey(call: Call): Promise<Answer> {
  return await changeState(call, 'kms:DisableKey', 'Disabled');
}

async function changeState(call: Call, action: string, state: 'Enabled' | 'Disabled'): Promise<Answer> {
  const key = call.authorizedKey(action);
  if (key.state === 'PendingDeletion') {
    throw new KmsError('KMSInvalidStateException', `${key.arn} is pending deletion.`);
  }
  await call.input.keys.save({ ...key, state });
  return {};
}

export async function scheduleKeyDeletion(call: Call): Promise<Answer> {
  const days = call.parameters.optionalInteger('PendingWindowInDays', 7, 30) ?? 30;
  const key = call.authorizedKey('kms:ScheduleKeyDeletion');
  const deletionAt = call.input.now + days * DAY;
  await call.input.keys.save({ ...key, state: 'PendingDeletion', deletionAt });
  return { KeyId: key.arn, DeletionDate: deletionAt / 1000, KeyState: 'PendingDeletion', PendingWindowInDays: days };
}

export async function cancelKeyDeletion(call: Call): Promise<Answer> {
  const { deletionAt, ...key } = call.authorizedKey('kms:CancelKeyDeletion');
  if (deletionAt === undefined) throw new KmsError('KMSInvalidStateException', `${key.arn} is not pending deletion.`);
  await call.input.keys.save({ ...key, state: 'Disabled' });
  return { KeyId: key.arn };
}

function metadata(call: Call, key: KmsKey): Answer {
  const { multiRegion } = key;
  const primary = multiRegion?.primaryArn ?? key.arn;
  const related = [call.input.keys, ...call.input.otherRegions.values()].flatMap((keys) =>
    keys.list().filter(({ id, arn }) => id === key.id && arn !== primary),
  );
  const place = (arn: string): Answer => ({ Arn: arn, Region: arn.split(':')[3] });
  return {
    AWSAccountId: accountOf(key.arn),
    KeyId: key.id,
    Arn: key.arn,
    CreationDate: key.createdAt / 1000,
    Enabled: key.state === 'Enabled',
    Description: key.description,
    KeyUsage: 'ENCRYPT_DECRYPT',
    KeyState: key.state,
    ...(key.deletionAt === undefined ? {} : { DeletionDate: key.deletionAt / 1000 }),
    Origin: 'AWS_KMS',
    KeyManager: 'CUSTOMER',
    CustomerMasterKeySpec: 'SYMMETRIC_DEFAULT',
    KeySpec: 'SYMMETRIC_DEFAULT',
    EncryptionAlgorithms: ['SYMMETRIC_DEFAULT'],
    MultiRegion: multiRegion !== undefined,
    ...(multiRegion && {
      MultiRegionConfiguration: {
        MultiRegionKeyType: multiRegion.type,
        PrimaryKey: place(primary),
        ReplicaKeys: related.map(({ arn }) => place(arn)),
      },
    }),
  };
}
