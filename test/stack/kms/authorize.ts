/**
 * Who may do what, of key policy, identity policy and grants together (KMS developer guide, "Determining access to KMS
 * keys", "Allowing users in other accounts to use a KMS key").
 */
import type { KmsKey } from './keys.ts';
import { type AccessRequest, accountOf, evaluate, ownNames, type Policy, parsePolicy, type Verdict } from './policy.ts';

/** Operations on a key of another account; KMS refuses all others there, whatever the policies say. */
const ACROSS_ACCOUNTS = new Set(
  [
    'CreateGrant',
    'Decrypt',
    'DeriveSharedSecret',
    'DescribeKey',
    'Encrypt',
    'GenerateDataKey',
    'GenerateDataKeyPair',
    'GenerateDataKeyPairWithoutPlaintext',
    'GenerateDataKeyWithoutPlaintext',
    'GetKeyRotationStatus',
    'ListGrants',
    'ReEncryptFrom',
    'ReEncryptTo',
    'RevokeGrant',
  ].map((operation) => `kms:${operation}`),
);

export interface AccessQuestion extends AccessRequest {
  readonly keyPolicy: Policy;
  /** The principal's own policy as text. Absent: an administrator of his account, who may whatever keys allow him. */
  readonly identityPolicy?: string | undefined;
  readonly grants: KmsKey['grants'];
}

/**
 * A denial anywhere wins. In the key's account it is enough that the key policy names the principal or a grant does;
 * where it names the account, the identity policy decides. From another account both policies have to allow.
 */
export function authorize(question: AccessQuestion): Verdict {
  const { keyPolicy, identityPolicy, principalArn } = question;
  const byKey = evaluate(keyPolicy, question);
  const byIdentity = identityPolicy === undefined ? 'allowed' : evaluateIdentity(identityPolicy, question);
  if (byKey === 'explicit deny' || byIdentity === 'explicit deny') return 'explicit deny';
  const isForeign = accountOf(principalArn) !== accountOf(question.keyArn);
  if (isForeign && !ACROSS_ACCOUNTS.has(question.action)) return 'no allow';
  if (isGranted(question)) return 'allowed';
  const namesHim = evaluate(keyPolicy, question, ownNames(principalArn)) === 'allowed';
  if (namesHim && !isForeign) return 'allowed';
  return byKey === 'allowed' && byIdentity === 'allowed' ? 'allowed' : 'no allow';
}

function evaluateIdentity(text: string, request: AccessRequest): Verdict {
  return evaluate(parsePolicy(text, 'identity'), request);
}

/** A grant knows conditions on the encryption context alone: what is attested, it does not ask. */
function isGranted({ grants = [], action, principalArn, facts }: AccessQuestion): boolean {
  return grants.some(
    ({ grantee, operations, context }) =>
      ownNames(principalArn).includes(grantee) &&
      operations.some((operation) => `kms:${operation}` === action) &&
      Object.entries(context).every(
        ([name, value]) => facts.get(`kms:encryptioncontext:${name.toLowerCase()}`)?.[0] === value,
      ),
  );
}
