import { execFileSync } from 'node:child_process';
import { constants, createPrivateKey, createPublicKey, privateDecrypt } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { describe, expect, it } from 'vitest';
import { type EnvelopeOptions, sealForRecipient } from './kms/envelope.ts';
import { openEnvelope32, recipientKey } from './support.ts';

const vector = (name: string): Buffer => readFileSync(new URL(`../vectors/cms/${name}`, import.meta.url));
const key = recipientKey();

/** The bytes without what is random: recipient, wrapped key, IV and ciphertext are blanked. */
function layout(envelope: Uint8Array, ciphertextAt: number, ciphertextLength: number): string {
  const bytes = Uint8Array.from(envelope);
  bytes.fill(0, 33, 65).fill(0, 131, 387).fill(0, 415, 431);
  bytes.fill(0, ciphertextAt, ciphertextAt + ciphertextLength);
  return toHex(bytes);
}

describe('the layout', () => {
  it('is that of real answers, byte for byte', () => {
    for (const [name, length, at, blocks] of [
      ['edgebit-go-datakey32', 32, 435, 48],
      ['aws-sdk-c-input-ber', 32, 435, 48],
      ['enclaver-hello-world', 12, 435, 16],
    ] as const) {
      const ours = sealForRecipient(new Uint8Array(length), key.spki);
      expect(layout(ours, at, blocks)).toBe(layout(vector(`${name}.cms.bin`), at, blocks));
    }
  });

  it('is that of the primitive form', () => {
    const ours = sealForRecipient(new Uint8Array(12), key.spki, { form: 'primitive' });
    expect(layout(ours, 433, 16)).toBe(layout(vector('aws-sdk-c-input-ber-w-ctx.cms.bin'), 433, 16));
  });

  it('has the sizes of real answers', () => {
    const size = (length: number): number => sealForRecipient(new Uint8Array(length), key.spki).length;
    expect([12, 28, 32, 64, 79].map(size)).toEqual([461, 477, 493, 525, 525]);
  });

  it('names the recipient by SHA-256 of its SPKI, as the samples with a key do', () => {
    for (const name of ['edgebit-go-datakey32', 'enclaver-hello-world']) {
      const privateKey = createPrivateKey({
        key: vector(`${name}.rsa-pkcs8.der`),
        format: 'der',
        type: 'pkcs8',
      });
      const spki = createPublicKey(privateKey.export({ format: 'pem', type: 'pkcs8' })).export({
        format: 'der',
        type: 'spki',
      });
      const ours = sealForRecipient(new Uint8Array(32), new Uint8Array(spki));
      expect(toHex(ours.subarray(33, 65))).toBe(toHex(vector(`${name}.cms.bin`).subarray(33, 65)));
    }
  });
});

describe('the content', () => {
  const secret = Uint8Array.from({ length: 32 }, (_, index) => index);

  it('opens by offsets alone', () => {
    expect(openEnvelope32(sealForRecipient(secret, key.spki), key)).toEqual(secret);
  });

  const forms: readonly [string, EnvelopeOptions][] = [
    ['constructed', {}],
    ['primitive', { form: 'primitive' }],
    ['in chunks of 16', { chunkBytes: 16 }],
    ['in chunks of 7', { chunkBytes: 7 }],
    ['wrapped with SHA-1', { sha1Oaep: true }],
  ];
  it.skipIf(!hasOpenssl()).each(forms)('opens with openssl cms: %s', (_name, options) => {
    expect(opensslDecrypt(sealForRecipient(secret, key.spki, options))).toEqual(Buffer.from(secret));
  });

  it('does not open when a fault was asked for', () => {
    const faults: EnvelopeOptions[] = [{ flippedWrappedKey: true }, { sha1Oaep: true }];
    for (const options of faults) {
      const at = options.sha1Oaep === true ? 84 : 131;
      const wrapped = sealForRecipient(secret, key.spki, options).subarray(at, at + 256);
      const rsa = { key: key.privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
      expect(() => privateDecrypt(rsa, wrapped)).toThrow();
    }
    const good = sealForRecipient(secret, key.spki);
    const bad = sealForRecipient(secret, key.spki, { wrongRecipient: true });
    expect(toHex(bad.subarray(33, 64))).toBe(toHex(good.subarray(33, 64)));
    expect(bad[64]).not.toBe(good[64]);
    expect(opened(sealForRecipient(secret, key.spki, { flippedCiphertext: true }))).not.toEqual(secret);
  });

  it('writes the SHA-1 downgrade of the public sample', () => {
    const ours = sealForRecipient(secret, key.spki, { sha1Oaep: true });
    const sample = vector('rockowl-sample.cms.bin');
    expect(ours.length).toBe(sample.length);
    // Up to the recipient, and from it to the wrapped key: empty OAEP parameters.
    expect(toHex(ours.subarray(0, 33))).toBe(toHex(sample.subarray(0, 33)));
    expect(toHex(ours.subarray(65, 84))).toBe(toHex(sample.subarray(65, 84)));
  });
});

function opened(envelope: Uint8Array): Uint8Array | undefined {
  try {
    return openEnvelope32(envelope, key);
  } catch {
    return undefined;
  }
}

function hasOpenssl(): boolean {
  try {
    execFileSync('openssl', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** A second implementation reads what we write. */
function opensslDecrypt(envelope: Uint8Array): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'qv-cms-'));
  try {
    const keyPath = join(directory, 'key.pem');
    const cmsPath = join(directory, 'cms.bin');
    writeFileSync(keyPath, key.privateKey.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(cmsPath, envelope);
    return execFileSync('openssl', ['cms', '-decrypt', '-inform', 'DER', '-in', cmsPath, '-inkey', keyPath, '-binary']);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
