/**
 * An installation of QuantumVault v2, as far as its rows go: users' master keys under a key from the server's secret,
 * bots' keys under keys from those, one static salt, AES-256-GCM throughout. Written with Node's crypto and nothing of
 * the product, so that what the product reads was made by somebody else.
 */
import { createCipheriv, createHmac, hkdfSync, randomBytes, scryptSync } from 'node:crypto';
import { toBase58 } from '@quantumvault/shared/base58.ts';
import nacl from 'tweetnacl';
import { type OutsideKey, outsideKey } from './import-kit.ts';

export interface V2Options {
  readonly secret?: Buffer;
  readonly salt?: Buffer;
  readonly serverKey?: 'none' | 'hkdf-sha256' | 'scrypt';
  readonly userKey?: 'raw' | 'hex' | 'base64';
  readonly botKeyKey?: 'none' | 'hkdf-sha256';
  readonly withUserId?: boolean;
  readonly botKey?: 'raw' | 'hex' | 'base64' | 'base58';
  readonly botKeyBytes?: 32 | 64;
  /** How parts of a ciphertext stand in a column. */
  readonly encoding?: 'hex' | 'base64';
  readonly separator?: string;
  readonly order?: readonly ('iv' | 'ciphertext' | 'tag')[];
}

export interface V2Row {
  readonly id: string;
  readonly userId: string;
  readonly key: OutsideKey;
  /** IV, ciphertext, tag. */
  readonly encryptedUserKey: Buffer;
  readonly encryptedBotKey: Buffer;
  /** As they stand in the database. */
  readonly userColumn: string;
  readonly botColumn: string;
}

const SERVER_INFO = 'quantumvault-server-key';
const BOT_INFO = 'quantumvault-bot-key:';
export const SCRYPT = { n: 4096, r: 8, p: 1 } as const;

export function aesGcm(key: Buffer, plaintext: Buffer): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv);
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([iv, ciphertext, cipher.getAuthTag()]);
}

const hkdf = (key: Buffer, salt: Buffer, info: string): Buffer =>
  Buffer.from(hkdfSync('sha256', key, salt, Buffer.from(info, 'utf8'), 32));

function written(bytes: Buffer, form: 'raw' | 'hex' | 'base64' | 'base58'): Buffer {
  if (form === 'raw') return bytes;
  return Buffer.from(form === 'base58' ? toBase58(bytes) : bytes.toString(form), 'ascii');
}

export type V2SecretKind =
  | 'v2 server secret'
  | 'v2 server key'
  | 'v2 user master key'
  | 'v2 bot key key'
  | 'v2 HKDF output'
  | 'seed';

export class V2 {
  readonly secret: Buffer;
  readonly salt: Buffer;
  /** Every secret there ever was, for who looks for them. */
  readonly secrets: { readonly kind: V2SecretKind; readonly bytes: Buffer }[] = [];
  readonly #options: Required<Omit<V2Options, 'secret' | 'salt'>>;
  readonly #serverKey: Buffer;
  readonly #userKeys = new Map<string, { readonly key: Buffer; readonly encrypted: Buffer }>();
  #count = 0;

  constructor({ secret = randomBytes(32), salt = randomBytes(16), ...options }: V2Options = {}) {
    this.secret = secret;
    this.salt = salt;
    this.#options = {
      serverKey: 'hkdf-sha256',
      userKey: 'raw',
      botKeyKey: 'hkdf-sha256',
      withUserId: true,
      botKey: 'raw',
      botKeyBytes: 64,
      encoding: 'base64',
      separator: '',
      order: ['iv', 'ciphertext', 'tag'],
      ...options,
    };
    this.#serverKey = this.#deriveServerKey();
    this.secrets.push({ kind: 'v2 server secret', bytes: secret }, { kind: 'v2 server key', bytes: this.#serverKey });
    if (this.#options.serverKey === 'hkdf-sha256') this.#extracted(secret);
  }

  #deriveServerKey(): Buffer {
    const { secret, salt } = this;
    if (this.#options.serverKey === 'none') return secret;
    if (this.#options.serverKey === 'hkdf-sha256') return hkdf(secret, salt, SERVER_INFO);
    return scryptSync(secret, salt, 32, { N: SCRYPT.n, r: SCRYPT.r, p: SCRYPT.p });
  }

  /** The file of parameters that describes it. */
  parameters(): Record<string, unknown> {
    const { serverKey, userKey, botKeyKey, withUserId, botKey, botKeyBytes, ...columns } = this.#options;
    const { encoding, separator, order } = columns;
    return {
      format: 'qv/v2-parameters/v1',
      serverSecret: { encoding: 'hex' },
      salt: this.salt.toString('hex'),
      serverKey: {
        method: serverKey,
        ...(serverKey === 'hkdf-sha256' && { info: SERVER_INFO }),
        ...(serverKey === 'scrypt' && SCRYPT),
      },
      userKey: { encoding: userKey },
      botKeyKey: { method: botKeyKey, ...(botKeyKey === 'hkdf-sha256' && { info: BOT_INFO, withUserId }) },
      botKey: { encoding: botKey, bytes: botKeyBytes },
      ciphertext: { encoding, order, ...(separator !== '' && { separator }) },
    };
  }

  /** One bot of a user; his first one brings him into being. */
  bot(userId = String(1000 + this.#count), seed: Uint8Array = nacl.randomBytes(32)): V2Row {
    const id = String(++this.#count);
    const user = this.#user(userId);
    const { botKeyKey, withUserId, botKey, botKeyBytes } = this.#options;
    const derived =
      botKeyKey === 'none' ? user.key : hkdf(user.key, this.salt, `${BOT_INFO}${withUserId ? userId : ''}`);
    const key = outsideKey(seed);
    const pair = Buffer.from(nacl.sign.keyPair.fromSeed(seed).secretKey).subarray(0, botKeyBytes);
    this.secrets.push({ kind: 'v2 bot key key', bytes: derived }, { kind: 'seed', bytes: Buffer.from(seed) });
    const encryptedBotKey = aesGcm(derived, written(pair, botKey));
    return {
      id,
      userId,
      key,
      encryptedUserKey: user.encrypted,
      encryptedBotKey,
      userColumn: this.column(user.encrypted),
      botColumn: this.column(encryptedBotKey),
    };
  }

  /** RFC 5869's pseudorandom key. */
  #extracted(key: Buffer): void {
    this.secrets.push({ kind: 'v2 HKDF output', bytes: createHmac('sha256', this.salt).update(key).digest() });
  }

  #user(userId: string) {
    const known = this.#userKeys.get(userId);
    if (known !== undefined) return known;
    const key = randomBytes(32);
    this.secrets.push({ kind: 'v2 user master key', bytes: key });
    this.#extracted(key);
    const user = { key, encrypted: aesGcm(this.#serverKey, written(key, this.#options.userKey)) };
    this.#userKeys.set(userId, user);
    return user;
  }

  column(sealed: Buffer): string {
    const { order, encoding, separator } = this.#options;
    const parts = {
      iv: sealed.subarray(0, 12),
      ciphertext: sealed.subarray(12, -16),
      tag: sealed.subarray(-16),
    };
    if (separator === '') return Buffer.concat(order.map((part) => parts[part])).toString(encoding);
    return order.map((part) => parts[part].toString(encoding)).join(separator);
  }
}
