/**
 * The keys of the local KMS, one JSON file each, and the ciphertext blobs made with them. A test double: key material
 * lies in plain files of mode 0600.
 *
 * A blob: version (1 byte, 0x01), key id (16), IV (12), ciphertext, tag (16). AES-256-GCM over the plaintext with the
 * head and the canonical encryption context as associated data, so that neither can be exchanged.
 */
import { createCipheriv, createDecipheriv, randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { concatBytes, fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { KmsError } from './errors.ts';

export type KeyState = 'Enabled' | 'Disabled' | 'PendingDeletion';
export type EncryptionContext = ReadonlyMap<string, string>;

export interface Grant {
  readonly id: string;
  readonly token: string;
  readonly name?: string;
  /** ARN of the principal that may use the key by it. */
  readonly grantee: string;
  readonly issuingAccount: string;
  /** `Decrypt`, `ReEncryptFrom` … */
  readonly operations: readonly string[];
  /** Pairs that the encryption context has to hold. */
  readonly context: Readonly<Record<string, string>>;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
}

export interface KmsKey {
  /** A UUID. */
  readonly id: string;
  readonly arn: string;
  readonly description: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  readonly state: KeyState;
  readonly deletionAt?: number;
  /** The policy's text as it was put. */
  readonly policy: string;
  readonly grants?: readonly Grant[];
  /** 32 bytes in hex. */
  readonly material: string;
}

const VERSION = 0x01;
const HEAD_BYTES = 1 + 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const UUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/;

export class KeyStore {
  readonly #directory: string;
  readonly #arnPrefix: string;
  readonly #keys: Map<string, KmsKey>;

  private constructor(directory: string, arnPrefix: string, keys: Map<string, KmsKey>) {
    this.#directory = directory;
    this.#arnPrefix = arnPrefix;
    this.#keys = keys;
  }

  static async open(directory: string, region: string, accountId: string): Promise<KeyStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const names = (await readdir(directory)).filter((name) => name.endsWith('.json'));
    const files = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
    const keys = files.map((text) => JSON.parse(text) as KmsKey);
    const arnPrefix = `arn:aws:kms:${region}:${accountId}:key/`;
    return new KeyStore(directory, arnPrefix, new Map(keys.map((key) => [key.id, key])));
  }

  list(): readonly KmsKey[] {
    return [...this.#keys.values()];
  }

  async create(fields: { description: string; policyOf: (arn: string) => string; createdAt: number }): Promise<KmsKey> {
    const id = randomUUID();
    const arn = this.#arnPrefix + id;
    const { description, createdAt } = fields;
    const material = randomBytes(32).toString('hex');
    return await this.save({
      id,
      arn,
      description,
      createdAt,
      state: 'Enabled',
      policy: fields.policyOf(arn),
      material,
    });
  }

  /** Durable when it resolves, and not visible before. */
  async save(key: KmsKey): Promise<KmsKey> {
    const path = join(this.#directory, `${key.id}.json`);
    const fresh = `${path}.${randomUUID()}.new`;
    await writeFile(fresh, JSON.stringify(key, undefined, 2), { mode: 0o600 });
    await rename(fresh, path);
    this.#keys.set(key.id, key);
    return key;
  }

  /** By id or ARN. Aliases do not exist here. */
  find(keyId: string): KmsKey {
    if (keyId.startsWith('alias/') || keyId.includes(':alias/')) {
      throw new KmsError('NotFoundException', `Alias ${keyId} is not found.`);
    }
    const id = keyId.startsWith(this.#arnPrefix) ? keyId.slice(this.#arnPrefix.length) : keyId;
    const key = this.#keys.get(id);
    if (key !== undefined) return key;
    if (!keyId.startsWith('arn:') && !UUID.test(keyId)) {
      throw new KmsError('NotFoundException', `Invalid keyId '${keyId}'`);
    }
    const shown = keyId.startsWith('arn:') ? keyId : this.#arnPrefix + id;
    throw new KmsError('NotFoundException', `Key '${shown}' does not exist`);
  }

  /** The key a blob names. The message is AWS's: it does not say which of the two it was. */
  ofBlob(blob: Uint8Array): KmsKey {
    if (blob.length < HEAD_BYTES + IV_BYTES + TAG_BYTES || blob[0] !== VERSION) {
      throw new KmsError('InvalidCiphertextException');
    }
    const key = this.#keys.get(uuidOf(blob.subarray(1, HEAD_BYTES)));
    if (key === undefined) {
      throw new KmsError(
        'AccessDeniedException',
        'The ciphertext refers to a customer master key that does not exist, does not exist in this region, ' +
          'or you are not allowed to access.',
      );
    }
    return key;
  }
}

export function encryptBlob(key: KmsKey, plaintext: Uint8Array, context: EncryptionContext): Uint8Array {
  const head = concatBytes(Uint8Array.of(VERSION), fromHex(key.id.replaceAll('-', '')));
  const iv = new Uint8Array(randomBytes(IV_BYTES));
  const cipher = createCipheriv('aes-256-gcm', fromHex(key.material), iv);
  cipher.setAAD(concatBytes(head, canonicalContext(context)));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return concatBytes(head, iv, body, cipher.getAuthTag());
}

export function decryptBlob(key: KmsKey, blob: Uint8Array, context: EncryptionContext): Uint8Array {
  const head = blob.subarray(0, HEAD_BYTES);
  const iv = blob.subarray(HEAD_BYTES, HEAD_BYTES + IV_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', fromHex(key.material), iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(concatBytes(head, canonicalContext(context)));
  decipher.setAuthTag(blob.subarray(blob.length - TAG_BYTES));
  try {
    const body = decipher.update(blob.subarray(HEAD_BYTES + IV_BYTES, blob.length - TAG_BYTES));
    return new Uint8Array(Buffer.concat([body, decipher.final()]));
  } catch (error) {
    // AWS says the same for a changed blob and for another context.
    throw new KmsError('InvalidCiphertextException', '', { cause: error });
  }
}

/** Independent of the order in which a caller wrote the pairs. */
function canonicalContext(context: EncryptionContext): Uint8Array {
  const pairs = [...context].sort(([a], [b]) => (a < b ? -1 : 1));
  return utf8(JSON.stringify(pairs));
}

function uuidOf(bytes: Uint8Array): string {
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
