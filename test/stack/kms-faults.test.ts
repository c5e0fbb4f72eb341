import {
  CreateKeyCommand,
  DecryptCommand,
  GenerateDataKeyCommand,
  GenerateRandomCommand,
  type KMSClient,
} from '@aws-sdk/client-kms';
import { toHex } from '@quantumvault/shared/bytes.ts';
import type { Listener } from '@quantumvault/shared/transport.ts';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { KmsAdmin, serveAdmin } from './kms/admin.ts';
import type { Fault } from './kms/faults.ts';
import type { SimulatedNsm } from './nsm/simulated-nsm.ts';
import {
  ADMIN,
  documentOf,
  ENCLAVE,
  httpHandler,
  openEnvelope32,
  recipientKey,
  refusal,
  type TestKms,
  testKms,
  testNsm,
} from './support.ts';

const key = recipientKey();
const RANDOM = new GenerateRandomCommand({ NumberOfBytes: 32 });
let nsm: SimulatedNsm;
let local: TestKms;
let listener: Listener;
let admin: KmsAdmin;
let client: KMSClient;
let KeyId: string;

beforeAll(async () => {
  nsm = await testNsm();
  local = await testKms(nsm.rootCertificateDer);
  const address = `unix:${local.dir}/admin.sock`;
  listener = await serveAdmin(new Map([['us-east-1', local.kms]]), address);
  admin = new KmsAdmin(address);
  client = local.client(ENCLAVE);
  KeyId = (await client.send(new CreateKeyCommand({}))).KeyMetadata?.Arn ?? '';
});

afterEach(() => admin.clearFaults());

afterAll(async () => {
  admin.close();
  await listener.close();
  await local.close();
});

async function attestedDataKey() {
  const Recipient = {
    KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' as const,
    AttestationDocument: await documentOf(nsm, { publicKey: key.spki }),
  };
  const answer = await client.send(new GenerateDataKeyCommand({ KeyId, KeySpec: 'AES_256', Recipient }));
  const envelope = answer.CiphertextForRecipient ?? new Uint8Array();
  return { ...answer, envelope };
}

async function fault(value: Fault, times?: number): Promise<void> {
  await admin.setFaults({
    operations: ['GenerateDataKey', 'GenerateRandom'],
    fault: value,
    ...(times === undefined ? {} : { times }),
  });
}

describe('faults of the service', () => {
  it('a hanging call ends at the time limit of the client, and others go on', async () => {
    await fault({ kind: 'hang' });
    const hasty = local.client(ENCLAVE, { requestHandler: httpHandler(local.kms.caPem, 300) });
    const error = await refusal(hasty.send(RANDOM));
    expect(error.name).toBe('TimeoutError');
    const blob = new DecryptCommand({ CiphertextBlob: Uint8Array.of(1) });
    expect((await refusal(client.send(blob))).name).toBe('InvalidCiphertextException');
  });

  it('throttling, internal errors and any other refusal', async () => {
    for (const [error, status] of [
      ['ThrottlingException', 400],
      ['KMSInternalException', 500],
      ['ServiceUnavailableException', 503],
      ['AccessDeniedException', 400],
    ] as const) {
      await fault({ kind: 'refuse', error });
      const refused = await refusal(client.send(RANDOM));
      expect(refused).toMatchObject({ name: error, $metadata: { httpStatusCode: status } });
    }
  });

  it('pass after as many calls as asked for: the SDK retries', async () => {
    await fault({ kind: 'refuse', error: 'ThrottlingException' }, 2);
    await admin.clearCalls();
    const retrying = local.client(ENCLAVE, { maxAttempts: 3 });
    expect((await retrying.send(RANDOM)).Plaintext).toHaveLength(32);
    expect(await admin.counts()).toEqual({
      GenerateRandom: { calls: 3, ok: 1, attested: 0, errors: { ThrottlingException: 2 } },
    });
  });

  it('a connection dropped before and after the call', async () => {
    for (const when of ['before', 'after'] as const) {
      await admin.clearCalls();
      await fault({ kind: 'drop', when });
      expect((await refusal(client.send(RANDOM))).message).toMatch(/socket hang up|ECONNRESET/);
      const [call] = await admin.calls();
      expect(call?.outcome).toBe(when === 'before' ? 'drop' : 'ok');
    }
  });

  it('latency', async () => {
    await fault({ kind: 'latency', milliseconds: 200 });
    const started = performance.now();
    await client.send(RANDOM);
    expect(performance.now() - started).toBeGreaterThanOrEqual(195);
  });

  it('an answer that is no JSON', async () => {
    await fault({ kind: 'garbage' });
    expect((await refusal(client.send(RANDOM))).name).toBe('SyntaxError');
  });
});

