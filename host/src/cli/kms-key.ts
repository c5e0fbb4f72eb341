/** The KMS key's administration: what `qv init` and the local stack do with the break-glass role's credentials. */
import {
  CreateKeyCommand,
  GetKeyPolicyCommand,
  KMSClient,
  type KMSClientConfig,
  KMSServiceException,
  ListGrantsCommand,
  PutKeyPolicyCommand,
  ReplicateKeyCommand,
} from '@aws-sdk/client-kms';
import { type ErrorCode, QvError } from '@quantumvault/shared/errors.ts';
import { type KeyPolicyDocument, unusedKeyPolicy } from './key-policy.ts';
import { printable } from './terminal.ts';

export interface KmsPlace {
  readonly region: string;
  /** Another endpoint than the Region's: a VPC endpoint, a local KMS. */
  readonly endpoint?: string;
}

/** Credentials come from the SDK's default chain unless `options` brings them. The caller destroys it. */
export function kmsClient({ region, endpoint }: KmsPlace, options: KMSClientConfig = {}): KMSClient {
  return new KMSClient({ region, ...(endpoint !== undefined && { endpoint }), ...options });
}

/**
 * A symmetric key that nobody may use until an image is named. Call it as the break-glass role: KMS refuses a policy
 * that its author could not change again.
 * @returns the full ARN, to be measured into the enclave's configuration
 * @throws QvError kms_unavailable, kms_refused with AWS's error name
 */
export async function createKmsKey(
  client: KMSClient,
  breakGlassArn: string,
  description: string,
  { isMultiRegion = false } = {},
): Promise<string> {
  const { KeyMetadata } = await asQvError(() =>
    client.send(
      new CreateKeyCommand({
        Description: description,
        KeySpec: 'SYMMETRIC_DEFAULT',
        KeyUsage: 'ENCRYPT_DECRYPT',
        Policy: JSON.stringify(unusedKeyPolicy(breakGlassArn, { isMultiRegion })),
        ...(isMultiRegion && { MultiRegion: true }),
      }),
    ),
  );
  if (KeyMetadata?.Arn === undefined) throw new QvError('kms_response_invalid', { path: 'KeyMetadata.Arn' });
  return KeyMetadata.Arn;
}

/**
 * A replica of a multi-Region key, asked for in the primary key's Region. AWS would give it a policy that lets the whole
 * account in: it gets ours, by which nobody uses it.
 * @returns the replica's full ARN
 * @throws QvError kms_unavailable, kms_refused with AWS's error name
 */
export async function replicateKmsKey(
  client: KMSClient,
  {
    primary,
    region,
    breakGlass,
    description,
  }: { readonly primary: string; readonly region: string; readonly breakGlass: string; readonly description: string },
): Promise<string> {
  const { ReplicaKeyMetadata } = await asQvError(() =>
    client.send(
      new ReplicateKeyCommand({
        KeyId: primary,
        ReplicaRegion: region,
        Description: description,
        Policy: JSON.stringify(unusedKeyPolicy(breakGlass, { isMultiRegion: true })),
      }),
    ),
  );
  if (ReplicaKeyMetadata?.Arn === undefined) throw new QvError('kms_response_invalid', { path: 'ReplicaKeyMetadata' });
  return ReplicaKeyMetadata.Arn;
}

/** By its ARN: ids of multi-Region keys begin with `mrk-`. */
export function isMultiRegionKey(arn: string): boolean {
  return arn.includes(':key/mrk-');
}

/** @throws QvError kms_unavailable, kms_refused with AWS's error name */
export async function putKmsPolicy(client: KMSClient, keyArn: string, policy: KeyPolicyDocument): Promise<void> {
  await asQvError(() => client.send(new PutKeyPolicyCommand({ KeyId: keyArn, Policy: JSON.stringify(policy) })));
}

/** @returns the policy document as KMS has it. @throws QvError kms_unavailable, kms_refused with AWS's error name */
export async function keyPolicyText(client: KMSClient, keyArn: string): Promise<string> {
  const command = new GetKeyPolicyCommand({ KeyId: keyArn, PolicyName: 'default' });
  const { Policy } = await asQvError(() => client.send(command));
  if (Policy === undefined) throw new QvError('kms_response_invalid', { path: 'Policy' });
  return Policy;
}

/** @returns one line for each grant. @throws QvError kms_unavailable, kms_refused with AWS's error name */
export async function grantsOf(client: KMSClient, keyArn: string): Promise<readonly string[]> {
  const lines: string[] = [];
  for (let marker: string | undefined; ; ) {
    const command = new ListGrantsCommand({ KeyId: keyArn, ...(marker !== undefined && { Marker: marker }) });
    const { Grants = [], NextMarker } = await asQvError(() => client.send(command));
    for (const { GrantId, GranteePrincipal, Operations = [] } of Grants)
      lines.push(`${GrantId ?? 'a grant'}: ${Operations.join(', ')} for ${GranteePrincipal ?? 'somebody'}`);
    marker = NextMarker;
    if (marker === undefined) return lines;
  }
}

/** arn:aws:kms:<region>:<account>:key/<id>: an alias could be moved to another key. */
const KEY_ARN = /^arn:aws[a-z-]*:kms:([a-z0-9-]{1,32}):[0-9]{12}:key\/[A-Za-z0-9-]{1,64}$/;
/** A session is not named: the policy compares `aws:PrincipalArn`, which is the role's ARN for all of its sessions. */
const PRINCIPAL_ARN = /^arn:aws[a-z-]*:iam::[0-9]{12}:(?:role|user)\/[A-Za-z0-9/+=,.@_-]{1,512}$/;

/** @returns its Region. @throws QvError field_malformed */
export function regionOfKey(arn: string): string {
  const region = KEY_ARN.exec(arn)?.[1];
  if (region === undefined) throw new QvError('field_malformed', { path: '--key', value: 'not the full ARN of a key' });
  return region;
}

/** One principal. @throws QvError field_malformed: no ARN, or one that stands for a whole account or one session */
export function principalArn(arn: string, path: string): string {
  if (!PRINCIPAL_ARN.test(arn)) {
    throw new QvError('field_malformed', { path, value: 'not the ARN of one IAM role or user' });
  }
  return arn;
}

async function asQvError<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof QvError) throw error;
    const { name, message } = error as Error;
    // Whatever AWS answered is its refusal; so is having nothing to sign the call with.
    const refused = error instanceof KMSServiceException || name === 'CredentialsProviderError';
    const code: ErrorCode = refused ? 'kms_refused' : 'kms_unavailable';
    throw new QvError(code, { value: printable(`${name}: ${message}`).slice(0, 300) }, { cause: error });
  }
}
