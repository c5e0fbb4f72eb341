/**
 * The KMS key policy (design 1, 4): the instance role may Decrypt and GenerateDataKey, and only with an attestation
 * of an allowed image; what attestation conditions do not cover is denied to everybody; whoever may change the policy
 * holds the power over every key, so that is a break-glass role, never the instance role.
 */
import { QvError } from '@quantumvault/shared/errors.ts';

export interface KeyPolicyInput {
  /** May change and read the policy, and may not use the key. */
  readonly breakGlassArn: string;
  readonly instanceRoleArn: string;
  /** PCR0 of each allowed image, lower-case hex. Several during an upgrade. */
  readonly pcr0s: readonly string[];
}

const ZERO = '0'.repeat(96);
const VERSION = '2012-10-17';

const USE = ['kms:Decrypt', 'kms:GenerateDataKey'];

/** Operations that give key material away without a recipient, or let somebody else use the key. */
const DENIED = [
  'kms:Encrypt',
  'kms:ReEncrypt*',
  'kms:CreateGrant',
  'kms:DeriveSharedSecret',
  'kms:GenerateDataKeyWithoutPlaintext',
  'kms:GenerateDataKeyPair',
  'kms:GenerateDataKeyPairWithoutPlaintext',
  'kms:ReplicateKey',
];

export type KeyPolicyDocument = Readonly<Record<string, unknown>>;

const administers = (breakGlassArn: string): KeyPolicyDocument => ({
  Sid: 'BreakGlassAdministers',
  Effect: 'Allow',
  Principal: { AWS: breakGlassArn },
  Action: [
    'kms:DescribeKey',
    'kms:GetKeyPolicy',
    'kms:PutKeyPolicy',
    'kms:EnableKey',
    'kms:DisableKey',
    'kms:ScheduleKeyDeletion',
    'kms:CancelKeyDeletion',
    'kms:TagResource',
  ],
  Resource: '*',
});

const denied = (sid: string, actions: readonly string[]): KeyPolicyDocument => ({
  Sid: sid,
  Effect: 'Deny',
  Principal: '*',
  Action: [...actions],
  Resource: '*',
});

/**
 * For a key whose image is not measured yet: nobody uses it. The enclave's configuration names the key and is itself
 * measured, so the key has to exist before there is a PCR0 to allow.
 */
export function unusedKeyPolicy(breakGlassArn: string): KeyPolicyDocument {
  return { Version: VERSION, Statement: [administers(breakGlassArn), denied('NobodyUses', [...USE, ...DENIED])] };
}

/** The policy document. @throws QvError field_malformed: no image, a malformed PCR0, a debug enclave's zeros */
export function keyPolicy({ breakGlassArn, instanceRoleArn, pcr0s }: KeyPolicyInput): KeyPolicyDocument {
  if (pcr0s.length === 0) throw new QvError('field_malformed', { path: 'pcr0', value: 'none' });
  for (const pcr0 of pcr0s) {
    // A policy pinned to zeros accepts any debug enclave, whose memory its host can read.
    if (!/^[0-9a-f]{96}$/.test(pcr0) || pcr0 === ZERO)
      throw new QvError('field_malformed', { path: 'pcr0', value: pcr0 });
  }
  return {
    Version: VERSION,
    Statement: [
      administers(breakGlassArn),
      {
        Sid: 'AttestedImagesUse',
        Effect: 'Allow',
        Principal: { AWS: instanceRoleArn },
        Action: USE,
        Resource: '*',
        Condition: { StringEqualsIgnoreCase: { 'kms:RecipientAttestation:ImageSha384': [...pcr0s] } },
      },
      {
        // An explicit denial outlives any grant or IAM policy that somebody adds later.
        ...denied('NobodyElseUses', USE),
        Condition: { StringNotEqualsIgnoreCase: { 'kms:RecipientAttestation:ImageSha384': [...pcr0s] } },
      },
      denied('NothingUnattested', DENIED),
    ],
  };
}
