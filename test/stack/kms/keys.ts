/**
 * The keys of the local KMS, one JSON file each, and the ciphertext blobs made with them. A test double: key material
 * lies in plain files of mode 0600.
 *
 * A blob: version (1 byte, 0x01; 0x02 of a multi-Region key), key id (16), IV (12), ciphertext, tag (16). AES-256-GCM over the plaintext with the
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

/** Of a multi-Region key: which of the related ones is the primary key. */
export interface MultiRegion {
  readonly type: 'PRIMARY' | 'REPLICA';
  readonly primaryArn: string;
}

export interface KmsKey {
  /** A UUID, or `mrk-` and 32 hex digits for a multi-Region key. */
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
  readonly multiRegion?: MultiRegion;
  /** 32 bytes in hex; related multi-Region keys have the same. */
  readonly material: string;
}

const VERSION = 0x01;
const VERSION_MULTI_REGION = 0x02;
const HEAD_BYTES = 1 + 16;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID = /^(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|mrk-[0-9a-f]{32})$/;

/** The keys of one Region, of all accounts. */
export class KeyStore {
  readonly region: string;
  readonly #directory: string;
  readonly #keys: Map<string, KmsKey>;

  private constructor(directory: string, region: string, keys: Map<string, KmsKey>) {
    this.#directory = directory;
    this.region = region;
    this.#keys = keys;
  }

  static async open(directory: string, region: string): Promise<KeyStore> {
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const names = (await readdir(directory)).filter((name) => name.endsWith('.json'));
    const files = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
    const keys = files.map((text) => JSON.parse(text) as KmsKey);
    return new KeyStore(directory, region, new Map(keys.map((key) => [key.id, key])));
  }

  list(): readonly KmsKey[] {
    return [...this.#keys.values()];
  }

  async create(fields: {
    accountId: string;
    description: string;
    policyOf: (arn: string) => string;
    createdAt: number;
    isMultiRegion: boolean;
  }): Promise<KmsKey> {
    const { accountId, description, createdAt, isMultiRegion } = fields;
    const id = isMultiRegion ? `mrk-${randomBytes(16).toString('hex')}` : randomUUID();
    const arn = this.#arnOf(accountId, id);
    const material = randomBytes(32).toString('hex');
    return await this.save({
      id,
      arn,
      description,
      createdAt,
      state: 'Enabled',
      policy: fields.policyOf(arn),
      ...(isMultiRegion && { multiRegion: { type: 'PRIMARY', primaryArn: arn } }),
      material,
    });
  }

  /** A primary key of another Region as a replica here; state, policy, grants and description are its own. */
  async replicate(
    primary: KmsKey,
    fields: { accountId: string; description: string; policyOf: (arn: string) => string; createdAt: number },
  ): Promise<KmsKey> {
    const { accountId, description, createdAt } = fields;
    const { id, material } = primary;
    const arn = this.#arnOf(accountId, id);
    const multiRegion = { type: 'REPLICA', primaryArn: primary.arn } as const;
    const policy = fields.policyOf(arn);
    return await this.save({ id, arn, description, createdAt, state: 'Enabled', policy, multiRegion, material });
  }

  has(id: string): boolean {
    return this.#keys.has(id);
  }

  #arnOf(accountId: string, id: string): string {
    return `arn:aws:kms:${this.region}:${accountId}:key/${id}`;
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

  /** By ARN, or by the id of a key of that account. Aliases do not exist here. */
  find(keyId: string, accountId: string): KmsKey {
    if (keyId.startsWith('alias/') || keyId.includes(':alias/')) {
      throw new KmsError('NotFoundException', `Alias ${keyId} is not found.`);
    }
    const isArn = keyId.startsWith('arn:');
    const shown = isArn ? keyId : this.#arnOf(accountId, keyId);
    const key = this.#keys.get(shown.slice(shown.lastIndexOf('/') + 1));
    if (key?.arn === shown) return key;
    if (!isArn && !KEY_ID.test(keyId)) throw new KmsError('NotFoundException', `Invalid keyId '${keyId}'`);
    throw new KmsError('NotFoundException', `Key '${shown}' does not exist`);
  }

  /** The key a blob names. The message is AWS's: it does not say which of the two it was. */
  ofBlob(blob: Uint8Array): KmsKey {
    if (blob.length < HEAD_BYTES + IV_BYTES + TAG_BYTES || versionOf(blob) === undefined) {
      throw new KmsError('InvalidCiphertextException');
    }
    const key = this.#keys.get(idOf(blob));
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
  const version = key.multiRegion === undefined ? VERSION : VERSION_MULTI_REGION;
  const head = concatBytes(Uint8Array.of(version), fromHex(key.id.replace(/^mrk-/, '').replaceAll('-', '')));
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

function versionOf([version]: Uint8Array): number | undefined {
  return version === VERSION || version === VERSION_MULTI_REGION ? version : undefined;
}

function idOf(blob: Uint8Array): string {
  const hex = toHex(blob.subarray(1, HEAD_BYTES));
  if (versionOf(blob) === VERSION_MULTI_REGION) return `mrk-${hex}`;
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
