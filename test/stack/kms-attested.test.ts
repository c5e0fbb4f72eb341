import {
  CreateKeyCommand,
  DecryptCommand,
  EncryptCommand,
  GenerateDataKeyCommand,
  GenerateRandomCommand,
  type KMSClient,
  PutKeyPolicyCommand,
  ReEncryptCommand,
} from '@aws-sdk/client-kms';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSimulatedRoot } from './nsm/root.ts';
import type { SimulatedNsm } from './nsm/simulated-nsm.ts';
import { rawCall } from './raw-kms.ts';
import {
  ACCOUNT,
  ADMIN,
  ADMIN_USER,
  type DocumentFields,
  documentOf,
  ENCLAVE,
  ENCLAVE_ROLE,
  openEnvelope32,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
  testPcr,
} from './support.ts';

const MINUTE = 60_000;
const CONTEXT = { 'qv:purpose': 'execution-key', 'qv:wallet': 'wallet', 'qv:owner': 'owner', 'qv:v': '1' };
const IMAGE = toHex(testPcr(0xa0));
const key = recipientKey();

/** The NSM's clock, as far as it differs from the KMS's. */
let offset = 0;
const now = (): number => Date.now() + offset;
const root = createSimulatedRoot();
let nsm: SimulatedNsm;
let local: TestKms;
let enclave: KMSClient;
let admin: KMSClient;
let keyId: string;

/** The enclave's role may use the key when attested as this image, and with a wallet in the context. */
function attestedPolicy(pcr0: string, extra: readonly unknown[] = []): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Effect: 'Allow', Principal: { AWS: ADMIN_USER }, Action: ['kms:PutKeyPolicy', 'kms:Describe*'], Resource: '*' },
      {
        Effect: 'Allow',
        Principal: { AWS: ENCLAVE_ROLE },
        Action: ['kms:Decrypt', 'kms:GenerateDataKey'],
        Resource: '*',
        Condition: {
          StringEqualsIgnoreCase: { 'kms:RecipientAttestation:ImageSha384': pcr0 },
          StringLike: { 'kms:EncryptionContext:qv:wallet': '*' },
        },
      },
      ...extra,
    ],
  });
}

async function attest(fields: DocumentFields = {}, by: SimulatedNsm = nsm) {
  return {
    KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' as const,
    AttestationDocument: await documentOf(by, { publicKey: key.spki, ...fields }),
  };
}

async function putPolicy(policy: string): Promise<void> {
  await admin.send(new PutKeyPolicyCommand({ KeyId: keyId, Policy: policy }));
}

function decryptCommand(blob: Uint8Array, recipient: Awaited<ReturnType<typeof attest>>): DecryptCommand {
  return new DecryptCommand({ CiphertextBlob: blob, EncryptionContext: CONTEXT, Recipient: recipient });
}

async function dataKey() {
  const answer = await enclave.send(
    new GenerateDataKeyCommand({
      KeyId: keyId,
      KeySpec: 'AES_256',
      EncryptionContext: CONTEXT,
      Recipient: await attest(),
    }),
  );
  return {
    answer,
    blob: answer.CiphertextBlob ?? new Uint8Array(),
    secret: openEnvelope32(answer.CiphertextForRecipient ?? new Uint8Array(), key),
  };
}

beforeAll(async () => {
  nsm = await testNsm({ root, now });
  local = await testKms(nsm.rootCertificateDer);
  enclave = local.client(ENCLAVE);
  admin = local.client(ADMIN);
  const policy = attestedPolicy(IMAGE);
  const created = await admin.send(new CreateKeyCommand({ Policy: policy }));
  keyId = created.KeyMetadata?.Arn ?? '';
});

afterAll(() => local.close());

