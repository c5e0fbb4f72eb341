/** qv verify attestation: forms of input and expectation, exit codes, what people and machines are told. */
import { fileURLToPath } from 'node:url';
import { STEPS } from '@quantumvault/shared/attestation/checklist.ts';
import { toBase64, toHex } from '@quantumvault/shared/bytes.ts';
import { type ErrorCode, isErrorCode } from '@quantumvault/shared/errors.ts';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { syntheticCase } from '../../shared/attestation/expect.ts';
import { MODULE_ID } from '../../shared/attestation/synthetic.ts';
import { real } from '../../shared/attestation/vectors.ts';
import { type Stack, startStack } from '../../stack/stack.ts';
import { type JsonAnswer, qv, qvJson } from './call.ts';
import { debug, file, measurements, mutated, negativeDocument, production } from './documents.ts';

const verify = (...argv: readonly string[]): Promise<JsonAnswer> => qvJson('verify', 'attestation', ...argv);
const AWS_ROOT = fileURLToPath(new URL('../../vectors/attestation/aws-nitro-root-g1.pem', import.meta.url));
const OTHER_PCR0 = 'ab'.repeat(48);
const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${toBase64(der).replace(/.{64}/g, '$&\n')}\n-----END CERTIFICATE-----\n`;

async function expectFailure(code: ErrorCode, ...argv: readonly string[]): Promise<JsonAnswer> {
  const answer = await verify(...argv);
  expect(answer).toMatchObject({ ok: false, exit: 1, error: { code, step: expect.any(String) } });
  // Nothing in a document that fails is known to be true.
  expect(answer).not.toHaveProperty('contents');
  expect(answer).not.toHaveProperty('statement');
  return answer;
}

async function expectUnusable(code: ErrorCode, ...argv: readonly string[]): Promise<JsonAnswer> {
  const answer = await verify(...argv);
  expect(answer).toMatchObject({ ok: false, exit: 2, error: { code } });
  return answer;
}

describe('a genuine document', () => {
  test.each(real)('$name passes with its own PCRs', async ({ file: path, sidecar }) => {
    const pcrs = Object.fromEntries(Object.entries(sidecar.pcrs).map(([index, hex]) => [`PCR${index}`, hex]));
    const set = file('own.json', JSON.stringify(pcrs));
    const answer = await verify(fileURLToPath(path), '--pcrs', set, ...(sidecar.debug_mode ? ['--allow-debug'] : []));
    expect(answer).toMatchObject({ ok: true, exit: 0, mode: 'replay', proves: 'authenticity, not recency' });
  });

  test('the whole answer to machines', async () => {
    const answer = await verify(production.path, '--pcr0', production.pcr0);
    const { steps, contents, ...rest } = answer as JsonAnswer & { steps: { name: string; status: string }[] };
    expect(rest).toEqual({
      ok: true,
      exit: 0,
      document: { source: production.path, encoding: 'raw COSE', bytes: 4526 },
      mode: 'replay',
      proves: 'authenticity, not recency',
      statement: expect.stringMatching(/authenticity, not recency/),
      warnings: [],
      pcrSet: '--pcr0',
    });
    expect(steps.map(({ name }) => name)).toEqual(Object.keys(STEPS));
    expect(new Set(steps.map(({ status }) => status))).toEqual(new Set(['pass', 'skipped']));
    expect(contents).toMatchObject({ moduleId: production.vector.sidecar.module_id });
  });

  test('what people read: every step with a tick, and that a replay says nothing about recency', async () => {
    const { exit, stdout, stderr } = await qv('verify', 'attestation', production.path, '--pcr0', production.pcr0);
    expect([exit, stderr]).toEqual([0, '']);
    for (const title of Object.values(STEPS)) expect(stdout).toMatch(new RegExp(`^[✓–] ${title}$`, 'm'));
    expect(stdout).toContain('✓ Verified: every check passes.');
    expect(stdout).toContain('Proves authenticity, not recency');
    expect(stdout).toContain('(raw COSE, 4526 bytes)');
    expect(stdout).not.toContain('UNSAFE');
    expect(stdout).not.toContain('\u001b');
  });
});

describe('forms of a document', () => {
  const { bytes } = production.vector;
  const hex = toHex(bytes);
  const base64 = toBase64(bytes);
  test.each([
    ['raw COSE', bytes],
    ['base64', base64],
    ['base64', `${base64}\n`],
    ['base64', base64.replace(/.{76}/g, '$&\n')],
    ['base64', `${base64.replace(/.{64}/g, '$&\r\n')}\r\n`],
    ['hex', hex],
    ['hex', `${hex}\n`],
    ['hex', hex.replace(/.{60}/g, '$&\n')],
    ['hex', hex.toUpperCase()],
  ])('%s', async (encoding, content) => {
    const answer = await verify(file('document', content), '--pcr0', production.pcr0);
    expect(answer).toMatchObject({ ok: true, document: { encoding, bytes: bytes.length } });
    const { stdout } = await qv('verify', 'attestation', file('document', content), '--pcr0', production.pcr0);
    expect(stdout).toContain(`(${encoding}, 4526 bytes)`);
  });

  test.each([
    ['nothing', ''],
    ['an empty line', '\n'],
    ['words', 'no document'],
    ['hex of both cases', `${hex.slice(0, 100)}${hex.slice(100).toUpperCase()}`],
    ['hex of half a byte', hex.slice(1)],
    ['base64 without padding', base64.replace(/=+$/, '')],
    ['base64 for URLs', base64.replaceAll('+', '-').replaceAll('/', '_')],
    ['base64 with a space', ` ${base64}`],
    ['base64 with an empty line', `${base64}\n\n`],
    ['JSON', JSON.stringify({ document: base64 })],
  ])('%s is none', async (_, content) => {
    await expectUnusable('attestation_encoding_unknown', file('document', content), '--pcr0', production.pcr0);
  });
});

describe('a document that fails', () => {
  test.each([
    ['definite-payload-bitflip', 'attestation_signature_invalid'],
    ['definite-trailing-byte', 'attestation_envelope_malformed'],
    ['definite-alg-es256', 'attestation_algorithm_unsupported'],
    ['definite-tag18', 'attestation_envelope_malformed'],
  ] as const)('%s: %s', async (name, code) => {
    const { steps } = await expectFailure(code, negativeDocument(name), '--pcr0', mutated.pcr0);
    expect((steps as { status: string }[]).some(({ status }) => status === 'fail')).toBe(true);
  });

  test('says which step failed, and what was not reached', async () => {
    const path = negativeDocument('definite-trailing-byte');
    const { exit, stdout } = await qv('verify', 'attestation', path, '--pcr0', mutated.pcr0);
    expect(exit).toBe(1);
    expect(stdout).toMatch(
      /^✗ Envelope is the COSE_Sign1 that Nitro writes\n {4}end: trailing bytes\n {4}attestation_/m,
    );
    expect(stdout).toMatch(/^ {2}Document is signed by its certificate\n {4}not reached$/m);
    expect(stdout).toContain('✗ NOT verified: attestation_envelope_malformed');
    expect(stdout).not.toContain('recency');
  });

  test('another image, as PCR0 and as a set', async () => {
    await expectFailure('attestation_pcrs_not_allowed', production.path, '--pcr0', OTHER_PCR0);
    const set = file('set.json', JSON.stringify({ ...measurements(production), PCR1: OTHER_PCR0 }));
    await expectFailure('attestation_pcrs_not_allowed', production.path, '--pcrs', set);
  });

  test('a debug enclave, unless allowed, which is said loudly', async () => {
    await expectFailure('attestation_debug_enclave', debug.path, '--pcr0', debug.pcr0);
    const allowed = await verify(debug.path, '--pcr0', debug.pcr0, '--allow-debug');
    expect(allowed).toMatchObject({ ok: true, warnings: [expect.stringMatching(/^UNSAFE: --allow-debug/)] });
    const { stdout } = await qv('verify', 'attestation', debug.path, '--pcr0', debug.pcr0, '--allow-debug');
    expect(stdout).toContain('! UNSAFE: --allow-debug');
  });

  test('another nonce; its own passes', async () => {
    const { bytes, expected } = await syntheticCase({
      fields: (fields) => fields.set('nonce', Uint8Array.of(0x50, ...new Uint8Array(16).fill(7))),
    });
    const root = file('root.pem', pem(expected.unsafeTrustedRootDer ?? bytes));
    const pcr0 = toHex(expected.pcrSets[0]?.pcrs.get(0) ?? bytes);
    const path = file('document', bytes);
    const options = [path, '--pcr0', pcr0, '--root', root];
    expect(await verify(...options, '--nonce', '07'.repeat(16))).toMatchObject({ ok: true });
    await expectFailure('attestation_nonce_mismatch', ...options, '--nonce', '08'.repeat(16));
    await expectFailure('attestation_nonce_mismatch', production.path, '--pcr0', production.pcr0, '--nonce', '00');
    // Live is now: the synthetic certificates are of another year.
    const live = ['--mode', 'live', '--nonce', '07'.repeat(16)];
    expect(await verify(...options, ...live)).toMatchObject({ ok: false, exit: 1, mode: 'live' });
  });
});

describe('another root', () => {
  test('is not believed unless named, and naming it is said loudly', async () => {
    const { bytes, expected } = await syntheticCase();
    const path = file('document', bytes);
    const pcr0 = toHex(expected.pcrSets[0]?.pcrs.get(0) ?? bytes);
    await expectFailure('attestation_root_untrusted', path, '--pcr0', pcr0);
    const root = file('root.pem', pem(expected.unsafeTrustedRootDer ?? bytes));
    const answer = await verify(path, '--pcr0', pcr0, '--root', root);
    expect(answer).toMatchObject({ ok: true, warnings: [expect.stringMatching(/^UNSAFE: --root/)] });
    const { stdout } = await qv('verify', 'attestation', path, '--pcr0', pcr0, '--root', root);
    expect(stdout).toContain('! UNSAFE: --root');
    expect(stdout).toContain(MODULE_ID);
    await expectFailure('attestation_root_untrusted', production.path, '--pcr0', production.pcr0, '--root', root);
  });

  test('has one name everywhere, and a second one here', async () => {
    const { bytes, expected } = await syntheticCase();
    const pcr0 = toHex(expected.pcrSets[0]?.pcrs.get(0) ?? bytes);
    const root = file('root.pem', pem(expected.unsafeTrustedRootDer ?? bytes));
    const options = [file('document', bytes), '--pcr0', pcr0, '--unsafe-trusted-root', root];
    const warnings = [expect.stringMatching(/^UNSAFE: --unsafe-trusted-root/)];
    expect(await verify(...options)).toMatchObject({ ok: true, warnings });
    await expectUnusable('usage_invalid', ...options, '--root', root);
  });

  test('AWS’s own needs no warning', async () => {
    const answer = await verify(production.path, '--pcr0', production.pcr0, '--root', AWS_ROOT);
    expect(answer).toMatchObject({ ok: true, warnings: [] });
  });
});

describe('expectations', () => {
  const set = measurements(production);
  test.each([
    ['as nitro-cli prints them', { Measurements: { HashAlgorithm: 'Sha384 { ... }', ...set } }],
    ['plain', set],
    ['an array', [{ PCR0: OTHER_PCR0 }, { Measurements: set }]],
  ])('%s', async (_, json) => {
    const pcrs = file('pcrs.json', JSON.stringify(json));
    expect(await verify(production.path, '--pcrs', pcrs)).toMatchObject({ ok: true });
  });

  test('several files and PCR0s: one of them is enough', async () => {
    const other = file('other.json', JSON.stringify({ PCR0: OTHER_PCR0 }));
    const own = file('own.json', JSON.stringify(set));
    const answer = await verify(production.path, '--pcrs', other, '--pcrs', own, '--pcr0', OTHER_PCR0);
    expect(answer).toMatchObject({ ok: true, pcrSet: own });
    const options = ['--pcr0', OTHER_PCR0, '--pcr0', production.pcr0];
    expect(await verify(production.path, ...options)).toMatchObject({ ok: true });
  });

  test('none at all is unusable, never "any"', async () => {
    const answer = await expectUnusable('usage_invalid', production.path);
    expect(answer.error?.value).toMatch(/--pcrs or --pcr0/);
  });
});

describe('unusable', () => {
  const pcr0 = ['--pcr0', production.pcr0];
  test.each<[ErrorCode, readonly string[]]>([
    ['usage_invalid', pcr0],
    ['usage_invalid', [production.path, production.path, ...pcr0]],
    ['usage_invalid', [production.path, ...pcr0, '--mode', 'sometimes']],
    ['usage_invalid', [production.path, ...pcr0, '--mode', 'live']],
    ['usage_invalid', ['https://', ...pcr0]],
    ['usage_invalid', ['http://127.0.0.1:1', ...pcr0, '--nonce', '00'.repeat(16)]],
    ['usage_invalid', ['http://127.0.0.1:1', ...pcr0, '--mode', 'replay']],
    ['attestation_expectations_invalid', [production.path, ...pcr0, '--mode', 'live', '--nonce', '00']],
    ['hex_malformed', [production.path, '--pcr0', 'AB'.repeat(48)]],
    ['hex_malformed', [production.path, ...pcr0, '--nonce', 'xyz']],
    ['attestation_pcr_set_malformed', [production.path, '--pcr0', 'ab']],
    ['input_unreadable', ['/nonexistent/document', ...pcr0]],
    ['input_unreadable', [production.path, '--pcrs', '/nonexistent/pcrs']],
    ['json_malformed', [production.path, '--pcrs', production.path]],
    ['attestation_certificate_malformed', [production.path, ...pcr0, '--root', production.path]],
  ])('%s (%#)', async (code, argv) => {
    await expectUnusable(code, ...argv);
  });

  test('a file beyond the limit', async () => {
    await expectUnusable('body_too_large', file('large', new Uint8Array(300 * 1024)), ...pcr0);
    await expectFailure('attestation_too_large', file('large', new Uint8Array(33 * 1024)), ...pcr0);
  });
});

describe('a URL', () => {
  let stack: Stack;
  let options: string[];
  beforeAll(async () => {
    stack = await startStack();
    options = ['--root', file('root.pem', stack.nsmRootPem), '--pcr0', stack.pcrs['0'] ?? ''];
  });
  afterAll(() => stack?.stop());

  test('is verified live, with a fresh nonce each time', async () => {
    const first = await verify(stack.url, ...options);
    expect(first).toMatchObject({ ok: true, exit: 0, mode: 'live', proves: 'authenticity and recency' });
    const second = await verify(`${stack.url}/`, ...options);
    const nonceOf = (answer: JsonAnswer) => (answer['contents'] as { nonce: { hex: string } }).nonce.hex;
    expect(nonceOf(first)).toMatch(/^[0-9a-f]{64}$/);
    expect(nonceOf(second)).not.toBe(nonceOf(first));
    expect(first['contents']).toMatchObject({ attested: { format: 'qv/user-data/v1' } });
    const { stdout } = await qv('verify', 'attestation', stack.url, ...options);
    expect(stdout).toContain('✓ Verified');
    expect(stdout).toContain('Boot key');
  });

  test('another image is refused, and so is the simulated root without the option', async () => {
    const [root = '', pem = ''] = options;
    await expectFailure('attestation_pcrs_not_allowed', stack.url, root, pem, '--pcr0', OTHER_PCR0);
    await expectFailure('attestation_root_untrusted', stack.url, '--pcr0', stack.pcrs['0'] ?? '');
  });

  test('a host that does not answer is neither a pass nor a fail', async () => {
    const answer = await verify('http://127.0.0.1:1', ...options);
    expect(answer).toMatchObject({ ok: false, exit: 4, error: { code: 'host_unreachable' } });
  });
});

test('every code in the answers is one of the table', async () => {
  const { steps } = await verify(debug.path, '--pcr0', OTHER_PCR0);
  const codes = (steps as { code?: string }[]).flatMap(({ code }) => (code === undefined ? [] : [code]));
  expect(codes).toEqual(['attestation_debug_enclave', 'attestation_pcrs_not_allowed']);
  expect(codes.every(isErrorCode)).toBe(true);
});
