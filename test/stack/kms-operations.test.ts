import {
  CancelKeyDeletionCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EnableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GenerateRandomCommand,
  GetKeyPolicyCommand,
  type KMSClient,
  ListKeysCommand,
  PutKeyPolicyCommand,
  ReEncryptCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSimulatedRoot } from './nsm/root.ts';
import { rawCall } from './raw-kms.ts';
import { ACCOUNT, ADMIN, ADMIN_USER, ENCLAVE, refusal, type TestKms, testKms } from './support.ts';

const rootDer = createSimulatedRoot().certificateDer;
const SECRET = utf8('a secret');
const CONTEXT = { purpose: 'test', wallet: 'w' };
let local: TestKms;
let client: KMSClient;

beforeAll(async () => {
  local = await testKms(rootDer);
  client = local.client(ADMIN);
});

afterAll(() => local.close());

async function newKey(policy?: string): Promise<string> {
  const created = await client.send(new CreateKeyCommand(policy === undefined ? {} : { Policy: policy }));
  return created.KeyMetadata?.Arn ?? '';
}

async function encrypted(KeyId: string): Promise<Uint8Array> {
  const answer = await client.send(new EncryptCommand({ KeyId, Plaintext: SECRET, EncryptionContext: CONTEXT }));
  return answer.CiphertextBlob ?? new Uint8Array();
}

const errorName = async (call: Promise<unknown>): Promise<string> => (await refusal(call)).name;

describe('keys', () => {
  it('are created, described and listed', async () => {
    const created = await client.send(new CreateKeyCommand({ Description: 'one' }));
    const { KeyId = '', Arn = '' } = created.KeyMetadata ?? {};
    expect(Arn).toBe(`arn:aws:kms:us-east-1:${ACCOUNT}:key/${KeyId}`);
    for (const name of [KeyId, Arn]) {
      const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId: name }));
      expect(KeyMetadata).toMatchObject({
        Arn,
        AWSAccountId: ACCOUNT,
        Description: 'one',
        Enabled: true,
        KeySpec: 'SYMMETRIC_DEFAULT',
        KeyState: 'Enabled',
        KeyUsage: 'ENCRYPT_DECRYPT',
      });
      expect(KeyMetadata?.CreationDate).toBeInstanceOf(Date);
    }
    const { Keys } = await client.send(new ListKeysCommand({}));
    expect(Keys).toContainEqual({ KeyId, KeyArn: Arn });
  });

  it('that do not exist are not found', async () => {
    for (const KeyId of [
      '00000000-0000-4000-8000-000000000000',
      `arn:aws:kms:us-east-1:${ACCOUNT}:key/00000000-0000-4000-8000-000000000000`,
      (await newKey()).replace('us-east-1', 'eu-west-1'),
      (await newKey()).replace(ACCOUNT, '999999999999'),
      'alias/none',
      'nonsense',
    ]) {
      expect(await errorName(client.send(new DescribeKeyCommand({ KeyId })))).toBe('NotFoundException');
    }
  });

  it('of other kinds are not supported', async () => {
    for (const kind of [{ KeySpec: 'RSA_2048' }, { KeySpec: 'HMAC_256' }] as const) {
      expect(await errorName(client.send(new CreateKeyCommand(kind)))).toBe('UnsupportedOperationException');
    }
  });

  it('can be disabled, and enabled again', async () => {
    const KeyId = await newKey();
    const CiphertextBlob = await encrypted(KeyId);
    await client.send(new DisableKeyCommand({ KeyId }));
    const decrypt = new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT });
    for (const call of [
      client.send(decrypt),
      client.send(new EncryptCommand({ KeyId, Plaintext: SECRET })),
      client.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256' })),
    ]) {
      expect(await errorName(call)).toBe('DisabledException');
    }
    await client.send(new EnableKeyCommand({ KeyId }));
    expect((await client.send(decrypt)).Plaintext).toEqual(SECRET);
  });

  it('that wait for deletion are in an invalid state', async () => {
    const KeyId = await newKey();
    await client.send(new ScheduleKeyDeletionCommand({ KeyId, PendingWindowInDays: 7 }));
    for (const call of [
      client.send(new EncryptCommand({ KeyId, Plaintext: SECRET })),
      client.send(new EnableKeyCommand({ KeyId })),
    ]) {
      expect(await errorName(call)).toBe('KMSInvalidStateException');
    }
    await client.send(new CancelKeyDeletionCommand({ KeyId }));
    const { KeyMetadata } = await client.send(new DescribeKeyCommand({ KeyId }));
    expect(KeyMetadata?.KeyState).toBe('Disabled');
    const again = client.send(new CancelKeyDeletionCommand({ KeyId }));
    expect(await errorName(again)).toBe('KMSInvalidStateException');
  });

  it('survive a restart, policy and state included', async () => {
    const KeyId = await newKey();
    const CiphertextBlob = await encrypted(KeyId);
    const again = await testKms(rootDer, { dir: local.dir });
    expect(again.kms.caPem).toBe(local.kms.caPem);
    const answer = await again
      .client(ADMIN)
      .send(new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT, KeyId }));
    expect(answer.Plaintext).toEqual(SECRET);
    await again.close();
  });
});

