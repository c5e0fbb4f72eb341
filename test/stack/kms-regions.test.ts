/** The local KMS in several Regions and accounts: multi-Region keys, and Regions that are not to be reached. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EncryptCommand,
  GetKeyPolicyCommand,
  type KMSClient,
  ListKeysCommand,
  ReplicateKeyCommand,
} from '@aws-sdk/client-kms';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LocalKms, startLocalRegions } from './kms/server.ts';
import type { Principal } from './kms/sigv4.ts';
import { createSimulatedRoot } from './nsm/root.ts';
import { ACCOUNT, ADMIN, ADMIN_USER, kmsClient, refusal } from './support.ts';

const [HERE, THERE] = ['us-east-1', 'eu-west-1'];
const OTHER_ACCOUNT = '444455556666';
const OTHER: Principal = { ...ADMIN, accessKeyId: 'AKIAOTHER', arn: `arn:aws:iam::${OTHER_ACCOUNT}:user/admin` };
const SECRET = utf8('a secret');
const EncryptionContext = { wallet: 'w' };

let dir: string;
let regions: ReadonlyMap<string, LocalKms>;
const clients: KMSClient[] = [];
let here: KMSClient;
let there: KMSClient;

function client(region: string, principal: Principal): KMSClient {
  const { endpoint = '', caPem = '' } = regions.get(region) ?? {};
  const made = kmsClient(endpoint, caPem, principal, { region });
  clients.push(made);
  return made;
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'qv-kms-'));
  const nsmRootDer = createSimulatedRoot().certificateDer;
  regions = await startLocalRegions({ dir, nsmRootDer, principals: [ADMIN, OTHER] }, [THERE]);
  here = client(HERE, ADMIN);
  there = client(THERE, ADMIN);
});

afterAll(async () => {
  for (const each of clients) each.destroy();
  for (const kms of regions.values()) await kms.close();
  await rm(dir, { recursive: true });
});

const errorName = async (call: Promise<unknown>): Promise<string> => (await refusal(call)).name;
const primary = async (): Promise<string> =>
  (await here.send(new CreateKeyCommand({ MultiRegion: true }))).KeyMetadata?.Arn ?? '';
const encrypted = async (from: KMSClient, KeyId: string): Promise<Uint8Array> =>
  (await from.send(new EncryptCommand({ KeyId, Plaintext: SECRET, EncryptionContext }))).CiphertextBlob ??
  new Uint8Array();
const decrypt = (CiphertextBlob: Uint8Array, KeyId: string) =>
  new DecryptCommand({ CiphertextBlob, KeyId, EncryptionContext });
const allowing = (...principals: readonly string[]): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { AWS: principals }, Action: 'kms:*', Resource: '*' }],
  });

describe('multi-Region keys', () => {
  it('have an id of their own kind, which replicas share; each has its own ARN', async () => {
    const KeyId = await primary();
    expect(KeyId).toMatch(new RegExp(`^arn:aws:kms:${HERE}:${ACCOUNT}:key/mrk-[0-9a-f]{32}$`));
    const { ReplicaKeyMetadata } = await here.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: THERE }));
    const replica = KeyId.replace(HERE, THERE);
    expect(ReplicaKeyMetadata).toMatchObject({ Arn: replica, MultiRegion: true, KeyState: 'Enabled' });
    const of = async (from: KMSClient, name: string) =>
      (await from.send(new DescribeKeyCommand({ KeyId: name }))).KeyMetadata?.MultiRegionConfiguration;
    const related = { PrimaryKey: { Arn: KeyId, Region: HERE }, ReplicaKeys: [{ Arn: replica, Region: THERE }] };
    expect(await of(here, KeyId)).toEqual({ MultiRegionKeyType: 'PRIMARY', ...related });
    expect(await of(there, replica)).toEqual({ MultiRegionKeyType: 'REPLICA', ...related });
  });

  it('open what any of them has sealed, and answer with the ARN of the one that was asked', async () => {
    const KeyId = await primary();
    await here.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: THERE }));
    const replica = KeyId.replace(HERE, THERE);
    expect(await there.send(decrypt(await encrypted(here, KeyId), replica))).toMatchObject({
      Plaintext: SECRET,
      KeyId: replica,
    });
    expect(await here.send(decrypt(await encrypted(there, replica), KeyId))).toMatchObject({
      Plaintext: SECRET,
      KeyId,
    });
    // One asked under the other's name is not there.
    expect(await errorName(there.send(decrypt(await encrypted(here, KeyId), KeyId)))).toBe('NotFoundException');
  });

  it('have policies and states of their own', async () => {
    const KeyId = await primary();
    const blob = await encrypted(here, KeyId);
    const Policy = allowing(ADMIN_USER);
    await here.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: THERE, Policy }));
    const replica = KeyId.replace(HERE, THERE);
    expect((await there.send(new GetKeyPolicyCommand({ KeyId: replica, PolicyName: 'default' }))).Policy).toBe(Policy);
    await here.send(new DisableKeyCommand({ KeyId }));
    expect(await errorName(here.send(decrypt(blob, KeyId)))).toBe('DisabledException');
    expect((await there.send(decrypt(blob, replica))).Plaintext).toEqual(SECRET);
  });

  it('are replicated once per Region, from an enabled primary key, by whom its policy allows', async () => {
    const KeyId = await primary();
    const to = (ReplicaRegion: string, name = KeyId) => new ReplicateKeyCommand({ KeyId: name, ReplicaRegion });
    expect(await errorName(here.send(to('mars-north-1')))).toBe('ValidationException');
    expect(await errorName(here.send(to(HERE)))).toBe('ValidationException');
    await here.send(to(THERE));
    expect(await errorName(here.send(to(THERE)))).toBe('AlreadyExistsException');
    const replica = KeyId.replace(HERE, THERE);
    expect(await errorName(there.send(to(HERE, replica)))).toBe('UnsupportedOperationException');
    const single = (await here.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    expect(await errorName(here.send(to(THERE, single)))).toBe('UnsupportedOperationException');
    expect(await errorName(client(HERE, OTHER).send(to(THERE, KeyId)))).toBe('AccessDeniedException');
    await here.send(new DisableKeyCommand({ KeyId }));
    expect(await errorName(here.send(to(THERE)))).toBe('KMSInvalidStateException');
  });

  it('survive a restart of all Regions', async () => {
    const KeyId = await primary();
    await here.send(new ReplicateKeyCommand({ KeyId, ReplicaRegion: THERE }));
    const blob = await encrypted(here, KeyId);
    const nsmRootDer = createSimulatedRoot().certificateDer;
    const again = await startLocalRegions({ dir, nsmRootDer, principals: [ADMIN] }, [THERE]);
    const { endpoint = '', caPem = '' } = again.get(THERE) ?? {};
    const other = kmsClient(endpoint, caPem, ADMIN, { region: THERE });
    expect((await other.send(decrypt(blob, KeyId.replace(HERE, THERE)))).Plaintext).toEqual(SECRET);
    other.destroy();
    for (const kms of again.values()) await kms.close();
  });
});

describe('a blob of a key that this Region does not know', () => {
  it('is refused as one that the caller may not use', async () => {
    const single = (await here.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const local = (await there.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const blob = await encrypted(here, single);
    expect(await errorName(there.send(decrypt(blob, local)))).toBe('AccessDeniedException');
    const sibling = (await here.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    expect(await errorName(here.send(decrypt(blob, sibling)))).toBe('IncorrectKeyException');
  });
});

describe('accounts', () => {
  it('each have their own keys in the same Region', async () => {
    const foreign = client(HERE, OTHER);
    const { Arn = '', KeyId = '' } = (await foreign.send(new CreateKeyCommand({}))).KeyMetadata ?? {};
    expect(Arn).toContain(`:${OTHER_ACCOUNT}:`);
    const listed = async (from: KMSClient) =>
      ((await from.send(new ListKeysCommand({}))).Keys ?? []).map((k) => k.KeyArn);
    expect(await listed(foreign)).toContain(Arn);
    expect(await listed(here)).not.toContain(Arn);
    // A bare id is one of the caller's own account.
    expect(await errorName(here.send(new DescribeKeyCommand({ KeyId })))).toBe('NotFoundException');
    expect(await errorName(here.send(new DescribeKeyCommand({ KeyId: Arn })))).toBe('AccessDeniedException');
  });

  it('use a key of another one only if both agree', async () => {
    const foreign = client(HERE, OTHER);
    const create = new CreateKeyCommand({ Policy: allowing(OTHER.arn, ADMIN_USER) });
    const Arn = (await foreign.send(create)).KeyMetadata?.Arn ?? '';
    expect((await here.send(decrypt(await encrypted(here, Arn), Arn))).Plaintext).toEqual(SECRET);
    const kms = regions.get(HERE);
    if (kms === undefined) throw new Error('no Region');
    const statement = { Effect: 'Allow', Action: 'kms:Decrypt', Resource: 'arn:aws:kms:*:*:key/another' };
    const identityPolicy = JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
    kms.principals = [{ ...ADMIN, identityPolicy }, OTHER];
    expect(await errorName(encrypted(here, Arn))).toBe('AccessDeniedException');
    kms.principals = [ADMIN, OTHER];
  });
});

describe('a Region that is not to be reached', () => {
  it('refuses connections, and touches no other; then it is back at the same place', async () => {
    const kms = regions.get(THERE);
    if (kms === undefined) throw new Error('no Region');
    const KeyId = (await there.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const describe = new DescribeKeyCommand({ KeyId });
    await kms.setReachable(false);
    await kms.setReachable(false);
    expect(String(await refusal(there.send(describe)))).toMatch(/ECONNREFUSED|hang up/);
    await here.send(new ListKeysCommand({}));
    await kms.setReachable(true);
    await kms.setReachable(true);
    expect((await there.send(describe)).KeyMetadata?.Arn).toBe(KeyId);
  });

  it('faults can be one key’s', async () => {
    const kms = regions.get(HERE);
    if (kms === undefined) throw new Error('no Region');
    const keyOf = async () => (await here.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
    const [ill, well] = [await keyOf(), await keyOf()];
    kms.faults.set([{ keyArn: ill, fault: { kind: 'refuse', error: 'ThrottlingException' } }]);
    expect(await errorName(here.send(new DescribeKeyCommand({ KeyId: ill })))).toBe('ThrottlingException');
    await here.send(new DescribeKeyCommand({ KeyId: well }));
    kms.faults.set([]);
  });
});
