/**
 * Every secret of a wallet, computed from its execution key and its row as enclave/src/vault.ts does, by other means
 * where there are any. Each is checked against something public before it is returned: whoever searches for wrong
 * bytes finds nothing.
 */
import { createDecipheriv, createHash, createHmac } from 'node:crypto';
import { parseEnvelope } from '@quantumvault/enclave/cms.ts';
import {
  executionKeyAssociated,
  policyMacInput,
  seedAssociated,
  stateAssociated,
} from '@quantumvault/enclave/state.ts';
import { type Address, addressBytes } from '@quantumvault/shared/brands.ts';
import { concatBytes, equalBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import sodium from 'sodium-native';
import nacl from 'tweetnacl';
import type { SealedRecord } from '../stack/kms/record.ts';
import type { V2SecretKind } from '../support/v2.ts';
import { hchacha20 } from './hchacha20.ts';

export type SecretKind =
  | 'execution key'
  | 'second key'
  | 'key stream over the execution key'
  | 'HKDF output'
  | 'seed'
  | 'key of one sealed blob'
  | 'key stream over the seed'
  | 'secret key'
  | 'SHA-512 of the seed'
  | 'clamped scalar'
  | 'signing prefix'
  | 'signature nonce'
  | 'content-encryption key'
  | 'key of an import’s box'
  | 'recipient key'
  | 'boot key'
  | 'import key'
  | Exclude<V2SecretKind, 'seed'>;

export interface Secret {
  readonly kind: SecretKind;
  /** Whose: a wallet, a request, a number. */
  readonly of: string;
  readonly bytes: Uint8Array;
  /** How many bytes from the beginning are secret also in parts; default all. */
  readonly inParts?: number;
  /** Sought as bytes alone. */
  readonly isBinary?: boolean;
}

/** What a host keeps of a wallet. */
export interface Row {
  readonly wallet: Address;
  readonly owner: Address;
  readonly salt: Uint8Array;
  readonly sealedSeed: Uint8Array;
  readonly sealedState: Uint8Array;
  readonly policy?: Uint8Array | undefined;
  readonly policyMac?: Uint8Array | undefined;
}

/** Order of the group of Ed25519 (RFC 8032 section 5.1). */
const ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;

function mustBe(holds: boolean, what: string): void {
  if (!holds) throw new Error(`the secrets to search for are wrong: ${what}`);
}

/** HMAC-SHA-512 cut to 32 bytes, which is libsodium's crypto_auth. */
const cryptoAuth = (key: Uint8Array, input: Uint8Array): Uint8Array =>
  new Uint8Array(createHmac('sha512', key).update(input).digest().subarray(0, 32));

const sha512 = (...parts: readonly Uint8Array[]): Uint8Array =>
  new Uint8Array(
    createHash('sha512')
      .update(concatBytes(...parts))
      .digest(),
  );

function opened(blob: Uint8Array, associated: Uint8Array, key: Uint8Array): Uint8Array | undefined {
  const plaintext = new Uint8Array(blob.length - NONCE_BYTES - TAG_BYTES);
  try {
    const [nonce, ciphertext] = [blob.subarray(0, NONCE_BYTES), blob.subarray(NONCE_BYTES)];
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(plaintext, null, ciphertext, associated, nonce, key);
    return plaintext;
  } catch {
    return undefined;
  }
}

const derive = (extracted: Uint8Array, info: string): Uint8Array =>
  cryptoAuth(extracted, concatBytes(utf8(info), Uint8Array.of(1)));

/** HKDF as the vault does it: also with an execution key that is not the wallet's, where nothing can be checked. */
export function derivedKeys(of: string, executionKey: Uint8Array, salt: Uint8Array): readonly Secret[] {
  const extracted = cryptoAuth(salt, executionKey);
  const infos = ['qv/v1/wallet', 'qv/v1/policy', 'qv/v1/state'];
  return [
    { kind: 'HKDF output', of: `${of}: pseudorandom key`, bytes: extracted },
    ...infos.map((info): Secret => ({ kind: 'HKDF output', of: `${of}: ${info}`, bytes: derive(extracted, info) })),
  ];
}

/** The key that XChaCha20 makes of a key and the first 16 bytes of a nonce. */
function blobKey(of: string, key: Uint8Array, blob: Uint8Array): Secret {
  return { kind: 'key of one sealed blob', of, bytes: hchacha20(key, blob.subarray(0, 16)) };
}

/** Of the state as the row has it now. */
export function stateBlobKey(row: Row, executionKey: Uint8Array): Secret {
  const stateKey = derivedKeys(row.wallet, executionKey, row.salt)[3]?.bytes as Uint8Array;
  return blobKey(`${row.wallet}: state`, stateKey, row.sealedState);
}

export interface WalletSecrets {
  readonly secrets: readonly Secret[];
  readonly seed: Uint8Array;
}

/** @throws Error when any of them is not what the row says */
export function walletSecrets(row: Row, executionKey: Uint8Array): WalletSecrets {
  const { wallet, owner, salt } = row;
  const derived = derivedKeys(wallet, executionKey, salt);
  const [walletKey, policyKey, stateKey] = derived.slice(1).map(({ bytes }) => bytes) as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const seed = opened(row.sealedSeed, seedAssociated(wallet, owner), walletKey);
  mustBe(seed !== undefined, 'the wallet key does not open the seed');
  if (seed === undefined) throw new Error();
  const { publicKey, secretKey } = nacl.sign.keyPair.fromSeed(seed);
  mustBe(equalBytes(publicKey, addressBytes(wallet)), 'the seed is not the wallet’s');
  mustBe(
    opened(row.sealedState, stateAssociated(wallet, owner), stateKey) !== undefined,
    'the state key opens nothing',
  );
  if (row.policy !== undefined && row.policyMac !== undefined) {
    mustBe(equalBytes(cryptoAuth(policyKey, policyMacInput(row.policy)), row.policyMac), 'the policy key is another');
  }
  const { hash, scalar, prefix } = expanded(seed);
  const ciphertext = row.sealedSeed.subarray(NONCE_BYTES);
  const secrets: Secret[] = [
    { kind: 'execution key', of: wallet, bytes: executionKey },
    ...derived,
    { kind: 'seed', of: wallet, bytes: seed },
    blobKey(`${wallet}: seed`, walletKey, row.sealedSeed),
    // Whoever has it and the row has the seed.
    { kind: 'key stream over the seed', of: wallet, bytes: seed.map((byte, at) => byte ^ (ciphertext[at] as number)) },
    // As Solana's tools write it. Its second half is public, its first one the seed.
    { kind: 'secret key', of: wallet, bytes: secretKey, inParts: 0 },
    { kind: 'SHA-512 of the seed', of: wallet, bytes: hash.subarray(0, 32) },
    { kind: 'clamped scalar', of: wallet, bytes: scalar },
    { kind: 'signing prefix', of: wallet, bytes: prefix },
  ];
  return { secrets, seed };
}

/**
 * What the execution key is sealed under for the second KMS key.
 * @throws Error when the row's second sealing is not of that key
 */
export function secondSecrets(
  { wallet, owner }: Row,
  sealed: Uint8Array,
  secondKey: Uint8Array,
  executionKey: Uint8Array,
): readonly Secret[] {
  const inside = opened(sealed, executionKeyAssociated(wallet, owner), secondKey);
  mustBe(inside !== undefined && equalBytes(inside, executionKey), 'the second key does not open to the execution key');
  const ciphertext = sealed.subarray(NONCE_BYTES);
  const stream = executionKey.map((byte, at) => byte ^ (ciphertext[at] as number));
  return [
    { kind: 'second key', of: wallet, bytes: secondKey },
    blobKey(`${wallet}: second sealing`, secondKey, sealed),
    { kind: 'key stream over the execution key', of: wallet, bytes: stream },
  ];
}

/** RFC 8032 section 5.1.5. */
function expanded(seed: Uint8Array): { hash: Uint8Array; scalar: Uint8Array; prefix: Uint8Array } {
  const hash = sha512(seed);
  const scalar = hash.slice(0, 32);
  scalar[0] = (scalar[0] as number) & 0xf8;
  scalar[31] = ((scalar[31] as number) & 0x3f) | 0x40;
  return { hash, scalar, prefix: hash.slice(32) };
}

/**
 * What a signature hides its key behind: whoever learns it computes the scalar. Before and after reduction.
 * @throws Error when the signature was not made with it, so when scalar or prefix are wrong
 */
export function signatureNonce(wallet: Address, seed: Uint8Array, message: Uint8Array, signature: Uint8Array) {
  const { scalar, prefix } = expanded(seed);
  const publicKey = addressBytes(wallet);
  const long = sha512(prefix, message);
  const nonce = littleEndian(long) % ORDER;
  const [point, s] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  const challenge = littleEndian(sha512(point, publicKey, message)) % ORDER;
  mustBe((nonce + challenge * littleEndian(scalar)) % ORDER === s, 'the signature has another nonce');
  const bytes = Buffer.from(nonce.toString(16).padStart(64, '0'), 'hex').reverse();
  return [long, bytes].map(
    (each): Secret => ({ kind: 'signature nonce', of: wallet, bytes: new Uint8Array(each), isBinary: true }),
  );
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`);
}

/** @throws Error when the recorded key does not open the recorded envelope, unless a fault spoilt that */
export function contentKey(of: string, record: SealedRecord): Secret {
  if (record.altered) return { kind: 'content-encryption key', of, bytes: record.contentKey };
  const { iv, ciphertext } = parseEnvelope(record.envelope);
  const decipher = createDecipheriv('aes-256-cbc', record.contentKey, iv);
  const content = Buffer.concat([decipher.update(ciphertext), decipher.final()]);
  mustBe(equalBytes(new Uint8Array(content), record.secret), 'the content-encryption key opens nothing');
  return { kind: 'content-encryption key', of, bytes: record.contentKey };
}
