import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createSimulatedRoot } from './nsm/root.ts';
import { rawCall } from './raw-kms.ts';
import { ADMIN, type TestKms, testKms } from './support.ts';

let local: TestKms;

beforeAll(async () => {
  local = await testKms(createSimulatedRoot().certificateDer);
});

afterAll(() => local.close());

describe('the protocol', () => {
  it('answers with a request id and AWS JSON 1.1', async () => {
    const answer = await rawCall(local.kms, ADMIN, 'GenerateRandom', { NumberOfBytes: 8 });
    expect(answer.status).toBe(200);
    expect(answer.headers['x-amzn-requestid']).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers['content-type']).toBe('application/x-amz-json-1.1');
  });

  it('refuses unknown operations, bodies that are no JSON objects, wrong types and wrong base64', async () => {
    const call = async (operation: string, body: unknown): Promise<string> =>
      (await rawCall(local.kms, ADMIN, operation, body)).type;
    expect(await call('Sign', {})).toBe('UnknownOperationException');
    expect(await call('toString', {})).toBe('UnknownOperationException');
    for (const body of ['', '[]', '{"a":', '{"a":1,"a":2}']) {
      expect(await call('Decrypt', body)).toBe('SerializationException');
    }
    expect(await call('Decrypt', { CiphertextBlob: 5 })).toBe('SerializationException');
    expect(await call('Decrypt', { CiphertextBlob: '***' })).toBe('SerializationException');
    expect(await call('Decrypt', {})).toBe('ValidationException');
    expect(await call('Decrypt', { CiphertextBlob: 'A'.repeat(4 * 3000) })).toBe('ValidationException');
    expect(await call('Decrypt', { CiphertextBlob: 'AAAA', EncryptionContext: { a: 1 } })).toBe(
      'SerializationException',
    );
    expect(await call('Decrypt', { CiphertextBlob: 'AAAA', EncryptionAlgorithm: 'RSAES_OAEP_SHA_256' })).toBe(
      'InvalidKeyUsageException',
    );
  });

  it('bounds the size of a request', async () => {
    const answer = await rawCall(local.kms, ADMIN, 'Encrypt', { Plaintext: 'A'.repeat(600 * 1024) });
    expect(answer).toMatchObject({ status: 413, type: 'RequestEntityTooLargeException' });
  });
});
