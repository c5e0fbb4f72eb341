/**
 * The KMS key policy (design 1, 4): the instance role may Decrypt and GenerateDataKey, and only with an attestation
 * of an allowed image; what attestation conditions do not cover is denied to everybody; whoever may change the policy
 * holds the power over every key, so that is a break-glass role, never the instance role.
 *
 * The account itself (its `root`) is named nowhere, so no IAM policy of that account reaches the key. KMS lets nobody
 * change a key of another account: the key is in the break-glass role's account, and the instance in another one.
 * host/deploy/cloudformation/kms-key.json holds the same document; test/host/deploy compares them.
 */
import { QvError } from '@quantumvault/shared/errors.ts';

export interface KeyPolicyInput {
  /** May change and read the policy, and may not use the key. */
  readonly breakGlassArn: string;
  readonly instanceRoleArn: string;
  /** PCR0 of each allowed image, lower-case hex. Several during an upgrade. */
  readonly pcr0s: readonly string[];
  /** Of a multi-Region key, primary or replica. Default false. */
  readonly isMultiRegion?: boolean;
}

const ZERO = '0'.repeat(96);
const VERSION = '2012-10-17';

const USE = ['kms:Decrypt', 'kms:GenerateDataKey'];

/**
 * Operations that give key material away without a recipient, that let somebody else use the key, or that the enclave has
 * no use for. (KMS attests DeriveSharedSecret and GenerateDataKeyPair, too; it does not attest the others.)
 */
const DENIED = [
  'kms:Encrypt',
  'kms:ReEncrypt*',
  'kms:CreateGrant',
  'kms:DeriveSharedSecret',
  'kms:GenerateDataKey*WithoutPlaintext',
  'kms:GenerateDataKeyPair*',
  'kms:ReplicateKey',
];

/** Whoever may do one of these can end or take over every key of the deployment. */
const POWERS = ['kms:PutKeyPolicy', 'kms:ScheduleKeyDeletion', 'kms:DisableKey'];

/** A replica has the same key material under a policy of its own: whoever makes one rules the key. */
const MULTI_REGION_POWERS = ['kms:ReplicateKey', 'kms:UpdatePrimaryRegion'];

const powersOf = (isMultiRegion: boolean): readonly string[] =>
  isMultiRegion ? [...POWERS, ...MULTI_REGION_POWERS] : POWERS;

const deniedOf = (isMultiRegion: boolean): readonly string[] =>
  isMultiRegion ? DENIED.filter((action) => !MULTI_REGION_POWERS.includes(action)) : DENIED;

export type KeyPolicyDocument = Readonly<Record<string, unknown>>;

const administers = (breakGlassArn: string, isMultiRegion: boolean): KeyPolicyDocument => ({
  Sid: 'BreakGlassAdministers',
  Effect: 'Allow',
  Principal: { AWS: breakGlassArn },
  Action: [
    'kms:DescribeKey',
    'kms:GetKeyPolicy',
    'kms:GetKeyRotationStatus',
    'kms:ListResourceTags',
    'kms:ListGrants',
    'kms:EnableKey',
    'kms:EnableKeyRotation',
    'kms:CancelKeyDeletion',
    'kms:TagResource',
    ...powersOf(isMultiRegion),
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

/** An explicit denial outlives any statement or grant that somebody adds later. */
const nobodyElseAdministers = (breakGlassArn: string, isMultiRegion: boolean): KeyPolicyDocument => ({
  ...denied('NobodyElseAdministers', powersOf(isMultiRegion)),
  Condition: { ArnNotEquals: { 'aws:PrincipalArn': breakGlassArn } },
});

/**
 * For a key whose image is not measured yet: nobody uses it. The enclave's configuration names the key and is itself
 * measured, so the key has to exist before there is a PCR0 to allow.
 */
export function unusedKeyPolicy(breakGlassArn: string, { isMultiRegion = false } = {}): KeyPolicyDocument {
  return {
    Version: VERSION,
    Statement: [
      administers(breakGlassArn, isMultiRegion),
      nobodyElseAdministers(breakGlassArn, isMultiRegion),
      denied('NobodyUses', USE),
      denied('NothingUnattested', deniedOf(isMultiRegion)),
    ],
  };
}

/** The policy document. @throws QvError field_malformed: one role for both, no image, a malformed PCR0, a debug enclave's zeros */
export function keyPolicy(input: KeyPolicyInput): KeyPolicyDocument {
  const { breakGlassArn, instanceRoleArn, pcr0s, isMultiRegion = false } = input;
  // Who uses the key and may change its policy can let any image in.
  if (breakGlassArn === instanceRoleArn)
    throw new QvError('field_malformed', { path: 'breakGlass', value: 'the instance role' });
  if (pcr0s.length === 0) throw new QvError('field_malformed', { path: 'pcr0', value: 'none' });
  for (const pcr0 of pcr0s) {
    // A policy pinned to zeros would accept any debug enclave.
    if (!/^[0-9a-f]{96}$/.test(pcr0) || pcr0 === ZERO)
      throw new QvError('field_malformed', { path: 'pcr0', value: pcr0 });
  }
  return {
    Version: VERSION,
    Statement: [
      administers(breakGlassArn, isMultiRegion),
      nobodyElseAdministers(breakGlassArn, isMultiRegion),
      {
        Sid: 'AttestedImagesUse',
        Effect: 'Allow',
        Principal: { AWS: instanceRoleArn },
        Action: USE,
        Resource: '*',
        Condition: { StringEqualsIgnoreCase: { 'kms:RecipientAttestation:ImageSha384': [...pcr0s] } },
      },
      {
        // A negated operator holds for an absent key, too: this is also what stops a call without a recipient.
        ...denied('NobodyElseUses', USE),
        Condition: { StringNotEqualsIgnoreCase: { 'kms:RecipientAttestation:ImageSha384': [...pcr0s] } },
      },
      {
        // Debug enclaves attest zeros, whatever they run, and their host can read their console.
        ...denied('NoDebugEnclaveUses', USE),
        Condition: { StringEquals: { 'kms:RecipientAttestation:ImageSha384': ZERO } },
      },
      denied('NothingUnattested', deniedOf(isMultiRegion)),
    ],
  };
}

/** What the instance role's own policy says: keys of other accounts are not its to use without. */
export function instancePolicy(keyArns: readonly string[]): KeyPolicyDocument {
  const Resource = keyArns.length === 1 ? keyArns[0] : [...keyArns];
  return { Version: VERSION, Statement: [{ Sid: 'UseTheKey', Effect: 'Allow', Action: USE, Resource }] };
}