describe('Encrypt and Decrypt', () => {
  it('go together under the same context, in any order', async () => {
    const KeyId = await newKey();
    const CiphertextBlob = await encrypted(KeyId);
    const answer = await client.send(
      new DecryptCommand({ CiphertextBlob, EncryptionContext: { wallet: 'w', purpose: 'test' } }),
    );
    expect(answer).toMatchObject({ KeyId, Plaintext: SECRET, EncryptionAlgorithm: 'SYMMETRIC_DEFAULT' });
    expect(answer.CiphertextForRecipient).toBeUndefined();
  });

  it('refuse another context, a changed blob, and what is no blob', async () => {
    const CiphertextBlob = await encrypted(await newKey());
    const decrypt = (blob: Uint8Array, EncryptionContext: Record<string, string>) =>
      errorName(client.send(new DecryptCommand({ CiphertextBlob: blob, EncryptionContext })));
    for (const context of [{}, { purpose: 'test' }, { ...CONTEXT, wallet: 'W' }, { ...CONTEXT, more: '' }]) {
      expect(await decrypt(CiphertextBlob, context)).toBe('InvalidCiphertextException');
    }
    for (const at of [0, 20, 30, CiphertextBlob.length - 1]) {
      const changed = Uint8Array.from(CiphertextBlob);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(await decrypt(changed, CONTEXT)).toBe('InvalidCiphertextException');
    }
    expect(await decrypt(CiphertextBlob.subarray(0, 40), CONTEXT)).toBe('InvalidCiphertextException');
    expect(await decrypt(Uint8Array.of(1), CONTEXT)).toBe('InvalidCiphertextException');
  });

  it('refuse a key other than the one of the blob', async () => {
    const [one, other] = [await newKey(), await newKey()];
    const CiphertextBlob = await encrypted(one);
    const decrypt = (KeyId: string) =>
      client.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT, KeyId }));
    expect((await decrypt(one)).Plaintext).toEqual(SECRET);
    expect(await errorName(decrypt(other))).toBe('IncorrectKeyException');
    expect(await errorName(decrypt(one.replace(ACCOUNT, '999999999999')))).toBe('NotFoundException');
    // Another key's id written into the blob: it does not open.
    const moved = Uint8Array.from(CiphertextBlob);
    moved.set(Buffer.from((other.split('/')[1] ?? '').replaceAll('-', ''), 'hex'), 1);
    const call = client.send(new DecryptCommand({ CiphertextBlob: moved, EncryptionContext: CONTEXT }));
    expect(await errorName(call)).toBe('InvalidCiphertextException');
  });

  it('say of an unknown key in a blob what AWS says', async () => {
    const blob = await encrypted(await newKey());
    blob.fill(7, 1, 17);
    const error = await refusal(client.send(new DecryptCommand({ CiphertextBlob: blob })));
    expect(error.name).toBe('AccessDeniedException');
    expect(error.message).toContain('The ciphertext refers to a customer master key that does not exist');
  });

  it('have dry runs, which come after every other check', async () => {
    const KeyId = await newKey();
    const dryRun = { KeyId, Plaintext: SECRET, DryRun: true };
    expect(await errorName(client.send(new EncryptCommand(dryRun)))).toBe('DryRunOperationException');
    await client.send(new DisableKeyCommand({ KeyId }));
    expect(await errorName(client.send(new EncryptCommand(dryRun)))).toBe('DisabledException');
  });
});

