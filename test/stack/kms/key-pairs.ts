/** Data key pairs, of the specifications that Node can make, and DeriveSharedSecret, for which no key here is fit. */
import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { toBase64 } from '@quantumvault/shared/bytes.ts';
import { type Answer, type Call, requireEnabled } from './call.ts';
import { KmsError } from './errors.ts';
import { encryptBlob, type KmsKey } from './keys.ts';

const SPECS = ['ECC_NIST_EDWARDS25519', 'ECC_NIST_P256', 'ECC_NIST_P384', 'RSA_2048', 'RSA_3072'] as const;

interface DataKeyPair {
  readonly spec: (typeof SPECS)[number];
  /** PKCS #8. */
  readonly privateKey: Uint8Array;
  /** SPKI. */
  readonly publicKey: Uint8Array;
}

export async function generateDataKeyPair(call: Call): Promise<Answer> {
  const spec = specOf(call);
  const context = call.context();
  const recipient = await call.recipient();
  const key = requireEnabled(call.authorizedKey('kms:GenerateDataKeyPair', { context, recipient }));
  call.stopIfDryRun();
  const pair = newPair(spec);
  const { Plaintext, ...sealed } = call.secretMembers(pair.privateKey, recipient);
  return { ...membersOf(call, key, pair), PrivateKeyPlaintext: Plaintext, ...sealed };
}

export async function generateDataKeyPairWithoutPlaintext(call: Call): Promise<Answer> {
  call.refuseRecipient();
  const spec = specOf(call);
  const context = call.context();
  const key = requireEnabled(call.authorizedKey('kms:GenerateDataKeyPairWithoutPlaintext', { context }));
  call.stopIfDryRun();
  return membersOf(call, key, newPair(spec));
}

/** There are symmetric keys alone here, so whoever is allowed is told that the key is of the wrong kind. */
export async function deriveSharedSecret(call: Call): Promise<Answer> {
  call.parameters.text('KeyAgreementAlgorithm');
  call.parameters.choice('KeyAgreementAlgorithm', ['ECDH'], 'ECDH');
  call.parameters.bytes('PublicKey', 1, 8192);
  const key = call.authorizedKey('kms:DeriveSharedSecret', { recipient: await call.recipient() });
  throw new KmsError('InvalidKeyUsageException', `${key.arn} key usage is ENCRYPT_DECRYPT which is not valid here.`);
}

function specOf(call: Call): (typeof SPECS)[number] {
  call.parameters.text('KeyPairSpec');
  return call.parameters.choice('KeyPairSpec', SPECS, 'ECC_NIST_P256');
}

function membersOf(call: Call, key: KmsKey, pair: DataKeyPair): Answer {
  return {
    PrivateKeyCiphertextBlob: toBase64(encryptBlob(key, pair.privateKey, call.context())),
    PublicKey: toBase64(pair.publicKey),
    KeyPairSpec: pair.spec,
    KeyId: call.keyIdMember(key),
  };
}

function newPair(spec: (typeof SPECS)[number]): DataKeyPair {
  const { privateKey, publicKey } = keysOf(spec);
  return {
    spec,
    privateKey: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })),
    publicKey: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' })),
  };
}

function keysOf(spec: (typeof SPECS)[number]): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (spec) {
    case 'ECC_NIST_EDWARDS25519':
      return generateKeyPairSync('ed25519');
    case 'ECC_NIST_P256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ECC_NIST_P384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'RSA_2048':
      return generateKeyPairSync('rsa', { modulusLength: 2048 });
    case 'RSA_3072':
      return generateKeyPairSync('rsa', { modulusLength: 3072 });
  }
}
