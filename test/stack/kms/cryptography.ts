/** The operations that use a key. */
import { randomBytes } from 'node:crypto';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { type Answer, type Call, requireEnabled } from './call.ts';
import { KmsError, validation } from './errors.ts';
import { decryptBlob, encryptBlob } from './keys.ts';

const PLAINTEXT_BYTES = 4096;
const BLOB_BYTES = 6144;
const DEFAULT_ALGORITHM = 'SYMMETRIC_DEFAULT';

export async function encrypt(call: Call): Promise<Answer> {
  call.refuseRecipient();
  requireSymmetric(call, 'EncryptionAlgorithm');
  const plaintext = call.parameters.bytes('Plaintext', 1, PLAINTEXT_BYTES);
  const context = call.context();
  const key = requireEnabled(call.authorizedKey('kms:Encrypt', { context }));
  call.stopIfDryRun();
  return {
    CiphertextBlob: toBase64(encryptBlob(key, plaintext, context)),
    KeyId: call.keyIdMember(key),
    EncryptionAlgorithm: DEFAULT_ALGORITHM,
  };
}

export async function decrypt(call: Call): Promise<Answer> {
  requireSymmetric(call, 'EncryptionAlgorithm');
  const blob = call.parameters.bytes('CiphertextBlob', 1, BLOB_BYTES);
  const context = call.context();
  const recipient = await call.recipient();
  const key = call.input.keys.ofBlob(blob);
  call.authorize(key, 'kms:Decrypt', { context, recipient });
  requireNamedKey(call, 'KeyId', key.id);
  requireEnabled(key);
  const plaintext = decryptBlob(key, blob, context);
  call.stopIfDryRun();
  return {
    ...call.secretMembers(plaintext, recipient),
    KeyId: call.keyIdMember(key),
    EncryptionAlgorithm: DEFAULT_ALGORITHM,
  };
}

export async function reEncrypt(call: Call): Promise<Answer> {
  call.refuseRecipient();
  requireSymmetric(call, 'SourceEncryptionAlgorithm');
  requireSymmetric(call, 'DestinationEncryptionAlgorithm');
  const blob = call.parameters.bytes('CiphertextBlob', 1, BLOB_BYTES);
  const destinationContext = call.context('DestinationEncryptionContext');
  const sourceContext = call.context('SourceEncryptionContext');
  const destination = call.findKey(call.parameters.text('DestinationKeyId'));
  const source = call.input.keys.ofBlob(blob);
  // Two permissions: whoever may decrypt a blob only when attested must not get it under a key of his own.
  call.authorize(destination, 'kms:ReEncryptTo', { context: destinationContext });
  call.authorize(source, 'kms:ReEncryptFrom', { context: sourceContext });
  requireNamedKey(call, 'SourceKeyId', source.id);
  requireEnabled(source);
  requireEnabled(destination);
  const plaintext = decryptBlob(source, blob, sourceContext);
  call.stopIfDryRun();
  return {
    CiphertextBlob: toBase64(encryptBlob(destination, plaintext, destinationContext)),
    SourceKeyId: source.arn,
    KeyId: call.keyIdMember(destination),
    SourceEncryptionAlgorithm: DEFAULT_ALGORITHM,
    DestinationEncryptionAlgorithm: DEFAULT_ALGORITHM,
  };
}

export async function generateDataKey(call: Call): Promise<Answer> {
  const size = dataKeyBytes(call);
  const context = call.context();
  const recipient = await call.recipient();
  const key = requireEnabled(call.authorizedKey('kms:GenerateDataKey', { context, recipient }));
  call.stopIfDryRun();
  const dataKey = new Uint8Array(randomBytes(size));
  return {
    CiphertextBlob: toBase64(encryptBlob(key, dataKey, context)),
    ...call.secretMembers(dataKey, recipient),
    KeyId: call.keyIdMember(key),
  };
}

export async function generateDataKeyWithoutPlaintext(call: Call): Promise<Answer> {
  call.refuseRecipient();
  const size = dataKeyBytes(call);
  const context = call.context();
  const key = requireEnabled(call.authorizedKey('kms:GenerateDataKeyWithoutPlaintext', { context }));
  call.stopIfDryRun();
  return {
    CiphertextBlob: toBase64(encryptBlob(key, new Uint8Array(randomBytes(size)), context)),
    KeyId: call.keyIdMember(key),
  };
}

/** No key, so no key policy: any principal of the table may call it. */
export async function generateRandom(call: Call): Promise<Answer> {
  if (call.parameters.has('CustomKeyStoreId')) {
    throw new KmsError('UnsupportedOperationException', 'There are no custom key stores here.');
  }
  const size = call.parameters.optionalInteger('NumberOfBytes', 1, 1024);
  if (size === undefined) throw validation("Value null at 'numberOfBytes' failed to satisfy constraint");
  return call.secretMembers(new Uint8Array(randomBytes(size)), await call.recipient());
}

function requireSymmetric(call: Call, member: string): void {
  const algorithm = call.parameters.choice(
    member,
    [DEFAULT_ALGORITHM, 'RSAES_OAEP_SHA_1', 'RSAES_OAEP_SHA_256', 'SM2PKE'],
    DEFAULT_ALGORITHM,
  );
  if (algorithm !== DEFAULT_ALGORITHM) {
    throw new KmsError('InvalidKeyUsageException', `Algorithm ${algorithm} is incompatible with a symmetric key.`);
  }
}

function requireNamedKey(call: Call, member: string, id: string): void {
  const named = call.parameters.optionalText(member);
  if (named !== undefined && call.findKey(named).id !== id) {
    throw new KmsError(
      'IncorrectKeyException',
      'The key ID in the request does not identify a CMK that can perform this operation.',
    );
  }
}

function dataKeyBytes(call: Call): number {
  const bytes = call.parameters.optionalInteger('NumberOfBytes', 1, 1024);
  if (call.parameters.has('KeySpec') === (bytes !== undefined)) {
    throw new KmsError('ValidationException', 'Please specify either number of bytes or key spec.');
  }
  if (bytes !== undefined) return bytes;
  return call.parameters.choice('KeySpec', ['AES_256', 'AES_128'], 'AES_256') === 'AES_256' ? 32 : 16;
}
