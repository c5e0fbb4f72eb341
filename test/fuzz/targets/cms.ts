/** KMS's envelope: what is read of it, and that every refusal is the same. */
import { readFileSync } from 'node:fs';
import { parseEnvelope } from '@quantumvault/enclave/cms.ts';
import { fromHex } from '@quantumvault/shared/bytes.ts';
import { QvError } from '@quantumvault/shared/errors.ts';
import { LIMITS } from '@quantumvault/shared/limits.ts';
import { derMutator } from '../engine/der-tree.ts';
import { accept, must, type Target } from '../engine/target.ts';
import { mustEndThere } from './checks.ts';

const VECTORS = [
  'aws-sdk-c-input-ber',
  'aws-sdk-c-input-ber-w-ctx',
  'edgebit-go-datakey32',
  'enclaver-hello-world',
  'rockowl-sample',
] as const;

const vector = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../vectors/cms/${name}.cms.bin`, import.meta.url)));

/** Each length is of bytes that are there, all the way down: by a reader that knows nothing but that. */
function isWhole(bytes: Uint8Array): boolean {
  for (let at = 0; at < bytes.length; ) {
    const [tag = 0, first = 0] = bytes.subarray(at);
    if (first === 0x80) return isWhole(bytes.subarray(at + 2));
    if (tag === 0 && first === 0) {
      at += 2;
      continue;
    }
    const size = first < 0x80 ? 0 : first - 0x80;
    const length =
      size === 0 ? first : bytes.subarray(at + 2, at + 2 + size).reduce((sum, byte) => sum * 256 + byte, 0);
    const [start, end] = [at + 2 + size, at + 2 + size + length];
    if (end > bytes.length || ((tag & 0x20) !== 0 && !isWhole(bytes.subarray(start, end)))) return false;
    at = end;
  }
  return true;
}

function isInside(part: Uint8Array, whole: Uint8Array): boolean {
  return Buffer.from(whole.buffer, whole.byteOffset, whole.length).includes(Buffer.from(part));
}

export const cms: Target = {
  name: 'cms',
  covers: ['enclave/src/cms.ts#parseEnvelope'],
  seeds: () => Object.fromEntries(VECTORS.map((name) => [name, vector(name)])),
  mutators: [derMutator],
  dictionary: [
    '3080',
    'a080',
    '0000',
    '2480',
    '0420',
    '8020',
    '020102',
    '020100',
    '06092a864886f70d010703',
    '060960864801650304012a',
    '30820100',
    '04820100',
    '30840000ffff',
  ].map((hex) => fromHex(hex)),
  maxBytes: LIMITS.kmsEnvelopeBytes + 40,
  codes: ['kms_response_invalid'],
  executions: 4_000,
  run(input) {
    let envelope: ReturnType<typeof parseEnvelope>;
    try {
      envelope = accept(parseEnvelope(input));
    } catch (error) {
      // No fault may say where it lies: there is no MAC.
      if (error instanceof QvError) {
        const { path, value, ...more } = error.facts as Record<string, unknown>;
        must(
          path === 'CiphertextForRecipient' && value === undefined && Object.keys(more).length === 0,
          'a refusal with detail',
        );
        must(error.cause === undefined, 'a refusal with a cause');
      }
      throw error;
    }
    const { recipient, encryptedKey, iv, ciphertext } = envelope;
    must(input.length <= LIMITS.kmsEnvelopeBytes, 'larger than the limit');
    must(recipient.length === 32 && encryptedKey.length === 256 && iv.length === 16, 'lengths of parts');
    must(
      ciphertext.length > 0 && ciphertext.length % 16 === 0 && ciphertext.length < input.length,
      'length of the content',
    );
    must(
      [recipient, encryptedKey, iv].every((part) => isInside(part, input)),
      'a part that the input does not hold',
    );
    mustEndThere(parseEnvelope, input);
    must(isWhole(input), 'an element that ends behind the one it is in');
    return envelope;
  },
};
