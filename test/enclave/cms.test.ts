import { createPrivateKey } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseEnvelope } from '@quantumvault/enclave/cms.ts';
import { toHex } from '@quantumvault/shared/bytes.ts';
import { codeOf, QvError } from '@quantumvault/shared/errors.ts';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeRecipientKey } from '../stack/enclave/node-recipient.ts';
import { expectCode } from '../support/codes.ts';
import { testVault } from '../support/vault.ts';

const VECTORS = join(import.meta.dirname, '..', 'vectors', 'cms');
const names = readdirSync(VECTORS).filter((name) => name.endsWith('.cms.bin'));
const bytesOf = (name: string): Uint8Array => new Uint8Array(readFileSync(join(VECTORS, name)));
const factsOf = (name: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(VECTORS, name.replace('.cms.bin', '.json')), 'utf8')) as Record<string, unknown>;

/** Its OAEP parameters are empty, which means SHA-1. */
const REFUSED = ['rockowl-sample.cms.bin'];
const DATA_KEY = 'edgebit-go-datakey32';

function recipientOf(name: string) {
  const privateKey = createPrivateKey({
    key: readFileSync(join(VECTORS, `${name}.rsa-pkcs8.der`)),
    format: 'der',
    type: 'pkcs8',
  });
  return nodeRecipientKey(privateKey);
}

describe('parseEnvelope', () => {
  it.each(names.filter((name) => !REFUSED.includes(name)))('reads %s', (name) => {
    const envelope = parseEnvelope(bytesOf(name));
    const facts = factsOf(name);
    expect(envelope.encryptedKey).toHaveLength(256);
    expect(toHex(envelope.recipient)).toBe(facts['ski_hex']);
    expect(toHex(envelope.iv)).toBe(facts['iv_hex']);
    expect(envelope.ciphertext).toHaveLength(Number(facts['ciphertext_len']));
  });

  it.each(REFUSED)('refuses %s', async (name) => {
    await expectCode(() => parseEnvelope(bytesOf(name)), 'kms_response_invalid');
  });

  it('refuses trailing bytes, truncation at every byte, and more than its size', async () => {
    const bytes = bytesOf(`${DATA_KEY}.cms.bin`);
    await expectCode(() => parseEnvelope(Uint8Array.of(...bytes, 0)), 'kms_response_invalid');
    await expectCode(() => parseEnvelope(new Uint8Array(5000)), 'kms_response_invalid');
    for (let length = 0; length < bytes.length; length++) {
      await expectCode(() => parseEnvelope(bytes.subarray(0, length)), 'kms_response_invalid');
    }
  });

  it('never throws anything but its one error, on mutated and arbitrary bytes', () => {
    const bytes = bytesOf(`${DATA_KEY}.cms.bin`);
    const attempt = (input: Uint8Array): void => {
      try {
        parseEnvelope(input);
      } catch (error) {
        expect(error).toBeInstanceOf(QvError);
        expect(codeOf(error)).toBe('kms_response_invalid');
        expect((error as QvError).facts).toEqual({ path: 'CiphertextForRecipient' });
      }
    };
    fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), attempt));
    const edit = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        const copy = Uint8Array.from(bytes);
        for (const [at, value] of edits) copy[at] = value;
        attempt(copy);
      }),
      { numRuns: 2000 },
    );
  });

  it('is not led into deep nesting', async () => {
    await expectCode(
      () => parseEnvelope(new Uint8Array(1000).fill(0x30).map((byte, index) => (index % 2 ? 0x80 : byte))),
      'kms_response_invalid',
    );
  });
});

describe('the vault opens an envelope', () => {
  const vault = testVault();

  it('of a 32-byte key, to exactly that key', () => {
    const opened = vault.openRowKey(recipientOf(DATA_KEY), parseEnvelope(bytesOf(`${DATA_KEY}.cms.bin`)));
    expect(opened.use((bytes) => toHex(bytes))).toBe(factsOf(`${DATA_KEY}.cms.bin`)['plaintext_hex']);
  });

  it('and says one thing about every fault: recipient, key, padding, length', async () => {
    const good = parseEnvelope(bytesOf(`${DATA_KEY}.cms.bin`));
    const flipped = (bytes: Uint8Array, at: number) => bytes.map((byte, index) => (index === at ? byte ^ 1 : byte));
    const faults = [
      { ...good, recipient: flipped(good.recipient, 0) },
      { ...good, encryptedKey: flipped(good.encryptedKey, 255) },
      // The last ciphertext block is the padding; changing the one before it changes the padding's bytes.
      { ...good, ciphertext: flipped(good.ciphertext, 31) },
      { ...good, ciphertext: good.ciphertext.subarray(0, 32) },
      { ...good, ciphertext: Uint8Array.of(...good.ciphertext, ...good.ciphertext.subarray(0, 16)) },
      { ...parseEnvelope(bytesOf('enclaver-hello-world.cms.bin')) },
    ];
    for (const envelope of faults) {
      const error = await expectCode(() => vault.openRowKey(recipientOf(DATA_KEY), envelope), 'kms_response_invalid');
      expect(error.facts).toEqual({ path: 'CiphertextForRecipient' });
      expect(error.cause).toBeUndefined();
    }
    const short = parseEnvelope(bytesOf('enclaver-hello-world.cms.bin'));
    await expectCode(() => vault.openRowKey(recipientOf('enclaver-hello-world'), short), 'kms_response_invalid');
  });
});