describe('faults of an attested answer', () => {
  const spkiHash = (envelope: Uint8Array): string => toHex(envelope.subarray(33, 65));

  it('another recipient, though for our key', async () => {
    const good = await attestedDataKey();
    await fault({ kind: 'envelope', options: { wrongRecipient: true } });
    const bad = await attestedDataKey();
    expect(spkiHash(bad.envelope)).not.toBe(spkiHash(good.envelope));
    expect(openEnvelope32(bad.envelope, key)).toHaveLength(32);
  });

  it('a flipped wrapped key', async () => {
    await fault({ kind: 'envelope', options: { flippedWrappedKey: true } });
    const { envelope } = await attestedDataKey();
    expect(() => openEnvelope32(envelope, key)).toThrow();
  });

  it('SHA-1 parameters, the primitive form, chunks', async () => {
    await fault({ kind: 'envelope', options: { sha1Oaep: true } });
    expect((await attestedDataKey()).envelope).toHaveLength(446);
    await fault({ kind: 'envelope', options: { form: 'primitive' } });
    expect((await attestedDataKey()).envelope).toHaveLength(489);
    await fault({ kind: 'envelope', options: { chunkBytes: 16 } });
    expect((await attestedDataKey()).envelope).toHaveLength(497);
  });

  it('the plaintext beside the envelope, or no empty one', async () => {
    await fault({ kind: 'plaintext', as: 'leaked' });
    const leaked = await attestedDataKey();
    expect(leaked.Plaintext).toEqual(openEnvelope32(leaked.envelope, key));
    await fault({ kind: 'plaintext', as: 'absent' });
    expect((await attestedDataKey()).Plaintext).toBeUndefined();
  });

  it('no envelope, another secret, another key', async () => {
    await fault({ kind: 'noEnvelope' });
    expect((await attestedDataKey()).CiphertextForRecipient).toBeUndefined();
    await fault({ kind: 'keyId', keyId: 'arn:aws:kms:us-east-1:111122223333:key/other' });
    expect((await attestedDataKey()).KeyId).toBe('arn:aws:kms:us-east-1:111122223333:key/other');
    await fault({ kind: 'otherSecret' });
    const { envelope, CiphertextBlob } = await attestedDataKey();
    const plain = await client.send(new DecryptCommand({ CiphertextBlob }));
    expect(openEnvelope32(envelope, key)).not.toEqual(plain.Plaintext);
  });
});

describe('the side door', () => {
  it('rotates credentials', async () => {
    const fresh = { ...ENCLAVE, secretAccessKey: 'rotated' };
    await admin.setPrincipals([fresh]);
    expect((await refusal(client.send(RANDOM))).name).toBe('InvalidSignatureException');
    expect((await local.client(fresh).send(RANDOM)).Plaintext).toHaveLength(32);
    await admin.setPrincipals([ENCLAVE, ADMIN]);
  });

  it('shifts the clock', async () => {
    await admin.setClockOffset(10 * 60_000);
    expect((await refusal(local.client(ENCLAVE).send(RANDOM))).name).toBe('InvalidSignatureException');
    await admin.setClockOffset(0);
    expect((await local.client(ENCLAVE).send(RANDOM)).Plaintext).toHaveLength(32);
  });

  it('is not part of the AWS API', async () => {
    await admin.clearCalls();
    await client.send(RANDOM);
    expect(await admin.calls(1)).toMatchObject([{ operation: 'GenerateRandom', outcome: 'ok' }]);
    const other = new KmsAdmin(`unix:${local.dir}/nothing.sock`);
    await expect(other.counts()).rejects.toThrow('ENOENT');
  });
});
