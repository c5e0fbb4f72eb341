/** Who may do what in the local KMS: identity policies, other accounts, grants; and data key pairs. */
import { createPrivateKey, createPublicKey } from 'node:crypto';
import {
  CreateGrantCommand,
  CreateKeyCommand,
  DecryptCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EncryptCommand,
  GenerateDataKeyPairCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  GenerateRandomCommand,
  type KMSClient,
  ListGrantsCommand,
  RevokeGrantCommand,
} from '@aws-sdk/client-kms';
import { utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from './kms/sigv4.ts';
import { createSimulatedRoot } from './nsm/root.ts';
import { rawCall } from './raw-kms.ts';
import {
  ACCOUNT,
  ADMIN,
  ADMIN_USER,
  documentOf,
  ENCLAVE,
  ENCLAVE_ROLE,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
} from './support.ts';

const root = createSimulatedRoot();
const CONTEXT = { wallet: 'w' };
const FOREIGN_ROLE = 'arn:aws:iam::444455556666:role/other';
let local: TestKms;
let admin: KMSClient;
let KeyId: string;

beforeAll(async () => {
  local = await testKms(root.certificateDer);
  admin = local.client(ADMIN);
});
afterAll(() => local.close());
beforeEach(async () => {
  const created = await admin.send(new CreateKeyCommand({}));
  KeyId = created.KeyMetadata?.Arn ?? '';
});

const errorName = async (call: Promise<unknown>): Promise<string> => (await refusal(call)).name;

const allowing = (actions: readonly string[], Resource = '*', Effect = 'Allow'): string =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect, Action: actions, Resource }] });

/** A client of a principal with that identity policy. */
function clientOf(arn: string, identityPolicy?: string): KMSClient {
  const accessKeyId = `AKIA${local.kms.principals.length}`;
  const base = { accessKeyId, secretAccessKey: 's', arn };
  const added: Principal = identityPolicy === undefined ? base : { ...base, identityPolicy };
  local.kms.principals = [...local.kms.principals, added];
  return local.client(added);
}

async function keyFor(...principals: readonly string[]): Promise<string> {
  const Statement = [
    { Effect: 'Allow', Principal: { AWS: ADMIN_USER }, Action: 'kms:*', Resource: '*' },
    { Effect: 'Allow', Principal: { AWS: principals }, Action: 'kms:*', Resource: '*' },
  ];
  const Policy = JSON.stringify({ Version: '2012-10-17', Statement });
  return (await admin.send(new CreateKeyCommand({ Policy }))).KeyMetadata?.Arn ?? '';
}

describe('in the key’s account', () => {
  const user = `arn:aws:iam::${ACCOUNT}:user/clerk`;
  const describeKey = () => new DescribeKeyCommand({ KeyId });

  it('a key that trusts the account leaves it to the identity policy', async () => {
    await clientOf(user, allowing(['kms:DescribeKey'])).send(describeKey());
    await clientOf(user, allowing(['kms:DescribeKey'], KeyId)).send(describeKey());
    for (const policy of [allowing(['kms:Decrypt']), allowing(['kms:DescribeKey'], `${KeyId}0`)]) {
      expect(await errorName(clientOf(user, policy).send(describeKey()))).toBe('AccessDeniedException');
    }
  });

  it('a key that names the principal needs no identity policy, but a denial there counts', async () => {
    KeyId = await keyFor(user);
    await clientOf(user, allowing(['s3:GetObject'])).send(describeKey());
    const denied = clientOf(user, allowing(['kms:*'], '*', 'Deny'));
    expect(await errorName(denied.send(describeKey()))).toBe('AccessDeniedException');
  });
});

describe('from another account', () => {
  const encrypt = () => new EncryptCommand({ KeyId, Plaintext: utf8('x') });

  it('both policies have to allow', async () => {
    KeyId = await keyFor(FOREIGN_ROLE);
    const session = FOREIGN_ROLE.replace(':iam:', ':sts:').replace('role/other', 'assumed-role/other/s');
    for (const arn of [FOREIGN_ROLE, session]) {
      await clientOf(arn, allowing(['kms:Encrypt'], KeyId)).send(encrypt());
      const without = clientOf(arn, allowing(['kms:Decrypt'], KeyId));
      expect(await errorName(without.send(encrypt()))).toBe('AccessDeniedException');
    }
    KeyId = await keyFor(ENCLAVE_ROLE);
    expect(await errorName(clientOf(FOREIGN_ROLE).send(encrypt()))).toBe('AccessDeniedException');
  });

  it('keys are used, not administered, and named by their ARN', async () => {
    KeyId = await keyFor(FOREIGN_ROLE);
    const foreign = clientOf(FOREIGN_ROLE);
    await foreign.send(new DescribeKeyCommand({ KeyId }));
    expect(await errorName(foreign.send(new DisableKeyCommand({ KeyId })))).toBe('AccessDeniedException');
    KeyId = KeyId.split('/')[1] ?? '';
    expect(await errorName(foreign.send(encrypt()))).toBe('NotFoundException');
  });
});

