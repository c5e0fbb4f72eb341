/** AWS's own documents, 2021 to 2025, both payload encodings: each verifies, and nothing near it does. */

import { decodeAttestationDocument } from '@quantumvault/shared/attestation/document.ts';
import { AWS_NITRO_ROOT_G1_SHA256, fingerprintOf } from '@quantumvault/shared/attestation/root.ts';
import { assertAttestation, verifyAttestation } from '@quantumvault/shared/attestation/verify.ts';
import { fromHex, toHex, utf8 } from '@quantumvault/shared/bytes.ts';
import { describe, expect, test } from 'vitest';
import { outcome, ownSet, REPLAY, refusal, syntheticCase } from './expect.ts';
import { pcrsOf, real, realVector } from './vectors.ts';

describe.each(real)('$name', ({ bytes, sidecar }) => {
  const allowDebug = sidecar.debug_mode;
  const pcrs = pcrsOf(sidecar);
  const expected = { mode: REPLAY, pcrSets: ownSet(pcrs), allowDebug };

  test('verifies in replay mode with its own PCRs', async () => {
    const document = await assertAttestation(bytes, expected);
    expect(document.moduleId).toBe(sidecar.module_id);
    expect(document.timestampMs).toBe(sidecar.timestamp_ms);
    expect(document.payloadEncoding).toBe(sidecar.payload_indefinite_map ? 'indefinite' : 'definite');
    expect(document.publicKey?.length ?? null).toBe(sidecar.public_key.length);
    expect(document.userData?.length ?? null).toBe(sidecar.user_data.length);
    expect(document.nonce?.length ?? null).toBe(sidecar.nonce.length);
    expect(document.cabundle.length + 1).toBe(sidecar.certificates.length);
    expect(await fingerprintOf(document.cabundle[0] ?? bytes)).toBe(AWS_NITRO_ROOT_G1_SHA256);
  });

  test('with one bit of any PCR changed is refused', async () => {
    for (const [index, value] of pcrs) {
      const changed = new Uint8Array(value);
      const at = (index * 7) % 48;
      changed[at] = (changed[at] ?? 0) ^ (1 << (index % 8));
      const pcrSets = ownSet(new Map(pcrs).set(index, changed));
      expect(await outcome(bytes, { ...expected, pcrSets })).toBe('attestation_pcrs_not_allowed');
    }
  });

  test('with a wrong nonce is refused, with its own verifies', async () => {
    const wrong = { ...REPLAY, nonce: utf8('not the nonce of this document') };
    expect(await outcome(bytes, { ...expected, mode: wrong })).toBe('attestation_nonce_mismatch');
    const { nonce } = decodeAttestationDocument(bytes);
    if (nonce === undefined || nonce.length === 0) return;
    expect(await outcome(bytes, { ...expected, mode: { ...REPLAY, nonce } })).toBe('ok');
    const shorter = { ...REPLAY, nonce: nonce.subarray(0, -1) };
    if (nonce.length > 1)
      expect(await outcome(bytes, { ...expected, mode: shorter })).toBe('attestation_nonce_mismatch');
  });

  test('under another root is refused', async () => {
    const { expected: synthetic } = await syntheticCase();
    const unsafeTrustedRootDer = synthetic.unsafeTrustedRootDer ?? bytes;
    expect(await outcome(bytes, { ...expected, unsafeTrustedRootDer })).toBe('attestation_root_untrusted');
  });

  test('live, today, is refused: its certificates have expired', async () => {
    const mode = { kind: 'live', nowMs: Date.UTC(2026, 10, 22), nonce: 'unsafe-not-checked' } as const;
    expect(await outcome(bytes, { ...expected, mode })).toBe('attestation_chain_not_valid_then');
  });

  test(allowDebug ? 'is refused unless debug enclaves are allowed' : 'needs no permission for debug', async () => {
    const result = await outcome(bytes, { mode: REPLAY, pcrSets: ownSet(pcrs) });
    expect(result).toBe(allowDebug ? 'attestation_debug_enclave' : 'ok');
  });
});

test('a set that names fewer PCRs is enough, and one of several', async () => {
  const { bytes, sidecar } = realVector('54ae0f97');
  const other = { name: 'another image', pcrs: new Map([[0, fromHex('ab'.repeat(48))]]) };
  const pcr0 = { name: 'this image', pcrs: new Map([[0, fromHex(sidecar.pcrs['0'] ?? '')]]) };
  const report = await verifyAttestation(bytes, { mode: REPLAY, pcrSets: [other, pcr0] });
  expect(report.ok && report.pcrSet.name).toBe('this image');
});

test('a PCR that the document lacks matches nothing', async () => {
  const { bytes, sidecar } = realVector('54ae0f97');
  const pcrSets = ownSet(pcrsOf(sidecar).set(16, new Uint8Array(48)));
  expect(await outcome(bytes, { mode: REPLAY, pcrSets })).toBe('attestation_pcrs_not_allowed');
});

test('PCRs of two sets do not add up to one', async () => {
  const { bytes, sidecar } = realVector('54ae0f97');
  const wrong = fromHex('cd'.repeat(48));
  const [zero, one] = [fromHex(sidecar.pcrs['0'] ?? ''), fromHex(sidecar.pcrs['1'] ?? '')];
  const pcrSets = [
    {
      name: 'a',
      pcrs: new Map([
        [0, zero],
        [1, wrong],
      ]),
    },
    {
      name: 'b',
      pcrs: new Map([
        [0, wrong],
        [1, one],
      ]),
    },
  ];
  expect(await outcome(bytes, { mode: REPLAY, pcrSets })).toBe('attestation_pcrs_not_allowed');
});

test('the report of a replay says what it does not prove', async () => {
  const { bytes, sidecar } = realVector('54ae0f97');
  const report = await verifyAttestation(bytes, { mode: REPLAY, pcrSets: ownSet(pcrsOf(sidecar)) });
  expect(report.proves).toBe('authenticity, not recency');
  expect(report.steps.find(({ name }) => name === 'time')).toMatchObject({
    status: 'skipped',
    found: expect.stringContaining('not recency'),
  });
});

test('the fingerprint of the root is the one AWS publishes, and that of the certificate kept here', async () => {
  const { cabundle } = decodeAttestationDocument(realVector('b9db8022').bytes);
  expect(toHex(fromHex(AWS_NITRO_ROOT_G1_SHA256))).toBe(await fingerprintOf(cabundle[0] ?? new Uint8Array(0)));
  expect(AWS_NITRO_ROOT_G1_SHA256.toUpperCase()).toBe(
    '641A0321A3E244EFE456463195D606317ED7CDCC3C1756E09893F3C68F79BB5B',
  );
});

test('assertAttestation throws the code of the first failure', async () => {
  const { bytes } = realVector('54ae0f97');
  const pcrSets = ownSet(new Map([[0, new Uint8Array(48)]]));
  expect(await refusal(() => assertAttestation(bytes, { mode: REPLAY, pcrSets }))).toBe('attestation_pcrs_not_allowed');
});
