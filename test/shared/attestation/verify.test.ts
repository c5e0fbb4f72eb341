/** Live mode, and what documents must say besides being authentic. Synthetic documents under a root of our own. */

import { STEPS } from '@quantumvault/shared/attestation/checklist.ts';
import type { Expectations, LiveMode } from '@quantumvault/shared/attestation/expectations.ts';
import { verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { concatBytes, utf8 } from '@quantumvault/shared/bytes.ts';
import { describe, expect, test } from 'vitest';
import { outcome, ownSet, REPLAY, refusal, syntheticCase, syntheticReport } from './expect.ts';
import * as s from './synthetic.ts';

const NONCE = utf8('sixteen bytes ok');
const live = (seconds: number, more: Partial<LiveMode> = {}): LiveMode => ({
  kind: 'live',
  nowMs: s.NOW_MS + seconds * 1000,
  nonce: NONCE,
  ...more,
});

const withNonce = await syntheticCase({ fields: (f) => f.set('nonce', s.bytes(NONCE)) });
const liveOutcome = (mode: LiveMode, more: Partial<Expectations> = {}) =>
  outcome(withNonce.bytes, { ...withNonce.expected, mode, ...more });

describe('live', () => {
  test('a fresh document with the nonce', async () => {
    const report = await verifyAttestation(withNonce.bytes, { ...withNonce.expected, mode: live(3) });
    expect(report).toMatchObject({ ok: true, mode: 'live', proves: 'authenticity and recency' });
    expect(report.steps.map(({ name }) => name)).toEqual(Object.keys(STEPS));
  });

  test('the oldest allowed, and one millisecond more', async () => {
    expect(await liveOutcome(live(300))).toBe('ok');
    expect(await liveOutcome(live(300.001))).toBe('attestation_stale');
    expect(await liveOutcome(live(11, { maxAgeSeconds: 10 }))).toBe('attestation_stale');
    expect(await liveOutcome(live(600, { maxAgeSeconds: 900 }))).toBe('ok');
  });

  test('from the future, within the clocks’ tolerance and beyond', async () => {
    expect(await liveOutcome(live(-30))).toBe('ok');
    expect(await liveOutcome(live(-30.001))).toBe('attestation_in_future');
    expect(await liveOutcome(live(-6, { maxFutureSeconds: 5 }))).toBe('attestation_in_future');
  });

  test('certificates are judged now, not at the document’s time', async () => {
    const hours = (count: number) => live(count * 3600, { maxAgeSeconds: 24 * 3600 });
    expect(await liveOutcome(hours(1.9))).toBe('ok');
    expect(await liveOutcome(hours(2.1))).toBe('attestation_chain_not_valid_then');
  });

  test('another nonce, a longer one, none in the document', async () => {
    const mismatch = 'attestation_nonce_mismatch';
    expect(await liveOutcome(live(3, { nonce: utf8('sixteen bytes OK') }))).toBe(mismatch);
    expect(await liveOutcome(live(3, { nonce: concatBytes(NONCE, NONCE) }))).toBe(mismatch);
    const { bytes, expected } = await syntheticCase();
    expect(await outcome(bytes, { ...expected, mode: live(3) })).toBe(mismatch);
  });

  test('without the nonce only when said so', async () => {
    const { bytes, expected } = await syntheticCase();
    const report = await verifyAttestation(bytes, { ...expected, mode: live(3, { nonce: 'unsafe-not-checked' }) });
    expect(report.ok).toBe(true);
    expect(report.steps.find(({ name }) => name === 'nonce')).toMatchObject({
      status: 'skipped',
      found: expect.stringContaining('UNSAFE'),
    });
  });
});

describe('debug', () => {
  const zeroed = (indexes: readonly number[]) => async () => {
    const pcrs = await s.measuredPcrs();
    for (const index of indexes) pcrs.set(index, s.filled(0));
    const { bytes, expected } = await syntheticCase({ fields: (f) => f.set('pcrs', s.encodePcrs(pcrs)) });
    const own = { ...expected, pcrSets: ownSet(pcrs) };
    expect(await outcome(bytes, own)).toBe('attestation_debug_enclave');
    expect(await outcome(bytes, { ...own, allowDebug: true })).toBe('ok');
  };
  test('PCR0, 1 and 2 zero', zeroed([0, 1, 2]));
  test('PCR0 alone zero: a measured register never is', zeroed([0]));
  test('PCR2 alone zero', zeroed([2]));

  test('PCR1 absent', async () => {
    const pcrs = await s.measuredPcrs();
    pcrs.delete(1);
    const { bytes, expected } = await syntheticCase({ fields: (f) => f.set('pcrs', s.encodePcrs(pcrs)) });
    expect(await outcome(bytes, { ...expected, pcrSets: ownSet(pcrs) })).toBe('attestation_debug_enclave');
  });

  test('allowing debug does not allow other PCRs', async () => {
    const { bytes, expected } = await syntheticCase();
    const pcrSets = ownSet(new Map([[0, s.filled(0)]]));
    expect(await outcome(bytes, { ...expected, pcrSets, allowDebug: true })).toBe('attestation_pcrs_not_allowed');
  });
});

describe('instance', () => {
  const named = async (moduleId: string) => {
    const { bytes, expected } = await syntheticCase({ fields: (f) => f.set('module_id', s.text(moduleId)) });
    return outcome(bytes, expected);
  };
  const mismatch = 'attestation_instance_mismatch';
  test('PCR4 measures it', async () => expect(await named(s.MODULE_ID)).toBe('ok'));
  test('another enclave of it', async () => expect(await named(`${s.INSTANCE}-enc00`)).toBe('ok'));
  test('another instance', async () => expect(await named('i-0123456789abcdef1-enc0123456789abcdef')).toBe(mismatch));
  for (const form of [
    'i-0123456789abcdef0',
    'x',
    `${s.MODULE_ID} `,
    `a${s.MODULE_ID}`,
    'i-XYZ-enc01',
    'i-0-enc',
    'i--enc0',
  ])
    test(`no module_id of an enclave: ${form}`, async () => expect(await named(form)).toBe(mismatch));

  test('PCR4 that measures no name at all', async () => {
    const pcrs = (await s.measuredPcrs()).set(4, await s.measure(''));
    const { bytes, expected } = await syntheticCase({
      fields: (f) => f.set('module_id', s.text('x')).set('pcrs', s.encodePcrs(pcrs)),
    });
    expect(await outcome(bytes, { ...expected, pcrSets: ownSet(pcrs) })).toBe(mismatch);
  });

  test('PCR4 absent', async () => {
    const pcrs = await s.measuredPcrs();
    pcrs.delete(4);
    const { bytes, expected } = await syntheticCase({ fields: (f) => f.set('pcrs', s.encodePcrs(pcrs)) });
    expect(await outcome(bytes, { ...expected, pcrSets: ownSet(pcrs) })).toBe(mismatch);
  });
});

describe('user_data and public_key', () => {
  const data = utf8('bound');
  test('the expected user_data', async () => {
    const { bytes, expected } = await syntheticCase({ fields: (f) => f.set('user_data', s.bytes(data)) });
    expect(await outcome(bytes, { ...expected, userData: data })).toBe('ok');
    expect(await outcome(bytes, { ...expected, userData: utf8('bounD') })).toBe('attestation_user_data_mismatch');
    expect(await outcome(bytes, { ...expected, userData: utf8('boun') })).toBe('attestation_user_data_mismatch');
  });

  test('none where some is expected; null is not empty', async () => {
    const { bytes, expected } = await syntheticCase();
    expect(await outcome(bytes, { ...expected, userData: data })).toBe('attestation_user_data_mismatch');
    expect(await outcome(bytes, { ...expected, userData: new Uint8Array(0) })).toBe('attestation_user_data_mismatch');
  });

  test('a public key where one is required', async () => {
    const withKey = (value: Uint8Array) => syntheticCase({ fields: (f) => f.set('public_key', value) });
    for (const [value, result] of [
      [s.bytes(data), 'ok'],
      [s.bytes(new Uint8Array(0)), 'attestation_public_key_missing'],
      [s.NULL, 'attestation_public_key_missing'],
    ] as const) {
      const { bytes, expected } = await withKey(value);
      expect(await outcome(bytes, { ...expected, publicKeyRequired: true })).toBe(result);
      expect(await outcome(bytes, expected)).toBe('ok');
    }
  });
});

describe('document signature', () => {
  test('by another key', async () => {
    const { bytes, expected } = await syntheticCase();
    const payload = bytes.subarray(10, -98);
    expect(await outcome(s.envelope(payload), expected)).toBe('attestation_signature_invalid');
    const other = await s.signDocument(payload, await s.namedKey('instance'));
    expect(await outcome(other, expected)).toBe('attestation_signature_invalid');
    expect(await outcome(await s.signDocument(payload, await s.namedKey('leaf')), expected)).toBe('ok');
  });

  test('over another context than Signature1', async () => {
    const { bytes, expected } = await syntheticCase();
    const payload = bytes.subarray(10, -98);
    const signed = s.array([s.text('Signature'), s.bytes(s.PROTECTED), s.bytes(new Uint8Array(0)), s.bytes(payload)]);
    const { privateKey } = await s.namedKey('leaf');
    const algorithm = { name: 'ECDSA', hash: 'SHA-384' };
    const raw = new Uint8Array(await globalThis.crypto.subtle.sign(algorithm, privateKey, new Uint8Array(signed)));
    expect(await outcome(s.envelope(payload, raw), expected)).toBe('attestation_signature_invalid');
  });

  test('a definite payload map verifies as well', async () => {
    const { bytes, expected } = await syntheticCase({ encoding: 'definite' });
    expect(await outcome(bytes, expected)).toBe('ok');
  });
});

describe('expectations', () => {
  const invalid = 'attestation_expectations_invalid';
  const refused = (change: Partial<Expectations>) =>
    refusal(() => verifyAttestation(withNonce.bytes, { ...withNonce.expected, ...change }));

  test('no PCR set is an error, never "any"', async () => expect(await refused({ pcrSets: [] })).toBe(invalid));

  test('a set without PCR0, or with values no register has', async () => {
    const malformed = 'attestation_pcr_set_malformed';
    expect(await refused({ pcrSets: ownSet(new Map()) })).toBe(malformed);
    expect(await refused({ pcrSets: ownSet(new Map([[1, s.filled(1)]])) })).toBe(malformed);
    expect(await refused({ pcrSets: ownSet(new Map([[0, s.filled(1, 32)]])) })).toBe(malformed);
    expect(
      await refused({
        pcrSets: ownSet(
          new Map([
            [0, s.filled(1)],
            [32, s.filled(1)],
          ]),
        ),
      }),
    ).toBe(malformed);
  });

  test('a short, empty or absent nonce', async () => {
    expect(await refused({ mode: live(3, { nonce: utf8('fifteen bytes..') }) })).toBe(invalid);
    expect(await refused({ mode: live(3, { nonce: s.filled(1, 1025) }) })).toBe(invalid);
    expect(await refused({ mode: { ...REPLAY, nonce: new Uint8Array(0) } })).toBe(invalid);
    const { nonce: _, ...withoutNonce } = live(3);
    expect(await refused({ mode: withoutNonce as LiveMode })).toBe(invalid);
  });

  test('times that are no numbers', async () => {
    expect(await refused({ mode: live(Number.NaN) })).toBe(invalid);
    expect(await refused({ mode: live(3, { maxAgeSeconds: Number.NaN }) })).toBe(invalid);
    expect(await refused({ mode: live(3, { maxAgeSeconds: Number.POSITIVE_INFINITY }) })).toBe(invalid);
    expect(await refused({ mode: live(3, { maxFutureSeconds: -1 }) })).toBe(invalid);
  });
});

describe('the checklist', () => {
  test('after bytes that are no document, the rest is not reached', async () => {
    const { expected } = await syntheticCase();
    const report = await verifyAttestation(utf8('no document'), expected);
    expect(report.ok).toBe(false);
    expect('document' in report).toBe(false);
    expect(report.steps.map(({ status }) => status)).toEqual([
      'pass',
      'fail',
      ...new Array(Object.keys(STEPS).length - 2).fill('not-reached'),
    ]);
  });

  test('several things wrong: each is shown, the first one names the verdict', async () => {
    const report = await syntheticReport({
      pki: () => ({ leaf: { notAfterMs: s.NOW_MS - 1000 } }),
      fields: (f) => f.set('module_id', s.text('x')),
    });
    expect(report.steps.filter(({ status }) => status === 'fail').map(({ name }) => name)).toEqual([
      'chain-validity',
      'instance',
    ]);
    expect(report).toMatchObject({
      ok: false,
      failure: { step: 'chain-validity', code: 'attestation_chain_not_valid_then' },
    });
    expect('document' in report).toBe(false);
  });

  test('another root than AWS’s is called unsafe', async () => {
    const report = await syntheticReport({});
    expect(report.ok).toBe(true);
    expect(report.steps.find(({ name }) => name === 'root')?.found).toContain('UNSAFE');
    const { bytes, expected } = await syntheticCase();
    const { unsafeTrustedRootDer: _, ...production } = expected;
    expect(await outcome(bytes, production)).toBe('attestation_root_untrusted');
  });

  test('changing the bytes while they are being verified changes nothing', async () => {
    const { bytes, expected } = await syntheticCase();
    const shared = new Uint8Array(bytes);
    const pending = verifyAttestation(shared, expected);
    shared.fill(0);
    expect((await pending).ok).toBe(true);
  });
});