describe('grants', () => {
  const grant = (change: Partial<CreateGrantCommand['input']> = {}): CreateGrantCommand =>
    new CreateGrantCommand({ KeyId, GranteePrincipal: ENCLAVE_ROLE, Operations: ['Decrypt'], ...change });
  let enclave: KMSClient;
  let decrypt: DecryptCommand;

  beforeEach(async () => {
    enclave = local.client(ENCLAVE);
    KeyId = await keyFor(ADMIN_USER);
    const { CiphertextBlob } = await admin.send(
      new EncryptCommand({ KeyId, Plaintext: utf8('x'), EncryptionContext: CONTEXT }),
    );
    decrypt = new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT });
  });

  it('permit their operations to their grantee, until revoked', async () => {
    expect(await errorName(enclave.send(decrypt))).toBe('AccessDeniedException');
    const { GrantId = '', GrantToken } = await admin.send(grant({ Name: 'one' }));
    expect([GrantId.length, typeof GrantToken]).toEqual([64, 'string']);
    expect((await enclave.send(decrypt)).Plaintext).toEqual(utf8('x'));
    const encrypt = new EncryptCommand({ KeyId, Plaintext: utf8('x') });
    expect(await errorName(enclave.send(encrypt))).toBe('AccessDeniedException');
    const { Grants } = await admin.send(new ListGrantsCommand({ KeyId }));
    expect(Grants).toMatchObject([
      { KeyId, GrantId, Name: 'one', GranteePrincipal: ENCLAVE_ROLE, Operations: ['Decrypt'] },
    ]);
    expect(Grants?.[0]?.CreationDate).toBeInstanceOf(Date);
    await admin.send(new RevokeGrantCommand({ KeyId, GrantId }));
    expect(await errorName(enclave.send(decrypt))).toBe('AccessDeniedException');
    expect(await errorName(admin.send(new RevokeGrantCommand({ KeyId, GrantId })))).toBe('NotFoundException');
  });

  it('may ask for pairs of the encryption context', async () => {
    await admin.send(grant({ Constraints: { EncryptionContextSubset: { wallet: 'other' } } }));
    expect(await errorName(enclave.send(decrypt))).toBe('AccessDeniedException');
    await admin.send(grant({ Constraints: { EncryptionContextSubset: CONTEXT } }));
    expect((await enclave.send(decrypt)).Plaintext).toEqual(utf8('x'));
  });

  it('survive a restart', async () => {
    await admin.send(grant());
    const again = await testKms(root.certificateDer, { dir: local.dir });
    expect((await again.client(ENCLAVE).send(decrypt)).Plaintext).toEqual(utf8('x'));
    await again.close();
  });

  it('are refused for what they cannot be', async () => {
    const created = (change: Partial<CreateGrantCommand['input']>) => errorName(admin.send(grant(change)));
    expect(await created({ GranteePrincipal: 'nobody' })).toBe('InvalidArnException');
    expect(await created({ Operations: [] })).toBe('ValidationException');
    expect(await created({ Operations: ['Sign'] })).toBe('ValidationException');
    expect(await created({ Constraints: { EncryptionContextEquals: CONTEXT } })).toBe('UnsupportedOperationException');
    expect(await created({ DryRun: true })).toBe('DryRunOperationException');
    expect(await errorName(enclave.send(grant()))).toBe('AccessDeniedException');
    expect(await errorName(admin.send(new RevokeGrantCommand({ KeyId, GrantId: 'x' })))).toBe('ValidationException');
    const noList = await rawCall(local.kms, ADMIN, 'CreateGrant', {
      KeyId,
      GranteePrincipal: ENCLAVE_ROLE,
      Operations: 'Decrypt',
    });
    expect(noList.type).toBe('SerializationException');
  });
});

describe('data key pairs', () => {
  it('come as public key, private key and its blob', async () => {
    for (const [KeyPairSpec, type] of [
      ['ECC_NIST_EDWARDS25519', 'ed25519'],
      ['ECC_NIST_P256', 'ec'],
      ['ECC_NIST_P384', 'ec'],
      ['RSA_2048', 'rsa'],
      ['RSA_3072', 'rsa'],
    ] as const) {
      const answer = await admin.send(
        new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec, EncryptionContext: CONTEXT }),
      );
      expect(answer).toMatchObject({ KeyId, KeyPairSpec });
      const der = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? new Uint8Array());
      const privateKey = createPrivateKey({ key: der(answer.PrivateKeyPlaintext), format: 'der', type: 'pkcs8' });
      expect(privateKey.asymmetricKeyType).toBe(type);
      const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' });
      expect(publicKey.equals(der(answer.PublicKey))).toBe(true);
      const { PrivateKeyCiphertextBlob: CiphertextBlob } = answer;
      const opened = await admin.send(new DecryptCommand({ CiphertextBlob, EncryptionContext: CONTEXT }));
      expect(opened.Plaintext).toEqual(answer.PrivateKeyPlaintext);
    }
  });

  it('attested, the private key comes in an envelope alone', async () => {
    const nsm = await testNsm({ root });
    const { spki } = recipientKey();
    const Recipient = {
      KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' as const,
      AttestationDocument: await documentOf(nsm, { publicKey: spki }),
    };
    const answer = await admin.send(new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: 'ECC_NIST_P256', Recipient }));
    expect(answer.PrivateKeyPlaintext ?? new Uint8Array()).toHaveLength(0);
    expect(answer.CiphertextForRecipient?.length).toBeGreaterThan(500);
  });

  it('WithoutPlaintext gives no private key, and there is no other kind', async () => {
    const without = await admin.send(
      new GenerateDataKeyPairWithoutPlaintextCommand({ KeyId, KeyPairSpec: 'RSA_2048' }),
    );
    expect(without).not.toHaveProperty('PrivateKeyPlaintext');
    expect(without.PublicKey?.length).toBe(294);
    const sm2 = new GenerateDataKeyPairCommand({ KeyId, KeyPairSpec: 'SM2' });
    expect(await errorName(admin.send(sm2))).toBe('ValidationException');
    const none = await rawCall(local.kms, ADMIN, 'GenerateDataKeyPair', { KeyId });
    expect(none.type).toBe('ValidationException');
    expect((await admin.send(new GenerateRandomCommand({ NumberOfBytes: 1 }))).Plaintext).toHaveLength(1);
  });
});
