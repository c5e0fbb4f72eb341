/**
 * Recipient keys for machines without a C compiler. Same results as the addon's (test/enclave/recipient-keys.test.ts);
 * but Node's crypto frees buffers with plaintext in them, and a private key ends when the garbage collector likes.
 */
import {
  constants,
  createDecipheriv,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  privateDecrypt,
  timingSafeEqual,
} from 'node:crypto';
import { promisify } from 'node:util';
import type { Envelope } from '@quantumvault/enclave/cms.ts';
import type { RecipientKey, RecipientKeys } from '@quantumvault/enclave/vault.ts';

const KEY_BYTES = 32;
const generateRsa = promisify(generateKeyPair);

export const nodeRecipientKeys: RecipientKeys = {
  async generate() {
    const { privateKey } = await generateRsa('rsa', { modulusLength: 2048, publicExponent: 65537 });
    return nodeRecipientKey(privateKey);
  },
};

export function nodeRecipientKey(privateKey: KeyObject): RecipientKey {
  let key: KeyObject | undefined = privateKey;
  return {
    spki: new Uint8Array(createPublicKey(privateKey).export({ type: 'spki', format: 'der' })),
    open: (envelope, work) => key !== undefined && open(key, envelope, work),
    drop: () => {
      key = undefined;
    },
  };
}

function open(key: KeyObject, { encryptedKey, iv, ciphertext }: Envelope, work: Buffer): boolean {
  let contentKey: Buffer | undefined;
  let padded: Buffer | undefined;
  try {
    const oaep = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
    contentKey = privateDecrypt({ key, ...oaep }, encryptedKey);
    const decipher = createDecipheriv('aes-256-cbc', contentKey, iv);
    decipher.setAutoPadding(false);
    padded = decipher.update(ciphertext);
    decipher.final();
    if (!timingSafeEqual(padded.subarray(KEY_BYTES), Buffer.alloc(16, 16))) return false;
    padded.copy(work, 0, 0, KEY_BYTES);
    return true;
  } catch {
    return false;
  } finally {
    contentKey?.fill(0);
    padded?.fill(0);
  }
}