describe('data keys, random bytes and ReEncrypt', () => {
  it('GenerateDataKey gives a key and its blob', async () => {
    const KeyId = await newKey();
    for (const [request, length] of [
      [{ KeySpec: 'AES_256' }, 32],
      [{ KeySpec: 'AES_128' }, 16],
      [{ NumberOfBytes: 100 }, 100],
    ] as const) {
      const answer = await client.send(new GenerateDataKeyCommand({ KeyId, EncryptionContext: CONTEXT, ...request }));
      expect(answer.Plaintext).toHaveLength(length);
      const { CiphertextBlob } = answer;
      const opened = await client.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT }));
      expect(opened.Plaintext).toEqual(answer.Plaintext);
    }
  });

  it('GenerateDataKeyWithoutPlaintext gives the blob alone', async () => {
    const KeyId = await newKey();
    const answer = await client.send(new GenerateDataKeyWithoutPlaintextCommand({ KeyId, KeySpec: 'AES_256' }));
    expect(answer).not.toHaveProperty('Plaintext');
    const { CiphertextBlob } = answer;
    expect((await client.send(new DecryptCommand({ CiphertextBlob }))).Plaintext).toHaveLength(32);
  });

  it('ask for exactly one size, within bounds', async () => {
    const KeyId = await newKey();
    for (const request of [
      {},
      { KeySpec: 'AES_256', NumberOfBytes: 32 },
      { NumberOfBytes: 0 },
      { NumberOfBytes: 1025 },
      { KeySpec: 'AES_512' },
    ]) {
      const answer = await rawCall(local.kms, ADMIN, 'GenerateDataKey', { KeyId, ...request });
      expect(answer).toMatchObject({ status: 400, type: 'ValidationException' });
    }
  });

  it('GenerateRandom', async () => {
    expect((await client.send(new GenerateRandomCommand({ NumberOfBytes: 64 }))).Plaintext).toHaveLength(64);
    const fromStore = new GenerateRandomCommand({ NumberOfBytes: 1, CustomKeyStoreId: 'cks-1' });
    expect(await errorName(client.send(fromStore))).toBe('UnsupportedOperationException');
    expect(await errorName(client.send(new GenerateRandomCommand({})))).toBe('ValidationException');
  });

  it('ReEncrypt moves a blob to another key and context', async () => {
    const [source, destination] = [await newKey(), await newKey()];
    const CiphertextBlob = await encrypted(source);
    const request = { CiphertextBlob, SourceEncryptionContext: CONTEXT, DestinationKeyId: destination };
    const answer = await client.send(new ReEncryptCommand({ ...request, DestinationEncryptionContext: { to: 'x' } }));
    expect(answer).toMatchObject({ SourceKeyId: source, KeyId: destination });
    const opened = await client.send(
      new DecryptCommand({ CiphertextBlob: answer.CiphertextBlob, EncryptionContext: { to: 'x' }, KeyId: destination }),
    );
    expect(opened.Plaintext).toEqual(SECRET);
    const wrongContext = new ReEncryptCommand({ ...request, SourceEncryptionContext: {} });
    expect(await errorName(client.send(wrongContext))).toBe('InvalidCiphertextException');
    const wrongSource = new ReEncryptCommand({ ...request, SourceKeyId: destination });
    expect(await errorName(client.send(wrongSource))).toBe('IncorrectKeyException');
  });

  it('ReEncrypt needs both permissions', async () => {
    const from = await newKey(policyAllowing(['kms:Encrypt', 'kms:ReEncryptFrom', 'kms:PutKeyPolicy']));
    const to = await newKey(policyAllowing(['kms:Encrypt', 'kms:ReEncryptTo', 'kms:PutKeyPolicy']));
    const move = (CiphertextBlob: Uint8Array, DestinationKeyId: string) =>
      client.send(new ReEncryptCommand({ CiphertextBlob, SourceEncryptionContext: CONTEXT, DestinationKeyId }));
    expect((await move(await encrypted(from), to)).KeyId).toBe(to);
    expect((await refusal(move(await encrypted(to), from))).message).toContain('kms:ReEncryptTo');
    expect((await refusal(move(await encrypted(to), to))).message).toContain('kms:ReEncryptFrom');
  });
});

function policyAllowing(Action: readonly string[], more: readonly unknown[] = []): string {
  const allow = { Effect: 'Allow', Principal: { AWS: ADMIN_USER }, Action, Resource: '*' };
  return JSON.stringify({ Version: '2012-10-17', Statement: [allow, ...more] });
}

describe('key policies', () => {
  it('are read as they were put', async () => {
    const KeyId = await newKey();
    const before = await client.send(new GetKeyPolicyCommand({ KeyId }));
    expect(JSON.parse(before.Policy ?? '')).toMatchObject({ Id: 'key-default-1' });
    const Policy = policyAllowing(['kms:GetKeyPolicy', 'kms:PutKeyPolicy']);
    await client.send(new PutKeyPolicyCommand({ KeyId, Policy }));
    const after = await client.send(new GetKeyPolicyCommand({ KeyId }));
    expect(after).toMatchObject({ Policy, PolicyName: 'default' });
  });

  it('give each principal its own actions, and a deny wins', async () => {
    const deny = { Effect: 'Deny', Principal: '*', Action: 'kms:Encrypt', Resource: '*' };
    const KeyId = await newKey(policyAllowing(['kms:*']));
    const encrypt = new EncryptCommand({ KeyId, Plaintext: SECRET });
    const other = local.client(ENCLAVE);
    expect((await refusal(other.send(encrypt))).message).toContain('no resource-based policy allows');
    await client.send(encrypt);
    await client.send(new PutKeyPolicyCommand({ KeyId, Policy: policyAllowing(['kms:*'], [deny]) }));
    expect((await refusal(client.send(encrypt))).message).toContain('with an explicit deny');
  });

  it('are refused when malformed, or when their author locks himself out', async () => {
    const KeyId = await newKey();
    for (const Policy of [
      'not JSON',
      '{}',
      policyAllowing([]),
      policyAllowing(['kms:Decrypt']),
      JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', NotAction: 'kms:Decrypt' }] }),
    ]) {
      const call = client.send(new PutKeyPolicyCommand({ KeyId, Policy }));
      expect(await errorName(call)).toBe('MalformedPolicyDocumentException');
    }
    const locked = { KeyId, Policy: policyAllowing(['kms:Decrypt']), BypassPolicyLockoutSafetyCheck: true };
    await client.send(new PutKeyPolicyCommand(locked));
    expect(await errorName(client.send(new GetKeyPolicyCommand({ KeyId })))).toBe('AccessDeniedException');
  });
});