describe('an attested call', () => {
  it('answers GenerateDataKey and Decrypt with an envelope and no plaintext', async () => {
    const { answer, blob, secret } = await dataKey();
    expect(answer.CiphertextForRecipient?.length).toBe(493);
    expect(answer.Plaintext ?? new Uint8Array()).toHaveLength(0);
    expect(answer.KeyId).toBe(keyId);
    const decrypted = await enclave.send(
      new DecryptCommand({ CiphertextBlob: blob, EncryptionContext: CONTEXT, Recipient: await attest(), KeyId: keyId }),
    );
    expect(decrypted.Plaintext ?? new Uint8Array()).toHaveLength(0);
    expect(openEnvelope32(decrypted.CiphertextForRecipient ?? new Uint8Array(), key)).toEqual(secret);
  });

  it('answers GenerateRandom with an envelope', async () => {
    const answer = await enclave.send(new GenerateRandomCommand({ NumberOfBytes: 32, Recipient: await attest() }));
    expect(answer.Plaintext ?? new Uint8Array()).toHaveLength(0);
    expect(openEnvelope32(answer.CiphertextForRecipient ?? new Uint8Array(), key)).toHaveLength(32);
  });

  it('takes the older encoding of documents too', async () => {
    const { blob } = await dataKey();
    const definite = await testNsm({ root, encoding: 'definite' });
    const answer = await enclave.send(decryptCommand(blob, await attest({}, definite)));
    expect(answer.CiphertextForRecipient?.length).toBe(493);
  });
});

