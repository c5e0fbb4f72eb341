/**
 * The key policy of kms-key.json, loaded into the local KMS as CloudFormation would put it, and attacked. The key is in
 * one account and the instance in another, whose role has exactly the identity policy of instance.json; beside it stand
 * an administrator and the root user of each account. What the policy refuses is tried once more under a policy that
 * trusts the accounts, where it goes through: so it is this policy that holds, and not a local KMS that cannot do it.
 */
import {
  CreateGrantCommand,
  CreateKeyCommand,
  DecryptCommand,
  DeriveSharedSecretCommand,
  DescribeKeyCommand,
  DisableKeyCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateDataKeyPairCommand,
  GenerateDataKeyPairWithoutPlaintextCommand,
  GenerateDataKeyWithoutPlaintextCommand,
  GetKeyPolicyCommand,
  type KMSClient,
  ListGrantsCommand,
  PutKeyPolicyCommand,
  ReEncryptCommand,
  ScheduleKeyDeletionCommand,
} from '@aws-sdk/client-kms';
import { keyPolicy } from '@quantumvault/host/cli/key-policy.ts';
import { toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../../stack/kms/sigv4.ts';
import { createSimulatedRoot } from '../../stack/nsm/root.ts';
import type { SimulatedNsm } from '../../stack/nsm/simulated-nsm.ts';
import { rawCall } from '../../stack/raw-kms.ts';
import {
  documentOf,
  openEnvelope32,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
  testPcr,
} from '../../stack/support.ts';
import { type JsonRecord, propertiesOf, readTemplate } from './cloudformation.ts';
import {
  BREAK_GLASS,
  expectDenied,
  hexes,
  INSTANCE_ACCOUNT,
  INSTANCE_ADMIN,
  INSTANCE_ROLE,
  INSTANCE_ROOT,
  KEYS_ACCOUNT,
  KEYS_ADMIN,
  KEYS_ROOT,
  NAMESAKE,
  NEW,
  OLD,
  OTHER,
  policyOf,
  principal,
} from './kms-key-kit.ts';

const CONTEXT = { 'qv:purpose': 'execution-key', 'qv:wallet': 'wallet', 'qv:owner': 'owner', 'qv:v': '1' };
const key = recipientKey();
const root = createSimulatedRoot();

let INSTANCE: Principal;

let local: TestKms;
let keyArn: string;
const enclaves = new Map<Uint8Array | 'debug', SimulatedNsm>();

async function attestedAs(image: Uint8Array | 'debug') {
  const nsm = enclaves.get(image);
  if (nsm === undefined) throw new Error('no such enclave');
  const AttestationDocument = await documentOf(nsm, { publicKey: key.spki });
  return { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument } as const;
}
type Recipient = Awaited<ReturnType<typeof attestedAs>>;

const as = (who: Principal): KMSClient => local.client(who);
const putPolicy = async (policy: unknown): Promise<void> => {
  const breakGlass = as(BREAK_GLASS);
  await breakGlass.send(new PutKeyPolicyCommand({ KeyId: keyArn, Policy: JSON.stringify(policy) }));
};
const dataKey = (Recipient?: Recipient): GenerateDataKeyCommand =>
  new GenerateDataKeyCommand({
    KeyId: keyArn,
    KeySpec: 'AES_256',
    EncryptionContext: CONTEXT,
    ...(Recipient && { Recipient }),
  });
const decrypt = (CiphertextBlob: Uint8Array, Recipient?: Recipient): DecryptCommand =>
  new DecryptCommand({ KeyId: keyArn, CiphertextBlob, EncryptionContext: CONTEXT, ...(Recipient && { Recipient }) });

beforeAll(async () => {
  for (const [image, debug] of [
    [OLD, false],
    [NEW, false],
    [OTHER, false],
    [testPcr(0xd0), true],
  ] as const) {
    enclaves.set(debug ? 'debug' : image, await testNsm({ root, pcr0: image, roleArn: INSTANCE_ROLE, debug }));
  }
  local = await testKms(root.certificateDer, { principals: [BREAK_GLASS] });
  // As the guide has it: the key comes first, usable by nobody; then the role, then the image, then the policy.
  const unused = JSON.stringify(policyOf('', ''));
  const created = await as(BREAK_GLASS).send(new CreateKeyCommand({ Policy: unused }));
  keyArn = created.KeyMetadata?.Arn ?? '';
  const instanceParameters = {
    KeyArn: keyArn,
    ImageId: 'ami-0',
    AvailabilityZone: 'a',
    KeyPairName: 'k',
    AdminCidr: '198.51.100.7/32',
    ClientCidr: '198.51.100.0/24',
  };
  const role = propertiesOf(readTemplate('instance.json'), 'InstanceRole', { parameters: instanceParameters });
  const [policy] = role['Policies'] as readonly JsonRecord[];
  INSTANCE = principal(
    `arn:aws:sts::${INSTANCE_ACCOUNT}:assumed-role/qv-instance/i-0123456789abcdef0`,
    JSON.stringify(policy?.['PolicyDocument']),
  );
  const others = [KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT, NAMESAKE];
  local.kms.principals = [BREAK_GLASS, INSTANCE, ...others];
});
afterAll(() => local.close());

describe('before an image is allowed', () => {
  it('nobody uses the key', async () => {
    await putPolicy(policyOf('', ''));
    for (const who of [INSTANCE, BREAK_GLASS, KEYS_ADMIN, KEYS_ROOT]) {
      await expectDenied(as(who).send(dataKey()), 'denied');
      await expectDenied(as(who).send(dataKey(await attestedAs(OLD))), 'denied');
    }
  });
});

describe('with one image allowed', () => {
  let blob: Uint8Array;
  let secret: Uint8Array;

  beforeAll(async () => {
    await putPolicy(policyOf(hexes(OLD)));
    const made = await as(INSTANCE).send(dataKey(await attestedAs(OLD)));
    blob = made.CiphertextBlob ?? new Uint8Array();
    secret = openEnvelope32(made.CiphertextForRecipient ?? new Uint8Array(), key);
  });

  it('the attested enclave gets its key, and gets it again, in an envelope alone', async () => {
    const answer = await as(INSTANCE).send(decrypt(blob, await attestedAs(OLD)));
    expect(openEnvelope32(answer.CiphertextForRecipient ?? new Uint8Array(), key)).toEqual(secret);
    expect(answer.Plaintext ?? new Uint8Array()).toHaveLength(0);
  });

  it('without attestation nobody decrypts or makes data keys: an absent condition key is a denial', async () => {
    for (const who of [INSTANCE, BREAK_GLASS, KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT]) {
      await expectDenied(as(who).send(decrypt(blob)), 'denied');
      await expectDenied(as(who).send(dataKey()), 'denied');
    }
    // Null is how AWS's JSON says absent.
    const nulled = { KeyId: keyArn, CiphertextBlob: Buffer.from(blob).toString('base64'), Recipient: null };
    expect(await rawCall(local.kms, INSTANCE, 'Decrypt', { ...nulled, EncryptionContext: CONTEXT })).toMatchObject({
      status: 400,
      type: 'AccessDeniedException',
    });
  });

  it('another image, and a debug enclave of any image, are denied', async () => {
    for (const image of [NEW, OTHER, 'debug'] as const) {
      await expectDenied(as(INSTANCE).send(decrypt(blob, await attestedAs(image))), 'denied');
      await expectDenied(as(INSTANCE).send(dataKey(await attestedAs(image))), 'denied');
    }
  });

  it('the allowed image under anybody else’s credentials is not enough', async () => {
    for (const who of [BREAK_GLASS, KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT, NAMESAKE]) {
      await expectDenied(as(who).send(decrypt(blob, await attestedAs(OLD))), 'not allowed');
    }
  });

  it('a document of the allowed image under another root, or an altered one, is not attestation', async () => {
    const forged = await testNsm({ root: createSimulatedRoot(), pcr0: OLD, roleArn: INSTANCE_ROLE });
    const AttestationDocument = await documentOf(forged, { publicKey: key.spki });
    const bySelf = { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument } as const;
    expect((await refusal(as(INSTANCE).send(decrypt(blob, bySelf)))).name).toBe('ValidationException');
    const genuine = await attestedAs(OLD);
    const altered = Uint8Array.from(genuine.AttestationDocument);
    altered[altered.length >> 1] = (altered[altered.length >> 1] ?? 0) ^ 1;
    const call = as(INSTANCE).send(decrypt(blob, { ...genuine, AttestationDocument: altered }));
    expect((await refusal(call)).name).toBe('ValidationException');
  });

  describe('operations that attestation does not cover', () => {
    const commands = (recipient: Recipient) => ({
      Encrypt: new EncryptCommand({ KeyId: keyArn, Plaintext: utf8('chosen'), EncryptionContext: CONTEXT }),
      GenerateDataKeyWithoutPlaintext: new GenerateDataKeyWithoutPlaintextCommand({
        KeyId: keyArn,
        KeySpec: 'AES_256',
        EncryptionContext: CONTEXT,
      }),
      GenerateDataKeyPair: new GenerateDataKeyPairCommand({ KeyId: keyArn, KeyPairSpec: 'ECC_NIST_P256' }),
      'GenerateDataKeyPair, attested': new GenerateDataKeyPairCommand({
        KeyId: keyArn,
        KeyPairSpec: 'ECC_NIST_P256',
        Recipient: recipient,
      }),
      GenerateDataKeyPairWithoutPlaintext: new GenerateDataKeyPairWithoutPlaintextCommand({
        KeyId: keyArn,
        KeyPairSpec: 'ECC_NIST_EDWARDS25519',
      }),
      DeriveSharedSecret: new DeriveSharedSecretCommand({
        KeyId: keyArn,
        KeyAgreementAlgorithm: 'ECDH',
        PublicKey: new Uint8Array(91),
      }),
      CreateGrant: new CreateGrantCommand({
        KeyId: keyArn,
        GranteePrincipal: KEYS_ADMIN.arn,
        Operations: ['Decrypt', 'GenerateDataKey'],
      }),
    });

    it.each(Object.keys(commands({} as Recipient)) as (keyof ReturnType<typeof commands>)[])(
      '%s is denied to everybody',
      async (name) => {
        const command = commands(await attestedAs(OLD))[name];
        for (const who of [INSTANCE, BREAK_GLASS, KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT]) {
          // One union of commands is more than the SDK's overloads take.
          await expectDenied(as(who).send(command as EncryptCommand), 'denied');
        }
      },
    );

    it('ReEncrypt cannot carry a blob to a key of the attacker’s, nor to this key', async () => {
      const own = await as(KEYS_ADMIN).send(new CreateKeyCommand({ Policy: trusting }));
      const mine = own.KeyMetadata?.Arn ?? '';
      const away = { CiphertextBlob: blob, SourceEncryptionContext: CONTEXT, DestinationKeyId: mine };
      const encrypted = await as(KEYS_ADMIN).send(new EncryptCommand({ KeyId: mine, Plaintext: utf8('planted') }));
      const into = { CiphertextBlob: encrypted.CiphertextBlob, DestinationKeyId: keyArn };
      for (const who of [INSTANCE, BREAK_GLASS, KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT]) {
        await expectDenied(as(who).send(new ReEncryptCommand(away)));
        await expectDenied(as(who).send(new ReEncryptCommand({ ...into, DestinationEncryptionContext: CONTEXT })));
      }
      // Whoever may do all to the other key is stopped at this one, by name.
      const from = await refusal(as(KEYS_ADMIN).send(new ReEncryptCommand(away)));
      expect(from.message).toContain(`kms:ReEncryptFrom on resource: ${keyArn} with an explicit deny`);
      const to = await refusal(as(KEYS_ADMIN).send(new ReEncryptCommand(into)));
      expect(to.message).toContain(`kms:ReEncryptTo on resource: ${keyArn} with an explicit deny`);
      // A document changes nothing: ReEncrypt answers to no recipient.
      const recipient = await attestedAs(OLD);
      const attested = await rawCall(local.kms, INSTANCE, 'ReEncrypt', {
        CiphertextBlob: Buffer.from(blob).toString('base64'),
        DestinationKeyId: mine,
        Recipient: {
          KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256',
          AttestationDocument: Buffer.from(recipient.AttestationDocument).toString('base64'),
        },
      });
      expect(attested.status).toBe(400);
    });

    it('a grant from before the policy counts no more than its grantee', async () => {
      await withPolicy(JSON.parse(trusting), async () => {
        const operations = { Operations: ['Decrypt', 'ReEncryptFrom', 'Encrypt'] as const };
        await as(KEYS_ADMIN).send(
          new CreateGrantCommand({
            KeyId: keyArn,
            GranteePrincipal: NAMESAKE_ROLE,
            Operations: [...operations.Operations],
          }),
        );
        expect((await as(NAMESAKE).send(decrypt(blob))).Plaintext).toEqual(secret);
      });
      await expectDenied(as(NAMESAKE).send(decrypt(blob)), 'denied');
      await expectDenied(as(NAMESAKE).send(new EncryptCommand({ KeyId: keyArn, Plaintext: utf8('x') })), 'denied');
      const { Grants } = await as(BREAK_GLASS).send(new ListGrantsCommand({ KeyId: keyArn }));
      expect(Grants).toMatchObject([{ GranteePrincipal: NAMESAKE_ROLE }]);
    });
  });

  describe('the policy and the life of the key', () => {
    const takeover = (): PutKeyPolicyCommand => new PutKeyPolicyCommand({ KeyId: keyArn, Policy: trusting });

    it('are out of reach for the instance role, administrators and root, in either account', async () => {
      for (const who of [INSTANCE, KEYS_ADMIN, KEYS_ROOT, INSTANCE_ADMIN, INSTANCE_ROOT, NAMESAKE]) {
        const client = as(who);
        await expectDenied(client.send(takeover()));
        const bypass = { KeyId: keyArn, Policy: trusting, BypassPolicyLockoutSafetyCheck: true };
        await expectDenied(client.send(new PutKeyPolicyCommand(bypass)));
        await expectDenied(client.send(new ScheduleKeyDeletionCommand({ KeyId: keyArn, PendingWindowInDays: 7 })));
        await expectDenied(client.send(new DisableKeyCommand({ KeyId: keyArn })));
        await expectDenied(client.send(new GetKeyPolicyCommand({ KeyId: keyArn })));
      }
      const { Policy } = await as(BREAK_GLASS).send(new GetKeyPolicyCommand({ KeyId: keyArn }));
      expect(JSON.parse(Policy ?? '')).toEqual(policyOf(hexes(OLD)));
    });

    it('are in the hands of the break-glass role, which cannot use the key', async () => {
      const { KeyMetadata } = await as(BREAK_GLASS).send(new DescribeKeyCommand({ KeyId: keyArn }));
      expect(KeyMetadata).toMatchObject({ Arn: keyArn, KeyState: 'Enabled' });
      await expectDenied(as(BREAK_GLASS).send(decrypt(blob)), 'denied');
      await expectDenied(as(BREAK_GLASS).send(decrypt(blob, await attestedAs(OLD))), 'not allowed');
    });

    it('cannot be handed to a role of another account: KMS does not let it change a key here', async () => {
      const foreign = principal(`arn:aws:iam::${INSTANCE_ACCOUNT}:role/qv-break-glass`);
      local.kms.principals = [...local.kms.principals, foreign];
      const policy = keyPolicy({ breakGlassArn: foreign.arn, instanceRoleArn: INSTANCE_ROLE, pcr0s: [toHex(OLD)] });
      const put = new PutKeyPolicyCommand({ KeyId: keyArn, Policy: JSON.stringify(policy) });
      expect((await refusal(as(BREAK_GLASS).send(put))).name).toBe('MalformedPolicyDocumentException');
      await expectDenied(as(foreign).send(put));
    });
  });

  describe('a policy that trusts the accounts, as a control', () => {
    beforeEach(() => putPolicy(policyOf(hexes(OLD))));

    it('lets each of these attacks through', async () => {
      await withPolicy(JSON.parse(trusting), async () => {
        const admin = as(KEYS_ADMIN);
        expect((await admin.send(decrypt(blob))).Plaintext).toEqual(secret);
        const own = await admin.send(new CreateKeyCommand({ Policy: trusting }));
        const moved = await admin.send(
          new ReEncryptCommand({
            CiphertextBlob: blob,
            SourceEncryptionContext: CONTEXT,
            DestinationKeyId: own.KeyMetadata?.Arn,
          }),
        );
        const opened = await admin.send(new DecryptCommand({ CiphertextBlob: moved.CiphertextBlob }));
        expect(opened.Plaintext).toEqual(secret);
        const planted = await admin.send(
          new EncryptCommand({ KeyId: keyArn, Plaintext: new Uint8Array(32), EncryptionContext: CONTEXT }),
        );
        expect((await as(INSTANCE).send(decrypt(planted.CiphertextBlob ?? blob))).Plaintext).toEqual(
          new Uint8Array(32),
        );
        const pair = await admin.send(new GenerateDataKeyPairCommand({ KeyId: keyArn, KeyPairSpec: 'ECC_NIST_P256' }));
        expect(pair.PrivateKeyPlaintext).toHaveLength(138);
        const shared = { KeyAgreementAlgorithm: 'ECDH', PublicKey: new Uint8Array(91) } as const;
        // Allowed, and then of the wrong kind.
        const derived = await refusal(admin.send(new DeriveSharedSecretCommand({ KeyId: keyArn, ...shared })));
        expect(derived.name).toBe('InvalidKeyUsageException');
        expect((await as(KEYS_ROOT).send(new GetKeyPolicyCommand({ KeyId: keyArn }))).Policy).toBe(trusting);
      });
    });
  });
});

describe('an upgrade', () => {
  it('goes from one image over both to the other', async () => {
    await putPolicy(policyOf(hexes(OLD)));
    const instance = as(INSTANCE);
    const made = await instance.send(dataKey(await attestedAs(OLD)));
    const blob = made.CiphertextBlob ?? new Uint8Array();
    const secret = openEnvelope32(made.CiphertextForRecipient ?? new Uint8Array(), key);
    const opensAs = async (image: Uint8Array): Promise<void> => {
      const { CiphertextForRecipient } = await instance.send(decrypt(blob, await attestedAs(image)));
      expect(openEnvelope32(CiphertextForRecipient ?? new Uint8Array(), key)).toEqual(secret);
    };
    await expectDenied(instance.send(decrypt(blob, await attestedAs(NEW))), 'denied');

    await putPolicy(policyOf(hexes(OLD, NEW)));
    await opensAs(OLD);
    await opensAs(NEW);
    for (const image of [OTHER, 'debug'] as const) {
      await expectDenied(instance.send(decrypt(blob, await attestedAs(image))), 'denied');
    }
    await expectDenied(instance.send(decrypt(blob)), 'denied');

    await putPolicy(policyOf(hexes(NEW)));
    await opensAs(NEW);
    await expectDenied(instance.send(decrypt(blob, await attestedAs(OLD))), 'denied');
    await expectDenied(instance.send(dataKey(await attestedAs(OLD))), 'denied');
  });
});

const NAMESAKE_ROLE = 'arn:aws:iam::999999999999:role/qv-instance';

/** What the console would write, extended to the instance's account. */
const trusting = JSON.stringify({
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: { AWS: [`arn:aws:iam::${KEYS_ACCOUNT}:root`, `arn:aws:iam::${INSTANCE_ACCOUNT}:root`] },
      Action: 'kms:*',
      Resource: '*',
    },
  ],
});

async function withPolicy(policy: unknown, work: () => Promise<void>): Promise<void> {
  const { Policy: before } = await as(BREAK_GLASS).send(new GetKeyPolicyCommand({ KeyId: keyArn }));
  await putPolicy(policy);
  try {
    await work();
  } finally {
    await putPolicy(JSON.parse(before ?? ''));
  }
}
