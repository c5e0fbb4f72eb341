/** Grants: permissions beside the key policy. They ask for no attestation, which is why key policies deny CreateGrant. */
import { randomBytes } from 'node:crypto';
import { type Answer, type Call, requireEnabled } from './call.ts';
import { KmsError, validation } from './errors.ts';
import type { Grant } from './keys.ts';
import { accountOf } from './policy.ts';

/** What a grant on a symmetric key may permit. */
const OPERATIONS = [
  'CreateGrant',
  'Decrypt',
  'DescribeKey',
  'Encrypt',
  'GenerateDataKey',
  'GenerateDataKeyPair',
  'GenerateDataKeyPairWithoutPlaintext',
  'GenerateDataKeyWithoutPlaintext',
  'ReEncryptFrom',
  'ReEncryptTo',
  'RetireGrant',
] as const;
const PRINCIPAL = /^arn:aws[a-z-]*:(?:iam|sts)::\d{12}:[\w+=,.@/-]+$/;

/** Subset: grantees by ARN, and constraints of the kind EncryptionContextSubset. Grants count at once. */
export async function createGrant(call: Call): Promise<Answer> {
  const { parameters, input } = call;
  const grantee = parameters.text('GranteePrincipal');
  if (!PRINCIPAL.test(grantee)) throw new KmsError('InvalidArnException', `Invalid ARN: ${grantee}`);
  const constraints = parameters.optionalStructure('Constraints');
  if (constraints?.has('EncryptionContextEquals')) {
    throw new KmsError('UnsupportedOperationException', 'Only EncryptionContextSubset exists here.');
  }
  const operations = parameters.texts('Operations', OPERATIONS);
  const name = parameters.optionalText('Name');
  const key = requireEnabled(call.authorizedKey('kms:CreateGrant'));
  call.stopIfDryRun();
  const grant: Grant = {
    id: randomBytes(32).toString('hex'),
    token: randomBytes(48).toString('base64url'),
    ...(name === undefined ? {} : { name }),
    grantee,
    issuingAccount: accountOf(input.principal.arn),
    operations,
    context: Object.fromEntries(constraints?.textMap('EncryptionContextSubset') ?? []),
    createdAt: input.now,
  };
  await input.keys.save({ ...key, grants: [...(key.grants ?? []), grant] });
  return { GrantId: grant.id, GrantToken: grant.token };
}

export async function listGrants(call: Call): Promise<Answer> {
  const key = call.authorizedKey('kms:ListGrants');
  const Grants = (key.grants ?? []).map((grant) => ({
    KeyId: key.arn,
    GrantId: grant.id,
    Name: grant.name ?? '',
    CreationDate: grant.createdAt / 1000,
    GranteePrincipal: grant.grantee,
    IssuingAccount: `arn:aws:iam::${grant.issuingAccount}:root`,
    Operations: grant.operations,
    ...(Object.keys(grant.context).length === 0 ? {} : { Constraints: { EncryptionContextSubset: grant.context } }),
  }));
  return { Grants, Truncated: false };
}

export async function revokeGrant(call: Call): Promise<Answer> {
  const id = call.parameters.text('GrantId');
  if (!/^[0-9a-f]{64}$/.test(id)) throw validation(`Value '${id}' at 'grantId' failed to satisfy constraint`);
  const key = call.authorizedKey('kms:RevokeGrant');
  const { grants = [] } = key;
  if (!grants.some((grant) => grant.id === id)) throw new KmsError('NotFoundException', `Grant ID ${id} not found`);
  await call.input.keys.save({ ...key, grants: grants.filter((grant) => grant.id !== id) });
  return {};
}
