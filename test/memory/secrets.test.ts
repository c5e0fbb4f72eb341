/** The arithmetic behind what is searched for, against published vectors and other implementations. */
import { createCipheriv, createHash, randomBytes } from 'node:crypto';
import { seedAssociated, stateAssociated } from '@quantumvault/enclave/state.ts';
import { addressOf } from '@quantumvault/shared/brands.ts';
import { fromHex, toHex } from '@quantumvault/shared/bytes.ts';
import sodium from 'sodium-native';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { sealForRecipient } from '../stack/kms/envelope.ts';
import { recipientKey } from '../stack/support.ts';
import { hchacha20 } from './hchacha20.ts';
import { contentKey, derivedKeys, type Row, signatureNonce, stateBlobKey, walletSecrets } from './secrets.ts';

describe('HChaCha20', () => {
  it('is that of the draft (section 2.2.1)', () => {
    const key = Uint8Array.from({ length: 32 }, (_, index) => index);
    const nonce = fromHex('000000090000004a0000000031415927');
    const expected = '82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc';
    expect(toHex(hchacha20(key, nonce))).toBe(expected);
  });
});

function sealed(plaintext: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array {
  const blob = new Uint8Array(24 + plaintext.length + 16);
  blob.set(randomBytes(24));
  const [nonce, into] = [blob.subarray(0, 24), blob.subarray(24)];
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(into, plaintext, associated, null, nonce, key);
  return blob;
}

/** A row as the vault would have made it. */
function wallet() {
  const executionKey = new Uint8Array(randomBytes(32));
  const [salt, seed] = [new Uint8Array(randomBytes(32)), new Uint8Array(randomBytes(32))];
  const address = addressOf(nacl.sign.keyPair.fromSeed(seed).publicKey);
  const owner = addressOf(new Uint8Array(randomBytes(32)));
  const [, walletKey, , stateKey] = derivedKeys(address, executionKey, salt).map(({ bytes }) => bytes);
  const row: Row = {
    wallet: address,
    owner,
    salt,
    sealedSeed: sealed(seed, seedAssociated(address, owner), walletKey as Uint8Array),
    sealedState: sealed(randomBytes(100), stateAssociated(address, owner), stateKey as Uint8Array),
  };
  return { row, executionKey, seed };
}

const changed = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 30 ? byte ^ 1 : byte));

describe('the secrets of a wallet', () => {
  it('are these, each once', () => {
    const { row, executionKey, seed } = wallet();
    const { secrets } = walletSecrets(row, executionKey);
    const of = (kind: string) => secrets.filter((secret) => secret.kind === kind).map(({ bytes }) => toHex(bytes));
    const hash = createHash('sha512').update(seed).digest();
    expect(of('seed')).toEqual([toHex(seed)]);
    expect(of('execution key')).toEqual([toHex(executionKey)]);
    expect(new Set(of('HKDF output')).size).toBe(4);
    expect(of('SHA-512 of the seed')).toEqual([hash.toString('hex', 0, 32)]);
    expect(of('signing prefix')).toEqual([hash.toString('hex', 32)]);
    hash[0] = (hash[0] as number) & 248;
    hash[31] = ((hash[31] as number) & 127) | 64;
    expect(of('clamped scalar')).toEqual([hash.toString('hex', 0, 32)]);
    expect(of('secret key')).toEqual([toHex(nacl.sign.keyPair.fromSeed(seed).secretKey)]);
  });

  it('of its blobs open them, by OpenSSL’s ChaCha20 too', () => {
    const { row, executionKey, seed } = wallet();
    const { secrets } = walletSecrets(row, executionKey);
    const key = secrets.find(({ kind }) => kind === 'key of one sealed blob')?.bytes as Uint8Array;
    // Counter 1, four zero bytes, and the rest of the nonce.
    const iv = Buffer.concat([Buffer.from('0100000000000000', 'hex'), row.sealedSeed.subarray(16, 24)]);
    const stream = createCipheriv('chacha20', key, iv).update(new Uint8Array(32));
    expect(secrets.find(({ kind }) => kind === 'key stream over the seed')?.bytes).toEqual(new Uint8Array(stream));
    expect(stream.map((byte, at) => byte ^ (row.sealedSeed[24 + at] as number))).toEqual(Buffer.from(seed));
    expect(stateBlobKey(row, executionKey).bytes).not.toEqual(key);
  });

  it('are refused when anything does not fit', () => {
    const { row, executionKey } = wallet();
    const other = wallet();
    const wrong: Partial<Row>[] = [
      { salt: other.row.salt },
      { owner: other.row.owner },
      { sealedSeed: other.row.sealedSeed },
      { sealedState: changed(row.sealedState) },
      { policy: new Uint8Array(8), policyMac: new Uint8Array(32) },
    ];
    for (const change of wrong) {
      expect(() => walletSecrets({ ...row, ...change }, executionKey)).toThrow('the secrets to search for are wrong');
    }
    expect(() => walletSecrets(row, other.executionKey)).toThrow('the secrets to search for are wrong');
  });
});

describe('the nonce of a signature', () => {
  it('is the one it was made with', () => {
    const { row, seed } = wallet();
    const message = new Uint8Array(randomBytes(100));
    const signature = nacl.sign.detached(message, nacl.sign.keyPair.fromSeed(seed).secretKey);
    expect(signatureNonce(row.wallet, seed, message, signature).map(({ bytes }) => bytes.length)).toEqual([64, 32]);
    expect(() => signatureNonce(row.wallet, seed, message.subarray(1), signature)).toThrow('another nonce');
    expect(() => signatureNonce(row.wallet, seed, message, changed(signature))).toThrow('another nonce');
  });
});

describe('a content-encryption key', () => {
  it('opens its envelope, or is refused', () => {
    const [secret, key] = [new Uint8Array(randomBytes(32)), new Uint8Array(randomBytes(32))];
    const { spki } = recipientKey();
    const envelope = sealForRecipient(secret, spki, {}, key);
    const record = {
      operation: 'Decrypt',
      at: 0,
      altered: false,
      context: {},
      secret,
      contentKey: key,
      spki,
      envelope,
    };
    expect(contentKey('a request', record).bytes).toBe(key);
    expect(() => contentKey('a request', { ...record, secret: changed(secret) })).toThrow('opens nothing');
    expect(() => contentKey('a request', { ...record, contentKey: changed(key) })).toThrow();
  });
});
