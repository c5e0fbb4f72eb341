/** qv inspect attestation: everything readable, nothing judged. */

import type { BootId, Hash } from '@quantumvault/shared/brands.ts';
import { toBase64, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import type { ErrorCode } from '@quantumvault/shared/errors.ts';
import { userDataCodec } from '@quantumvault/shared/evidence/user-data.ts';
import { encodeAs } from '@quantumvault/shared/protocol/wire.ts';
import { describe, expect, test } from 'vitest';
import { syntheticCase } from '../../shared/attestation/expect.ts';
import * as s from '../../shared/attestation/synthetic.ts';
import { real } from '../../shared/attestation/vectors.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { debug, file, negativeDocument, production } from './documents.ts';

const inspect = (path: string): Promise<JsonAnswer> => qvJson('inspect', 'attestation', path);

describe('every field', () => {
  test.each(real)('$name', async ({ bytes, sidecar }) => {
    const answer = await inspect(file('document', bytes));
    expect(answer).toMatchObject({ ok: true, exit: 0, verdict: null, encoding: 'raw COSE' });
    expect(answer['document']).toMatchObject({
      documentBytes: bytes.length,
      moduleId: sidecar.module_id,
      timestampMs: sidecar.timestamp_ms,
      time: new Date(sidecar.timestamp_ms).toISOString(),
      digest: 'SHA384',
      payloadEncoding: sidecar.payload_indefinite_map ? 'indefinite' : 'definite',
    });
    const { pcrs, certificates, ...fields } = answer['document'] as {
      pcrs: { index: number; hex: string }[];
      certificates: { isAwsRoot: boolean; notBefore: string; ca?: boolean }[];
      nonce: { bytes?: number };
    };
    expect(Object.fromEntries(pcrs.map(({ index, hex }) => [index, hex]))).toEqual(sidecar.pcrs);
    expect(certificates).toHaveLength(sidecar.certificates.length);
    expect(certificates.map(({ isAwsRoot }) => isAwsRoot)).toEqual(certificates.map((_, index) => index === 0));
    expect(fields.nonce.bytes ?? null).toBe(sidecar.nonce.length);
  });

  test('certificates, as people read them', async () => {
    const { exit, stdout, stderr } = await qv('inspect', 'attestation', production.path);
    expect([exit, stderr]).toEqual([0, '']);
    expect(stdout).toContain('Nothing here has been verified');
    expect(stdout).toMatch(/PCR0 +[0-9a-f]{96} {2}enclave image/);
    expect(stdout).toMatch(/PCR3 +zero {2}IAM role/);
    expect(stdout).toMatch(/nonce +null/);
    expect(stdout).toMatch(/user_data +64 bytes: e3b0c442/);
    expect(stdout).toMatch(/Subject +C=US, O=Amazon, OU=AWS, CN=aws.nitro-enclaves/);
    expect(stdout).toMatch(/Serial +00f93175681b90afe11d46ccb4e4e7f856/);
    expect(stdout).toMatch(/Valid +2025-12-25T16:04:16.000Z to 2025-12-25T19:04:19.000Z \(3 h\)/);
    expect(stdout).toMatch(/CA +yes, path length 2/);
    expect(stdout).toMatch(/Key usage +digitalSignature, keyCertSign, cRLSign/);
    expect(stdout).toContain('(the AWS Nitro Enclaves root G1)');
    expect(stdout).not.toMatch(/[✓✗]|Verified/);
  });

  test('a field of 1,024 bytes is cut for people, and whole for machines', async () => {
    const { stdout } = await qv('inspect', 'attestation', debug.path);
    expect(stdout).toMatch(/nonce +1024 bytes: [0-9a-f]{128}… \(--json shows all\)/);
    const { document } = (await inspect(debug.path)) as JsonAnswer & { document: { nonce: { hex: string } } };
    expect(document.nonce.hex).toHaveLength(2048);
  });
});

describe('optional fields', () => {
  const withField = async (name: string, value: Uint8Array | undefined) => {
    const { bytes } = await syntheticCase({
      fields: (fields) => (value === undefined ? fields.delete(name) : fields.set(name, value)),
    });
    return (await inspect(file('document', toBase64(bytes))))['document'] as Record<string, unknown>;
  };

  test('absent, null, empty and text are told apart', async () => {
    expect(await withField('nonce', undefined)).toMatchObject({ nonce: { presence: 'absent' } });
    expect(await withField('nonce', s.NULL)).toMatchObject({ nonce: { presence: 'null' } });
    const empty = { presence: 'present', bytes: 0, hex: '' };
    expect((await withField('nonce', s.bytes(new Uint8Array(0))))['nonce']).toEqual(empty);
    const text = { presence: 'present', bytes: 5, hex: toHex(utf8('hello')), text: 'hello' };
    expect((await withField('public_key', s.bytes(utf8('hello'))))['publicKey']).toEqual(text);
  });

  test('user_data of ours is decoded, somebody else’s is left alone', async () => {
    const ours = {
      bootKey: '11111111111111111111111111111112' as BootId,
      configHash: new Uint8Array(32).fill(3) as Hash,
      logOrigin: 'example.com/qv',
      version: '1.2.3',
    };
    const attested = { ...ours, format: 'qv/user-data/v1', configHash: '03'.repeat(32) };
    expect(await withField('user_data', s.bytes(encodeAs(userDataCodec, ours)))).toMatchObject({ attested });
    const withImport = { ...ours, importKey: new Uint8Array(32).fill(4) };
    const document = await withField('user_data', s.bytes(encodeAs(userDataCodec, withImport)));
    expect(document).toMatchObject({ attested: { ...attested, importKey: '04'.repeat(32) } });
    expect(await withField('user_data', s.bytes(utf8('something else')))).not.toHaveProperty('attested');
    const { bytes } = await syntheticCase({
      fields: (fields) => fields.set('user_data', s.bytes(encodeAs(userDataCodec, ours))),
    });
    const { stdout } = await qv('inspect', 'attestation', file('document', bytes));
    expect(stdout).toMatch(/user_data, as qv\/user-data\/v1\n +Boot key +1{31}2\n +Import key +none/);
  });
});

test('a document that fails verification reads just as well', async () => {
  const answer = await inspect(negativeDocument('definite-payload-bitflip'));
  expect(answer).toMatchObject({ ok: true, verdict: null });
});

test('a certificate’s text cannot drive the terminal', async () => {
  const subject = s.sequence(
    s.der(0x31, s.sequence(s.der(0x06, Uint8Array.of(0x55, 4, 3)), s.der(0x0c, utf8('a\u001b[2Jb\u202ec')))),
  );
  const { bytes } = await syntheticCase({
    pki: () => ({ leaf: { parts: { subject } } }),
  });
  const { stdout } = await qv('inspect', 'attestation', file('document', bytes));
  expect(stdout).toMatch(/Subject +CN=a\S*\[2Jb\S*c/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  expect(stdout).not.toMatch(/[\u001b\u202e]/);
});

test.each<[ErrorCode, string]>([
  ['attestation_envelope_malformed', negativeDocument('definite-truncated')],
  ['attestation_algorithm_unsupported', negativeDocument('definite-alg-es256')],
  ['attestation_encoding_unknown', file('words', 'no document')],
  ['attestation_too_large', file('large', new Uint8Array(33 * 1024))],
  ['input_unreadable', '/nonexistent/document'],
])('%s is unreadable: exit 2', async (code, path) => {
  expect(await inspect(path)).toMatchObject({ ok: false, exit: 2, error: { code } });
});

test('needs exactly one file', async () => {
  expect(await qvJson('inspect', 'attestation')).toMatchObject({ exit: 2, error: { code: 'usage_invalid' } });
});