describe('refused', () => {
  async function decryptError(
    change: { recipient?: Awaited<ReturnType<typeof attest>> | undefined; context?: Record<string, string> } = {},
  ): Promise<Error> {
    const { blob } = await dataKey();
    return await refusal(
      enclave.send(
        new DecryptCommand({
          CiphertextBlob: blob,
          EncryptionContext: change.context ?? CONTEXT,
          Recipient: 'recipient' in change ? change.recipient : await attest(),
        }),
      ),
    );
  }

  it('an unattested call', async () => {
    const error = await decryptError({ recipient: undefined });
    expect(error.name).toBe('AccessDeniedException');
    expect(error.message).toBe(
      `User: ${ENCLAVE.arn} is not authorized to perform: kms:Decrypt on resource: ${keyId} ` +
        'because no resource-based policy allows the kms:Decrypt action',
    );
    const dataKeyCall = new GenerateDataKeyCommand({ KeyId: keyId, KeySpec: 'AES_256', EncryptionContext: CONTEXT });
    expect((await refusal(enclave.send(dataKeyCall))).name).toBe('AccessDeniedException');
  });

  it('another PCR0 under the same root', async () => {
    const other = await testNsm({ root, pcr0: testPcr(0xb0) });
    expect((await decryptError({ recipient: await attest({}, other) })).name).toBe('AccessDeniedException');
  });

  it('a debug enclave, whose PCR0 counts as zeros', async () => {
    const debug = await testNsm({ root, debug: true });
    const { blob } = await dataKey();
    const call = decryptCommand(blob, await attest({}, debug));
    expect((await refusal(enclave.send(call))).name).toBe('AccessDeniedException');
    // As AWS: a policy pinned to zeros accepts any debug enclave.
    await putPolicy(attestedPolicy('0'.repeat(96)));
    expect((await enclave.send(call)).CiphertextForRecipient?.length).toBe(493);
    await putPolicy(attestedPolicy(IMAGE));
  });

  it('a document older than five minutes, though not one a little younger', async () => {
    const { blob } = await dataKey();
    offset = -(5 * MINUTE + 1000);
    const stale = await attest();
    offset = -(5 * MINUTE - 10_000);
    const young = await attest();
    offset = 0;
    const error = await refusal(enclave.send(decryptCommand(blob, stale)));
    expect(error.name).toBe('ValidationException');
    expect(error.message).toContain('attestation_stale');
    expect((await enclave.send(decryptCommand(blob, young))).CiphertextForRecipient?.length).toBe(493);
  });

  it('a document of the future', async () => {
    offset = 10 * MINUTE;
    const recipient = await attest();
    offset = 0;
    expect((await decryptError({ recipient })).message).toContain('attestation_in_future');
  });

  it('another root', async () => {
    const foreign = await testNsm();
    const error = await decryptError({ recipient: await attest({}, foreign) });
    expect(error.name).toBe('ValidationException');
    expect(error.message).toContain('attestation_root_untrusted');
  });

  it('a changed document', async () => {
    const recipient = await attest();
    const document = recipient.AttestationDocument;
    const last = document.length - 1;
    document[last] = (document[last] ?? 0) ^ 1;
    expect((await decryptError({ recipient })).message).toContain('attestation_signature_invalid');
    const garbage = { ...recipient, AttestationDocument: Uint8Array.of(1, 2, 3) };
    expect((await decryptError({ recipient: garbage })).name).toBe('ValidationException');
  });

  it('a document without a key, or with one that is not RSA-2048', async () => {
    expect((await decryptError({ recipient: await attest({ publicKey: null }) })).message).toContain(
      'attestation_public_key_missing',
    );
    const spellings = [recipientKey(1024).spki, recipientKey(3072).spki, new Uint8Array([...key.spki, 0])];
    for (const publicKey of [...spellings, Uint8Array.of(1)]) {
      const error = await decryptError({ recipient: await attest({ publicKey }) });
      expect(error.name).toBe('ValidationException');
      expect(error.message).toContain('not RSA-2048');
    }
  });

  it('another key encryption algorithm', async () => {
    const { blob } = await dataKey();
    const document = Buffer.from((await attest()).AttestationDocument).toString('base64');
    const answer = await rawCall(local.kms, ENCLAVE, 'Decrypt', {
      CiphertextBlob: Buffer.from(blob).toString('base64'),
      Recipient: { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_1', AttestationDocument: document },
    });
    expect(answer).toMatchObject({ status: 400, type: 'ValidationException' });
  });

  it('a context that is not the one of encryption', async () => {
    const error = await decryptError({ context: { ...CONTEXT, 'qv:owner': 'another' } });
    expect(error.name).toBe('InvalidCiphertextException');
    const { 'qv:v': _dropped, ...shorter } = CONTEXT;
    expect((await decryptError({ context: shorter })).name).toBe('InvalidCiphertextException');
  });

  it('a context without the key the policy asks for', async () => {
    expect((await decryptError({ context: { other: 'x' } })).name).toBe('AccessDeniedException');
  });

  it('ReEncrypt as a way around attestation', async () => {
    const { blob } = await dataKey();
    const open = await enclave.send(new CreateKeyCommand({}));
    const call = new ReEncryptCommand({
      CiphertextBlob: blob,
      SourceEncryptionContext: CONTEXT,
      DestinationKeyId: open.KeyMetadata?.KeyId,
    });
    const error = await refusal(enclave.send(call));
    expect(error.name).toBe('AccessDeniedException');
    expect(error.message).toContain(`kms:ReEncryptFrom on resource: ${keyId}`);
    // Even a policy that allows everything can be narrowed by an explicit deny of unattested calls.
    const denyUnattested = {
      Effect: 'Deny',
      Principal: '*',
      Action: ['kms:Decrypt', 'kms:GenerateDataKey*', 'kms:ReEncrypt*'],
      Resource: '*',
      Condition: { Null: { 'kms:RecipientAttestation:ImageSha384': 'true' } },
    };
    const account = `arn:aws:iam::${ACCOUNT}:root`;
    const allowAll = { Effect: 'Allow', Principal: { AWS: account }, Action: 'kms:*', Resource: '*' };
    await putPolicy(attestedPolicy(IMAGE, [allowAll, denyUnattested]));
    const denied = await refusal(enclave.send(call));
    expect(denied.name).toBe('AccessDeniedException');
    expect(denied.message).toContain('with an explicit deny in a resource-based policy');
    await putPolicy(attestedPolicy(IMAGE));
  });

  it('a Recipient where no operation answers to one', async () => {
    const document = Buffer.from((await attest()).AttestationDocument).toString('base64');
    const Recipient = { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256', AttestationDocument: document };
    for (const operation of ['Encrypt', 'ReEncrypt', 'GenerateDataKeyWithoutPlaintext']) {
      const answer = await rawCall(local.kms, ENCLAVE, operation, { KeyId: keyId, Plaintext: 'AAAA', Recipient });
      expect(answer).toMatchObject({ status: 400, type: 'ValidationException' });
    }
  });

  it('Encrypt, which the policy does not name', async () => {
    const call = new EncryptCommand({ KeyId: keyId, Plaintext: Uint8Array.of(1) });
    expect((await refusal(enclave.send(call))).name).toBe('AccessDeniedException');
  });
});

it('the call log names the enclave of attested calls', async () => {
  local.kms.calls.clear();
  await dataKey();
  expect(local.kms.calls.last(1)).toEqual([
    {
      operation: 'GenerateDataKey',
      principalArn: ENCLAVE.arn,
      keyArn: keyId,
      encryptionContext: CONTEXT,
      moduleId: nsm.moduleId,
      outcome: 'ok',
    },
  ]);
  expect(local.kms.calls.counts()).toEqual({ GenerateDataKey: { calls: 1, ok: 1, attested: 1, errors: {} } });
});
